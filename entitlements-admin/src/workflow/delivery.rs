//! One message to one connector: how often it is tried, and when it is over.
//!
//! A delivery that may have happened is in doubt. Where its receiver knows the message again by its
//! id, it is sent again; where it does not, its connector looks first whether it is there.

use std::time::Duration;

use entitlements_core::Timestamp;

/// How far a delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It waits for its time.
    Pending,
    /// It may have happened, and that is being found out.
    Reconciling,
    /// It arrived.
    Delivered,
    /// It will never be taken as it is.
    Refused,
    /// It was tried as often as it may be.
    Dead,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Reconciling, Self::Delivered, Self::Refused, Self::Dead];

    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Reconciling => "reconciling",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Dead => "dead",
        }
    }

    /// The stage of this code.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.code() == code)
    }

    /// Whether something is still owed.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Reconciling)
    }
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How far it has come.
    pub stage: Stage,
    /// How often it was tried since it was last set going.
    pub tries: u32,
    /// How often it was looked for since it came into doubt.
    pub searches: u32,
    /// Since when it is in doubt.
    pub doubtful_since: Option<Timestamp>,
    /// When something is to be done; absent once it is over.
    pub due_at: Option<Timestamp>,
}

/// What came of one attempt, or of one look whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived, or was found there.
    Delivered,
    /// It did not arrive, and may later. The receiver may say from when on.
    Retry {
        /// Not before so long.
        after: Option<Duration>,
    },
    /// It will never be taken as it is.
    Refused,
    /// It may have arrived. So it is as well where nobody knows what came of an attempt.
    Ambiguous,
    /// It was looked for and is not there.
    Missing,
}

/// What a connector does about a message that may have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Send it again: the receiver knows it by its id.
    Repeat,
    /// Look whether it is there.
    Search,
}

/// When to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// How long to wait before each try. The first is for the first one.
    pub waits: Vec<Duration>,
    /// By how much a wait is longer or shorter, at the most.
    pub jitter_percent: u8,
}

impl Default for Schedule {
    /// Eight tries within a bit more than 27 hours.
    fn default() -> Self {
        let waits = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];
        Self { waits: waits.map(Duration::from_secs).into(), jitter_percent: 20 }
    }
}

impl Schedule {
    /// How long to wait before another try; nothing where there is none left. `luck` lies between
    /// -1 and 1.
    fn wait(&self, tries: u32, luck: f64) -> Option<Duration> {
        let wait = self.waits.get(usize::try_from(tries).ok()?)?;
        let jitter = f64::from(self.jitter_percent) / 100.0 * luck.clamp(-1.0, 1.0);
        Some(wait.mul_f64((1.0 + jitter).max(0.0)))
    }
}

/// How long after it came into doubt to look for the first time: what was made may not be found at
/// once.
const SEARCH_FIRST: Duration = Duration::from_secs(120);
/// How long to wait before the next look.
const SEARCH_AGAIN: Duration = Duration::from_secs(240);
/// How often to look in vain before it counts as not there.
const SEARCHES_MIN: u32 = 3;

impl Progress {
    /// One that is to be tried from an instant on.
    #[must_use]
    pub fn starting(at: Timestamp) -> Self {
        Self {
            stage: Stage::Pending,
            tries: 0,
            searches: 0,
            doubtful_since: None,
            due_at: Some(at),
        }
    }

    /// What becomes of it after an attempt, or after a look whether it is there.
    #[must_use]
    pub fn after(
        self,
        outcome: Outcome,
        doubt: Doubt,
        schedule: &Schedule,
        now: Timestamp,
        luck: f64,
    ) -> Self {
        if !self.stage.is_open() {
            return self;
        }
        match (outcome, doubt) {
            (Outcome::Delivered, _) => self.over(Stage::Delivered),
            (Outcome::Refused, _) => self.over(Stage::Refused),
            (Outcome::Retry { after }, _) => self.again(after, schedule, now, luck),
            (Outcome::Ambiguous, Doubt::Repeat) => self.again(None, schedule, now, luck),
            // Looking for it went wrong, and changed nothing.
            (Outcome::Ambiguous, Doubt::Search) if self.stage == Stage::Reconciling => {
                self.again(None, schedule, now, luck)
            }
            (Outcome::Ambiguous, Doubt::Search) => Self {
                stage: Stage::Reconciling,
                searches: 0,
                doubtful_since: Some(now),
                due_at: Some(now.plus(SEARCH_FIRST)),
                ..self
            },
            (Outcome::Missing, _) if self.searches + 1 < SEARCHES_MIN => {
                Self { searches: self.searches + 1, due_at: Some(now.plus(SEARCH_AGAIN)), ..self }
            }
            (Outcome::Missing, _) => match self.again(None, schedule, now, luck) {
                dead @ Self { stage: Stage::Dead, .. } => dead,
                next => Self {
                    stage: Stage::Pending,
                    searches: 0,
                    doubtful_since: None,
                    due_at: Some(now),
                    ..next
                },
            },
        }
    }

