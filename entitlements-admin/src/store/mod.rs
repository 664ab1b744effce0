//! The store: one `SQLite` file with one writer and a few readers.
//!
//! [`Store::commit`] is the only thing in the control plane that changes durable state. It draws the
//! revision, checks what the changeset expects, writes the rows and the audit row, and returns once
//! all of it is on the disk. Whoever watches the store is told of each commit in revision order.

mod audit;
mod migrate;
mod read;
mod sql;
mod writer;

use std::{
    fmt, panic,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
};

use entitlements_core::{Revision, TenantKey, Timestamp};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

pub use self::{
    audit::{AuditEntry, AuditFault, Verified},
    migrate::MigrateError,
    read::{ReadError, Reading, Stored, TenantRow},
};
use crate::workflow::Changeset;

/// Why nothing was committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Something is no longer what the changeset expects.
    #[error("{0}")]
    Conflict(Box<Conflict>),
    /// It would revoke the last token that may create others.
    #[error("it is the last admin token: create another one first")]
    LastAdminToken,
    /// There is no such token to revoke.
    #[error("there is no token `{0}`")]
    UnknownToken(String),
    /// The store cannot be written to now, or is closed.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The disk failed. Nothing more is written until the next start.
    #[error("the store is broken: {0}")]
    Broken(String),
}

/// What stood in the way of a changeset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Of what.
    pub subject: Subject,
    /// What the changeset expected; absent where it expected nothing to be there.
    pub expected: Option<Revision>,
    /// What is there now.
    pub present: Option<Stored>,
}

/// What can be in conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The catalog.
    Catalog,
    /// A tenant.
    Tenant(TenantKey),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalog => f.write_str("the catalog"),
            Self::Tenant(key) => write!(f, "tenant `{key}`"),
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.subject;
        match (&self.expected, &self.present) {
            (Some(expected), Some(present)) => {
                write!(f, "{subject} is at revision {}, not {expected}", present.revision)
            }
            (Some(expected), None) => write!(f, "{subject} is gone, it was expected at {expected}"),
            (None, Some(present)) => {
                write!(f, "{subject} exists already, at revision {}", present.revision)
            }
            (None, None) => write!(f, "{subject} does not exist"),
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its schema is not ours.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The file cannot be used.
    #[error("the database cannot be opened: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// No thread for the writer.
    #[error("the store's writer cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

type Reply = oneshot::Sender<Result<Revision, CommitError>>;

/// What the writer is asked to do.
struct Work {
    changes: Changeset,
    reply: Reply,
}

/// How many readers are kept open.
const READERS_MAX: usize = 4;

/// An open store.
pub struct Store {
    path: PathBuf,
    writer: Mutex<Option<(mpsc::Sender<Work>, thread::JoinHandle<()>)>>,
    readers: Arc<Mutex<Vec<Connection>>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.path.display())
    }
}

impl Store {
    /// Opens or makes the database file and starts its writer.
    ///
    /// `committed` is called on the writer's thread after each commit, in revision order, before
    /// the caller of [`Store::commit`] is answered.
    ///
    /// # Errors
    /// Where the file cannot be used, or was written by a newer version.
    pub fn open(
        path: &Path,
        at: Timestamp,
        committed: impl FnMut(Revision, &Changeset) + Send + 'static,
    ) -> Result<Self, OpenError> {
        let mut connection = Connection::open(path)?;
        configure(&connection)?;
        migrate::migrate(&mut connection, at)?;
        let (sender, receiver) = mpsc::channel();
        let run = move || write_all(connection, &receiver, committed);
        let thread = thread::Builder::new().name("store-writer".into()).spawn(run)?;
        Ok(Self {
            path: path.into(),
            writer: Mutex::new(Some((sender, thread))),
            readers: Arc::default(),
        })
    }

    /// Makes a changeset durable, whole, and says at which revision.
    ///
    /// Once called it happens, whether or not anyone waits for the answer.
    ///
    /// # Errors
    /// Where nothing was changed, and why.
    pub async fn commit(&self, changes: Changeset) -> Result<Revision, CommitError> {
        let closed = || CommitError::Unavailable("its writer has stopped".into());
        let (reply, answer) = oneshot::channel();
        {
            let writer = lock(&self.writer);
            let (sender, _) = writer.as_ref().ok_or_else(closed)?;
            sender.send(Work { changes, reply }).map_err(|_| closed())?;
        }
        answer.await.map_err(|_| closed())?
    }

    /// Whether commits can still be taken.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        lock(&self.writer).as_ref().is_some_and(|(_, thread)| !thread.is_finished())
    }

    /// Reads something, all of it at one revision, away from the async threads.
    ///
    /// # Errors
    /// Where the database fails or holds what this version cannot read.
    pub async fn read<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Reading<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (path, readers) = (self.path.clone(), Arc::clone(&self.readers));
        let task = tokio::task::spawn_blocking(move || read_on(&path, &readers, what));
        match task.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panicked) => panic::resume_unwind(panicked),
                Err(_) => Err(ReadError::Closed),
            },
        }
    }

    /// As [`Store::read`], on this thread.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_blocking<T>(
        &self,
        what: impl FnOnce(&Reading<'_>) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        read_on(&self.path, &self.readers, what)
    }

    /// Keeps a fact about the data folder. It is no part of what people may change, and not audited.
    ///
    /// # Errors
    /// Where the database fails.
    pub fn meta_put(&self, name: &str, value: &str) -> Result<(), ReadError> {
        let connection = Connection::open(&self.path)?;
        configure(&connection)?;
        connection.execute(sql::META_PUT, [name, value])?;
        Ok(())
    }

    /// Finishes what is queued and closes the file. Commits after that are refused.
    pub fn close(&self) {
        // The last connection to close folds the log into the file, and readers may not write.
        lock(&self.readers).clear();
        let writer = lock(&self.writer).take();
        if let Some((sender, thread)) = writer {
            drop(sender);
            if thread.join().is_err() {
                tracing::error!("the store's writer ended in a panic");
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

// What these locks guard is whole between any two statements: a panic elsewhere cannot break it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `FULL`: a commit that was answered must survive a power cut.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// The writer's thread: one changeset after the other, until nobody can send any more.
fn write_all(
    mut connection: Connection,
    work: &mpsc::Receiver<Work>,
    mut committed: impl FnMut(Revision, &Changeset),
) {
    while let Ok(Work { changes, reply }) = work.recv() {
        let result = writer::commit(&mut connection, &changes);
        if let Ok(revision) = result {
            committed(revision, &changes);
        }
        let fatal = matches!(&result, Err(CommitError::Broken(_)));
        // Nobody waits for the answer any more: the commit stands all the same.
        drop(reply.send(result));
        // After a failed write or sync nothing that `SQLite` holds in memory can be trusted. The
        // next start recovers from what is on the disk.
        if fatal {
            tracing::error!("a commit failed in the store: no more writes until the next start");
            break;
        }
    }
}

fn read_on<T>(
    path: &Path,
    readers: &Mutex<Vec<Connection>>,
    what: impl FnOnce(&Reading<'_>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let pooled = lock(readers).pop();
    let mut connection = match pooled {
        Some(connection) => connection,
        None => open_reader(path)?,
    };
    let transaction = connection.transaction()?;
    let result = what(&Reading::new(&transaction));
    drop(transaction);
    let mut readers = lock(readers);
    if readers.len() < READERS_MAX {
        readers.push(connection);
    }
    result
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}
