//! Who gains or loses what between two snapshots: the blast radius of a change before it is made.
//!
//! Tenants whose rows are the same two share their differences. So each distinct pair of rows is
//! compared once, and for each tenant there is only counting left. What is kept on the way is
//! bounded: it is folded into the totals and forgotten when it has grown large.

mod above;
mod add_ons;
mod aggregate;
mod change;
mod cohort;
mod compare;
mod milestone;
mod reach;
mod sample;

use std::{collections::BTreeMap, fmt};

pub use self::{
    change::{Change, Direction},
    milestone::{Milestone, MilestoneEvent, MilestoneKind},
};
use crate::{
    AddOnKey, Country, FeatureKey, PlanKey, Revision, SegmentKey, Snapshot, Standing, Timestamp,
};

/// What a change of catalog or tenants does to all tenants at one instant, in numbers.
///
/// Its size follows from the catalog and from [`ImpactOptions::sample_max`], not from the number of
/// tenants. Two snapshots have one impact: it does not depend on what is prepared, nor on order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "document", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Impact {
    /// When.
    pub at: Timestamp,
    /// Compared with which revision.
    pub before: Revision,
    /// Of which revision.
    pub after: Revision,
    /// On all tenants that either snapshot has.
    pub all: CohortImpact,
    /// On those with a subscription to a plan in force, by plan. A tenant with several counts under
    /// each. Here and below: by what it is in either snapshot, and only where something changes.
    #[cfg_attr(feature = "document", serde(default))]
    pub by_plan: BTreeMap<PlanKey, CohortImpact>,
    /// On those in a country, by country.
    #[cfg_attr(feature = "document", serde(default))]
    pub by_country: BTreeMap<Country, CohortImpact>,
    /// On those in a segment of either catalog, by tag or by its audience.
    #[cfg_attr(feature = "document", serde(default))]
    pub by_segment: BTreeMap<SegmentKey, CohortImpact>,
    /// For each feature and direction the tenants with the smallest keys, in that order.
    #[cfg_attr(feature = "document", serde(default))]
    pub sample: Vec<SampledChange>,
    /// Add-ons that are in force before and suspended after.
    #[cfg_attr(feature = "document", serde(default))]
    pub suspended: Vec<AddOnImpact>,
    /// Add-ons that are suspended before and in force after; the reason is the one they had.
    #[cfg_attr(feature = "document", serde(default))]
    pub resumed: Vec<AddOnImpact>,
    /// Features of which tenants use more than they still may. Empty where no usage was given.
    #[cfg_attr(feature = "document", serde(default))]
    pub above_limit: Vec<AboveLimit>,
}

/// What a change does to some tenants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "document", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CohortImpact {
    /// How many tenants there are.
    pub tenants: u64,
    /// How many of them have any change.
    pub changed: u64,
    /// How many of them have a loss: a feature lost or lowered.
    pub losing: u64,
    /// For each feature with a change, how many tenants have which.
    pub features: BTreeMap<FeatureKey, Tally>,
}

impl CohortImpact {
    /// All its changes, each tenant and feature one.
    #[must_use]
    pub fn changes(&self) -> Tally {
        self.features.values().fold(Tally::default(), |mut sum, tally| {
            Direction::ALL.into_iter().for_each(|way| *sum.of_mut(way) += tally.of(way));
            sum
        })
    }
}

/// How many tenants have a change, by its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "document", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tally {
    /// Denied before, allowed after.
    pub gained: u64,
    /// Allowed before, denied after.
    pub lost: u64,
    /// A larger limit or a higher level.
    pub raised: u64,
    /// A smaller limit or a lower level.
    pub lowered: u64,
    /// Other settings of a config, or a feature that has become one of another kind.
    pub altered: u64,
}

impl Tally {
    /// How many of one direction.
    #[must_use]
    pub const fn of(&self, direction: Direction) -> u64 {
        match direction {
            Direction::Gained => self.gained,
            Direction::Lost => self.lost,
            Direction::Raised => self.raised,
            Direction::Lowered => self.lowered,
            Direction::Altered => self.altered,
        }
    }

    const fn of_mut(&mut self, direction: Direction) -> &mut u64 {
        match direction {
            Direction::Gained => &mut self.gained,
            Direction::Lost => &mut self.lost,
            Direction::Raised => &mut self.raised,
            Direction::Lowered => &mut self.lowered,
            Direction::Altered => &mut self.altered,
        }
    }

    /// How many in all.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.gained + self.lost + self.raised + self.lowered + self.altered
    }
}

/// One change, as an example of many.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "document", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SampledChange {
    /// Of which feature.
    pub feature: FeatureKey,
    /// What it means to the tenant.
    pub direction: Direction,
    /// Whose.
    pub tenant: String,
    /// The answer before: `denied`, `allowed`, an amount, a level's name or a config's JSON.
    pub before: String,
    /// The answer after.
    pub after: String,
}

/// An add-on that some tenants' answers come to do without, or have again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "document", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AddOnImpact {
    /// Which add-on.
    pub add_on: AddOnKey,
    /// Why it is, or was, suspended.
    pub standing: Standing,
    /// The add-on that it lacks, or that excludes it.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
    pub because: Option<AddOnKey>,
    /// How many tenants.
    pub tenants: u64,
    /// Those with the smallest keys.
    pub sample: Vec<String>,
}

/// A feature of which some tenants use more than they may after the change, and did not before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "document", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AboveLimit {
    /// Which feature.
    pub feature: FeatureKey,
    /// How many tenants.
    pub tenants: u64,
    /// Those with the smallest keys.
    pub sample: Vec<SampledUsage>,
}

/// One tenant that uses more than it may after the change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "document", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SampledUsage {
    /// Which tenant.
    pub tenant: String,
    /// How much it uses.
    pub used: u64,
    /// The answer before.
    pub before: String,
    /// The answer after: a smaller limit, or `denied`.
    pub after: String,
}

/// How much a tenant uses of a feature, where that is known.
pub type Usage<'u> = dyn Fn(&str, &FeatureKey) -> Option<u64> + 'u;

/// What an impact is to hold beside its counts.
#[derive(Clone, Copy)]
pub struct ImpactOptions<'u> {
    /// The most tenants in each sample: for each feature and direction, for each add-on and reason,
    /// and for each feature above its limit.
    pub sample_max: usize,
    /// Asked about what tenants may no longer use, or not as much.
    pub usage: Option<&'u Usage<'u>>,
}

impl Default for ImpactOptions<'_> {
    fn default() -> Self {
        Self { sample_max: 3, usage: None }
    }
}

impl fmt::Debug for ImpactOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImpactOptions")
            .field("sample_max", &self.sample_max)
            .field("usage", &self.usage.is_some())
            .finish()
    }
}

impl Snapshot {
    /// What comes of it for all tenants, if at an instant `after` holds and not this snapshot.
    ///
    /// Mostly `after` is [`Snapshot::with_catalog`] of this one, but any two will do. It is fastest
    /// where both are prepared at the instant, and right everywhere.
    #[must_use]
    pub fn impact(&self, after: &Self, at: Timestamp, options: ImpactOptions<'_>) -> Impact {
        aggregate::impact(self, after, at, options)
    }
}
