//! Drafts of the catalog: made, edited, looked at, voted for, published and taken back.

use std::sync::Arc;

use entitlements_core::{Catalog, Draft, Revision};
use serde_json::Value;

use super::{
    App, Call, Error, Expected,
    connectors::notice,
    execute::Decided,
    parsed,
    preview::{Laid, Preview},
};
use crate::{
    ids,
    store::{Listed, Reading, Stored},
    workflow::{
        Changeset, Kind, ObjectId, Origin, Permission, Record, Write,
        draft::{self, DraftRecord, Edits, ObjectRef},
        notice::{Event as Tidings, PublicationMove},
        publication::{self, Act, Context, Effect, Event, Policy, Principal, Publication, Stage},
        settings::ApprovalSetting,
    },
};

/// What a new draft starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartsWith {
    /// Nothing.
    Nothing,
    /// Whatever leads from the live catalog to this one.
    Catalog(Box<Draft>),
    /// Whatever leads back to the catalog that was in force after a commit.
    Past(Revision),
}

/// A change of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DraftEdit {
    /// Call it something else.
    Describe {
        /// What people call it.
        name: Option<String>,
        /// What it is for.
        description: Option<String>,
    },
    /// Make or replace an object.
    Put {
        /// Which.
        object: ObjectRef,
        /// What shall stand there.
        value: Value,
        /// Whether that ends conflicts with what is live: who says so has seen that.
        resolves: bool,
    },
    /// Take an object out of the catalog.
    Retire {
        /// Which.
        object: ObjectRef,
        /// Whether that ends conflicts with what is live.
        resolves: bool,
    },
    /// Leave an object as it is in the live catalog.
    Revert {
        /// Which.
        object: ObjectRef,
    },
    /// Whatever leads from the live catalog to this one, and nothing else.
    Catalog(Box<Draft>),
}

/// A draft with what is kept of it.
#[derive(Debug, Clone)]
pub struct KeptDraft {
    /// Its id.
    pub id: String,
    /// The draft.
    pub record: DraftRecord,
    /// The revision of its last change.
    pub revision: Revision,
}

/// How many drafts are published in one go.
const DUE_MAX: u32 = 100;

