//! Counting: tenants by what changes for them, and what changes by feature and cohort.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use foldhash::fast::RandomState;

use super::{
    CohortImpact, Direction, Impact, ImpactOptions, SampledChange, Tally,
    above::Above,
    add_ons::AddOns,
    cohort::{Cohort, CohortIx, Cohorts},
    compare::{Both, Comparison, Difference, REMEMBERED_MAX, RowPair},
    sample::Smallest,
};
use crate::{Snapshot, TenantView, Timestamp};

/// How many differences are remembered before they are folded into the totals.
const DIFFERENCES_MAX: usize = 1 << 20;

pub(super) fn impact(
    before: &Snapshot,
    after: &Snapshot,
    at: Timestamp,
    options: ImpactOptions<'_>,
) -> Impact {
    let mut aggregate = Aggregate::new(before, after, at, options);
    for tenant in aggregate.comparison.tenants() {
        aggregate.add(tenant);
    }
    aggregate.finish(Impact {
        at,
        before: before.revision(),
        after: after.revision(),
        all: CohortImpact::default(),
        by_plan: BTreeMap::new(),
        by_country: BTreeMap::new(),
        by_segment: BTreeMap::new(),
        sample: Vec::new(),
        suspended: Vec::new(),
        resumed: Vec::new(),
        above_limit: Vec::new(),
    })
}

struct Aggregate<'s> {
    options: ImpactOptions<'s>,
    comparison: Comparison<'s>,
    cohorts: Cohorts<'s>,
    totals: Vec<Totals>,
    shared: Shared<'s>,
    samples: BTreeMap<(u32, Direction), Smallest<'s>>,
    add_ons: AddOns<'s>,
    above: Above<'s>,
}

/// What tenants share, so that it is found out once.
#[derive(Default)]
struct Shared<'s> {
    /// Which list of differences two rows have.
    by_rows: HashMap<RowPair, u32, RandomState>,
    /// Distinct lists of differences, by their number, and by what they are.
    lists: Vec<List<'s>>,
    numbers: HashMap<Rc<[Difference]>, u32, RandomState>,
    differences: usize,
    /// How many tenants of a cohort have a list.
    tenants: HashMap<(u32, CohortIx), u64, RandomState>,
}

/// Differences that some tenants have in common.
struct List<'s> {
    differences: Rc<[Difference]>,
    sample: Smallest<'s>,
}

/// What has been counted for a cohort.
#[derive(Default)]
struct Totals {
    tenants: u64,
    changed: u64,
    losing: u64,
    features: Vec<Tally>,
}

impl<'s> Aggregate<'s> {
    fn new(
        before: &'s Snapshot,
        after: &'s Snapshot,
        at: Timestamp,
        options: ImpactOptions<'s>,
    ) -> Self {
        Self {
            options,
            comparison: Comparison::new(before, after, at),
            cohorts: Cohorts::new(before, after, at),
            totals: Vec::new(),
            shared: Shared::default(),
            samples: BTreeMap::new(),
            add_ons: AddOns::new(before, after, at),
            above: Above::default(),
        }
    }

    fn add(&mut self, tenant: Both<TenantView<'s>>) {
        let rows = self.comparison.rows(tenant);
        let number = self.shared.number(rows, &self.comparison);
        let list = self.shared.lists.get_mut(number as usize);
        let list = list.filter(|list| !list.differences.is_empty());
        let cohorts = self.cohorts.of(tenant);
        let end = cohorts.last().map_or(0, |last| last.get() + 1);
        if self.totals.len() < end {
            self.totals.resize_with(end, Totals::default);
        }
        for cohort in cohorts {
            if let Some(total) = self.totals.get_mut(cohort.get()) {
                total.tenants += 1;
            }
        }
        if let Some(list) = list {
            list.sample.add(tenant.key(), self.options.sample_max);
            for cohort in cohorts {
                *self.shared.tenants.entry((number, *cohort)).or_default() += 1;
            }
            self.above.add(tenant, rows, &list.differences, &self.comparison, self.options);
        }
        self.add_ons.add(tenant, self.options.sample_max);
        if self.shared.is_full() || self.comparison.profiles() > REMEMBERED_MAX {
            self.fold();
            self.comparison.forget();
        }
    }

