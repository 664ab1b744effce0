//! What the outside world must be told: to whom it goes, how it is sent, what became of it.

use std::{collections::BTreeMap, time::Duration};

use entitlements_core::Timestamp;
use serde_json::Value;

use super::{App, Error, book::OpenBook, connectors::word, execute::Decided};
use crate::{
    app::{Actor, Command, ConnectorNews},
    connectors::{self, Clients, Job, Report},
    ids,
    store::{
        Attempt, Claim, Claimed, DeliveryRow, DeliverySearch, NoticeSearch, OutboxState, Recorded,
        Routed, TaskSearch,
    },
    workflow::{
        Origin, Redrive,
        connector::{Connector, Medium},
        delivery::{Doubt, Outcome as Sent, Schedule, Stage},
        lane::Lane,
        notice::{EventType, KeptNotice, Severity},
        settings::OutboxSetting,
        task::Task,
        template::{Message, render, render_plainly},
    },
};

/// How many notices are routed in one transaction.
const ROUTED_MAX: u32 = 500;
/// How many messages may be under way in all.
pub(crate) const UNDER_WAY_MAX: usize = 256;
/// For how long a message that was taken is its taker's. It is longer than sending may take.
const LEASE: Duration = Duration::from_secs(120);

/// A message with all that is known of it.
#[derive(Debug, Clone)]
pub struct KeptDelivery {
    /// The message.
    pub row: DeliveryRow,
    /// What it tells of, oldest first.
    pub notices: Vec<KeptNotice>,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
}

impl App {
    pub(super) fn clients(&self) -> &Clients {
        &self.0.clients
    }

    /// Where the schemas of events are served.
    fn schemas_url(&self) -> Option<String> {
        self.public_url().map(|url| format!("{url}/schema"))
    }

    /// A notice in its envelope.
    #[must_use]
    pub fn envelope(&self, kept: &KeptNotice) -> Value {
        kept.envelope(self.environment(), self.schemas_url().as_deref())
    }

