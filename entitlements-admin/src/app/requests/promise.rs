//! What is promised for a request: from its submission on, until it is kept or people have heard of it.

use std::collections::BTreeMap;

use entitlements_core::Timestamp;

use super::{
    super::{
        App, Call, Error, Expected, KeptListing, connectors::notice, execute::Decided, parsed,
    },
    work::Work,
};
use crate::{
    store::{Listed, Reading, Reindexed, Tally},
    workflow::{
        Index, Kind, ObjectId, Origin,
        civil::zones_version,
        notice::{Event as Tidings, SlaMove},
        request::{Promise, RequestRecord, Stage},
        sla::{Calendar, Clock, Goal, Metric, Sla, Span, WorkTime, WorkWeek, spans},
    },
};

/// What is told later than this after it was so is told late.
const LATE: std::time::Duration = std::time::Duration::from_secs(120);

/// A promise, and how far it is.
#[derive(Debug, Clone)]
pub struct KeptPromise {
    /// What was promised.
    pub promise: Promise,
    /// How far it is; absent before it begins.
    pub clock: Option<Clock>,
    /// Every minute of it, with why it counts or does not.
    pub spans: Vec<Span>,
}

impl App {
    /// The promises of a request, as they are now.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn promises_of(&self, record: &RequestRecord) -> Result<Vec<KeptPromise>, Error> {
        let (hours, now) = (self.hours_of(&record.promises).await?, self.now());
        let kept = record.promises.iter().map(|promise| {
            let goal = &promise.goal;
            let spans = spans(goal, &promise.hours(&hours), &record.marks(goal.metric), now);
            let clock = promise.clock(record, &hours, now);
            KeptPromise { promise: promise.clone(), clock, spans }
        });
        Ok(kept.collect())
    }

    /// The hours that promises count by, by the key of their calendar.
    pub(super) async fn hours_of(
        &self,
        promises: &[Promise],
    ) -> Result<BTreeMap<String, WorkTime>, Error> {
        self.hours(promises.iter().map(|promise| &promise.goal)).await
    }

    async fn hours<'g>(
        &self,
        goals: impl Iterator<Item = &'g Goal>,
    ) -> Result<BTreeMap<String, WorkTime>, Error> {
        let mut hours = BTreeMap::new();
        for goal in goals {
            let Some(key) = goal.calendar.as_ref().filter(|key| !hours.contains_key(*key)) else {
                continue;
            };
            let row = self.present(ObjectId::new(Kind::Calendar, key), Expected::Any).await?;
            let Some(row) = row else { continue };
            let calendar: Calendar = parsed("calendar", key, &row.json)?;
            hours.insert(key.clone(), calendar.open().map_err(Error::Unavailable)?);
        }
        Ok(hours)
    }

    /// What is promised for a listing where a request for it is about to be handed in, and the hours
    /// of all promises that a request has or may get.
    pub(super) async fn promised(
        &self,
        record: &RequestRecord,
        listing: &KeptListing,
    ) -> Result<(Option<(String, Sla)>, BTreeMap<String, WorkTime>), Error> {
        if record.stage() != Stage::Draft {
            return Ok((None, self.hours_of(&record.promises).await?));
        }
        let Some(key) = &listing.record.listing.sla else { return Ok((None, BTreeMap::new())) };
        let row = self.present(ObjectId::new(Kind::Sla, key), Expected::Any).await?;
        let Some(row) = row else { return Ok((None, BTreeMap::new())) };
        let sla: Sla = parsed("sla", key, &row.json)?;
        let hours = self.hours(sla.goals_for(&record.priority).iter()).await?;
        Ok((Some((key.clone(), sla)), hours))
    }
}

