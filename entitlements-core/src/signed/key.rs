//! Keys: the halves that sign and the halves that check.

use std::{fmt, str::FromStr};

use ed25519_dalek::{Signature, Signer, VerifyingKey};

use super::{Hash, TrustError};

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

impl SigningKey {
    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl PublicKey {
    pub(super) fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl KeyId {
    pub(super) const fn bytes(self) -> [u8; 8] {
        self.0
    }

    pub(super) const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}
