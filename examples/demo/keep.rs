//! Keeps the demo's tokens in its folder, readable by its owner alone, so that a second start has
//! the same.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use entitlements_admin::{
    Running,
    app::{Actor, Command},
    workflow::Scope,
};

/// What opens the admin.
pub(crate) struct Tokens {
    /// For people.
    pub(crate) admin: String,
    /// For the sidecar.
    pub(crate) sync: String,
}

/// The tokens of the last start, or new ones where they are not there or open nothing any more.
pub(crate) async fn tokens(admin: &Running, data: &Path) -> Result<Tokens, String> {
    let folder = data.join("demo");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| format!("cannot make the folder `{}`: {error}", folder.display()))?;
    let first = admin.first_token();
    Ok(Tokens {
        admin: token(admin, Scope::Admin, first, &folder.join("admin.token")).await?,
        sync: token(admin, Scope::Sync, None, &folder.join("sync.token")).await?,
    })
}

async fn token(
    admin: &Running,
    scope: Scope,
    first: Option<&str>,
    file: &Path,
) -> Result<String, String> {
    let kept = fs::read_to_string(file).unwrap_or_default();
    if admin.app().actor(&kept).is_ok_and(|actor| actor.scope() == scope) {
        return Ok(kept);
    }
    let text = match first {
        Some(first) => first.to_owned(),
        None => make(admin, scope).await?,
    };
    write_private(file, &text)
        .map_err(|error| format!("cannot write `{}`: {error}", file.display()))?;
    Ok(text)
}

async fn make(admin: &Running, scope: Scope) -> Result<String, String> {
    let command = Command::CreateToken { scope, label: format!("demo, {scope}") };
    let made = admin.app().execute(&Actor::local("demo"), command).await;
    let token = made.map_err(|error| error.to_string())?.token;
    token.map(|token| token.text).ok_or_else(|| "the admin made no token".into())
}

/// Makes the file anew: one that was there might be readable by others.
fn write_private(file: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?
        .write_all(text.as_bytes())
}
