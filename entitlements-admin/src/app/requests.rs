//! Requests: asked for, agreed to, put in force, and taken back.
//!
//! Whatever happens to a request goes through `workflow::request::step`, and each commit carries it on
//! as far as it can go without anybody else: from the agreement to the grant it may be one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use entitlements_core::{Revision, Snapshot, Tenant, TenantKey, Timestamp, Window, document::Hash};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    App, Call, Error, Expected, KeptListing, connectors::notice, drafts::principal,
    execute::Decided, parsed,
};
use crate::{
    ids,
    store::Stored,
    workflow::{
        Changeset, Kind, ObjectId, Origin, Permission, Record, Write,
        approval::{DelegationSetting, Electorate, OnDeadline},
        catalog::tenant_problems,
        holding::{Holding, HoldingStage},
        listing::{Listing, ListingStage},
        notice::{Event as Tidings, RequestMove},
        provisioning::{Course, Doing, Next, Outcome, Step, StepKind, StepStage},
        request::{
            self, Act, Asks, Context, ENTRIES_MAX, Entry, Event, Link, Overdue, RequestRecord,
            Stage, Terms, Wants,
        },
        who::Audiences,
    },
};

/// A request to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRequest {
    /// Whose.
    pub tenant: TenantKey,
    /// For what; that of what one has where it is about that.
    pub listing: String,
    /// What is asked.
    pub asks: Asks,
    /// How much of it, and when.
    pub wants: Wants,
    /// How much it matters.
    pub priority: String,
    /// For whom it is, by address.
    pub beneficiary: Option<String>,
    /// What there is to say about it.
    pub note: String,
    /// Whether it is handed in at once.
    pub submit: bool,
}

/// What a person says of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepTold {
    /// Which.
    pub step: String,
    /// Whether it is done.
    pub done: bool,
    /// What there is to say about it.
    pub comment: String,
}

/// A request with its id.
#[derive(Debug, Clone)]
pub struct KeptRequest {
    /// Its id.
    pub id: String,
    /// The request.
    pub record: RequestRecord,
    /// The revision of its last change.
    pub revision: Revision,
}

/// What one feature is before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FeatureEffect {
    /// Which.
    pub feature: String,
    /// What it is without it.
    pub before: String,
    /// What it is with it.
    pub after: String,
    /// Why, afterwards.
    pub reason: String,
}

/// What a request would do to a tenant, worked out by the same rules that enforce it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Effect {
    /// The instant that it is worked out for.
    pub at: Timestamp,
    /// What would be otherwise, by feature.
    pub features: Vec<FeatureEffect>,
    /// The add-ons that would be held and not in force, each with why.
    pub suspended: Vec<String>,
    /// What is another in the listing since it was handed in.
    pub listing_changes: Vec<String>,
    /// What votes are bound to: request, listing and effect.
    #[schemars(with = "String")]
    pub digest: Hash,
}

/// What a tenant may ask for, has asked for, and has.
#[derive(Debug, Clone)]
pub struct TenantShop {
    /// What is on offer, each with why it may not be asked for now.
    pub offers: Vec<(KeptListing, Option<String>)>,
    /// What it has by requests, each with its id.
    pub holdings: Vec<(String, Holding)>,
    /// Its requests that are not over.
    pub requests: Vec<KeptRequest>,
}

/// The most that can be asked for at once.
const QUANTITY_MAX: u32 = 1_000_000;
/// The longest text that somebody says.
const TEXT_BYTES_MAX: usize = 10_000;
/// How many acts one commit goes on by itself: from the submission to the end there are fewer.
const GOES_ON_MAX: usize = 64;

