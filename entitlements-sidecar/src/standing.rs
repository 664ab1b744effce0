//! How old the snapshot is, and what that makes of it.

use std::time::Duration;

use entitlements_core::Timestamp;

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// What decisions go by: it never goes back.
    pub(crate) at: Timestamp,
    /// What the operating system says. Somebody may set it, forward and back.
    pub(crate) wall: Timestamp,
    /// How long the process has been up, by a clock that nobody can set.
    pub(crate) up: Duration,
}

/// How far a snapshot can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The admin confirmed it a moment ago.
    Fresh,
    /// The admin has been silent for some polls, an older copy had to be taken from disk, or
    /// something newer should be served by now.
    Stale,
    /// It is older than the publisher allows. Each feature follows its `when_stale`.
    Expired,
    /// There is none.
    Cold,
}

impl State {
    /// The stable word for it in headers, answers and logs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Fresh => "FRESH",
            Self::Stale => "STALE",
            Self::Expired => "EXPIRED",
            Self::Cold => "COLD",
        }
    }

    /// Whether answers rest on a snapshot that nobody confirmed lately.
    #[must_use]
    pub const fn is_stale(self) -> bool {
        matches!(self, Self::Stale | Self::Expired)
    }

    /// Whether the sidecar should be asked at all.
    #[must_use]
    pub const fn is_ready(self) -> bool {
        matches!(self, Self::Fresh | Self::Stale)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// What is known about the snapshot that is being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How long it counts as fresh after it was confirmed.
    fresh_for: Duration,
    /// When it was last confirmed; absent while there is none.
    word: Option<Word>,
    /// Whether a newer one on disk could not be read, or it is not known what became of it.
    damaged: bool,
    /// For how long it counts as fresh while something is prepared that may be switched to.
    silence_max: Option<Duration>,
    /// From when on something newer is to be served.
    due_at: Option<Timestamp>,
}

/// A verified document that says: this was current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word {
    epoch: u64,
    /// When the latest of them was signed.
    issued_at: Timestamp,
    /// What the publisher's clock showed, at the least, when this process started: a word that comes
    /// late, or comes again, says less than one before.
    publisher_at_start: Timestamp,
    age_max: Option<Duration>,
}

impl Standing {
    /// Without a snapshot. Fresh will mean: confirmed within three polls, or 15 seconds.
    pub(crate) fn cold(poll_wait_s: u32) -> Self {
        let polls = Duration::from_secs(u64::from(poll_wait_s) * 3);
        Self {
            fresh_for: polls.max(Duration::from_secs(15)),
            word: None,
            damaged: false,
            silence_max: None,
            due_at: None,
        }
    }

    /// How long it counts as fresh after it was confirmed, while nothing is prepared.
    pub(crate) fn fresh_for(&self) -> Duration {
        self.fresh_for
    }

    /// While something is prepared that others may switch to, silence counts sooner.
    pub(crate) fn preparing(self, silence_max: Option<Duration>) -> Self {
        Self { silence_max, ..self }
    }

    /// Something newer is to be served from an instant on; from then on this is not fresh.
    pub(crate) fn due(self, due_at: Option<Timestamp>) -> Self {
        Self { due_at, ..self }
    }

    fn fresh_now(&self) -> Duration {
        self.silence_max.map_or(self.fresh_for, |silence| silence.min(self.fresh_for))
    }

    /// After a verified document.
    pub(crate) fn heard(
        self,
        now: Moment,
        epoch: u64,
        issued_at: Timestamp,
        age_max_s: Option<u32>,
        damaged: bool,
    ) -> Self {
        let at_start = issued_at.minus(now.up);
        let (issued_at, publisher_at_start) = match self.word {
            Some(before) if before.epoch == epoch => {
                (issued_at.max(before.issued_at), at_start.max(before.publisher_at_start))
            }
            _ => (issued_at, at_start),
        };
        let age_max = age_max_s.map(|seconds| Duration::from_secs(seconds.into()));
        let word = Word { epoch, issued_at, publisher_at_start, age_max };
        Self { word: Some(word), damaged, ..self }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.word.map_or(0, |word| word.epoch)
    }

    /// Since when nobody has confirmed it. Zero while there is none.
    pub(crate) fn age(&self, now: Moment) -> Duration {
        self.word.map_or(Duration::ZERO, |word| {
            let publisher = word.publisher_at_start.plus(now.up);
            now.wall.since(word.issued_at).max(publisher.since(word.issued_at))
        })
    }

