//! A request being worked on, from what it rests on to the changeset that comes of it.

use std::{collections::BTreeMap, time::Duration};

use entitlements_core::{Revision, Tenant, TenantKey, Timestamp, Window, document::Hash};

use super::{
    super::{
        App, Call, Error, Expected, KeptListing, connectors::notice, drafts::principal,
        execute::Decided, parsed,
    },
    Effect, sees,
};
use crate::workflow::{
    Changeset, Index, Kind, ObjectId, Origin, Permission, Record, Write,
    approval::{Electorate, OnDeadline},
    holding::Holding,
    listing::{Listing, ListingStage},
    notice::{Event as Tidings, RequestMove, StepWaits},
    provisioning::{Doing, StepKind, StepPlan},
    request::{self, Act, Asks, Context, Entry, Event, Overdue, RequestRecord, Stage, Terms},
    sla::{Sla, WorkTime},
    who::Audiences,
};

/// The most that can be asked for at once.
const QUANTITY_MAX: u32 = 1_000_000;
/// How many acts one commit goes on by itself: from the submission to the end there are fewer.
const GOES_ON_MAX: usize = 64;

/// A request being worked on: everything that it rests on, and the changeset that comes of it.
pub(super) struct Work<'w> {
    pub(super) app: &'w App,
    pub(super) call: &'w Call,
    pub(super) id: String,
    pub(super) revision: Option<Revision>,
    pub(super) record: RequestRecord,
    pub(super) listing: KeptListing,
    pub(super) holding: Option<(Holding, Revision)>,
    pub(super) tenant: Tenant,
    pub(super) tenant_revision: Revision,
    pub(super) people: Electorate,
    pub(super) changes: Changeset,
    /// Whether the tenant was changed.
    pub(super) writes_tenant: bool,
    /// What is promised for the listing, where there is something, with its key.
    pub(super) sla: Option<(String, Sla)>,
    /// The hours that promises count by, by the key of their calendar.
    pub(super) hours: BTreeMap<String, WorkTime>,
    /// Until when nobody else is to ask others about it.
    pub(super) claimed_until: Option<Timestamp>,
}

impl<'w> Work<'w> {
    pub(super) async fn load(
        app: &'w App,
        call: &'w Call,
        origin: Origin,
        id: &str,
        expected: Expected,
    ) -> Result<Self, Error> {
        let stored = app.stored_request(id, expected).await?;
        let record: RequestRecord = parsed("request", id, &stored.json)?;
        sees(call, id, &record)?;
        let listing = app.listing_of(&record).await?;
        Self::new(app, call, origin, id, Some(stored.revision), record, listing).await
    }

    pub(super) async fn new(
        app: &'w App,
        call: &'w Call,
        origin: Origin,
        id: &str,
        revision: Option<Revision>,
        record: RequestRecord,
        listing: KeptListing,
    ) -> Result<Self, Error> {
        let holding = app.holding_of(&record).await?;
        let (tenant, tenant_revision) = app.tenant_now(&record.tenant).await?;
        let people = app.electorate().await?;
        let changes = origin.changeset(format!("request {id}"));
        let (sla, hours) = app.promised(&record, &listing).await?;
        Ok(Self {
            app,
            call,
            id: id.into(),
            revision,
            record,
            listing,
            holding,
            tenant,
            tenant_revision,
            people,
            changes,
            writes_tenant: false,
            sla,
            hours,
            claimed_until: None,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.changes.origin.at
    }

    pub(super) fn log(&mut self, what: &str, text: String) {
        self.record.log.push(Entry {
            at: self.now(),
            by: self.changes.origin.actor.clone(),
            what: what.into(),
            stage: self.record.stage.clone(),
            text,
        });
    }

    /// What is asked for must be something that can be had.
    pub(super) fn check_wants(&self) -> Result<(), Error> {
        let (wants, listing) = (&self.record.wants, &self.listing.record.listing);
        if !(1..=QUANTITY_MAX).contains(&wants.quantity) {
            return Err(Error::InvalidInput(format!(
                "`quantity = {}`: use 1 to {QUANTITY_MAX}",
                wants.quantity
            )));
        }
        let is_counted = matches!(listing.offer, crate::workflow::listing::Offer::AddOn(_));
        if wants.quantity > 1 && !is_counted {
            return Err(Error::InvalidInput(
                "`quantity`: only an add-on is had several times".into(),
            ));
        }
        if wants
            .until
            .zip(Some(wants.start_at.unwrap_or(self.now())))
            .is_some_and(|(end, start)| end <= start)
        {
            return Err(Error::InvalidInput("`until` is not after the start".into()));
        }
        let problems = listing.parameter_problems(&wants.parameters);
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::InvalidInput(problems.join("; "))),
        }
    }