impl App {
    /// A request, where the actor may see it.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn request(&self, call: &Call, id: &str) -> Result<KeptRequest, Error> {
        let stored = self.stored_request(id, Expected::Any).await?;
        let record: RequestRecord = parsed("request", id, &stored.json)?;
        sees(call, id, &record)?;
        Ok(KeptRequest { id: id.into(), record, revision: stored.revision })
    }

    /// What a request would do now.
    ///
    /// # Errors
    /// Where it cannot be done as things stand.
    pub async fn request_effect(&self, record: &RequestRecord) -> Result<Effect, Error> {
        let listing = self.listing_of(record).await?;
        let holding = self.holding_of(record).await?;
        let (tenant, _) = self.tenant_now(&record.tenant).await?;
        self.effect(record, &listing, holding.as_ref(), &tenant)
    }

    async fn stored_request(&self, id: &str, expected: Expected) -> Result<Stored, Error> {
        let found = self.present(ObjectId::new(Kind::Request, id), expected).await?;
        found.ok_or_else(|| Error::NotFound(format!("there is no request `{id}`")))
    }

    async fn listing_of(&self, record: &RequestRecord) -> Result<KeptListing, Error> {
        let missing = || Error::Refused(format!("listing `{}` is gone", record.listing));
        self.kept_listing(&record.listing, Expected::Any).await?.ok_or_else(missing)
    }

    async fn holding_of(
        &self,
        record: &RequestRecord,
    ) -> Result<Option<(Holding, Revision)>, Error> {
        let id = match &record.asks {
            Asks::Order {} => record.holding.as_ref(),
            Asks::Change { holding } | Asks::Cancel { holding } => Some(holding),
        };
        let Some(id) = id else { return Ok(None) };
        self.kept_holding(id).await.map(Some)
    }

    async fn kept_holding(&self, id: &str) -> Result<(Holding, Revision), Error> {
        let row = self.present(ObjectId::new(Kind::Holding, id), Expected::Any).await?;
        let row = row.ok_or_else(|| Error::NotFound(format!("there is no holding `{id}`")))?;
        Ok((parsed("holding", id, &row.json)?, row.revision))
    }

    async fn tenant_now(&self, key: &str) -> Result<(Tenant, Revision), Error> {
        let row = self.present(ObjectId::tenant(key), Expected::Any).await?;
        let row = row.ok_or_else(|| Error::NotFound(format!("there is no tenant `{key}`")))?;
        Ok((parsed("tenant", key, &row.json)?, row.revision))
    }

    /// Who may agree to what, now.
    async fn electorate(&self) -> Result<Electorate, Error> {
        let users = self.users().await?;
        let active = users.iter().filter(|kept| !kept.user.disabled);
        let roles = active.map(|kept| (kept.id.clone(), kept.user.roles.clone())).collect();
        let addresses = users.iter().map(|kept| (kept.id.clone(), kept.user.email.clone()));
        let addresses: BTreeMap<_, _> = addresses.collect();
        let book = self.open_book().await?;
        let teams = book.book.teams.iter();
        let teams = teams.map(|(key, team)| (key.clone(), team.members.clone())).collect();
        let people = Electorate { roles, addresses, teams, deputies: BTreeSet::new() };
        let delegations = self.setting::<DelegationSetting>().await?.0;
        Ok(people.with_deputies(&delegations, self.now()))
    }

    pub(super) async fn decide_new_request(
        &self,
        call: &Call,
        origin: Origin,
        wanted: &NewRequest,
    ) -> Result<Decided, Error> {
        let tenant = wanted.tenant.as_str();
        if !call.actor.sees(tenant) {
            return Err(Error::NotFound(format!("there is no tenant `{tenant}`")));
        }
        let listing_key = match &wanted.asks {
            Asks::Order {} => wanted.listing.clone(),
            Asks::Change { holding } | Asks::Cancel { holding } => {
                let (held, _) = self.kept_holding(holding).await?;
                if held.tenant != tenant {
                    return Err(Error::NotFound(format!("there is no holding `{holding}`")));
                }
                held.listing
            }
        };
        let listing = self.listing(call, &listing_key).await?;
        let id = ids::key_id()?;
        let who = principal(call);
        let beneficiary = wanted.beneficiary.as_deref();
        let beneficiary = beneficiary.map(crate::workflow::people::email_of).transpose();
        let beneficiary =
            beneficiary.map_err(|why| Error::InvalidInput(format!("`beneficiary`: {why}")))?;
        let people = self.electorate().await?;
        let record = RequestRecord {
            tenant: tenant.into(),
            listing: listing_key,
            partner: listing.record.listing.partner.clone(),
            team: listing.record.listing.team.clone(),
            asks: wanted.asks.clone(),
            wants: wanted.wants.clone(),
            priority: wanted.priority.clone(),
            stage: Stage::Draft.code().into(),
            created_at: origin.at,
            requester: who.clone().into(),
            beneficiary: beneficiary.map(|address| people.person_of(&address)),
            editor: who.into(),
            terms: None,
            stages: Vec::new(),
            votes: Vec::new(),
            decide_by: None,
            escalated_to: None,
            ends_as: None,
            review: None,
            steps: Vec::new(),
            holding: None,
            granted_at: None,
            promises: Vec::new(),
            links: Vec::new(),
            log: vec![Entry {
                at: origin.at,
                by: origin.actor.clone(),
                what: "create".into(),
                stage: Stage::Draft.code().into(),
                text: checked_text("note", &wanted.note)?,
            }],
        };
        let mut work = Work::new(self, call, origin, &id, None, record, listing).await?;
        work.check_wants()?;
        work.changes.answer.id = Some(id);
        if wanted.submit {
            work.act(&Act::Submit)?;
            work.go_on()?;
        }
        work.finish()
    }

    pub(super) async fn decide_request_edit(
        &self,
        call: &Call,
        origin: Origin,
        id: &str,
        wants: &Wants,
        expected: Expected,
    ) -> Result<Decided, Error> {
        let mut work = Work::load(self, call, origin, id, expected).await?;
        work.act(&Act::Edit)?;
        work.record.wants = wants.clone();
        work.check_wants()?;
        work.finish()
    }

    pub(super) async fn decide_request_act(
        &self,
        call: &Call,
        origin: Origin,
        id: &str,
        act: &Act,
        expected: Expected,
    ) -> Result<Decided, Error> {
        let mut work = Work::load(self, call, origin, id, expected).await?;
        work.act(act)?;
        if let Act::RetryUndo = act {
            let now = work.now();
            for step in &mut work.record.steps {
                if step.run.stage == StepStage::UndoFailed {
                    *step = step.retried(now);
                }
            }
        }
        work.go_on()?;
        work.finish()
    }

    pub(super) async fn decide_comment(
        &self,
        call: &Call,
        origin: Origin,
        id: &str,
        text: &str,
        link: Option<&Link>,
    ) -> Result<Decided, Error> {
        let mut work = Work::load(self, call, origin, id, Expected::Any).await?;
        if work.record.log.len() >= ENTRIES_MAX {
            return Err(Error::Refused(format!("request `{id}` has {ENTRIES_MAX} entries")));
        }
        let text = checked_text("text", text)?;
        if text.is_empty() && link.is_none() {
            return Err(Error::InvalidInput("`text` is empty: say something".into()));
        }
        if let Some(link) = link {
            if !link.url.starts_with("https://") || link.url.len() > 2_000 {
                return Err(Error::InvalidInput(
                    "`link.url` takes an address that begins with `https://`".into(),
                ));
            }
            work.record
                .links
                .push(Link { title: checked_text("link.title", &link.title)?, ..link.clone() });
        }
        // The first word of somebody else than who asked is what the clock waits for.
        let own = principal(call) == work.record.requester.clone().into();
        work.log(if own { "comment" } else { "respond" }, text);
        work.finish()
    }

    pub(super) async fn decide_step_told(
        &self,
        call: &Call,
        origin: Origin,
        id: &str,
        told: &StepTold,
        expected: Expected,
    ) -> Result<Decided, Error> {
        let mut work = Work::load(self, call, origin, id, expected).await?;
        let (now, by) = (work.now(), work.changes.origin.actor.clone());
        let next = work.record.course().next(&work.record.steps, now);
        let number = match next {
            Next::Person(number, _) | Next::Stuck(number) => Some(number),
            _ => None,
        };
        let found = number.and_then(|number| work.record.steps.get_mut(number));
        let Some(step) = found.filter(|step| step.plan.key == told.step) else {
            return Err(Error::Refused(format!(
                "nobody waits for somebody to say something about step `{}`",
                told.step
            )));
        };
        let comment = checked_text("comment", &told.comment)?;
        *step = step.told(&by, told.done, &comment, now);
        work.log("step", format!("{}: {}", told.step, if told.done { "done" } else { "not done" }));
        work.go_on()?;
        work.finish()
    }

    pub(super) async fn decide_advance(
        &self,
        call: &Call,
        origin: Origin,
        id: &str,
    ) -> Result<Decided, Error> {
        let mut work = Work::load(self, call, origin, id, Expected::Any).await?;
        if work
            .record
            .request()
            .map_err(Error::Unavailable)?
            .decide_by
            .is_some_and(|by| by <= work.now())
        {
            work.act(&Act::Expire)?;
        }
        work.go_on()?;
        work.finish()
    }

    /// Goes on with the requests whose time has come.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn advance_requests(&self) -> Result<(), Error> {
        let now = self.now();
        let due = self.store().read(move |store| store.due(Kind::Request, now)).await?;
        for row in due {
            let command = super::Command::AdvanceRequest { id: row.key.clone() };
            match self.execute(&super::Actor::local("requests"), command).await {
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, request = row.key, "a request did not go on"),
            }
        }
        Ok(())
    }

    /// Every request that the actor may see, newest first.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn requests(&self, call: &Call) -> Result<Vec<KeptRequest>, Error> {
        let rows = self.every(Kind::Request).await?;
        let mut all = Vec::new();
        for row in rows {
            let record: RequestRecord = parsed("request", &row.key, &row.stored.json)?;
            if sees(call, &row.key, &record).is_ok() {
                all.push(KeptRequest { id: row.key, record, revision: row.stored.revision });
            }
        }
        all.sort_by(|a, b| (b.record.created_at, &b.id).cmp(&(a.record.created_at, &a.id)));
        Ok(all)
    }

    /// What a tenant may ask for, has asked for, and has.
    ///
    /// # Errors
    /// Where there is no such tenant.
    pub async fn shop(&self, call: &Call, key: &str) -> Result<TenantShop, Error> {
        let (tenant, _) = self.tenant_now(key).await?;
        let mut offers = Vec::new();
        for kept in self.listings(call).await? {
            let stage = kept.record.stage()?;
            if stage.is_shown() {
                let listing = &kept.record.listing;
                let why = ineligible(self, listing, stage, key, &tenant, self.now())?;
                offers.push((kept, why));
            }
        }
        let mut holdings = Vec::new();
        for row in self.every(Kind::Holding).await? {
            let holding: Holding = parsed("holding", &row.key, &row.stored.json)?;
            if holding.tenant == key && call.actor.deals_with(holding.partner.as_deref()) {
                holdings.push((row.key, holding));
            }
        }
        let requests = self.requests(call).await?.into_iter();
        let requests = requests
            .filter(|kept| kept.record.tenant == key && !kept.record.stage().is_over())
            .collect();
        Ok(TenantShop { offers, holdings, requests })
    }

    fn effect(
        &self,
        record: &RequestRecord,
        listing: &KeptListing,
        holding: Option<&(Holding, Revision)>,
        tenant: &Tenant,
    ) -> Result<Effect, Error> {
        let pin = self.pin();
        let key = TenantKey::new(&record.tenant).map_err(|e| Error::Unavailable(e.to_string()))?;
        let at = record.wants.start_at.map_or(self.now(), |start| start.max(self.now()));
        let holding = holding.map(|(holding, _)| holding);
        let after = after(record, &listing.record.listing, holding, tenant, at)?;
        let world = |tenant: &Tenant| {
            Snapshot::compile(pin.revision(), pin.catalog().clone(), [(&key, tenant)], at)
        };
        let (old, new) = (world(tenant), world(&after));
        let mut features = Vec::new();
        for feature in pin.catalog().draft().features.keys() {
            let before = old.check(key.as_str(), feature.as_str(), at);
            let then = new.check(key.as_str(), feature.as_str(), at);
            if before.verdict() != then.verdict() {
                features.push(FeatureEffect {
                    feature: feature.to_string(),
                    before: before.verdict().to_string(),
                    after: then.verdict().to_string(),
                    reason: then.reason().to_string(),
                });
            }
        }
        let held = new.tenant(key.as_str()).map(|view| view.add_ons(at)).unwrap_or_default();
        let suspended = held.iter().filter(|held| held.is_suspended()).map(|held| {
            let why = held.standing.map(|why| format!("{why:?}")).unwrap_or_default();
            format!("{} ({})", held.add_on, why.to_lowercase())
        });
        let suspended: Vec<String> = suspended.collect();
        let now = Terms::of(&listing.record.listing);
        let changes = record.terms.as_ref().map(|terms| terms.differences(&now));
        let digest = serde_json::to_vec(&(
            &record.tenant,
            &record.listing,
            &record.asks,
            &record.wants,
            now.listing,
            &features,
            &suspended,
        ));
        let digest = Hash::of(&digest.map_err(|error| Error::Unavailable(error.to_string()))?);
        let listing_changes = changes.unwrap_or_default().into_iter().map(Into::into).collect();
        Ok(Effect { at, features, suspended, listing_changes, digest })
    }
}

