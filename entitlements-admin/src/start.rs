//! Puts the parts together and takes them apart again.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use entitlements_core::Timestamp;
use tokio::net::TcpListener;

use crate::{
    app::{Actor, App, Command, Live, Parts},
    clock::Clock,
    config::{Config, ConfigError},
    http,
    keys::{self, Keys},
    store::{OpenError, ReadError, Store},
    workflow::Scope,
};

/// Why a control plane could not be started. The text is one line, for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data folder cannot be used.
    #[error("cannot use the data folder `{}`: {why}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing can listen there.
    #[error("cannot listen on {listen}: {why}")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// What is wrong.
        why: String,
    },
    /// The first token could not be made.
    #[error("cannot make the first access token: {0}")]
    Token(#[from] crate::app::Error),
}

/// The control plane.
#[derive(Debug)]
pub struct Admin;

impl Admin {
    /// Opens the data folder, without listening: for the command line and for tests.
    ///
    /// # Errors
    /// Where the folder cannot be used. The text says why.
    pub fn open(config: &Config) -> Result<App, StartError> {
        config.check()?;
        let folder = config.data.clone();
        open(config).map_err(|why| StartError::Folder { folder, why })
    }

    /// Opens the data folder and listens. The first time, it makes an admin token.
    ///
    /// # Errors
    /// Where it cannot be started. The text says why.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        let app = Self::open(&config)?;
        let listen = config.listen;
        let refused = |error: io::Error| StartError::Listen { listen, why: listen_problem(&error) };
        // First the port, then the token: it is shown only once, and not to nobody.
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let addr = listener.local_addr().map_err(refused)?;
        let first_token = first_token(&app).await?;
        let server = http::listen::Server::start(listener, app.clone());
        Ok(Running { app, addr, first_token, server })
    }
}

/// A control plane that is up. Dropped, it ends without waiting; [`Running::stop`] waits.
#[derive(Debug)]
pub struct Running {
    app: App,
    addr: SocketAddr,
    first_token: Option<String>,
    server: http::listen::Server,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The admin token that was made because there was none. It cannot be shown again.
    #[must_use]
    pub fn first_token(&self) -> Option<&str> {
        self.first_token.as_deref()
    }

    /// The application: everything that the HTTP API does, in the process.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// The root public key, in hex digits: what a sidecar must be given to trust this one.
    #[must_use]
    pub fn trust(&self) -> String {
        self.app.trust()
    }

    /// Takes no more connections, answers what was asked, and closes the store.
    pub async fn stop(self) {
        self.app.stop_waiting();
        self.server.stop().await;
        let app = self.app.clone();
        if tokio::task::spawn_blocking(move || app.close()).await.is_err() {
            tracing::error!("the store was not closed in an orderly way");
        }
    }
}

fn open(config: &Config) -> Result<App, String> {
    let data = &config.data;
    fs::create_dir_all(data).map_err(|error| folder_problem(&error))?;
    let lock = lock(&data.join("lock"))?;
    let clock = Clock::default();
    let now = clock.now();
    let (store, live) = open_store(&data.join("entitlements.db"), now)?;
    let keys = claim(&store, config)?;
    let epoch = store
        .read_blocking(|store| {
            live.load(store, now)?;
            store.epoch()
        })
        .map_err(|error| error.to_string())?;
    Ok(App::new(Parts {
        store,
        live,
        clock,
        keys,
        environment: config.environment.clone(),
        epoch,
        max_age_s: config.max_age_s,
        lock,
    }))
}

fn open_store(path: &Path, now: Timestamp) -> Result<(Store, Arc<Live>), String> {
    let live = Arc::new(Live::new(now).map_err(|error| error.to_string())?);
    let follower = Arc::clone(&live);
    let store = Store::open(path, now, move |revision, changes| follower.apply(revision, changes))
        .map_err(|error: OpenError| error.to_string())?;
    Ok((store, live))
}

/// Takes the folder for this process. The operating system gives it back when the process ends.
fn lock(path: &Path) -> Result<File, String> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| folder_problem(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err("another process uses it: stop that one first, \
             or give this one another folder with `--data`"
            .into()),
        Err(fs::TryLockError::Error(error)) => Err(folder_problem(&error)),
    }
}

/// Makes sure that database, keys and environment belong together.
fn claim(store: &Store, config: &Config) -> Result<Keys, String> {
    let text = |error: ReadError| error.to_string();
    let (environment, root) = store
        .read_blocking(|store| Ok((store.meta("environment")?, store.meta("root_public")?)))
        .map_err(text)?;
    if let Some(known) = environment.filter(|known| *known != config.environment) {
        return Err(format!(
            "it belongs to environment `{known}`, not `{}`: set `--environment {known}` or use \
             another folder",
            config.environment
        ));
    }
    let keys = keys::open(&config.data, root.is_none())?;
    let public = keys::trust(&keys);
    match root {
        Some(known) if known != public => Err(format!(
            "`keys/root.key` is not the key that this database was made with ({known}): put that \
             one back"
        )),
        Some(_) => Ok(keys),
        None => {
            store.meta_put("environment", &config.environment).map_err(text)?;
            store.meta_put("root_public", &public).map_err(text)?;
            Ok(keys)
        }
    }
}

async fn first_token(app: &App) -> Result<Option<String>, StartError> {
    if app.tokens().iter().any(|token| token.scope == Scope::Admin) {
        return Ok(None);
    }
    let command = Command::CreateToken { scope: Scope::Admin, label: "first token".into() };
    let outcome = app.execute(&Actor::local("first start"), command).await?;
    Ok(outcome.token.map(|token| token.text))
}

fn folder_problem(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "this user may not write there: change its owner, or use another with `--data`".into()
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "part of the path is a file: use another with `--data`".into()
        }
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        _ => error.to_string(),
    }
}

fn listen_problem(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use: stop what uses it, or choose another with `--listen`".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        io::ErrorKind::PermissionDenied => "this user may not use that port".into(),
        _ => error.to_string(),
    }
}
