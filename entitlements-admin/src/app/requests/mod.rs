//! Requests: asked for, agreed to, put in force, and taken back.
//!
//! Whatever happens to a request goes through `workflow::request::step`, and each commit carries it on
//! as far as it can go without anybody else: from the agreement to the grant it may be one.

mod course;
mod effect;
mod errand;
mod force;
mod lifts;
mod promise;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use entitlements_core::{Revision, Tenant, TenantKey};

pub(crate) use self::errand::CLAIM;
use self::work::{Work, ineligible};
pub use self::{
    effect::{Effect, FeatureEffect},
    errand::{StepAnswer, StepHeard},
    force::InForce,
    lifts::Lift,
    promise::{CalendarEffect, KeptPromise},
};
use super::{App, Call, Error, Expected, KeptListing, drafts::principal, execute::Decided, parsed};
use crate::{
    ids,
    store::{RequestSearch, Stored},
    workflow::{
        Kind, ObjectId, Origin,
        approval::{DelegationSetting, Electorate},
        holding::{Holding, HoldingStage},
        provisioning::{Next, StepStage},
        request::{Act, Asks, ENTRIES_MAX, Entry, Link, RequestRecord, Stage, Wants},
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

/// How many of a tenant's requests that go on are shown beside what is on offer.
const SHOWN_MAX: u32 = 200;
/// The longest text that somebody says.
const TEXT_BYTES_MAX: usize = 10_000;

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
            before: None,
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
        work.go_on_by_the_clock()?;
        work.finish()
    }

    /// The requests that a search asks for, of those that the actor may see. Their order is that of
    /// the search.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn requests(
        &self,
        call: &Call,
        search: RequestSearch,
    ) -> Result<Vec<KeptRequest>, Error> {
        let mut search = search;
        if let Some(partner) = call.actor.only_partner() {
            search.partner = partner.into();
        }
        let wanted = search.limit as usize;
        let mut all = Vec::new();
        loop {
            let asked = search.clone();
            let rows = self.store().read(move |store| store.requests(&asked)).await?;
            let is_last = rows.len() < search.limit as usize || search.due_before.is_some();
            for row in rows {
                let record: RequestRecord = parsed("request", &row.key, &row.stored.json)?;
                search.after = Some((record.created_at, row.key.clone()));
                if sees(call, &row.key, &record).is_ok() && all.len() < wanted {
                    all.push(KeptRequest { id: row.key, record, revision: row.stored.revision });
                }
            }
            // Whoever sees some tenants only may have to look further.
            if is_last || all.len() == wanted {
                return Ok(all);
            }
        }
    }

    /// Goes on where a tenant can be removed: nothing is being done for it, and nothing was made for it
    /// elsewhere that would be left behind.
    ///
    /// # Errors
    /// Where there is such a thing.
    pub(super) async fn may_be_removed(&self, tenant: &str) -> Result<(), Error> {
        let wanted = tenant.to_owned();
        let read = move |store: &crate::store::Reading<'_>| {
            let all = RequestSearch::of_all(1);
            let search = RequestSearch { tenant: wanted.clone(), open: true, ..all };
            Ok((store.requests(&search)?, store.holdings_of(&wanted)?))
        };
        let (open, held) = self.store().read(read).await?;
        if let Some(request) = open.first() {
            return Err(Error::Refused(format!(
                "request `{}` of tenant `{tenant}` is still open: withdraw or cancel it first",
                request.key
            )));
        }
        for row in held {
            let holding: Holding = parsed("holding", &row.key, &row.stored.json)?;
            if holding.stage == HoldingStage::Active && !holding.steps.is_empty() {
                return Err(Error::Refused(format!(
                    "tenant `{tenant}` has `{}` by holding `{}`, for which something was set up: ask \
                     for its cancellation first",
                    holding.listing, row.key
                )));
            }
        }
        Ok(())
    }

    /// How many requests are in each stage that goes on.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn request_counts(&self, call: &Call) -> Result<BTreeMap<String, u64>, Error> {
        let partner = call.actor.only_partner().unwrap_or_default().to_owned();
        Ok(self.store().read(move |store| store.request_counts(&partner)).await?)
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
        let wanted = key.to_owned();
        let rows = self.store().read(move |store| store.holdings_of(&wanted)).await?;
        let mut holdings = Vec::new();
        for row in rows {
            let holding: Holding = parsed("holding", &row.key, &row.stored.json)?;
            if call.actor.deals_with(holding.partner.as_deref()) {
                holdings.push((row.key, holding));
            }
        }
        let all = RequestSearch::of_all(SHOWN_MAX);
        let search = RequestSearch { tenant: key.into(), open: true, ..all };
        let requests = self.requests(call, search).await?;
        Ok(TenantShop { offers, holdings, requests })
    }
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
