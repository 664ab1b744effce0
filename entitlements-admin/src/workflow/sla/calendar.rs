//! When work is done: the hours of a week by a place's own clock, and dates that are different.

use std::{collections::BTreeMap, time::Duration};

use entitlements_core::Timestamp;
use jiff::{
    civil::{Date, Time},
    tz::TimeZone,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::workflow::{
    civil::{self, Day},
    connector::line,
};

/// Hours of a day: from the first time on, and before the second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// When they begin, such as `08:00`.
    pub from: String,
    /// When they end, such as `18:00`; `24:00` is the end of the day.
    pub until: String,
}

/// The hours in which work is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkWeek {
    /// By which clock, such as `Europe/Berlin`.
    pub time_zone: String,
    /// The hours of each day; none on those that are absent.
    pub hours: BTreeMap<Day, Vec<Hours>>,
    /// The hours of single dates, such as `2026-12-24`, instead of those of their day. An empty list
    /// is a holiday.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exceptions: BTreeMap<String, Vec<Hours>>,
}

/// A calendar: hours, and the hours that it had before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    /// What people call it.
    pub name: String,
    /// The hours that count now.
    pub week: WorkWeek,
    /// What counted before, and until when, oldest first. The control plane writes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<PastWeek>,
}

/// Hours that counted once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PastWeek {
    /// Until when they counted.
    pub until: Timestamp,
    /// Which.
    pub week: WorkWeek,
}

/// The most hours of one day.
const HOURS_MAX: usize = 8;
/// The most dates that are different.
const EXCEPTIONS_MAX: usize = 400;
/// The most past versions that are kept.
const PAST_MAX: usize = 200;

impl Calendar {
    /// What is wrong with it first.
    ///
    /// # Errors
    /// Where something is.
    pub fn check(&self) -> Result<(), String> {
        line("name", &self.name)?;
        self.week.open().map(drop)
    }

    /// The same with other hours from an instant on. Time that was counted before stays counted.
    #[must_use]
    pub fn replaced_by(&self, name: String, week: WorkWeek, at: Timestamp) -> Self {
        let mut past = self.past.clone();
        if week != self.week {
            past.push(PastWeek { until: at, week: self.week.clone() });
            let too_many = past.len().saturating_sub(PAST_MAX);
            past.drain(..too_many);
        }
        Self { name, week, past }
    }

    /// Ready to be counted with.
    ///
    /// # Errors
    /// Where some hours cannot be read.
    pub fn open(&self) -> Result<WorkTime, String> {
        let past = self.past.iter().map(|past| Ok((past.until, past.week.open()?)));
        let mut weeks = past.collect::<Result<Vec<_>, String>>()?;
        weeks.push((Timestamp::MAX, self.week.open()?));
        Ok(WorkTime { weeks })
    }
}

impl WorkWeek {
    fn open(&self) -> Result<Week, String> {
        let zone =
            civil::zone(&self.time_zone).map_err(|why| format!("`week.time_zone`: {why}"))?;
        let mut days: [Vec<Stretch>; 7] = Default::default();
        for (day, hours) in &self.hours {
            let path = format!("week.hours.{}", format!("{day:?}").to_lowercase());
            days[*day as usize] = stretches(&path, hours)?;
        }
        if days.iter().all(Vec::is_empty) {
            return Err("`week.hours` has no hours: then nothing would ever be due".into());
        }
        if self.exceptions.len() > EXCEPTIONS_MAX {
            return Err(format!("`week.exceptions` takes {EXCEPTIONS_MAX} dates at the most"));
        }
        let exceptions = self.exceptions.iter().map(|(text, hours)| {
            let path = format!("week.exceptions.{text}");
            let date = civil::date(text).map_err(|why| format!("`week.exceptions`: {why}"))?;
            Ok((date, stretches(&path, hours)?))
        });
        Ok(Week { zone, days, exceptions: exceptions.collect::<Result<_, String>>()? })
    }
}

fn stretches(path: &str, hours: &[Hours]) -> Result<Vec<Stretch>, String> {
    if hours.len() > HOURS_MAX {
        return Err(format!("`{path}` takes {HOURS_MAX} stretches at the most"));
    }
    let mut all = Vec::with_capacity(hours.len());
    for one in hours {
        let read = |text: &str| civil::clock_time(text).map_err(|why| format!("`{path}`: {why}"));
        let from = read(&one.from)?;
        let until = if one.until == "24:00" { None } else { Some(read(&one.until)?) };
        if until.is_some_and(|until| until <= from) {
            return Err(format!(
                "`{path}`: `{}` to `{}` ends before it begins: write what goes over midnight as two, \
                 to `24:00` and from `00:00`",
                one.from, one.until
            ));
        }
        all.push(Stretch { from, until });
    }
    all.sort_by_key(|stretch| stretch.from);
    let overlap = all.windows(2).any(|pair| pair[0].until.is_none_or(|end| end > pair[1].from));
    if overlap {
        return Err(format!("`{path}` has hours twice"));
    }
    Ok(all)
}