    /// Whether the tenant may ask for it now.
    ///
    /// # Errors
    /// Why not.
    fn is_eligible(&self) -> Result<(), Error> {
        let stage = self.listing.record.stage()?;
        let listing = &self.listing.record.listing;
        let takes = match &self.record.asks {
            Asks::Order {} => stage.takes_orders(),
            Asks::Change { .. } => stage.takes_changes(),
            Asks::Cancel { .. } => true,
        };
        if !takes {
            return Err(Error::Refused(format!("listing `{}` is `{stage}`", self.listing.key)));
        }
        if !matches!(self.record.asks, Asks::Order {}) {
            return Ok(());
        }
        if let Some(why) =
            ineligible(self.app, listing, stage, &self.record.tenant, &self.tenant, self.now())?
        {
            return Err(Error::Refused(why));
        }
        Ok(())
    }

    /// What it would do.
    fn effect(&self) -> Result<Effect, Error> {
        self.app.effect(&self.record, &self.listing, self.holding.as_ref(), &self.tenant)
    }

    /// One act, and what people are told of it.
    pub(super) fn act(&mut self, act: &Act) -> Result<(), Error> {
        if let Act::Submit = act {
            self.hand_in()?;
        }
        let request = self.record.request().map_err(Error::Unavailable)?;
        let needs_effect = matches!(act, Act::Approve { .. } | Act::BreakGlass { .. });
        let digest = if needs_effect { self.effect()?.digest } else { Hash([0; 32]) };
        let who = principal(self.call);
        let policy = &self.listing.record.listing.approval;
        let again = policy.deadline_hours.map_or(0, u64::from) * 3_600;
        let overdue = match &policy.on_deadline {
            OnDeadline::Expire => Overdue::Expire,
            OnDeadline::Reject => Overdue::Reject,
            OnDeadline::Escalate { team } => {
                Overdue::Escalate(team, self.now().plus(Duration::from_secs(again)))
            }
        };
        let context = Context {
            now: self.now(),
            actor: &who,
            may_break_glass: self.call.actor.may(Permission::BreakGlass).is_ok(),
            is_vendor: self.call.actor.may(Permission::OperateRequests).is_ok(),
            people: &self.people,
            digest,
            overdue,
        };
        let step = request::step(&request, act.clone(), &context)
            .map_err(|refusal| Error::Refused(refusal.to_string()))?;
        self.record = self.record.clone().at(step.request);
        self.log(act.code(), said(act).into());
        self.tell(&step.event, said(act))?;
        // What is undone stops to be in force first.
        if step.event == Event::Undoing { self.take_back() } else { Ok(()) }
    }

    /// What holds from the submission on.
    fn hand_in(&mut self) -> Result<(), Error> {
        self.check_wants()?;
        self.is_eligible()?;
        // It must be possible as things stand.
        self.effect()?;
        let listing = &self.listing.record.listing;
        let amount = listing.amount(self.record.wants.quantity);
        self.record.terms = Some(Terms::of(listing));
        self.record.stages = listing.approval.stages_for(amount);
        let hours = listing.approval.deadline_hours;
        let until = |hours: u32| self.now().plus(Duration::from_secs(u64::from(hours) * 3_600));
        self.record.decide_by = hours.map(until);
        self.promise();
        Ok(())
    }

    /// Carries it on as far as it goes by itself.
    pub(super) fn go_on(&mut self) -> Result<(), Error> {
        for _ in 0..GOES_ON_MAX {
            let act = match self.record.stage() {
                Stage::Submitted => Act::Evaluate { automatic: self.is_automatic()? },
                Stage::Approved => Act::Begin,
                Stage::Scheduled => {
                    if self.record.wants.start_at.is_some_and(|start| start > self.now()) {
                        return Ok(());
                    }
                    Act::Begin
                }
                Stage::Provisioning | Stage::Compensating => match self.next_act()? {
                    Some(act) => act,
                    None => return Ok(()),
                },
                _ => return Ok(()),
            };
            self.act(&act)?;
            if act == Act::Begin && self.record.stage() == Stage::Provisioning {
                self.begin()?;
            }
        }
        Ok(())
    }

