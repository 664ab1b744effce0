//! The commands that do one thing and end.

use std::future::Future;

use entitlements_admin::{
    Admin, Config,
    app::{Actor, App, Command, Error, NewKey},
    http::SchemaDocument,
};

use crate::cli::{AuditCommand, Failure, KeyCommand};

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

/// Walks the audit's hash chain.
pub(crate) fn audit(command: AuditCommand) -> Result<(), Failure> {
    let AuditCommand::Verify { folder } = command;
    match with_app(&folder.config()?, async |app| app.audit_verify().await)? {
        Ok(verified) => {
            println!("the audit is whole: {} rows, head {}", verified.rows, verified.head);
            Ok(())
        }
        Err(fault) => Err(Failure::failed(fault)),
    }
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