    pub(crate) fn age_ms(&self, now: Moment) -> u64 {
        u64::try_from(self.age(now).as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn state(&self, now: Moment) -> State {
        let Some(word) = self.word else { return State::Cold };
        let age = self.age(now);
        if word.age_max.is_some_and(|most| age > most) {
            State::Expired
        } else if self.damaged
            || age > self.fresh_now()
            || self.due_at.is_some_and(|due_at| due_at <= now.at)
        {
            State::Stale
        } else {
            State::Fresh
        }
    }

    /// In how long the state will be another one if nothing is heard.
    pub(crate) fn next_state_in(&self, now: Moment) -> Option<Duration> {
        let word = self.word?;
        let age = self.age(now);
        let just_over = |limit: Duration| (limit + Duration::from_millis(1)).saturating_sub(age);
        let due = self.due_at.map(|due_at| due_at.since(now.at));
        [Some(self.fresh_now()), word.age_max]
            .into_iter()
            .flatten()
            .map(just_over)
            .chain(due)
            .filter(|wait| !wait.is_zero())
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_800_000_000_000_000;

    fn at(wall_s: i64, up_s: u64) -> Moment {
        let wall = Timestamp::from_micros(START + wall_s * 1_000_000);
        Moment { at: wall, wall, up: Duration::from_secs(up_s) }
    }

    #[test]
    fn the_state_follows_the_age() {
        let cold = Standing::cold(10);
        assert_eq!(cold.state(at(0, 0)), State::Cold);
        let heard = cold.heard(at(0, 0), 1, at(0, 0).at, Some(300), false);
        for (second, state) in [
            (0, State::Fresh),
            (30, State::Fresh),
            (31, State::Stale),
            (300, State::Stale),
            (301, State::Expired),
        ] {
            let now = at(i64::try_from(second).unwrap(), second);
            assert_eq!(heard.state(now), state, "after {second} s");
        }
        assert_eq!(Standing::cold(1).fresh_for, Duration::from_secs(15));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_it_young() {
        let heard = Standing::cold(10).heard(at(0, 0), 1, at(0, 0).at, Some(300), false);
        assert_eq!(heard.state(at(0, 400)), State::Expired);
    }

    #[test]
    fn a_document_from_the_future_counts_from_now() {
        let heard = Standing::cold(10).heard(at(0, 0), 1, at(9_000, 0).at, Some(300), false);
        assert_eq!(heard.age(at(40, 40)), Duration::from_secs(40));
    }

    #[test]
    fn a_word_that_comes_again_does_not_make_it_young_whatever_the_clock_shows() {
        // Its clock is an hour behind, so every word seems to come from the future.
        let behind = |second: i64| at(second - 3_600, u64::try_from(second).unwrap());
        let first = Standing::cold(10).heard(behind(0), 1, at(0, 0).at, Some(300), false);
        assert_eq!(first.state(behind(20)), State::Fresh);
        let again = first.heard(behind(60), 1, at(0, 0).at, Some(300), false);
        assert_eq!(
            (again.age(behind(60)), again.state(behind(60))),
            (Duration::from_secs(60), State::Stale)
        );
        let later = again.heard(behind(61), 1, at(55, 0).at, Some(300), false);
        assert_eq!(later.age(behind(61)), Duration::from_secs(6), "it was under way for a while");
    }

    #[test]
    fn a_clock_that_was_ahead_for_a_while_leaves_nothing_behind() {
        let heard = Standing::cold(10).heard(at(0, 0), 1, at(0, 0).at, Some(300), false);
        assert_eq!(heard.state(at(3_600, 1)), State::Expired);
        let mended = Moment { at: at(3_600, 0).at, ..at(2, 2) };
        assert_eq!(
            heard.state(mended),
            State::Fresh,
            "decisions go by the later time all the same"
        );
    }

    #[test]
    fn an_older_word_does_not_make_it_older() {
        let first = Standing::cold(10).heard(at(100, 0), 1, at(100, 0).at, None, false);
        let replayed = first.heard(at(101, 1), 1, at(0, 0).at, None, false);
        assert_eq!(replayed.age(at(101, 1)), Duration::from_secs(1));
    }

    #[test]
    fn whoever_prepared_something_is_soon_stale_in_silence() {
        let heard = Standing::cold(10).heard(at(0, 0), 1, at(0, 0).at, Some(300), false);
        let preparing = heard.preparing(Some(Duration::from_secs(2)));
        assert_eq!(preparing.state(at(2, 2)), State::Fresh);
        assert_eq!(preparing.state(at(3, 3)), State::Stale);
        assert_eq!(preparing.next_state_in(at(0, 0)), Some(Duration::from_millis(2_001)));
        assert_eq!(preparing.preparing(None).state(at(3, 3)), State::Fresh);
    }

    #[test]
    fn what_is_overdue_is_not_fresh() {
        let heard = Standing::cold(10).heard(at(0, 0), 1, at(0, 0).at, Some(300), false);
        let due = heard.due(Some(at(5, 5).at));
        assert_eq!((due.state(at(4, 4)), due.state(at(5, 5))), (State::Fresh, State::Stale));
        assert_eq!(due.next_state_in(at(0, 0)), Some(Duration::from_secs(5)));
    }

    #[test]
    fn damage_is_never_fresh_and_the_next_state_is_known() {
        let damaged = Standing::cold(10).heard(at(0, 0), 1, at(0, 0).at, Some(300), true);
        assert_eq!(damaged.state(at(0, 0)), State::Stale);
        let whole = Standing::cold(10).heard(at(0, 0), 1, at(0, 0).at, Some(300), false);
        let wait = whole.next_state_in(at(0, 0)).unwrap();
        assert_eq!(wait, Duration::from_millis(30_001));
        let then = Moment { at: at(0, 0).at.plus(wait), wall: at(0, 0).at.plus(wait), up: wait };
        assert_eq!(whole.state(then), State::Stale);
        assert_eq!(whole.next_state_in(at(301, 301)), None, "nothing comes after expired");
    }
}
