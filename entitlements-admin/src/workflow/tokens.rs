//! Access tokens: who may do what. The secret itself is never kept, only its SHA-256.

use std::fmt;

use entitlements_core::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Changeset, Origin, TokenChange};

/// What a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Everything.
    Admin,
    /// Everything that changes nothing, but neither tokens nor the sync.
    Read,
    /// Only `/sync/v1/*`: for sidecars.
    Sync,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Read, Self::Sync];

    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Read => "read",
            Self::Sync => "sync",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::str::FromStr for Scope {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scope| scope.code() == text);
        found.ok_or_else(|| format!("`{text}` is not a scope: use `admin`, `read` or `sync`"))
    }
}

/// An access token as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The public part of its text.
    pub id: String,
    /// What it opens.
    pub scope: Scope,
    /// What people call it.
    pub label: String,
    /// SHA-256 of the secret part of its text.
    pub secret_hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} {} {:?})", self.id, self.scope, self.label)
    }
}

impl Token {
    /// Whether this is its secret. Takes the same time for every wrong one.
    #[must_use]
    pub fn has_secret(&self, secret: &str) -> bool {
        secret_hash(secret).ct_eq(&self.secret_hash).into()
    }
}

/// What is kept of a secret.
#[must_use]
pub fn secret_hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// The text that its owner sends.
#[must_use]
pub fn text(id: &str, secret: &str) -> String {
    format!("ent_{id}_{secret}")
}

/// The id and the secret in a text, where it has the form of a token.
#[must_use]
pub fn parse(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix("ent_")?.split_once('_')?;
    (id.len() == 8 && secret.len() >= 32).then_some((id, secret))
}

/// The longest label, in bytes.
pub const LABEL_BYTES_MAX: usize = 100;

/// Makes a token.
///
/// # Errors
/// Where the label is empty, too long, or has control characters in it.
pub fn create(origin: Origin, token: Token) -> Result<Changeset, String> {
    let label = &token.label;
    if label.trim().is_empty()
        || label.len() > LABEL_BYTES_MAX
        || label.chars().any(char::is_control)
    {
        return Err(format!(
            "a label takes 1 to {LABEL_BYTES_MAX} bytes without control characters: \
             say who uses the token, such as `sidecar in Frankfurt`"
        ));
    }
    let mut changes = origin.changeset(format!("token {}", token.id));
    changes.tokens.push(TokenChange::Create(token));
    Ok(changes)
}

/// Revokes a token.
#[must_use]
pub fn revoke(origin: Origin, id: String) -> Changeset {
    let mut changes = origin.changeset(format!("token {id}"));
    changes.tokens.push(TokenChange::Revoke(id));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_knows_its_secret_and_no_other() {
        let secret = "abcdefghijklmnopqrstuvwxyz234567";
        let token = Token {
            id: "aaaabbbb".into(),
            scope: Scope::Read,
            label: "test".into(),
            secret_hash: secret_hash(secret),
            created_at: Timestamp::from_micros(0),
        };
        let text = text(&token.id, secret);
        assert_eq!(parse(&text), Some(("aaaabbbb", secret)));
        assert!(token.has_secret(secret));
        assert!(!token.has_secret(&secret.to_uppercase()));
        assert!(!format!("{token:?}").contains("secret"));
    }

    #[test]
    fn what_does_not_look_like_a_token_is_none() {
        for text in ["", "ent_", "ent_short_x", "Bearer", "ent_aaaabbbb_short", "x_aaaabbbb_abc"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
