//! The catalog in files: checked, compared with what is live, applied to it and exported from it.

mod apply;
mod check;
mod export;
mod folder;
mod lock;
mod plan;
mod remote;
mod show;
mod write;

use std::{path::Path, process::ExitCode};

use entitlements_admin::{Config, app};
use entitlements_core::document::Document;

pub(crate) use self::check::test;
use crate::{
    cli::{CatalogCommand, Failure},
    tools,
};

/// Runs a command.
pub(crate) fn run(command: CatalogCommand) -> Result<ExitCode, Failure> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        CatalogCommand::Validate { paths } => check::validate(&paths).map(done),
        CatalogCommand::Test { paths } => test(&paths).map(done),
        CatalogCommand::Plan(arguments) => plan::run(&arguments),
        CatalogCommand::Apply(arguments) => apply::run(&arguments).map(done),
        CatalogCommand::Export(arguments) => export::run(&arguments).map(done),
        CatalogCommand::Import { path, folder } => import(&path, &folder.config()?).map(done),
    }
}

/// Makes files the catalog in force.
fn import(path: &Path, config: &Config) -> Result<(), Failure> {
    let Document { catalog, tenants, .. } = checked(path)?;
    let count = tenants.len();
    let command = app::Command::ImportAll { draft: Box::new(catalog), tenants };
    let run = async |app: app::App| app.execute(tools::local(), command).await;
    let outcome = tools::with_app(config, run)?;
    for warning in &outcome.warnings {
        eprintln!("warning: {warning}");
    }
    println!("revision {}: the catalog and {count} tenants are in force", outcome.revision);
    Ok(())
}

/// The files at a path as one document in which nothing is wrong.
fn checked(path: &Path) -> Result<Document, Failure> {
    let document = folder::read(path)?;
    document.check().map_err(Failure::failed)?;
    Ok(document)
}
