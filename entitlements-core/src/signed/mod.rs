//! Signed envelopes: who may publish, and was it changed on its way.
//!
//! An offline root key signs one small document that names the publisher keys. A publisher key signs
//! snapshots, changes and heartbeats. A signature covers raw bytes and is checked before anything is
//! parsed. No setting loads what is not signed: [`VerifiedSnapshot`] has no other constructor.

mod bundle;
mod envelope;
mod error;
mod key;
mod says;

use serde::{Deserialize, Serialize};

use self::envelope::open;
pub use self::{
    bundle::{TornBundle, bundle, empty_bundle, push_envelope, unbundle},
    error::TrustError,
    key::{KeyId, PublicKey, SigningKey},
    says::{
        Basis, BasisError, Checkpoint, Header, Heartbeat, Tidings, Verified, VerifiedCandidate,
        VerifiedDelta, VerifiedSnapshot, seal_candidate, seal_checkpoint, seal_delta,
        seal_heartbeat, seal_snapshot,
    },
};
use crate::Timestamp;
pub use crate::document::Hash;

/// The largest envelope that is looked at, in bytes.
pub const ENVELOPE_BYTES_MAX: usize = 1 << 30;

/// What the root says: who may publish.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysSay {
    environment: String,
    version: u64,
    publishers: Vec<String>,
    issued_at: Timestamp,
}

const KEYS: &str = "keys";

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
    let says = KeysSay { environment: environment.into(), version, publishers, issued_at };
    envelope::seal(root, KEYS, &says, &[])
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
    /// Believes a root key. Until it has named publishers nothing else is accepted.
    #[must_use]
    pub fn new(root: PublicKey, environment: &str) -> Self {
        Self { root, environment: environment.into(), version: 0, publishers: Vec::new() }
    }

    /// Learns from the root who may publish.
    ///
    /// # Errors
    /// Where the root did not sign it, it names nobody, or it is older than what is known.
    pub fn accept_keys(&mut self, envelope: &[u8]) -> Result<(), TrustError> {
        let keys: KeysSay = open(envelope, &[self.root])?.says(KEYS)?;
        self.right_environment(&keys.environment)?;
        if keys.version < self.version {
            return Err(TrustError::OldKeys { found: keys.version, known: self.version });
        }
        let publishers: Vec<PublicKey> =
            keys.publishers.iter().map(|key| key.parse()).collect::<Result<_, _>>()?;
        if publishers.is_empty() {
            return Err(TrustError::Malformed("it names no publisher"));
        }
        (self.publishers, self.version) = (publishers, keys.version);
        Ok(())
    }

    /// The version of the key document that is known; 0 before the first.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Checks the envelope of anything that a publisher tells those who follow it. Nothing of the
    /// payload is parsed.
    ///
    /// # Errors
    /// Where no publisher signed it for this environment.
    pub fn verify(&self, envelope: &[u8]) -> Result<Verified, TrustError> {
        let verified = Verified::read(&open(envelope, &self.publishers)?)?;
        self.right_environment(&verified.header().environment)?;
        Ok(verified)
    }

    /// Checks a snapshot's envelope. Nothing of the snapshot is parsed.
    ///
    /// # Errors
    /// As [`Trust::verify`], and where it is something else.
    pub fn verify_snapshot(&self, envelope: &[u8]) -> Result<VerifiedSnapshot, TrustError> {
        let verified = VerifiedSnapshot::read(&open(envelope, &self.publishers)?)?;
        self.right_environment(&verified.header().environment)?;
        Ok(verified)
    }

    /// Checks a heartbeat's envelope.
    ///
    /// # Errors
    /// As [`Trust::verify`], and where it is something else.
    pub fn verify_heartbeat(&self, envelope: &[u8]) -> Result<Heartbeat, TrustError> {
        let heartbeat = Heartbeat::read(&open(envelope, &self.publishers)?)?;
        self.right_environment(&heartbeat.header.environment)?;
        Ok(heartbeat)
    }

    /// Checks the envelope of an audit's checkpoint.
    ///
    /// # Errors
    /// As [`Trust::verify`], and where it is something else.
    pub fn verify_checkpoint(&self, envelope: &[u8]) -> Result<Checkpoint, TrustError> {
        let checkpoint = Checkpoint::read(&open(envelope, &self.publishers)?)?;
        self.right_environment(&checkpoint.header.environment)?;
        Ok(checkpoint)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Revision;

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
            activate_at: None,
        }
    }

    fn content() -> Hash {
        Hash::of(b"content")
    }

    fn trust() -> Trust {
        let mut trust = Trust::new(key(1).public(), "default");
        let keys = seal_keys(&key(1), "default", 1, &[key(2).public()], Timestamp::from_micros(1));
        trust.accept_keys(&keys).unwrap();
        trust
    }

    #[test]
    fn what_a_publisher_seals_can_be_opened() {
        let envelope = seal_snapshot(&key(2), &header("default"), &content(), b"document");
        let verified = trust().verify_snapshot(&envelope).unwrap();
        assert_eq!(verified.header(), &header("default"));
        assert_eq!(verified.basis().to_string(), format!("1.7.{}", content()));
        let beat = seal_heartbeat(&key(2), &header("default"), &content(), &Tidings::default());
        assert_eq!(trust().verify_heartbeat(&beat).unwrap().basis(), verified.basis());
    }

    #[test]
    fn a_flipped_bit_is_never_accepted_at_any_position() {
        let good = seal_snapshot(&key(2), &header("default"), &content(), b"document");
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
        let foreign = seal_snapshot(&key(3), &header("default"), &content(), b"document");
        assert_eq!(
            trust().verify_snapshot(&foreign).unwrap_err(),
            TrustError::UnknownKey(key(3).public().id())
        );
        let root = seal_snapshot(&key(1), &header("default"), &content(), b"document");
        assert!(matches!(trust().verify_snapshot(&root), Err(TrustError::UnknownKey(_))));
        let staging = seal_snapshot(&key(2), &header("staging"), &content(), b"document");
        assert!(matches!(
            trust().verify_snapshot(&staging),
            Err(TrustError::WrongEnvironment { .. })
        ));
        let unnamed = Trust::new(key(1).public(), "default");
        let good = seal_snapshot(&key(2), &header("default"), &content(), b"document");
        assert!(matches!(unnamed.verify_snapshot(&good), Err(TrustError::UnknownKey(_))));
    }

    #[test]
    fn one_kind_cannot_pass_for_another() {
        let beat = seal_heartbeat(&key(2), &header("default"), &content(), &Tidings::default());
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
    fn a_key_document_that_names_nobody_is_refused() {
        let mut trust = trust();
        let nobody = seal_keys(&key(1), "default", 2, &[], Timestamp::from_micros(1));
        assert!(trust.accept_keys(&nobody).is_err());
        assert_eq!(trust.version(), 1);
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
