//! `entitlements-admin`: the control plane as a program.

mod cli;
mod log;
mod serve;
mod tools;

use std::process::ExitCode;

use clap::Parser;

use self::cli::{CatalogCommand, Cli, Command, Failure};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::refuse(&error),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("entitlements-admin: {failure}");
            failure.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Serve(arguments) => {
            log::start(&arguments.log, arguments.log_format)?;
            serve::run(arguments.config()?)
        }
        Command::Catalog(CatalogCommand::Check { files }) => tools::catalog_check(&files),
        Command::Catalog(CatalogCommand::Import { file, folder }) => {
            tools::catalog_import(&file, &folder.config()?)
        }
        Command::Scenario { files } => tools::scenario(&files),
        Command::Key(command) => tools::key(command),
        Command::Audit(command) => tools::audit(command),
        Command::Backup { to, folder } => tools::backup(&folder.config()?, &to),
        Command::Restore { from, folder } => tools::restore(&folder.config()?, &from),
        Command::Migrate { to, folder } => tools::migrate(&folder.config()?, to),
        Command::Schema { of } => tools::schema(of),
    }
}
