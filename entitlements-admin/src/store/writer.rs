//! The one transaction that changes anything.

use entitlements_core::Revision;

use super::{
    CommitError, Committed, Conflict, ReadError, Stored,
    audit::{self, AuditChange, VersionHash},
    index, outbox,
    read::{self, Repeated},
    session::{Mode, Session, SqlError, values},
    sql,
};
use crate::workflow::{
    Changeset, IdempotencyKey, Kind, ObjectId, Origin, SessionChange, Write, doors,
};

/// What became of one changeset.
pub(super) type Committing = Result<Committed, CommitError>;

/// Commits several changesets in one transaction, so that they share one wait for the disk. Each
/// happens whole or not at all, whatever becomes of the others.
pub(super) fn commit_all(session: &mut dyn Session, group: &[&Changeset]) -> Vec<Committing> {
    let mut results = Vec::with_capacity(group.len());
    let done = commit_group(session, group, &mut results);
    if let Err(error) = done {
        session.roll_back();
        // Nothing of the group is there. Those who were told no already were told the truth.
        results.resize_with(group.len(), || Err(error.clone().into()));
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            *result = Err(error.clone().into());
        }
    }
    results
}

fn commit_group(
    session: &mut dyn Session,
    group: &[&Changeset],
    results: &mut Vec<Committing>,
) -> Result<(), SqlError> {
    session.begin(Mode::Write)?;
    for changes in group {
        session.batch("SAVEPOINT one")?;
        let result = commit_one(session, changes);
        if let Err(CommitError::Broken(why)) = result {
            return Err(SqlError::Broken(why));
        }
        // One that was done before gives back the revision that it drew.
        let is_new = result.as_ref().is_ok_and(|done| !done.repeated);
        session.batch(if is_new {
            "RELEASE SAVEPOINT one"
        } else {
            "ROLLBACK TO SAVEPOINT one"
        })?;
        results.push(result);
    }
    session.announce()?;
    session.commit()
}

fn commit_one(session: &mut dyn Session, changes: &Changeset) -> Committing {
    // First the counter: on a shared database this is what others wait for.
    let revision = draw_revision(session)?;
    if let Some(done) = done_before(session, &changes.origin)? {
        return Ok(done);
    }
    for (id, expected) in &changes.reads {
        expect(session, id, *expected)?;
    }
    let mut list = Vec::with_capacity(changes.writes.len());
    let mut closes_door = false;
    for (id, write) in &changes.writes {
        let before = expect(session, id, write.expected)?;
        let was = before.as_ref().map(|row| &*row.json);
        closes_door |= doors::closes(id.kind, was, write.after.as_ref().map(|row| &*row.json));
        list.push(put(session, revision, id, before, write)?);
        if id.kind == Kind::Connector && write.after.is_none() {
            outbox::drop_owed(session, &id.key, changes.origin.at)?;
        }
    }
    if closes_door {
        a_door_is_left(session)?;
    }
    for change in &changes.sessions {
        put_session(session, change)?;
    }
    let at = audit::append(session, revision, changes, &list)?;
    outbox::put_notices(session, revision, &changes.notices)?;
    if let Some(redrive) = &changes.redrive {
        outbox::redrive(session, redrive, at)?;
    }
    if let Some(key) = &changes.origin.idempotency {
        let answer = serde_json::to_string(&changes.answer)?;
        let IdempotencyKey { key, fingerprint } = key;
        let (actor, revision) = (&changes.origin.actor, read::integer(revision));
        let values = values![actor, key, fingerprint, revision, at.as_micros(), &answer];
        session.execute(sql::IDEMPOTENCY_PUT, values)?;
    }
    Ok(Committed { revision, answer: changes.answer.clone(), repeated: false })
}

fn draw_revision(session: &mut dyn Session) -> Result<Revision, CommitError> {
    let drawn = session.first(sql::COUNTER_NEXT, values!["revision"], |row| row.integer())?;
    let drawn = drawn.ok_or_else(|| CommitError::Unavailable("there is no counter".into()))?;
    Ok(read::revision(drawn)?)
}

