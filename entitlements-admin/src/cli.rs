//! The command line.

mod catalog;

use std::{fmt, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use entitlements_admin::{
    Config, ConfigError, StartError, config,
    http::SchemaDocument,
    workflow::{Scope, people::Role},
};
use entitlements_outbound::guard::Network;

pub(crate) use self::catalog::{
    ApplyArguments, CatalogCommand, ExportArguments, KeyFile, PlanArguments,
};

/// Keeps the catalog and the tenants, records who changed what, and publishes signed snapshots.
#[derive(Debug, Parser)]
#[command(
    name = "entitlements-admin",
    version,
    after_help = "First steps:
  entitlements-admin catalog validate catalog      find every mistake, change nothing
  entitlements-admin catalog import catalog        make it the catalog in force
  entitlements-admin serve                         start; the first time it prints a key
  curl -H \"Authorization: Bearer $KEY\" http://127.0.0.1:7400/v1/tenants

Exit codes: 0 done, 1 it failed, 2 `catalog plan` found a change, 64 the command line is wrong."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the control plane
    #[command(after_help = "Examples:
  entitlements-admin serve
  entitlements-admin serve --listen 127.0.0.1:0 --data /var/lib/entitlements
  entitlements-admin serve --listen 0.0.0.0:7400 --allow-remote   (behind a proxy that speaks TLS)

The first start makes the data folder, its signing keys, and an admin key, which it prints once.
Give `trust.pub` from the data folder to every sidecar. SIGINT or SIGTERM ends it in order.")]
    Serve(ServeArguments),
    /// Keep the catalog in files: check, compare, apply and export it
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// The same as `catalog test`
    Scenario {
        /// Folders, or TOML or JSON files
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Make, list or revoke service keys, while the control plane is not running
    #[command(
        subcommand,
        after_help = "Example:
  entitlements-admin key create --scope sync --label \"sidecar in Frankfurt\"

While it runs, do the same over HTTP: POST /v1/keys."
    )]
    Key(KeyCommand),
    /// Change the key that signs snapshots, while the control plane is not running
    #[command(
        subcommand,
        after_help = "Example:
  entitlements-admin signing-key rotate
  entitlements-admin serve &                  (sidecars learn of the new key by themselves)
  entitlements-admin signing-key retire       (later, when none trusts the old one alone)

Sidecars trust the root key, which names the keys that sign. After `rotate` it names the new one and
the one before; after `retire` only the new one. Where several control planes share a database, stop
all of them and copy the folder `keys` to each."
    )]
    SigningKey(SigningKeyCommand),
    /// Add, list or reset people who sign in, while the control plane is not running
    #[command(
        subcommand,
        after_help = "Example:
  entitlements-admin user create --email ada@example.com --name Ada --role super_admin

It prints a link. Whoever has it sets a password with
  curl -H 'Content-Type: application/json' -d '{\"link\":\"ent_…\",\"password\":\"…\"}' \\
       http://127.0.0.1:7400/v1/password
While it runs, do the same over HTTP: POST /v1/users."
    )]
    User(UserCommand),
    /// Look after the audit
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Copy the database of a running control plane into a file
    #[command(after_help = "Example:
  entitlements-admin backup /backups/entitlements-2026-11-23.db

The copy is consistent, and nobody waits for it. Keep the folder `keys` safe as well: sidecars trust
no other. A PostgreSQL database is backed up with PostgreSQL's own tools.")]
    Backup {
        /// The file to write; it must not exist
        to: PathBuf,
        #[command(flatten)]
        folder: Folder,
    },
    /// Put a backup in the place of the database, while the control plane is not running
    #[command(after_help = "Example:
  entitlements-admin restore /backups/entitlements-2026-11-23.db

The epoch rises, so that sidecars take the older state for what it is: a decision, not a mistake.")]
    Restore {
        /// The backup
        from: PathBuf,
        #[command(flatten)]
        folder: Folder,
    },
    /// Bring the database to the schema of this version, or move it to PostgreSQL
    #[command(after_help = "Examples:
  entitlements-admin migrate
  entitlements-admin migrate --to postgres://entitlements@db.internal/entitlements

