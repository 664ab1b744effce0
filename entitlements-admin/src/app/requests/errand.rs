//! What others are asked about requests: taken, asked outside of any commit, and taken note of.
//!
//! Before anything is asked it is committed that it is about to be, so that whoever goes on after a
//! crash asks again: what is asked has a name that stays the same, so it is done once.

use std::time::Duration;

use entitlements_core::Timestamp;
use serde::Deserialize;

use super::{
    super::{Actor, App, Call, Command, Error, Expected, execute::Decided},
    NewRequest,
    work::Work,
};
use crate::{
    connectors::{self, Errand, state_of},
    ids,
    store::{Listed, ReadError, Reading},
    workflow::{
        Kind, ObjectId, Origin,
        provisioning::{
            Action, Doing, Next, Outcome, Step, StepKind, StepPlan, StepRun, StepStage,
        },
        request::{Act, Asks, RequestRecord, Stage, Wants},
    },
};

/// For how long a request that was taken is its taker's. It is longer than asking may take.
pub(crate) const CLAIM: Duration = Duration::from_secs(75);
/// How many requests are taken in one go.
const DUE_MAX: u32 = 200;
/// How long to wait before looking again at what should have gone on and did not.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// An answer to what was asked about a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepAnswer {
    /// Which step.
    pub step: String,
    /// What was asked.
    pub doing: Doing,
    /// How often something had been asked by then.
    pub asked: u32,
    /// What came of it.
    pub outcome: Outcome,
}

/// What a webhook's receiver tells us by itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepHeard {
    /// The id of what it was told to do.
    pub id: String,
    /// `succeeded`, `failed` or `in progress`.
    pub state: String,
    /// What there is to say about it.
    #[serde(default)]
    pub description: String,
}

/// The instant from which on, and until which, the time of a callback is believed, in seconds.
const TOLERANCE_S: i64 = 300;

