//! What is sold: the catalog, free-form while it is a [`Draft`] and checked once it is a
//! [`Catalog`].

mod audience;
mod check;
mod feature;
mod grant;
mod offer;

use std::collections::BTreeMap;

pub(crate) use self::audience::days;
pub use self::{
    audience::{Age, AttributeValue, Audience, OneOf, Status},
    check::CatalogErrors,
    feature::{Feature, FeatureKind, Module, WhenStale},
    grant::{AMOUNT_MAX, Amount, Grant, Grants, Limit},
    offer::{AddOn, Bundle, Enrolment, Plan, PlanVersion, Promotion, Region, Segment},
};
use crate::{
    AddOnKey, BundleKey, FeatureKey, ModuleKey, PlanKey, Problem, PromotionKey, RegionKey,
    SegmentKey, Tenant,
};

/// A catalog as somebody wrote it. It may be wrong; [`Catalog::new`] tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, default)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Draft {
    /// Groups of features.
    #[cfg_attr(
        feature = "document",
        serde(
            skip_serializing_if = "BTreeMap::is_empty",
            deserialize_with = "crate::document::unique_keys"
        )
    )]
    pub modules: BTreeMap<ModuleKey, Module>,
    /// What can be used.
    #[cfg_attr(
        feature = "document",
        serde(
            skip_serializing_if = "BTreeMap::is_empty",
            deserialize_with = "crate::document::unique_keys"
        )
    )]
    pub features: BTreeMap<FeatureKey, Feature>,
    /// Reusable lists of grants.
    #[cfg_attr(
        feature = "document",
        serde(
            skip_serializing_if = "BTreeMap::is_empty",
            deserialize_with = "crate::document::unique_keys"
        )
    )]
    pub bundles: BTreeMap<BundleKey, Bundle>,
    /// What tenants subscribe to.
    #[cfg_attr(
        feature = "document",
        serde(
            skip_serializing_if = "BTreeMap::is_empty",
            deserialize_with = "crate::document::unique_keys"
        )
    )]
    pub plans: BTreeMap<PlanKey, Plan>,
    /// What tenants have on top.
    #[cfg_attr(
        feature = "document",
        serde(
            skip_serializing_if = "BTreeMap::is_empty",
            deserialize_with = "crate::document::unique_keys"
        )
    )]
    pub add_ons: BTreeMap<AddOnKey, AddOn>,
    /// What an audience gets inside a window.
    #[cfg_attr(
        feature = "document",
        serde(
            skip_serializing_if = "BTreeMap::is_empty",
            deserialize_with = "crate::document::unique_keys"
        )
    )]
    pub promotions: BTreeMap<PromotionKey, Promotion>,
    /// Named audiences.
    #[cfg_attr(
        feature = "document",
        serde(
            skip_serializing_if = "BTreeMap::is_empty",
            deserialize_with = "crate::document::unique_keys"
        )
    )]
    pub segments: BTreeMap<SegmentKey, Segment>,
    /// Named sets of countries.
    #[cfg_attr(
        feature = "document",
        serde(
            skip_serializing_if = "BTreeMap::is_empty",
            deserialize_with = "crate::document::unique_keys"
        )
    )]
    pub regions: BTreeMap<RegionKey, Region>,
}

/// A checked catalog: every name in it means something, no circle, every amount fits its feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog(Draft);

impl Catalog {
    /// Checks a draft.
    ///
    /// # Errors
    /// Every problem at once, each with its path, such as `plans.pro.grants.seats`.
    pub fn new(draft: Draft) -> Result<Self, CatalogErrors> {
        let problems = check::catalog(&draft);
        if problems.is_empty() { Ok(Self(draft)) } else { Err(CatalogErrors(problems)) }
    }

    /// What is in it.
    #[must_use]
    pub fn draft(&self) -> &Draft {
        &self.0
    }

    /// Gives the draft back, to be changed and checked again.
    #[must_use]
    pub fn into_draft(self) -> Draft {
        self.0
    }

    /// What is wrong with a tenant under this catalog: names that mean nothing in it, amounts that
    /// do not fit, overrides that overlap. The paths are those inside the tenant.
    ///
    /// A snapshot takes such a tenant all the same. What means nothing gives nothing.
    #[must_use]
    pub fn check_tenant(&self, tenant: &Tenant) -> Vec<Problem> {
        check::tenant(&self.0, tenant)
    }
}

/// What is wrong with a tenant under a draft, which may itself be wrong.
#[cfg(feature = "document")]
pub(crate) fn tenant_problems(draft: &Draft, tenant: &Tenant) -> Vec<Problem> {
    check::tenant(draft, tenant)
}
