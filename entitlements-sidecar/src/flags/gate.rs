//! Flags that hold the old rules below a revision and the new ones from it on.
//!
//! An application passes the revision that its sidecar answered from. Then its flags say what its
//! checks say within one request, however late the flag service hears of a change: it is told of the
//! new rules before anybody goes by them, and of the old ones as long as anybody might.

use std::collections::BTreeSet;

use entitlements_core::{FeatureKey, Revision};

use super::{Flag, FlagSet};

/// So many states are told apart at one time.
pub(crate) const LEVELS_MAX: usize = 8;

/// Flags of several revisions. The first level counts from the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Gated {
    levels: Vec<(Revision, FlagSet)>,
}

impl Gated {
    /// Flags of one revision, for whoever passes any.
    pub(crate) fn new(revision: Revision, set: FlagSet) -> Self {
        Self { levels: vec![(revision, set)] }
    }

    /// With the flags of a later revision. The same flags make no new level; one too many lets the
    /// oldest go.
    pub(crate) fn with(&self, revision: Revision, next: FlagSet) -> Self {
        let mut levels = self.levels.clone();
        match levels.last() {
            Some((_, last)) if *last == next => {}
            // Time alone changed them: what was told of this revision holds no more.
            Some((from, _)) if *from >= revision => {
                if let Some((_, last)) = levels.last_mut() {
                    *last = next;
                }
            }
            _ => levels.push((revision, next)),
        }
        let excess = levels.len().saturating_sub(LEVELS_MAX);
        levels.drain(..excess);
        Self { levels }
    }

    /// Without the levels that nobody asks for who passes `floor` or a later revision.
    pub(crate) fn collapsed(&self, floor: Revision) -> Self {
        let old = self.levels.iter().skip(1).take_while(|(from, _)| *from <= floor).count();
        Self { levels: self.levels.get(old..).unwrap_or_default().to_vec() }
    }

    /// The revisions from which its levels hold, the first one first.
    pub(crate) fn levels(&self) -> impl Iterator<Item = Revision> {
        self.levels.iter().map(|(from, _)| *from)
    }

    /// Every feature that has a flag in each level: one that some level lacks cannot be told.
    pub(crate) fn features(&self) -> BTreeSet<&FeatureKey> {
        let mut all = self.levels.iter().map(|(_, set)| set.flags.keys().collect::<BTreeSet<_>>());
        let first = all.next().unwrap_or_default();
        all.fold(first, |known, more| known.intersection(&more).copied().collect())
    }

    /// The rules of a feature by the revision from which they hold, the first from the start. Levels
    /// that say the same are one.
    pub(crate) fn of(&self, feature: &FeatureKey) -> Vec<(Revision, &Flag)> {
        let mut rules: Vec<(Revision, &Flag)> = Vec::new();
        for (from, set) in &self.levels {
            let Some(flag) = set.flags.get(feature) else { continue };
            if rules.last().is_none_or(|(_, last)| *last != flag) {
                rules.push((*from, flag));
            }
        }
        rules
    }

    /// Features that cannot be told, and why.
    pub(crate) fn left_out(&self) -> Vec<(String, String)> {
        let all = self.levels.iter().flat_map(|(_, set)| &set.left_out);
        all.map(|(key, why)| (key.to_string(), why.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::set_with_seats as set, *};

    fn froms(gated: &Gated) -> Vec<u64> {
        gated.levels().map(|from| from.0).collect()
    }

    #[test]
    fn another_rule_makes_a_level_and_the_same_one_does_not() {
        let gated = Gated::new(Revision(5), set(1)).with(Revision(6), set(1));
        assert_eq!(froms(&gated), [5]);
        let gated = gated.with(Revision(7), set(2)).with(Revision(8), set(2));
        assert_eq!(froms(&gated), [5, 7]);
        let gated = gated.with(Revision(9), set(3));
        let feature = gated.features().into_iter().next().unwrap().clone();
        let rules: Vec<u64> = gated.of(&feature).iter().map(|(from, _)| from.0).collect();
        assert_eq!(rules, [5, 7, 9]);
    }

    #[test]
    fn what_nobody_asks_for_any_more_goes() {
        let gated =
            Gated::new(Revision(5), set(1)).with(Revision(7), set(2)).with(Revision(9), set(3));
        for (floor, left) in [(6, vec![5, 7, 9]), (7, vec![7, 9]), (8, vec![7, 9]), (9, vec![9])] {
            assert_eq!(froms(&gated.collapsed(Revision(floor))), left, "floor {floor}");
        }
    }

    #[test]
    fn time_changes_what_a_revision_says_and_makes_no_level() {
        let gated = Gated::new(Revision(5), set(1)).with(Revision(5), set(2));
        assert_eq!(gated, Gated::new(Revision(5), set(2)));
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut gated = Gated::new(Revision(0), set(0));
        for revision in 1..20 {
            gated = gated.with(Revision(revision), set(revision));
        }
        assert_eq!(froms(&gated), (12..20).collect::<Vec<_>>());
    }
}
