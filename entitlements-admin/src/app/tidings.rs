//! What people want to hear of although nobody did anything: edges of time, and how sidecars are.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use entitlements_core::{Revision, Timestamp};

use super::{Actor, App, Command, Error, connectors::notice, execute::Decided};
use crate::{
    app::execute::apart,
    store::Note,
    workflow::{
        Kind, ObjectId, Origin, Record, Write,
        edges::{Edges, EdgesSeen, edges},
        settings::{OutboxSetting, Setting},
        watch::{self, SidecarsTold},
    },
};

/// Under what it is noted how far the edges were looked at.
const EDGES: &str = "edges";
/// How often that is noted where there was nothing to tell.
const NOTE_EVERY: Duration = Duration::from_secs(3_600);
/// How many edges one commit tells of.
const EDGES_MAX: usize = 500;
const DAY_S: u64 = 86_400;

/// What is known of the edges that come.
#[derive(Debug, Default)]
pub(super) struct EdgesAhead(Mutex<Option<Ahead>>);

#[derive(Debug, Clone, Copy)]
struct Ahead {
    /// As of which commit.
    revision: Revision,
    /// The first one.
    next: Option<Timestamp>,
}

impl App {
    /// Tells of what began or ended by now, each once.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn tell_edges(&self) -> Result<(), Error> {
        let now = self.now();
        let ahead = || self.0.edges.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let revision = self.revision();
            let is_quiet = |ahead: &Ahead| {
                ahead.revision == revision && ahead.next.is_none_or(|next| now < next)
            };
            if ahead().as_ref().is_some_and(is_quiet) {
                return Ok(());
            }
            let through = self.edges_through(now).await?;
            let found = self.edges(through, now).await?;
            if found.due.is_empty() {
                if now.since(through) >= NOTE_EVERY {
                    let key = "through".into();
                    self.keep_notes(vec![Note::Seen { topic: EDGES, key, at: now }]).await?;
                }
                *ahead() = Some(Ahead { revision, next: found.next });
                return Ok(());
            }
            self.execute(&Actor::local("clock"), Command::TellEdges { now }).await?;
        }
    }

    /// When something begins or ends next, where that is known.
    pub(super) fn next_edge(&self) -> Option<Timestamp> {
        let ahead = self.0.edges.0.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.and_then(|ahead| ahead.next)
    }

    /// Through when it was told what began and ended. A new store knows of nothing before now.
    async fn edges_through(&self, now: Timestamp) -> Result<Timestamp, Error> {
        let (seen, _) = self.setting::<EdgesSeen>().await?;
        let noted = self.store().read(|store| store.note(EDGES, "through")).await?;
        let noted = noted.map(|(_, at)| at);
        match seen.through.max(noted) {
            Some(through) => Ok(through),
            None => {
                let key = "through".into();
                self.keep_notes(vec![Note::Seen { topic: EDGES, key, at: now }]).await?;
                Ok(now)
            }
        }
    }

    async fn edges(&self, after: Timestamp, until: Timestamp) -> Result<Edges, Error> {
        let days = self.setting::<OutboxSetting>().await?.0.lead_days;
        let lead = Duration::from_secs(u64::from(days) * DAY_S);
        let pin = self.pin();
        // Many tenants take a while to look at: not on the threads that serve others.
        apart(move || {
            let tenants = pin.tenants().map(|view| (view.key(), view.tenant()));
            edges(pin.catalog().draft(), tenants, lead, (after, until))
        })
        .await
    }

    pub(super) async fn decide_edges(
        &self,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Decided, Error> {
        let (_, revision) = self.setting::<EdgesSeen>().await?;
        let mut due = self.edges(self.edges_through(now).await?, now).await?.due;
        let mut through = now;
        if due.len() > EDGES_MAX {
            // Those of one instant stay together: the mark is an instant.
            let last = due.get(EDGES_MAX).map_or(now, |edge| edge.at);
            let whole = due.iter().take_while(|edge| edge.at < last).count();
            let kept = if whole == 0 {
                due.iter().take_while(|edge| edge.at == last).count()
            } else {
                whole
            };
            due.truncate(kept);
            through = due.last().map_or(now, |edge| edge.at);
        }
        let mut changes = origin.changeset("what began and ended");
        for edge in &due {
            let notice = notice(edge.subject.as_str(), edge.at, &edge.event)?;
            changes.notices.push(match &edge.tenant {
                Some(tenant) => notice.of_tenant(tenant.as_str()),
                None => notice,
            });
        }
        let seen = EdgesSeen { through: Some(through) };
        changes.writes.insert(setting_id::<EdgesSeen>(), setting_write(&seen, revision)?);
        Ok(changes.into())
    }

    /// Tells of sidecars that went stale, are back, or refused something, each once.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn tell_sidecars(&self) -> Result<(), Error> {
        self.hear_others().await?;
        let (told, _) = self.setting::<SidecarsTold>().await?;
        let (news, _) = watch::look(&told, &self.members(), self.now());
        if !news.is_empty() {
            self.execute(&Actor::local("watch"), Command::TellSidecars).await?;
        }
        Ok(())
    }

    pub(super) async fn decide_sidecars(&self, origin: Origin) -> Result<Decided, Error> {
        let (told, revision) = self.setting::<SidecarsTold>().await?;
        let (news, next) = watch::look(&told, &self.members(), origin.at);
        let mut changes = origin.changeset("how sidecars are");
        let at = changes.origin.at;
        for (subject, event) in &news {
            changes.notices.push(notice(subject.as_str(), at, event)?);
        }
        changes.writes.insert(setting_id::<SidecarsTold>(), setting_write(&next, revision)?);
        Ok(changes.into())
    }
}

fn setting_id<S: Setting>() -> ObjectId {
    ObjectId::new(Kind::Setting, S::NAME)
}

fn setting_write<S: Setting>(setting: &S, expected: Option<Revision>) -> Result<Write, Error> {
    let record = Record::of(setting).map_err(|error| Error::Unavailable(error.to_string()))?;
    Ok(Write { expected, after: Some(record) })
}
