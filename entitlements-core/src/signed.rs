//! Signed envelopes: who may publish, and was it changed on its way.
//!
//! An offline root key signs one small document that names the publisher keys. A publisher key signs
//! snapshots and heartbeats. A signature covers raw bytes and is checked before anything is parsed.
//! No setting loads a snapshot that is not signed: [`VerifiedSnapshot`] has no other constructor.
//!
//! An envelope is: magic (8 bytes), key id (8), signature (64), length of the head (4, little-endian),
//! head (JSON), payload. The signature covers a tag, the key id, the length, and the head, which holds
//! the kind, and the payload's length and BLAKE3 hash.

use std::{fmt, str::FromStr};

use ed25519_dalek::{Signer, VerifyingKey};
use serde::{Deserialize, Serialize};

pub use crate::document::Hash;
use crate::{Revision, Snapshot, Timestamp, document::DocumentError};

/// The largest envelope that is looked at, in bytes.
pub const ENVELOPE_BYTES_MAX: usize = 1 << 30;

const MAGIC: &[u8; 8] = b"ENTSIGN1";
const TAG: &[u8] = b"entitlements/envelope/v1\0";
const FIXED: usize = 8 + 8 + 64 + 4;
const HEAD_MAX: usize = 64 * 1024;

/// Signs for a publisher or a root.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// From 32 secret random bytes.
    #[must_use]
    pub fn from_bytes(secret: [u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&secret))
    }

    /// The 32 secret bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The key by which others check what this one signs.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(*** of {})", self.public().id())
    }
}

/// Checks signatures. Its text is 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// A short name for it.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let hash = Hash::of(self.0.as_bytes());
        KeyId(*hash.0.first_chunk().unwrap_or(&[0; 8]))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for PublicKey {
    type Err = TrustError;
    fn from_str(text: &str) -> Result<Self, TrustError> {
        // A hash is 32 bytes as hex, and so is a key.
        let bytes: Hash = text.trim().parse().map_err(|_| TrustError::NotAKey)?;
        VerifyingKey::from_bytes(&bytes.0).map(Self).map_err(|_| TrustError::NotAKey)
    }
}

/// A key's short name, 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a publisher says about a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
}

/// Why an envelope is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Not the 64 hex digits of an ed25519 public key.
    #[error("not a public key: give the 64 hex digits that the admin wrote to `trust.pub`")]
    NotAKey,
    /// Not an envelope, or cut off.
    #[error("not a signed envelope: {0}")]
    Malformed(&'static str),
    /// Signed by nobody who is trusted for this.
    #[error("signed by key {0}, which is not trusted for this; check the configured root key")]
    UnknownKey(KeyId),
    /// Changed after it was signed, or signed by somebody else.
    #[error("the signature does not fit; it was changed on its way or signed by somebody else")]
    BadSignature,
    /// The payload is not the one that was signed.
    #[error("the payload is not the one that was signed")]
    BadPayload,
    /// Signed, but for something else.
    #[error("signed as `{found}`, expected `{expected}`")]
    WrongKind {
        /// What it says it is.
        found: String,
        /// What was asked for.
        expected: &'static str,
    },
    /// Signed for another environment.
    #[error("signed for environment `{found}`, this one is `{expected}`")]
    WrongEnvironment {
        /// What it is for.
        found: String,
        /// Where it came to.
        expected: String,
    },
    /// Older than what is known already.
    #[error("key document {found} is older than {known}, which is known already")]
    OldKeys {
        /// The version it has.
        found: u64,
        /// The version that is known.
        known: u64,
    },
}

/// What is signed, in its own words.
#[derive(Serialize, Deserialize)]
struct Head {
    kind: String,
    payload_length: u64,
    payload_hash: String,
    #[serde(flatten)]
    says: serde_json::Value,
}

/// What the root says: who may publish.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    environment: String,
    version: u64,
    publishers: Vec<String>,
    issued_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Beat {
    #[serde(flatten)]
    header: Header,
    snapshot_hash: String,
}

#[derive(Serialize, Deserialize)]
struct CheckpointText {
    #[serde(flatten)]
    header: Header,
    audit_head: String,
}

const KEYS: &str = "keys";
const SNAPSHOT: &str = "snapshot";
const HEARTBEAT: &str = "heartbeat";
const CHECKPOINT: &str = "checkpoint";

