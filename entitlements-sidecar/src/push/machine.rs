//! What a sink should hold, what it holds, and what to do about the difference. It reads no clock,
//! draws no lots and opens no socket.

use std::time::Duration;

use entitlements_core::{Revision, Timestamp};

/// A state of the world: a revision, and an instant, because answers change by time as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Want {
    pub(crate) epoch: u64,
    pub(crate) revision: Revision,
    pub(crate) at: Timestamp,
}

/// Something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Todo {
    /// Have the sink hold this.
    Push(Want),
    /// See whether it still holds what it was given.
    Check(Want),
}

/// What came of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It holds it, and was seen to.
    Applied,
    /// It was not taken, and may be next time; not before so long. A part may have been.
    Failed { after: Option<Duration>, progressed: bool },
    /// It will not be taken, however often it is sent.
    Refused,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    /// It holds what it was given, or cannot be asked.
    InStep,
    /// It holds something else.
    Drifted,
    /// There was no answer.
    Failed,
}

/// How a sink is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It holds what it should.
    InStep,
    /// It does not yet.
    Behind,
    /// It was tried, and did not work.
    Failing,
    /// It will not work until something else is wanted.
    Refused,
    /// Somebody changed it, or it lost something; it is being repaired.
    Drifted,
}

impl Health {
    pub(crate) const ALL: [Self; 5] =
        [Self::InStep, Self::Behind, Self::Failing, Self::Refused, Self::Drifted];

    /// The stable word for it.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::InStep => "in_step",
            Self::Behind => "behind",
            Self::Failing => "failing",
            Self::Refused => "refused",
            Self::Drifted => "drifted",
        }
    }
}

/// Keeps one sink in step. Times are counted since the process started.
#[derive(Debug)]
pub(crate) struct Machine {
    desired: Option<Want>,
    applied: Option<Want>,
    refused: Option<Want>,
    doing: Option<Todo>,
    is_drifted: bool,
    /// Whether the last look at it got no answer.
    is_unseen: bool,
    failures: u32,
    /// Before this nothing is pushed.
    pause_until: Duration,
    check_at: Duration,
    check_every: Duration,
}

impl Machine {
    /// Checks every so often. Nothing is known to be held.
    pub(crate) fn new(check_every: Duration) -> Self {
        Self {
            desired: None,
            applied: None,
            refused: None,
            doing: None,
            is_drifted: false,
            is_unseen: false,
            failures: 0,
            pause_until: Duration::ZERO,
            check_at: Duration::ZERO,
            check_every,
        }
    }

    /// Takes note of what it should hold. An earlier state is not wanted any more.
    pub(crate) fn desire(&mut self, want: Want) {
        if self.desired.is_none_or(|desired| desired < want) {
            self.desired = Some(want);
        }
    }

    /// What to do now, where anything is to be done. One thing at a time.
    pub(crate) fn next(&mut self, now: Duration) -> Option<Todo> {
        if self.doing.is_some() {
            return None;
        }
        let desired = self.desired?;
        let is_held = self.applied == Some(desired) && !self.is_drifted;
        let todo = if is_held {
            (now >= self.check_at).then_some(Todo::Check(desired))
        } else {
            let is_due = now >= self.pause_until && self.refused != Some(desired);
            is_due.then_some(Todo::Push(desired))
        };
        self.doing = todo;
        todo
    }

    /// When there may be something to do next; absent while something is done.
    pub(crate) fn next_wake(&self) -> Option<Duration> {
        let desired = self.desired.filter(|_| self.doing.is_none())?;
        if self.applied == Some(desired) && !self.is_drifted {
            return Some(self.check_at);
        }
        (self.refused != Some(desired)).then_some(self.pause_until)
    }

    /// A push is over. `random` in `[0, 1)` spreads retries.
    pub(crate) fn on_pushed(&mut self, now: Duration, pushed: Pushed, random: f64) {
        let Some(Todo::Push(want)) = self.doing.take() else { return };
        match pushed {
            Pushed::Applied => {
                (self.applied, self.refused, self.is_drifted) = (Some(want), None, false);
                (self.failures, self.pause_until, self.is_unseen) = (0, now, false);
                self.check_at = now + self.check_every;
            }
            Pushed::Failed { after, progressed } => {
                // Where something gets through, the rest need not wait for long.
                self.failures = if progressed { 0 } else { self.failures };
                let back_off =
                    back_off_max(self.failures).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
                // Whoever asks for more than a day is asked again after one.
                let after = after.unwrap_or(Duration::ZERO).min(AFTER_MAX);
                self.pause_until = now + after.max(back_off);
                self.failures = self.failures.saturating_add(1);
            }
            Pushed::Refused => self.refused = Some(want),
        }
    }