impl Work<'_> {
    /// The promises hold from here on: those for its priority, as they are now.
    pub(super) fn promise(&mut self) {
        let goals = self.sla.iter().flat_map(|(key, sla)| {
            sla.goals_for(&self.record.priority).iter().map(|goal| (key.clone(), goal.clone()))
        });
        let promises = goals.map(|(sla, goal)| Promise {
            goal,
            told: BTreeMap::new(),
            sla,
            zones: zones_version().into(),
            reason: None,
        });
        self.record.promises = promises.collect();
    }

    /// Tells people how much time has gone by, each part once, the highest last.
    pub(super) fn warn(&mut self) -> Result<(), Error> {
        let now = self.now();
        for number in 0..self.record.promises.len() {
            let Some(promise) = self.record.promises.get(number).cloned() else { continue };
            let Some(clock) = promise.clock(&self.record, &self.hours, now) else { continue };
            let untold = promise.untold(&self.record, &self.hours, now);
            for (percent, at) in untold.into_iter().filter(|(_, at)| *at <= now) {
                self.tell_crossing(number, percent, at, &clock)?;
            }
            // It is told again when it is so again.
            for percent in promise.told_early(&self.record, &self.hours, now) {
                self.log("sla_retracted", format!("{}: {percent} %", metric(&promise)));
                if let Some(promise) = self.record.promises.get_mut(number) {
                    promise.told.remove(&percent);
                }
            }
        }
        Ok(())
    }

    fn tell_crossing(
        &mut self,
        number: usize,
        percent: u16,
        at: Timestamp,
        clock: &Clock,
    ) -> Result<(), Error> {
        let now = self.now();
        let Some(promise) = self.record.promises.get_mut(number) else { return Ok(()) };
        promise.told.insert(percent, now);
        let (metric, warns) = (metric(promise), promise.goal.warn_percent.contains(&percent));
        self.log("sla", format!("{metric}: {percent} %"));
        if !warns {
            return Ok(());
        }
        let moved = SlaMove {
            request: self.id.clone(),
            tenant: self.record.tenant.clone(),
            tenant_name: self.tenant_name(),
            listing: self.record.listing.clone(),
            title: self.title(),
            metric: metric.into(),
            percent,
            due_at: clock.due_at.unwrap_or(at),
            late: now.since(at) > LATE,
        };
        let event = match percent {
            ..100 => Tidings::RequestSlaWarning(moved),
            100 => Tidings::RequestSlaBreached(moved),
            _ => Tidings::RequestSlaEscalated(moved),
        };
        let notice = notice(format!("request/{}", self.id), now, &event)?;
        self.changes.notices.push(notice.of_tenant(&self.record.tenant));
        Ok(())
    }
}

fn metric(promise: &Promise) -> &'static str {
    let metric: Metric = promise.goal.metric;
    metric.code()
}

/// What an edited calendar would do to the promises that count by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarEffect {
    /// The request.
    pub request: String,
    /// What was promised.
    pub metric: &'static str,
    /// When it is due now.
    pub due_at: Option<Timestamp>,
    /// When it would be.
    pub would_be: Option<Timestamp>,
    /// Whether its time is over now.
    pub is_late: bool,
    /// Whether it would be.
    pub would_be_late: bool,
}

/// How many requests are looked at to say what another calendar would do.
const LOOKED_AT_MAX: u32 = 5_000;
/// How many requests get another due time in one transaction.
const RECOUNT_MAX: u32 = 200;

impl App {
    /// What other hours would do to the promises that count by a calendar now, and whether there are
    /// more than were looked at.
    ///
    /// # Errors
    /// Where there is no such calendar, or the hours are none.
    pub async fn calendar_effect(
        &self,
        key: &str,
        week: WorkWeek,
    ) -> Result<(Vec<CalendarEffect>, bool), Error> {
        let row = self.present(ObjectId::new(Kind::Calendar, key), Expected::Any).await?;
        let row = row.ok_or_else(|| Error::NotFound(format!("there is no calendar `{key}`")))?;
        let calendar: Calendar = parsed("calendar", key, &row.json)?;
        let now = self.now();
        let edited = calendar.replaced_by(calendar.name.clone(), week, now);
        edited.check().map_err(Error::InvalidInput)?;
        let open = |calendar: &Calendar| calendar.open().map_err(Error::Unavailable);
        let (before, after) = (open(&calendar)?, open(&edited)?);
        let wanted = key.to_owned();
        let read =
            move |store: &Reading<'_>| store.requests_of_calendar(&wanted, "", LOOKED_AT_MAX + 1);
        let rows = self.store().read(read).await?;
        let is_more = rows.len() > LOOKED_AT_MAX as usize;
        let mut effects = Vec::new();
        for row in rows.into_iter().take(LOOKED_AT_MAX as usize) {
            let record: RequestRecord = parsed("request", &row.key, &row.stored.json)?;
            let by = |promise: &&Promise| promise.goal.calendar.as_deref() == Some(key);
            for promise in record.promises.iter().filter(by) {
                let clock = |hours: &WorkTime| {
                    promise.clock(&record, &BTreeMap::from([(key.to_owned(), hours.clone())]), now)
                };
                let (Some(is), Some(would)) = (clock(&before), clock(&after)) else { continue };
                if is.ended_at.is_some() || is.due_at == would.due_at {
                    continue;
                }
                effects.push(CalendarEffect {
                    request: row.key.clone(),
                    metric: promise.goal.metric.code(),
                    due_at: is.due_at,
                    would_be: would.due_at,
                    is_late: is.breached_at.is_some(),
                    would_be_late: would.breached_at.is_some(),
                });
            }
        }
        Ok((effects, is_more))
    }