    fn is_automatic(&self) -> Result<bool, Error> {
        let listing = &self.listing.record.listing;
        if matches!(self.record.asks, Asks::Cancel { .. }) {
            return Ok(true);
        }
        let Some(rule) = &listing.approval.automatic else { return Ok(false) };
        let amount = listing.amount(self.record.wants.quantity);
        if rule.amount_max.is_some_and(|most| amount > most) {
            return Ok(false);
        }
        let Some(audience) = &rule.audience else { return Ok(true) };
        is_in(self.app, audience, &self.record.tenant, &self.tenant, self.now())
    }

    /// What people call what is asked for.
    pub(super) fn title(&self) -> String {
        let terms = self.record.terms.as_ref();
        terms.map_or(&self.listing.record.listing.title, |terms| &terms.title).clone()
    }

    /// What people call the tenant.
    pub(super) fn tenant_name(&self) -> String {
        let name = self.tenant.name.as_deref();
        name.unwrap_or(&self.record.tenant).into()
    }

    /// Tells whoever is to do a step that it is their turn.
    pub(super) fn tell_step_waits(&mut self, plan: &StepPlan, doing: Doing) -> Result<(), Error> {
        let StepKind::Manual { team, instructions, undo_instructions } = &plan.kind else {
            return Ok(());
        };
        let undoes = doing == Doing::Undo;
        let instructions = undo_instructions.as_ref().filter(|_| undoes).unwrap_or(instructions);
        let team = team.as_ref().or(self.record.team.as_ref());
        let assignee = team.map_or_else(|| "an operator".into(), |team| format!("team `{team}`"));
        let waits = StepWaits {
            request: self.id.clone(),
            tenant: self.record.tenant.clone(),
            tenant_name: self.tenant_name(),
            listing: self.record.listing.clone(),
            title: self.title(),
            step: plan.key.clone(),
            name: plan.name.clone(),
            assignee,
            instructions: instructions.clone(),
        };
        let event = Tidings::RequestStepWaits(waits);
        let notice = notice(format!("request/{}", self.id), self.now(), &event)?;
        self.changes.notices.push(notice.of_tenant(&self.record.tenant));
        Ok(())
    }

    /// Tells that somebody has to say whether what a broker may have made can be removed.
    pub(super) fn tell_step_held(&mut self, plan: Option<&StepPlan>) -> Result<(), Error> {
        let Some(plan) = plan else { return Ok(()) };
        let held = StepPlan {
            kind: StepKind::Manual {
                team: None,
                instructions:
                    "Look at what the broker may have made, and say when it can be removed.".into(),
                undo_instructions: None,
            },
            ..plan.clone()
        };
        self.tell_step_waits(&held, Doing::Do)
    }

    fn tell(&mut self, event: &Event, text: &str) -> Result<(), Error> {
        let moved = RequestMove {
            request: self.id.clone(),
            tenant: self.record.tenant.clone(),
            tenant_name: self.tenant_name(),
            listing: self.record.listing.clone(),
            title: self.title(),
            stage: self.record.stage.clone(),
            by: self.changes.origin.actor.clone(),
            text: (!text.is_empty()).then(|| text.into()),
        };
        let Some(event) = told(event, moved) else { return Ok(()) };
        let subject = format!("request/{}", self.id);
        let notice = notice(subject, self.now(), &event)?.of_tenant(&self.record.tenant);
        self.changes.notices.push(notice);
        Ok(())
    }

    /// When it is to be looked at again.
    pub(super) fn due_at(&self) -> Option<Timestamp> {
        self.claimed_until.or_else(|| self.record.due_at(&self.hours, self.now()))
    }