impl App {
    /// A draft.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn draft(&self, id: &str) -> Result<KeptDraft, Error> {
        let stored = self.stored_draft(id, Expected::Any).await?;
        let record = parsed("draft", id, &stored.json)?;
        Ok(KeptDraft { id: id.into(), record, revision: stored.revision })
    }

    /// Every draft in one of these stages, by id; in any where there are none.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn drafts(&self, stages: &[Stage]) -> Result<Vec<KeptDraft>, Error> {
        let read = |store: &Reading<'_>| {
            let mut rows = Vec::new();
            store.each_object(Kind::Draft, |row| {
                rows.push(row);
                Ok(())
            })?;
            Ok(rows)
        };
        let all = self.store().read(read).await?.into_iter().map(kept_draft);
        let wanted = |kept: &KeptDraft| {
            stages.is_empty() || stages.iter().any(|stage| stage.code() == kept.record.stage)
        };
        all.filter(|kept| kept.as_ref().map_or(true, wanted)).collect()
    }

    /// The drafts whose time to be published has come.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub(crate) async fn drafts_due(&self) -> Result<Vec<KeptDraft>, Error> {
        let now = self.now();
        let due = self.store().read(move |store| store.due(Kind::Draft, now, DUE_MAX)).await?;
        due.into_iter().map(kept_draft).collect()
    }

    /// The rule for approvals that is in force.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn policy(&self) -> Result<Policy, Error> {
        Ok(self.setting::<ApprovalSetting>().await?.0.into())
    }

    async fn stored_draft(&self, id: &str, expected: Expected) -> Result<Stored, Error> {
        let found = self.present(ObjectId::new(Kind::Draft, id), expected).await?;
        found.ok_or_else(|| Error::NotFound(format!("there is no draft `{id}`")))
    }

    pub(super) async fn decide_new_draft(
        &self,
        call: &Call,
        origin: Origin,
        name: &str,
        description: &str,
        starts_with: &StartsWith,
    ) -> Result<Decided, Error> {
        check_name(name)?;
        let live = self.live().pin().catalog().draft().clone();
        let (edits, restores) = match starts_with {
            StartsWith::Nothing => (Edits::default(), None),
            StartsWith::Catalog(catalog) => (draft::diff(&live, catalog), None),
            StartsWith::Past(revision) => {
                let past = self.catalog_as_of(*revision).await?;
                (draft::diff(&live, past.draft()), Some(*revision))
            }
        };
        let record = DraftRecord {
            name: name.trim().into(),
            description: description.trim().into(),
            created_at: origin.at,
            created_by: origin.actor.clone(),
            base: self.live().catalog_revision(),
            edits,
            restores,
            replaced: None,
            stage: Stage::Draft.code().into(),
            editor: principal(call).into(),
            votes: Vec::new(),
            publish_at: None,
            note: None,
        };
        let id = ids::key_id()?;
        let mut changes = origin.changeset(format!("draft {id}"));
        changes.answer.id = Some(id.clone());
        write(&mut changes, &id, None, &record)?;
        Ok(changes.into())
    }

    pub(super) async fn decide_edit(
        &self,
        call: &Call,
        origin: Origin,
        id: &str,
        edit: &DraftEdit,
        expected: Expected,
    ) -> Result<Decided, Error> {
        let stored = self.stored_draft(id, expected).await?;
        let mut record: DraftRecord = parsed("draft", id, &stored.json)?;
        let live = Arc::clone(self.live().pin().catalog());
        apply(edit, live.draft(), &mut record)?;
        let publication = publication_of(id, &record)?;
        let who = principal(call);
        let context = self.context(call, &who, Effect::UNKNOWN).await?;
        let step = publication::step(&publication, Act::Edit, &context)?;
        let mut changes = origin.changeset(format!("draft {id}"));
        write(&mut changes, id, Some(stored.revision), &record.at(step.publication))?;
        Ok(changes.into())
    }

    pub(super) async fn decide_act(
        &self,
        call: &Call,
        origin: Origin,
        id: &str,
        act: &Act,
        expected: Expected,
    ) -> Result<Decided, Error> {
        let stored = self.stored_draft(id, expected).await?;
        let record: DraftRecord = parsed("draft", id, &stored.json)?;
        let publication = publication_of(id, &record)?;
        let laid = if looks_at_the_effect(act) { Some(self.laid(&record).await?) } else { None };
        let effect = laid.as_ref().map_or(Effect::UNKNOWN, |laid| laid.effect);
        let who = principal(call);
        let context = self.context(call, &who, effect).await?;
        let waited = publication.stage != Stage::Draft;
        let step = publication::step(&publication, act.clone(), &context)?;
        let mut changes = origin.changeset(format!("draft {id}"));
        let mut record = record.at(step.publication);
        if let (true, Some(laid)) = (step.event.publishes(), &laid) {
            record.replaced = laid.over;
            self.publish_into(&mut changes, laid, &record).await?;
        } else if let Some(laid) = &laid {
            // What was decided rests on the catalog that it was laid over.
            changes.reads.insert(ObjectId::catalog(), laid.over);
        }
        if let Event::BrokeGlass { reason } | Event::Rejected { comment: reason } = &step.event {
            changes.origin.reason = Some(reason.clone());
        }
        if let Some(event) = told(&step.event, id, &record, &changes.origin, waited) {
            changes.notices.push(notice(format!("draft/{id}"), changes.origin.at, &event)?);
        }
        write(&mut changes, id, Some(stored.revision), &record)?;
        let then = match step.event {
            Event::SentBack(refusal) => Some(Error::Publication(refusal)),
            _ => None,
        };
        Ok(Decided { changes, then })
    }

    /// The catalog that publishing a draft would make, where it may be published now.
    pub(super) async fn publishable(
        &self,
        call: &Call,
        id: &str,
        expected: Expected,
    ) -> Result<Draft, Error> {
        let stored = self.stored_draft(id, expected).await?;
        let record: DraftRecord = parsed("draft", id, &stored.json)?;
        let laid = self.laid(&record).await?;
        let who = principal(call);
        let context = self.context(call, &who, laid.effect).await?;
        let step = publication::step(&publication_of(id, &record)?, Act::Publish, &context)?;
        match step.event {
            Event::SentBack(refusal) => Err(Error::Publication(refusal)),
            _ => Ok(laid.merged.draft),
        }
    }

    /// Makes the catalog of a draft the one in force, and notes which drafts are rolled back by it.
    async fn publish_into(
        &self,
        changes: &mut Changeset,
        laid: &Laid,
        record: &DraftRecord,
    ) -> Result<(), Error> {
        let catalog = Record::of(&laid.merged.draft).map_err(|error| not_json(&error))?;
        let replaced = Write { expected: laid.over, after: Some(catalog) };
        changes.writes.insert(ObjectId::catalog(), replaced);
        let Some(restored) = record.restores else { return Ok(()) };
        for kept in self.drafts(&[Stage::Published]).await? {
            // One that replaced the restored catalog, or one after it, is undone.
            if kept.record.replaced.is_none_or(|replaced| replaced < restored) {
                continue;
            }
            let published = publication_of(&kept.id, &kept.record)?;
            let undone = kept.record.at(Publication { stage: Stage::RolledBack, ..published });
            write(changes, &kept.id, Some(kept.revision), &undone)?;
            let moved = publication_move(&kept.id, &undone, &changes.origin);
            let event = Tidings::PublicationRolledBack(moved);
            changes.notices.push(notice(format!("draft/{}", kept.id), changes.origin.at, &event)?);
        }
        Ok(())
    }

    /// Whether a catalog may be made the one in force without a draft.
    pub(super) async fn may_replace_catalog(
        &self,
        call: &Call,
        catalog: &Arc<Catalog>,
        breaks_glass: bool,
    ) -> Result<(), Error> {
        if breaks_glass {
            call.actor.may(Permission::BreakGlass)?;
            let reason = call.reason.as_deref().unwrap_or_default().trim();
            return match reason.chars().count() >= publication::REASON_CHARS_MIN {
                true => Ok(()),
                false => Err(Error::Publication(publication::Refusal::ShortReason)),
            };
        }
        if self.is_first() || **self.pin().catalog() == **catalog {
            return Ok(());
        }
        let preview = self.preview(Arc::clone(catalog)).await?;
        if self.needs_approval(&preview).await? { Err(Error::ApprovalRequired) } else { Ok(()) }
    }

    /// Whether a catalog with this effect needs somebody else's approval.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn needs_approval(&self, preview: &Preview) -> Result<bool, Error> {
        let is_first = self.is_first();
        let effect = Effect { losing: preview.losing, is_first, ..Effect::UNKNOWN };
        Ok(self.policy().await?.approvals_needed(&effect) > 0)
    }

    /// Whether there is nothing live that a catalog could hurt.
    fn is_first(&self) -> bool {
        self.live().catalog_revision().is_none() && self.pin().tenant_count() == 0
    }

    async fn context<'c>(
        &self,
        call: &Call,
        actor: &'c Principal,
        effect: Effect,
    ) -> Result<Context<'c>, Error> {
        let may_break_glass = call.actor.may(Permission::BreakGlass).is_ok();
        Ok(Context {
            now: self.now(),
            actor,
            may_break_glass,
            policy: self.policy().await?,
            effect,
        })
    }
}