/// Hours of a day; to its end where that is absent.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: Time,
    until: Option<Time>,
}

/// Hours of a week, ready to be counted with.
#[derive(Debug, Clone)]
struct Week {
    zone: TimeZone,
    days: [Vec<Stretch>; 7],
    exceptions: BTreeMap<Date, Vec<Stretch>>,
}

impl Week {
    /// The stretches of a date. A date that the zone skipped has none.
    fn of(&self, day: Date) -> Vec<(Timestamp, Timestamp)> {
        let stretches = self
            .exceptions
            .get(&day)
            .unwrap_or_else(|| &self.days[Day::from(day.weekday()) as usize]);
        if stretches.is_empty() || !self.has(day) {
            return Vec::new();
        }
        let midnight = || civil::instant(day.tomorrow().ok()?, Time::midnight(), &self.zone);
        let mut all: Vec<_> = stretches
            .iter()
            .filter_map(|stretch| {
                let from = civil::instant(day, stretch.from, &self.zone)?;
                let until = match stretch.until {
                    None => midnight()?,
                    Some(time) => civil::instant(day, time, &self.zone)?,
                };
                (from < until).then_some((from, until))
            })
            .collect();
        // What a clock skips is later than it says, and may come after what it says later.
        all.sort_unstable();
        all
    }

    /// The stretches from an instant on and before another, by date.
    fn within(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        // The day before may reach into this one.
        let first = civil::date_at(from, &self.zone).and_then(|day| day.yesterday().ok());
        let days = std::iter::successors(first, |day| day.tomorrow().ok()).take(DAYS_MAX);
        let begun = days.take_while(move |day| {
            let begins = civil::instant(*day, Time::midnight(), &self.zone);
            begins.is_some_and(|begins| begins < until)
        });
        let cut = move |(begins, ends): (Timestamp, Timestamp)| (begins.max(from), ends.min(until));
        begun.flat_map(|day| self.of(day)).map(cut).filter(|(begins, ends)| begins < ends)
    }

    fn has(&self, day: Date) -> bool {
        let begins = civil::instant(day, Time::midnight(), &self.zone);
        begins.and_then(|begins| civil::date_at(begins, &self.zone)) == Some(day)
    }
}

/// How far to look for time in which work is done: some years.
const DAYS_MAX: usize = 2_000;

/// When work was, is and will be done.
#[derive(Debug, Clone)]
pub struct WorkTime {
    /// Each with the instant until which it counts, oldest first.
    weeks: Vec<(Timestamp, Week)>,
}

impl WorkTime {
    /// Around the clock.
    #[must_use]
    pub fn always() -> Self {
        Self { weeks: Vec::new() }
    }

    /// The stretches of work from an instant on, one after the other and apart.
    fn stretches(&self, from: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let begins = std::iter::once(Timestamp::MIN).chain(self.weeks.iter().map(|(end, _)| *end));
        let counting = begins.zip(&self.weeks).filter(move |(_, (end, _))| *end > from);
        let all = counting.flat_map(move |(begin, (end, week))| week.within(begin.max(from), *end));
        // What a clock shows twice must not count twice.
        all.scan(from, |last, (begins, ends)| {
            let stretch = (begins.max(*last), ends);
            *last = ends.max(*last);
            Some(stretch)
        })
        .filter(|(begins, ends)| begins < ends)
    }

    /// How much work is done between two instants.
    #[must_use]
    pub fn between(&self, from: Timestamp, until: Timestamp) -> Duration {
        if self.weeks.is_empty() {
            return until.since(from);
        }
        let mut sum = Duration::ZERO;
        for (begins, ends) in self.stretches(from) {
            if begins >= until {
                break;
            }
            sum += ends.min(until).since(begins);
        }
        sum
    }

    /// When so much work is done, where it begins at an instant. Nothing where that is beyond what can
    /// be looked at.
    #[must_use]
    pub fn after(&self, from: Timestamp, work: Duration) -> Option<Timestamp> {
        if self.weeks.is_empty() || work.is_zero() {
            return Some(from.plus(work));
        }
        let mut left = work;
        for (begins, ends) in self.stretches(from) {
            let length = ends.since(begins);
            if left <= length {
                return Some(begins.plus(left));
            }
            left -= length;
        }
        None
    }