    pub(super) fn finish(mut self) -> Result<Decided, Error> {
        let record =
            Record::of(&self.record).map_err(|error| Error::Unavailable(error.to_string()))?;
        let index = Some(Index::Request(Box::new(self.record.row(&self.hours, self.now()))));
        let after = Some(Record { due_at: self.due_at(), index, ..record });
        let write = Write { expected: self.revision, after };
        self.changes.writes.insert(ObjectId::new(Kind::Request, &self.id), write);
        let listing = ObjectId::new(Kind::Listing, &self.listing.key);
        self.changes.reads.insert(listing, Some(self.listing.revision));
        let tenant = ObjectId::tenant(&self.record.tenant);
        if self.writes_tenant {
            let after = Record::of(&self.tenant);
            let after = after.map_err(|error| Error::Unavailable(error.to_string()))?;
            let write = Write { expected: Some(self.tenant_revision), after: Some(after) };
            self.changes.writes.insert(tenant, write);
        } else {
            self.changes.reads.insert(tenant, Some(self.tenant_revision));
        }
        Ok(self.changes.into())
    }
}

/// Why a tenant may not ask for something, where it may not.
pub(super) fn ineligible(
    app: &App,
    listing: &Listing,
    stage: ListingStage,
    key: &str,
    tenant: &Tenant,
    at: Timestamp,
) -> Result<Option<String>, Error> {
    if !stage.takes_orders() {
        return Ok(Some(format!("`{}` is `{stage}`", listing.title)));
    }
    if let Some(audience) = &listing.eligibility
        && !is_in(app, audience, key, tenant, at)?
    {
        return Ok(Some(format!("`{}` is not offered to tenant `{key}`", listing.title)));
    }
    let missing = listing.integrations.iter().find(|it| !tenant.integrations.contains(*it));
    if let Some(missing) = missing {
        return Ok(Some(format!(
            "`{}` needs the integration `{missing}`: connect it first",
            listing.title
        )));
    }
    let window = Window::new(Some(at), None);
    match listing.offer.is_held(tenant, &window) {
        true => Ok(Some(format!("tenant `{key}` has {} already", listing.offer.for_people()))),
        false => Ok(None),
    }
}

fn is_in(
    app: &App,
    audience: &entitlements_core::Audience,
    key: &str,
    tenant: &Tenant,
    at: Timestamp,
) -> Result<bool, Error> {
    let pin = app.pin();
    let audiences = Audiences::new(pin.catalog().draft(), [("it", audience)]);
    // One that the catalog does not know any more is that of nobody.
    let Ok(audiences) = audiences else { return Ok(false) };
    let key = TenantKey::new(key).map_err(|error| Error::Unavailable(error.to_string()))?;
    Ok(!audiences.of(&key, tenant, at).is_empty())
}

/// What was said by an act.
fn said(act: &Act) -> &str {
    match act {
        Act::Approve { comment, .. } => comment.as_deref().unwrap_or_default(),
        Act::Reject { comment } | Act::Review { comment } | Act::Resolve { comment } => comment,
        Act::AskInfo { question } => question,
        Act::Answer { answer } => answer,
        Act::MarkDuplicate { of } => of,
        Act::BreakGlass { reason } | Act::Cancel { reason } => reason,
        Act::Fail { why } | Act::Stick { why } => why,
        _ => "",
    }
}

/// What people want to hear of it.
fn told(event: &Event, moved: RequestMove) -> Option<Tidings> {
    Some(match event {
        Event::Submitted => Tidings::RequestSubmitted(moved),
        Event::NeedsApproval => Tidings::RequestNeedsApproval(moved),
        Event::Approved { .. } => Tidings::RequestApproved(moved),
        Event::Rejected => Tidings::RequestRejected(moved),
        Event::AskedForInfo => Tidings::RequestNeedsInfo(moved),
        Event::Answered => Tidings::RequestAnswered(moved),
        Event::MarkedDuplicate => Tidings::RequestDuplicate(moved),
        Event::Withdrawn => Tidings::RequestWithdrawn(moved),
        Event::Expired => Tidings::RequestExpired(moved),
        Event::Escalated => Tidings::RequestEscalated(moved),
        Event::BrokeGlass => Tidings::RequestGlassBroken(moved),
        Event::Reviewed => Tidings::RequestReviewed(moved),
        Event::Scheduled => Tidings::RequestScheduled(moved),
        Event::Began => Tidings::RequestProvisioning(moved),
        Event::Fulfilled => Tidings::RequestFulfilled(moved),
        Event::Undoing => Tidings::RequestUndoing(moved),
        Event::Failed => Tidings::RequestFailed(moved),
        Event::Cancelled => Tidings::RequestCancelled(moved),
        Event::Stuck => Tidings::RequestStuck(moved),
        Event::Edited | Event::Voted | Event::RetriedUndo => return None,
    })
}
