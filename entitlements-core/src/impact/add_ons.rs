//! Add-ons that one snapshot suspends and the other does not.

use std::collections::BTreeMap;

use super::{AddOnImpact, compare::Both, sample::Smallest};
use crate::{
    AddOnKey, Snapshot, Standing, TenantView, Timestamp,
    facts::Facts,
    held::{self, Held},
    index::{AudienceIx, Index},
    resolve::Workspace,
};

/// Counts tenants by add-on, and by the reason for which it is suspended in one of the snapshots.
pub(super) struct AddOns<'s> {
    before: Side<'s>,
    after: Side<'s>,
    suspended: Counts<'s>,
    resumed: Counts<'s>,
}

type Counts<'s> = BTreeMap<Suspension<'s>, (u64, Smallest<'s>)>;

/// An add-on, why it is suspended, and what it lacks or lost to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Suspension<'s> {
    add_on: &'s str,
    standing: Standing,
    because: Option<&'s str>,
}

struct Side<'s> {
    index: &'s Index,
    at: Timestamp,
    work: Workspace,
    /// By add-on, whether it could ever be suspended.
    conditional: Vec<bool>,
    held: Vec<Held<'s>>,
}

impl<'s> AddOns<'s> {
    pub(super) fn new(before: &'s Snapshot, after: &'s Snapshot, at: Timestamp) -> Self {
        Self {
            before: Side::new(before, at),
            after: Side::new(after, at),
            suspended: Counts::new(),
            resumed: Counts::new(),
        }
    }

    pub(super) fn add(&mut self, tenant: Both<TenantView<'s>>, sample_max: usize) {
        // Who is in one snapshot only has nothing that the other could suspend.
        let (Some(old), Some(new)) = (tenant.before, tenant.after) else { return };
        let (old, new) = (old.facts(), new.facts());
        if !self.before.may_suspend(old) && !self.after.may_suspend(new) {
            return;
        }
        self.before.find(old);
        self.after.find(new);
        let both = [
            (&self.before, &self.after, &mut self.suspended),
            (&self.after, &self.before, &mut self.resumed),
        ];
        for (has, lacks, counts) in both {
            for suspension in lacks.suspensions().filter(|found| has.is_in_force(found.add_on)) {
                let (tenants, sample) = counts.entry(suspension).or_default();
                *tenants += 1;
                sample.add(tenant.key(), sample_max);
            }
        }
    }

    /// Those that come to be suspended, and those that come back.
    pub(super) fn finish(self) -> (Vec<AddOnImpact>, Vec<AddOnImpact>) {
        let named = |counts: Counts<'_>| counts.into_iter().filter_map(named).collect();
        (named(self.suspended), named(self.resumed))
    }
}

fn named((found, (tenants, sample)): (Suspension<'_>, (u64, Smallest<'_>))) -> Option<AddOnImpact> {
    Some(AddOnImpact {
        add_on: AddOnKey::new(found.add_on).ok()?,
        standing: found.standing,
        because: found.because.and_then(|key| AddOnKey::new(key).ok()),
        tenants,
        sample: sample.iter().map(Into::into).collect(),
    })
}

impl<'s> Side<'s> {
    fn new(snapshot: &'s Snapshot, at: Timestamp) -> Self {
        let index = &*snapshot.index;
        let conditional = index.add_ons.iter().map(|entry| {
            entry.available_to != AudienceIx::EVERYONE
                || !entry.requires.is_empty()
                || !entry.excludes.is_empty()
        });
        let conditional = conditional.collect();
        Self { index, at, work: Workspace::for_many(), conditional, held: Vec::new() }
    }

    /// Whether the tenant holds anything that could be suspended. Most do not.
    fn may_suspend(&self, facts: Facts<'_>) -> bool {
        facts.add_ons().any(|fact| {
            let place = self.index.add_on_named(fact.add_on);
            place.and_then(|place| self.conditional.get(place.get())).copied().unwrap_or(true)
        })
    }

    fn find(&mut self, facts: Facts<'_>) {
        held::find(&mut self.work, self.index, facts, self.at, &mut self.held);
    }

    /// Whether a tenant has an add-on in force, through whichever of its entries.
    fn is_in_force(&self, add_on: &str) -> bool {
        self.held.iter().any(|held| held.add_on == add_on && held.out.is_none())
    }

    /// What is suspended, each add-on once: for the reason of its first entry.
    fn suspensions(&self) -> impl Iterator<Item = Suspension<'s>> {
        let suspended = |held: &Held<'s>| match held.out {
            Some((standing, because)) if held::is_suspension(standing) => {
                Some(Suspension { add_on: held.add_on, standing, because })
            }
            _ => None,
        };
        self.held.iter().enumerate().filter_map(move |(place, held)| {
            let suspension = suspended(held)?;
            let mut earlier = self.held.iter().take(place).filter_map(suspended);
            let again = earlier.any(|other| other.add_on == suspension.add_on);
            (!again && !self.is_in_force(suspension.add_on)).then_some(suspension)
        })
    }
}
