//! The audit: one row per commit, each with a hash over itself and the hash before it.
//!
//! A row names what it changed by hashes; the documents themselves are kept as versions. So old
//! versions can be let go without breaking the chain. Whoever changes, drops or swaps rows behind
//! our back breaks it, unless they also compute every hash after it anew: signed checkpoints and
//! exports that are kept elsewhere find that too.

use std::collections::BTreeMap;

use entitlements_core::{Revision, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    CommitError, read,
    session::{Row, Session, SqlError, values},
    sql,
};
use crate::workflow::Changeset;

/// One row: who did what, when, and what it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AuditEntry {
    /// The commit.
    pub revision: Revision,
    /// When. It never goes back from one row to the next.
    pub at: Timestamp,
    /// Who asked for it.
    pub actor: String,
    /// The person behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The stable word for what was asked.
    pub command: String,
    /// What it is about, for people.
    pub subject: String,
    /// Why, in the words of who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the request is called in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What it changed.
    pub changes: Vec<AuditChange>,
    /// The hash of the row before, in hex digits.
    pub prev_hash: String,
    /// The hash of this row, in hex digits.
    pub hash: String,
}

/// One object that a commit changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditChange {
    /// Which, such as `tenant:acme`.
    pub object: String,
    /// What was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<VersionHash>,
    /// The hash of what is there after, in hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionHash {
    /// The commit that it came with.
    pub revision: Revision,
    /// The hash of its document, in hex digits.
    pub hash: String,
}

/// What was there before and after a commit, by object.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Documents(pub BTreeMap<String, DocumentPair>);

/// What was there before and after, as far as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentPair {
    /// Before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub before: Option<Box<RawValue>>,
    /// After.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub after: Option<Box<RawValue>>,
}

impl PartialEq for DocumentPair {
    fn eq(&self, other: &Self) -> bool {
        let text = |raw: &Option<Box<RawValue>>| raw.as_ref().map(|raw| raw.get().to_owned());
        text(&self.before) == text(&other.before) && text(&self.after) == text(&other.after)
    }
}

impl Eq for DocumentPair {}

impl PartialEq for Documents {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Documents {}

impl Documents {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
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

/// The hash before the first row, in hex digits.
pub const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The hash of a document, in hex digits.
#[must_use]
pub fn document_hash(json: &str) -> String {
    blake3::hash(json.as_bytes()).to_hex().to_string()
}

impl AuditEntry {
    /// What its hash must be. Every field has its length before it, so that no two rows have the
    /// same bytes.
    #[must_use]
    pub fn computed_hash(&self) -> String {
        // What was read from a database or a file is written again as it was: the order of the
        // fields is that of their types.
        let changes = serde_json::to_string(&self.changes).unwrap_or_default();
        row_hash(self, &changes)
    }
}

fn row_hash(entry: &AuditEntry, changes: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"entitlements audit 1\n");
    hasher.update(&entry.revision.0.to_be_bytes());
    hasher.update(&entry.at.as_micros().to_be_bytes());
    let fields = [
        Some(entry.prev_hash.as_str()),
        Some(&entry.actor),
        entry.principal.as_deref(),
        entry.address.as_deref(),
        Some(&entry.command),
        Some(&entry.subject),
        entry.reason.as_deref(),
        entry.request_id.as_deref(),
        Some(changes),
    ];
    for field in fields {
        hasher.update(&[u8::from(field.is_some())]);
        let text = field.unwrap_or_default();
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Follows a chain row by row. It needs no store: an export is checked in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    rows: u64,
    head: String,
    at: Timestamp,
}

impl Default for Chain {
    fn default() -> Self {
        Self { rows: 0, head: START.into(), at: Timestamp::MIN }
    }
}

impl Chain {
    /// Takes the next row.
    ///
    /// # Errors
    /// Where it is not the next one, or not what was written.
    pub fn take(&mut self, entry: &AuditEntry) -> Result<(), AuditFault> {
        let revision = Revision(self.rows + 1);
        let fault = |why: String| Err(AuditFault { revision, why });
        if entry.revision != revision {
            return fault(format!("the row is missing, the next one is {}", entry.revision));
        }
        if entry.prev_hash != self.head {
            return fault("it does not follow from the row before it".into());
        }
        if entry.computed_hash() != entry.hash {
            return fault("the row was changed after it was written".into());
        }
        if entry.at < self.at {
            return fault("it is older than the row before it".into());
        }
        self.rows = revision.0;
        self.head.clone_from(&entry.hash);
        self.at = entry.at;
        Ok(())
    }

