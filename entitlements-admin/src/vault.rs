//! Keeps credentials so that nobody reads them in the database or in a backup.
//!
//! They are sealed with XChaCha20-Poly1305 under a key that is drawn from the root key, each for what
//! it belongs to: put elsewhere, it does not open.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};

const NONCE_BYTES: usize = 24;
/// Says how it was sealed, so that it can be done another way some day.
const VERSION: &str = "x1:";

/// Seals and opens.
pub(crate) struct Vault(XChaCha20Poly1305);

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    /// One whose key is drawn from a root key.
    pub(crate) fn new(root: &[u8; 32]) -> Self {
        let key = blake3::derive_key("entitlements 2026 credentials of connectors", root);
        Self(XChaCha20Poly1305::new(&key.into()))
    }

    /// Seals a text for what it belongs to. A nonce is used once.
    ///
    /// # Errors
    /// Where it is too long to be sealed.
    pub(crate) fn seal(
        &self,
        owner: &str,
        text: &str,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<String, String> {
        let payload = Payload { msg: text.as_bytes(), aad: owner.as_bytes() };
        let sealed = self.0.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| "it cannot be sealed".to_owned())?;
        Ok(format!("{VERSION}{}", STANDARD.encode([&nonce[..], &sealed].concat())))
    }

    /// Opens what was sealed for the same owner.
    ///
    /// # Errors
    /// Where it was sealed with another key or for another owner, or was touched.
    pub(crate) fn open(&self, owner: &str, sealed: &str) -> Result<String, String> {
        let wrong =
            || format!("the credentials of {owner} do not open with this root key: give them anew");
        let bytes = sealed.strip_prefix(VERSION).and_then(|text| STANDARD.decode(text).ok());
        let bytes = bytes.ok_or_else(wrong)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or_else(wrong)?;
        let payload = Payload { msg: sealed, aad: owner.as_bytes() };
        let opened = self.0.decrypt(&XNonce::from(*nonce), payload).map_err(|_| wrong())?;
        String::from_utf8(opened).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_owner_alone() {
        let vault = Vault::new(&[7; 32]);
        let sealed = vault.seal("connector:a", "hush", [1; 24]).unwrap();
        assert_eq!(vault.open("connector:a", &sealed), Ok("hush".into()));
        assert!(!sealed.contains("hush") && !sealed.contains(&STANDARD.encode("hush")));
        assert_ne!(sealed, vault.seal("connector:a", "hush", [2; 24]).unwrap());
        let mut touched = sealed.clone().into_bytes();
        let last = touched.len() - 6;
        touched[last] = if touched[last] == b'A' { b'B' } else { b'A' };
        for (owner, text) in [
            ("connector:b", sealed.as_str()),
            ("connector:a", std::str::from_utf8(&touched).unwrap()),
            ("connector:a", "x1:"),
            ("connector:a", "hush"),
        ] {
            let error = vault.open(owner, text).unwrap_err();
            assert!(error.contains("give them anew") && !error.contains("hush"), "{error}");
        }
        assert!(Vault::new(&[8; 32]).open("connector:a", &sealed).is_err());
    }
}
