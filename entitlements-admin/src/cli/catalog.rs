//! The command line of the catalog in files.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use entitlements_core::Timestamp;

use super::Folder;

#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// Find every mistake, and change nothing
    #[command(
        visible_alias = "check",
        after_help = "Examples:
  entitlements-admin catalog validate catalog
  entitlements-admin catalog validate one.toml other.toml   (each is a catalog of its own)

Of a folder, every `*.toml` and `*.json` in it and in the folders below is read as one. Hidden files
and `*.schema.json` are left alone.

Exit codes: 0 there is no mistake, 1 there is one."
    )]
    Validate {
        /// Folders, or TOML or JSON files
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Check catalogs against the answers that are expected of them
    #[command(after_help = "Example:
  entitlements-admin catalog test catalog

Beside the catalog, in any file of the folder, stand tenants and `[[expect]]` tables:
  [tenants.acme]
  subscriptions = [{ plan = \"pro\" }]
  [[expect]]
  at = 2026-03-15T12:00:00Z
  tenant = \"acme\"
  feature = \"seats\"
  answer = 15
  source = \"promotion:spring\"

Exit codes: 0 all is as expected, 1 something is not.")]
    Test {
        /// Folders, or TOML or JSON files
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Say what would change, and for whom
    #[command(after_help = "Examples:
  entitlements-admin catalog plan catalog --against http://127.0.0.1:7400 --key-file admin.key
  entitlements-admin catalog plan catalog --against main/catalog --tenants tenants.toml

Against a control plane it tells the effect on every tenant; against files, on those of `--tenants`.

Exit codes: 0 nothing would change, 1 it failed, 2 something would change.")]
    Plan(PlanArguments),
    /// Make the files the catalog of a control plane
    #[command(after_help = "Examples:
  entitlements-admin catalog apply catalog --to http://127.0.0.1:7400 --key-file admin.key
  entitlements-admin catalog apply catalog --to http://127.0.0.1:7400 --draft \"Spring prices\"

It does nothing where nothing would change. `entitlements.lock` in the folder says which catalog the
files follow; where another one is live, somebody changed it elsewhere, and it refuses.

Exit codes: 0 done, or nothing to do; 1 it failed or refused.")]
    Apply(ApplyArguments),
    /// Write a catalog as files, and note in `entitlements.lock` which one it is
    #[command(after_help = "Examples:
  entitlements-admin catalog export catalog --from http://127.0.0.1:7400 --key-file admin.key
  entitlements-admin catalog export catalog --from ./entitlements-data

It writes `modules.toml`, `features.toml`, `plans.toml` and so on. Comments in them do not survive.")]
    Export(ExportArguments),
    /// Make files the catalog in force, while the control plane is not running
    #[command(after_help = "Example:
  entitlements-admin catalog import catalog

Tenants in the files are made or replaced in the same commit. While the control plane runs, use
`catalog apply`.")]
    Import {
        /// A folder, or a TOML or JSON file
        path: PathBuf,
        #[command(flatten)]
        folder: Folder,
    },
}

/// How to prove who is asking.
#[derive(Debug, Args)]
pub(crate) struct KeyFile {
    /// A file with a service key. Without it, the key is taken from `ENTITLEMENTS_KEY`
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// A folder, or a TOML or JSON file
    pub(crate) folder: PathBuf,
    /// The address of a control plane, or a folder or file
    #[arg(long, value_name = "URL|PATH")]
    pub(crate) against: String,
    /// Files with the tenants whose answers are to be compared, where `--against` names files
    #[arg(long, value_name = "PATH")]
    pub(crate) tenants: Option<PathBuf>,
    /// From which instant on the answers of `--tenants` are compared; now, where it is not given
    #[arg(long, value_name = "INSTANT", requires = "tenants")]
    pub(crate) at: Option<Timestamp>,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) key: KeyFile,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArguments {
    /// A folder
    pub(crate) folder: PathBuf,
    /// The address of the control plane
    #[arg(long, value_name = "URL")]
    pub(crate) to: String,
    /// The revision of the live catalog that you have looked at and want to replace
    #[arg(long, value_name = "REVISION")]
    pub(crate) seen: Option<u64>,
    /// Make a draft of this name, or bring the one there is up to date, and submit it for approval
    #[arg(long, value_name = "NAME")]
    pub(crate) draft: Option<String>,
    #[command(flatten)]
    pub(crate) key: KeyFile,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// The folder to write to. It is made where there is none
    pub(crate) folder: PathBuf,
    /// The address of a control plane, or its data folder while it is not running
    #[arg(long, value_name = "URL|FOLDER")]
    pub(crate) from: String,
    /// Write over files that no export wrote, and beside files with objects of the catalog
    #[arg(long)]
    pub(crate) force: bool,
    /// The environment of the data folder
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) environment: String,
    #[command(flatten)]
    pub(crate) key: KeyFile,
}
