//! Work that time brings, not the admin.

use std::{sync::Arc, time::Duration};

use super::{SharedGate, gate::Gate};
use crate::{serving::Serving, stop::Stop};

/// Keeps tenants prepared for the present, and the floor of the clock on disk.
#[derive(Debug)]
pub(crate) struct Upkeep {
    serving: Arc<Serving>,
    gate: SharedGate,
}

impl Upkeep {
    pub(super) fn new(serving: Arc<Serving>, gate: SharedGate) -> Self {
        Self { serving, gate }
    }

    pub(crate) async fn run(self, mut stop: Stop) {
        let mut floor = tokio::time::interval(FLOOR_EVERY);
        let mut pulses = self.serving.pulses();
        loop {
            let edge = self.next_edge();
            tokio::select! {
                _ = floor.tick() => self.write_floor().await,
                () = tokio::time::sleep(edge) => self.refresh().await,
                _ = pulses.changed() => {}
                () = stop.told() => break,
            }
        }
        self.write_floor().await;
    }

    /// When some tenant's answers change next. Not more often than each second.
    fn next_edge(&self) -> Duration {
        let now = self.serving.clock.now().at;
        let edge = self.serving.pin().prepared_until();
        edge.since(now).clamp(REFRESH_FIRST, REFRESH_LAST)
    }

    async fn refresh(&self) {
        let (serving, gate) = (self.serving.clone(), self.gate.clone());
        let refreshed = move || {
            if let Some(snapshot) = serving.refresh(serving.clock.now().at) {
                gate.lock().refreshed(&snapshot);
            }
        };
        let _ = tokio::task::spawn_blocking(refreshed).await;
    }

    async fn write_floor(&self) {
        let now = self.serving.clock.now().at;
        let gate = self.gate.clone();
        let written = tokio::task::spawn_blocking(move || gate.lock().write_floor(now));
        if let Ok(Err(error)) = written.await {
            tracing::warn!("the time cannot be kept on disk: {error}");
        }
    }
}

/// Serves what is armed at its instant, by this host's clock.
pub(super) async fn switch(serving: Arc<Serving>, gate: SharedGate, mut stop: Stop) {
    let mut pulses = serving.pulses();
    loop {
        pulses.mark_unchanged();
        // A clock may be set, so nobody sleeps for long.
        let pause = match serving.armed_for() {
            Some(_) => switch_now(&serving, &mut gate.lock()),
            None => None,
        };
        let pause = pause.unwrap_or(REFRESH_LAST).min(SWITCH_LOOK);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = pulses.changed() => {}
            () = stop.told() => return,
        }
    }
}

/// Serves what is armed where its instant has come. Says how long it takes until then.
pub(super) fn switch_now(serving: &Serving, gate: &mut Gate) -> Option<Duration> {
    let now = serving.clock.now();
    if serving.armed_for().is_some_and(|at| at <= now.at)
        && let Err(error) = gate.write_floor(now.at)
    {
        // Others switch now, so this one does; should it die and its clock go back, it may go back.
        tracing::warn!("the time of a switch cannot be kept on disk: {error}");
    }
    serving.switch_when_due(now)
}

const FLOOR_EVERY: Duration = Duration::from_secs(60);
const REFRESH_FIRST: Duration = Duration::from_secs(1);
const REFRESH_LAST: Duration = Duration::from_secs(60);
const SWITCH_LOOK: Duration = Duration::from_secs(1);
