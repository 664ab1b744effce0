//! What every part of a running sidecar shares: the active snapshot and what is known about it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use entitlements_core::{
    Entitlements, Revision, Snapshot, Timestamp,
    document::{CandidateStatus, Rejection},
    signed::{Header, Heartbeat, Tidings},
};
use tokio::sync::watch;

use crate::{
    clock::Clock,
    denials::DenialCounts,
    metrics::Metrics,
    push::Sinks,
    standing::{Moment, Standing, State},
    sync::Admitted,
};

/// How many revisions can be pinned.
pub(crate) const HELD_MAX: usize = 8;

/// How many may be held until flags agree about one of them.
const HELD_FOR_FLAGS_MAX: usize = 256;

/// The active snapshot and what is known about it.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) denials: DenialCounts,
    pub(crate) sinks: Sinks,
    live: Entitlements,
    standing: ArcSwap<Standing>,
    /// The last revisions of this epoch, the newest first.
    held: ArcSwap<VecDeque<Arc<Snapshot>>>,
    /// What is to be served from an instant on.
    armed: Mutex<Option<(Timestamp, Admitted)>>,
    tidings: ArcSwap<Tidings>,
    notes: Mutex<Notes>,
    /// Those who change what is served take turns.
    turn: Mutex<()>,
    pulse: watch::Sender<u64>,
    hurry: watch::Sender<u64>,
    sinks_changed: watch::Sender<u64>,
}

/// What is told about, and decides nothing.
#[derive(Debug, Default)]
struct Notes {
    trouble: Option<String>,
    candidate: Option<CandidateStatus>,
    rejected: Option<Rejection>,
}

impl Serving {
    /// With nothing to serve yet. `empty` answers nobody; it only gives the handle a start.
    pub(crate) fn new(clock: Clock, empty: Snapshot, poll_wait_s: u32) -> Self {
        Self {
            clock,
            metrics: Metrics::new(),
            denials: DenialCounts::default(),
            sinks: Sinks::default(),
            sinks_changed: watch::Sender::new(0),
            live: Entitlements::new(empty),
            standing: ArcSwap::from_pointee(Standing::cold(poll_wait_s)),
            held: ArcSwap::default(),
            armed: Mutex::default(),
            tidings: ArcSwap::default(),
            notes: Mutex::default(),
            turn: Mutex::default(),
            pulse: watch::Sender::new(0),
            hurry: watch::Sender::new(0),
        }
    }

    /// Takes a snapshot into service, at once or at the instant that its publisher named.
    pub(crate) fn activate(&self, admitted: Admitted, now: Moment) {
        if !admitted.known {
            self.change(|standing| standing.preparing(None));
        }
        let due = admitted.due_after(now.at);
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        *armed = None;
        match due {
            Some(at) if self.state_at(now) != State::Cold => {
                // The word is about what is armed, and until then about what is served.
                self.hear(&admitted.header, now, admitted.damaged);
                self.change(|standing| standing.due(Some(at)));
                *armed = Some((at, admitted));
            }
            // Nothing is served before its instant, not even where there is nothing else.
            Some(at) => *armed = Some((at, admitted)),
            None => {
                drop(armed);
                self.serve(&admitted, now);
            }
        }
        self.pulse();
    }

    /// When something is to be served that is here already.
    pub(crate) fn armed_for(&self) -> Option<Timestamp> {
        let armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        armed.as_ref().map(|(at, _)| *at)
    }

