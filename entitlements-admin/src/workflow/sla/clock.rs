//! How far a goal is: worked out from what happened and the hours that count.

use std::time::Duration;

use entitlements_core::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    calendar::WorkTime,
    goal::{Goal, Target},
};

/// What happened to the clock of a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// The wait begins.
    Starts,
    /// The requester is asked for something.
    Pauses,
    /// The requester has answered.
    Resumes,
    /// What was waited for is there.
    Stops,
    /// Nobody waits any more.
    Cancels,
}

/// What happened to the clock of a goal, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: MarkKind,
}

/// How a clock is. That it stands still outside of work is not one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClockState {
    /// It counts.
    Running,
    /// It stands still, as the requester is asked for something.
    Paused,
    /// What was waited for is there.
    Stopped,
    /// Nobody waits any more.
    Cancelled,
}

/// How far a goal is at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// How it is.
    pub state: ClockState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
    /// How much work it may take.
    pub target: Duration,
    /// How much work has gone by.
    pub used: Duration,
    /// When it would be over as it looked at its start.
    pub due_at_first: Option<Timestamp>,
    /// When it is over, or was; unknown while it is paused.
    pub due_at: Option<Timestamp>,
    /// When it was over without an end.
    pub breached_at: Option<Timestamp>,
    /// Whether work is done at this instant.
    pub is_open: bool,
}

impl Clock {
    /// How much of the time has gone by, in percent.
    #[must_use]
    pub fn percent(&self) -> u64 {
        let target = self.target.as_micros().max(1);
        u64::try_from(self.used.as_micros().saturating_mul(100) / target).unwrap_or(u64::MAX)
    }

    /// How much work is left.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.target.saturating_sub(self.used)
    }
}

/// A part of the time in which a clock counts but for hours, from an instant to another.
type Run = (Timestamp, Timestamp);

/// The clock of a goal; none before it begins. `log` is in the order of time.
#[must_use]
pub fn clock(goal: &Goal, work: &WorkTime, log: &[Mark], now: Timestamp) -> Option<Clock> {
    let (started_at, runs, state, ended_at) = runs(goal, log, now)?;
    let target = target(goal, work, started_at);
    let reached_at = instant_of(work, &runs, target);
    Some(Clock {
        state,
        started_at,
        ended_at,
        target,
        used: used(work, &runs),
        due_at_first: work.after(started_at, target),
        due_at: reached_at.or_else(|| will_be(work, &runs, state, target)),
        // It went on after that, be it outside of work.
        breached_at: reached_at.filter(|due| runs.iter().any(|(_, ends)| ends > due)),
        is_open: work.is_open(now),
    })
}

/// When each part of the time is over, in percent, as far as that can be told: when it was, or will be
/// where nothing pauses it.
#[must_use]
pub fn crossings(
    goal: &Goal,
    work: &WorkTime,
    log: &[Mark],
    now: Timestamp,
) -> Vec<(u16, Timestamp)> {
    let Some((started_at, runs, state, _)) = runs(goal, log, now) else { return Vec::new() };
    let target = target(goal, work, started_at);
    let part = |percent: u16| target * u32::from(percent) / 100;
    let when = |percent: u16| {
        let was = instant_of(work, &runs, part(percent));
        Some((percent, was.or_else(|| will_be(work, &runs, state, part(percent)))?))
    };
    goal.warn_percent.iter().copied().filter_map(when).collect()
}

/// Why a clock counts or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpanWhy {
    /// It counts.
    Work,
    /// Nobody works then.
    OutsideHours,
    /// A date that is different.
    Exception,
    /// The requester is asked for something.
    Paused,
    /// The requester is asked for something, and nobody works then.
    PausedOutsideHours,
}

/// A part of the time with one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// From when on.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Why it counts or not.
    pub why: SpanWhy,
}

/// The most parts of an explanation.
const SPANS_MAX: usize = 10_000;

