//! What a catalog would do to every tenant, before it does it.

use std::{collections::HashMap, sync::Arc};

use entitlements_core::{
    Catalog, Direction, FeatureKey, Impact, ImpactOptions, Milestone, MilestoneEvent, Pin,
    Revision, Snapshot, Timestamp, Usage as UsageOf, document::Hash,
};
use serde::{Deserialize, Serialize};

use super::{App, Error, execute::apart};
use crate::workflow::{
    draft::{self, DraftRecord, Merged},
    publication::Effect,
};

/// What a catalog would do, from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// What it would do at once, and at later instants that it names itself, such as the start of a
    /// promotion.
    pub instants: Vec<PreviewInstant>,
    /// How many tenants lose something, at the instant at which most do.
    pub losing: u64,
    /// Whether there are later instants that were not looked at: there are too many.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_off: bool,
}

/// What a catalog would do at an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewInstant {
    /// What begins or ends then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<MilestoneEvent>,
    /// What it would do to whom.
    pub impact: Impact,
}

/// How many later instants are looked at.
const INSTANTS_MAX: usize = 12;

/// A draft laid over what is live, and what comes of it.
#[derive(Debug, Clone)]
pub struct Laid {
    /// The catalog as it would be.
    pub merged: Merged,
    /// What it would do; absent where it is no catalog.
    pub preview: Option<Preview>,
    /// The same for the state machine.
    pub effect: Effect,
    /// The revision of the live catalog that it was laid over.
    pub over: Option<Revision>,
}

impl App {
    /// Lays a draft over what is live, and looks at what comes of it for every tenant.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn laid(&self, record: &DraftRecord) -> Result<Laid, Error> {
        let over = self.live().catalog_revision();
        let (pin, usage, now) = (self.pin(), self.usage().await?, self.now());
        let edits = record.edits.clone();
        apart(move || {
            let live = pin.catalog().draft();
            let merged = draft::merge(live, &edits);
            let preview = merged
                .catalog
                .as_ref()
                .map(|catalog| preview(&pin, &Arc::new(catalog.clone()), &usage, now));
            let effect = effect(&pin, &merged, preview.as_ref(), over);
            Laid { merged, preview, effect, over }
        })
        .await
    }

    /// What a catalog would do to every tenant.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn preview(&self, catalog: Arc<Catalog>) -> Result<Preview, Error> {
        let (pin, usage, now) = (self.pin(), self.usage().await?, self.now());
        apart(move || preview(&pin, &catalog, &usage, now)).await
    }

    /// How much each tenant used last of each limit.
    async fn usage(&self) -> Result<Usage, Error> {
        let rows = self.store().read(|store| store.usage()).await?;
        let mut usage = Usage::default();
        for (tenant, feature, amount) in rows {
            usage.entry(tenant).or_default().insert(feature, amount);
        }
        Ok(usage)
    }
}

/// By tenant and feature.
type Usage = HashMap<String, HashMap<String, u64>>;

fn preview(pin: &Pin, catalog: &Arc<Catalog>, usage: &Usage, now: Timestamp) -> Preview {
    let used =
        |tenant: &str, feature: &FeatureKey| usage.get(tenant)?.get(feature.as_str()).copied();
    Preview::of(pin, catalog, Some(&used), now)
}

impl Preview {
    /// What a catalog would do to the tenants of a snapshot, from an instant on.
    #[must_use]
    pub fn of(
        before: &Snapshot,
        catalog: &Arc<Catalog>,
        usage: Option<&UsageOf<'_>>,
        now: Timestamp,
    ) -> Self {
        let options = ImpactOptions { usage, ..ImpactOptions::default() };
        let after = before.with_catalog(before.revision(), Arc::clone(catalog), now);
        let mut instants = vec![PreviewInstant {
            events: Vec::new(),
            impact: before.impact(&after, now, options),
        }];
        let mut later = before.catalog().milestones(catalog);
        later.retain(|milestone| milestone.at > now);
        let cut_off = later.len() > INSTANTS_MAX;
        for Milestone { at, events } in later.into_iter().take(INSTANTS_MAX) {
            let impact = prepared(before, at).impact(&prepared(&after, at), at, options);
            instants.push(PreviewInstant { events: events.into_iter().collect(), impact });
        }
        let losing = instants.iter().map(|then| then.impact.all.losing).max().unwrap_or(0);
        Self { instants, losing, cut_off }
    }
}

/// The same world, with the answers of an instant at hand.
fn prepared(snapshot: &Snapshot, at: Timestamp) -> Snapshot {
    snapshot.refreshed(at).unwrap_or_else(|| snapshot.clone())
}

fn effect(pin: &Pin, merged: &Merged, preview: Option<&Preview>, over: Option<Revision>) -> Effect {
    let live = pin.catalog().draft();
    Effect {
        digest: digest(merged, preview),
        losing: preview.map_or(0, |preview| preview.losing),
        conflicts: merged.conflicts.len(),
        problems: merged.problems.len(),
        is_unchanged: merged.conflicts.is_empty() && merged.draft == *live,
        is_first: over.is_none() && pin.tenant_count() == 0,
    }
}

/// What votes are bound to: the catalog, and what of which feature changes which way when. How
/// many tenants that are may change every minute; the state machine looks at that by itself.
fn digest(merged: &Merged, preview: Option<&Preview>) -> Hash {
    let mut seen = String::new();
    let instants = preview.iter().flat_map(|preview| preview.instants.iter().enumerate());
    for (place, PreviewInstant { impact, .. }) in instants {
        // The first instant is now, and every look at it is at another one.
        let at = if place == 0 { "now".to_owned() } else { impact.at.to_string() };
        for (feature, tally) in &impact.all.features {
            let ways = Direction::ALL.into_iter().filter(|way| tally.of(*way) > 0);
            ways.for_each(|way| seen.push_str(&format!("{at} {feature} {way:?}\n")));
        }
        for add_on in &impact.suspended {
            seen.push_str(&format!("{at} {} suspended\n", add_on.add_on));
        }
    }
    draft::digest(&merged.draft, seen.as_bytes())
}
