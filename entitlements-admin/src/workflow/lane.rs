//! One destination as the outbox sees it: how much may be under way to it, and when it is left alone.
//!
//! Each destination has a lane of its own, so that one that is dead or slow delays nobody else.

use std::time::Duration;

use entitlements_core::Timestamp;

use super::delivery::Outcome;

/// How many deliveries may be under way to one destination.
pub const UNDER_WAY_MAX: usize = 4;
/// After how many failures in a row a destination is left alone for a while.
const FAILURES_MAX: u32 = 5;
/// For how long, the first time. It doubles each time.
const PAUSE_FIRST: Duration = Duration::from_secs(30);
/// For how long at the most.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// What is known of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lane {
    /// How many attempts failed in a row.
    pub failures: u32,
    /// Until when nothing is sent. Others may have asked for it, or too much failed.
    pub closed_until: Option<Timestamp>,
}

impl Lane {
    /// How many more deliveries may start, where so many are under way.
    #[must_use]
    pub fn room(&self, under_way: usize, now: Timestamp) -> usize {
        if self.closed_until.is_some_and(|until| now < until) {
            return 0;
        }
        // After a pause one has to come through first.
        let most = if self.failures >= FAILURES_MAX { 1 } else { UNDER_WAY_MAX };
        most.saturating_sub(under_way)
    }

    /// What is known after an attempt.
    #[must_use]
    pub fn after(self, outcome: Outcome, now: Timestamp) -> Self {
        match outcome {
            // It answers: where it refuses, the message is wrong, not the destination.
            Outcome::Delivered | Outcome::Missing | Outcome::Refused => {
                Self { failures: 0, closed_until: self.closed_until.filter(|until| *until > now) }
            }
            Outcome::Retry { after: Some(after) } => {
                let until = now.plus(after);
                Self { closed_until: self.closed_until.max(Some(until)), ..self }
            }
            Outcome::Retry { after: None } | Outcome::Ambiguous => {
                let failures = self.failures.saturating_add(1);
                let until = pause(failures).map(|pause| now.plus(pause));
                Self { failures, closed_until: self.closed_until.max(until) }
            }
        }
    }
}

/// For how long a destination is left alone after so many failures in a row.
fn pause(failures: u32) -> Option<Duration> {
    let beyond = failures.checked_sub(FAILURES_MAX)?;
    let pause = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(beyond.min(16)));
    Some(pause.min(PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_destination_that_fails_is_left_alone_longer_and_longer() {
        let (mut lane, mut pauses) = (Lane::default(), Vec::new());
        for _ in 0..12 {
            lane = lane.after(Outcome::Ambiguous, at(0));
            pauses.push(lane.closed_until.map_or(0, |until| until.since(at(0)).as_secs()));
        }
        assert_eq!(pauses, [0, 0, 0, 0, 30, 60, 120, 240, 480, 600, 600, 600]);
        assert_eq!(lane.room(0, at(599)), 0);
        assert_eq!((lane.room(0, at(600)), lane.room(1, at(600))), (1, 0), "one goes first");
        assert_eq!(lane.after(Outcome::Delivered, at(600)), Lane::default());
    }

    #[test]
    fn a_destination_that_asks_for_time_gets_all_of_it() {
        let hour = Outcome::Retry { after: Some(Duration::from_secs(3_600)) };
        let lane = Lane::default().after(hour, at(0));
        let shorter = Outcome::Retry { after: Some(Duration::from_secs(1)) };
        for lane in [lane, lane.after(shorter, at(1))] {
            assert_eq!((lane.room(0, at(3_599)), lane.room(0, at(3_600))), (0, UNDER_WAY_MAX));
        }
    }

    #[test]
    fn what_refuses_a_message_is_not_down() {
        let mut lane = Lane::default();
        for _ in 0..20 {
            lane = lane.after(Outcome::Refused, at(0));
        }
        assert_eq!(lane.room(1, at(0)), UNDER_WAY_MAX - 1);
    }
}
