//! What can be used: features and the modules that group them.

use std::collections::BTreeSet;

use super::Audience;
use crate::{FeatureKey, IntegrationKey, Json, LevelName, ModuleKey};

/// Something a tenant may use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Feature {
    /// What people call it.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "String::is_empty"))]
    pub name: String,
    /// What it does, for people.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "String::is_empty"))]
    pub description: String,
    /// What "how much" means for it.
    pub kind: FeatureKind,
    /// The group it belongs to, whose conditions hold for it too.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
    pub module: Option<ModuleKey>,
    /// Features that must be allowed for this one to be allowed (rule 5).
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "BTreeSet::is_empty"))]
    pub requires: BTreeSet<FeatureKey>,
    /// Integrations that must be connected for it to be allowed (rule 5).
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "BTreeSet::is_empty"))]
    pub integrations: BTreeSet<IntegrationKey>,
    /// Where it may be sold at all (rule 5).
    #[cfg_attr(
        feature = "document",
        serde(default, skip_serializing_if = "Audience::is_everyone")
    )]
    pub available_to: Audience,
    /// Whether a block over everything leaves it alone (rule 1). Think of export and billing pages.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "std::ops::Not::not"))]
    pub essential: bool,
    /// What to answer from a snapshot that is older than its maximum age.
    #[cfg_attr(
        feature = "document",
        serde(default, skip_serializing_if = "WhenStale::is_default")
    )]
    pub when_stale: WhenStale,
}

/// What "how much" means for a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum FeatureKind {
    /// On or off.
    Switch,
    /// A whole number of a unit, or unlimited.
    Limit {
        /// What is counted, in the singular: `seat`, `invoice`.
        unit: String,
    },
    /// One of these names, from the least to the most.
    Level {
        /// From the least to the most.
        levels: Vec<LevelName>,
    },
    /// A JSON object.
    Config {
        /// The JSON Schema that each value must satisfy.
        schema: Json,
    },
}

/// What to answer from a snapshot that is older than its maximum age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum WhenStale {
    /// What the snapshot says. Time keeps running in it.
    #[default]
    LastKnown,
    /// Denied.
    Deny,
    /// A switch is on; anything else is what the snapshot says.
    Allow,
}

impl WhenStale {
    #[cfg(feature = "document")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A group of features; its conditions hold for each of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Module {
    /// What people call it.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "String::is_empty"))]
    pub name: String,
    /// What it is for, for people.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "String::is_empty"))]
    pub description: String,
    /// Features that must be allowed for any feature of the module to be allowed.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "BTreeSet::is_empty"))]
    pub requires: BTreeSet<FeatureKey>,
    /// Integrations that must be connected for any feature of the module to be allowed.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "BTreeSet::is_empty"))]
    pub integrations: BTreeSet<IntegrationKey>,
    /// Where its features may be sold at all.
    #[cfg_attr(
        feature = "document",
        serde(default, skip_serializing_if = "Audience::is_everyone")
    )]
    pub available_to: Audience,
}