    /// A check is over. Says whether a repair begins.
    pub(crate) fn on_checked(&mut self, now: Duration, checked: Checked) -> bool {
        if !matches!(self.doing.take(), Some(Todo::Check(_))) {
            return false;
        }
        self.check_at = now + self.check_every;
        self.is_drifted |= checked == Checked::Drifted;
        self.is_unseen = checked == Checked::Failed;
        checked == Checked::Drifted
    }

    pub(crate) fn desired(&self) -> Option<Want> {
        self.desired
    }

    pub(crate) fn applied(&self) -> Option<Want> {
        self.applied
    }

    pub(crate) fn health(&self) -> Health {
        if self.is_drifted {
            Health::Drifted
        } else if self.desired.is_some() && self.refused == self.desired {
            Health::Refused
        } else if self.failures > 0 || self.is_unseen {
            Health::Failing
        } else if self.desired.is_some() && self.applied == self.desired {
            Health::InStep
        } else {
            Health::Behind
        }
    }
}

const BACK_OFF_FIRST: Duration = Duration::from_millis(500);
const BACK_OFF_LAST: Duration = Duration::from_secs(60);
const AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);

fn back_off_max(failures: u32) -> Duration {
    BACK_OFF_FIRST.saturating_mul(1 << failures.min(16)).min(BACK_OFF_LAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const EVERY: Duration = Duration::from_secs(60);

    fn want(revision: u64, at: i64) -> Want {
        Want { epoch: 1, revision: Revision(revision), at: Timestamp::from_micros(at) }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_wanted_is_pushed_and_then_checked_now_and_then() {
        let mut machine = Machine::new(EVERY);
        assert_eq!((machine.next(s(0)), machine.next_wake()), (None, None));
        machine.desire(want(5, 0));
        assert_eq!(machine.health(), Health::Behind);
        assert_eq!(machine.next(s(0)), Some(Todo::Push(want(5, 0))));
        assert_eq!((machine.next(s(0)), machine.next_wake()), (None, None), "one at a time");
        machine.on_pushed(s(1), Pushed::Applied, 0.0);
        assert_eq!((machine.health(), machine.next(s(1))), (Health::InStep, None));
        assert_eq!(machine.next_wake(), Some(s(61)));
        assert_eq!(machine.next(s(61)), Some(Todo::Check(want(5, 0))));
        assert!(!machine.on_checked(s(62), Checked::InStep));
        assert_eq!(machine.next_wake(), Some(s(122)));
    }

    #[test]
    fn what_was_wanted_meanwhile_comes_next_and_only_the_last_of_it() {
        let mut machine = Machine::new(EVERY);
        machine.desire(want(5, 0));
        machine.next(s(0));
        machine.desire(want(6, 0));
        machine.desire(want(7, 0));
        machine.desire(want(6, 9));
        machine.on_pushed(s(1), Pushed::Applied, 0.0);
        assert_eq!(machine.health(), Health::Behind);
        assert_eq!(machine.next(s(1)), Some(Todo::Push(want(7, 0))));
        machine.on_pushed(s(1), Pushed::Applied, 0.0);
        // An instant makes another state of the same revision.
        machine.desire(want(7, 50));
        assert_eq!(machine.next(s(1)), Some(Todo::Push(want(7, 50))));
    }

    #[test]
    fn what_fails_is_tried_again_later_and_later_or_when_the_sink_says() {
        let mut machine = Machine::new(EVERY);
        machine.desire(want(5, 0));
        for pause in [500, 1_000, 2_000, 4_000] {
            machine.next(machine.next_wake().unwrap()).unwrap();
            machine.on_pushed(s(100), Pushed::Failed { after: None, progressed: false }, 1.0);
            assert_eq!(machine.next_wake(), Some(s(100) + Duration::from_millis(pause)));
            assert_eq!((machine.next(s(100)), machine.health()), (None, Health::Failing));
        }
        machine.next(s(110)).unwrap();
        machine.on_pushed(s(110), Pushed::Failed { after: None, progressed: true }, 1.0);
        assert_eq!(machine.next_wake(), Some(s(110) + BACK_OFF_FIRST), "a part got through");
        machine.next(s(200)).unwrap();
        machine.on_pushed(s(200), Pushed::Failed { after: Some(s(3_600)), progressed: false }, 0.0);
        assert_eq!(machine.next_wake(), Some(s(3_800)));
        machine.next(s(3_800)).unwrap();
        machine.on_pushed(s(3_800), Pushed::Applied, 0.0);
        assert_eq!(machine.health(), Health::InStep);
    }

    #[test]
    fn nobody_makes_it_wait_for_ever() {
        let mut machine = Machine::new(EVERY);
        assert_eq!(machine.health(), Health::Behind, "nothing is held before anything is wanted");
        machine.desire(want(5, 0));
        machine.next(s(0));
        let after = Some(Duration::MAX);
        machine.on_pushed(s(1), Pushed::Failed { after, progressed: false }, 0.0);
        assert_eq!(machine.next_wake(), Some(s(1) + AFTER_MAX));
    }

    #[test]
    fn what_is_refused_waits_for_something_else() {
        let mut machine = Machine::new(EVERY);
        machine.desire(want(5, 0));
        machine.next(s(0));
        machine.on_pushed(s(0), Pushed::Refused, 0.0);
        assert_eq!((machine.next(s(999)), machine.next_wake()), (None, None));
        assert_eq!(machine.health(), Health::Refused);
        machine.desire(want(6, 0));
        assert_eq!(machine.next(s(999)), Some(Todo::Push(want(6, 0))));
    }

    #[test]
    fn a_drift_is_repaired() {
        let mut machine = Machine::new(EVERY);
        machine.desire(want(5, 0));
        machine.next(s(0));
        machine.on_pushed(s(0), Pushed::Applied, 0.0);
        assert_eq!(machine.next(s(60)), Some(Todo::Check(want(5, 0))));
        assert!(machine.on_checked(s(60), Checked::Drifted));
        assert_eq!(machine.health(), Health::Drifted);
        assert_eq!(machine.next(s(60)), Some(Todo::Push(want(5, 0))));
        machine.on_pushed(s(61), Pushed::Applied, 0.0);
        assert_eq!(machine.health(), Health::InStep);
        // No answer is no drift, and no good sign.
        machine.next(s(121));
        assert!(!machine.on_checked(s(121), Checked::Failed));
        assert_eq!((machine.health(), machine.next_wake()), (Health::Failing, Some(s(181))));
        machine.next(s(181));
        assert!(!machine.on_checked(s(181), Checked::InStep));
        assert_eq!(machine.health(), Health::InStep);
    }

    /// Whatever happens in whatever order, it ends with what was wanted last, one thing at a time.
    #[test]
    fn it_always_comes_to_what_was_wanted_last() {
        for seed in 0..2_000_u64 {
            let mut random = Random::new(seed);
            let mut machine = Machine::new(EVERY);
            let (mut now, mut last, mut doing) = (s(0), want(0, 0), None);
            for _ in 0..200 {
                now += Duration::from_millis(random.below(20_000));
                match random.below(3) {
                    0 => {
                        let more = want(last.revision.0 + random.below(2), last.at.as_micros() + 1);
                        last = last.max(more);
                        machine.desire(more);
                    }
                    1 => {
                        if let Some(todo) = machine.next(now) {
                            assert_eq!(doing, None, "seed {seed}");
                            doing = Some(todo);
                        }
                    }
                    _ => match doing.take() {
                        Some(Todo::Push(_)) => {
                            let outcomes = [
                                Pushed::Applied,
                                Pushed::Failed { after: None, progressed: false },
                                Pushed::Refused,
                            ];
                            machine.on_pushed(now, outcomes[random.below(3) as usize], 0.5);
                        }
                        Some(Todo::Check(_)) => {
                            let outcomes = [Checked::InStep, Checked::Drifted, Checked::Failed];
                            machine.on_checked(now, outcomes[random.below(3) as usize]);
                        }
                        None => {}
                    },
                }
            }
            last = want(last.revision.0 + 1, last.at.as_micros() + 1);
            machine.desire(last);
            for _ in 0..10 {
                now += s(3_600);
                match doing.take().or_else(|| machine.next(now)) {
                    Some(Todo::Push(_)) => machine.on_pushed(now, Pushed::Applied, 0.5),
                    Some(Todo::Check(_)) => _ = machine.on_checked(now, Checked::InStep),
                    None => {}
                }
            }
            assert_eq!(
                (machine.applied(), machine.health()),
                (Some(last), Health::InStep),
                "{seed}"
            );
        }
    }
}
