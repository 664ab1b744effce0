//! What to ask the admin next, and when. It reads no clock, draws no lots and opens no socket.

use std::time::Duration;

use entitlements_core::signed::Basis;

/// A question to the admin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Who may publish?
    Keys,
    /// Is there anything newer than this? The admin may think about it for so long.
    Changes { basis: Option<Basis>, candidate: Option<String>, wait_s: u32 },
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The publishers' keys were accepted.
    Keys,
    /// Something newer was verified and kept.
    Admitted(Basis),
    /// What may come next was looked at, and either prepared or rejected.
    Candidate(String),
    /// What is there was confirmed. There may be something that is still to be prepared.
    Confirmed { candidate: Option<String> },
    /// No usable answer.
    Failed,
    /// Something that must not be believed, perhaps because the keys have changed.
    Refused,
    /// It is a change of something else than what is there: only all of it helps.
    Diverged,
}

/// Keeps a sidecar in step. Times are counted since the process started.
#[derive(Debug)]
pub(crate) struct Machine {
    wait_s: u32,
    basis: Option<Basis>,
    /// The candidate that was prepared or rejected.
    candidate: Option<String>,
    /// Whether everything is to be sent, whatever is there.
    wants_all: bool,
    keys_at: Option<Duration>,
    in_touch: bool,
    /// Since when nothing was heard that could be used.
    lost_at: Option<Duration>,
    asked_at: Duration,
    wake_at: Duration,
}

impl Machine {
    /// Starts at once; `basis` is what came from disk.
    pub(crate) fn new(wait_s: u32, basis: Option<Basis>) -> Self {
        Self {
            wait_s,
            basis,
            candidate: None,
            wants_all: false,
            keys_at: None,
            in_touch: false,
            lost_at: None,
            asked_at: Duration::ZERO,
            wake_at: Duration::ZERO,
        }
    }

    /// When to ask next.
    pub(crate) fn next_wake(&self) -> Duration {
        self.wake_at
    }

    /// What to ask now.
    pub(crate) fn ask(&mut self, now: Duration) -> Ask {
        self.asked_at = now;
        let keys_are_old =
            self.keys_at.is_none_or(|fetched| now.saturating_sub(fetched) >= KEYS_EVERY);
        if keys_are_old {
            return Ask::Keys;
        }
        let wait_s = match (self.in_touch, &self.candidate) {
            // The first question is not held, so that the age of what came from disk is known soon.
            (false, _) => 0,
            // Whoever prepared something must hear often what becomes of it.
            (true, Some(_)) => self.wait_s.min(1),
            (true, None) => self.wait_s,
        };
        let basis = self.basis.filter(|_| !self.wants_all);
        Ask::Changes { basis, candidate: self.candidate.clone(), wait_s }
    }

    /// Somebody waits for news: what is put off is asked now.
    pub(crate) fn hurry(&mut self, now: Duration) {
        self.wake_at = self.wake_at.min(now);
    }

    /// What is kept has become long: everything is asked for next time.
    pub(crate) fn ask_for_all(&mut self) {
        self.wants_all = true;
    }

    /// Takes note of an answer. `random` in `[0, 1)` spreads retries over the whole back-off.
    pub(crate) fn on_reply(&mut self, now: Duration, reply: Reply, random: f64) {
        match reply {
            Reply::Keys => {
                self.keys_at = Some(now);
                self.wake_at = now;
            }
            Reply::Admitted(basis) => {
                let again = self.basis == Some(basis);
                (self.basis, self.wants_all, self.candidate) = (Some(basis), false, None);
                self.heard(now, again);
            }
            Reply::Candidate(id) => {
                self.candidate = Some(id);
                self.heard(now, false);
            }
            Reply::Confirmed { candidate } => {
                self.candidate =
                    self.candidate.take().filter(|told| candidate.as_ref() == Some(told));
                self.heard(now, true);
            }
            Reply::Failed => self.back_off(now, random),
            Reply::Refused => {
                self.keys_at = None;
                self.back_off(now, random);
            }
            Reply::Diverged => {
                self.wants_all = true;
                self.back_off(now, random);
            }
        }
    }

