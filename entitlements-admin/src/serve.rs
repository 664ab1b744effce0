//! `serve`: start, say where, wait for a signal, drain.

use std::io;

use entitlements_admin::{Admin, Config, Running};
use tokio::runtime::Runtime;

use crate::cli::Failure;

/// Runs the control plane until it is told to end.
pub(crate) fn run(config: Config) -> Result<(), Failure> {
    let data = config.data.clone();
    Runtime::new().map_err(Failure::failed)?.block_on(async {
        // Before anything else: a signal that comes while we start is not lost.
        let mut end = End::new().map_err(Failure::failed)?;
        let running = Admin::start(config).await?;
        announce(&running, &data);
        let signal = end.wait().await;
        tracing::info!(signal, "ending: no new connections, the rest is answered");
        running.stop().await;
        Ok(())
    })
}

fn announce(running: &Running, data: &std::path::Path) {
    println!("entitlements-admin listens on http://{}", running.addr());
    println!("data folder: {}", data.display());
    println!("trust (for sidecars, also in trust.pub): {}", running.trust());
    if let Some(key) = running.first_key() {
        println!("admin key (shown only this once): {key}");
    }
}

#[cfg(unix)]
struct End {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl End {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[cfg(not(unix))]
struct End;

#[cfg(not(unix))]
impl End {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn wait(&mut self) -> &'static str {
        drop(tokio::signal::ctrl_c().await);
        "ctrl-c"
    }
}