/// Seals the document that names the publisher keys. Later ones need a higher version.
#[must_use]
pub fn seal_keys(
    root: &SigningKey,
    environment: &str,
    version: u64,
    publishers: &[PublicKey],
    issued_at: Timestamp,
) -> Vec<u8> {
    let publishers = publishers.iter().map(ToString::to_string).collect();
    seal(root, KEYS, &Keys { environment: environment.into(), version, publishers, issued_at }, &[])
}

/// Seals a snapshot document.
#[must_use]
pub fn seal_snapshot(publisher: &SigningKey, header: &Header, document: &[u8]) -> Vec<u8> {
    seal(publisher, SNAPSHOT, header, document)
}

/// Seals the word that at `issued_at` this snapshot was the current one.
#[must_use]
pub fn seal_heartbeat(publisher: &SigningKey, header: &Header, snapshot_hash: &Hash) -> Vec<u8> {
    let beat = Beat { header: header.clone(), snapshot_hash: snapshot_hash.to_string() };
    seal(publisher, HEARTBEAT, &beat, &[])
}

/// Seals the word that at `issued_at` this was the last row of the audit.
#[must_use]
pub fn seal_checkpoint(publisher: &SigningKey, header: &Header, audit_head: &Hash) -> Vec<u8> {
    let says = CheckpointText { header: header.clone(), audit_head: audit_head.to_string() };
    seal(publisher, CHECKPOINT, &says, &[])
}

fn seal(key: &SigningKey, kind: &str, says: &impl Serialize, payload: &[u8]) -> Vec<u8> {
    let head = Head {
        kind: kind.into(),
        payload_length: payload.len() as u64,
        payload_hash: Hash::of(payload).to_string(),
        // Plain structs of texts and numbers always have a JSON form.
        says: serde_json::to_value(says).unwrap_or_default(),
    };
    let head = serde_json::to_vec(&head).unwrap_or_default();
    let id = key.public().id();
    let signature = key.0.sign(&message(id, &head)).to_bytes();
    let mut out = Vec::with_capacity(FIXED + head.len() + payload.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&id.0);
    out.extend_from_slice(&signature);
    out.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    out
}

fn message(id: KeyId, head: &[u8]) -> Vec<u8> {
    let length = (head.len() as u64).to_le_bytes();
    [TAG, &id.0, &length, head].concat()
}

/// Whom to believe, for one environment.
#[derive(Debug, Clone)]
pub struct Trust {
    root: PublicKey,
    environment: String,
    version: u64,
    publishers: Vec<PublicKey>,
}

impl Trust {
    /// Believes a root key. Until it has named publishers no snapshot is accepted.
    #[must_use]
    pub fn new(root: PublicKey, environment: &str) -> Self {
        Self { root, environment: environment.into(), version: 0, publishers: Vec::new() }
    }

    /// Learns from the root who may publish.
    ///
    /// # Errors
    /// Where the root did not sign it, or it is older than what is known.
    pub fn accept_keys(&mut self, envelope: &[u8]) -> Result<(), TrustError> {
        let opened = open(envelope, KEYS, &[self.root])?;
        let keys: Keys = serde_json::from_value(opened.says).map_err(|_| UNREADABLE)?;
        self.right_environment(&keys.environment)?;
        if keys.version < self.version {
            return Err(TrustError::OldKeys { found: keys.version, known: self.version });
        }
        let publishers: Result<_, _> = keys.publishers.iter().map(|key| key.parse()).collect();
        (self.publishers, self.version) = (publishers?, keys.version);
        Ok(())
    }

    /// The version of the key document that is known; 0 before the first.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Checks a snapshot's envelope. Nothing of the snapshot is parsed.
    ///
    /// # Errors
    /// Where no publisher signed it for this environment.
    pub fn verify_snapshot(&self, envelope: &[u8]) -> Result<VerifiedSnapshot, TrustError> {
        let opened = open(envelope, SNAPSHOT, &self.publishers)?;
        let header: Header = serde_json::from_value(opened.says).map_err(|_| UNREADABLE)?;
        self.right_environment(&header.environment)?;
        Ok(VerifiedSnapshot { header, hash: opened.hash, document: opened.payload.into() })
    }