/// The same request, where it was done already. The revision that was drawn is given back with
/// the savepoint.
fn done_before(
    session: &mut dyn Session,
    origin: &Origin,
) -> Result<Option<Committed>, CommitError> {
    let Some(wanted) = &origin.idempotency else { return Ok(None) };
    match read::repeated(session, &origin.actor, wanted)? {
        None => Ok(None),
        Some(Repeated::Same(revision, answer)) => {
            Ok(Some(Committed { revision, answer, repeated: true }))
        }
        Some(Repeated::Other) => Err(CommitError::KeyReused(wanted.key.clone())),
    }
}

/// The present row, where it is the one that the changeset expects.
fn expect(
    session: &mut dyn Session,
    id: &ObjectId,
    expected: Option<Revision>,
) -> Result<Option<Stored>, CommitError> {
    let present = read::object(session, id)?;
    if present.as_ref().map(|row| row.revision) == expected {
        return Ok(present);
    }
    Err(CommitError::Conflict(Box::new(Conflict { subject: id.clone(), expected, present })))
}

fn put(
    session: &mut dyn Session,
    revision: Revision,
    id: &ObjectId,
    before: Option<Stored>,
    write: &Write,
) -> Result<AuditChange, CommitError> {
    let (kind, key, number) = (id.kind.code(), &id.key, read::integer(revision));
    let json = write.after.as_ref().map(|record| &record.json);
    session.execute(sql::VERSION_PUT, values![kind, key, number, json])?;
    match &write.after {
        None => session.execute(sql::OBJECT_DELETE, values![kind, key])?,
        Some(record) => {
            let due_at = record.due_at.map(|at| at.as_micros());
            let values = values![kind, key, number, json, record.secret.as_ref(), due_at];
            session.execute(sql::OBJECT_PUT, values)?;
            record.index.iter().try_for_each(|it| index::put(session, key, it))?;
            1
        }
    };
    let hash = |json: &String| audit::document_hash(json);
    Ok(AuditChange {
        object: id.to_string(),
        before: before.map(|row| VersionHash { revision: row.revision, hash: hash(&row.json) }),
        after: json.map(hash),
    })
}

fn put_session(session: &mut dyn Session, change: &SessionChange) -> Result<(), CommitError> {
    match change {
        SessionChange::Open(row) => session.execute(
            sql::SESSION_PUT,
            values![
                &row.id_hash,
                &row.user,
                &row.csrf,
                row.created_at.as_micros(),
                row.seen_at.as_micros(),
                row.address.as_ref(),
                row.agent.as_ref(),
            ],
        )?,
        SessionChange::Close(id_hash) => session.execute(sql::SESSION_DELETE, values![id_hash])?,
        SessionChange::CloseAll { user, except } => {
            // No session has this hash: it is the hash of no secret that anybody knows.
            let except = except.unwrap_or_default();
            session.execute(sql::SESSION_DELETE_ALL, values![user, &except])?
        }
    };
    Ok(())
}

/// Whatever closes a door must leave one by which somebody can let others in.
fn a_door_is_left(session: &mut dyn Session) -> Result<(), CommitError> {
    for kind in doors::KINDS {
        let documents = session.all(sql::OBJECT_ALL, values![kind.code()], |row| {
            row.text()?;
            row.text()
        })?;
        if documents.iter().any(|json| doors::is_open(kind, json)) {
            return Ok(());
        }
    }
    Err(CommitError::LastSuperAdmin)
}

impl From<SqlError> for CommitError {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Broken(why) => Self::Broken(why),
            SqlError::Unavailable(why) | SqlError::Odd(why) => Self::Unavailable(why),
        }
    }
}

impl From<ReadError> for CommitError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Sql(error) => error.into(),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for CommitError {
    fn from(error: serde_json::Error) -> Self {
        Self::Unavailable(format!("a document cannot be written: {error}"))
    }
}
