//! What is on offer: listings, the calendars that work goes by, and the promises made.

use std::collections::{BTreeMap, BTreeSet};

use entitlements_core::{Revision, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    App, Call, Error, Expected, connectors::notice, execute::Decided, parsed, routing::check_key,
};
use crate::{
    store::{Listed, Reading},
    workflow::{
        Kind, ObjectId, Origin, Record, Write,
        draft::KeptPrincipal,
        listing::{self, Known, Listing, ListingAct, ListingStage},
        notice::{Event, ListingMove},
        publication::Principal,
        settings::ApprovalSetting,
        sla::{Calendar, Sla, WorkWeek},
        who::Audiences,
    },
};

/// A listing as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListingRecord {
    /// What is shown of it.
    pub listing: Listing,
    /// How far it has come: the stage's stable word.
    pub stage: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who edited it last.
    pub editor: KeptPrincipal,
}

impl ListingRecord {
    /// How far it has come.
    ///
    /// # Errors
    /// Where what is kept is nothing that this version writes.
    pub fn stage(&self) -> Result<ListingStage, Error> {
        self.stage.parse().map_err(Error::Unavailable)
    }
}

/// A listing with its key.
#[derive(Debug, Clone)]
pub struct KeptListing {
    /// Its key.
    pub key: String,
    /// The listing.
    pub record: ListingRecord,
    /// The revision of its last change.
    pub revision: Revision,
}

/// What listings rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shelf {
    /// A calendar.
    Calendar {
        /// What people call it.
        name: String,
        /// The hours that count from now on.
        week: WorkWeek,
    },
    /// What is promised.
    Sla(Sla),
}

impl App {
    /// A listing.
    ///
    /// # Errors
    /// Where there is none that the actor may see.
    pub async fn listing(&self, call: &Call, key: &str) -> Result<KeptListing, Error> {
        let kept = self.kept_listing(key, Expected::Any).await?;
        let missing = || Error::NotFound(format!("there is no listing `{key}`"));
        kept.filter(|kept| call.actor.deals_with(kept.record.listing.partner.as_deref()))
            .ok_or_else(missing)
    }