    /// Serves what is armed once its instant has come. Says how long it takes until then.
    pub(crate) fn switch_when_due(&self, now: Moment) -> Option<Duration> {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, admitted) = armed.take()?;
        if at > now.at {
            let wait = at.since(now.at);
            *armed = Some((at, admitted));
            return Some(wait);
        }
        drop(armed);
        self.serve(&admitted, now);
        tracing::info!(revision = admitted.basis.revision.0, "switched to what was prepared");
        self.pulse();
        None
    }

    fn serve(&self, admitted: &Admitted, now: Moment) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let Admitted { snapshot, header, .. } = admitted;
        let is_new_epoch = header.epoch != self.standing().epoch();
        if self.live.publish(snapshot.clone()).is_err() {
            // The gate let it in although its revision is lower: the epoch has risen, which is how
            // an admin that was restored from a backup starts again.
            self.live.publish_epoch(snapshot.clone());
        }
        self.hold(snapshot, is_new_epoch);
        self.hear(header, now, admitted.damaged);
        self.change(|standing| standing.due(None));
        if !admitted.known {
            self.metrics.activated();
        }
    }

    /// Keeps a snapshot for those who pin its revision.
    fn hold(&self, snapshot: &Snapshot, is_new_epoch: bool) {
        let mut held = VecDeque::clone(&self.held.load());
        if is_new_epoch {
            held.clear();
        }
        held.retain(|kept| kept.revision() != snapshot.revision());
        held.push_front(Arc::new(snapshot.clone()));
        // What flags agree about stays until they agree about something later.
        let settled = self.settled().unwrap_or(snapshot.revision());
        let needed = held.iter().take_while(|kept| kept.revision() > settled).count() + 1;
        held.truncate(needed.clamp(HELD_MAX, HELD_FOR_FLAGS_MAX));
        self.held.store(Arc::new(held));
    }

    /// Notes that what was taken last is still current.
    pub(crate) fn confirm(&self, heartbeat: &Heartbeat, now: Moment) {
        let before = self.state_at(now);
        self.hear(&heartbeat.header, now, false);
        if heartbeat.tidings.candidate.is_none() {
            self.change(|standing| standing.preparing(None));
            self.note(|notes| notes.candidate = None);
        }
        let known = self.tidings.swap(Arc::new(heartbeat.tidings.clone()));
        self.metrics.confirmed();
        if before != self.state_at(now) || *known != heartbeat.tidings {
            self.pulse();
        }
    }

    fn hear(&self, header: &Header, now: Moment, damaged: bool) {
        self.change(|standing| {
            standing.heard(now, header.epoch, header.issued_at, header.max_age_s, damaged)
        });
    }

    fn change(&self, change: impl Fn(Standing) -> Standing) {
        self.standing.rcu(|standing| Arc::new(change(**standing)));
    }

    /// Notes what became of a candidate. Where it was prepared, silence counts sooner.
    pub(crate) fn looked_at(&self, candidate: CandidateStatus, silence_max: Duration) {
        if candidate.rejected.is_none() {
            self.change(|standing| standing.preparing(Some(silence_max)));
        }
        self.note(|notes| notes.candidate = Some(candidate));
        self.pulse();
    }

    /// What became of the candidate that was sent last.
    pub(crate) fn candidate(&self) -> Option<CandidateStatus> {
        self.notes().candidate.clone()
    }

    /// Swaps in the same revision, its tenants prepared for now.
    pub(crate) fn refresh(&self, now: Timestamp) -> Option<Arc<Snapshot>> {
        let next = self.live.pin().refreshed(now)?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.live.pin().revision() != next.revision() || self.live.publish(next.clone()).is_err()
        {
            // A newer one in the meantime is as good.
            return None;
        }
        self.hold(&next, false);
        Some(self.live.snapshot())
    }

    /// The handle on what is served, for programs that have the sidecar inside themselves.
    pub(crate) fn entitlements(&self) -> &Entitlements {
        &self.live
    }

    /// One consistent view.
    pub(crate) fn pin(&self) -> entitlements_core::Pin {
        self.live.pin()
    }

    /// A revision that is still held.
    pub(crate) fn held(&self, revision: Revision) -> Option<Arc<Snapshot>> {
        self.held.load().iter().find(|kept| kept.revision() == revision).cloned()
    }

    /// The newest that is held and not newer than a revision.
    pub(crate) fn held_at_most(&self, revision: Revision) -> Option<Arc<Snapshot>> {
        self.held.load().iter().find(|kept| kept.revision() <= revision).cloned()
    }

    /// The latest revision about which every sink of flags and the checks agree: of this sidecar, or
    /// as the admin told of all. Absent where flags are pushed nowhere.
    pub(crate) fn settled(&self) -> Option<Revision> {
        match (self.sinks.settled(), self.tidings().settled) {
            (Some(ours), Some(all)) => Some(ours.min(all)),
            (ours, all) => ours.or(all),
        }
    }

    /// The revisions that can be pinned, the newest first.
    pub(crate) fn held_revisions(&self) -> Vec<Revision> {
        self.held.load().iter().map(|kept| kept.revision()).collect()
    }

    /// What the publisher told of other sidecars.
    pub(crate) fn tidings(&self) -> Arc<Tidings> {
        self.tidings.load_full()
    }

    pub(crate) fn standing(&self) -> Standing {
        **self.standing.load()
    }

    fn state_at(&self, now: Moment) -> State {
        self.standing().state(now)
    }

    pub(crate) fn state(&self) -> State {
        self.state_at(self.clock.now())
    }

    /// The revision being served; absent while there is none.
    pub(crate) fn revision(&self) -> Option<Revision> {
        (self.state() != State::Cold).then(|| self.pin().revision())
    }

    /// Wakes whoever waits for a change of the snapshot or of its state.
    pub(crate) fn pulses(&self) -> watch::Receiver<u64> {
        self.pulse.subscribe()
    }

    fn pulse(&self) {
        self.pulse.send_modify(|beats| *beats += 1);
    }

    /// A sink is another way than it was: the admin is to hear of it.
    pub(crate) fn sinks_changed(&self) {
        self.sinks_changed.send_modify(|beats| *beats += 1);
    }

    /// Where to be told that a sink is another way.
    pub(crate) fn sink_changes(&self) -> watch::Receiver<u64> {
        self.sinks_changed.subscribe()
    }

    /// Somebody waits for a revision that is not there: a question that is put off is asked now.
    pub(crate) fn hurry(&self) {
        self.hurry.send_modify(|beats| *beats += 1);
    }

    /// Where to be told that somebody waits.
    pub(crate) fn hurries(&self) -> watch::Receiver<u64> {
        self.hurry.subscribe()
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, note: impl FnOnce(&mut Notes)) {
        note(&mut self.notes());
    }

    /// Keeps the last thing that went wrong, until something goes right. Says whether it is news.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) -> bool {
        let mut notes = self.notes();
        let news = notes.trouble != trouble;
        if trouble.is_none() {
            notes.rejected = None;
        }
        notes.trouble = trouble;
        news
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.notes().trouble.clone()
    }

    /// Keeps what was refused last, until something is accepted.
    pub(crate) fn set_rejected(&self, rejection: Rejection) {
        self.note(|notes| notes.rejected = Some(rejection));
        self.pulse();
    }

    pub(crate) fn rejected(&self) -> Option<Rejection> {
        self.notes().rejected.clone()
    }
}
