//! The sidecar as a program: log, config, start, announce, wait, drain.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};
use entitlements_sidecar::{
    Config, ConfigError, SNAPSHOT_BYTES_MAX, Sidecar, StartError, read_text,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Answers on localhost what each tenant may use, and keeps itself in step with the admin.
#[derive(Debug, Parser)]
#[command(name = "entitlements-sidecar", version, after_help = EXAMPLES)]
struct Cli {
    /// Where to listen; port 0 is any free one. Beyond loopback, --local-token-file is needed
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7401")]
    listen: SocketAddr,
    /// A unix socket to listen on as well
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The admin
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7400")]
    admin: String,
    /// Certificates (PEM) to trust for the admin and for sinks, beside those of this machine
    #[arg(long, value_name = "PATH")]
    ca_file: Option<PathBuf>,
    /// The admin's key for this sidecar (scope: sync)
    #[arg(long, env = "ENTITLEMENTS_KEY", hide_env_values = true)]
    key: Option<String>,
    /// A file that holds that key
    #[arg(long, value_name = "PATH", conflicts_with = "key")]
    key_file: Option<PathBuf>,
    /// The admin's public root key, 64 hex digits: only what it vouches for is believed
    #[arg(long, value_name = "HEX", env = "ENTITLEMENTS_TRUST")]
    trust: Option<String>,
    /// A file that holds the root key
    #[arg(long, value_name = "PATH", conflicts_with = "trust")]
    trust_file: Option<PathBuf>,
    /// Which environment's snapshots to take
    #[arg(long, value_name = "NAME", default_value = "default")]
    environment: String,
    /// The folder that keeps the last good snapshot
    #[arg(long, value_name = "PATH", default_value = "./entitlements-data/sidecar")]
    data: PathBuf,
    /// What the admin calls this sidecar; where absent, a name is drawn and kept in the folder
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The largest snapshot that is taken, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = SNAPSHOT_BYTES_MAX)]
    snapshot_bytes_max: usize,
    /// Hand the sync API on to sidecars that name this one as their admin
    #[arg(long)]
    relay: bool,
    /// Serve features as flags for flagd, at `/flagd/v1/flags.json`
    #[arg(long)]
    flagd: bool,
    /// Serve them over gRPC as well, as flagd's clients ask for them, such as at 127.0.0.1:8015
    #[arg(long, value_name = "ADDRESS")]
    flagd_grpc: Option<SocketAddr>,
    /// A TOML file that says what to push to: caches, flag services, webhooks
    #[arg(long, value_name = "PATH")]
    sinks: Option<PathBuf>,
    /// A TOML file that says how `AuthZEN` subjects and resources become tenants and features
    #[arg(long, value_name = "PATH")]
    authzen: Option<PathBuf>,
    /// The base under which `AuthZEN` clients reach this sidecar, such as `https://pdp.example`
    #[arg(long, value_name = "URL")]
    authzen_base: Option<String>,
    /// For how many seconds the admin may hold a question for changes (1 to 60)
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    poll_wait: u32,
    /// A web page's origin that may ask from a browser; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// A file with the bearer token that callers of this sidecar must show
    #[arg(long, value_name = "PATH")]
    local_token_file: Option<PathBuf>,
    /// How to log; `RUST_LOG` says how much
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

const EXAMPLES: &str = "\
Examples:
  Follow an admin on the same host:
    entitlements-sidecar --key-file sync.key --trust-file root.pub

  Ask it:
    curl -s localhost:7401/v1/check -d '{\"tenant\":\"acme\",\"feature\":\"seats\"}'
    curl -s localhost:7401/v1/explain -d '{\"tenant\":\"acme\",\"feature\":\"seats\"}'
    curl -s localhost:7401/v1/tenants/acme/entitlements
    curl -s localhost:7401/ofrep/v1/evaluate/flags/seats -d '{\"context\":{\"targetingKey\":\"acme\"}}'
    curl -s localhost:7401/readyz

  Let a web page ask, and listen on a unix socket too:
    entitlements-sidecar --trust-file root.pub --key-file sync.key \\
      --allow-origin https://app.example --socket /run/entitlements/sidecar.sock

Exit codes: 0 stopped as asked, 1 could not start, 64 told nonsense.";

const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let text = error.render().to_string();
            let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            return fail(EXIT_USAGE, &format!("{line}; --help shows what there is"));
        }
        Err(help) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
    };
    log(cli.log_format);
    let config = match config(cli) {
        Ok(config) => config,
        Err(error) => return fail(EXIT_USAGE, &error.to_string()),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start threads: {error}")),
    };
    match runtime.block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ StartError::Config(_)) => fail(EXIT_USAGE, &error.to_string()),
        Err(error) => fail(1, &error.to_string()),
    }
}

async fn run(config: Config) -> Result<(), StartError> {
    let (admin, socket) = (config.admin.clone(), config.socket.clone());
    let running = Sidecar::start(config).await?;
    println!("entitlements-sidecar answers on http://{}, follows {admin}", running.addr());
    if let Some(socket) = socket {
        println!("entitlements-sidecar answers on {}", socket.display());
    }
    told_to_stop().await;
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}

async fn told_to_stop() {
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers the system's own way of ending a process holds.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

fn config(cli: Cli) -> Result<Config, ConfigError> {
    let given = |text: Option<String>, file: Option<PathBuf>| match file {
        Some(path) => read_text(&path),
        None => Ok(text.unwrap_or_default()),
    };
    Ok(Config {
        listen: cli.listen,
        socket: cli.socket,
        admin: cli.admin,
        extra_ca: cli.ca_file,
        key: given(cli.key, cli.key_file)?,
        trust: given(cli.trust, cli.trust_file)?,
        environment: cli.environment,
        data: cli.data,
        name: cli.name,
        snapshot_bytes_max: cli.snapshot_bytes_max,
        relay: cli.relay,
        flagd: cli.flagd,
        flagd_grpc: cli.flagd_grpc,
        sinks: cli.sinks,
        authzen: cli.authzen,
        authzen_base: cli.authzen_base,
        poll_wait_s: cli.poll_wait,
        allow_origins: cli.allow_origin,
        local_token: cli.local_token_file.as_deref().map(read_text).transpose()?,
    })
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

fn fail(code: u8, why: &str) -> ExitCode {
    eprintln!("entitlements-sidecar: {why}");
    ExitCode::from(code)
}
