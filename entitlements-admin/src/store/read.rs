//! What can be read, all at one revision.

use std::{cell::RefCell, collections::BTreeMap, fmt};

use entitlements_core::{Revision, Timestamp};

use super::{
    AuditEntry, AuditFault, Verified, audit,
    session::{Row, Session, SqlError, Value, values},
    sql, verify,
};
use crate::workflow::{Answer, IdempotencyKey, Kind, ObjectId, SessionRow};

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database failed.
    #[error("the store cannot be read: {0}")]
    Sql(#[from] SqlError),
    /// What it holds is not what this version wrote.
    #[error("the store holds something that cannot be read: {what}: {why}")]
    Corrupt {
        /// Which thing.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The process is going down.
    #[error("the store is closed")]
    Closed,
}

/// A document as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its JSON text.
    pub json: String,
    /// The revision of its last change.
    pub revision: Revision,
    /// What is kept with it and must not be seen.
    pub secret: Option<String>,
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({} at {})", self.json, self.revision)
    }
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its document, without what must not be seen.
    pub stored: Stored,
}

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The commit that it came with.
    pub revision: Revision,
    /// Its document; absent where it was removed.
    pub json: Option<String>,
}

/// One version of an object, and who made it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The version.
    pub version: Version,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// By which command.
    pub command: String,
    /// Why.
    pub reason: Option<String>,
}

/// What became of a request whose name is known.
pub(crate) enum Repeated {
    /// It is the same one: this was the answer.
    Same(Revision, Answer),
    /// The name was used for something else.
    Other,
}

/// What a search of the audit asks for. What is empty asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSearch {
    /// Before this commit.
    pub before: Revision,
    /// Not before this instant.
    pub since: Timestamp,
    /// Before this instant.
    pub until: Timestamp,
    /// By this actor.
    pub actor: String,
    /// By this command.
    pub command: String,
    /// About this object.
    pub object: String,
    /// With this in its subject or reason, in any case of letters.
    pub text: String,
    /// At most so many.
    pub limit: u32,
}

/// One consistent view of the store.
pub struct Reading<'s>(RefCell<&'s mut dyn Session>);

impl fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reading({:?})", self.0)
    }
}

impl<'s> Reading<'s> {
    pub(super) fn new(session: &'s mut dyn Session) -> Self {
        Self(RefCell::new(session))
    }

    pub(super) fn all<T>(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
        read: impl FnMut(&mut Row) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, ReadError> {
        Ok(self.0.borrow_mut().all(sql, values, read)?)
    }

    pub(super) fn first<T>(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
        read: impl FnMut(&mut Row) -> Result<T, SqlError>,
    ) -> Result<Option<T>, ReadError> {
        Ok(self.0.borrow_mut().first(sql, values, read)?)
    }

    /// The last revision that was drawn.
    ///
    /// # Errors
    /// Where the database fails, as for all of these.
    pub fn revision(&self) -> Result<Revision, ReadError> {
        revision(self.counter("revision")?)
    }

    /// The epoch: it rises when the store is restored from a backup.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn epoch(&self) -> Result<u64, ReadError> {
        Ok(revision(self.counter("epoch")?)?.0)
    }

    fn counter(&self, name: &str) -> Result<i64, ReadError> {
        let found = self.first(sql::COUNTER_GET, values![name], Row::integer)?;
        found.ok_or_else(|| corrupt("a counter", &format!("there is no `{name}`")))
    }

