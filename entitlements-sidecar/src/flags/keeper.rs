//! Keeps the flags of what is served, for everything that hands them on.

use std::{sync::Arc, time::Duration};

use entitlements_core::{Revision, Snapshot, Timestamp};
use tokio::sync::watch;

use super::{
    FlagSet, NAMED_MAX,
    flagd::{self, Definition},
    gate::Gated,
};
use crate::{serving::Serving, standing::State, stop::Stop};

/// The flags of a world.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) epoch: u64,
    pub(crate) revision: Revision,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) at: Timestamp,
    pub(crate) gated: Arc<Gated>,
}

/// Where the flags can be had, as rules and as a definition for flagd.
#[derive(Debug, Clone)]
pub(crate) struct Flags {
    kept: Arc<watch::Sender<Option<Kept>>>,
    definition: Arc<watch::Sender<Option<Arc<Definition>>>>,
    environment: Arc<str>,
}

impl Flags {
    pub(crate) fn new(environment: &str) -> Self {
        Self {
            kept: Arc::new(watch::Sender::new(None)),
            definition: Arc::new(watch::Sender::new(None)),
            environment: environment.into(),
        }
    }

    /// The flags as they are, and where to wait for others.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Kept>> {
        self.kept.subscribe()
    }

    /// The definition as it is, and where to wait for another.
    pub(crate) fn definitions(&self) -> watch::Receiver<Option<Arc<Definition>>> {
        self.definition.subscribe()
    }

    pub(crate) fn now(&self) -> Option<Kept> {
        self.kept.borrow().clone()
    }

    /// Writes the definition anew. One that must not be sent leaves the last good one.
    fn define(&self) {
        let Some(kept) = self.now() else { return };
        match flagd::definition(&kept.gated, kept.revision, &self.environment) {
            Ok(definition) => {
                self.definition.send_if_modified(|known| {
                    // The revision alone is no news to clients.
                    let is_news = known.as_ref().is_none_or(|it| it.flags != definition.flags);
                    if is_news {
                        *known = Some(Arc::new(definition));
                    }
                    is_news
                });
            }
            Err(why) => tracing::error!("the flags cannot be told: {why}"),
        }
    }

    /// Works out the flags of a world on top of those before.
    pub(crate) fn take(
        &self,
        epoch: u64,
        snapshot: &Arc<Snapshot>,
        at: Timestamp,
        floor: Revision,
    ) {
        let set = FlagSet::of(snapshot, at, NAMED_MAX);
        let revision = snapshot.revision();
        let before = self.now().filter(|kept| kept.epoch == epoch);
        let gated = match before {
            Some(kept) => kept.gated.with(revision, set).collapsed(floor),
            None => Gated::new(revision, set),
        };
        let gated = Arc::new(gated);
        self.kept.send_replace(Some(Kept {
            epoch,
            revision,
            snapshot: snapshot.clone(),
            at,
            gated,
        }));
        self.define();
    }

    /// Lets go of levels that nobody asks for any more.
    fn collapse(&self, floor: Revision, at: Timestamp) {
        let collapsed = self.kept.send_if_modified(|kept| {
            let Some(kept) = kept else { return false };
            let collapsed = kept.gated.collapsed(floor);
            let is_news = collapsed != *kept.gated;
            if is_news {
                (kept.gated, kept.at) = (Arc::new(collapsed), at);
            }
            is_news
        });
        if collapsed {
            self.define();
        }
    }
}

/// Follows what is served until it is told to stop.
pub(crate) async fn keep(flags: Flags, serving: Arc<Serving>, mut stop: Stop) {
    let mut pulses = serving.pulses();
    let mut seen = None;
    let mut edge: Option<Timestamp> = None;
    loop {
        pulses.mark_unchanged();
        let now = serving.clock.now();
        if serving.state() != State::Cold {
            let (epoch, snapshot) = (serving.standing().epoch(), serving.entitlements().snapshot());
            let floor = floor(&serving);
            let current = (epoch, snapshot.revision());
            if seen != Some(current) || edge.is_some_and(|edge| edge <= now.at) {
                let flags = flags.clone();
                let work = move || {
                    flags.take(epoch, &snapshot, now.at, floor);
                    snapshot.next_change(now.at)
                };
                edge = tokio::task::spawn_blocking(work).await.unwrap_or(None);
                seen = Some(current);
            } else {
                flags.collapse(floor, now.at);
            }
        }
        let pause = edge.map_or(LOOK_EVERY, |edge| edge.since(now.at).min(LOOK_EVERY));
        tokio::select! {
            () = tokio::time::sleep(pause.max(LOOK_FIRST)) => {}
            _ = pulses.changed() => {}
            () = stop.told() => return,
        }
    }
}

/// Below this revision nobody asks: not the fleet, and nobody who pinned one that is held here.
fn floor(serving: &Serving) -> Revision {
    let watermark = serving.tidings().watermark.unwrap_or(Revision(0));
    let held = serving.held_revisions();
    held.last().map_or(watermark, |oldest| watermark.min(*oldest))
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_FIRST: Duration = Duration::from_millis(1);