    /// How many rows were taken.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The hash of the last one.
    #[must_use]
    pub fn head(&self) -> &str {
        &self.head
    }

    /// The end. `drawn` is the last revision that any commit drew.
    ///
    /// # Errors
    /// Where rows are missing at the end.
    pub fn end(self, drawn: Revision) -> Result<Verified, AuditFault> {
        let Self { rows, head, .. } = self;
        if rows == drawn.0 {
            return Ok(Verified { rows, head });
        }
        let why = format!("{rows} rows are left of {drawn}");
        Err(AuditFault { revision: Revision(rows + 1), why })
    }
}

/// Adds the row of a commit, and says when it counts as done: not before the one before it.
pub(super) fn append(
    session: &mut dyn Session,
    revision: Revision,
    changes: &Changeset,
    list: &[AuditChange],
) -> Result<Timestamp, CommitError> {
    let last = session.first(sql::AUDIT_LAST, &[], |row| Ok((row.hash()?, row.integer()?)))?;
    let (prev_hash, not_before) = last.unwrap_or(([0; 32], i64::MIN));
    let origin = &changes.origin;
    let at = Timestamp::from_micros(origin.at.as_micros().max(not_before));
    let mut entry = AuditEntry {
        revision,
        at,
        actor: origin.actor.clone(),
        principal: origin.principal.clone(),
        address: origin.address.map(|address| address.to_string()),
        command: origin.command.into(),
        subject: changes.subject.clone(),
        reason: origin.reason.clone(),
        request_id: origin.request_id.clone(),
        changes: Vec::new(),
        prev_hash: hex(&prev_hash),
        hash: String::new(),
    };
    let text = serde_json::to_string(list)?;
    entry.hash = row_hash(&entry, &text);
    let hash = bytes(&entry.hash)?;
    let values = values![
        read::integer(revision),
        at.as_micros(),
        &entry.actor,
        entry.principal.as_ref(),
        entry.address.as_ref(),
        &entry.command,
        &entry.subject,
        entry.reason.as_ref(),
        entry.request_id.as_ref(),
        &text,
        &prev_hash,
        &hash,
    ];
    session.execute(sql::AUDIT_PUT, values)?;
    Ok(at)
}

/// A row of the table.
pub(super) fn entry(row: &mut Row) -> Result<AuditEntry, SqlError> {
    let revision = row.integer()?;
    Ok(AuditEntry {
        // A number below 0 is no revision of any commit: the chain will not have it.
        revision: Revision(u64::try_from(revision).unwrap_or(u64::MAX)),
        at: Timestamp::from_micros(row.integer()?),
        actor: row.text()?,
        principal: row.maybe_text()?,
        address: row.maybe_text()?,
        command: row.text()?,
        subject: row.text()?,
        reason: row.maybe_text()?,
        request_id: row.maybe_text()?,
        changes: changes(revision, &row.text()?)?,
        prev_hash: hex(&row.hash()?),
        hash: hex(&row.hash()?),
    })
}

/// Reads the list of changes, which must be as we write it, byte for byte: its hash is over them.
fn changes(revision: i64, text: &str) -> Result<Vec<AuditChange>, SqlError> {
    let odd = || SqlError::Odd(format!("audit row {revision} was changed after it was written"));
    let list: Vec<AuditChange> = serde_json::from_str(text).map_err(|_| odd())?;
    match serde_json::to_string(&list) {
        Ok(again) if again == text => Ok(list),
        _ => Err(odd()),
    }
}

pub(super) fn hex(bytes: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*bytes).to_hex().to_string()
}

fn bytes(hex: &str) -> Result<[u8; 32], CommitError> {
    let hash = blake3::Hash::from_hex(hex);
    hash.map(Into::into).map_err(|error| CommitError::Unavailable(error.to_string()))
}
