//! The steps of a request, and what it grants and takes back on its way.

use std::time::Duration;

use entitlements_core::{Revision, Tenant, TenantKey, Window};

use super::{super::Error, effect::after, work::Work};
use crate::{
    ids,
    workflow::{
        Index, Kind, ObjectId, Record, Write,
        catalog::tenant_problems,
        holding::{Holding, HoldingStage},
        provisioning::{Course, Doing, Next, Outcome, Step, StepKind},
        request::{Act, Asks, Had, Stage},
    },
};

/// How long to wait before it is looked again whether an integration is connected.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

impl Work<'_> {
    /// The steps begin.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        match &self.record.asks {
            Asks::Order {} => {
                let plans = self.listing.record.listing.provisioning.iter().cloned();
                self.record.steps = plans.map(Step::new).collect();
            }
            // What is taken back stops to be in force first.
            Asks::Cancel { .. } => {
                let steps = self.holding.as_ref().map(|(holding, _)| holding.steps.clone());
                self.record.steps = steps.unwrap_or_default();
                self.take_back()?;
            }
            Asks::Change { .. } => self.begin_change(),
        }
        Ok(())
    }

    /// What others made gets to know of it, where there is something to know.
    fn begin_change(&mut self) {
        let Some((held, _)) = &self.holding else { return };
        let wants = &self.record.wants;
        let same = held.quantity == wants.quantity && held.parameters == wants.parameters;
        let changed = held.steps.iter().filter(|step| !same && step.plan.kind.takes_changes());
        self.record.steps = changed.map(Step::anew).collect();
        self.record.before = Some(Had {
            quantity: held.quantity,
            parameters: held.parameters.clone(),
            until: held.window.until,
        });
    }

    /// What is next of the steps, where that needs nobody else.
    pub(super) fn next_act(&mut self) -> Result<Option<Act>, Error> {
        let now = self.now();
        let course = self.record.course();
        let is_ready = Course::is_ready(&self.record.steps);
        if course == Course::Forward && self.record.granted_at.is_none() && is_ready {
            match self.grant() {
                Err(Error::Refused(why)) => return Ok(Some(Act::Fail { why })),
                other => other?,
            }
        }
        match course.next(&self.record.steps, now) {
            Next::Done => Ok(Some(Act::Finish)),
            Next::Undone if self.record.stage() == Stage::Compensating => Ok(Some(Act::Undone)),
            Next::Undone => Ok(Some(Act::Finish)),
            Next::Failed(number) => {
                let step = self.record.steps.get(number);
                let why = step.and_then(|step| step.run.detail.clone()).unwrap_or_default();
                let name = step.map(|step| step.plan.name.clone()).unwrap_or_default();
                Ok(Some(Act::Fail { why: format!("{name}: {why}") }))
            }
            Next::Stuck(number) => {
                let step = self.record.steps.get(number);
                let why = step.and_then(|step| step.run.detail.clone()).unwrap_or_default();
                Ok(Some(Act::Stick { why: format!("it could not be undone: {why}") }))
            }
            Next::Step(number, doing, due) if due <= now => self.does_itself(number, doing),
            // What a person has not said by then, they will not say.
            Next::Person(number, Some(until)) if until <= now => {
                if let Some(step) = self.record.steps.get_mut(number) {
                    *step = step.told("the clock", false, "nobody did it in time", now);
                }
                self.next_act()
            }
            _ => Ok(None),
        }
    }

    /// A step that nobody outside is asked about: it begins, or is looked at, within the commit.
    fn does_itself(&mut self, number: usize, doing: Doing) -> Result<Option<Act>, Error> {
        let now = self.now();
        let Some(step) = self.record.steps.get(number) else { return Ok(None) };
        let begun = step.begun(doing, now);
        let next = match &step.plan.kind {
            StepKind::Manual { .. } => {
                let plan = step.plan.clone();
                self.tell_step_waits(&plan, doing)?;
                begun
            }
            StepKind::Wait { seconds } => {
                let since = begun.run.since.unwrap_or(now);
                let end = since.plus(Duration::from_secs(*seconds));
                let outcome = match end <= now {
                    true => Outcome::Done("the time is over".into()),
                    false => Outcome::NotYet {
                        why: "its time is not over".into(),
                        after: Some(end.since(now)),
                    },
                };
                begun.after(doing, outcome, now, 0.0)
            }
            StepKind::Integration { integration } => {
                let outcome = match self.tenant.integrations.contains(integration) {
                    true => Outcome::Done(format!("`{integration}` is connected")),
                    false => Outcome::NotYet {
                        why: format!("`{integration}` is not connected"),
                        after: Some(LOOK_AGAIN),
                    },
                };
                begun.after(doing, outcome, now, 0.0)
            }
            // Those are asked outside of any commit: see `errand`.
            StepKind::Webhook { .. } | StepKind::Broker { .. } => return Ok(None),
        };
        let slot = self.record.steps.get_mut(number);
        if let Some(slot) = slot {
            *slot = next;
        }
        self.next_act()
    }

    /// It comes into force with this commit.
    fn grant(&mut self) -> Result<(), Error> {
        let now = self.now();
        let wants = self.record.wants.clone();
        let at = wants.start_at.map_or(now, |start| start.max(now));
        match &self.record.asks {
            Asks::Order {} => {
                let listing = &self.listing.record.listing;
                let after = after(&self.record, listing, None, &self.tenant, at)?;
                let id = ids::key_id()?;
                let holding = Holding {
                    tenant: self.record.tenant.clone(),
                    listing: self.record.listing.clone(),
                    request: self.id.clone(),
                    partner: self.record.partner.clone(),
                    offer: listing.offer.clone(),
                    quantity: wants.quantity,
                    parameters: wants.parameters.clone(),
                    window: Window::new(Some(at), wants.until),
                    stage: HoldingStage::Active,
                    ended_at: None,
                    steps: self.record.steps.clone(),
                    before: self.tenant.subscriptions.clone(),
                };
                self.write_tenant(after)?;
                self.write_holding(&id, None, &holding)?;
                self.record.holding = Some(id);
            }
            Asks::Change { holding: id } => {
                let id = id.clone();
                let Some((held, revision)) = self.holding.clone() else {
                    return Err(Error::Refused(format!("holding `{id}` is gone")));
                };
                let after = held.changed(&self.tenant, wants.quantity, wants.until);
                let after = after.map_err(|error| Error::Refused(error.to_string()))?;
                let window = Window { until: wants.until, ..held.window.clone() };
                let parameters = wants.parameters.clone();
                let holding = Holding { quantity: wants.quantity, window, parameters, ..held };
                self.write_tenant(after)?;
                self.write_holding(&id, Some(revision), &holding)?;
                self.record.holding = Some(id);
            }
            Asks::Cancel { .. } => {}
        }
        self.record.granted_at = Some(now);
        self.log("grant", String::new());
        Ok(())
    }

    /// What it gave is in force no more, before anything is undone.
    pub(super) fn take_back(&mut self) -> Result<(), Error> {
        let is_cancel = matches!(self.record.asks, Asks::Cancel { .. });
        if !is_cancel && self.record.granted_at.is_none() {
            return Ok(());
        }
        let Some((held, revision)) = self.holding.clone() else { return Ok(()) };
        if held.stage == HoldingStage::Ended {
            return Ok(());
        }
        let now = self.now();
        if let (Asks::Change { holding: id }, Some(had)) = (&self.record.asks, &self.record.before)
        {
            let (id, had) = (id.clone(), had.clone());
            let tenant = held.changed(&self.tenant, had.quantity, had.until);
            let tenant = tenant.map_err(|error| Error::Refused(error.to_string()))?;
            let window = Window { until: had.until, ..held.window.clone() };
            let (quantity, parameters) = (had.quantity, had.parameters);
            let holding = Holding { quantity, parameters, window, ..held };
            self.write_tenant(tenant)?;
            self.write_holding(&id, Some(revision), &holding)?;
            self.log("revoke", String::new());
            return Ok(());
        }
        let tenant = held.revoked(&self.tenant, now);
        let holding = Holding { stage: HoldingStage::Ended, ended_at: Some(now), ..held };
        let id = match &self.record.asks {
            Asks::Cancel { holding } | Asks::Change { holding } => holding.clone(),
            Asks::Order {} => self.record.holding.clone().unwrap_or_default(),
        };
        self.write_tenant(tenant)?;
        self.write_holding(&id, Some(revision), &holding)?;
        if is_cancel {
            self.record.granted_at = Some(now);
        }
        self.log("revoke", String::new());
        Ok(())
    }

    /// The tenant as it will be, where it fits the catalog.
    fn write_tenant(&mut self, tenant: Tenant) -> Result<(), Error> {
        let key = TenantKey::new(&self.record.tenant);
        let key = key.map_err(|error| Error::Unavailable(error.to_string()))?;
        let pin = self.app.pin();
        let problems = tenant_problems(pin.catalog(), &[(key, tenant.clone())].into());
        if let Some(problem) = problems.into_iter().next() {
            return Err(Error::Refused(format!("{}: {}", problem.path, problem.message)));
        }
        self.tenant = tenant;
        self.writes_tenant = true;
        Ok(())
    }

    fn write_holding(
        &mut self,
        id: &str,
        expected: Option<Revision>,
        holding: &Holding,
    ) -> Result<(), Error> {
        let record = Record::of(holding).map_err(|error| Error::Unavailable(error.to_string()))?;
        let is_active = holding.stage == HoldingStage::Active;
        let index = Index::Holding { tenant: holding.tenant.clone(), is_active };
        // Once it is over, what was done for it is undone.
        let due_at = holding.window.until.filter(|_| is_active);
        let after = Some(Record { due_at, index: Some(index), ..record });
        let write = Write { expected, after };
        self.changes.writes.insert(ObjectId::new(Kind::Holding, id), write);
        self.holding = Some((holding.clone(), expected.unwrap_or_default()));
        Ok(())
    }
}