    pub(in super::super) async fn decide_breach_reason(
        &self,
        call: &Call,
        origin: Origin,
        id: &str,
        metric: &str,
        reason: &str,
    ) -> Result<Decided, Error> {
        let mut work = Work::load(self, call, origin, id, Expected::Any).await?;
        let reason = super::checked_text("reason", reason)?;
        if reason.is_empty() {
            return Err(Error::InvalidInput("`reason` is empty: say why".into()));
        }
        let (now, record) = (work.now(), work.record.clone());
        let found = work.record.promises.iter_mut().find(|it| it.goal.metric.code() == metric);
        let promise = found.ok_or_else(|| {
            Error::NotFound(format!("nothing is promised for `{metric}` of request `{id}`"))
        })?;
        let clock = promise.clock(&record, &work.hours, now);
        if clock.is_none_or(|clock| clock.breached_at.is_none()) {
            return Err(Error::Refused(format!("`{metric}` of request `{id}` is not late")));
        }
        promise.reason = Some(reason.clone());
        work.log("breach_reason", format!("{metric}: {reason}"));
        work.finish()
    }

    /// How the promises that began in some months were kept, of those that the actor may see.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn sla_tally(
        &self,
        call: &Call,
        from: String,
        until: String,
    ) -> Result<Vec<Tally>, Error> {
        let partner = call.actor.only_partner().unwrap_or_default().to_owned();
        Ok(self.store().read(move |store| store.tally(&from, &until, &partner)).await?)
    }

    /// Works out anew when the promises that count by a calendar are due, after its hours changed.
    ///
    /// # Errors
    /// Where the store fails.
    pub(super) async fn recount(&self, calendar: &Listed) -> Result<(), Error> {
        let id = ObjectId::new(Kind::Calendar, &calendar.key);
        let mut after = String::new();
        loop {
            let (wanted, from) = (calendar.key.clone(), after.clone());
            let read =
                move |store: &Reading<'_>| store.requests_of_calendar(&wanted, &from, RECOUNT_MAX);
            let rows = self.store().read(read).await?;
            let last = rows.last().map(|row| row.key.clone());
            self.reindex(rows).await?;
            let revision = calendar.stored.revision;
            let Some(last) = last else {
                return Ok(self.store().postpone(id, revision, None).await?);
            };
            after = last;
            // It is still ours.
            let until = Some(self.now().plus(super::CLAIM));
            self.store().postpone(id.clone(), revision, until).await?;
        }
    }

    /// Keeps anew what requests are found by.
    async fn reindex(&self, rows: Vec<Listed>) -> Result<(), Error> {
        let mut all = Vec::with_capacity(rows.len());
        let mut hours: BTreeMap<String, WorkTime> = BTreeMap::new();
        let now = self.now();
        for row in rows {
            let record: RequestRecord = parsed("request", &row.key, &row.stored.json)?;
            let unknown = |promise: &Promise| {
                promise.goal.calendar.as_ref().is_some_and(|key| !hours.contains_key(key))
            };
            if record.promises.iter().any(unknown) {
                hours.extend(self.hours_of(&record.promises).await?);
            }
            all.push(Reindexed {
                id: ObjectId::new(Kind::Request, &row.key),
                revision: row.stored.revision,
                due_at: record.due_at(&hours, now),
                index: Index::Request(Box::new(record.row(&hours, now))),
            });
        }
        self.store().reindex(all).await?;
        Ok(())
    }

    /// Makes lists of requests know those that they do not, as after an update of this program.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn index_requests(&self) -> Result<(), Error> {
        if !self.store().read(|store| store.lacks_requests()).await? {
            return Ok(());
        }
        let rows = self.every(Kind::Request).await?;
        for part in rows.chunks(RECOUNT_MAX as usize) {
            self.reindex(part.to_vec()).await?;
        }
        Ok(())
    }
}
