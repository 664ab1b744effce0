//! Admin and sidecar together, on an embedded database, with a clinic software vendor's catalog and
//! 2,000 clinics. `cargo xtask demo` starts it.

mod keep;
mod seed;
mod tenants;
mod welcome;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use entitlements_admin::Admin;
use entitlements_sidecar::Sidecar;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use crate::welcome::Welcome;

/// Start admin and sidecar together with 2,000 clinics, and print what to try.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Cli {
    /// Where the admin listens; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7400")]
    admin: SocketAddr,
    /// Where the sidecar listens; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7401")]
    sidecar: SocketAddr,
    /// The folder that keeps everything; delete it to begin anew
    #[arg(long, value_name = "PATH", default_value = "./entitlements-data")]
    data: PathBuf,
}

/// Why there is no demo, in one line.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Start(String),
}

impl Failure {
    fn code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(64),
            Self::Start(_) => ExitCode::FAILURE,
        }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help) if !help.use_stderr() => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(&Failure::Usage(first_line(&error.render().to_string()))),
    };
    tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Failure::Start(format!("cannot start threads: {error}"))),
    };
    match runtime.block_on(demo(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure),
    }
}

fn fail(failure: &Failure) -> ExitCode {
    eprintln!("demo: {failure}");
    failure.code()
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    format!("{line}; --help shows what there is")
}

async fn demo(cli: Cli) -> Result<(), Failure> {
    for (flag, address) in [("admin", cli.admin), ("sidecar", cli.sidecar)] {
        is_usable(flag, address)?;
    }
    let admin = start_admin(&cli).await?;
    let keys = keep::keys(&admin, &cli.data).await.map_err(Failure::Start)?;
    seed::seed(admin.app()).await.map_err(Failure::Start)?;
    let sidecar = start_sidecar(&cli, &admin, keys.sync).await?;
    sidecar
        .wait_revision(admin.app().revision(), ARRIVAL_MAX)
        .await
        .map_err(|error| Failure::Start(error.to_string()))?;
    print!("{}", Welcome::new(&admin, &sidecar, &keys.admin));
    told_to_stop().await;
    println!("Stopping.");
    sidecar.stop().await;
    admin.stop().await;
    Ok(())
}

/// How long the sidecar may take to have what the admin has.
const ARRIVAL_MAX: Duration = Duration::from_secs(60);

/// Finds out before anything is written.
fn is_usable(flag: &str, address: SocketAddr) -> Result<(), Failure> {
    if !address.ip().is_loopback() {
        return Err(Failure::Usage(format!(
            "`--{flag} {address}` can be reached from other machines; use 127.0.0.1"
        )));
    }
    match std::net::TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Start(format!(
            "cannot listen on {address}: {error}; choose another with `--{flag}`"
        ))),
    }
}

async fn start_admin(cli: &Cli) -> Result<entitlements_admin::Running, Failure> {
    let config = entitlements_admin::Config {
        listen: cli.admin,
        data: cli.data.clone(),
        ..Default::default()
    };
    Admin::start(config).await.map_err(|error| Failure::Start(error.to_string()))
}

async fn start_sidecar(
    cli: &Cli,
    admin: &entitlements_admin::Running,
    key: String,
) -> Result<entitlements_sidecar::Running, Failure> {
    let (url, data) = (format!("http://{}", admin.addr()), cli.data.join("sidecar"));
    let config = entitlements_sidecar::Config {
        listen: cli.sidecar,
        ..entitlements_sidecar::Config::new(url, key, admin.trust(), data)
    };
    Sidecar::start(config).await.map_err(|error| Failure::Start(error.to_string()))
}

async fn told_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers the system's own way of ending a process holds.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