impl App {
    /// The requests, what tenants have by them, and the calendars they count by, that are due now.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn due_requests(&self) -> Result<Vec<(Kind, Listed)>, Error> {
        let now = self.now();
        let read = move |store: &Reading<'_>| {
            let due = |kind| {
                let rows = store.due(kind, now, DUE_MAX)?;
                Ok::<_, ReadError>(rows.into_iter().map(move |row| (kind, row)))
            };
            let first = due(Kind::Request)?.chain(due(Kind::Holding)?);
            Ok(first.chain(due(Kind::Calendar)?).collect())
        };
        Ok(self.store().read(read).await?)
    }

    /// When the first of them is due.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn next_due_request(&self) -> Result<Option<Timestamp>, Error> {
        let read = |store: &Reading<'_>| {
            let kinds = [Kind::Request, Kind::Holding, Kind::Calendar];
            let all = kinds.map(|kind| store.next_due(kind)).into_iter();
            Ok(all.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().min())
        };
        Ok(self.store().read(read).await?)
    }

    /// Makes due again what a process that is gone had taken. Only for a database of one process.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn release_requests(&self) -> Result<(), Error> {
        let now = self.now();
        Ok(self.store().release(Kind::Request, now, now.plus(CLAIM)).await?)
    }

    /// Goes on with one that is due, where nobody else does: once, and as far as it goes at once.
    ///
    /// # Errors
    /// Where the store fails, or it cannot go on.
    pub(crate) async fn tend(&self, kind: Kind, row: Listed) -> Result<(), Error> {
        let (id, now) = (ObjectId::new(kind, &row.key), self.now());
        let revision = row.stored.revision;
        if !self.store().claim_due(id.clone(), revision, now, now.plus(CLAIM)).await? {
            return Ok(());
        }
        let actor = Actor::local("requests");
        match kind {
            Kind::Holding => {
                return self.execute(&actor, Command::EndHolding { id: row.key }).await.map(drop);
            }
            Kind::Calendar => return self.recount(&row).await,
            _ => {}
        }
        let call = Call::from(&actor);
        let origin = call.origin("advance_request", now);
        let mut work = Work::load(self, &call, origin, &row.key, Expected::Any).await?;
        let before = work.record.clone();
        work.go_on_by_the_clock()?;
        if work.record != before {
            return self.execute(&actor, Command::AdvanceRequest { id: row.key }).await.map(drop);
        }
        if let Some((number, doing)) = work.asks_others() {
            return self.run_errand(&actor, work, number, doing).await;
        }
        // There was nothing to do: it is looked at when there is.
        let next = work.due_at().map(|due| if due > now { due } else { now.plus(LOOK_AGAIN) });
        Ok(self.store().postpone(id, revision, next).await?)
    }

    async fn run_errand(
        &self,
        actor: &Actor,
        work: Work<'_>,
        number: usize,
        doing: Doing,
    ) -> Result<(), Error> {
        let (id, revision) = (work.id.clone(), work.revision.unwrap_or_default());
        let Some(step) = work.record.steps.get(number) else { return Ok(()) };
        let key = step.plan.key.clone();
        let is_question = doing.is_question();
        let (errand, step) = if is_question {
            (work.errand(step, doing), step.clone())
        } else {
            let command = Command::BeginStep { id: id.clone(), step: key.clone(), doing };
            self.execute(actor, command).await?;
            // As it was begun: with the name that others know it by.
            let call = Call::from(actor);
            let origin = call.origin("advance_request", self.now());
            let work = Work::load(self, &call, origin, &id, Expected::Any).await?;
            let Some(step) = work.record.steps.get(number).cloned() else { return Ok(()) };
            (work.errand(&step, doing), step)
        };
        let outcome = self.carry_out(&errand).await;
        if let (true, Outcome::NotYet { after, .. }) = (is_question, &outcome)
            && step.says_the_same(doing, &outcome, self.now())
        {
            // Nothing is new: no commit says so, and it is asked again later.
            let (id, wait) = (ObjectId::new(Kind::Request, id), after.unwrap_or(LOOK_AGAIN));
            let next = Some(self.now().plus(wait));
            return Ok(self.store().postpone(id, revision, next).await?);
        }
        let answer = StepAnswer { step: key, doing, asked: step.run.asked, outcome };
        match self.execute(actor, Command::NoteStep { id, answer: Box::new(answer) }).await {
            // Somebody else has said what came of it by now.
            Err(Error::Refused(why)) => {
                tracing::debug!(why, "an answer came too late");
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Asks others, and says what came of it.
    async fn carry_out(&self, errand: &Errand) -> Outcome {
        let later = |why: String| Outcome::Retry { why, after: None };
        let known = match self.open_book().await {
            Ok(known) => known,
            Err(error) => return later(error.to_string()),
        };
        let found = known
            .connector(&errand.connector)
            .and_then(|connector| Ok((connector, self.credentials(&known, &errand.connector)?)));
        let (connector, credentials) = match found {
            Ok(found) => found,
            Err(error) => return later(error.to_string()),
        };
        if !connector.is_ready() {
            return later(format!("connector `{}` is {}", errand.connector, connector.state()));
        }
        connectors::carry_out(self.clients(), connector, &credentials, errand).await
    }

    pub(in super::super) async fn decide_step_begun(
        &self,
        call: &Call,
        origin: Origin,
        id: &str,
        key: &str,
        doing: Doing,
    ) -> Result<Decided, Error> {
        let mut work = Work::load(self, call, origin, id, Expected::Any).await?;
        let now = work.now();
        let found = work.asks_others().filter(|(_, due)| *due == doing);
        let step = found.and_then(|(number, _)| work.record.steps.get_mut(number));
        let Some(step) = step.filter(|step| step.plan.key == key) else {
            return Err(Error::Refused(format!("step `{key}` of request `{id}` is not due")));
        };
        *step = step.begun(doing, now);
        if step.run.instance.is_none() {
            step.run.instance = Some(instance_of(id, key, step.run.generation));
        }
        work.log("step_begun", key.into());
        work.claimed_until = Some(now.plus(CLAIM));
        work.finish()
    }

    pub(in super::super) async fn decide_step_noted(
        &self,
        call: &Call,
        origin: Origin,
        id: &str,
        answer: &StepAnswer,
    ) -> Result<Decided, Error> {
        let StepAnswer { step: key, doing, asked, outcome } = answer;
        let mut work = Work::load(self, call, origin, id, Expected::Any).await?;
        let now = work.now();
        let found = work.record.steps.iter_mut().find(|step| step.plan.key == *key);
        let waits = |step: &&mut Step| step.run.asked == *asked && step.run.stage.awaits(*doing);
        let Some(step) = found.filter(waits) else {
            return Err(Error::Refused(format!(
                "nobody waits for this answer about step `{key}` of request `{id}`"
            )));
        };
        *step = step.after(*doing, outcome.clone(), now, ids::luck());
        let (stage, detail) = (step.run.stage, step.run.detail.clone().unwrap_or_default());
        work.log("step", format!("{key}: {}: {detail}", stage.code()));
        if stage == StepStage::Held {
            let plan = step_plan(&work.record, key);
            work.tell_step_held(plan.as_ref())?;
        }
        work.go_on()?;
        work.finish()
    }

    /// Takes what a webhook's receiver says of a step that it said it would do.
    ///
    /// # Errors
    /// Where it is not signed with the connector's secret, or makes no sense. That nobody waits for it
    /// is none.
    pub async fn hear_step(
        &self,
        key: &str,
        (id, timestamp, signatures): (&str, &str, &str),
        body: &[u8],
    ) -> Result<(), Error> {
        let known = self.open_book().await?;
        // Whoever cannot sign is not told which connectors there are.
        if !known.book.connectors.contains_key(key) {
            return Err(Error::Unauthenticated);
        }
        let credentials = self.credentials(&known, key)?;
        let now = self.now();
        let at: i64 = timestamp.parse().map_err(|_| Error::Unauthenticated)?;
        let is_now =
            at.abs_diff(now.as_micros().div_euclid(1_000_000)) <= TOLERANCE_S.unsigned_abs();
        let secrets = credentials.signing(now);
        if !is_now || !secrets.iter().any(|secret| secret.verifies(signatures, id, at, body)) {
            return Err(Error::Unauthenticated);
        }
        let heard: StepHeard = serde_json::from_slice(body)
            .map_err(|error| Error::InvalidInput(format!("the body is none: {error}")))?;
        if !["succeeded", "failed", "in progress"].contains(&heard.state.as_str()) {
            return Err(Error::InvalidInput(format!(
                "`state = {}`: use `succeeded`, `failed` or `in progress`",
                heard.state
            )));
        }
        let Some(request) = heard.id.split('.').next().map(str::to_owned) else { return Ok(()) };
        let actor = Actor::local(&format!("connector/{key}"));
        let connector = key.to_owned();
        let command = Command::HearStep { id: request, connector, heard: Box::new(heard) };
        match self.execute(&actor, command).await {
            Ok(_) | Err(Error::Refused(_) | Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(in super::super) async fn decide_step_heard(
        &self,
        call: &Call,
        origin: Origin,
        id: &str,
        connector: &str,
        heard: &StepHeard,
    ) -> Result<Decided, Error> {
        let mut work = Work::load(self, call, origin, id, Expected::Any).await?;
        let now = work.now();
        let nobody = || Error::Refused(format!("nobody waits for `{}`", heard.id));
        let outcome = state_of(&heard.state, &heard.description).ok_or_else(nobody)?;
        let steps = work.record.steps.iter().enumerate();
        let found = steps.filter(|(_, step)| step.plan.connectors().contains(connector));
        let mut found = found.filter_map(|(number, step)| {
            let doing = step.run.stage.waits_for()?;
            (work.errand(step, doing).id() == heard.id).then_some((number, doing))
        });
        let (number, doing) = found.next_back().ok_or_else(nobody)?;
        let Some(step) = work.record.steps.get_mut(number) else { return Err(nobody()) };
        *step = step.after(doing, outcome, now, ids::luck());
        let (key, stage) = (step.plan.key.clone(), step.run.stage.code());
        work.log("step", format!("{key}: {stage}: {}", heard.description));
        work.go_on()?;
        work.finish()
    }

    /// What a tenant had by a request is over: what was done for it is undone by a request of its own.
    pub(in super::super) async fn decide_holding_end(
        &self,
        call: &Call,
        origin: Origin,
        id: &str,
    ) -> Result<Decided, Error> {
        let (held, _) = self.kept_holding(id).await?;
        let tenant = entitlements_core::TenantKey::new(&held.tenant);
        let wanted = NewRequest {
            tenant: tenant.map_err(|error| Error::Unavailable(error.to_string()))?,
            listing: held.listing.clone(),
            asks: Asks::Cancel { holding: id.into() },
            wants: Wants {
                quantity: held.quantity,
                parameters: held.parameters,
                start_at: None,
                until: None,
            },
            priority: "normal".into(),
            beneficiary: None,
            note: "its time is over".into(),
            submit: true,
        };
        self.decide_new_request(call, origin, &wanted).await
    }
}

fn step_plan(record: &RequestRecord, key: &str) -> Option<StepPlan> {
    record.steps.iter().find(|step| step.plan.key == key).map(|step| step.plan.clone())
}

/// What others know a thing by: made of what it is for, so that nobody has to be asked for it.
fn instance_of(request: &str, step: &str, generation: u32) -> String {
    let hash = blake3::hash(format!("{request}/{step}/{generation}").as_bytes()).to_hex();
    let part = |from: usize, until: usize| hash.get(from..until).unwrap_or_default().to_owned();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

impl Work<'_> {
    /// What is to be done because time went by, as far as nobody has to be asked for it.
    pub(super) fn go_on_by_the_clock(&mut self) -> Result<(), Error> {
        let request = self.record.request().map_err(Error::Unavailable)?;
        if self.record.stage().is_undecided()
            && request.decide_by.is_some_and(|by| by <= self.now())
        {
            self.act(&Act::Expire)?;
        }
        self.go_on()?;
        self.warn()
    }

    /// The step that others are to be asked about now, and what.
    pub(super) fn asks_others(&self) -> Option<(usize, Doing)> {
        if !matches!(self.record.stage(), Stage::Provisioning | Stage::Compensating) {
            return None;
        }
        let now = self.now();
        match self.record.course().next(&self.record.steps, now) {
            Next::Step(number, doing, due) if due <= now => {
                let step = self.record.steps.get(number)?;
                let kind = &step.plan.kind;
                let asks = matches!(kind, StepKind::Webhook { .. } | StepKind::Broker { .. });
                asks.then_some((number, doing))
            }
            _ => None,
        }
    }

    /// What to ask.
    pub(super) fn errand(&self, step: &Step, doing: Doing) -> Errand {
        let record = &self.record;
        let action = Action::of(doing, record.changes());
        let had = record.before.as_ref().filter(|_| action == Action::PutBack);
        let held = self.holding.as_ref().map(|(held, _)| held);
        let held = held.filter(|_| matches!(record.asks, Asks::Cancel { .. }));
        let wants = &record.wants;
        let quantity = had.map(|had| had.quantity).or(held.map(|held| held.quantity));
        let parameters = had.map(|had| &had.parameters).or(held.map(|held| &held.parameters));
        let until = had.map(|had| had.until).or(held.map(|held| held.window.until));
        let connector = step.plan.connectors().into_iter().next().unwrap_or_default().to_owned();
        Errand {
            request: self.id.clone(),
            step: step.plan.key.clone(),
            kind: step.plan.kind.clone(),
            run: step.run.clone(),
            doing,
            action,
            tenant: record.tenant.clone(),
            tenant_name: self.tenant.name.as_deref().map(Into::into),
            listing: record.listing.clone(),
            quantity: quantity.unwrap_or(wants.quantity),
            parameters: parameters.unwrap_or(&wants.parameters).clone(),
            start_at: wants.start_at,
            until: until.unwrap_or(wants.until),
            requester: self.record.log.first().map(|entry| entry.by.clone()).unwrap_or_default(),
            public_url: self.app.public_url().map(Into::into),
            connector,
            environment: self.app.environment().into(),
            now: self.now(),
        }
    }
}

impl Step {
    /// Whether an answer tells nothing that is not known, and leads to nothing.
    fn says_the_same(&self, doing: Doing, outcome: &Outcome, now: Timestamp) -> bool {
        let after = self.after(doing, outcome.clone(), now, 0.0).run;
        let same = StepRun { due_at: self.run.due_at, ..after };
        same == self.run
    }
}