    /// A notice, and the messages that tell of it.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn notice(&self, id: &str) -> Result<(KeptNotice, bool, Vec<DeliveryRow>), Error> {
        let wanted = id.to_owned();
        let read = move |store: &crate::store::Reading<'_>| {
            let found = store.notice_of(&wanted)?;
            let search = DeliverySearch { notice: wanted, ..DeliverySearch::of_all(200) };
            Ok((found, store.delivery_search(&search)?))
        };
        let (found, deliveries) = self.store().read(read).await?;
        let (notice, is_routed) =
            found.ok_or_else(|| Error::NotFound(format!("there is no notice `{id}`")))?;
        Ok((notice, is_routed, deliveries))
    }

    /// The notices that a search asks for, newest first, and whether it was decided whom to tell.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn notices(&self, search: NoticeSearch) -> Result<Vec<(KeptNotice, bool)>, Error> {
        Ok(self.store().read(move |store| store.notice_search(&search)).await?)
    }

    /// A message.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn delivery(&self, id: &str) -> Result<KeptDelivery, Error> {
        let wanted = id.to_owned();
        let read = move |store: &crate::store::Reading<'_>| {
            let Some(row) = store.delivery(&wanted)? else { return Ok(None) };
            let (notices, attempts) =
                (store.notices_of_delivery(&wanted)?, store.attempts(&wanted)?);
            Ok(Some(KeptDelivery { row, notices, attempts }))
        };
        let found = self.store().read(read).await?;
        found.ok_or_else(|| Error::NotFound(format!("there is no delivery `{id}`")))
    }

    /// The messages that a search asks for, newest first.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn deliveries(&self, search: DeliverySearch) -> Result<Vec<DeliveryRow>, Error> {
        Ok(self.store().read(move |store| store.delivery_search(&search)).await?)
    }

    /// The follow-ups that a search asks for, by id.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn tasks(&self, search: TaskSearch) -> Result<Vec<Task>, Error> {
        Ok(self.store().read(move |store| store.tasks(&search)).await?)
    }

    /// A follow-up.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn task(&self, id: &str) -> Result<Task, Error> {
        let wanted = id.to_owned();
        let found = self.store().read(move |store| store.task(&wanted)).await?;
        found.ok_or_else(|| Error::NotFound(format!("there is no task `{id}`")))
    }

    /// How much is owed, and how the destinations are.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn outbox(&self) -> Result<(OutboxState, BTreeMap<String, Lane>), Error> {
        Ok(self.store().read(|store| Ok((store.outbox()?, store.lanes()?))).await?)
    }

    pub(super) async fn decide_redrive(
        &self,
        origin: Origin,
        redrive: &Redrive,
    ) -> Result<Decided, Error> {
        let subject = match redrive {
            Redrive::One(id) => {
                let found = self.delivery(id).await?;
                if found.row.progress.stage.is_open() {
                    return Err(Error::Refused(format!("delivery `{id}` is still being sent")));
                }
                format!("delivery {id}")
            }
            Redrive::Failed { between: (since, until), .. } => {
                format!("failed deliveries from {since} to {until}")
            }
            Redrive::Missing { between: (since, until) } => {
                format!("missing deliveries from {since} to {until}")
            }
        };
        let mut changes = origin.changeset(subject);
        changes.redrive = Some(redrive.clone());
        Ok(changes.into())
    }

    /// Decides of new notices whom to tell. Says whether there may be more of them.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn route_notices(&self) -> Result<bool, Error> {
        let notices = self.store().read(|store| store.unrouted(ROUTED_MAX)).await?;
        let Some(newest) = notices.iter().map(|kept| kept.revision).max() else {
            return Ok(false);
        };
        // Another control plane may have written it, after rules that this one has not seen yet.
        if newest > self.revision() {
            self.catch_up().await?;
        }
        let is_full = notices.len() == ROUTED_MAX as usize;
        let (known, now) = (self.open_book().await?, self.now());
        let mut routed = Vec::with_capacity(notices.len());
        for kept in notices {
            let tenant = kept.notice.tenant.as_deref();
            let routes =
                tenant.map(|tenant| self.routes_for(&known, tenant, now)).unwrap_or_default();
            let to = known.book.route(&kept.notice, |route| routes.contains(route), now);
            let to = to
                .into_iter()
                .map(|dispatch| Ok((ids::delivery_id()?, dispatch)))
                .collect::<Result<Vec<_>, Error>>()?;
            if to.is_empty() {
                tracing::info!(
                    id = kept.notice.id,
                    event = kept.notice.event_type.code(),
                    "nobody is told of it: no rule takes it"
                );
            }
            routed.push(Routed { notice: kept, to });
        }
        self.store().route(routed, now).await?;
        Ok(is_full)
    }

    /// Takes what is due, as much as there is room for.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn take_due(
        &self,
        holder: &str,
        under_way: &BTreeMap<String, usize>,
    ) -> Result<Vec<Claimed>, Error> {
        let (known, now) = (self.open_book().await?, self.now());
        let ready = known.book.connectors.iter().filter(|(_, connector)| connector.is_ready());
        let lane = |key: &String| (key.clone(), under_way.get(key).copied().unwrap_or_default());
        let lanes: BTreeMap<String, usize> = ready.map(|(key, _)| lane(key)).collect();
        let busy: usize = under_way.values().sum();
        let limit = UNDER_WAY_MAX.saturating_sub(busy);
        if lanes.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let claim = Claim { holder: holder.into(), now, until: now.plus(LEASE), lanes, limit };
        Ok(self.store().take_due(claim).await?)
    }

    /// When the first message is due that is owed.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn first_delivery(&self) -> Result<Option<Timestamp>, Error> {
        Ok(self.store().read(|store| store.first_delivery()).await?)
    }

    /// Keeps what came of messages.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn record(&self, recorded: Vec<Recorded>) -> Result<(), Error> {
        for one in &recorded {
            self.metrics().attempted(one.word);
            if one.progress.stage == Stage::Dead {
                let (delivery, detail) = (&one.delivery, one.detail.as_deref());
                tracing::error!(delivery, connector = one.connector, detail, "given up");
            }
        }
        Ok(self.store().record(recorded).await?)
    }

    /// Sends a message that was taken, or looks for it, and says what came of it.
    pub(crate) async fn send(&self, claimed: Claimed, holder: String) -> Recorded {
        let begun = self.clock().mark();
        let sending = Sending::prepare(self, &claimed).await;
        let (report, doubt, schedule) = match sending {
            Ok(sending) => {
                let report = sending.attempt(self, &claimed).await;
                (report, sending.doubt(), sending.schedule)
            }
            Err(report) => (Some(*report), Doubt::Repeat, Schedule::default()),
        };
        // Nothing was asked of the destination where another one sent it and went away.
        let (outcome, word, detail, task, disables) = match report {
            None => (Sent::Ambiguous, "lost", "whoever sent it went away".into(), None, None),
            Some(report) => {
                let Report { outcome, detail, task, disables } = report;
                (outcome, word(outcome), detail, task.map(|task| *task), disables)
            }
        };
        if let Some(why) = disables {
            self.disable(&claimed.delivery.connector, why).await;
        }
        let (now, luck) = (self.now(), ids::luck());
        let row = claimed.delivery;
        let progress = row.progress.after(outcome, doubt, &schedule, now, luck);
        Recorded {
            delivery: row.id,
            connector: row.connector,
            holder,
            number: row.attempts,
            now,
            took_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            word,
            outcome: (word != "lost").then_some(outcome),
            detail: Some(detail),
            progress,
            task,
        }
    }

    async fn disable(&self, key: &str, why: String) {
        let command =
            Command::NoteConnector { key: key.into(), news: ConnectorNews::Disabled { why } };
        match self.execute(&Actor::local("outbox"), command).await {
            Ok(_) | Err(Error::Refused(_) | Error::NotFound(_)) => {}
            Err(error) => tracing::warn!(%error, key, "a connector was not switched off"),
        }
    }
}