/// The tenant as a request would have it.
fn after(
    record: &RequestRecord,
    listing: &Listing,
    holding: Option<&Holding>,
    tenant: &Tenant,
    at: Timestamp,
) -> Result<Tenant, Error> {
    let wants = &record.wants;
    let missing = || Error::Refused("what the request is about is gone".into());
    let changed = match &record.asks {
        Asks::Order {} => {
            let window = Window::new(Some(at), wants.until);
            listing.offer.granted(&record.tenant, tenant, wants.quantity, &window)
        }
        Asks::Change { .. } => {
            holding.ok_or_else(missing)?.changed(tenant, wants.quantity, wants.until)
        }
        Asks::Cancel { .. } => Ok(holding.ok_or_else(missing)?.revoked(tenant, at)),
    };
    changed.map_err(|error| Error::Refused(error.to_string()))
}

/// To whoever is for some tenants or a partner, others do not exist.
fn sees(call: &Call, id: &str, record: &RequestRecord) -> Result<(), Error> {
    let theirs =
        call.actor.sees(&record.tenant) && call.actor.deals_with(record.partner.as_deref());
    if theirs { Ok(()) } else { Err(Error::NotFound(format!("there is no request `{id}`"))) }
}

fn checked_text(name: &str, text: &str) -> Result<String, Error> {
    let text = text.trim();
    match text.len() <= TEXT_BYTES_MAX {
        true => Ok(text.into()),
        false => {
            Err(Error::InvalidInput(format!("`{name}` takes {TEXT_BYTES_MAX} bytes at the most")))
        }
    }
}

