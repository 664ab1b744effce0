//! Who gains or loses what between two snapshots.

use crate::{FeatureKey, Limit, Snapshot, Timestamp, Verdict};

/// One answer that is another one in the second snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'s> {
    /// Whose.
    pub tenant: &'s str,
    /// Of which feature.
    pub feature: &'s FeatureKey,
    /// The answer in the first; denied where the tenant or feature was not there.
    pub before: Verdict<'s>,
    /// The answer in the second; denied where the tenant or feature is gone.
    pub after: Verdict<'s>,
}

/// What a change means to the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Direction {
    /// Denied before, allowed after.
    Gained,
    /// Allowed before, denied after.
    Lost,
    /// A larger limit or a higher level.
    Raised,
    /// A smaller limit or a lower level.
    Lowered,
    /// Other settings of a config, or a feature that has become one of another kind.
    Altered,
}

impl Change<'_> {
    /// What it means to the tenant. Levels are ranked as `after` ranks them.
    #[must_use]
    pub fn direction(&self, after: &Snapshot) -> Direction {
        match (self.before, self.after) {
            (Verdict::Denied, _) => Direction::Gained,
            (_, Verdict::Denied) => Direction::Lost,
            (Verdict::Limit(before), Verdict::Limit(after)) => raised(before < after),
            (Verdict::Level(before), Verdict::Level(now)) => {
                match after.level_ranks(self.feature, before, now) {
                    Some((before, now)) => raised(before < now),
                    None => Direction::Altered,
                }
            }
            _ => Direction::Altered,
        }
    }
}

fn raised(up: bool) -> Direction {
    if up { Direction::Raised } else { Direction::Lowered }
}

impl Snapshot {
    /// Every answer that differs between this snapshot and a later one at an instant: tenants in no
    /// particular order, features by key. Also tenants and features that only one of them has.
    pub fn impact<'s>(
        &'s self,
        after: &'s Snapshot,
        at: Timestamp,
    ) -> impl Iterator<Item = Change<'s>> {
        let kept = self.tenants().map(|view| view.key());
        let added =
            after.tenants().map(|view| view.key()).filter(|key| self.tenant(*key).is_none());
        kept.chain(added).flat_map(move |tenant| self.impact_on(after, tenant, at))
    }

    /// The same for one tenant.
    pub fn impact_on<'s>(
        &'s self,
        after: &'s Snapshot,
        tenant: &'s str,
        at: Timestamp,
    ) -> impl Iterator<Item = Change<'s>> {
        let (old, new) = (self.tenant(tenant), after.tenant(tenant));
        let dropped = self
            .index
            .feature_keys()
            .iter()
            .filter(|key| after.index.find_feature(key.as_str()).is_none());
        let features = after.index.feature_keys().iter().chain(dropped);
        features.filter_map(move |feature| {
            let verdict = |view: Option<crate::TenantView<'s>>| {
                view.map_or(Verdict::Denied, |view| view.check(feature.as_str(), at).verdict())
            };
            let (before, after) = (verdict(old), verdict(new));
            (before != after).then_some(Change { tenant, feature, before, after })
        })
    }

    fn level_ranks(&self, feature: &FeatureKey, one: &str, other: &str) -> Option<(usize, usize)> {
        let feature = self.catalog().draft().features.get(feature)?;
        let crate::FeatureKind::Level { levels } = &feature.kind else { return None };
        let rank = |name: &str| levels.iter().position(|level| level.as_str() == name);
        Some((rank(one)?, rank(other)?))
    }
}

/// Limits are in order: unlimited is more than any amount.
const _: () = {
    const fn assert_ord<T: Ord>() {}
    assert_ord::<Limit>();
};
