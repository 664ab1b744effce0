//! Who is asking: a tenant and everything about it that decides its answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    AddOnKey, Amount, AttributeKey, AttributeValue, Country, FeatureKey, IntegrationKey, ModuleKey,
    OwnerKey, PlanKey, PromotionKey, SegmentKey, Timestamp, Window,
};

/// One tenant's facts. The key stands outside, as the name of the row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, default)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tenant {
    /// What people call it.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Option::is_none"))]
    pub name: Option<Arc<str>>,
    /// Where it is.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Option::is_none"))]
    pub country: Option<Country>,
    /// When it signed up; its age counts from here.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Option::is_none"))]
    pub signed_up_at: Option<Timestamp>,
    /// Segments that it is tagged with.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "BTreeSet::is_empty"))]
    pub segments: BTreeSet<SegmentKey>,
    /// Integrations that are connected now.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "BTreeSet::is_empty"))]
    pub integrations: BTreeSet<IntegrationKey>,
    /// Custom attributes.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "BTreeMap::is_empty"))]
    pub attributes: BTreeMap<AttributeKey, AttributeValue>,
    /// Past, present and future subscriptions.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Vec::is_empty"))]
    pub subscriptions: Vec<Subscription>,
    /// Add-ons that it has, whether in force or suspended.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Vec::is_empty"))]
    pub add_ons: Vec<TenantAddOn>,
    /// Promotions by request that it is enrolled in.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Vec::is_empty"))]
    pub enrolments: Vec<TenantEnrolment>,
    /// An operator's word for single features.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Vec::is_empty"))]
    pub overrides: Vec<Override>,
    /// Denials with an owner.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Vec::is_empty"))]
    pub blocks: Vec<Block>,
}

/// A plan for a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Subscription {
    /// Which plan.
    pub plan: PlanKey,
    /// When. Its start decides which version of the plan counts.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Window::is_always"))]
    pub window: Window,
    /// Whether it is a trial.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "std::ops::Not::not"))]
    pub trial: bool,
}

/// An add-on for a time, so many times.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TenantAddOn {
    /// Which add-on.
    pub add_on: AddOnKey,
    /// How many of it, at least 1.
    #[cfg_attr(feature = "document", serde(default = "one", skip_serializing_if = "is_one"))]
    pub quantity: u32,
    /// When.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Window::is_always"))]
    pub window: Window,
}

/// A promotion by request that a tenant is enrolled in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TenantEnrolment {
    /// Which promotion.
    pub promotion: PromotionKey,
    /// When.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Window::is_always"))]
    pub window: Window,
}

/// An operator's word for one feature of one tenant (rule 4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Override {
    /// Which feature.
    pub feature: FeatureKey,
    /// What it is instead of what the rules find. Absent: denied.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
    pub amount: Option<Amount>,
    /// When.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Window::is_always"))]
    pub window: Window,
    /// Whether it holds although a condition of rule 5 does not.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "std::ops::Not::not"))]
    pub force: bool,
    /// Who said so.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
    pub author: Option<Arc<str>>,
    /// Why.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
    pub note: Option<Arc<str>>,
}

/// A denial with an owner (rule 1). Nothing lifts it but its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Block {
    /// Who put it there, such as `billing` or `security`.
    pub owner: OwnerKey,
    /// The features it covers. With `modules` empty too: all but the essential ones.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "BTreeSet::is_empty"))]
    pub features: BTreeSet<FeatureKey>,
    /// The modules whose features it covers.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "BTreeSet::is_empty"))]
    pub modules: BTreeSet<ModuleKey>,
    /// When.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Window::is_always"))]
    pub window: Window,
    /// Why.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
    pub note: Option<Arc<str>>,
}

#[cfg(feature = "document")]
const fn one() -> u32 {
    1
}

#[cfg(feature = "document")]
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_one(number: &u32) -> bool {
    *number == 1
}
