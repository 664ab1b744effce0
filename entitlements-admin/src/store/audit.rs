//! The audit: one row per commit, each with a hash over itself and the hash before it.
//!
//! Whoever changes, drops or swaps rows behind our back breaks the chain, unless they also compute
//! every hash after it anew. To find that too, keep a hash of the chain's head somewhere else.

use entitlements_core::{Revision, Timestamp};
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{CommitError, ReadError, read, sql};
use crate::workflow::Changeset;

/// One entry: who did what, when, and what it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// The commit.
    pub revision: Revision,
    /// When it was decided.
    pub at: Timestamp,
    /// Who asked for it.
    pub actor: String,
    /// The stable word for what was asked.
    pub command: String,
    /// What it is about, for people.
    pub subject: String,
    /// What was there before, as JSON.
    pub before: Option<String>,
    /// What is there after, as JSON.
    pub after: Option<String>,
    /// Whether documents were left out because they are long.
    pub shortened: bool,
    /// The hash of the row, in hex digits.
    pub hash: String,
}

/// A chain without a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many rows there are.
    pub rows: u64,
    /// The hash of the last one, in hex digits.
    pub head: String,
}

/// The first place at which the chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit is broken at revision {revision}: {why}")]
pub struct AuditFault {
    /// Where.
    pub revision: Revision,
    /// How.
    pub why: String,
}

/// The hash before the first row.
const START: [u8; 32] = [0; 32];

/// A row, as far as its hash covers it.
struct Link {
    revision: i64,
    at: i64,
    actor: String,
    command: String,
    subject: String,
    before: Option<String>,
    after: Option<String>,
    prev_hash: [u8; 32],
}

impl Link {
    /// Every field with its length before it, so that no two rows have the same bytes.
    fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"entitlements audit 1\n");
        hasher.update(&self.prev_hash);
        hasher.update(&self.revision.to_be_bytes());
        hasher.update(&self.at.to_be_bytes());
        let (before, after) = (self.before.as_deref(), self.after.as_deref());
        let fields =
            [Some(&*self.actor), Some(&*self.command), Some(&*self.subject), before, after];
        for field in fields {
            hasher.update(&[u8::from(field.is_some())]);
            let text = field.unwrap_or_default();
            hasher.update(&(text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finalize().into()
    }
}

/// Adds the row of a commit.
pub(super) fn append(
    transaction: &Transaction<'_>,
    revision: Revision,
    changes: &Changeset,
    before: Option<String>,
    after: Option<String>,
) -> Result<(), CommitError> {
    let last: Option<[u8; 32]> =
        transaction.prepare_cached(sql::AUDIT_LAST)?.query_row([], |row| row.get(1)).optional()?;
    let link = Link {
        revision: read::integer(revision),
        at: changes.at.as_micros(),
        actor: changes.actor.clone(),
        command: changes.command.into(),
        subject: changes.subject.clone(),
        before,
        after,
        prev_hash: last.unwrap_or(START),
    };
    transaction.prepare_cached(sql::AUDIT_PUT)?.execute(params![
        link.revision,
        link.at,
        link.actor,
        link.command,
        link.subject,
        link.before,
        link.after,
        link.prev_hash,
        link.hash()
    ])?;
    Ok(())
}

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Result<AuditEntry, ReadError>> {
    let hash: [u8; 32] = row.get(8)?;
    let entry = AuditEntry {
        revision: Revision(0),
        at: Timestamp::from_micros(row.get(1)?),
        actor: row.get(2)?,
        command: row.get(3)?,
        subject: row.get(4)?,
        before: row.get(5)?,
        after: row.get(6)?,
        shortened: row.get(7)?,
        hash: hex(&hash),
    };
    let number = row.get(0)?;
    Ok(read::revision(number).map(|revision| AuditEntry { revision, ..entry }))
}

/// Walks the chain. `drawn` is the last revision that any commit drew.
pub(super) fn verify(
    transaction: &Transaction<'_>,
    drawn: Revision,
) -> Result<Result<Verified, AuditFault>, ReadError> {
    let mut statement = transaction.prepare_cached(sql::AUDIT_ALL)?;
    let mut rows = statement.query([])?;
    let (mut head, mut expected) = (START, 1);
    while let Some(row) = rows.next()? {
        let (link, hash) = link(row)?;
        if let Some(why) = fault(&link, &hash, &head, expected) {
            return Ok(Err(AuditFault { revision: Revision(expected.unsigned_abs()), why }));
        }
        head = hash;
        expected += 1;
    }
    let rows = expected.unsigned_abs() - 1;
    if rows != drawn.0 {
        let why = format!("{rows} rows are left of {drawn}");
        return Ok(Err(AuditFault { revision: Revision(rows + 1), why }));
    }
    Ok(Ok(Verified { rows, head: hex(&head) }))
}

fn link(row: &Row<'_>) -> rusqlite::Result<(Link, [u8; 32])> {
    let link = Link {
        revision: row.get(0)?,
        at: row.get(1)?,
        actor: row.get(2)?,
        command: row.get(3)?,
        subject: row.get(4)?,
        before: row.get(5)?,
        after: row.get(6)?,
        prev_hash: row.get(7)?,
    };
    Ok((link, row.get(8)?))
}

fn fault(link: &Link, hash: &[u8; 32], head: &[u8; 32], expected: i64) -> Option<String> {
    if link.revision != expected {
        Some(format!("the row is missing, the next one is {}", link.revision))
    } else if link.prev_hash != *head {
        Some("it does not follow from the row before it".into())
    } else if link.hash() != *hash {
        Some("the row was changed after it was written".into())
    } else {
        None
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*bytes).to_hex().to_string()
}
