//! The commands that do one thing and end.

use std::{fs, future::Future, io, path::Path};

use entitlements_admin::{
    Admin, Config,
    app::{Actor, App, Command, Error, NewKey, NewUser, Outcome},
    audit_export,
    clock::Clock,
    http::SchemaDocument,
    store::{self, Database, Verified},
};
use entitlements_core::signed::PublicKey;

use crate::cli::{AuditCommand, Failure, KeyCommand, SigningKeyCommand, UserCommand};

/// Makes, lists or revokes service keys.
pub(crate) fn key(command: KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::Create { scope, label, folder } => {
            let command = Command::CreateKey(NewKey::new(scope, label));
            let outcome =
                with_app(&folder.config()?, async |app| app.execute(local(), command).await)?;
            if let Some(text) = outcome.secret {
                println!("{text}");
            }
        }
        KeyCommand::List { folder } => {
            for (id, key, _) in with_app(&folder.config()?, async |app| app.keys().await)? {
                println!("{id}  {:7}  {}  {}", key.scope.code(), key.created_at, key.label);
            }
        }
        KeyCommand::Revoke { id, folder } => {
            let command = Command::RevokeKey { id: id.clone() };
            with_app(&folder.config()?, async |app| app.execute(local(), command).await)?;
            println!("key {id} is revoked");
        }
    }
    Ok(())
}

/// Changes the key that signs.
pub(crate) fn signing_key(command: SigningKeyCommand) -> Result<(), Failure> {
    let (change, folder): (fn(&Config) -> _, _) = match command {
        SigningKeyCommand::Rotate { folder } => (Admin::rotate_signing_key, folder),
        SigningKeyCommand::Retire { folder } => (Admin::retire_signing_key, folder),
    };
    let version = change(&folder.config()?)?;
    println!("done: this is list {version} of trusted keys; sidecars ask for it by themselves");
    Ok(())
}

/// Adds, lists or resets people who sign in.
pub(crate) fn user(command: UserCommand) -> Result<(), Failure> {
    let link = |outcome: Outcome| outcome.secret.iter().for_each(|link| println!("{link}"));
    match command {
        UserCommand::Create { email, name, roles, folder } => {
            let wanted = NewUser { email, name, roles: roles.into_iter().collect() };
            let command = Command::CreateUser(wanted);
            let made = async |app: App| app.execute(local(), command).await;
            link(with_app(&folder.config()?, made)?);
        }
        UserCommand::List { folder } => {
            for kept in with_app(&folder.config()?, async |app| app.users().await)? {
                let roles: Vec<&str> = kept.user.roles.iter().map(|role| role.code()).collect();
                let disabled = if kept.user.disabled { "  (disabled)" } else { "" };
                println!("{}  {}  {}{disabled}", kept.id, kept.user.email, roles.join(","));
            }
        }
        UserCommand::Reset { id, folder } => {
            let command = Command::ResetUser { id };
            let made = async |app: App| app.execute(local(), command).await;
            link(with_app(&folder.config()?, made)?);
        }
    }
    Ok(())
}

/// Walks the audit's hash chain.
pub(crate) fn audit(command: AuditCommand) -> Result<(), Failure> {
    let AuditCommand::Verify { export, trust, folder } = command;
    let verified = match (export, trust) {
        (Some(export), Some(trust)) => verify_export(&export, &trust)?,
        _ => with_app(&folder.config()?, async |app| app.audit_verify().await)?
            .map_err(Failure::failed)?,
    };
    println!("the audit is whole: {} rows, head {}", verified.rows, verified.head);
    Ok(())
}

fn verify_export(export: &Path, trust: &Path) -> Result<Verified, Failure> {
    let named = |path: &Path, error: &dyn std::fmt::Display| {
        Failure::failed(format!("`{}`: {error}", path.display()))
    };
    let root = fs::read_to_string(trust).map_err(|error| named(trust, &error))?;
    let root: PublicKey = root.trim().parse().map_err(|error| named(trust, &error))?;
    let file = fs::File::open(export).map_err(|error| named(export, &error))?;
    audit_export::verify(io::BufReader::new(file), root).map_err(|error| named(export, &error))
}

/// Copies the database while it is in use.
pub(crate) fn backup(config: &Config, to: &Path) -> Result<(), Failure> {
    let Database::Sqlite(from) = config.store() else { return Err(own_tools("back up")) };
    store::back_up(&from, to).map_err(Failure::failed)?;
    println!("`{}` holds the database as it is now; keep the folder `keys` too", to.display());
    Ok(())
}

/// Puts a backup in the place of the database.
pub(crate) fn restore(config: &Config, from: &Path) -> Result<(), Failure> {
    let Database::Sqlite(to) = config.store() else { return Err(own_tools("restore")) };
    let _ours = Admin::claim_folder(config)?;
    let epoch = store::restore(from, &to, Clock::default().now()).map_err(Failure::failed)?;
    println!("restored, as epoch {epoch}: sidecars will take it up when the control plane starts");
    Ok(())
}

fn own_tools(what: &str) -> Failure {
    Failure::failed(format!("{what} a PostgreSQL database with its own tools, such as `pg_dump`"))
}

/// Brings the schema up to date, or moves everything to a server.
pub(crate) fn migrate(config: &Config, to: Option<String>) -> Result<(), Failure> {
    let now = Clock::default().now();
    let Some(url) = to else {
        let _ours = Admin::claim_folder(config)?;
        let applied = store::migrate(&config.store(), now).map_err(Failure::failed)?;
        println!("the schema is up to date; {applied} steps were applied");
        return Ok(());
    };
    let target = Config { database: Some(url), ..config.clone() };
    target.check()?;
    let _ours = Admin::claim_folder(config)?;
    let rows = store::copy(&config.store(), &target.store(), now).map_err(Failure::failed)?;
    println!("{rows} rows were copied; start with `--database` and the same data folder now");
    Ok(())
}

/// Prints a JSON Schema.
pub(crate) fn schema(of: SchemaDocument) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&of.schema()).map_err(Failure::failed)?;
    println!("{text}");
    Ok(())
}

pub(crate) fn local() -> Actor {
    Actor::local("command line")
}

/// Opens the data folder, does something, and gives it back.
pub(crate) fn with_app<T, F>(config: &Config, work: impl FnOnce(App) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Error>>,
{
    let app = Admin::open(config)?;
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::failed)?;
    let result = runtime.block_on(work(app.clone())).map_err(with_problems);
    app.close();
    result
}

/// The sentence, and below it every problem that it speaks of.
fn with_problems(error: Error) -> Failure {
    let (Error::InvalidCatalog(problems) | Error::InvalidTenants(problems)) = &error else {
        return Failure::failed(error);
    };
    let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    Failure::Failed(format!("{error}{}", lines.concat()))
}