    /// At most `limit` listings whose keys come after `after`, of those that the actor may see.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn listings(&self, call: &Call) -> Result<Vec<KeptListing>, Error> {
        let rows = self.every(Kind::Listing).await?;
        let all = rows.into_iter().map(kept).collect::<Result<Vec<_>, Error>>()?;
        let theirs =
            |kept: &KeptListing| call.actor.deals_with(kept.record.listing.partner.as_deref());
        Ok(all.into_iter().filter(theirs).collect())
    }

    pub(super) async fn kept_listing(
        &self,
        key: &str,
        expected: Expected,
    ) -> Result<Option<KeptListing>, Error> {
        let row = self.present(ObjectId::new(Kind::Listing, key), expected).await?;
        row.map(|stored| kept(Listed { key: key.into(), stored })).transpose()
    }

    pub(super) async fn every(&self, kind: Kind) -> Result<Vec<Listed>, Error> {
        let read = move |store: &Reading<'_>| {
            let mut rows = Vec::new();
            store.each_object(kind, |row| {
                rows.push(row);
                Ok(())
            })?;
            Ok(rows)
        };
        Ok(self.store().read(read).await?)
    }

    /// Every calendar and every promise, by key.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub(super) async fn promises(
        &self,
    ) -> Result<(BTreeMap<String, Calendar>, BTreeMap<String, Sla>), Error> {
        let read = |rows: Vec<Listed>| rows.into_iter().map(|row| (row.key, row.stored.json));
        let calendars = read(self.every(Kind::Calendar).await?);
        let calendars = calendars.map(|(key, json)| {
            let calendar = parsed("calendar", &key, &json)?;
            Ok((key, calendar))
        });
        let calendars = calendars.collect::<Result<_, Error>>()?;
        let slas = read(self.every(Kind::Sla).await?).map(|(key, json)| {
            let sla = parsed("sla", &key, &json)?;
            Ok((key, sla))
        });
        Ok((calendars, slas.collect::<Result<_, Error>>()?))
    }

    pub(super) async fn decide_shelf(
        &self,
        origin: Origin,
        key: &str,
        shelf: &Shelf,
        expected: Expected,
    ) -> Result<Decided, Error> {
        check_key(key)?;
        let kind = match shelf {
            Shelf::Calendar { .. } => Kind::Calendar,
            Shelf::Sla(_) => Kind::Sla,
        };
        let id = ObjectId::new(kind, key);
        let present = self.present(id.clone(), expected).await?;
        let record = match shelf {
            Shelf::Calendar { name, week } => {
                let before: Option<Calendar> =
                    present.as_ref().map(|row| parsed("calendar", key, &row.json)).transpose()?;
                let (name, week) = (name.clone(), week.clone());
                let calendar = match before {
                    Some(before) => before.replaced_by(name, week, origin.at),
                    None => Calendar { name, week, past: Vec::new() },
                };
                calendar.check().map_err(Error::InvalidInput)?;
                Record::of(&calendar)
            }
            Shelf::Sla(sla) => {
                let calendars = self.every(Kind::Calendar).await?;
                let calendars = calendars.into_iter().map(|row| row.key).collect();
                sla.check(&calendars).map_err(Error::InvalidInput)?;
                Record::of(sla)
            }
        };
        let mut record = record.map_err(|error| Error::Unavailable(error.to_string()))?;
        // Promises that count by it are due at other instants now.
        record.due_at = (kind == Kind::Calendar && present.is_some()).then_some(origin.at);
        let mut changes = origin.changeset(id.for_people());
        let write = Write { expected: present.map(|row| row.revision), after: Some(record) };
        changes.writes.insert(id, write);
        Ok(changes.into())
    }

    pub(super) async fn decide_shelf_removal(
        &self,
        origin: Origin,
        kind: Kind,
        key: &str,
        expected: Expected,
    ) -> Result<Decided, Error> {
        let id = ObjectId::new(kind, key);
        let missing = || Error::NotFound(format!("there is no {} `{key}`", kind.code()));
        let present = self.present(id.clone(), expected).await?.ok_or_else(missing)?;
        let (_, slas) = self.promises().await?;
        let listings = self.every(Kind::Listing).await?;
        let listings = listings.into_iter().map(kept).collect::<Result<Vec<_>, Error>>()?;
        let named = |goals: &Sla| {
            let goals = goals.goals.values().flatten();
            goals.into_iter().any(|goal| goal.calendar.as_deref() == Some(key))
        };
        let user = match kind {
            Kind::Calendar => {
                slas.iter().find(|(_, sla)| named(sla)).map(|(user, _)| format!("sla `{user}`"))
            }
            _ => {
                let uses = |kept: &&KeptListing| kept.record.listing.sla.as_deref() == Some(key);
                listings.iter().find(uses).map(|kept| format!("listing `{}`", kept.key))
            }
        };
        if let Some(user) = user {
            return Err(Error::Refused(format!(
                "{user} uses {} `{key}`: change that first",
                kind.code()
            )));
        }
        let mut changes = origin.changeset(id.for_people());
        changes.writes.insert(id, Write { expected: Some(present.revision), after: None });
        Ok(changes.into())
    }

    pub(super) async fn decide_listing(
        &self,
        call: &Call,
        origin: Origin,
        key: &str,
        wanted: &Listing,
        expected: Expected,
    ) -> Result<Decided, Error> {
        check_key(key)?;
        let present = self.kept_listing(key, expected).await?;
        let pin = self.pin();
        let catalog = pin.catalog().draft();
        wanted.check(catalog, &self.nameable().await?).map_err(Error::InvalidInput)?;
        let audiences = [
            ("eligibility", wanted.eligibility.as_ref()),
            (
                "approval.automatic.audience",
                wanted.approval.automatic.as_ref().and_then(|rule| rule.audience.as_ref()),
            ),
        ];
        for (path, audience) in audiences {
            let Some(audience) = audience else { continue };
            Audiences::new(catalog, [(path, audience)]).map_err(|problems| {
                let first = problems.into_iter().next().map(|problem| problem.message);
                Error::InvalidInput(format!("`{path}`: {}", first.unwrap_or_default()))
            })?;
        }
        let who = super::drafts::principal(call);
        let (stage, created_at) = match &present {
            None => (ListingStage::Draft, origin.at),
            Some(kept) => {
                let editor: Principal = kept.record.editor.clone().into();
                let stage = kept.record.stage()?;
                let stage = listing::step(stage, ListingAct::Edit, &editor, &who, true)
                    .map_err(|refusal| Error::Refused(refusal.to_string()))?;
                (stage, kept.record.created_at)
            }
        };
        let record = ListingRecord {
            listing: wanted.clone(),
            stage: stage.code().into(),
            created_at,
            editor: who.into(),
        };
        written(origin, key, present.map(|kept| kept.revision), &record)
    }

    pub(super) async fn decide_listing_act(
        &self,
        call: &Call,
        origin: Origin,
        key: &str,
        act: ListingAct,
        expected: Expected,
    ) -> Result<Decided, Error> {
        let missing = || Error::NotFound(format!("there is no listing `{key}`"));
        let kept = self.kept_listing(key, expected).await?.ok_or_else(missing)?;
        if act == ListingAct::Publish {
            // What it names may have gone since it was written.
            let pin = self.pin();
            let known = self.nameable().await?;
            kept.record.listing.check(pin.catalog().draft(), &known).map_err(Error::Refused)?;
        }
        let four_eyes = self.setting::<ApprovalSetting>().await?.0.four_eyes;
        let (who, editor) = (super::drafts::principal(call), kept.record.editor.clone().into());
        let stage = listing::step(kept.record.stage()?, act, &editor, &who, four_eyes)
            .map_err(|refusal| Error::Refused(refusal.to_string()))?;
        let record = ListingRecord { stage: stage.code().into(), ..kept.record };
        let moved = ListingMove {
            listing: key.into(),
            title: record.listing.title.clone(),
            by: origin.actor.clone(),
        };
        let event = match act {
            ListingAct::Submit => Some(Event::ListingSubmitted(moved)),
            ListingAct::Publish => Some(Event::ListingPublished(moved)),
            ListingAct::Return => Some(Event::ListingReturned(moved)),
            ListingAct::Retire => Some(Event::ListingRetired(moved)),
            _ => None,
        };
        let at = origin.at;
        let mut decided = written(origin, key, Some(kept.revision), &record)?;
        if let Some(event) = event {
            decided.changes.notices.push(notice(format!("listing/{key}"), at, &event)?);
        }
        Ok(decided)
    }

    /// What a listing may name.
    pub(super) async fn nameable(&self) -> Result<Known, Error> {
        let book = self.open_book().await?;
        let teams = book.book.teams.iter();
        let teams = teams.map(|(key, team)| (key.clone(), team.members.clone())).collect();
        let connectors = book.book.connectors.iter();
        let connectors = connectors.map(|(key, it)| (key.clone(), it.kind.code())).collect();
        let slas: BTreeSet<String> =
            self.every(Kind::Sla).await?.into_iter().map(|row| row.key).collect();
        Ok(Known { teams, slas, connectors })
    }
}

fn kept(row: Listed) -> Result<KeptListing, Error> {
    let record: ListingRecord = parsed("listing", &row.key, &row.stored.json)?;
    Ok(KeptListing { key: row.key, record, revision: row.stored.revision })
}

fn written(
    origin: Origin,
    key: &str,
    expected: Option<Revision>,
    record: &ListingRecord,
) -> Result<Decided, Error> {
    let id = ObjectId::new(Kind::Listing, key);
    let after = Record::of(record).map_err(|error| Error::Unavailable(error.to_string()))?;
    let mut changes = origin.changeset(id.for_people());
    changes.writes.insert(id, Write { expected, after: Some(after) });
    Ok(changes.into())
}
