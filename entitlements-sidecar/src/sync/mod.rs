//! Keeping in step with the admin: ask, verify, keep, swap, and tell how it went.

mod client;
mod disk;
mod files;
mod gate;
mod machine;
mod relay;
mod report;
#[cfg(test)]
mod simulation;
mod upkeep;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use entitlements_core::{
    Timestamp,
    document::{CandidateStatus, Rejection},
    signed::{PublicKey, Trust},
};

use self::{
    client::Fetched,
    disk::{Disk, Mark, Stored},
    files::Folder,
    gate::{Booted, Gate, News},
    machine::{Machine, Reply},
};
pub(crate) use self::{
    client::{FetchError, Upstream},
    gate::{Admitted, Refusal},
    relay::Relay,
    report::Reporter,
    upkeep::Upkeep,
};
use crate::{clock, serving::Serving, stop::Stop};

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
    /// Under which name the admin knows this sidecar.
    pub(crate) name: String,
}

/// What a folder is opened for.
pub(crate) struct Wanted<'w> {
    pub(crate) root: PublicKey,
    pub(crate) environment: &'w str,
    /// The largest snapshot that is taken, in bytes.
    pub(crate) bytes_max: usize,
    /// The name, where it has none yet.
    pub(crate) fresh_name: &'w str,
}

/// Opens the folder.
pub(crate) fn open(folder: &Path, wanted: &Wanted<'_>) -> Result<Opened, FolderError> {
    open_on(Disk::new(Folder::open(folder)?, wanted.bytes_max), wanted)
}

fn open_on(mut disk: Disk, wanted: &Wanted<'_>) -> Result<Opened, FolderError> {
    let fresh = Mark::new(wanted.environment, &wanted.root.to_string());
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
    let (floor, name) = (mark.floor(), disk.name(wanted.fresh_name)?);
    let trust = Trust::new(wanted.root, wanted.environment);
    Ok(Opened { gate: Gate::new(trust, disk, mark), damaged_mark, floor, name })
}

/// The gate, which several tasks use in turn.
#[derive(Debug, Clone)]
pub(crate) struct SharedGate(Arc<Mutex<Gate>>);

impl SharedGate {
    fn lock(&self) -> MutexGuard<'_, Gate> {
        // A gate that was left in the middle of something has changed nothing that counts.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the admin.
#[derive(Debug)]
pub(crate) struct Sync {
    serving: Arc<Serving>,
    gate: SharedGate,
    upstream: Arc<Upstream>,
    machine: Machine,
    relay: Relay,
}

impl Sync {
    /// Serves what the disk holds. It touches no network.
    pub(crate) fn boot(
        opened: Opened,
        serving: Arc<Serving>,
        upstream: Arc<Upstream>,
        wait_s: u32,
    ) -> Self {
        let Opened { mut gate, damaged_mark, .. } = opened;
        boot(&serving, &mut gate, damaged_mark);
        let machine = Machine::new(wait_s, gate.basis());
        let gate = SharedGate(Arc::new(Mutex::new(gate)));
        let relay = Relay::new(gate.clone(), serving.clone(), upstream.clone());
        Self { serving, gate, upstream, machine, relay }
    }

    /// Asks, again and again, until it is told to stop.
    pub(crate) async fn follow(mut self, mut stop: Stop) {
        let mut hurries = self.serving.hurries();
        loop {
            let pause = self.machine.next_wake().saturating_sub(self.serving.clock.now().up);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Ok(()) = hurries.changed() => {
                    self.machine.hurry(self.serving.clock.now().up);
                    continue;
                }
                () = stop.told() => return,
            }
            let ask = self.machine.ask(self.serving.clock.now().up);
            let fetched = tokio::select! {
                fetched = self.upstream.fetch(&ask) => fetched,
                () = stop.told() => return,
            };
            let reply = self.take(fetched).await;
            self.machine.on_reply(self.serving.clock.now().up, reply, clock::random());
        }
    }

    /// Keeps tenants prepared for the present and the floor of the clock on disk, until it is told
    /// to stop. Answers are right without it.
    pub(crate) fn upkeep(&self) -> Upkeep {
        Upkeep::new(self.serving.clone(), self.gate.clone())
    }