/// A message on its way.
struct Sending {
    credentials: crate::workflow::connector::Credentials,
    message: Message,
    plain: Message,
    is_templated: bool,
    note: Option<String>,
    events: Vec<Value>,
    event_type: EventType,
    severity: Severity,
    members: Vec<String>,
    task_id: String,
    tasks_url: Option<String>,
    schedule: Schedule,
    connector: Connector,
}

impl Sending {
    /// Puts together what it takes. Where that fails, nothing was sent.
    async fn prepare(app: &App, claimed: &Claimed) -> Result<Self, Box<Report>> {
        let row = &claimed.delivery;
        let later = |error: Error| Box::new(Report::unsent(true, error.to_string()));
        let known = app.open_book().await.map_err(later)?;
        let schedule =
            app.setting::<OutboxSetting>().await.map(|(setting, _)| Schedule::from(&setting));
        let schedule = schedule.map_err(later)?;
        let connector = known.book.connectors.get(&row.connector).cloned().ok_or_else(|| {
            Box::new(Report::unsent(false, format!("connector `{}` is gone", row.connector)))
        })?;
        let last = claimed.notices.last().ok_or_else(|| {
            Box::new(Report::unsent(false, "what it tells of is not kept any more".into()))
        })?;
        let event_type = last.notice.event_type;
        let severities = claimed.notices.iter().map(|kept| kept.notice.event_type.severity());
        let severity = severities.max().unwrap_or_default();
        let events: Vec<Value> = claimed.notices.iter().map(|kept| app.envelope(kept)).collect();
        let credentials = app.credentials(&known, &row.connector).map_err(later)?;
        let typed: Vec<(EventType, Value)> = claimed
            .notices
            .iter()
            .map(|kept| kept.notice.event_type)
            .zip(events.iter().cloned())
            .collect();
        let words = Words::of(&known, row.template.as_deref(), &typed, connector.kind.medium());
        let Words { message, plain, is_templated, note } =
            words.map_err(|why| Box::new(Report::unsent(false, why)))?;
        let members = known.book.teams.get(&row.team).map(|team| team.members.iter().cloned());
        let members = members.into_iter().flatten().collect();
        Ok(Self {
            credentials,
            message,
            plain,
            is_templated,
            note,
            events,
            event_type,
            severity,
            members,
            task_id: ids::delivery_id().map_err(later)?,
            tasks_url: app.public_url().map(|url| format!("{url}/v1/tasks")),
            schedule,
            connector,
        })
    }

    fn doubt(&self) -> Doubt {
        self.connector.doubt()
    }

    /// Sends it, or looks for it. Nothing where whoever took it before went away and it is to be
    /// looked for later.
    async fn attempt(&self, app: &App, claimed: &Claimed) -> Option<Report> {
        let row = &claimed.delivery;
        let stage = row.progress.stage;
        if claimed.is_doubtful && stage == Stage::Pending && self.doubt() == Doubt::Search {
            return None;
        }
        let job = Job {
            delivery: &row.id,
            is_repeat: row.attempts > 1,
            created_at: row.created_at,
            key: &row.connector,
            connector: &self.connector,
            credentials: &self.credentials,
            message: &self.message,
            plain: &self.plain,
            is_templated: self.is_templated,
            events: &self.events,
            subject: &row.subject,
            phase: self.event_type.phase(),
            severity: self.severity,
            members: &self.members,
            task: claimed.task.as_ref(),
            task_id: &self.task_id,
            tasks_url: self.tasks_url.as_deref(),
            now: app.now(),
        };
        let report = connectors::attempt(app.clients(), &job, stage).await;
        Some(match &self.note {
            None => report,
            Some(note) => Report { detail: format!("{}; {note}", report.detail), ..report },
        })
    }
}

/// A message in words.
struct Words {
    message: Message,
    plain: Message,
    is_templated: bool,
    /// Why it is not in the words that were asked for.
    note: Option<String>,
}

impl Words {
    /// A template that fails must not keep the message back: it goes out in our own words then.
    fn of(
        known: &OpenBook,
        template: Option<&str>,
        events: &[(EventType, Value)],
        medium: Medium,
    ) -> Result<Self, String> {
        let plain = render_plainly(events, Medium::Text)?;
        let own = |note: Option<String>| -> Result<Self, String> {
            let message = render_plainly(events, medium)?;
            Ok(Self { message, plain: plain.clone(), is_templated: false, note })
        };
        let Some(key) = template else { return own(None) };
        let Some(template) = known.book.templates.get(key) else {
            return own(Some(format!("template `{key}` is gone: sent in our own words")));
        };
        let envelopes: Vec<Value> = events.iter().map(|(_, event)| event.clone()).collect();
        match render(template, &envelopes, medium) {
            Ok(message) => {
                let title = message.title.clone();
                let plain = Message { title, ..plain };
                Ok(Self { message, plain, is_templated: true, note: None })
            }
            Err(why) => own(Some(format!("template `{key}` failed, {why}: sent in our own words"))),
        }
    }
}