    /// A fact about the store, such as the environment that it belongs to.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn meta(&self, name: &str) -> Result<Option<String>, ReadError> {
        self.first(sql::META_GET, values![name], Row::text)
    }

    /// An object as it is now.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn object(&self, id: &ObjectId) -> Result<Option<Stored>, ReadError> {
        object(*self.0.borrow_mut(), id)
    }

    /// At most `limit` objects of a kind whose keys come after `after`, by key.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn objects(&self, kind: Kind, after: &str, limit: u32) -> Result<Vec<Listed>, ReadError> {
        let rows = self.all(sql::OBJECT_LIST, values![kind.code(), after, limit], listed)?;
        rows.into_iter().collect()
    }

    /// Every object of a kind, by key, handed over one by one.
    ///
    /// # Errors
    /// As [`Reading::revision`], or what `each` says.
    pub fn each_object(
        &self,
        kind: Kind,
        mut each: impl FnMut(Listed) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut refused = None;
        let walked =
            self.0.borrow_mut().each(sql::OBJECT_ALL, values![kind.code()], &mut |mut row| {
                listed(&mut row)?.and_then(&mut each).map_err(|error| {
                    let text = error.to_string();
                    refused = Some(error);
                    SqlError::Odd(text)
                })
            });
        match refused {
            Some(error) => Err(error),
            None => Ok(walked?),
        }
    }

    /// At most `limit` objects of a kind that a reconciler must look at by now, the longest due first.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn due(&self, kind: Kind, at: Timestamp, limit: u32) -> Result<Vec<Listed>, ReadError> {
        let values = values![kind.code(), at.as_micros(), limit];
        let rows = self.all(sql::OBJECT_DUE, values, listed)?;
        rows.into_iter().collect()
    }

    /// When a reconciler must look at something of a kind next.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn next_due(&self, kind: Kind) -> Result<Option<Timestamp>, ReadError> {
        let next = self.first(sql::OBJECT_NEXT_DUE, values![kind.code()], Row::maybe_integer)?;
        Ok(next.flatten().map(Timestamp::from_micros))
    }

    /// The revisions of those of the objects that exist.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn revisions<'k>(
        &self,
        kind: Kind,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Result<BTreeMap<String, Revision>, ReadError> {
        let found = |key: &str| {
            let row = self.object(&ObjectId::new(kind, key)).transpose()?;
            Some(row.map(|row| (key.to_owned(), row.revision)))
        };
        keys.into_iter().filter_map(found).collect()
    }

    /// An object as it was after a commit: the version that was in force then.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn as_of(&self, id: &ObjectId, at: Revision) -> Result<Option<Version>, ReadError> {
        let values = values![id.kind.code(), &id.key, integer(at)];
        let found = self.first(sql::VERSION_AS_OF, values, version)?;
        found.transpose()
    }

    /// One version of an object.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn version(&self, id: &ObjectId, at: Revision) -> Result<Option<String>, ReadError> {
        let values = values![id.kind.code(), &id.key, integer(at)];
        Ok(self.first(sql::VERSION_GET, values, Row::maybe_text)?.flatten())
    }

    /// At most `limit` versions of an object before a commit, the newest first.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn history(
        &self,
        id: &ObjectId,
        before: Revision,
        limit: u32,
    ) -> Result<Vec<Past>, ReadError> {
        let values = values![id.kind.code(), &id.key, integer(before), limit];
        let rows = self.all(sql::VERSION_HISTORY, values, |row| {
            let number = row.integer()?;
            let (at, actor) = (Timestamp::from_micros(row.integer()?), row.text()?);
            let (command, reason, json) = (row.text()?, row.maybe_text()?, row.maybe_text()?);
            Ok(revision(number).map(|revision| Past {
                version: Version { revision, json },
                at,
                actor,
                command,
                reason,
            }))
        })?;
        rows.into_iter().collect()
    }

    /// The last commit at or before an instant; 0 where there was none yet.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn revision_at(&self, at: Timestamp) -> Result<Revision, ReadError> {
        let last = self.first(sql::AUDIT_AS_OF, values![at.as_micros()], Row::maybe_integer)?;
        revision(last.flatten().unwrap_or(0))
    }

    /// What was changed after a commit in the catalog and in tenants, oldest first.
    pub(crate) fn since(&self, after: Revision) -> Result<Vec<(ObjectId, Version)>, ReadError> {
        let rows = self.all(sql::VERSION_SINCE, values![integer(after)], |row| {
            let (kind, key) = (row.text()?, row.text()?);
            Ok((kind, key, version(row)?))
        })?;
        let read = |(kind, key, version): (String, String, Result<Version, ReadError>)| {
            let kind = kind.parse().map_err(|error: String| corrupt("a version", &error))?;
            Ok((ObjectId { kind, key }, version?))
        };
        rows.into_iter().map(read).collect()
    }

    /// Every sidecar that was heard of: what it said last, and when.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn sidecars(&self) -> Result<Vec<(String, Timestamp)>, ReadError> {
        self.all(sql::SIDECAR_ALL, &[], |row| {
            row.text()?;
            Ok((row.text()?, Timestamp::from_micros(row.integer()?)))
        })
    }

    /// What was denied most since the day of an instant: tenant, feature, reason, how often. Of one
    /// tenant, where one is named.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn denials(
        &self,
        since: Timestamp,
        tenant: &str,
        limit: u32,
    ) -> Result<Vec<(String, String, String, u64)>, ReadError> {
        self.all(sql::DENIAL_LIST, values![super::note::day(since), tenant, limit], |row| {
            let (tenant, feature, reason) = (row.text()?, row.text()?, row.text()?);
            Ok((tenant, feature, reason, u64::try_from(row.integer()?).unwrap_or(0)))
        })
    }

    /// What became of a request with this name, where there was one.
    pub(crate) fn repeated(
        &self,
        actor: &str,
        wanted: &IdempotencyKey,
    ) -> Result<Option<Repeated>, ReadError> {
        repeated(*self.0.borrow_mut(), actor, wanted)
    }

    /// A signed-in browser.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn session(&self, id_hash: &[u8; 32]) -> Result<Option<SessionRow>, ReadError> {
        self.first(sql::SESSION_GET, values![id_hash], session_row)
    }

    /// A user's signed-in browsers, oldest first.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn sessions(&self, user: &str) -> Result<Vec<SessionRow>, ReadError> {
        self.all(sql::SESSION_LIST, values![user], session_row)
    }

    /// How often something was noted, and when last.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn note(&self, topic: &str, key: &str) -> Result<Option<(i64, Timestamp)>, ReadError> {
        let read = |row: &mut Row| Ok((row.integer()?, Timestamp::from_micros(row.integer()?)));
        self.first(sql::NOTE_GET, values![topic, key], read)
    }

    /// When each thing of a topic was noted last.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn notes(&self, topic: &str) -> Result<BTreeMap<String, Timestamp>, ReadError> {
        let rows = self.all(sql::NOTE_ALL, values![topic], |row| {
            let key = row.text()?;
            row.integer()?;
            Ok((key, Timestamp::from_micros(row.integer()?)))
        })?;
        Ok(rows.into_iter().collect())
    }

    /// How much of each limit each tenant used last: tenant, feature, amount.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn usage(&self) -> Result<Vec<(String, String, u64)>, ReadError> {
        self.all(sql::USAGE_ALL, &[], |row| Ok((row.text()?, row.text()?, amount(row.integer()?))))
    }

    /// How much of each limit one tenant used last, and when that was.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn usage_of(&self, tenant: &str) -> Result<Vec<(String, u64, Timestamp)>, ReadError> {
        self.all(sql::USAGE_GET, values![tenant], |row| {
            Ok((row.text()?, amount(row.integer()?), Timestamp::from_micros(row.integer()?)))
        })
    }

    /// At most `limit` audit rows after a commit, oldest first.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn audit(&self, after: Revision, limit: u32) -> Result<Vec<AuditEntry>, ReadError> {
        let values = values![integer(after), i64::MAX, limit];
        self.all(sql::AUDIT_LIST, values, audit::entry)
    }

    /// The audit rows that a search asks for, newest first.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn audit_search(&self, search: &AuditSearch) -> Result<Vec<AuditEntry>, ReadError> {
        let within = |text: &str| {
            if text.is_empty() { String::new() } else { format!("%{}%", literally(text)) }
        };
        let object = if search.object.is_empty() {
            String::new()
        } else {
            // As it stands in the list of changes, between its quotes.
            within(&serde_json::Value::from(search.object.as_str()).to_string())
        };
        let text = within(&search.text.to_lowercase());
        let values = values![
            integer(search.before),
            search.since.as_micros(),
            search.until.as_micros(),
            &search.actor,
            &search.command,
            &object,
            &text,
            search.limit,
        ];
        self.all(sql::AUDIT_SEARCH, values, audit::entry)
    }

    /// One audit row.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn audit_entry(&self, at: Revision) -> Result<Option<AuditEntry>, ReadError> {
        let after = Revision(at.0.saturating_sub(1));
        let found = self.audit(after, 1)?.into_iter().next();
        Ok(found.filter(|entry| entry.revision == at))
    }

    /// Walks the audit's hash chain from its start, and holds every version that is kept against it.
    /// Versions before `pruned_before` may be gone.
    ///
    /// # Errors
    /// As [`Reading::revision`]. A broken chain is not an error but an answer.
    pub fn audit_verify(
        &self,
        pruned_before: Revision,
    ) -> Result<Result<Verified, AuditFault>, ReadError> {
        let drawn = self.revision()?;
        verify::verify(*self.0.borrow_mut(), drawn, pruned_before)
    }

    /// The newest signed checkpoint of the audit.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn checkpoint(&self) -> Result<Option<(Revision, Vec<u8>)>, ReadError> {
        let found =
            self.first(sql::CHECKPOINT_LAST, &[], |row| Ok((row.integer()?, row.bytes()?)))?;
        found.map(|(number, envelope)| Ok((revision(number)?, envelope))).transpose()
    }

    /// Every signed checkpoint of the audit, oldest first.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn checkpoints(&self) -> Result<Vec<(Revision, Vec<u8>)>, ReadError> {
        let all = self.all(sql::CHECKPOINT_ALL, &[], |row| Ok((row.integer()?, row.bytes()?)))?;
        all.into_iter().map(|(number, envelope)| Ok((revision(number)?, envelope))).collect()
    }
}