    /// Serves what is armed at its instant, until it is told to stop.
    pub(crate) fn switch(&self, stop: Stop) -> impl Future<Output = ()> + Send + use<> {
        upkeep::switch(self.serving.clone(), self.gate.clone(), stop)
    }

    /// Hands on to sidecars below this one.
    pub(crate) fn relay(&self) -> Relay {
        self.relay.clone()
    }

    async fn take(&mut self, fetched: Result<Fetched, FetchError>) -> Reply {
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
        let (serving, gate, relay) = (self.serving.clone(), self.gate.clone(), self.relay.clone());
        // Verifying, compiling and writing may take long, and other questions must not wait.
        let taken = tokio::task::spawn_blocking(move || {
            let mut gate = gate.lock();
            let reply = take(&serving, &mut gate, &fetched);
            (reply, gate.is_long(), relay.hears(&gate, &fetched))
        });
        let Ok((reply, is_long, relayed)) = taken.await else { return Reply::Failed };
        if is_long {
            self.machine.ask_for_all();
        }
        if matches!(reply, Reply::Admitted(_) | Reply::Candidate(_) | Reply::Confirmed { .. }) {
            self.relay.tell(relayed);
        }
        reply
    }
}

fn boot(serving: &Serving, gate: &mut Gate, damaged_mark: bool) {
    if damaged_mark {
        serving.metrics.refused("disk");
        tracing::error!(
            "the high-water mark on disk is damaged; it starts again from the snapshots there"
        );
    }
    let now = serving.clock.now();
    let Booted { served, armed, refusals } = gate.boot(now.at);
    for refusal in &refusals {
        refused(serving, refusal, "on disk");
    }
    for admitted in [served, armed].into_iter().flatten() {
        let (epoch, revision) = (admitted.basis.epoch, admitted.basis.revision.0);
        serving.activate(admitted, now);
        let state = serving.state();
        tracing::info!(epoch, revision, %state, "took up the snapshot from disk");
    }
}

/// Believes, or not, and swaps.
fn take(serving: &Serving, gate: &mut Gate, fetched: &Fetched) -> Reply {
    let now = serving.clock.now();
    let news = match fetched {
        Fetched::Keys(envelope) => match gate.keys(envelope) {
            // Keys alone do not make good what was refused under them.
            Ok(()) => return Reply::Keys,
            Err(refusal) => Err(refusal),
        },
        Fetched::Bundle(bundle) => gate.take(bundle, now.at),
    };
    let news = match news {
        Ok(news) => news,
        Err(refusal) => {
            refused(serving, &refusal, "from the admin");
            return if refusal.wants_all() { Reply::Diverged } else { Reply::Refused };
        }
    };
    if serving.set_trouble(None) {
        tracing::info!("in touch with the admin");
    }
    match news {
        News::Admitted(admitted) => {
            let (basis, known) = (admitted.basis, admitted.known);
            serving.activate(*admitted, serving.clock.now());
            if !known {
                tracing::info!(epoch = basis.epoch, revision = basis.revision.0, "took a new one");
            }
            Reply::Admitted(basis)
        }
        News::Candidate { id, silence_max_ms, rejected } => {
            if let Some(why) = &rejected {
                tracing::error!(candidate = id, "a candidate cannot be served: {why}");
            }
            let silence_max = Duration::from_millis(silence_max_ms.into());
            serving.looked_at(CandidateStatus { id: id.clone(), rejected }, silence_max);
            Reply::Candidate(id)
        }
        News::Confirmed(heartbeat) => {
            serving.confirm(&heartbeat, now);
            Reply::Confirmed { candidate: heartbeat.tidings.candidate }
        }
    }
}

fn refused(serving: &Serving, refusal: &Refusal, whence: &str) {
    let detail = format!("a document {whence} was refused: {refusal}");
    serving.set_trouble(Some(detail.clone()));
    serving.metrics.refused(refusal.cause());
    tracing::error!(cause = refusal.cause(), "{detail}");
    let (cause, at) = (refusal.cause().into(), serving.clock.now().at);
    serving.set_rejected(Rejection { cause, detail, at });
}
