//! A request as lists and reports know it: what they filter, sort and count by.

use std::collections::BTreeMap;

use entitlements_core::Timestamp;

use super::{Promise, RequestRecord, Stage};
use crate::workflow::{
    provisioning::Next,
    sla::{Clock, ClockState, Metric, WorkTime, clock, crossings},
};

/// How a promise is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PromiseState {
    /// Its clock counts.
    Running,
    /// Its clock stands still, as the requester is asked for something.
    Paused,
    /// It was kept.
    Met,
    /// It was not.
    Missed,
    /// Nobody waits any more.
    Cancelled,
}

impl PromiseState {
    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether somebody still waits.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// A promise as reports know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromiseRow {
    /// What was promised.
    pub metric: Metric,
    /// How it is.
    pub state: PromiseState,
    /// By which calendar it counts; around the clock where absent.
    pub calendar: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When its time is over, or was.
    pub due_at: Option<Timestamp>,
    /// Whether its time is over.
    pub is_late: bool,
    /// How much work has gone by once it has ended, in microseconds.
    pub used_us: i64,
}

/// A request as lists know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// Whose.
    pub tenant: String,
    /// For what.
    pub listing: String,
    /// Of which partner; empty where it is our own.
    pub partner: String,
    /// Who looks after it; empty where nobody does.
    pub team: String,
    /// How much it matters.
    pub priority: String,
    /// How far it has come.
    pub stage: String,
    /// Whether it goes on.
    pub is_open: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// The promises that hold for it and have begun.
    pub promises: Vec<PromiseRow>,
}

/// The part of the time at which a promise is broken, in percent.
const BREACH: u16 = 100;

impl Promise {
    /// How far it is.
    #[must_use]
    pub fn clock(
        &self,
        record: &RequestRecord,
        hours: &BTreeMap<String, WorkTime>,
        now: Timestamp,
    ) -> Option<Clock> {
        clock(&self.goal, &self.hours(hours), &record.marks(self.goal.metric), now)
    }

    /// The hours that it counts by. Those of a calendar that is gone are all hours.
    #[must_use]
    pub fn hours(&self, hours: &BTreeMap<String, WorkTime>) -> WorkTime {
        let found = self.goal.calendar.as_ref().and_then(|key| hours.get(key));
        found.cloned().unwrap_or_else(WorkTime::always)
    }

    /// When each part of the time that people hear of is over, as far as that can be told: also the
    /// whole of it, be there a warning or not.
    #[must_use]
    pub fn crossings(
        &self,
        record: &RequestRecord,
        hours: &BTreeMap<String, WorkTime>,
        now: Timestamp,
    ) -> Vec<(u16, Timestamp)> {
        let mut goal = self.goal.clone();
        goal.warn_percent.insert(BREACH);
        crossings(&goal, &self.hours(hours), &record.marks(goal.metric), now)
    }

    /// The same of which nobody was told, and that were, or will be, so before it ended.
    #[must_use]
    pub fn untold(
        &self,
        record: &RequestRecord,
        hours: &BTreeMap<String, WorkTime>,
        now: Timestamp,
    ) -> Vec<(u16, Timestamp)> {
        let Some(clock) = self.clock(record, hours, now) else { return Vec::new() };
        if clock.state == ClockState::Cancelled {
            return Vec::new();
        }
        let mut all = self.crossings(record, hours, now);
        all.retain(|(percent, at)| {
            !self.told.contains_key(percent) && clock.ended_at.is_none_or(|end| *at < end)
        });
        all
    }

    /// The parts of which people were told too early: their hours have changed since.
    #[must_use]
    pub fn told_early(
        &self,
        record: &RequestRecord,
        hours: &BTreeMap<String, WorkTime>,
        now: Timestamp,
    ) -> Vec<u16> {
        let all = self.crossings(record, hours, now).into_iter();
        let ahead = all.filter(|(percent, at)| *at > now && self.told.contains_key(percent));
        ahead.map(|(percent, _)| percent).collect()
    }
}

impl RequestRecord {
    /// When it is to be looked at again: it goes on by itself, or people have to hear of it. It may be
    /// past.
    #[must_use]
    pub fn due_at(&self, hours: &BTreeMap<String, WorkTime>, now: Timestamp) -> Option<Timestamp> {
        let moves_at = match self.stage() {
            stage if stage.is_undecided() => self.decide_by,
            Stage::Scheduled => self.wants.start_at,
            Stage::Provisioning | Stage::Compensating => {
                match self.course().next(&self.steps, now) {
                    Next::Step(_, _, due) => Some(due),
                    Next::Person(_, until) => until,
                    _ => None,
                }
            }
            _ => None,
        };
        moves_at.into_iter().chain(self.next_warning(hours, now)).min()
    }

    /// When people have to hear next of how much time has gone by. It may be past.
    #[must_use]
    pub fn next_warning(
        &self,
        hours: &BTreeMap<String, WorkTime>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let untold = self
            .promises
            .iter()
            .flat_map(|promise| promise.untold(self, hours, now).into_iter().map(|(_, at)| at));
        // That is put right at once.
        let retracts =
            self.promises.iter().any(|promise| !promise.told_early(self, hours, now).is_empty());
        untold.chain(retracts.then_some(now)).min()
    }

    /// It as lists and reports know it.
    #[must_use]
    pub fn row(&self, hours: &BTreeMap<String, WorkTime>, now: Timestamp) -> RequestRow {
        let promises = self.promises.iter().filter_map(|promise| {
            let clock = promise.clock(self, hours, now)?;
            let is_late = clock.breached_at.is_some();
            let state = match clock.state {
                ClockState::Running => PromiseState::Running,
                ClockState::Paused => PromiseState::Paused,
                ClockState::Stopped if is_late => PromiseState::Missed,
                ClockState::Stopped => PromiseState::Met,
                ClockState::Cancelled => PromiseState::Cancelled,
            };
            let used = i64::try_from(clock.used.as_micros()).unwrap_or(i64::MAX);
            Some(PromiseRow {
                metric: promise.goal.metric,
                state,
                calendar: promise.goal.calendar.clone(),
                started_at: clock.started_at,
                due_at: clock.due_at,
                is_late,
                used_us: if state.is_open() { 0 } else { used },
            })
        });
        let stage = self.stage();
        RequestRow {
            tenant: self.tenant.clone(),
            listing: self.listing.clone(),
            partner: self.partner.clone().unwrap_or_default(),
            team: self.team.clone().unwrap_or_default(),
            priority: self.priority.clone(),
            stage: stage.code().into(),
            is_open: !stage.is_over(),
            created_at: self.created_at,
            promises: promises.collect(),
        }
    }
}
