//! Puts the parts together and takes them apart again.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use entitlements_outbound::{ClientConfig, HttpClient, guard::Guard};
use tokio::net::TcpListener;

use crate::{
    app::{Actor, App, Command, Live, NewKey, Parts},
    clock::Clock,
    config::{Config, ConfigError},
    connectors::Clients,
    http, ids, jobs,
    keys::{self, Keys},
    oidc::Oidc,
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
    /// The first key could not be made.
    #[error("cannot make the first service key: {0}")]
    Key(#[from] crate::app::Error),
}

/// The control plane.
#[derive(Debug)]
pub struct Admin;

impl Admin {
    /// Opens the data folder, without listening: for the command line and for tests. It blocks.
    ///
    /// # Errors
    /// Where the folder cannot be used. The text says why.
    pub fn open(config: &Config) -> Result<App, StartError> {
        Self::open_with(config, Clock::default())
    }

    /// The same with another clock.
    ///
    /// # Errors
    /// As [`Admin::open`].
    pub fn open_with(config: &Config, clock: Clock) -> Result<App, StartError> {
        config.check()?;
        let folder = config.data.clone();
        open(config, clock).map_err(|why| StartError::Folder { folder, why })
    }

    /// Takes the data folder for this process alone, as long as what is returned is held.
    ///
    /// # Errors
    /// Where another process has it, or it cannot be used.
    pub fn claim_folder(config: &Config) -> Result<File, StartError> {
        config.check()?;
        let failed = |why| StartError::Folder { folder: config.data.clone(), why };
        make_folder(&config.data).map_err(|error| failed(folder_problem(&error)))?;
        lock(&config.data.join("lock")).map_err(failed)
    }

    /// Makes a new key that signs from the next start on. The one before stays trusted. Says which
    /// list of trusted keys that is.
    ///
    /// # Errors
    /// Where another process has the folder, or the key before the present one is trusted still.
    pub fn rotate_signing_key(config: &Config) -> Result<u64, StartError> {
        let _ours = Self::claim_folder(config)?;
        let failed = |why| StartError::Folder { folder: config.data.clone(), why };
        keys::rotate(&config.data).map(|keys| keys.version).map_err(failed)
    }

    /// Trusts the key from before the last rotation no longer. Says which list of trusted keys that
    /// is.
    ///
    /// # Errors
    /// Where another process has the folder, or there is no such key.
    pub fn retire_signing_key(config: &Config) -> Result<u64, StartError> {
        let _ours = Self::claim_folder(config)?;
        let failed = |why| StartError::Folder { folder: config.data.clone(), why };
        keys::retire(&config.data).map(|keys| keys.version).map_err(failed)
    }

    /// Opens the data folder and listens. The first time, it makes an admin key.
    ///
    /// # Errors
    /// Where it cannot be started. The text says why.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        Self::start_with(config, Clock::default()).await
    }

    /// The same with another clock.
    ///
    /// # Errors
    /// As [`Admin::start`].
    pub async fn start_with(config: Config, clock: Clock) -> Result<Running, StartError> {
        let (listen, is_shared) = (config.listen, config.database.is_some());
        let opening = tokio::task::spawn_blocking(move || Self::open_with(&config, clock));
        let app = opening.await.map_err(|error| StartError::Listen {
            listen,
            why: format!("opening was broken off: {error}"),
        })??;
        let refused = |error: io::Error| StartError::Listen { listen, why: listen_problem(&error) };
        // First the port, then the key: it is shown only once, and not to nobody.
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let addr = listener.local_addr().map_err(refused)?;
        let first_key = first_key(&app).await?;
        let server = http::listen::Server::start(listener, app.clone());
        if !is_shared {
            app.release_requests().await?;
        }
        let jobs = jobs::start(app.clone(), ids::request_id()?);
        Ok(Running { app, addr, first_key, server, jobs })
    }
}

/// A control plane that is up. Dropped, it ends without waiting; [`Running::stop`] waits.
#[derive(Debug)]
pub struct Running {
    app: App,
    addr: SocketAddr,
    first_key: Option<String>,
    server: http::listen::Server,
    jobs: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The admin key that was made because nobody could get in. It cannot be shown again.
    #[must_use]
    pub fn first_key(&self) -> Option<&str> {
        self.first_key.as_deref()
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
        if let Err(error) = self.jobs.await {
            tracing::error!(%error, "the reconcilers did not end in an orderly way");
        }
        let app = self.app.clone();
        if tokio::task::spawn_blocking(move || app.close()).await.is_err() {
            tracing::error!("the store was not closed in an orderly way");
        }
    }
}

fn open(config: &Config, clock: Clock) -> Result<App, String> {
    let data = &config.data;
    make_folder(data).map_err(|error| folder_problem(&error))?;
    // A file is for one process; a server has room for several.
    let lock = match &config.database {
        None => Some(lock(&data.join("lock"))?),
        Some(_) => None,
    };
    let live = Arc::new(Live::new(clock.clone()).map_err(|error| error.to_string())?);
    let follower = Arc::clone(&live);
    let store = Store::open(config.store(), clock.now(), move |store| follower.follow(store))
        .map_err(|error: OpenError| error.to_string())?;
    let keys = claim(&store, config)?;
    let oidc = config.oidc.clone().map(|oidc| {
        let client = HttpClient::new(ClientConfig::default()).map_err(|error| error.to_string())?;
        Oidc::new(oidc, client)
    });
    let oidc = oidc.transpose()?;
    let guard = Guard::allowing(config.allow_networks.clone());
    let clients =
        Clients::new(guard, config.extra_ca.clone()).map_err(|error| error.to_string())?;
    let epoch = store
        .read_blocking(|store| {
            live.load(store)?;
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
        public_url: config.public_url.clone(),
        oidc,
        clients,
        lock,
    }))
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
    let known = store.claim("environment", &config.environment).map_err(text)?;
    if known != config.environment {
        return Err(format!(
            "it belongs to environment `{known}`, not `{}`: set `--environment {known}` or use \
             another folder",
            config.environment
        ));
    }
    let root = store.read_blocking(|store| store.meta("root_public")).map_err(text)?;
    let keys = keys::open(&config.data, root.is_none()).map_err(|why| match config.database {
        Some(_) if root.is_some() => format!(
            "{why}. Where another control plane uses this database, copy the folder `keys` from its \
             data folder"
        ),
        _ => why,
    })?;
    let public = keys::trust(&keys);
    let known = store.claim("root_public", &public).map_err(text)?;
    if known == public {
        return Ok(keys);
    }
    let keys = config.data.join("keys");
    Err(match config.database {
        None => format!(
            "`keys/root.key` is not the key that this database was made with ({known}): put that \
             one back"
        ),
        Some(_) => format!(
            "`{}` does not hold the key that this database was made with ({known}): copy the \
             folder `keys` of the control plane that uses it already",
            keys.display()
        ),
    })
}

async fn first_key(app: &App) -> Result<Option<String>, StartError> {
    if app.somebody_gets_in().await? {
        return Ok(None);
    }
    let command = Command::CreateKey(NewKey::new(Scope::Admin, "first key"));
    let outcome = app.execute(&Actor::local("first start"), command).await?;
    Ok(outcome.secret)
}

/// Makes a folder that is still there after a power cut.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    make_folder(parent)?;
    match fs::create_dir(path) {
        Err(error) if !path.is_dir() => Err(error),
        _ => File::open(parent)?.sync_all(),
    }
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
