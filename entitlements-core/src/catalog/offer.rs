//! What is sold: bundles, plans, add-ons and promotions; and whom it is sold to: segments, regions.

use std::collections::BTreeSet;

use super::{Audience, Grants};
use crate::{AddOnKey, BundleKey, Country, GroupKey, PlanKey, Timestamp, Window};

/// A named, reusable list of grants, which may include other bundles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, default)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Bundle {
    /// What people call it.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "String::is_empty"))]
    pub name: String,
    /// What it is for, for people.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "String::is_empty"))]
    pub description: String,
    /// Bundles whose grants it passes on.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "BTreeSet::is_empty"))]
    pub bundles: BTreeSet<BundleKey>,
    /// Its own grants.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Grants::is_empty"))]
    pub grants: Grants,
}

/// What a tenant subscribes to.
///
/// Its own `extends`, `bundles` and `grants` are its first version; `versions` hold the later ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, default)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Plan {
    /// What people call it.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "String::is_empty"))]
    pub name: String,
    /// What it is for, for people.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "String::is_empty"))]
    pub description: String,
    /// The plan whose grants it passes on.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Option::is_none"))]
    pub extends: Option<PlanKey>,
    /// Bundles whose grants it passes on.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "BTreeSet::is_empty"))]
    pub bundles: BTreeSet<BundleKey>,
    /// Its own grants.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Grants::is_empty"))]
    pub grants: Grants,
    /// Later versions, in any order.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Vec::is_empty"))]
    pub versions: Vec<PlanVersion>,
}

/// What a plan holds for those who subscribe from an instant on. It replaces the version before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlanVersion {
    /// Subscriptions that start here or later have it at once.
    pub from: Timestamp,
    /// From here on, older subscriptions have it too. Absent: never (grandfathering).
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
    pub existing_from: Option<Timestamp>,
    /// The plan whose grants it passes on.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
    pub extends: Option<PlanKey>,
    /// Bundles whose grants it passes on.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "BTreeSet::is_empty"))]
    pub bundles: BTreeSet<BundleKey>,
    /// Its own grants.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Grants::is_empty"))]
    pub grants: Grants,
}

/// What a tenant has on top of its plans, so many times.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, default)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AddOn {
    /// What people call it.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "String::is_empty"))]
    pub name: String,
    /// What it is for, for people.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "String::is_empty"))]
    pub description: String,
    /// Bundles whose grants it passes on.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "BTreeSet::is_empty"))]
    pub bundles: BTreeSet<BundleKey>,
    /// Its own grants. What they add is multiplied by the quantity.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Grants::is_empty"))]
    pub grants: Grants,
    /// Who may have it. Held by others it is suspended.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Audience::is_everyone"))]
    pub available_to: Audience,
    /// Add-ons that must be in force for it to be.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "BTreeSet::is_empty"))]
    pub requires: BTreeSet<AddOnKey>,
    /// Add-ons that it is never in force beside. It holds both ways.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "BTreeSet::is_empty"))]
    pub excludes: BTreeSet<AddOnKey>,
    /// The most a tenant may have. Absent: as many as it likes.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Option::is_none"))]
    pub max_quantity: Option<u32>,
}

/// What an audience gets inside a window.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, default)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Promotion {
    /// What people call it.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "String::is_empty"))]
    pub name: String,
    /// What it is for, for people.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "String::is_empty"))]
    pub description: String,
    /// When it runs.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Window::is_always"))]
    pub window: Window,
    /// Whom it is for.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Audience::is_everyone"))]
    pub audience: Audience,
    /// How a tenant comes to have it.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Enrolment::is_automatic"))]
    pub enrolment: Enrolment,
    /// Within an exclusive group the highest counts.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "is_zero"))]
    pub priority: i32,
    /// The promotions beside which it is never in force.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Option::is_none"))]
    pub exclusive_group: Option<GroupKey>,
    /// Bundles whose grants it passes on.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "BTreeSet::is_empty"))]
    pub bundles: BTreeSet<BundleKey>,
    /// Its own grants.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Grants::is_empty"))]
    pub grants: Grants,
}

#[cfg(feature = "document")]
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// How a tenant comes to have a promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Enrolment {
    /// By being in the audience.
    #[default]
    Automatic,
    /// By being enrolled too.
    ByRequest {
        /// The most tenants that may be enrolled at a time. Absent: no end. It is enforced where
        /// tenants enrol, not where they are checked.
        #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
        cap: Option<u32>,
    },
}

impl Enrolment {
    /// Whether it takes nothing but being in the audience.
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        matches!(self, Self::Automatic)
    }
}

/// A named audience. A tenant is in it by tag, or because the audience matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, default)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Segment {
    /// What people call it.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "String::is_empty"))]
    pub name: String,
    /// Who is in it without being tagged. Absent: nobody.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Option::is_none"))]
    pub audience: Option<Audience>,
}

/// A named set of countries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, default)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Region {
    /// What people call it.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "String::is_empty"))]
    pub name: String,
    /// Its countries.
    pub countries: BTreeSet<Country>,
}