    /// Adds what tenants share to the totals, and forgets it.
    fn fold(&mut self) {
        let shared = std::mem::take(&mut self.shared);
        for ((list, cohort), tenants) in shared.tenants {
            if let (Some(list), Some(total)) =
                (shared.lists.get(list as usize), self.totals.get_mut(cohort.get()))
            {
                total.add(&list.differences, tenants, self.comparison.feature_count());
            }
        }
        // From the smallest key on, so that a sample that is full stays as it is.
        let mut keys: Vec<(&str, &List<'_>)> = shared
            .lists
            .iter()
            .flat_map(|list| list.sample.iter().map(move |key| (key, list)))
            .collect();
        keys.sort_unstable_by_key(|(key, _)| *key);
        for (key, list) in keys {
            for Difference { feature, direction } in &*list.differences {
                let sample = self.samples.entry((*feature, *direction)).or_default();
                sample.add(key, self.options.sample_max);
            }
        }
    }

    fn finish(mut self, mut impact: Impact) -> Impact {
        self.fold();
        let totals = std::mem::take(&mut self.totals);
        for (cohort, total) in self.cohorts.all().iter().zip(totals) {
            if matches!(cohort, Cohort::Everybody) {
                impact.all = self.named(total);
            } else if total.changed > 0 {
                let total = self.named(total);
                match cohort.clone() {
                    Cohort::Everybody => None,
                    Cohort::Plan(plan) => impact.by_plan.insert(plan, total),
                    Cohort::Country(country) => impact.by_country.insert(country, total),
                    Cohort::Segment(segment) => impact.by_segment.insert(segment, total),
                };
            }
        }
        for ((feature, direction), keys) in std::mem::take(&mut self.samples) {
            let sampled = keys.iter().filter_map(|key| self.sampled(key, feature, direction));
            impact.sample.extend(sampled);
        }
        (impact.suspended, impact.resumed) = self.add_ons.finish();
        if let Some(usage) = self.options.usage {
            impact.above_limit = self.above.finish(&mut self.comparison, usage);
        }
        impact
    }

    fn named(&self, total: Totals) -> CohortImpact {
        let changed = (0..).zip(total.features).filter(|(_, tally)| tally.total() > 0);
        let features = changed
            .filter_map(|(place, tally)| Some((self.comparison.feature(place)?.clone(), tally)));
        let features = features.collect();
        let Totals { tenants, changed, losing, .. } = total;
        CohortImpact { tenants, changed, losing, features }
    }

    fn sampled(
        &mut self,
        key: &'s str,
        feature: u32,
        direction: Direction,
    ) -> Option<SampledChange> {
        let rows = self.comparison.rows(self.comparison.tenant(key));
        let change = self.comparison.change(key, rows, feature)?;
        Some(SampledChange {
            feature: change.feature.clone(),
            direction,
            tenant: key.into(),
            before: change.before.to_string(),
            after: change.after.to_string(),
        })
    }
}

impl Shared<'_> {
    /// The number of the list of what differs between two rows.
    fn number(&mut self, rows: RowPair, comparison: &Comparison<'_>) -> u32 {
        if let Some(number) = self.by_rows.get(&rows) {
            return *number;
        }
        let mut found = Vec::new();
        comparison.differences(rows, &mut found);
        let number = self.numbers.get(found.as_slice()).copied().unwrap_or_else(|| {
            let number = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
            let differences: Rc<[Difference]> = found.into();
            self.differences += differences.len();
            self.numbers.insert(differences.clone(), number);
            self.lists.push(List { differences, sample: Smallest::default() });
            number
        });
        self.by_rows.insert(rows, number);
        number
    }

    fn is_full(&self) -> bool {
        self.by_rows.len() > REMEMBERED_MAX || self.differences > DIFFERENCES_MAX
    }
}

impl Totals {
    fn add(&mut self, differences: &[Difference], tenants: u64, features: usize) {
        self.features.resize(features, Tally::default());
        for Difference { feature, direction } in differences {
            if let Some(tally) = self.features.get_mut(*feature as usize) {
                *tally.of_mut(*direction) += tenants;
            }
        }
        let is_loss = |way| matches!(way, Direction::Lost | Direction::Lowered);
        self.changed += tenants;
        if differences.iter().any(|difference| is_loss(difference.direction)) {
            self.losing += tenants;
        }
    }
}