`serve` migrates by itself. With `--to` everything in the data folder's database is copied into an
empty PostgreSQL database; then start with `--database` and the same data folder, which keeps the keys.")]
    Migrate {
        /// An empty PostgreSQL database to copy everything into
        #[arg(long, value_name = "URL")]
        to: Option<String>,
        #[command(flatten)]
        folder: Folder,
    },
    /// Print a JSON Schema, for editors
    #[command(after_help = "Example:
  entitlements-admin schema document > entitlements.schema.json")]
    Schema {
        /// `catalog`, `tenant`, or `document` (a file with a catalog, tenants and scenarios)
        #[arg(value_name = "WHAT")]
        of: SchemaDocument,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print it, once
    Create {
        /// What it opens: `admin` everything but approving, `read` what changes nothing, `sync`
        /// only sidecars' sync, `product` answers and usage, `ingest` only usage, `partner` its tenants
        #[arg(long)]
        scope: Scope,
        /// Who uses it, for people
        #[arg(long)]
        label: String,
        #[command(flatten)]
        folder: Folder,
    },
    /// List keys, without their secrets
    List {
        #[command(flatten)]
        folder: Folder,
    },
    /// Make a key useless
    Revoke {
        /// Its id: the eight letters and digits after `ent_`
        id: String,
        #[command(flatten)]
        folder: Folder,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SigningKeyCommand {
    /// Sign with a new key from now on; the one before stays trusted
    Rotate {
        #[command(flatten)]
        folder: Folder,
    },
    /// Trust the key from before the last rotation no longer
    Retire {
        #[command(flatten)]
        folder: Folder,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add somebody, and print a link to set a password with, once
    Create {
        /// Their address, by which they sign in
        #[arg(long)]
        email: String,
        /// What people call them
        #[arg(long)]
        name: String,
        /// What they are here for: `super_admin`, `catalog_editor`, `approver`, `operator`,
        /// `analyst` or `auditor`; may be given several times
        #[arg(long = "role", required = true)]
        roles: Vec<Role>,
        #[command(flatten)]
        folder: Folder,
    },
    /// List people who sign in
    List {
        #[command(flatten)]
        folder: Folder,
    },
    /// Print a new link for somebody; their password and their sessions open nothing any more
    Reset {
        /// Their id
        id: String,
        #[command(flatten)]
        folder: Folder,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Walk the hash chain from its start and say whether a row was changed, dropped or swapped
    #[command(after_help = "Examples:
  entitlements-admin audit verify
  entitlements-admin audit verify --export audit.jsonl --trust trust.pub

With `--export` it needs no database: the file is held against the checkpoint in its first line,
which a publisher key signed. Get one with
  curl -H \"Authorization: Bearer $KEY\" http://127.0.0.1:7400/v1/audit/export > audit.jsonl")]
    Verify {
        /// An exported audit to verify instead of the database
        #[arg(long, value_name = "FILE", requires = "trust")]
        export: Option<PathBuf>,
        /// The root public key: `trust.pub` from the data folder
        #[arg(long, value_name = "FILE", requires = "export")]
        trust: Option<PathBuf>,
        #[command(flatten)]
        folder: Folder,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// The folder with the database and the keys
    #[arg(long, value_name = "FOLDER", default_value = "./entitlements-data")]
    data: PathBuf,
    /// A PostgreSQL database that several control planes may share, as
    /// `postgres://user:password@host/database`; without it, a file in the data folder
    #[arg(long, value_name = "URL", env = "ENTITLEMENTS_DATABASE", hide_env_values = true)]
    database: Option<String>,
    /// What the snapshots are for; a sidecar of another environment refuses them
    #[arg(long, value_name = "NAME", default_value = "default")]
    environment: String,
}

impl Folder {
    pub(crate) fn config(self) -> Result<Config, Failure> {
        let Self { data, database, environment } = self;
        let config = Config { data, database, environment, ..Config::default() };
        config.check()?;
        Ok(config)
    }
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7400")]
    listen: String,
    #[command(flatten)]
    folder: Folder,
    /// Listen where other machines reach it. Keys travel readably: put TLS in front
    #[arg(long)]
    allow_remote: bool,
    /// Where people reach it with browsers, such as `https://entitlements.example.com`
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// A file that says how people sign in by an identity provider (OpenID Connect)
    #[arg(long, value_name = "FILE", requires = "public_url", long_help = OIDC)]
    oidc: Option<PathBuf>,
    /// How old a snapshot may get at a sidecar before it counts as stale
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    max_age: u32,
    /// A network that connectors may reach beside the open internet, such as `10.0.0.0/8`; may be
    /// given several times
    #[arg(long = "allow-network", value_name = "CIDR")]
    allow_networks: Vec<Network>,
    /// A file with certificates (PEM) that connectors trust beside those that this machine trusts
    #[arg(long, value_name = "FILE")]
    extra_ca: Option<PathBuf>,
    /// How logs are written, on the standard error
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// What is logged: `error`, `warn`, `info`, `debug`, or a filter by module
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
}

const OIDC: &str = "\
A file that says how people sign in by an identity provider (OpenID Connect):

  issuer = \"https://login.example.com\"
  client_id = \"entitlements\"
  client_secret_file = \"oidc.secret\"     # beside this file
  roles_claim = \"groups\"                 # the claim that says a person's groups
  [roles]                                # which group has which role
  platform-admins = \"super_admin\"
  pricing = \"catalog_editor\"

The provider sends browsers back to <public-url>/v1/session/oidc/callback.";

impl ServeArguments {
    pub(crate) fn config(self) -> Result<Config, Failure> {
        let listen = config::listen(&self.listen)?;
        let folder = self.folder.config()?;
        let (allow_remote, max_age_s) = (self.allow_remote, self.max_age);
        let public_url = self.public_url;
        let oidc = self.oidc.as_deref();
        let oidc = oidc.map(|path| config::oidc(path, public_url.as_deref())).transpose()?;
        let (allow_networks, extra_ca) = (self.allow_networks, self.extra_ca);
        let config = Config {
            listen,
            allow_remote,
            public_url,
            oidc,
            max_age_s,
            allow_networks,
            extra_ca,
            ..folder
        };
        config.check()?;
        Ok(config)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// For machines, one object per line
    Json,
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// It failed.
    Failed(String),
}

impl Failure {
    pub(crate) fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => EXIT_USAGE.into(),
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(text) | Self::Failed(text)) = self;
        f.write_str(text)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(error) => error.into(),
            error => Self::failed(error),
        }
    }
}

/// What `sysexits.h` calls `EX_USAGE`.
const EXIT_USAGE: u8 = 64;

/// Ends where the command line cannot be read, or asks for help.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    // Where nobody reads the text there is nobody to tell.
    drop(error.print());
    if error.use_stderr() { EXIT_USAGE.into() } else { ExitCode::SUCCESS }
}