/// Every minute of a clock: from its start to its end, or until now.
#[must_use]
pub fn spans(goal: &Goal, work: &WorkTime, log: &[Mark], now: Timestamp) -> Vec<Span> {
    let Some((started_at, runs, _, ended_at)) = runs(goal, log, now) else { return Vec::new() };
    let end = ended_at.unwrap_or(now);
    let mut spans: Vec<Span> = Vec::new();
    let mut at = started_at;
    while at < end && spans.len() < SPANS_MAX {
        let counts = runs.iter().find(|(begins, ends)| *begins <= at && at < *ends);
        let next_run = runs.iter().map(|(begins, _)| *begins).find(|begins| *begins > at);
        let turns = counts.map(|(_, ends)| *ends).or(next_run).unwrap_or(end);
        let edges = [work.next_edge(at), work.next_date(at), Some(turns), Some(end)];
        let until = edges.into_iter().flatten().min().unwrap_or(end);
        let why = match (counts.is_some(), work.is_open(at)) {
            (true, true) => SpanWhy::Work,
            (true, false) if work.is_exception(at) => SpanWhy::Exception,
            (true, false) => SpanWhy::OutsideHours,
            (false, true) => SpanWhy::Paused,
            (false, false) => SpanWhy::PausedOutsideHours,
        };
        match spans.last_mut().filter(|last| last.why == why) {
            Some(last) => last.until = until,
            None => spans.push(Span { from: at, until, why }),
        }
        at = until;
    }
    spans
}

/// When it began, the parts in which it counts, how it is, and when it ended.
fn runs(
    goal: &Goal,
    log: &[Mark],
    now: Timestamp,
) -> Option<(Timestamp, Vec<Run>, ClockState, Option<Timestamp>)> {
    let started_at = log.iter().find(|mark| mark.kind == MarkKind::Starts)?.at;
    let (mut runs, mut since) = (Vec::new(), Some(started_at));
    let (mut state, mut ended_at) = (ClockState::Running, None);
    for mark in log.iter().filter(|mark| mark.at >= started_at) {
        if ended_at.is_some() {
            break;
        }
        let closes = match mark.kind {
            MarkKind::Starts => false,
            MarkKind::Pauses => goal.pauses,
            MarkKind::Resumes => {
                if since.is_none() {
                    (since, state) = (Some(mark.at), ClockState::Running);
                }
                false
            }
            MarkKind::Stops | MarkKind::Cancels => true,
        };
        if !closes {
            continue;
        }
        if let Some(begins) = since.take() {
            runs.push((begins, mark.at));
        }
        match mark.kind {
            MarkKind::Stops => (state, ended_at) = (ClockState::Stopped, Some(mark.at)),
            MarkKind::Cancels => (state, ended_at) = (ClockState::Cancelled, Some(mark.at)),
            _ => state = ClockState::Paused,
        }
    }
    if let Some(begins) = since {
        runs.push((begins, now.max(begins)));
    }
    Some((started_at, runs, state, ended_at))
}

fn target(goal: &Goal, work: &WorkTime, started_at: Timestamp) -> Duration {
    match goal.target {
        Target::Minutes(minutes) => Duration::from_secs(u64::from(minutes) * 60),
        Target::EndOfDay(days) => {
            let end = work.end_of_day(started_at, days);
            end.map_or(Duration::ZERO, |end| work.between(started_at, end))
        }
    }
}

fn used(work: &WorkTime, runs: &[Run]) -> Duration {
    runs.iter().map(|(begins, ends)| work.between(*begins, *ends)).sum()
}

/// When so much work had gone by; nothing where that is not so.
fn instant_of(work: &WorkTime, runs: &[Run], amount: Duration) -> Option<Timestamp> {
    let mut left = amount;
    for (begins, ends) in runs {
        let length = work.between(*begins, *ends);
        if left <= length {
            return work.after(*begins, left);
        }
        left = left.saturating_sub(length);
    }
    None
}

