//! When what differs between two catalogs takes effect, and when it ends.

use std::collections::{BTreeMap, BTreeSet};

use super::reach::Reach;
use crate::{Catalog, Draft, Plan, Promotion, Timestamp};

/// An instant at which the impact of one catalog on another may become another impact.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "document", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Milestone {
    /// When. What it brings holds from this instant on, not only after it.
    pub at: Timestamp,
    /// What begins or ends then, in either catalog.
    pub events: BTreeSet<MilestoneEvent>,
}

/// Something that begins or ends at an instant that stands in a catalog.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "document", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MilestoneEvent {
    /// Of what, such as `promotion:spring` or `plan:pro`.
    pub source: String,
    /// What happens to it.
    pub kind: MilestoneKind,
}

/// What happens to a plan or promotion at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum MilestoneKind {
    /// A promotion starts.
    Starts,
    /// A promotion ends.
    Ends,
    /// A version of a plan is for subscriptions that start from here on.
    ReachesNew,
    /// A version of a plan reaches the subscriptions that there were before it.
    ReachesExisting,
}

impl Catalog {
    /// The instants, in order, at which something of what differs between this catalog and another
    /// begins or ends. Between two of them the difference stays as it is, but for what tenants
    /// bring with them: their own windows, and their age.
    ///
    /// Named are the promotions and the plans that grant a feature which the difference can reach,
    /// also where they stand in both catalogs just the same: a promotion that outlasts a plan's
    /// change hides it until it ends.
    #[must_use]
    pub fn milestones(&self, after: &Self) -> Vec<Milestone> {
        let (before, after) = (self.draft(), after.draft());
        let reach = Reach::new(before, after);
        let mut found = Milestones::default();
        for draft in [before, after] {
            found.promotions(draft, &reach);
            found.plans(draft, &reach);
        }
        found.0.into_iter().map(|(at, events)| Milestone { at, events }).collect()
    }
}

#[derive(Default)]
struct Milestones(BTreeMap<Timestamp, BTreeSet<MilestoneEvent>>);

impl Milestones {
    fn promotions(&mut self, draft: &Draft, reach: &Reach<'_>) {
        let concerned = |promotion: &Promotion| reach.promotion(draft, promotion);
        for (key, promotion) in draft.promotions.iter().filter(|(_, one)| concerned(one)) {
            let source = format!("promotion:{key}");
            self.add(promotion.window.from, &source, MilestoneKind::Starts);
            self.add(promotion.window.until, &source, MilestoneKind::Ends);
        }
    }

    fn plans(&mut self, draft: &Draft, reach: &Reach<'_>) {
        let concerned = |plan: &Plan| reach.plan(draft, plan);
        for (key, plan) in draft.plans.iter().filter(|(_, one)| concerned(one)) {
            let source = format!("plan:{key}");
            for version in &plan.versions {
                self.add(Some(version.from), &source, MilestoneKind::ReachesNew);
                self.add(version.existing_from, &source, MilestoneKind::ReachesExisting);
            }
        }
    }

    fn add(&mut self, at: Option<Timestamp>, source: &str, kind: MilestoneKind) {
        if let Some(at) = at {
            let event = MilestoneEvent { source: source.into(), kind };
            self.0.entry(at).or_default().insert(event);
        }
    }
}
