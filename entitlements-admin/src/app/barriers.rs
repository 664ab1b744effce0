//! Publications that all sidecars switch to at one instant, or none.

use std::time::Duration;

use entitlements_core::{Revision, Timestamp};

use super::{App, Call, Error, Expected, execute::Decided, live::Held, sync::SILENCE_MAX};
use crate::{
    ids,
    workflow::{
        ObjectId, Origin, Record, Write,
        barrier::{self, Barrier, DEADLINE_S_MAX, Decision, Stage},
        publication::Act,
    },
};

/// A barrier, and how far it has come.
#[derive(Debug, Clone)]
pub struct BarrierState {
    /// The commit of its last change. Of a committed one: what sidecars switch to.
    pub revision: Revision,
    /// The barrier.
    pub barrier: std::sync::Arc<Barrier>,
    /// How many live sidecars have prepared it, and how many there are.
    pub prepared: (usize, usize),
}

impl App {
    /// The publication that sidecars prepare, or switched to last.
    ///
    /// # Errors
    /// Where there was none yet.
    pub fn barrier(&self) -> Result<BarrierState, Error> {
        let none = || Error::NotFound("nothing was published with a barrier yet".into());
        let Held { revision, barrier, .. } = self.live().barrier().ok_or_else(none)?;
        let (members, now) = (self.members(), self.now());
        let live = members.iter().filter(|member| member.is_live(now));
        let prepared = live.clone().filter(|member| member.has_prepared(&barrier.id)).count();
        Ok(BarrierState { revision, barrier, prepared: (prepared, live.count()) })
    }

    /// What is to be done about the barrier that is being prepared, and its id.
    pub(crate) fn barrier_decision(&self) -> Option<(String, Decision)> {
        let held = self.live().barrier()?;
        let barrier = held.barrier;
        if !matches!(barrier.stage, Stage::Preparing {}) {
            return None;
        }
        let decision = barrier::decide(&barrier, &self.members(), SILENCE_MAX, self.now());
        Some((barrier.id.clone(), decision))
    }

    pub(super) async fn decide_barrier_start(
        &self,
        call: &Call,
        origin: Origin,
        (draft, expected): (&str, Expected),
        (quorum_percent, deadline_s): (u8, u64),
    ) -> Result<Decided, Error> {
        if !(1..=100).contains(&quorum_percent) {
            return Err(Error::InvalidInput(format!(
                "`{quorum_percent}` is no share of the sidecars: use 1 to 100 percent"
            )));
        }
        if !(1..=DEADLINE_S_MAX).contains(&deadline_s) {
            return Err(Error::InvalidInput(format!(
                "`deadline_s={deadline_s}` is no time to prepare: use 1 to {DEADLINE_S_MAX} seconds"
            )));
        }
        let present = self.held().await?;
        if let Some((_, Barrier { stage: Stage::Preparing {}, draft, .. })) = &present {
            return Err(Error::Refused(format!(
                "sidecars are preparing draft `{draft}`: wait for that, or abort it first"
            )));
        }
        let (started_by, started_at) = (call.actor.name().to_owned(), origin.at);
        let catalog = self.publishable(call, draft, expected).await?;
        let barrier = Barrier {
            id: ids::key_id()?,
            draft: draft.into(),
            started_by,
            started_at,
            deadline: started_at.plus(Duration::from_secs(deadline_s)),
            quorum_percent,
            stage: Stage::Preparing {},
            catalog,
        };
        let mut changes = origin.changeset(format!("draft {draft}"));
        changes.answer.id = Some(barrier.id.clone());
        let expected = present.map(|(revision, _)| revision);
        changes.writes.insert(ObjectId::barrier(), kept(&barrier, expected)?);
        Ok(changes.into())
    }

    /// Publishes the draft and names the instant, in one commit. Where the draft would make another
    /// catalog by now than the one that was prepared, nobody switches.
    pub(super) async fn decide_barrier_commit(
        &self,
        call: &Call,
        origin: Origin,
        id: &str,
        activate_at: Timestamp,
    ) -> Result<Decided, Error> {
        let (revision, barrier) = self.preparing(id).await?;
        let publishing =
            self.decide_act(call, origin.clone(), &barrier.draft, &Act::Publish, Expected::Any);
        let mut decided = match publishing.await {
            Ok(decided) => decided,
            Err(error @ (Error::Publication(_) | Error::Conflict(_) | Error::NotFound(_))) => {
                return self.decide_barrier_abort(origin, id, &error.to_string()).await;
            }
            Err(error) => return Err(error),
        };
        let written = decided.changes.writes.get(&ObjectId::catalog());
        let catalog = written.and_then(|write| write.after.as_ref()).map(|record| &record.json);
        let prepared = Record::of(&barrier.catalog).map_err(|error| not_json(&error))?.json;
        if decided.then.is_some() || catalog != Some(&prepared) {
            let why = "the draft, or the catalog under it, was changed meanwhile";
            return self.decide_barrier_abort(origin, id, why).await;
        }
        let committed = Barrier { stage: Stage::Committed { activate_at }, ..barrier };
        decided.changes.writes.insert(ObjectId::barrier(), kept(&committed, Some(revision))?);
        Ok(decided)
    }

    pub(super) async fn decide_barrier_abort(
        &self,
        mut origin: Origin,
        id: &str,
        reason: &str,
    ) -> Result<Decided, Error> {
        let (revision, barrier) = self.preparing(id).await?;
        let aborted = Barrier { stage: Stage::Aborted { reason: reason.into() }, ..barrier };
        origin.reason = Some(reason.into());
        let mut changes = origin.changeset(format!("draft {}", aborted.draft));
        changes.writes.insert(ObjectId::barrier(), kept(&aborted, Some(revision))?);
        Ok(changes.into())
    }

    async fn held(&self) -> Result<Option<(Revision, Barrier)>, Error> {
        let stored = self.store().read(|store| store.object(&ObjectId::barrier())).await?;
        let read = |row: crate::store::Stored| {
            Ok((row.revision, super::parsed::<Barrier>("the", "barrier", &row.json)?))
        };
        stored.map(read).transpose()
    }

    async fn preparing(&self, id: &str) -> Result<(Revision, Barrier), Error> {
        match self.held().await? {
            Some((revision, barrier)) if barrier.id == id => match barrier.stage {
                Stage::Preparing {} => Ok((revision, barrier)),
                stage => Err(Error::Refused(format!("the barrier is {} already", stage.code()))),
            },
            _ => Err(Error::NotFound(format!("there is no barrier `{id}`"))),
        }
    }
}

fn kept(barrier: &Barrier, expected: Option<Revision>) -> Result<Write, Error> {
    let due_at = matches!(barrier.stage, Stage::Preparing {}).then_some(barrier.deadline);
    let record = Record::of(barrier).map_err(|error| not_json(&error))?;
    Ok(Write { expected, after: Some(Record { due_at, ..record }) })
}

fn not_json(error: &serde_json::Error) -> Error {
    Error::Unavailable(format!("a document cannot be written: {error}"))
}
