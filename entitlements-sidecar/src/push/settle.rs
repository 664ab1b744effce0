//! From when on flags and checks agree about a revision.
//!
//! A flag service that holds a rule has not told every client of it. Until the clients have surely
//! asked again, nobody should go by a revision for which there is a new rule.

use std::{collections::BTreeMap, time::Duration};

use entitlements_core::Revision;

use crate::flags::gate::Gated;

/// Since when a sink holds which rules. Times are counted since the process started.
#[derive(Debug)]
pub(super) struct Settling {
    /// How long clients take to hear of something.
    after: Duration,
    /// When each level was first held.
    /// Absent where that was before this process began.
    since: BTreeMap<Revision, Option<Duration>>,
    held: Option<Revision>,
}

impl Settling {
    pub(super) fn new(after: Duration) -> Self {
        Self { after, since: BTreeMap::new(), held: None }
    }

    /// The sink was seen to hold these flags, of a revision, and did so before where `is_known`.
    pub(super) fn applied(
        &mut self,
        gated: &Gated,
        revision: Revision,
        now: Duration,
        is_known: bool,
    ) {
        let since = (self.held.is_some() || !is_known).then_some(now);
        let levels: Vec<Revision> = gated.levels().collect();
        self.since.retain(|from, _| levels.contains(from));
        for from in levels {
            self.since.entry(from).or_insert(since);
        }
        self.held = Some(revision);
    }

    /// The latest revision about which flags and checks agree at every client.
    pub(super) fn settled(&self, now: Duration) -> Option<Revision> {
        let held = self.held?;
        let fresh = self
            .since
            .iter()
            .find(|(_, since)| since.is_some_and(|since| now < since + self.after));
        match fresh {
            None => Some(held),
            Some((from, _)) => Some(Revision(from.0.saturating_sub(1)).min(held)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::tests::set_with_seats as set;

    #[test]
    fn a_revision_with_new_rules_waits_and_one_without_does_not() {
        let s = Duration::from_secs;
        let mut settling = Settling::new(s(5));
        assert_eq!(settling.settled(s(0)), None);
        let first = Gated::new(Revision(3), set(1));
        settling.applied(&first, Revision(3), s(0), false);
        assert_eq!(settling.settled(s(4)), Some(Revision(2)));
        assert_eq!(settling.settled(s(5)), Some(Revision(3)));
        settling.applied(&first.with(Revision(4), set(1)), Revision(4), s(6), false);
        assert_eq!(settling.settled(s(6)), Some(Revision(4)), "the rules are the same");
        let third = first.with(Revision(6), set(2));
        settling.applied(&third, Revision(6), s(10), false);
        assert_eq!(settling.settled(s(14)), Some(Revision(5)));
        settling.applied(&third, Revision(9), s(12), true);
        assert_eq!(settling.settled(s(14)), Some(Revision(5)), "it does not begin anew");
        assert_eq!(settling.settled(s(15)), Some(Revision(9)));
        // After a restart the sink holds what its clients know already.
        let mut again = Settling::new(s(5));
        again.applied(&third, Revision(9), s(0), true);
        assert_eq!(again.settled(s(0)), Some(Revision(9)));
    }
}