    /// Set going again by a person, whatever came of it before.
    #[must_use]
    pub fn redriven(now: Timestamp) -> Self {
        Self::starting(now)
    }

    fn over(self, stage: Stage) -> Self {
        Self { stage, due_at: None, doubtful_since: None, ..self }
    }

    fn again(
        self,
        after: Option<Duration>,
        schedule: &Schedule,
        now: Timestamp,
        luck: f64,
    ) -> Self {
        let tries = self.tries + 1;
        match schedule.wait(tries, luck) {
            None => Self { tries, ..self.over(Stage::Dead) },
            Some(wait) => {
                let wait = wait.max(after.unwrap_or_default());
                Self { tries, due_at: Some(now.plus(wait)), ..self }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write, fs, path::Path};

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000);

    fn seconds(progress: &Progress) -> String {
        progress.due_at.map_or("-".into(), |due| format!("+{}s", due.since(NOW).as_secs()))
    }

    fn outcomes() -> Vec<(&'static str, Outcome)> {
        vec![
            ("delivered", Outcome::Delivered),
            ("retry", Outcome::Retry { after: None }),
            ("retry in an hour", Outcome::Retry { after: Some(Duration::from_secs(3_600)) }),
            ("refused", Outcome::Refused),
            ("ambiguous", Outcome::Ambiguous),
            ("missing", Outcome::Missing),
        ]
    }

    /// Every stage, outcome and way with doubt, and what comes of it.
    #[test]
    fn the_table_is_the_one_that_is_kept() {
        let mut table = String::new();
        let open = |stage, tries, searches| Progress {
            stage,
            tries,
            searches,
            doubtful_since: (stage == Stage::Reconciling).then_some(NOW),
            due_at: Some(NOW),
        };
        let closed = |stage| Progress { due_at: None, ..open(stage, 1, 0) };
        let rows = [
            ("pending, first try", open(Stage::Pending, 0, 0)),
            ("pending, third try", open(Stage::Pending, 2, 0)),
            ("pending, last try", open(Stage::Pending, 7, 0)),
            ("reconciling, first look", open(Stage::Reconciling, 0, 0)),
            ("reconciling, third look", open(Stage::Reconciling, 0, 2)),
            ("reconciling, last try, third look", open(Stage::Reconciling, 7, 2)),
            ("delivered", closed(Stage::Delivered)),
            ("refused", closed(Stage::Refused)),
            ("dead", closed(Stage::Dead)),
        ];
        for (name, progress) in rows {
            for (outcome_name, outcome) in outcomes() {
                for (doubt_name, doubt) in [("repeat", Doubt::Repeat), ("search", Doubt::Search)] {
                    let next = progress.after(outcome, doubt, &Schedule::default(), NOW, 0.0);
                    writeln!(
                        table,
                        "{name:34}| {outcome_name:16} | {doubt_name:6} -> {:11} tries {} looks {} due {}",
                        next.stage.code(),
                        next.tries,
                        next.searches,
                        seconds(&next)
                    )
                    .unwrap();
                }
            }
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/delivery.txt");
        #[expect(clippy::disallowed_methods, reason = "a test may be told to write its file anew")]
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, &table).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), table, "UPDATE_EXPECT=1 writes it anew");
    }

    #[test]
    fn the_schedule_is_the_one_of_the_documents() {
        let mut progress = Progress::starting(NOW);
        let (mut at, mut waits) = (NOW, Vec::new());
        while progress.stage == Stage::Pending {
            let retry = Outcome::Retry { after: None };
            progress = progress.after(retry, Doubt::Repeat, &Schedule::default(), at, 0.0);
            if let Some(due) = progress.due_at {
                waits.push(due.since(at).as_secs());
                at = due;
            }
        }
        assert_eq!(waits, [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000]);
        assert_eq!((progress.stage, progress.tries), (Stage::Dead, 8));
    }

    #[test]
    fn jitter_stays_within_its_bounds() {
        let schedule = Schedule::default();
        for (luck, expected) in [(-1.0, 240), (0.0, 300), (1.0, 360), (9.0, 360)] {
            assert_eq!(schedule.wait(2, luck), Some(Duration::from_secs(expected)), "{luck}");
        }
    }

    #[test]
    fn what_was_looked_for_in_vain_for_ten_minutes_is_sent_again() {
        let schedule = Schedule::default();
        let mut progress =
            Progress::starting(NOW).after(Outcome::Ambiguous, Doubt::Search, &schedule, NOW, 0.0);
        let mut looks = Vec::new();
        while progress.stage == Stage::Reconciling {
            let at = progress.due_at.unwrap();
            looks.push(at.since(NOW).as_secs());
            progress = progress.after(Outcome::Missing, Doubt::Search, &schedule, at, 0.0);
        }
        assert_eq!(looks, [120, 360, 600]);
        assert_eq!(progress.stage, Stage::Pending);
        assert_eq!(progress.due_at, Some(NOW.plus(Duration::from_secs(600))));
    }
}