/// A request being worked on: everything that it rests on, and the changeset that comes of it.
struct Work<'w> {
    app: &'w App,
    call: &'w Call,
    id: String,
    revision: Option<Revision>,
    record: RequestRecord,
    listing: KeptListing,
    holding: Option<(Holding, Revision)>,
    tenant: Tenant,
    tenant_revision: Revision,
    people: Electorate,
    changes: Changeset,
    /// Whether the tenant was changed.
    writes_tenant: bool,
}

impl<'w> Work<'w> {
    async fn load(
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

    async fn new(
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
        })
    }

    fn now(&self) -> Timestamp {
        self.changes.origin.at
    }

    fn log(&mut self, what: &str, text: String) {
        self.record.log.push(Entry {
            at: self.now(),
            by: self.changes.origin.actor.clone(),
            what: what.into(),
            stage: self.record.stage.clone(),
            text,
        });
    }

    /// What is asked for must be something that can be had.
    fn check_wants(&self) -> Result<(), Error> {
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
    fn act(&mut self, act: &Act) -> Result<(), Error> {
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
        Ok(())
    }

    /// Carries it on as far as it goes by itself.
    fn go_on(&mut self) -> Result<(), Error> {
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

    /// The steps begin.
    fn begin(&mut self) -> Result<(), Error> {
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
            Asks::Change { .. } => {}
        }
        Ok(())
    }

    /// What is next of the steps, where that needs nobody else.
    fn next_act(&mut self) -> Result<Option<Act>, Error> {
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
            Next::Stuck(number) if self.record.stage() == Stage::Compensating => {
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
            StepKind::Manual { .. } => begun,
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
            // Those are asked outside of any commit.
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
    fn take_back(&mut self) -> Result<(), Error> {
        let is_cancel = matches!(self.record.asks, Asks::Cancel { .. });
        if !is_cancel && self.record.granted_at.is_none() {
            return Ok(());
        }
        let Some((held, revision)) = self.holding.clone() else { return Ok(()) };
        if held.stage == HoldingStage::Ended {
            return Ok(());
        }
        let now = self.now();
        let tenant = held.revoked(&self.tenant, now);
        let holding = Holding { stage: HoldingStage::Ended, ended_at: Some(now), ..held };
        let id = match &self.record.asks {
            Asks::Cancel { holding } | Asks::Change { holding } => holding.clone(),
            Asks::Order {} => self.record.holding.clone().unwrap_or_default(),
        };
        self.write_tenant(tenant)?;
        self.write_holding(&id, Some(revision), &holding)?;
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
        let after = Record::of(holding).map_err(|error| Error::Unavailable(error.to_string()))?;
        let write = Write { expected, after: Some(after) };
        self.changes.writes.insert(ObjectId::new(Kind::Holding, id), write);
        self.holding = Some((holding.clone(), expected.unwrap_or_default()));
        Ok(())
    }

    fn tell(&mut self, event: &Event, text: &str) -> Result<(), Error> {
        let terms = self.record.terms.as_ref();
        let title = terms.map_or(&self.listing.record.listing.title, |terms| &terms.title);
        let name = self.tenant.name.as_deref().unwrap_or(&self.record.tenant);
        let moved = RequestMove {
            request: self.id.clone(),
            tenant: self.record.tenant.clone(),
            tenant_name: name.into(),
            listing: self.record.listing.clone(),
            title: title.clone(),
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
    fn due_at(&self) -> Option<Timestamp> {
        let now = self.now();
        match self.record.stage() {
            stage if stage.is_undecided() => self.record.decide_by,
            Stage::Scheduled => self.record.wants.start_at,
            Stage::Provisioning | Stage::Compensating => {
                match self.record.course().next(&self.record.steps, now) {
                    Next::Step(_, _, due) => Some(due),
                    Next::Person(_, until) => until,
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn finish(mut self) -> Result<Decided, Error> {
        let record =
            Record::of(&self.record).map_err(|error| Error::Unavailable(error.to_string()))?;
        let after = Some(Record { due_at: self.due_at(), ..record });
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

/// How long to wait before it is looked again whether an integration is connected.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Why a tenant may not ask for something, where it may not.
fn ineligible(
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
