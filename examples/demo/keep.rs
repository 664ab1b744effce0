//! Keeps the demo's keys in its folder, readable by its owner alone, so that a second start has
//! the same.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use entitlements_admin::{
    Running,
    app::{Actor, Command, NewKey},
    workflow::Scope,
};

/// What opens the admin.
pub(crate) struct Keys {
    /// For people.
    pub(crate) admin: String,
    /// For the sidecar.
    pub(crate) sync: String,
}

/// The keys of the last start, or new ones where they are not there or open nothing any more.
pub(crate) async fn keys(admin: &Running, data: &Path) -> Result<Keys, String> {
    let folder = data.join("demo");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| format!("cannot make the folder `{}`: {error}", folder.display()))?;
    let first = admin.first_key();
    Ok(Keys {
        admin: key(admin, Scope::Admin, first, &folder.join("admin.key")).await?,
        sync: key(admin, Scope::Sync, None, &folder.join("sync.key")).await?,
    })
}

async fn key(
    admin: &Running,
    scope: Scope,
    first: Option<&str>,
    file: &Path,
) -> Result<String, String> {
    let kept = fs::read_to_string(file).unwrap_or_default();
    if admin.app().actor(kept.trim()).await.is_ok() {
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
    let command = Command::CreateKey(NewKey::new(scope, format!("demo, {scope}")));
    let made = admin.app().execute(&Actor::local("demo"), command).await;
    let key = made.map_err(|error| error.to_string())?.secret;
    key.ok_or_else(|| "the admin made no key".into())
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
