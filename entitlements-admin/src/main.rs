//! `entitlements-admin`: the control plane as a program.

mod cli;
mod code;
mod log;
mod serve;
mod tools;

use std::process::ExitCode;

use clap::Parser;

use self::cli::{Cli, Command, Failure};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::refuse(&error),
    };
    match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("entitlements-admin: {failure}");
            failure.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Serve(arguments) => {
            log::start(&arguments.log, arguments.log_format)?;
            serve::run(arguments.config()?)
        }
        Command::Catalog(command) => return code::run(command),
        Command::Scenario { paths } => code::test(&paths),
        Command::Key(command) => tools::key(command),
        Command::SigningKey(command) => tools::signing_key(command),
        Command::User(command) => tools::user(command),
        Command::Audit(command) => tools::audit(command),
        Command::Backup { to, folder } => tools::backup(&folder.config()?, &to),
        Command::Restore { from, folder } => tools::restore(&folder.config()?, &from),
        Command::Migrate { to, folder } => tools::migrate(&folder.config()?, to),
        Command::Schema { of } => tools::schema(of),
    }?;
    Ok(ExitCode::SUCCESS)
}