    /// The end of the day on which work is done, so many such days after the one of an instant, or
    /// after the first such day from there. Nothing around the clock.
    #[must_use]
    pub fn end_of_day(&self, from: Timestamp, days: u32) -> Option<Timestamp> {
        let mut last: Option<(Date, Timestamp)> = None;
        let mut passed = 0;
        for (begins, ends) in self.stretches(from) {
            let day = civil::date_at(begins, &self.week_at(begins)?.zone)?;
            match last {
                Some((known, _)) if known == day => {}
                Some((_, end)) if passed == days => return Some(end),
                Some(_) => passed += 1,
                None => {}
            }
            last = Some((day, ends));
        }
        None
    }

    /// Whether work is done at an instant.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.weeks.is_empty() || self.stretches(at).next().is_some_and(|(begins, _)| begins <= at)
    }

    /// Whether a date that is different has made an instant one without work.
    #[must_use]
    pub fn is_exception(&self, at: Timestamp) -> bool {
        let Some(week) = self.week_at(at) else { return false };
        civil::date_at(at, &week.zone).is_some_and(|day| week.exceptions.contains_key(&day))
    }

    /// The next instant after this one at which work begins or ends.
    #[must_use]
    pub fn next_edge(&self, at: Timestamp) -> Option<Timestamp> {
        if self.weeks.is_empty() {
            return None;
        }
        let (begins, ends) = self.stretches(at).next()?;
        Some(if begins > at { begins } else { ends })
    }

    /// When the date of an instant is over, by the clock that counts then, or those hours count no more.
    #[must_use]
    pub fn next_date(&self, at: Timestamp) -> Option<Timestamp> {
        let (end, week) = self.weeks.iter().find(|(end, _)| at < *end)?;
        let tomorrow = civil::date_at(at, &week.zone)?.tomorrow().ok()?;
        let next = civil::instant(tomorrow, Time::midnight(), &week.zone)?.min(*end);
        (next > at).then_some(next)
    }

    fn week_at(&self, at: Timestamp) -> Option<&Week> {
        let found = self.weeks.iter().find(|(until, _)| at < *until);
        found.or(self.weeks.last()).map(|(_, week)| week)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(count * 60)
    }

    fn week(zone: &str, days: &[Day], hours: &[(&str, &str)]) -> WorkWeek {
        let one =
            |(from, until): &(&str, &str)| Hours { from: (*from).into(), until: (*until).into() };
        let hours: Vec<Hours> = hours.iter().map(one).collect();
        WorkWeek {
            time_zone: zone.into(),
            hours: days.iter().map(|day| (*day, hours.clone())).collect(),
            exceptions: BTreeMap::new(),
        }
    }

    fn calendar(week: WorkWeek) -> Calendar {
        Calendar { name: "Support".into(), week, past: Vec::new() }
    }

    fn berlin() -> WorkWeek {
        week("Europe/Berlin", &Day::ALL[..5], &[("09:00", "12:00"), ("13:00", "18:00")])
    }

    #[test]
    fn work_is_done_in_its_hours_alone() {
        let mut week = berlin();
        week.exceptions.insert("2026-12-24".into(), Vec::new());
        week.exceptions.insert(
            "2026-12-27".into(),
            vec![Hours { from: "10:00".into(), until: "11:00".into() }],
        );
        let work = calendar(week).open().unwrap();
        for (from, until, expected) in [
            ("2026-12-21T07:00:00Z", "2026-12-21T18:00:00Z", 480),
            ("2026-12-21T10:30:00Z", "2026-12-21T12:30:00Z", 60),
            ("2026-12-23T16:00:00Z", "2026-12-25T08:30:00Z", 90),
            ("2026-12-27T00:00:00Z", "2026-12-28T00:00:00Z", 60),
            ("2026-12-21T12:00:00Z", "2026-12-21T12:00:00Z", 0),
        ] {
            assert_eq!(work.between(at(from), at(until)), minutes(expected), "{from} {until}");
            if expected > 0 {
                let end = work.after(at(from), minutes(expected)).unwrap();
                assert_eq!(work.between(at(from), end), minutes(expected));
                assert!(end <= at(until), "{from} {until}");
            }
        }
        assert!(
            work.is_open(at("2026-12-21T08:00:00Z")) && !work.is_open(at("2026-12-21T11:30:00Z"))
        );
        assert!(work.is_exception(at("2026-12-24T09:00:00Z")));
        assert_eq!(work.next_edge(at("2026-12-21T11:30:00Z")), Some(at("2026-12-21T12:00:00Z")));
        assert_eq!(work.next_edge(at("2026-12-21T12:00:00Z")), Some(at("2026-12-21T17:00:00Z")));
    }

    #[test]
    fn hours_are_as_long_as_the_clock_makes_them() {
        let night = week("America/New_York", &Day::ALL, &[("00:00", "08:00")]);
        let work = calendar(night).open().unwrap();
        for (day, hours) in [("2027-03-14", 7), ("2027-11-07", 9), ("2027-06-01", 8)] {
            let from = at(&format!("{day}T04:00:00Z"));
            assert_eq!(
                work.between(from, from.plus(minutes(20 * 60))),
                minutes(hours * 60),
                "{day}"
            );
        }
        // A whole day that was skipped has no hours.
        let apia = week("Pacific/Apia", &Day::ALL, &[("09:00", "17:00")]);
        let work = calendar(apia).open().unwrap();
        let (from, until) = (at("2011-12-29T10:00:00Z"), at("2012-01-01T10:00:00Z"));
        assert_eq!(work.between(from, until), minutes(3 * 8 * 60));
        // Half an hour of summer time.
        let howe = week("Australia/Lord_Howe", &Day::ALL, &[("00:00", "24:00")]);
        let work = calendar(howe).open().unwrap();
        let (from, until) = (at("2026-10-01T00:00:00Z"), at("2026-10-08T00:00:00Z"));
        assert_eq!(
            work.between(from, until),
            minutes(7 * 24 * 60),
            "around the clock is all of it"
        );
    }

    #[test]
    fn the_end_of_a_day_is_that_of_one_with_work() {
        let work = calendar(berlin()).open().unwrap();
        for (from, days, expected) in [
            ("2026-12-18T10:00:00Z", 0, "2026-12-18T17:00:00Z"),
            ("2026-12-18T10:00:00Z", 1, "2026-12-21T17:00:00Z"),
            ("2026-12-18T18:00:00Z", 0, "2026-12-21T17:00:00Z"),
            ("2026-12-19T10:00:00Z", 1, "2026-12-22T17:00:00Z"),
        ] {
            assert_eq!(work.end_of_day(at(from), days), Some(at(expected)), "{from} {days}");
        }
    }

    #[test]
    fn what_was_counted_by_other_hours_stays_counted() {
        let before = calendar(berlin());
        let edge = at("2026-12-22T09:00:00Z");
        let short = week("Europe/Berlin", &[Day::Tue], &[("09:00", "11:00")]);
        let after = before.replaced_by("Support".into(), short.clone(), edge);
        let work = after.open().unwrap();
        // Monday by the hours of then, Tuesday from 9 to 10 as well, from 10 on by those of now.
        let (from, until) = (at("2026-12-21T00:00:00Z"), at("2026-12-24T00:00:00Z"));
        assert_eq!(work.between(from, until), minutes(480 + 60 + 60));
        assert_eq!(work.after(from, minutes(600)), Some(at("2026-12-22T10:00:00Z")));
        assert_eq!(after.replaced_by("Other".into(), short, edge).past.len(), 1, "the same hours");
    }

    #[test]
    fn what_cannot_be_counted_with_is_refused() {
        let check = |change: &dyn Fn(&mut WorkWeek)| {
            let mut week = berlin();
            change(&mut week);
            calendar(week).check().unwrap_err()
        };
        let hours =
            |from: &str, until: &str| vec![Hours { from: from.into(), until: until.into() }];
        for (said, change) in [
            (
                "nothing would ever be due",
                &(|week: &mut WorkWeek| week.hours.clear()) as &dyn Fn(&mut _),
            ),
            ("no time zone", &|week: &mut WorkWeek| week.time_zone = "x".into()),
            ("no time of day", &|week: &mut WorkWeek| {
                week.hours.insert(Day::Mon, hours("25:00", "26:00"));
            }),
            ("ends before it begins", &|week: &mut WorkWeek| {
                week.hours.insert(Day::Mon, hours("22:00", "06:00"));
            }),
            ("hours twice", &|week: &mut WorkWeek| {
                let twice = [hours("09:00", "11:00"), hours("10:00", "12:00")].concat();
                week.hours.insert(Day::Mon, twice);
            }),
            ("no date", &|week: &mut WorkWeek| {
                week.exceptions.insert("24.12.".into(), Vec::new());
            }),
        ] {
            let why = check(change);
            assert!(why.contains(said), "{why}");
        }
    }
}