    /// Checks a heartbeat's envelope.
    ///
    /// # Errors
    /// Where no publisher signed it for this environment.
    pub fn verify_heartbeat(&self, envelope: &[u8]) -> Result<Heartbeat, TrustError> {
        let opened = open(envelope, HEARTBEAT, &self.publishers)?;
        let beat: Beat = serde_json::from_value(opened.says).map_err(|_| UNREADABLE)?;
        self.right_environment(&beat.header.environment)?;
        let snapshot_hash = beat.snapshot_hash.parse().map_err(|_| UNREADABLE)?;
        Ok(Heartbeat { header: beat.header, snapshot_hash })
    }

    /// Checks the envelope of an audit's checkpoint.
    ///
    /// # Errors
    /// Where no publisher signed it for this environment.
    pub fn verify_checkpoint(&self, envelope: &[u8]) -> Result<Checkpoint, TrustError> {
        let opened = open(envelope, CHECKPOINT, &self.publishers)?;
        let text: CheckpointText = serde_json::from_value(opened.says).map_err(|_| UNREADABLE)?;
        self.right_environment(&text.header.environment)?;
        let audit_head = text.audit_head.parse().map_err(|_| UNREADABLE)?;
        Ok(Checkpoint { header: text.header, audit_head })
    }

    fn right_environment(&self, found: &str) -> Result<(), TrustError> {
        if found == self.environment {
            return Ok(());
        }
        Err(TrustError::WrongEnvironment {
            found: found.into(),
            expected: self.environment.clone(),
        })
    }
}

const UNREADABLE: TrustError = TrustError::Malformed("its head cannot be read");

/// A snapshot document that a trusted publisher signed for this environment.
pub struct VerifiedSnapshot {
    header: Header,
    hash: Hash,
    document: Box<[u8]>,
}

impl VerifiedSnapshot {
    /// What the publisher says about it.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The hash of the document.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Reads it and prepares its answers from an instant on.
    ///
    /// # Errors
    /// Where it is of a newer format, or not the revision that its header says.
    pub fn decode(&self, at: Timestamp) -> Result<Snapshot, DocumentError> {
        self.as_its_header_says(Snapshot::decode(&self.document, at)?)
    }

    /// Reads it and prepares nothing, which is several times sooner; see [`Snapshot::open`].
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

impl fmt::Debug for VerifiedSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedSnapshot({:?}, {})", self.header, self.hash)
    }
}

/// The word of a trusted publisher that a snapshot was the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Which one, and when.
    pub header: Header,
    /// The hash of its document.
    pub snapshot_hash: Hash,
}

/// The word of a trusted publisher on how far the audit had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Up to which revision, and when that was.
    pub header: Header,
    /// The hash of the last row.
    pub audit_head: Hash,
}

struct Opened<'a> {
    says: serde_json::Value,
    hash: Hash,
    payload: &'a [u8],
}

