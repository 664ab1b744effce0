//! The only clock. Everything else is told what time it is.

use std::time::{Instant, SystemTime};

use entitlements_core::{Ratchet, Timestamp};

use crate::standing::Moment;

/// Tells the time, and never an earlier one than before.
///
/// It starts no earlier than the floor that the last run wrote down, so that a clock that somebody
/// set back does not bring back an ended promotion, not even after a restart.
#[derive(Debug)]
pub(crate) struct Clock {
    ratchet: Ratchet,
    source: Source,
}

/// Where the time comes from.
#[derive(Debug)]
enum Source {
    /// The operating system, since this process started.
    System(Instant),
    /// A test that has all clocks in its hand.
    #[cfg(test)]
    Set(std::sync::Arc<std::sync::Mutex<Moment>>),
}

impl Clock {
    /// Never earlier than `floor`.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub(crate) fn new(floor: Timestamp) -> Self {
        Self { ratchet: Ratchet::new(floor), source: Source::System(Instant::now()) }
    }

    /// Now, by both clocks.
    pub(crate) fn now(&self) -> Moment {
        let (wall, up) = match &self.source {
            Source::System(started) => (Self::wall(), started.elapsed()),
            #[cfg(test)]
            Source::Set(moment) => {
                let moment = moment.lock().unwrap();
                (moment.wall, moment.up)
            }
        };
        Moment { at: self.ratchet.advance(wall), wall, up }
    }

    /// One that tells what a test says.
    #[cfg(test)]
    pub(crate) fn set(floor: Timestamp, moment: std::sync::Arc<std::sync::Mutex<Moment>>) -> Self {
        Self { ratchet: Ratchet::new(floor), source: Source::Set(moment) }
    }

    /// What the operating system calls now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub(crate) fn wall() -> Timestamp {
        SystemTime::now().into()
    }
}

/// A random number in `[0, 1)`, to spread retries. It guards nothing.
pub(crate) fn random() -> f64 {
    let bits = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

/// A word that no other process has drawn: 12 letters and digits. It guards nothing.
pub(crate) fn word() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bits = getrandom::u64().unwrap_or_default();
    let letter = |_| {
        let place = (bits % 32) as usize;
        bits /= 32;
        char::from(LETTERS[place])
    };
    (0..12).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_start_before_the_floor() {
        let floor = Clock::wall().plus(std::time::Duration::from_secs(3_600));
        let clock = Clock::new(floor);
        assert_eq!(clock.now().at, floor, "the wall clock was set back by an hour");
        assert!(Clock::new(Timestamp::MIN).now().at < floor);
    }

    #[test]
    fn random_numbers_differ_and_stay_in_range() {
        let drawn: Vec<f64> = (0..50).map(|_| random()).collect();
        assert!(drawn.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(drawn.iter().any(|number| *number != drawn[0]));
    }
}
