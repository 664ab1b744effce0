//! Which plans, countries and segments a tenant counts under.

use std::{collections::HashMap, hash::Hash};

use foldhash::fast::RandomState;

use super::compare::Both;
use crate::{
    Country, PlanKey, SegmentKey, Snapshot, TenantView, Timestamp,
    index::{Index, Segments},
    names::Name,
    resolve::Workspace,
};

/// The number of a cohort. The first is everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CohortIx(u32);

impl CohortIx {
    pub(super) const EVERYBODY: Self = Self(0);

    pub(super) fn get(self) -> usize {
        self.0 as usize
    }
}

/// What tenants have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Cohort {
    Everybody,
    Plan(PlanKey),
    Country(Country),
    Segment(SegmentKey),
}

/// Finds the cohorts of tenants that are in two snapshots.
pub(super) struct Cohorts<'s> {
    numbers: Numbers<Cohort>,
    sides: Both<Side<'s>>,
    found: Vec<CohortIx>,
}

impl<'s> Cohorts<'s> {
    pub(super) fn new(before: &'s Snapshot, after: &'s Snapshot, at: Timestamp) -> Self {
        let mut numbers = Numbers::default();
        numbers.number(Cohort::Everybody);
        let mut side = |snapshot| Some(Side::new(snapshot, at, &mut numbers));
        let sides = Both { before: side(before), after: side(after) };
        Self { numbers, sides, found: Vec::new() }
    }

    /// All that have been met, by their numbers.
    pub(super) fn all(&self) -> &[Cohort] {
        &self.numbers.all
    }

    /// Those of one tenant, by what it is in either snapshot.
    pub(super) fn of(&mut self, tenant: Both<TenantView<'s>>) -> &[CohortIx] {
        self.found.clear();
        self.found.push(CohortIx::EVERYBODY);
        let Both { before, after } = &mut self.sides;
        for (side, view) in [(before, tenant.before), (after, tenant.after)] {
            if let (Some(side), Some(view)) = (side, view) {
                side.find(view, &mut self.numbers, &mut self.found);
            }
        }
        self.found.sort_unstable();
        self.found.dedup();
        &self.found
    }
}

/// How one snapshot tells.
struct Side<'s> {
    index: &'s Index,
    at: Timestamp,
    work: Workspace,
    plans: Vec<CohortIx>,
    segments: Segments,
    segment_numbers: Vec<CohortIx>,
    countries: HashMap<Name, Option<CohortIx>, RandomState>,
}

impl<'s> Side<'s> {
    fn new(snapshot: &'s Snapshot, at: Timestamp, numbers: &mut Numbers<Cohort>) -> Self {
        let (index, draft) = (&*snapshot.index, snapshot.catalog().draft());
        let plans = draft.plans.keys().map(|key| numbers.number(Cohort::Plan(key.clone())));
        let plans = plans.collect();
        let segments = draft.segments.keys();
        Self {
            index,
            at,
            work: Workspace::default(),
            plans,
            segments: Segments::new(draft, &index.names),
            segment_numbers: segments
                .map(|key| numbers.number(Cohort::Segment(key.clone())))
                .collect(),
            countries: HashMap::default(),
        }
    }

    fn find(
        &mut self,
        view: TenantView<'s>,
        numbers: &mut Numbers<Cohort>,
        found: &mut Vec<CohortIx>,
    ) {
        let facts = view.facts();
        let who = self.work.who(self.index, facts, self.at);
        found.extend(who.plans.iter().filter_map(|plan| self.plans.get(plan.get())));
        found.extend(self.segments.of(who).filter_map(|place| self.segment_numbers.get(place)));
        let country = self.countries.entry(facts.country()).or_insert_with_key(|name| {
            let country = Country::new(self.index.names.text(*name)).ok();
            country.map(|country| numbers.number(Cohort::Country(country)))
        });
        found.extend(*country);
    }
}

/// Things in the order in which they were first met.
struct Numbers<T> {
    all: Vec<T>,
    known: HashMap<T, CohortIx, RandomState>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self { all: Vec::new(), known: HashMap::default() }
    }
}

impl<T: Clone + Eq + Hash> Numbers<T> {
    fn number(&mut self, thing: T) -> CohortIx {
        let next = CohortIx(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        *self.known.entry(thing).or_insert_with_key(|thing| {
            self.all.push(thing.clone());
            next
        })
    }
}
