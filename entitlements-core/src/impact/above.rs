//! Tenants that use more than they may after a change.

use super::{
    AboveLimit, Change, ImpactOptions, SampledUsage, Usage,
    compare::{Both, Comparison, Difference, RowPair},
    sample::Smallest,
};
use crate::{Direction, Limit, TenantView, Verdict};

/// Counts tenants by the feature of which they use too much.
#[derive(Default)]
pub(super) struct Above<'s> {
    /// By the place of the feature.
    counts: Vec<(u64, Smallest<'s>)>,
}

impl<'s> Above<'s> {
    /// Looks at what a tenant gets less of.
    pub(super) fn add(
        &mut self,
        tenant: Both<TenantView<'s>>,
        rows: RowPair,
        differences: &[Difference],
        comparison: &Comparison<'s>,
        options: ImpactOptions<'_>,
    ) {
        let Some(usage) = options.usage else { return };
        let less = |way| !matches!(way, Direction::Gained | Direction::Raised);
        for Difference { feature, .. } in differences.iter().filter(|one| less(one.direction)) {
            let change = comparison.change(tenant.key(), rows, *feature);
            if change.and_then(|change| newly_above(change, usage)).is_none() {
                continue;
            }
            self.counts.resize_with(comparison.feature_count(), Default::default);
            if let Some((tenants, sample)) = self.counts.get_mut(*feature as usize) {
                *tenants += 1;
                sample.add(tenant.key(), options.sample_max);
            }
        }
    }

    pub(super) fn finish(
        self,
        comparison: &mut Comparison<'s>,
        usage: &Usage<'_>,
    ) -> Vec<AboveLimit> {
        let mut sampled = |key: &'s str, feature| {
            let rows = comparison.rows(comparison.tenant(key));
            let change = comparison.change(key, rows, feature)?;
            Some(SampledUsage {
                tenant: key.into(),
                used: newly_above(change, usage)?,
                before: change.before.to_string(),
                after: change.after.to_string(),
            })
        };
        let mut found = Vec::new();
        for (feature, (tenants, keys)) in (0..).zip(self.counts).filter(|(_, one)| one.0 > 0) {
            let sample = keys.iter().filter_map(|key| sampled(key, feature)).collect();
            found.push((feature, tenants, sample));
        }
        let named = found.into_iter().filter_map(|(feature, tenants, sample)| {
            Some(AboveLimit { feature: comparison.feature(feature)?.clone(), tenants, sample })
        });
        named.collect()
    }
}

/// How much a tenant uses, where that is too much after a change and was not before.
fn newly_above(change: Change<'_>, usage: &Usage<'_>) -> Option<u64> {
    let used = usage(change.tenant, change.feature)?;
    (is_above(change.after, used) && !is_above(change.before, used)).then_some(used)
}

fn is_above(verdict: Verdict<'_>, used: u64) -> bool {
    match verdict {
        Verdict::Denied => used > 0,
        Verdict::Limit(Limit::AtMost(most)) => used > most,
        Verdict::Limit(Limit::Unlimited)
        | Verdict::Allowed
        | Verdict::Level(_)
        | Verdict::Config(_) => false,
    }
}