/// An object as it is now.
pub(super) fn object(
    session: &mut dyn Session,
    id: &ObjectId,
) -> Result<Option<Stored>, ReadError> {
    let row = session.first(sql::OBJECT_GET, values![id.kind.code(), &id.key], |row| {
        Ok((row.text()?, row.integer()?, row.maybe_text()?))
    })?;
    row.map(|(json, number, secret)| Ok(Stored { json, revision: revision(number)?, secret }))
        .transpose()
}

pub(super) fn repeated(
    session: &mut dyn Session,
    actor: &str,
    wanted: &IdempotencyKey,
) -> Result<Option<Repeated>, ReadError> {
    let found = session.first(sql::IDEMPOTENCY_GET, values![actor, &wanted.key], |row| {
        Ok((row.hash()?, row.integer()?, row.text()?))
    })?;
    let Some((fingerprint, number, answer)) = found else { return Ok(None) };
    if fingerprint != wanted.fingerprint {
        return Ok(Some(Repeated::Other));
    }
    let answer = serde_json::from_str(&answer).map_err(|error| corrupt("an answer", &error))?;
    Ok(Some(Repeated::Same(revision(number)?, answer)))
}

pub(super) fn listed(row: &mut Row) -> Result<Result<Listed, ReadError>, SqlError> {
    let (key, json, number) = (row.text()?, row.text()?, row.integer()?);
    let stored = |revision| Stored { json, revision, secret: None };
    Ok(revision(number).map(|revision| Listed { key, stored: stored(revision) }))
}

fn version(row: &mut Row) -> Result<Result<Version, ReadError>, SqlError> {
    let (number, json) = (row.integer()?, row.maybe_text()?);
    Ok(revision(number).map(|revision| Version { revision, json }))
}

fn session_row(row: &mut Row) -> Result<SessionRow, SqlError> {
    Ok(SessionRow {
        id_hash: row.hash()?,
        user: row.text()?,
        csrf: row.text()?,
        created_at: Timestamp::from_micros(row.integer()?),
        seen_at: Timestamp::from_micros(row.integer()?),
        address: row.maybe_text()?,
        agent: row.maybe_text()?,
    })
}

/// A text that `LIKE` takes for itself.
fn literally(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

fn amount(number: i64) -> u64 {
    number.unsigned_abs()
}

fn corrupt(what: &str, why: &dyn fmt::Display) -> ReadError {
    ReadError::Corrupt { what: what.into(), why: why.to_string() }
}

pub(super) fn revision(number: i64) -> Result<Revision, ReadError> {
    let odd = |_| corrupt("a revision", &format!("`{number}` is below 0"));
    u64::try_from(number).map(Revision).map_err(odd)
}

/// A revision as the database keeps it.
pub(super) fn integer(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}
