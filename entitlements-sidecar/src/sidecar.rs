//! Starting a sidecar, waiting for it, stopping it.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use entitlements_core::{
    Catalog, Draft, Entitlements, Revision, Snapshot, Tenant, TenantKey, Timestamp,
};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    clock::{self, Clock},
    config::{Config, ConfigError, Limits},
    flags::keeper::{Flags, keep},
    grpc,
    http::{Listener, Server, authzen::Authzen},
    push::Pusher,
    serving::Serving,
    standing::State,
    stop::Stopper,
    sync::{self, Reporter, Sync, Upstream, Wanted},
};

/// Starts sidecars.
#[derive(Debug)]
pub struct Sidecar;

/// Why a sidecar did not start. Its text is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address is taken or not one of this host.
    #[error("cannot listen on `{0}`: {1}")]
    Listen(String, std::io::Error),
    /// The folder cannot be used.
    #[error("cannot use the folder `{0}`: {1}")]
    Folder(PathBuf, String),
    /// Something that cannot happen did.
    #[error("the sidecar is broken: {0}; please report it")]
    Broken(String),
}

/// A sidecar that runs. Dropping it ends it at once; [`Running::stop`] lets requests finish.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    grpc_addr: Option<SocketAddr>,
    serving: Arc<Serving>,
    server: Arc<Server>,
    stop: Stopper,
    tasks: JoinSet<()>,
    socket: Option<PathBuf>,
}

/// It took longer than it was given.
#[derive(Debug, thiserror::Error)]
#[error("the sidecar is {state} at revision {revision} after {waited:?}: {trouble}")]
pub struct NotYet {
    state: State,
    revision: Revision,
    waited: Duration,
    trouble: String,
}

