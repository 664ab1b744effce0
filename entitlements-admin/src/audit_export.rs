//! An audit in a file of its own: written by a control plane, checked without one.
//!
//! The first line holds a checkpoint that a publisher key signed: how many rows there are and what
//! the hash of the last one is. Each line after it is a row with the documents that it tells of, as
//! far as they are kept. Whatever is changed, dropped, swapped or cut off does not fit the
//! checkpoint any more; who has a later checkpoint from elsewhere also finds a file that is too old.

use std::io::BufRead;

use entitlements_core::{
    Revision,
    signed::{Hash, PublicKey, Trust, TrustError},
};
use serde::{Deserialize, Serialize};

use crate::store::{
    AuditEntry, AuditFault, Chain, Verified,
    audit::{Documents, document_hash},
};

/// The version of the format.
pub const FORMAT: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Top {
    /// The version of the format.
    pub entitlements_audit: u32,
    /// Which environment's audit it is.
    pub environment: String,
    /// The root's word on who may sign, in hex digits.
    pub keys: String,
    /// The signed word on how far the audit had come, in hex digits.
    pub checkpoint: String,
}

/// Each other line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Line {
    /// The row.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// What was there before and after, by object.
    #[serde(default, skip_serializing_if = "Documents::is_empty")]
    pub documents: Documents,
}

/// Why a file is not the whole audit that was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportFault {
    /// It cannot be read.
    #[error("line {line}: {why}")]
    Unreadable {
        /// Where.
        line: u64,
        /// Why.
        why: String,
    },
    /// Its checkpoint was signed by nobody who is trusted.
    #[error("its checkpoint is not trusted: {0}")]
    Untrusted(#[from] TrustError),
    /// A row is not what was written.
    #[error(transparent)]
    Broken(#[from] AuditFault),
    /// The rows do not end where the checkpoint says.
    #[error("it ends with another row than its checkpoint says: rows were changed, or cut off")]
    OtherHead,
}

/// Bytes as hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hex digits.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(pair).collect()
}

/// Checks an export. `root` is the control plane's root key, as it stands in `trust.pub`.
///
/// # Errors
/// What is wrong first.
pub fn verify(export: impl BufRead, root: PublicKey) -> Result<Verified, ExportFault> {
    let mut number = 0;
    let mut lines = export.lines().map(|line| {
        number += 1;
        line.map(|line| (number, line))
            .map_err(|error| ExportFault::Unreadable { line: number, why: error.to_string() })
    });
    let (_, first) = lines.next().unwrap_or_else(|| Err(odd(1, "there is nothing in it")))?;
    let top: Top = serde_json::from_str(&first).map_err(|error| odd(1, &error.to_string()))?;
    if top.entitlements_audit != FORMAT {
        return Err(odd(1, &format!("format {} is not known here", top.entitlements_audit)));
    }
    let bytes = |text: &str| unhex(text).ok_or_else(|| odd(1, "its hex digits are cut off"));
    let mut trust = Trust::new(root, &top.environment);
    trust.accept_keys(&bytes(&top.keys)?)?;
    let checkpoint = trust.verify_checkpoint(&bytes(&top.checkpoint)?)?;

    let mut chain = Chain::default();
    for line in lines {
        let (number, line) = line?;
        let line: Line =
            serde_json::from_str(&line).map_err(|error| odd(number, &error.to_string()))?;
        chain.take(&line.entry)?;
        documents_fit(&line)?;
    }
    let verified = chain.end(checkpoint.header.revision)?;
    if verified.head.parse() == Ok::<Hash, _>(checkpoint.audit_head) || verified.rows == 0 {
        return Ok(verified);
    }
    Err(ExportFault::OtherHead)
}

fn odd(line: u64, why: &str) -> ExportFault {
    ExportFault::Unreadable { line, why: why.into() }
}

/// Whether the documents of a line are the ones whose hashes stand in it.
fn documents_fit(line: &Line) -> Result<(), AuditFault> {
    let fault = |object: &str, revision: Revision| AuditFault {
        revision,
        why: format!("`{object}` is not the document that was written"),
    };
    for (object, pair) in &line.documents.0 {
        let Some(change) = line.entry.changes.iter().find(|change| change.object == *object) else {
            return Err(fault(object, line.entry.revision));
        };
        let before = change.before.as_ref().map(|version| version.hash.as_str());
        for (document, hash) in [(&pair.before, before), (&pair.after, change.after.as_deref())] {
            let found = document.as_ref().map(|json| document_hash(json.get()));
            if found.is_some() && found.as_deref() != hash {
                return Err(fault(object, line.entry.revision));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_digits_are_read_as_they_are_written() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        for bad in ["a", "zz", "ää", "+1"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