/// What it takes to do something to a draft.
#[must_use]
pub(super) const fn act_needs(act: &Act) -> Permission {
    match act {
        Act::Edit | Act::Submit | Act::Withdraw | Act::Discard => Permission::EditDrafts,
        Act::Approve { .. } | Act::Reject { .. } => Permission::ApproveDrafts,
        Act::Schedule { .. } | Act::Unschedule | Act::Publish | Act::RollBack => {
            Permission::PublishCatalog
        }
        Act::BreakGlass { .. } => Permission::BreakGlass,
    }
}

/// What people want to hear of a step of a draft. `waited` is whether it had been submitted.
fn told(
    event: &Event,
    id: &str,
    record: &DraftRecord,
    origin: &Origin,
    waited: bool,
) -> Option<Tidings> {
    let moved = publication_move(id, record, origin);
    Some(match event {
        Event::Submitted | Event::SentBack(_) => Tidings::PublicationSubmitted(moved),
        Event::Withdrawn | Event::Rejected { .. } => Tidings::PublicationReturned(moved),
        Event::Discarded if waited => Tidings::PublicationReturned(moved),
        Event::RolledBack => Tidings::PublicationRolledBack(moved),
        event if event.publishes() => Tidings::PublicationPublished(moved),
        _ => return None,
    })
}