    fn heard(&mut self, now: Duration, nothing_new: bool) {
        self.lost_at = None;
        self.in_touch = true;
        // An admin that does not hold the question must not be asked in a tight circle.
        let earliest = if nothing_new { self.asked_at + GAP_MIN } else { now };
        self.wake_at = now.max(earliest);
    }

    fn back_off(&mut self, now: Duration, random: f64) {
        self.in_touch = false;
        let lost_for = now.saturating_sub(*self.lost_at.get_or_insert(now));
        let longest = lost_for.clamp(BACK_OFF_FIRST, BACK_OFF_LAST);
        self.wake_at = now + longest.mul_f64(random.clamp(0.0, 1.0));
    }
}

/// Keys are asked for again this often, so that one that was taken away does not count for long.
const KEYS_EVERY: Duration = Duration::from_secs(300);
/// Between two questions that brought nothing new.
const GAP_MIN: Duration = Duration::from_millis(250);
/// Nobody waits longer than the admin has been away, so that all are back soon after it is; and no
/// less than the first, nor more than the last of these at the most.
const BACK_OFF_FIRST: Duration = Duration::from_millis(500);
const BACK_OFF_LAST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use entitlements_core::Revision;

    fn basis(revision: u64) -> Basis {
        let hash = "07".repeat(32).parse().unwrap();
        Basis { epoch: 1, revision: Revision(revision), hash }
    }

    fn confirmed() -> Reply {
        Reply::Confirmed { candidate: None }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn changes(revision: Option<u64>, wait_s: u32) -> Ask {
        Ask::Changes { basis: revision.map(basis), candidate: None, wait_s }
    }

    /// Each row: at this second a reply comes (random number 0.5); then it wakes at this
    /// millisecond and asks this.
    #[test]
    fn what_is_asked_next() {
        let rows: &[(u64, Reply, u64, Ask)] = &[
            (0, Reply::Failed, 250, Ask::Keys),
            (1, Reply::Failed, 1_500, Ask::Keys),
            (2, Reply::Keys, 2_000, changes(None, 0)),
            (3, Reply::Admitted(basis(7)), 3_000, changes(Some(7), 10)),
            (13, confirmed(), 13_000, changes(Some(7), 10)),
            (14, Reply::Admitted(basis(8)), 14_000, changes(Some(8), 10)),
            (15, Reply::Failed, 15_250, changes(Some(8), 0)),
            (16, confirmed(), 16_000, changes(Some(8), 10)),
            (17, Reply::Refused, 17_250, Ask::Keys),
            (18, Reply::Keys, 18_000, changes(Some(8), 0)),
            (19, Reply::Refused, 20_000, Ask::Keys),
            (20, Reply::Keys, 20_000, changes(Some(8), 0)),
            (21, confirmed(), 21_000, changes(Some(8), 10)),
        ];
        let mut machine = Machine::new(10, None);
        assert_eq!(machine.next_wake(), Duration::ZERO, "the first question is asked at once");
        assert_eq!(machine.ask(s(0)), Ask::Keys);
        for (second, reply, wake_ms, ask) in rows {
            machine.on_reply(s(*second), reply.clone(), 0.5);
            let wake = machine.next_wake();
            assert_eq!(wake, Duration::from_millis(*wake_ms), "after {reply:?} at {second}");
            assert_eq!(machine.ask(wake), *ask, "after {reply:?} at {second}");
        }
    }

    #[test]
    fn what_came_from_disk_is_the_first_basis() {
        let mut machine = Machine::new(10, Some(basis(5)));
        assert_eq!(machine.ask(s(0)), Ask::Keys);
        machine.on_reply(s(0), Reply::Keys, 0.0);
        assert_eq!(machine.ask(s(0)), changes(Some(5), 0));
    }

    #[test]
    fn nobody_waits_longer_than_the_admin_was_away() {
        let mut machine = Machine::new(10, None);
        let mut longest = Vec::new();
        for second in [10, 10, 11, 13, 20, 39, 40, 41, 600] {
            machine.on_reply(s(second), Reply::Failed, 1.0);
            longest.push((machine.next_wake() - s(second)).as_millis());
        }
        let expected = [500, 500, 1_000, 3_000, 10_000, 29_000, 30_000, 30_000, 30_000];
        assert_eq!(longest, expected);
        machine.on_reply(s(601), Reply::Failed, 0.0);
        assert_eq!(machine.next_wake(), s(601), "full jitter goes down to nothing");
        machine.on_reply(s(601), confirmed(), 0.0);
        machine.on_reply(s(602), Reply::Failed, 1.0);
        assert_eq!(machine.next_wake(), s(602) + BACK_OFF_FIRST);
    }

    #[test]
    fn an_admin_that_never_holds_a_question_is_asked_four_times_a_second() {
        let mut machine = Machine::new(10, Some(basis(5)));
        machine.on_reply(s(1), Reply::Keys, 0.0);
        for reply in [confirmed(), Reply::Admitted(basis(5))] {
            machine.ask(s(2));
            machine.on_reply(s(2), reply.clone(), 0.0);
            assert_eq!(machine.next_wake(), s(2) + GAP_MIN, "{reply:?}");
        }
    }

    #[test]
    fn a_candidate_is_told_of_and_followed_closely_until_it_is_over() {
        let mut machine = Machine::new(10, Some(basis(5)));
        let asked = |machine: &mut Machine, second| match machine.ask(s(second)) {
            Ask::Changes { candidate, wait_s, .. } => (candidate, wait_s),
            Ask::Keys => panic!("the keys are known"),
        };
        machine.on_reply(s(0), Reply::Keys, 0.0);
        machine.on_reply(s(0), Reply::Candidate("c".into()), 0.0);
        assert_eq!(asked(&mut machine, 0), (Some("c".into()), 1));
        machine.on_reply(s(1), Reply::Confirmed { candidate: Some("c".into()) }, 0.0);
        assert_eq!(asked(&mut machine, 1), (Some("c".into()), 1));
        machine.on_reply(s(2), confirmed(), 0.0);
        assert_eq!(asked(&mut machine, 2), (None, 10), "it was given up");
        machine.on_reply(s(3), Reply::Candidate("d".into()), 0.0);
        machine.on_reply(s(4), Reply::Admitted(basis(6)), 0.0);
        assert_eq!(asked(&mut machine, 4), (None, 10), "it is what was admitted");
    }

    #[test]
    fn what_does_not_fit_is_asked_for_as_a_whole() {
        let mut machine = Machine::new(10, Some(basis(5)));
        machine.on_reply(s(0), Reply::Keys, 0.0);
        machine.on_reply(s(0), Reply::Diverged, 0.0);
        assert_eq!(machine.ask(s(1)), changes(None, 0));
        machine.on_reply(s(1), Reply::Admitted(basis(6)), 0.0);
        assert_eq!(machine.ask(s(2)), changes(Some(6), 10));
    }

    #[test]
    fn whoever_waits_ends_a_pause() {
        let mut machine = Machine::new(10, Some(basis(5)));
        machine.on_reply(s(0), Reply::Failed, 1.0);
        machine.hurry(Duration::from_millis(100));
        assert_eq!(machine.next_wake(), Duration::from_millis(100));
        machine.hurry(s(9));
        assert_eq!(machine.next_wake(), Duration::from_millis(100), "it is never put off by that");
    }

    #[test]
    fn keys_are_fetched_again_after_a_while() {
        let mut machine = Machine::new(10, Some(basis(5)));
        machine.on_reply(s(0), Reply::Keys, 0.0);
        assert_eq!(machine.ask(s(299)), changes(Some(5), 0));
        assert_eq!(machine.ask(s(300)), Ask::Keys);
    }
}
