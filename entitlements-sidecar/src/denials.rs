//! Checks that were denied, counted until the admin has taken note of them.
//!
//! Counts are handed over in batches. A batch is sent again, the same, until it is acknowledged, and
//! the admin counts each batch once: nothing is lost on a retry and nothing counts twice.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use entitlements_core::{
    FeatureKey, TenantKey,
    document::{Denials, Denied},
};

/// For so many kinds of denials there is room in a batch; the rest is counted as one.
const KINDS_MAX: usize = 10_000;

/// Counts since the last batch, and the batch that is on its way.
#[derive(Debug, Default)]
pub(crate) struct DenialCounts(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counts: HashMap<TenantKey, Vec<(FeatureKey, &'static str, u64)>>,
    kinds: usize,
    others: u64,
    under_way: Option<Denials>,
    batches: u64,
}

impl DenialCounts {
    /// Counts one. What no tenant or feature can be called is not worth a word.
    pub(crate) fn count(&self, tenant: &str, feature: &str, reason: &'static str) {
        let mut inner = self.inner();
        let Inner { counts, kinds, others, .. } = &mut *inner;
        let is_full = *kinds >= KINDS_MAX;
        if let Some(known) = counts.get_mut(tenant) {
            let same =
                known.iter_mut().find(|(key, why, _)| key.as_str() == feature && *why == reason);
            if let Some((_, _, count)) = same {
                *count += 1;
                return;
            }
            match FeatureKey::new(feature) {
                Ok(_) if is_full => *others += 1,
                Ok(key) => {
                    known.push((key, reason, 1));
                    *kinds += 1;
                }
                Err(_) => {}
            }
            return;
        }
        match (TenantKey::new(tenant), FeatureKey::new(feature)) {
            (Ok(_), Ok(_)) if is_full => *others += 1,
            (Ok(tenant), Ok(feature)) => {
                counts.insert(tenant, vec![(feature, reason, 1)]);
                *kinds += 1;
            }
            _ => {}
        }
    }

    /// The batch to send: the one on its way, where there is one, else what was counted since.
    pub(crate) fn batch(&self) -> Option<Denials> {
        let mut inner = self.inner();
        if inner.under_way.is_none() && (inner.kinds > 0 || inner.others > 0) {
            inner.batches += 1;
            inner.kinds = 0;
            let counts = std::mem::take(&mut inner.counts);
            let denied = |(tenant, rows): (TenantKey, Vec<(FeatureKey, &'static str, u64)>)| {
                rows.into_iter().map(move |(feature, reason, count)| Denied {
                    tenant: tenant.clone(),
                    feature,
                    reason: reason.into(),
                    count,
                })
            };
            let counts = counts.into_iter().flat_map(denied).collect();
            let others = std::mem::take(&mut inner.others);
            inner.under_way = Some(Denials { batch: inner.batches, counts, others });
        }
        inner.under_way.clone()
    }

    /// The admin has taken note of batches up to this one.
    pub(crate) fn acknowledge(&self, through: u64) {
        let mut inner = self.inner();
        inner.under_way = inner.under_way.take().filter(|batch| batch.batch > through);
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(batch: &Denials) -> u64 {
        batch.counts.iter().map(|denied| denied.count).sum::<u64>() + batch.others
    }

    #[test]
    fn a_batch_stays_the_same_until_it_is_acknowledged() {
        let counts = DenialCounts::default();
        assert_eq!(counts.batch(), None);
        for _ in 0..3 {
            counts.count("acme", "sso", "not_included");
        }
        let first = counts.batch().unwrap();
        assert_eq!((first.batch, total(&first)), (1, 3));
        counts.count("acme", "sso", "not_included");
        counts.count("acme", "seats", "exhausted");
        assert_eq!(counts.batch(), Some(first), "what came later waits");
        counts.acknowledge(1);
        let second = counts.batch().unwrap();
        assert_eq!((second.batch, total(&second), second.counts.len()), (2, 2, 2));
        counts.acknowledge(1);
        assert_eq!(counts.batch(), Some(second), "an old word takes nothing away");
        counts.acknowledge(2);
        assert_eq!(counts.batch(), None);
    }

    #[test]
    fn memory_is_bounded_and_the_rest_is_counted_as_one() {
        let counts = DenialCounts::default();
        for tenant in 0..KINDS_MAX + 50 {
            counts.count(&format!("t{tenant}"), "sso", "unknown_tenant");
        }
        counts.count("t1", "sso", "unknown_tenant");
        counts.count("no key at all!", "sso", "unknown_tenant");
        let batch = counts.batch().unwrap();
        assert_eq!((batch.counts.len(), batch.others), (KINDS_MAX, 50));
        assert_eq!(total(&batch), KINDS_MAX as u64 + 51);
    }
}
