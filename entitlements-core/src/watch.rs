//! In-process use without a sidecar: follow a file, and swap when it changes.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use notify::{RecursiveMode, Watcher as _};

use crate::{
    Entitlements, Revision, Snapshot, StaleRevision, Timestamp,
    document::{Document, DocumentError},
};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// It cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be followed.
    #[error("cannot watch `{}`: {why}", path.display())]
    Watch {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It is not a snapshot, nor a catalog.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It is a snapshot older than the one in use.
    #[error(transparent)]
    Stale(#[from] StaleRevision),
}

/// What happened to a file that is followed.
#[derive(Debug)]
pub enum WatchEvent {
    /// It was read and is in use.
    Published(Revision),
    /// It is bad; the last good one stays in use.
    Kept(WatchError),
}

/// Follows a file for as long as it lives.
pub struct Watch {
    entitlements: Entitlements,
    _watcher: notify::RecommendedWatcher,
}

impl Watch {
    /// What the file says.
    #[must_use]
    pub fn entitlements(&self) -> &Entitlements {
        &self.entitlements
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({:?})", self.entitlements)
    }
}

impl Entitlements {
    /// Follows a snapshot document or a catalog file (TOML or JSON, with its tenants). Each good
    /// change is published in one step. A bad one is told of, and the last good one stays in use.
    ///
    /// A catalog file has no revision of its own: its readings are counted. `clock` says from when
    /// on answers are prepared; [`Timestamp::from`] a `SystemTime` will do. `on_event` is called from
    /// a thread of its own. Dropping the [`Watch`] ends it.
    ///
    /// # Errors
    /// Where the file cannot be read at first, is bad, or cannot be followed.
    pub fn watch(
        path: impl Into<PathBuf>,
        clock: impl Fn() -> Timestamp + Send + 'static,
        mut on_event: impl FnMut(WatchEvent) + Send + 'static,
    ) -> Result<Watch, WatchError> {
        let path = path.into();
        let (sender, changes) = mpsc::channel();
        // The folder is followed, since a file that is replaced by a rename is another file.
        let mut watcher = watcher(&path, sender)?;
        let folder =
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let refused =
            |error: notify::Error| WatchError::Watch { path: path.clone(), why: error.to_string() };
        watcher.watch(folder, RecursiveMode::NonRecursive).map_err(refused)?;

        let mut file = File { path: path.clone(), readings: 0, last: Vec::new() };
        let first = file
            .read(clock())?
            .ok_or_else(|| WatchError::Watch { path, why: "it is empty".into() })?;
        let entitlements = Self::new(first);
        let live = entitlements.clone();
        thread::spawn(move || {
            while changes.recv().is_ok() {
                // One save makes several notices; what has piled up is one change.
                while changes.try_recv().is_ok() {}
                let next = file.read(clock()).and_then(|next| {
                    next.map(|next| {
                        let revision = next.revision();
                        live.publish(next)?;
                        Ok(revision)
                    })
                    .transpose()
                });
                match next {
                    Ok(None) => {}
                    Ok(Some(revision)) => on_event(WatchEvent::Published(revision)),
                    Err(error) => on_event(WatchEvent::Kept(error)),
                }
            }
        });
        Ok(Watch { entitlements, _watcher: watcher })
    }
}

fn watcher(
    path: &Path,
    sender: mpsc::Sender<()>,
) -> Result<notify::RecommendedWatcher, WatchError> {
    let name = path.file_name().map(ToOwned::to_owned);
    let sender = Arc::new(Mutex::new(sender));
    let on_notice = move |notice: notify::Result<notify::Event>| {
        let concerns = notice.is_ok_and(|event| {
            !event.kind.is_access()
                && event.paths.iter().any(|path| path.file_name() == name.as_deref())
        });
        if concerns {
            // Nobody listens any more once the watch has been dropped.
            let _ = sender.lock().unwrap_or_else(PoisonError::into_inner).send(());
        }
    };
    notify::recommended_watcher(on_notice)
        .map_err(|error| WatchError::Watch { path: path.into(), why: error.to_string() })
}

struct File {
    path: PathBuf,
    readings: u64,
    /// What was read last, good or bad, so that a notice without a change is no event.
    last: Vec<u8>,
}

impl File {
    fn read(&mut self, at: Timestamp) -> Result<Option<Snapshot>, WatchError> {
        let bytes = fs::read(&self.path)
            .map_err(|source| WatchError::Read { path: self.path.clone(), source })?;
        // An editor may truncate a file before it writes it; the next notice brings the rest.
        if bytes == self.last || bytes.is_empty() {
            return Ok(None);
        }
        self.last.clone_from(&bytes);
        if bytes.starts_with(b"ENTSNAP\n") {
            return Ok(Some(Snapshot::decode(&bytes, at)?));
        }
        let document =
            Document::parse(&self.path.to_string_lossy(), &String::from_utf8_lossy(&bytes))?;
        let catalog = Arc::new(document.check()?);
        self.readings += 1;
        Ok(Some(Snapshot::compile(Revision(self.readings), catalog, &document.tenants, at)))
    }
}
