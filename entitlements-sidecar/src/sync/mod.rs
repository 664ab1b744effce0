//! Keeping in step with the admin: ask, verify, keep, swap.

mod client;
mod disk;
mod gate;
mod machine;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use self::{
    client::Fetched,
    disk::{Disk, Mark, Stored},
    gate::Gate,
    machine::{Basis, Machine, Reply},
};
pub(crate) use self::{
    client::{FetchError, Upstream},
    gate::{Admitted, Refusal},
};
use crate::{clock, serving::Serving, stop::Stop};
use entitlements_core::{
    Timestamp,
    signed::{PublicKey, Trust},
};

/// The folder is not fit to start from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(
        "it holds snapshots of the environment `{0}` under another trust root or name than given; \
         give another folder with --data, or empty this one"
    )]
    Foreign(String),
}

/// The gate and what lies on disk, opened before anything is served.
#[derive(Debug)]
pub(crate) struct Opened {
    gate: Gate,
    damaged_mark: bool,
    /// How late it has been, at the least.
    pub(crate) floor: Timestamp,
}

/// Opens the folder.
pub(crate) fn open(
    folder: &Path,
    root: PublicKey,
    environment: &str,
) -> Result<Opened, FolderError> {
    let disk = Disk::open(folder)?;
    let fresh = Mark::new(environment, &root.to_string());
    let (mark, damaged_mark) = match disk.read_mark()? {
        Stored::Missing => (fresh, false),
        Stored::Damaged => (fresh, true),
        Stored::Whole(mark) => {
            if (&mark.environment, &mark.root) != (&fresh.environment, &fresh.root) {
                return Err(FolderError::Foreign(mark.environment));
            }
            (mark, false)
        }
    };
    let floor = mark.floor();
    Ok(Opened { gate: Gate::new(Trust::new(root, environment), disk, mark), damaged_mark, floor })
}

/// Follows the admin.
#[derive(Debug)]
pub(crate) struct Sync {
    serving: Arc<Serving>,
    gate: Arc<Mutex<Gate>>,
    upstream: Upstream,
    machine: Machine,
}

impl Sync {
    /// Serves what the disk holds. It touches no network.
    pub(crate) fn boot(
        opened: Opened,
        serving: Arc<Serving>,
        upstream: Upstream,
        wait_s: u32,
    ) -> Self {
        let Opened { mut gate, damaged_mark, .. } = opened;
        if damaged_mark {
            serving.metrics.refused("disk");
            tracing::error!(
                "the high-water mark on disk is damaged; it starts again from the snapshots there"
            );
        }
        let now = serving.clock.now();
        let (admitted, refusals) = gate.boot();
        for refusal in &refusals {
            refused(&serving, refusal, "on disk");
        }
        let mut basis = None;
        if let Some(admitted) = admitted {
            serving.activate(&admitted, now);
            let Basis { epoch, revision, .. } = admitted.basis;
            let state = serving.state();
            tracing::info!(epoch, revision = revision.0, %state, "serving the snapshot from disk");
            basis = Some(admitted.basis);
        }
        let machine = Machine::new(wait_s, basis);
        Self { serving, gate: Arc::new(Mutex::new(gate)), upstream, machine }
    }

    /// Asks, again and again, until it is told to stop.
    pub(crate) async fn follow(mut self, mut stop: Stop) {
        loop {
            let pause = self.machine.next_wake().saturating_sub(self.serving.clock.now().up);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.told() => return,
            }
            let ask = self.machine.ask(self.serving.clock.now().up);
            let fetched = tokio::select! {
                fetched = self.upstream.fetch(ask) => fetched,
                () = stop.told() => return,
            };
            let reply = self.take(fetched).await;
            self.machine.on_reply(self.serving.clock.now().up, reply, clock::random());
        }
    }

    /// Keeps tenants prepared for the present and the floor of the clock on disk, until it is told
    /// to stop. Answers are right without it.
    pub(crate) fn upkeep(&self) -> Upkeep {
        Upkeep { serving: self.serving.clone(), gate: self.gate.clone() }
    }

    async fn take(&self, fetched: Result<Fetched, FetchError>) -> Reply {
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(FetchError::Refused(refusal)) => {
                refused(&self.serving, &refusal, "from the admin");
                return Reply::Refused;
            }
            Err(error) => {
                if self.serving.set_trouble(Some(error.to_string())) {
                    tracing::warn!("{error}");
                }
                self.serving.metrics.sync_failed(error.cause());
                return Reply::Failed;
            }
        };
        let (serving, gate) = (self.serving.clone(), self.gate.clone());
        // Verifying, compiling and writing may take long, and other questions must not wait.
        let taken = tokio::task::spawn_blocking(move || {
            let mut gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
            take(&serving, &mut gate, &fetched)
        });
        match taken.await {
            Ok(Ok(reply)) => {
                // Keys alone do not make good what was refused under them.
                if reply != Reply::Keys && self.serving.set_trouble(None) {
                    tracing::info!("in touch with the admin");
                }
                reply
            }
            Ok(Err(refusal)) => {
                refused(&self.serving, &refusal, "from the admin");
                Reply::Refused
            }
            Err(_) => Reply::Failed,
        }
    }
}

/// Believes, or not, and swaps.
fn take(serving: &Serving, gate: &mut Gate, fetched: &Fetched) -> Result<Reply, Refusal> {
    let now = serving.clock.now();
    match fetched {
        Fetched::Keys(envelope) => gate.keys(envelope).map(|()| Reply::Keys),
        Fetched::Heartbeat(envelope) => {
            serving.confirm(&gate.heartbeat(envelope)?, now);
            Ok(Reply::Confirmed)
        }
        Fetched::Snapshot(envelope) => {
            let admitted = gate.admit(envelope, now.at)?;
            serving.activate(&admitted, serving.clock.now());
            let Basis { epoch, revision, .. } = admitted.basis;
            if !admitted.known {
                tracing::info!(epoch, revision = revision.0, "serving a new snapshot");
            }
            Ok(Reply::Activated(admitted.basis))
        }
    }
}

fn refused(serving: &Serving, refusal: &Refusal, whence: &str) {
    serving.set_trouble(Some(format!("a document {whence} was refused: {refusal}")));
    serving.metrics.refused(refusal.cause());
    tracing::error!(cause = refusal.cause(), "a document {whence} was refused: {refusal}");
}

/// Work that time brings, not the admin.
#[derive(Debug)]
pub(crate) struct Upkeep {
    serving: Arc<Serving>,
    gate: Arc<Mutex<Gate>>,
}

impl Upkeep {
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
        let serving = self.serving.clone();
        let gate = self.gate.clone();
        let _ = tokio::task::spawn_blocking(move || {
            // Nothing else is swapped meanwhile.
            let _gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
            serving.refresh(serving.clock.now().at);
        })
        .await;
    }

    async fn write_floor(&self) {
        let now = self.serving.clock.now().at;
        let gate = self.gate.clone();
        let written = tokio::task::spawn_blocking(move || {
            gate.lock().unwrap_or_else(PoisonError::into_inner).write_floor(now)
        });
        if let Ok(Err(error)) = written.await {
            tracing::warn!("the time cannot be kept on disk: {error}");
        }
    }
}

const FLOOR_EVERY: Duration = Duration::from_secs(60);
const REFRESH_FIRST: Duration = Duration::from_secs(1);
const REFRESH_LAST: Duration = Duration::from_secs(60);
