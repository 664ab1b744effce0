//! Every single change between two snapshots.

use super::compare::{Both, Comparison, Difference, REMEMBERED_MAX, RowPair};
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

impl Direction {
    /// Every direction.
    pub const ALL: [Self; 5] =
        [Self::Gained, Self::Lost, Self::Raised, Self::Lowered, Self::Altered];

    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Gained => "gained",
            Self::Lost => "lost",
            Self::Raised => "raised",
            Self::Lowered => "lowered",
            Self::Altered => "altered",
        }
    }
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
    /// Every answer that differs between this snapshot and a later one at an instant: by tenant key,
    /// then by feature key. Also of tenants and features that only one of them has.
    ///
    /// It holds all tenant keys at once, but not all changes.
    pub fn changes<'s>(
        &'s self,
        after: &'s Self,
        at: Timestamp,
    ) -> impl Iterator<Item = Change<'s>> {
        let comparison = Comparison::new(self, after, at);
        let mut tenants: Vec<&str> = comparison.tenants().map(Both::key).collect();
        tenants.sort_unstable();
        Changes::new(comparison, tenants)
    }

    /// The same for one tenant.
    pub fn changes_of<'s>(
        &'s self,
        after: &'s Self,
        tenant: &'s str,
        at: Timestamp,
    ) -> impl Iterator<Item = Change<'s>> {
        Changes::new(Comparison::new(self, after, at), vec![tenant])
    }

    fn level_ranks(&self, feature: &FeatureKey, one: &str, other: &str) -> Option<(usize, usize)> {
        let feature = self.catalog().draft().features.get(feature)?;
        let crate::FeatureKind::Level { levels } = &feature.kind else { return None };
        let rank = |name: &str| levels.iter().position(|level| level.as_str() == name);
        Some((rank(one)?, rank(other)?))
    }
}

/// One tenant after another.
struct Changes<'s> {
    comparison: Comparison<'s>,
    tenants: std::vec::IntoIter<&'s str>,
    /// What differs for the present tenant, from the last feature to the first.
    found: Vec<Difference>,
    present: (&'s str, RowPair),
}

impl<'s> Changes<'s> {
    fn new(comparison: Comparison<'s>, tenants: Vec<&'s str>) -> Self {
        let tenants = tenants.into_iter();
        Self { comparison, tenants, found: Vec::new(), present: ("", (None, None)) }
    }
}

impl<'s> Iterator for Changes<'s> {
    type Item = Change<'s>;

    fn next(&mut self) -> Option<Change<'s>> {
        loop {
            if let Some(Difference { feature, .. }) = self.found.pop() {
                let (tenant, rows) = self.present;
                return self.comparison.change(tenant, rows, feature);
            }
            let tenant = self.tenants.next()?;
            if self.comparison.profiles() > REMEMBERED_MAX {
                self.comparison.forget();
            }
            let rows = self.comparison.rows(self.comparison.tenant(tenant));
            self.comparison.differences(rows, &mut self.found);
            self.found.reverse();
            self.present = (tenant, rows);
        }
    }
}

/// Limits are in order: unlimited is more than any amount.
const _: () = {
    const fn assert_ord<T: Ord>() {}
    assert_ord::<Limit>();
};
