//! Why something is not trusted.

use super::KeyId;

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