fn open<'a>(
    envelope: &'a [u8],
    kind: &'static str,
    keys: &[PublicKey],
) -> Result<Opened<'a>, TrustError> {
    if envelope.len() > ENVELOPE_BYTES_MAX {
        return Err(TrustError::Malformed("it is too large"));
    }
    let cut_off = TrustError::Malformed("it is cut off");
    let (magic, rest) = envelope.split_first_chunk::<8>().ok_or(cut_off.clone())?;
    if magic != MAGIC {
        return Err(TrustError::Malformed("it does not start like one"));
    }
    let (id, rest) = rest.split_first_chunk::<8>().ok_or(cut_off.clone())?;
    let (signature, rest) = rest.split_first_chunk::<64>().ok_or(cut_off.clone())?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(cut_off.clone())?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > HEAD_MAX {
        return Err(TrustError::Malformed("its head is too large"));
    }
    let (head, payload) = rest.split_at_checked(length).ok_or(cut_off)?;
    let id = KeyId(*id);
    let key = keys.iter().find(|key| key.id() == id).ok_or(TrustError::UnknownKey(id))?;
    let signature = ed25519_dalek::Signature::from_bytes(signature);
    key.0.verify_strict(&message(id, head), &signature).map_err(|_| TrustError::BadSignature)?;
    // From here on the head is what a trusted key signed.
    let head: Head = serde_json::from_slice(head).map_err(|_| UNREADABLE)?;
    if head.kind != kind {
        return Err(TrustError::WrongKind { found: head.kind, expected: kind });
    }
    let hash = Hash::of(payload);
    if head.payload_length != payload.len() as u64 || head.payload_hash != hash.to_string() {
        return Err(TrustError::BadPayload);
    }
    Ok(Opened { says: head.says, hash, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes([byte; 32])
    }

    fn header(environment: &str) -> Header {
        Header {
            environment: environment.into(),
            epoch: 1,
            revision: Revision(7),
            issued_at: Timestamp::from_micros(5),
            max_age_s: Some(300),
        }
    }

    fn trust() -> Trust {
        let mut trust = Trust::new(key(1).public(), "default");
        let keys = seal_keys(&key(1), "default", 1, &[key(2).public()], Timestamp::from_micros(1));
        trust.accept_keys(&keys).unwrap();
        trust
    }

    #[test]
    fn what_a_publisher_seals_can_be_opened() {
        let envelope = seal_snapshot(&key(2), &header("default"), b"document");
        let verified = trust().verify_snapshot(&envelope).unwrap();
        assert_eq!(verified.header(), &header("default"));
        assert_eq!(verified.hash(), Hash::of(b"document"));
        let beat = seal_heartbeat(&key(2), &header("default"), &verified.hash());
        assert_eq!(trust().verify_heartbeat(&beat).unwrap().snapshot_hash, verified.hash());
    }

    #[test]
    fn a_flipped_bit_is_never_accepted_at_any_position() {
        let good = seal_snapshot(&key(2), &header("default"), b"document");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(trust().verify_snapshot(&bad).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(trust().verify_snapshot(&good[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn only_a_named_publisher_may_publish_and_only_for_this_environment() {
        let foreign = seal_snapshot(&key(3), &header("default"), b"document");
        assert_eq!(
            trust().verify_snapshot(&foreign).unwrap_err(),
            TrustError::UnknownKey(key(3).public().id())
        );
        let root = seal_snapshot(&key(1), &header("default"), b"document");
        assert!(matches!(trust().verify_snapshot(&root), Err(TrustError::UnknownKey(_))));
        let staging = seal_snapshot(&key(2), &header("staging"), b"document");
        assert!(matches!(
            trust().verify_snapshot(&staging),
            Err(TrustError::WrongEnvironment { .. })
        ));
        let unnamed = Trust::new(key(1).public(), "default");
        let good = seal_snapshot(&key(2), &header("default"), b"document");
        assert!(matches!(unnamed.verify_snapshot(&good), Err(TrustError::UnknownKey(_))));
    }

    #[test]
    fn one_kind_cannot_pass_for_another() {
        let beat = seal_heartbeat(&key(2), &header("default"), &Hash::of(b""));
        assert!(matches!(trust().verify_snapshot(&beat), Err(TrustError::WrongKind { .. })));
        let mut trust = trust();
        let keys = seal_keys(&key(2), "default", 2, &[key(3).public()], Timestamp::from_micros(1));
        assert!(matches!(trust.accept_keys(&keys), Err(TrustError::UnknownKey(_))));
    }

    #[test]
    fn a_checkpoint_says_how_far_the_audit_had_come() {
        let head = Hash::of(b"row");
        let sealed = seal_checkpoint(&key(2), &header("default"), &head);
        let checkpoint = trust().verify_checkpoint(&sealed).unwrap();
        assert_eq!((checkpoint.header.revision, checkpoint.audit_head), (Revision(7), head));
        assert!(trust().verify_heartbeat(&sealed).is_err());
        let foreign = seal_checkpoint(&key(3), &header("default"), &head);
        assert!(trust().verify_checkpoint(&foreign).is_err());
    }

    #[test]
    fn an_older_key_document_is_refused() {
        let seal = |version| {
            seal_keys(&key(1), "default", version, &[key(2).public()], Timestamp::from_micros(1))
        };
        let mut trust = trust();
        trust.accept_keys(&seal(3)).unwrap();
        trust.accept_keys(&seal(3)).unwrap();
        assert_eq!(trust.accept_keys(&seal(2)), Err(TrustError::OldKeys { found: 2, known: 3 }));
    }

    #[test]
    fn a_public_key_is_read_from_its_text() {
        let text = key(1).public().to_string();
        assert_eq!(text.parse::<PublicKey>().unwrap(), key(1).public());
        assert!("abc".parse::<PublicKey>().is_err());
    }
}
