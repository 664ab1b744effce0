//! What publishers say, and what of it was verified.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    Hash, SigningKey, TrustError,
    envelope::{Opened, UNREADABLE, seal},
};
use crate::{
    Revision, Snapshot, Timestamp,
    document::{Delta, DocumentError},
};

/// Which content, and which of the publisher's revisions had it: `<epoch>.<revision>.<hash>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basis {
    /// The epoch; counts before the revision.
    pub epoch: u64,
    /// The revision.
    pub revision: Revision,
    /// The [hash of the content](Snapshot::content_hash).
    pub hash: Hash,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.epoch, self.revision, self.hash)
    }
}

/// It is not written as a basis is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no basis: use `<epoch>.<revision>.<hash>`, the `ETag` of a snapshot")]
pub struct BasisError(String);

impl FromStr for Basis {
    type Err = BasisError;
    fn from_str(text: &str) -> Result<Self, BasisError> {
        let parse = || {
            let mut parts = text.splitn(3, '.');
            let epoch = parts.next()?.parse().ok()?;
            let revision = Revision(parts.next()?.parse().ok()?);
            let hash = parts.next()?.parse().ok()?;
            Some(Self { epoch, revision, hash })
        };
        parse().ok_or_else(|| BasisError(text.into()))
    }
}

/// What a publisher says with everything that it signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Which environment it is for, such as `default`.
    pub environment: String,
    /// Raised when a control plane is restored from an older backup; counts before the revision.
    pub epoch: u64,
    /// Which revision.
    pub revision: Revision,
    /// When this was signed.
    pub issued_at: Timestamp,
    /// How old a snapshot may get before features follow their `when_stale`, in seconds.
    pub max_age_s: Option<u32>,
    /// From which instant on it is to be served. Absent: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activate_at: Option<Timestamp>,
}

impl Header {
    fn basis(&self, hash: Hash) -> Basis {
        Basis { epoch: self.epoch, revision: self.revision, hash }
    }
}

/// What else a publisher tells with a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tidings {
    /// The candidate that is being prepared; absent where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// The latest revision that every live sidecar serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Revision>,
    /// The latest revision that flag services were seen to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Revision>,
}

#[derive(Serialize, Deserialize)]
struct SnapshotSays {
    #[serde(flatten)]
    header: Header,
    content: String,
}

#[derive(Serialize, Deserialize)]
struct DeltaSays {
    #[serde(flatten)]
    header: Header,
    base_revision: Revision,
    base: String,
    content: String,
}

#[derive(Serialize, Deserialize)]
struct CandidateSays {
    #[serde(flatten)]
    delta: DeltaSays,
    candidate: String,
    silence_max_ms: u32,
}

#[derive(Serialize, Deserialize)]
struct HeartbeatSays {
    #[serde(flatten)]
    header: Header,
    content: String,
    #[serde(flatten)]
    tidings: Tidings,
}

#[derive(Serialize, Deserialize)]
struct CheckpointSays {
    #[serde(flatten)]
    header: Header,
    audit_head: String,
}

pub(super) const SNAPSHOT: &str = "snapshot";
pub(super) const DELTA: &str = "delta";
pub(super) const CANDIDATE: &str = "candidate";
pub(super) const HEARTBEAT: &str = "heartbeat";
pub(super) const CHECKPOINT: &str = "checkpoint";

/// Seals a snapshot document. `content` is the [hash of its content](Snapshot::content_hash).
#[must_use]
pub fn seal_snapshot(
    publisher: &SigningKey,
    header: &Header,
    content: &Hash,
    document: &[u8],
) -> Vec<u8> {
    let says = SnapshotSays { header: header.clone(), content: content.to_string() };
    seal(publisher, SNAPSHOT, &says, document)
}

/// Seals what leads from a base to the content of the header's revision.
#[must_use]
pub fn seal_delta(
    publisher: &SigningKey,
    header: &Header,
    base: &Basis,
    content: &Hash,
    delta: &[u8],
) -> Vec<u8> {
    seal(publisher, DELTA, &delta_says(header, base, content), delta)
}

/// Seals what would lead from a base to what may become the next revision. `silence_max_ms` is for
/// how long whoever prepared it may call itself fresh without hearing from the publisher.
#[must_use]
pub fn seal_candidate(
    publisher: &SigningKey,
    header: &Header,
    base: &Basis,
    content: &Hash,
    (candidate, silence_max_ms): (&str, u32),
    delta: &[u8],
) -> Vec<u8> {
    let says = CandidateSays {
        delta: delta_says(header, base, content),
        candidate: candidate.into(),
        silence_max_ms,
    };
    seal(publisher, CANDIDATE, &says, delta)
}

fn delta_says(header: &Header, base: &Basis, content: &Hash) -> DeltaSays {
    DeltaSays {
        header: header.clone(),
        base_revision: base.revision,
        base: base.hash.to_string(),
        content: content.to_string(),
    }
}