fn publication_move(id: &str, record: &DraftRecord, origin: &Origin) -> PublicationMove {
    PublicationMove {
        draft: Some(id.into()),
        name: record.name.clone(),
        by: origin.actor.clone(),
        reason: origin.reason.clone(),
    }
}

fn kept_draft(row: Listed) -> Result<KeptDraft, Error> {
    let record: DraftRecord = parsed("draft", &row.key, &row.stored.json)?;
    Ok(KeptDraft { id: row.key, record, revision: row.stored.revision })
}

fn looks_at_the_effect(act: &Act) -> bool {
    !matches!(act, Act::Edit | Act::Withdraw | Act::Reject { .. } | Act::Discard | Act::RollBack)
}

/// Who stands behind a call.
pub(super) fn principal(call: &Call) -> Principal {
    match call.actor.principal() {
        Some(person) => Principal::Person(person.into()),
        None => Principal::Key(call.actor.name().into()),
    }
}

fn publication_of(id: &str, record: &DraftRecord) -> Result<Publication, Error> {
    record.publication().map_err(|why| Error::Unavailable(format!("draft `{id}`: {why}")))
}

fn write(
    changes: &mut Changeset,
    id: &str,
    expected: Option<Revision>,
    record: &DraftRecord,
) -> Result<(), Error> {
    let due_at = record.publish_at;
    let after = Record { due_at, ..Record::of(record).map_err(|error| not_json(&error))? };
    changes.writes.insert(ObjectId::new(Kind::Draft, id), Write { expected, after: Some(after) });
    Ok(())
}

fn apply(edit: &DraftEdit, live: &Draft, record: &mut DraftRecord) -> Result<(), Error> {
    match edit.clone() {
        DraftEdit::Describe { name, description } => {
            if let Some(name) = name {
                check_name(&name)?;
                record.name = name.trim().into();
            }
            if let Some(description) = description {
                record.description = description.trim().into();
            }
        }
        DraftEdit::Put { object, value, resolves } => {
            if !value.is_object() {
                return Err(Error::InvalidInput(format!("`{object}` takes an object: `{{…}}`")));
            }
            if resolves {
                record.edits.resolve(live, object, Some(value));
            } else {
                record.edits.put(live, object, value);
            }
        }
        DraftEdit::Retire { object, resolves } => {
            let known = object.in_catalog(live).is_some() || record.edits.get(&object).is_some();
            if !known {
                return Err(Error::NotFound(format!("there is no `{object}` to retire")));
            }
            if resolves {
                record.edits.resolve(live, object, None);
            } else {
                record.edits.retire(live, object);
            }
        }
        DraftEdit::Revert { object } => {
            if !record.edits.revert(&object) {
                return Err(Error::NotFound(format!("the draft does not change `{object}`")));
            }
        }
        DraftEdit::Catalog(catalog) => record.edits = draft::diff(live, &catalog),
    }
    Ok(())
}

/// The longest name of a draft, in characters.
const NAME_CHARS_MAX: usize = 100;

fn check_name(name: &str) -> Result<(), Error> {
    let length = name.trim().chars().count();
    if (1..=NAME_CHARS_MAX).contains(&length) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::InvalidInput(format!(
        "a draft's name takes 1 to {NAME_CHARS_MAX} characters on one line: say what it changes, \
         such as `Spring prices`"
    )))
}

fn not_json(error: &serde_json::Error) -> Error {
    Error::Unavailable(format!("a document cannot be written: {error}"))
}
