//! Keys: the names by which people and programs refer to things.
//!
//! Each kind of key is a type of its own, so that a plan cannot be asked for where a feature is
//! meant. A key is checked once, when it is made, and cheap to clone after that.

use std::{borrow::Borrow, fmt, sync::Arc};

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} key: {expected}")]
pub struct KeyError {
    text: String,
    kind: &'static str,
    expected: &'static str,
}

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 128;

const CATALOG_RULE: &str =
    "use 1 to 128 of `a-z`, `0-9`, `.`, `_` and `-`, starting with a letter or digit";
const TENANT_RULE: &str = "use 1 to 128 of letters, digits, `.`, `_`, `:` and `-`";
const COUNTRY_RULE: &str = "use the two capital letters of ISO 3166, such as `DE`";

fn is_catalog_key(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    first
        && text.len() <= KEY_BYTES_MAX
        && bytes.all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-')
        })
}

fn is_tenant_key(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= KEY_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase())
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $kind:literal, $valid:ident, $rule:ident, $pattern:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "document", derive(serde::Serialize), serde(transparent))]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and makes a key of it.
            ///
            /// # Errors
            /// Where the text breaks the rule for this kind of key.
            pub fn new(text: &str) -> Result<Self, KeyError> {
                if Self::is_valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(KeyError { text: text.into(), kind: $kind, expected: $rule })
                }
            }

            /// Whether a text is such a key.
            #[must_use]
            pub fn is_valid(text: &str) -> bool {
                $valid(text)
            }

            /// The key as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "`{}`", self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = KeyError;
            fn from_str(text: &str) -> Result<Self, KeyError> {
                Self::new(text)
            }
        }

        #[cfg(feature = "document")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": $pattern,
                    "description": concat!("The key of a ", $kind, "."),
                })
            }
        }
    )*};
}

keys! {
    /// Names a [`Feature`](crate::Feature).
    FeatureKey = "feature", is_catalog_key, CATALOG_RULE, "^[a-z0-9][a-z0-9._-]{0,127}$";
    /// Names a [`Module`](crate::Module).
    ModuleKey = "module", is_catalog_key, CATALOG_RULE, "^[a-z0-9][a-z0-9._-]{0,127}$";
    /// Names a [`Bundle`](crate::Bundle).
    BundleKey = "bundle", is_catalog_key, CATALOG_RULE, "^[a-z0-9][a-z0-9._-]{0,127}$";
    /// Names a [`Plan`](crate::Plan).
    PlanKey = "plan", is_catalog_key, CATALOG_RULE, "^[a-z0-9][a-z0-9._-]{0,127}$";
    /// Names an [`AddOn`](crate::AddOn).
    AddOnKey = "add-on", is_catalog_key, CATALOG_RULE, "^[a-z0-9][a-z0-9._-]{0,127}$";
    /// Names a [`Promotion`](crate::Promotion).
    PromotionKey = "promotion", is_catalog_key, CATALOG_RULE, "^[a-z0-9][a-z0-9._-]{0,127}$";
    /// Names a [`Segment`](crate::Segment).
    SegmentKey = "segment", is_catalog_key, CATALOG_RULE, "^[a-z0-9][a-z0-9._-]{0,127}$";
    /// Names a [`Region`](crate::Region).
    RegionKey = "region", is_catalog_key, CATALOG_RULE, "^[a-z0-9][a-z0-9._-]{0,127}$";
    /// Names an integration that a tenant may have connected.
    IntegrationKey = "integration", is_catalog_key, CATALOG_RULE, "^[a-z0-9][a-z0-9._-]{0,127}$";
    /// Names a custom attribute of a tenant.
    AttributeKey = "attribute", is_catalog_key, CATALOG_RULE, "^[a-z0-9][a-z0-9._-]{0,127}$";
    /// Names one of the ordered levels of a `level` feature.
    LevelName = "level", is_catalog_key, CATALOG_RULE, "^[a-z0-9][a-z0-9._-]{0,127}$";
    /// Names a group of promotions of which only one counts at a time.
    GroupKey = "group", is_catalog_key, CATALOG_RULE, "^[a-z0-9][a-z0-9._-]{0,127}$";
    /// Names who put a [`Block`](crate::Block) on a tenant, such as `billing`.
    OwnerKey = "owner", is_catalog_key, CATALOG_RULE, "^[a-z0-9][a-z0-9._-]{0,127}$";
    /// Names a [`Tenant`](crate::Tenant). It comes from outside, so its rule is wider.
    TenantKey = "tenant", is_tenant_key, TENANT_RULE, "^[A-Za-z0-9._:-]{1,128}$";
    /// A country by its ISO 3166 code.
    Country = "country", is_country, COUNTRY_RULE, "^[A-Z]{2}$";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_key_is_lower_case_and_never_breaks_a_path() {
        for good in ["a", "seats", "api.calls", "sso-2", "9to5", "a_b"] {
            assert!(FeatureKey::new(good).is_ok(), "{good}");
        }
        for bad in ["", "Seats", "a/b", "a b", "-a", ".a", "ä", "a?", "a#", "a\n", &"a".repeat(129)]
        {
            assert!(FeatureKey::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_names_the_text_the_kind_and_the_rule() {
        let error = PlanKey::new("Pro Plan").unwrap_err().to_string();
        assert!(error.starts_with("`Pro Plan` is not a plan key: use 1 to 128"), "{error}");
    }

    #[test]
    fn tenants_may_carry_foreign_ids() {
        assert!(TenantKey::new("crm:0012-AB.x_9").is_ok());
        assert!(TenantKey::new("a\0b").is_err());
        assert!(TenantKey::new("a b").is_err());
    }
}
