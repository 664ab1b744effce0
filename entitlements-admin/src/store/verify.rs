//! Walks the audit from its start, and holds every kept version against the hash in its row.

use std::collections::BTreeMap;

use entitlements_core::Revision;

use super::{
    ReadError,
    audit::{self, AuditEntry, AuditFault, Chain, Verified, document_hash},
    session::{Session, SqlError, values},
    sql,
};

/// How many rows are looked at at once.
const STEP: i64 = 1_000;

/// `drawn` is the last revision that any commit drew. Versions before `pruned_before` may be gone.
pub(super) fn verify(
    session: &mut dyn Session,
    drawn: Revision,
    pruned_before: Revision,
) -> Result<Result<Verified, AuditFault>, ReadError> {
    let mut chain = Chain::default();
    loop {
        let from = chain.rows();
        match step(session, &mut chain, pruned_before) {
            Ok(()) if chain.rows() == from => break,
            Ok(()) => {}
            Err(Stop::Fault(fault)) => return Ok(Err(fault)),
            Err(Stop::Sql(SqlError::Odd(why))) => {
                return Ok(Err(AuditFault { revision: Revision(chain.rows() + 1), why }));
            }
            Err(Stop::Sql(error)) => return Err(error.into()),
        }
    }
    let stray = session
        .first(sql::OBJECT_STRAY, &[], |row| Ok((row.text()?, row.text()?, row.integer()?)))?;
    if let Some((kind, key, revision)) = stray {
        let revision = Revision(u64::try_from(revision).unwrap_or(0));
        let why = format!("`{kind}:{key}` is not what was written");
        return Ok(Err(AuditFault { revision, why }));
    }
    Ok(chain.end(drawn))
}

/// Why the walk stopped.
enum Stop {
    Fault(AuditFault),
    Sql(SqlError),
}

impl From<SqlError> for Stop {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

fn step(session: &mut dyn Session, chain: &mut Chain, pruned_before: Revision) -> Result<(), Stop> {
    let from = i64::try_from(chain.rows()).unwrap_or(i64::MAX);
    let values = values![from, i64::MAX, STEP];
    // A row below 1 is no commit's, and would be passed over.
    let values = if from == 0 { values![i64::MIN, i64::MAX, STEP] } else { values };
    let mut rows = Vec::new();
    // Rows that can be read are judged first: the first fault counts.
    let read = session.each(sql::AUDIT_LIST, values, &mut |mut row| {
        rows.push(audit::entry(&mut row)?);
        Ok(())
    });
    for row in &rows {
        chain.take(row).map_err(Stop::Fault)?;
    }
    read?;
    let to = i64::try_from(chain.rows()).unwrap_or(i64::MAX);
    let mut kept = BTreeMap::new();
    session.each(sql::VERSION_RANGE, values![from, to], &mut |mut row| {
        let object = format!("{}:{}", row.text()?, row.text()?);
        let (revision, json) = (row.integer()?, row.maybe_text()?);
        kept.insert((revision, object), json.map(|json| document_hash(&json)));
        Ok(())
    })?;
    rows.iter().try_for_each(|row| fits(row, &mut kept, pruned_before)).map_err(Stop::Fault)?;
    match kept.pop_first() {
        None => Ok(()),
        Some(((revision, object), _)) => {
            let why = format!("`{object}` has a version that no row tells of");
            let revision = Revision(u64::try_from(revision).unwrap_or(0));
            Err(Stop::Fault(AuditFault { revision, why }))
        }
    }
}

/// Whether the versions that a row tells of are the ones that are kept.
fn fits(
    row: &AuditEntry,
    kept: &mut BTreeMap<(i64, String), Option<String>>,
    pruned_before: Revision,
) -> Result<(), AuditFault> {
    let number = i64::try_from(row.revision.0).unwrap_or(i64::MAX);
    for change in &row.changes {
        let fault = |what: &str| {
            let why = format!("`{}` {what}", change.object);
            Err(AuditFault { revision: row.revision, why })
        };
        match kept.remove(&(number, change.object.clone())) {
            Some(hash) if hash == change.after => {}
            Some(_) => return fault("is not the version that was written"),
            None if row.revision < pruned_before => {}
            None => return fault("has lost the version that was written"),
        }
    }
    Ok(())
}