/// Seals the word that at `issued_at` this content was the current one.
#[must_use]
pub fn seal_heartbeat(
    publisher: &SigningKey,
    header: &Header,
    content: &Hash,
    tidings: &Tidings,
) -> Vec<u8> {
    let (header, content, tidings) = (header.clone(), content.to_string(), tidings.clone());
    seal(publisher, HEARTBEAT, &HeartbeatSays { header, content, tidings }, &[])
}

/// Seals the word that at `issued_at` this was the last row of the audit.
#[must_use]
pub fn seal_checkpoint(publisher: &SigningKey, header: &Header, audit_head: &Hash) -> Vec<u8> {
    let says = CheckpointSays { header: header.clone(), audit_head: audit_head.to_string() };
    seal(publisher, CHECKPOINT, &says, &[])
}

/// What a trusted publisher said for this environment.
#[derive(Debug)]
pub enum Verified {
    /// All of it.
    Snapshot(VerifiedSnapshot),
    /// What changed.
    Delta(VerifiedDelta),
    /// What may become the next revision.
    Candidate(VerifiedCandidate),
    /// That nothing changed.
    Heartbeat(Heartbeat),
}

impl Verified {
    /// What was said with it.
    #[must_use]
    pub fn header(&self) -> &Header {
        match self {
            Self::Snapshot(it) => &it.header,
            Self::Delta(it) => &it.header,
            Self::Candidate(it) => &it.delta.header,
            Self::Heartbeat(it) => &it.header,
        }
    }

    pub(super) fn read(opened: &Opened<'_>) -> Result<Self, TrustError> {
        Ok(match opened.kind.as_str() {
            SNAPSHOT => Self::Snapshot(VerifiedSnapshot::read(opened)?),
            DELTA => Self::Delta(VerifiedDelta::read(opened.says(DELTA)?, opened.payload)?),
            CANDIDATE => {
                let says: CandidateSays = opened.says(CANDIDATE)?;
                Self::Candidate(VerifiedCandidate {
                    delta: VerifiedDelta::read(says.delta, opened.payload)?,
                    candidate: says.candidate,
                    silence_max_ms: says.silence_max_ms,
                })
            }
            _ => Self::Heartbeat(Heartbeat::read(opened)?),
        })
    }
}

fn hash(text: &str) -> Result<Hash, TrustError> {
    text.parse().map_err(|_| UNREADABLE)
}

/// A snapshot document that a trusted publisher signed for this environment.
pub struct VerifiedSnapshot {
    header: Header,
    content: Hash,
    document: Box<[u8]>,
}

impl VerifiedSnapshot {
    pub(super) fn read(opened: &Opened<'_>) -> Result<Self, TrustError> {
        let says: SnapshotSays = opened.says(SNAPSHOT)?;
        let content = hash(&says.content)?;
        Ok(Self { header: says.header, content, document: opened.payload.into() })
    }

    /// What the publisher says about it.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Which one it is.
    #[must_use]
    pub fn basis(&self) -> Basis {
        self.header.basis(self.content)
    }

    /// Reads it and prepares its answers from an instant on.
    ///
    /// # Errors
    /// Where it is of a newer format, or not what was signed about it.
    pub fn decode(&self, at: Timestamp) -> Result<Snapshot, DocumentError> {
        let snapshot = self.as_its_header_says(Snapshot::decode(&self.document, at)?)?;
        has_content(snapshot, &self.content)
    }

    /// Reads it and prepares nothing, which is several times sooner; see [`Snapshot::open`]. The
    /// content is not hashed again: a change on top of it does that.
    ///
    /// # Errors
    /// As [`VerifiedSnapshot::decode`].
    pub fn open(&self) -> Result<Snapshot, DocumentError> {
        self.as_its_header_says(Snapshot::open(&self.document)?)
    }

    fn as_its_header_says(&self, snapshot: Snapshot) -> Result<Snapshot, DocumentError> {
        if snapshot.revision() != self.header.revision {
            return Err(DocumentError::Damaged("it is of another revision than its header says"));
        }
        Ok(snapshot)
    }
}

fn has_content(snapshot: Snapshot, content: &Hash) -> Result<Snapshot, DocumentError> {
    if snapshot.content_hash() == *content { Ok(snapshot) } else { Err(DocumentError::Diverged) }
}

impl fmt::Debug for VerifiedSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedSnapshot({})", self.basis())
    }
}

/// A change that a trusted publisher signed for this environment.
pub struct VerifiedDelta {
    header: Header,
    base: Basis,
    content: Hash,
    document: Box<[u8]>,
}

impl VerifiedDelta {
    fn read(says: DeltaSays, payload: &[u8]) -> Result<Self, TrustError> {
        let DeltaSays { header, base_revision: revision, base, content } = says;
        let base = Basis { epoch: header.epoch, revision, hash: hash(&base)? };
        Ok(Self { header, base, content: hash(&content)?, document: payload.into() })
    }

