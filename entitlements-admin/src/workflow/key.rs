//! Service keys: which program may do what. The secret itself is never kept, only its SHA-256.

use std::{collections::BTreeSet, fmt};

use entitlements_core::{TenantKey, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Changeset, Kind, ObjectId, Origin, Record, Write};

/// What a key opens.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Everything but approving.
    Admin,
    /// Everything that changes nothing, but neither keys, users nor the sync.
    Read,
    /// Only the sync: for sidecars.
    Sync,
    /// Answers for tenants, and their usage: for the product's own services.
    Product,
    /// Only usage: for what collects metrics.
    Ingest,
    /// What a partner sees of its tenants.
    Partner,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 6] =
        [Self::Admin, Self::Read, Self::Sync, Self::Product, Self::Ingest, Self::Partner];

    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Read => "read",
            Self::Sync => "sync",
            Self::Product => "product",
            Self::Ingest => "ingest",
            Self::Partner => "partner",
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
        found.ok_or_else(|| {
            let all = Self::ALL.map(|scope| format!("`{scope}`")).join(", ");
            format!("`{text}` is not a scope: use one of {all}")
        })
    }
}

/// A service key as it is kept. What its text begins with is its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// What it opens.
    pub scope: Scope,
    /// What people call it.
    pub label: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// The person behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// From when on it opens nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The tenants that it is for. To it others do not exist. Empty: all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tenants: BTreeSet<TenantKey>,
    /// The partner that it is for: listings and requests of others do not exist to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
}

impl Key {
    /// Whether it has not expired.
    #[must_use]
    pub fn is_valid(&self, at: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| at < end)
    }
}

/// What is kept of a secret: its SHA-256 in hex digits.
#[must_use]
pub fn secret_hash(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a secret is the one whose hash was kept. Takes the same time for every wrong one.
#[must_use]
pub fn has_secret(kept_hash: &str, secret: &str) -> bool {
    secret_hash(secret).as_bytes().ct_eq(kept_hash.as_bytes()).into()
}

/// The text that its owner sends.
#[must_use]
pub fn text(id: &str, secret: &str) -> String {
    format!("ent_{id}_{secret}")
}

/// The id and the secret in a text, where it has the form of a key.
#[must_use]
pub fn parse(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix("ent_")?.split_once('_')?;
    (id.len() == 8 && secret.len() >= 32).then_some((id, secret))
}

/// The longest label, in bytes.
pub const LABEL_BYTES_MAX: usize = 100;

/// Makes a key.
///
/// # Errors
/// Where the label is empty, too long, or has control characters in it, or where the key would be
/// expired at once or is for tenants and more.
pub fn create(origin: Origin, id: &str, key: &Key, secret: &str) -> Result<Changeset, String> {
    let label = &key.label;
    if label.trim().is_empty()
        || label.len() > LABEL_BYTES_MAX
        || label.chars().any(char::is_control)
    {
        return Err(format!(
            "a label takes 1 to {LABEL_BYTES_MAX} bytes without control characters: \
             say who uses the key, such as `sidecar in Frankfurt`"
        ));
    }
    if let Some(end) = key.expires_at.filter(|_| !key.is_valid(origin.at)) {
        return Err(format!("`{end}` is over already: let the key expire later, or never"));
    }
    let scope = key.scope;
    if key.partner.is_some() && scope != Scope::Partner {
        return Err(format!("a key for `{scope}` is of no partner: leave out `partner`"));
    }
    if !key.tenants.is_empty() && !matches!(scope, Scope::Product | Scope::Ingest | Scope::Partner)
    {
        return Err(format!(
            "a key for `{scope}` is for all tenants: leave out `tenants`, or use `product`, \
             `ingest` or `partner`"
        ));
    }
    let mut changes = origin.changeset(format!("key {id}"));
    let record = Record { secret: Some(secret_hash(secret)), ..document(key)? };
    changes
        .writes
        .insert(ObjectId::new(Kind::Key, id), Write { expected: None, after: Some(record) });
    changes.answer.id = Some(id.into());
    Ok(changes)
}

fn document(key: &Key) -> Result<Record, String> {
    Record::of(key).map_err(|error| format!("the key cannot be written: {error}"))
}

/// Revokes a key.
#[must_use]
pub fn revoke(origin: Origin, id: &str, current: entitlements_core::Revision) -> Changeset {
    let mut changes = origin.changeset(format!("key {id}"));
    changes
        .writes
        .insert(ObjectId::new(Kind::Key, id), Write { expected: Some(current), after: None });
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: i64) -> Timestamp {
        Timestamp::from_micros(number)
    }

    fn key(scope: Scope) -> Key {
        Key {
            scope,
            label: "test".into(),
            created_at: at(0),
            created_by: "test".into(),
            principal: None,
            expires_at: None,
            tenants: BTreeSet::new(),
            partner: None,
        }
    }

    #[test]
    fn a_key_knows_its_secret_and_no_other() {
        let secret = "abcdefghijklmnopqrstuvwxyz234567";
        let kept = secret_hash(secret);
        let text = text("aaaabbbb", secret);
        assert_eq!(parse(&text), Some(("aaaabbbb", secret)));
        assert!(has_secret(&kept, secret));
        assert!(!has_secret(&kept, &secret.to_uppercase()));
        assert!(!kept.contains(secret));
    }

    #[test]
    fn what_does_not_look_like_a_key_is_none() {
        for text in ["", "ent_", "ent_short_x", "Bearer", "ent_aaaabbbb_short", "x_aaaabbbb_abc"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_expires_at_its_instant() {
        let expiring = Key { expires_at: Some(at(10)), ..key(Scope::Read) };
        assert!(expiring.is_valid(at(9)) && !expiring.is_valid(at(10)));
        let origin = Origin::local("test", "create_key", at(10));
        let error = create(origin, "aaaabbbb", &expiring, "x").unwrap_err();
        assert!(error.contains("is over already"), "{error}");
    }

    #[test]
    fn only_some_scopes_can_be_for_some_tenants() {
        let tenants: BTreeSet<TenantKey> = ["acme".parse().unwrap()].into();
        for scope in Scope::ALL {
            let origin = Origin::local("test", "create_key", at(1));
            let some = Key { tenants: tenants.clone(), ..key(scope) };
            let may = matches!(scope, Scope::Product | Scope::Ingest | Scope::Partner);
            assert_eq!(create(origin, "aaaabbbb", &some, "x").is_ok(), may, "{scope}");
        }
    }
}