impl Sidecar {
    /// Starts one inside the present tokio runtime. It serves what its folder holds before it
    /// touches the network.
    ///
    /// # Errors
    /// Where it is told nonsense, or cannot have the address or the folder.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        Self::start_with(config, Limits::default()).await
    }

    /// The same with other limits on what callers may take.
    ///
    /// # Errors
    /// As [`Sidecar::start`].
    pub async fn start_with(config: Config, limits: Limits) -> Result<Running, StartError> {
        let checked = config.check()?;
        let (listener, addr) = listen(config.listen).await?;
        let (ca, bytes_max) = (config.extra_ca.clone(), config.snapshot_bytes_max);
        let upstream = Upstream::new(checked.admin, &config.key, ca, bytes_max)?;
        let upstream = Arc::new(upstream);
        let folder_error = |why: String| StartError::Folder(config.data.clone(), why);
        let fresh_name =
            config.name.clone().unwrap_or_else(|| format!("sidecar-{}", clock::word()));
        let wanted = Wanted {
            root: checked.root,
            environment: &config.environment,
            bytes_max: config.snapshot_bytes_max,
            fresh_name: &fresh_name,
        };
        let opened =
            sync::open(&config.data, &wanted).map_err(|error| folder_error(error.to_string()))?;
        let name = config.name.clone().unwrap_or_else(|| opened.name.clone());
        let clock = Clock::new(opened.floor);
        let now = clock.now().at;
        if now.since(Clock::wall()) > CLOCK_BEHIND_MAX {
            tracing::warn!(
                %now,
                "this host's clock is behind what it was before; time stands still until it has \
                 caught up"
            );
        }
        let serving = Arc::new(Serving::new(clock, nothing(now)?, config.poll_wait_s));
        let stop = Stopper::new();
        let (sync, upkeep) = boot(opened, &serving, upstream.clone(), config.poll_wait_s).await?;
        let flags = Flags::new(&config.environment);
        let serves_flags = config.flagd || config.flagd_grpc.is_some();
        let served = serves_flags.then(|| flags.clone());
        let base = config.authzen_base.clone();
        let authzen = Authzen { mapping: checked.mapping, base };
        let relay = config.relay.then(|| sync.relay());
        let grpc_limits = limits.clone();
        let server =
            Server::new(serving.clone(), &config, limits, stop.listen(), authzen, served, relay);
        let server = Arc::new(server);
        let reporter = Reporter::new(serving.clone(), upstream, name, clock::word());
        let (grpc, grpc_addr) = match config.flagd_grpc {
            None => (None, None),
            Some(address) => {
                let (listener, addr) = listen(address).await?;
                (Some(listener), Some(addr))
            }
        };
        let mut tasks = JoinSet::new();
        let socket = config.socket.clone();
        if let Some(path) = &socket {
            let listener = Listener::unix(path)
                .map_err(|error| StartError::Listen(path.display().to_string(), error))?;
            tasks.spawn(server.clone().accept(listener));
        }
        tasks.spawn(sync.switch(stop.listen()));
        tasks.spawn(reporter.run(stop.listen()));
        if let Some(listener) = grpc {
            let (token, listening) = (config.local_token.clone(), stop.listen());
            let serving = grpc::serve(listener, flags.clone(), token, grpc_limits, listening);
            tasks.spawn(serving);
        }
        if serves_flags || checked.sinks.iter().any(|sink| sink.is_of_flags()) {
            tasks.spawn(keep(flags.clone(), serving.clone(), stop.listen()));
        }
        for sink in &checked.sinks {
            let pusher = Pusher::new(serving.clone(), sink, flags.clone(), &config.environment);
            tasks.spawn(pusher.run(stop.listen()));
        }
        tasks.spawn(upkeep.run(stop.listen()));
        tasks.spawn(sync.follow(stop.listen()));
        tasks.spawn(server.clone().accept(Listener::Tcp(listener)));
        Ok(Running { addr, grpc_addr, serving, server, stop, tasks, socket })
    }
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it speaks gRPC to flagd, where it does.
    #[must_use]
    pub fn flagd_grpc_addr(&self) -> Option<SocketAddr> {
        self.grpc_addr
    }

    /// How far its snapshot can be relied on.
    #[must_use]
    pub fn state(&self) -> State {
        self.serving.state()
    }

    /// The handle on what it serves, for a program that has it inside itself.
    #[must_use]
    pub fn entitlements(&self) -> Entitlements {
        self.serving.entitlements().clone()
    }

    /// Waits until it has a snapshot that is not too old.
    ///
    /// # Errors
    /// After the time-out.
    pub async fn wait_ready(&self, timeout: Duration) -> Result<(), NotYet> {
        self.wait(timeout, |serving| serving.state().is_ready()).await
    }

    /// Waits until it serves this revision or a later one.
    ///
    /// # Errors
    /// After the time-out.
    pub async fn wait_revision(&self, revision: Revision, timeout: Duration) -> Result<(), NotYet> {
        self.wait(timeout, |serving| serving.revision().is_some_and(|now| now >= revision)).await
    }

    async fn wait(
        &self,
        timeout: Duration,
        arrived: impl Fn(&Serving) -> bool,
    ) -> Result<(), NotYet> {
        let mut pulses = self.serving.pulses();
        let waited = tokio::time::timeout(timeout, pulses.wait_for(|_| arrived(&self.serving)));
        if matches!(waited.await, Ok(Ok(_))) {
            return Ok(());
        }
        Err(NotYet {
            state: self.serving.state(),
            revision: self.serving.revision().unwrap_or_default(),
            waited: timeout,
            trouble: self.serving.trouble().unwrap_or_else(|| "nothing was heard yet".into()),
        })
    }

    /// Stops: takes no new connections, lets requests under way finish, writes down the time.
    pub async fn stop(mut self) {
        self.stop.stop();
        while self.tasks.join_next().await.is_some() {}
        self.server.drained().await;
        self.remove_socket();
    }

    fn remove_socket(&mut self) {
        if let Some(path) = self.socket.take() {
            // It may be gone already.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        self.remove_socket();
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen(address.to_string(), error);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Reading the disk and compiling may take long; other work of the runtime goes on meanwhile.
async fn boot(
    opened: sync::Opened,
    serving: &Arc<Serving>,
    upstream: Arc<Upstream>,
    wait_s: u32,
) -> Result<(Sync, sync::Upkeep), StartError> {
    let serving = serving.clone();
    tokio::task::spawn_blocking(move || {
        let sync = Sync::boot(opened, serving, upstream, wait_s);
        let upkeep = sync.upkeep();
        (sync, upkeep)
    })
    .await
    .map_err(|error| StartError::Broken(error.to_string()))
}

/// A snapshot of nothing, which the handle starts with. No caller is answered from it.
fn nothing(now: Timestamp) -> Result<Snapshot, StartError> {
    let catalog =
        Catalog::new(Draft::default()).map_err(|errors| StartError::Broken(errors.to_string()))?;
    let nobody: [(&TenantKey, &Tenant); 0] = [];
    Ok(Snapshot::compile(Revision(0), Arc::new(catalog), nobody, now))
}

const CLOCK_BEHIND_MAX: Duration = Duration::from_secs(60);
