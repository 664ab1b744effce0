//! What every part of a running sidecar shares: the active snapshot and what is known about it.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use entitlements_core::{Entitlements, Revision, Snapshot, Timestamp, signed::Header};
use tokio::sync::watch;

use crate::{
    clock::Clock,
    metrics::Metrics,
    standing::{Moment, Standing, State},
    sync::Admitted,
};

/// The active snapshot and what is known about it.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    live: ArcSwap<Entitlements>,
    standing: ArcSwap<Standing>,
    pulse: watch::Sender<u64>,
    trouble: Mutex<Option<String>>,
}

impl Serving {
    /// With nothing to serve yet. `empty` answers nobody; it only gives the handle a start.
    pub(crate) fn new(clock: Clock, empty: Snapshot, poll_wait_s: u32) -> Self {
        Self {
            clock,
            metrics: Metrics::new(),
            live: ArcSwap::from_pointee(Entitlements::new(empty)),
            standing: ArcSwap::from_pointee(Standing::cold(poll_wait_s)),
            pulse: watch::Sender::new(0),
            trouble: Mutex::new(None),
        }
    }

    /// Takes a snapshot into service.
    pub(crate) fn activate(&self, admitted: &Admitted, now: Moment) {
        let Admitted { snapshot, header, .. } = admitted;
        if self.entitlements().publish(snapshot.clone()).is_err() {
            // The gate let it in although its revision is lower: the epoch has risen, which is how
            // an admin that was restored from a backup starts again.
            self.live.store(Arc::new(Entitlements::new(snapshot.clone())));
        }
        let standing = self.standing.load().heard(
            now,
            header.epoch,
            header.issued_at,
            header.max_age_s,
            admitted.damaged,
        );
        self.standing.store(Arc::new(standing));
        if !admitted.known {
            self.metrics.activated();
        }
        self.pulse();
    }

    /// Notes that what is being served is still current.
    pub(crate) fn confirm(&self, header: &Header, now: Moment) {
        let before = **self.standing.load();
        let after = before.heard(now, header.epoch, header.issued_at, header.max_age_s, false);
        self.standing.store(Arc::new(after));
        self.metrics.confirmed();
        if before.state(now) != after.state(now) {
            self.pulse();
        }
    }

    /// Swaps in the same revision, its tenants prepared for now.
    pub(crate) fn refresh(&self, now: Timestamp) {
        let entitlements = self.entitlements();
        if let Some(next) = entitlements.pin().refreshed(now) {
            // A newer one in the meantime is as good.
            let _ = entitlements.publish(next);
        }
    }

    pub(crate) fn entitlements(&self) -> Arc<Entitlements> {
        self.live.load_full()
    }

    /// One consistent view.
    pub(crate) fn pin(&self) -> entitlements_core::Pin {
        self.live.load().pin()
    }

    pub(crate) fn standing(&self) -> Standing {
        **self.standing.load()
    }

    pub(crate) fn state(&self) -> State {
        self.standing().state(self.clock.now())
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

    /// Keeps the last thing that went wrong, until something goes right. Says whether it is news.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) -> bool {
        let mut last = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *last != trouble;
        *last = trouble;
        news
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