    /// What the publisher says about it.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What it is a change of.
    #[must_use]
    pub fn base(&self) -> Basis {
        self.base
    }

    /// What it leads to.
    #[must_use]
    pub fn basis(&self) -> Basis {
        self.header.basis(self.content)
    }

    /// The change itself.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn decode(&self) -> Result<Delta, DocumentError> {
        Delta::decode(&self.document)
    }

    /// What it makes of a snapshot, with answers prepared from an instant on. The snapshot stays as
    /// it is.
    ///
    /// # Errors
    /// Where the snapshot is not the base, or what comes out is not what the publisher has: then
    /// nothing of it may be used.
    pub fn apply(&self, base: &Snapshot, at: Timestamp) -> Result<Snapshot, DocumentError> {
        if base.revision() != self.base.revision || base.content_hash() != self.base.hash {
            return Err(DocumentError::OtherBase);
        }
        has_content(base.with_delta(self.header.revision, &self.decode()?, at), &self.content)
    }

    /// The same, where the catalog in it was compiled before: `prepared` is the base under another
    /// catalog. `None` where it is another catalog than the one in the change.
    ///
    /// # Errors
    /// As [`VerifiedDelta::apply`].
    pub fn apply_prepared(
        &self,
        base: &Snapshot,
        prepared: &Snapshot,
        at: Timestamp,
    ) -> Result<Option<Snapshot>, DocumentError> {
        if base.revision() != self.base.revision || base.content_hash() != self.base.hash {
            return Err(DocumentError::OtherBase);
        }
        let mut delta = self.decode()?;
        if delta.catalog.take_if(|catalog| **catalog == **prepared.catalog()).is_none() {
            return Ok(None);
        }
        has_content(prepared.with_delta(self.header.revision, &delta, at), &self.content).map(Some)
    }

    /// The same for several that follow one another, which is quicker than one by one.
    ///
    /// # Errors
    /// As [`VerifiedDelta::apply`], and where one does not follow the one before.
    pub fn apply_all(
        chain: &[Self],
        base: &Snapshot,
        at: Timestamp,
    ) -> Result<Option<Snapshot>, DocumentError> {
        let (Some(first), Some(last)) = (chain.first(), chain.last()) else { return Ok(None) };
        if base.revision() != first.base.revision || base.content_hash() != first.base.hash {
            return Err(DocumentError::OtherBase);
        }
        if chain.array_windows().any(|[one, next]| one.basis() != next.base) {
            return Err(DocumentError::OtherBase);
        }
        let mut sum = Delta::default();
        for one in chain {
            sum.extend(one.decode()?);
        }
        has_content(base.with_delta(last.header.revision, &sum, at), &last.content).map(Some)
    }
}

impl fmt::Debug for VerifiedDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedDelta({} to {})", self.base, self.basis())
    }
}

/// What may become the next revision, signed by a trusted publisher for this environment.
#[derive(Debug)]
pub struct VerifiedCandidate {
    /// What it changes.
    pub delta: VerifiedDelta,
    /// What it is called.
    pub candidate: String,
    /// For how long whoever prepared it may call itself fresh without hearing from the publisher.
    pub silence_max_ms: u32,
}

/// The word of a trusted publisher that a content was the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Which one, and when.
    pub header: Header,
    /// The hash of its content.
    pub content: Hash,
    /// What else there was to tell.
    pub tidings: Tidings,
}

impl Heartbeat {
    pub(super) fn read(opened: &Opened<'_>) -> Result<Self, TrustError> {
        let HeartbeatSays { header, content, tidings } = opened.says(HEARTBEAT)?;
        Ok(Self { header, content: hash(&content)?, tidings })
    }

    /// What it says is current.
    #[must_use]
    pub fn basis(&self) -> Basis {
        self.header.basis(self.content)
    }
}

/// The word of a trusted publisher on how far the audit had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Up to which revision, and when that was.
    pub header: Header,
    /// The hash of the last row.
    pub audit_head: Hash,
}

impl Checkpoint {
    pub(super) fn read(opened: &Opened<'_>) -> Result<Self, TrustError> {
        let CheckpointSays { header, audit_head } = opened.says(CHECKPOINT)?;
        Ok(Self { header, audit_head: hash(&audit_head)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basis_is_read_as_it_is_written() {
        let hash = "ab".repeat(32);
        let text = format!("1.42.{hash}");
        assert_eq!(text.parse::<Basis>().unwrap().to_string(), text);
        for bad in ["", "1", "1.2", "1.2.zz", "x.2.", &format!("1.-2.{hash}"), &format!("{text}0")]
        {
            let error = bad.parse::<Basis>().unwrap_err().to_string();
            assert!(error.contains("is no basis"), "{bad}: {error}");
        }
    }
}