/// When so much work will have gone by, where nothing pauses it.
fn will_be(
    work: &WorkTime,
    runs: &[Run],
    state: ClockState,
    amount: Duration,
) -> Option<Timestamp> {
    let ((begins, _), before) = runs.split_last().filter(|_| state == ClockState::Running)?;
    work.after(*begins, amount.saturating_sub(used(work, before)))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::{
        super::{Calendar, Hours, Metric, WorkWeek},
        *,
    };
    use crate::workflow::civil::Day;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(&format!("2026-12-{text}:00Z")).unwrap()
    }

    fn mark(text: &str, kind: MarkKind) -> Mark {
        Mark { at: at(text), kind }
    }

    fn goal(target: Target) -> Goal {
        let warn_percent = BTreeSet::from([50, 100, 150]);
        Goal { metric: Metric::Approval, target, calendar: None, pauses: true, warn_percent }
    }

    /// Mondays to Fridays, 9 to 17 in UTC, but for the 24th.
    fn office() -> WorkTime {
        let hours = vec![Hours { from: "09:00".into(), until: "17:00".into() }];
        let week = WorkWeek {
            time_zone: "UTC".into(),
            hours: Day::ALL[..5].iter().map(|day| (*day, hours.clone())).collect(),
            exceptions: BTreeMap::from([("2026-12-24".into(), Vec::new())]),
        };
        Calendar { name: "Office".into(), week, past: Vec::new() }.open().unwrap()
    }

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(60 * count)
    }

    #[test]
    fn it_counts_work_and_stands_still_while_it_is_paused() {
        use MarkKind as M;
        let goal = goal(Target::Minutes(240));
        let log = [
            mark("21T15:00", M::Starts),
            mark("21T16:00", M::Pauses),
            mark("22T10:00", M::Resumes),
        ];
        let clock = clock(&goal, &office(), &log, at("22T11:00")).unwrap();
        assert_eq!(
            (clock.state, clock.used, clock.percent()),
            (ClockState::Running, minutes(120), 50)
        );
        assert_eq!(clock.due_at_first, Some(at("22T11:00")));
        assert_eq!(clock.due_at, Some(at("22T13:00")), "the pause moved it");
        assert_eq!(clock.breached_at, None);
        let crossed = crossings(&goal, &office(), &log, at("22T11:00"));
        assert_eq!(crossed, [(50, at("22T11:00")), (100, at("22T13:00")), (150, at("22T15:00"))]);

        // A pause while nobody works moves nothing.
        let night = [log[0], mark("21T18:00", M::Pauses), mark("22T08:00", M::Resumes)];
        let now = super::clock(&goal, &office(), &night, at("22T09:00")).unwrap();
        assert_eq!((now.used, now.due_at), (minutes(120), now.due_at_first));
        // While it is paused nobody knows when it is over.
        let paused = super::clock(&goal, &office(), &log[..2], at("28T12:00")).unwrap();
        assert_eq!(
            (paused.state, paused.due_at, paused.used),
            (ClockState::Paused, None, minutes(60))
        );
        assert_eq!(paused.left(), minutes(180));
    }

    #[test]
    fn what_ends_in_time_is_not_late_and_what_ends_later_is() {
        use MarkKind as M;
        let goal = goal(Target::Minutes(120));
        let start = mark("21T15:00", M::Starts);
        for (end, breached) in [("21T17:00", None), ("21T17:01", Some(at("21T17:00")))] {
            let stop = [start, mark(end, M::Stops)];
            let clock = clock(&goal, &office(), &stop, at("31T00:00")).unwrap();
            assert_eq!((clock.state, clock.breached_at), (ClockState::Stopped, breached), "{end}");
            assert_eq!(clock.used, minutes(120));
        }
        // Cut off at the very moment at which it would have gone on.
        let cut = [start, mark("21T17:00", M::Pauses)];
        assert_eq!(clock(&goal, &office(), &cut, at("31T00:00")).unwrap().breached_at, None);
        let cancelled = [start, mark("21T16:00", M::Cancels)];
        let clock = clock(&goal, &office(), &cancelled, at("31T00:00")).unwrap();
        assert_eq!((clock.state, clock.breached_at), (ClockState::Cancelled, None));
        assert_eq!(super::clock(&goal, &office(), &[], at("31T00:00")), None);
        let never = Goal { pauses: false, ..goal };
        let log = [start, mark("21T15:30", M::Pauses)];
        let clock = super::clock(&never, &office(), &log, at("21T16:00")).unwrap();
        assert_eq!((clock.state, clock.used), (ClockState::Running, minutes(60)));
    }

    #[test]
    fn every_minute_has_its_reason() {
        use {MarkKind as M, SpanWhy as W};
        let log = [
            mark("23T16:00", M::Starts),
            mark("25T08:00", M::Pauses),
            mark("25T10:00", M::Resumes),
            mark("25T11:00", M::Stops),
        ];
        let found = spans(&goal(Target::Minutes(60)), &office(), &log, at("31T00:00"));
        let found: Vec<_> = found.iter().map(|span| (span.from, span.until, span.why)).collect();
        let expected = [
            ("23T16:00", "23T17:00", W::Work),
            ("23T17:00", "24T00:00", W::OutsideHours),
            ("24T00:00", "25T00:00", W::Exception),
            ("25T00:00", "25T08:00", W::OutsideHours),
            ("25T08:00", "25T09:00", W::PausedOutsideHours),
            ("25T09:00", "25T10:00", W::Paused),
            ("25T10:00", "25T11:00", W::Work),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(from, until, why)| (at(from), at(until), *why)).collect();
        assert_eq!(found, expected);
        let end = goal(Target::EndOfDay(1));
        let clock = clock(&end, &office(), &log[..1], at("23T16:30")).unwrap();
        assert_eq!((clock.target, clock.due_at), (minutes(60 + 480), Some(at("25T17:00"))));
    }
}
