//! The store: `SQLite` in a file, or a `PostgreSQL` database that several control planes share.
//!
//! [`Store::commit`] is the only thing in the control plane that changes what people may change. It
//! draws the revision, checks what the changeset expects, writes objects, versions and the audit
//! row, and returns once all of it is on the disk. [`Store::note`] keeps what is noted in passing.

pub mod audit;
mod copy;
mod index;
mod migrate;
mod note;
mod outbox;
mod postgres;
mod read;
mod session;
mod sql;
mod sqlite;
mod verify;
mod writer;

use std::{
    fmt, panic,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use entitlements_core::{Revision, Timestamp};
use tokio::sync::oneshot;

pub use self::{
    audit::{AuditChange, AuditEntry, AuditFault, Chain, Verified, VersionHash},
    copy::{CopyError, back_up, copy, restore},
    index::{RequestSearch, Tally},
    migrate::MigrateError,
    note::{Note, SIGN_IN_FAILED},
    outbox::{
        Attempt, Claim, Claimed, DeliveryRow, DeliverySearch, NoticeSearch, OutboxState, Recorded,
        Routed, TaskSearch,
    },
    read::{AuditSearch, Listed, Past, ReadError, Reading, Stored, Version},
    session::SqlError,
};
pub(crate) use self::{index::Reindexed, read::Repeated};
use self::{
    postgres::Postgres,
    session::{Mode, Session},
    sqlite::Sqlite,
};
use crate::workflow::{Answer, Changeset, Kind, ObjectId, task::Task};

/// Where a store is.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// A file of our own.
    Sqlite(PathBuf),
    /// A server: `postgres://user:password@host/database`.
    Postgres(String),
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "Sqlite({})", path.display()),
            // There may be a password in it.
            Self::Postgres(_) => f.write_str("Postgres"),
        }
    }
}

impl Database {
    fn open(&self) -> Result<Box<dyn Session>, SqlError> {
        Ok(match self {
            Self::Sqlite(path) => Box::new(Sqlite::open(path)?),
            Self::Postgres(url) => Box::new(Postgres::connect(url)?),
        })
    }

    fn open_to_read(&self) -> Result<Box<dyn Session>, SqlError> {
        Ok(match self {
            Self::Sqlite(path) => Box::new(Sqlite::open_to_read(path)?),
            Self::Postgres(url) => Box::new(Postgres::connect(url)?),
        })
    }
}

/// A commit that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its number.
    pub revision: Revision,
    /// What its caller is told.
    pub answer: Answer,
    /// Whether it was made before, by the same request.
    pub repeated: bool,
}

/// Why nothing was committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Something is no longer what the changeset expects.
    #[error("{0}")]
    Conflict(Box<Conflict>),
    /// The request's name was used for another one.
    #[error("`Idempotency-Key: {0}` was sent with another request before: use a new one")]
    KeyReused(String),
    /// It would leave nobody who can let others in.
    #[error("nobody could let others in any more: make another Super Admin or admin key first")]
    LastSuperAdmin,
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
    pub subject: ObjectId,
    /// What the changeset expected; absent where it expected nothing to be there.
    pub expected: Option<Revision>,
    /// What is there now.
    pub present: Option<Stored>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.subject.for_people();
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
    /// It cannot be used.
    #[error("the database cannot be opened: {0}")]
    Sql(#[from] SqlError),
    /// No thread for the writer.
    #[error("the store's writer cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Follows the commits: called with a view that is not older than the commit, by one or the other
/// thread, at least once after each commit.
type Follower = Arc<dyn Fn(&Reading<'_>) -> Result<(), ReadError> + Send + Sync>;

type CommitReply = oneshot::Sender<Result<Committed, CommitError>>;
type Job = Box<dyn FnOnce(&mut dyn Session) + Send>;

/// What the writer is asked to do.
enum Work {
    Commit(Box<Changeset>, CommitReply),
    Other(Job),
}

/// How many readers are kept open.
const READERS_MAX: usize = 4;
/// How many changesets share one wait for the disk.
const GROUP_MAX: usize = 64;
/// How long to wait for word of a commit by another process before looking anyway.
const WATCH_PATIENCE: Duration = Duration::from_millis(500);

/// An open store.
pub struct Store {
    database: Database,
    writer: Mutex<Option<(mpsc::Sender<Work>, thread::JoinHandle<()>)>>,
    watcher: Mutex<Option<thread::JoinHandle<()>>>,
    readers: Arc<Mutex<Vec<Box<dyn Session>>>>,
    closing: Arc<AtomicBool>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({:?})", self.database)
    }
}

impl Store {
    /// Opens the database, brings its schema up to date and starts its writer. It blocks: not to be
    /// called on threads that serve others.
    ///
    /// `follow` is called after each commit of this process before the caller of [`Store::commit`]
    /// is answered, and soon after each commit of another one.
    ///
    /// # Errors
    /// Where the database cannot be used, or was written by a newer version.
    pub fn open(
        database: Database,
        at: Timestamp,
        follow: impl Fn(&Reading<'_>) -> Result<(), ReadError> + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        let mut session = database.open()?;
        migrate::migrate(&mut *session, at)?;
        let follow: Follower = Arc::new(follow);
        let closing = Arc::new(AtomicBool::new(false));
        let watcher = match &database {
            Database::Sqlite(_) => None,
            Database::Postgres(url) => {
                let (url, follow, closing) = (url.clone(), follow.clone(), closing.clone());
                let run = move || watch(&url, &follow, &closing);
                Some(thread::Builder::new().name("store-watcher".into()).spawn(run)?)
            }
        };
        let (sender, receiver) = mpsc::channel();
        let source = database.clone();
        let run = move || write_all(&source, session, &receiver, &follow);
        let thread = thread::Builder::new().name("store-writer".into()).spawn(run)?;
        Ok(Self {
            database,
            writer: Mutex::new(Some((sender, thread))),
            watcher: Mutex::new(watcher),
            readers: Arc::default(),
            closing,
        })
    }

    /// Makes a changeset durable, whole, and says at which revision.
    ///
    /// Once called it happens, whether or not anyone waits for the answer.
    ///
    /// # Errors
    /// Where nothing was changed, and why. Where the connection to a shared database breaks at the
    /// wrong moment, it may have happened all the same: an `Idempotency-Key` makes asking again safe.
    pub async fn commit(&self, changes: Changeset) -> Result<Committed, CommitError> {
        let closed = || CommitError::Unavailable("its writer has stopped".into());
        let (reply, answer) = oneshot::channel();
        self.send(Work::Commit(Box::new(changes), reply)).ok_or_else(closed)?;
        answer.await.map_err(|_| closed())?
    }

    /// Keeps what is noted in passing: all of it or nothing.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn note(&self, notes: Vec<Note>) -> Result<(), ReadError> {
        self.alone(move |session| note::keep(session, &notes)).await
    }

    /// Takes or keeps the right to do something alone until an instant. `false` where another
    /// process has it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn lease(
        &self,
        name: &'static str,
        holder: String,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, ReadError> {
        self.alone(move |session| note::lease(session, name, &holder, now, until)).await
    }

    /// Notes to whom notices go, each once: all of them or nothing. Says how many messages came of it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn route(&self, routed: Vec<Routed>, at: Timestamp) -> Result<usize, ReadError> {
        self.alone(move |session| outbox::route(session, &routed, at)).await
    }

    /// Takes messages that are due, for a while.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn take_due(&self, claim: Claim) -> Result<Vec<Claimed>, ReadError> {
        self.alone(move |session| outbox::claim(session, &claim)).await
    }

    /// Records what came of messages that were taken.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn record(&self, recorded: Vec<Recorded>) -> Result<(), ReadError> {
        self.alone(move |session| outbox::record(session, &recorded)).await
    }

    /// Keeps a follow-up.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn put_task(&self, task: Task) -> Result<(), ReadError> {
        self.alone(move |session| outbox::put_task(session, &task)).await
    }

    /// Takes something that is due, so that nobody else does for a while. `false` where somebody has,
    /// or it is another by now. It draws no revision.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn claim_due(
        &self,
        id: ObjectId,
        revision: Revision,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, ReadError> {
        self.alone(move |session| note::claim_due(session, &id, revision, now, until)).await
    }

    /// Puts off when something is to be looked at, where it is still as it was.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn postpone(
        &self,
        id: ObjectId,
        revision: Revision,
        until: Option<Timestamp>,
    ) -> Result<(), ReadError> {
        self.alone(move |session| note::postpone(session, &id, revision, until)).await
    }

    /// Makes due what was taken until an instant by somebody who is gone.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn release(
        &self,
        kind: Kind,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<(), ReadError> {
        self.alone(move |session| note::release(session, kind, now, until)).await
    }

    /// Keeps what objects are found by, where they are still as they were. Says how many were.
    ///
    /// # Errors
    /// Where the database fails.
    pub(crate) async fn reindex(&self, all: Vec<Reindexed>) -> Result<usize, ReadError> {
        self.alone(move |session| index::reindex(session, &all)).await
    }

    /// Takes out a sign-in that went to an identity provider: it is there once.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn take_pending(&self, state_hash: String) -> Result<Option<String>, ReadError> {
        self.alone(move |session| note::take_pending(session, &state_hash)).await
    }

    /// Does something in a transaction of its own on the writer's thread.
    async fn alone<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut dyn Session) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |session| {
            // Nobody waits for the answer any more: it is done all the same.
            drop(reply.send(in_transaction(session, what)));
        });
        self.send(Work::Other(job)).ok_or(ReadError::Closed)?;
        Ok(answer.await.map_err(|_| ReadError::Closed)??)
    }

    fn send(&self, work: Work) -> Option<()> {
        let writer = lock(&self.writer);
        let (sender, _) = writer.as_ref()?;
        sender.send(work).ok()
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
        let (database, readers) = (self.database.clone(), Arc::clone(&self.readers));
        let task = tokio::task::spawn_blocking(move || read_on(&database, &readers, what));
        match task.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panicked) => panic::resume_unwind(panicked),
                Err(_) => Err(ReadError::Closed),
            },
        }
    }

    /// As [`Store::read`], for programs that are not async. The caller waits.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_blocking<T: Send>(
        &self,
        what: impl FnOnce(&Reading<'_>) -> Result<T, ReadError> + Send,
    ) -> Result<T, ReadError> {
        let read = || read_on(&self.database, &self.readers, what);
        // A thread of its own: the client of a shared database must not be used on async ones.
        thread::scope(|scope| scope.spawn(read).join()).unwrap_or(Err(ReadError::Closed))
    }

    /// Keeps a fact about the store, unless another process was first; says what holds now. It is no
    /// part of what people may change, and not audited.
    ///
    /// # Errors
    /// Where the database fails.
    pub fn claim(&self, name: &str, value: &str) -> Result<String, ReadError> {
        let claim = || {
            let mut session = self.database.open()?;
            in_transaction(&mut *session, |session| note::claim(session, name, value))
        };
        let claimed = thread::scope(|scope| scope.spawn(claim).join());
        Ok(claimed.unwrap_or_else(|_| Err(SqlError::Unavailable("it is closed".into())))?)
    }

    /// Finishes what is queued and closes the database. Commits after that are refused.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        let readers = std::mem::take(&mut *lock(&self.readers));
        let (writer, watcher) = (lock(&self.writer).take(), lock(&self.watcher).take());
        let end = move || {
            // The last connection to close folds the log into the file, and readers may not write.
            drop(readers);
            let threads = writer.map(|(sender, thread)| {
                drop(sender);
                thread
            });
            for thread in threads.into_iter().chain(watcher) {
                if thread.join().is_err() {
                    tracing::error!("a thread of the store ended in a panic");
                }
            }
        };
        // Connections to a shared database must not be closed on async threads.
        if thread::scope(|scope| scope.spawn(end).join()).is_err() {
            tracing::error!("the store was not closed in an orderly way");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Brings a database to the schema of this version, and says how many steps that took.
///
/// # Errors
/// Where it cannot be used, or was written by a newer version.
pub fn migrate(database: &Database, at: Timestamp) -> Result<usize, OpenError> {
    Ok(migrate::migrate(&mut *database.open()?, at)?)
}

// What these locks guard is whole between any two statements: a panic elsewhere cannot break it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writer's thread: one group of changesets after the other, until nobody can send any more.
fn write_all(
    database: &Database,
    mut session: Box<dyn Session>,
    work: &mpsc::Receiver<Work>,
    follow: &Follower,
) {
    while let Ok(first) = work.recv() {
        if session.is_closed() {
            match database.open() {
                Ok(fresh) => session = fresh,
                Err(error) => tracing::warn!(%error, "the database cannot be reached"),
            }
        }
        let mut group = Vec::new();
        let mut next = Some(first);
        while let Some(one) = next {
            match one {
                Work::Commit(changes, reply) => group.push((changes, reply)),
                Work::Other(job) => {
                    commit_group(&mut *session, &mut group, follow);
                    job(&mut *session);
                }
            }
            next = if group.len() < GROUP_MAX { work.try_recv().ok() } else { None };
        }
        if commit_group(&mut *session, &mut group, follow) {
            // After a failed write or sync nothing that `SQLite` holds in memory can be trusted.
            // The next start recovers from what is on the disk.
            tracing::error!("a commit failed in the store: no more writes until the next start");
            break;
        }
    }
}

/// Whether nothing more may be written.
fn commit_group(
    session: &mut dyn Session,
    group: &mut Vec<(Box<Changeset>, CommitReply)>,
    follow: &Follower,
) -> bool {
    if group.is_empty() {
        return false;
    }
    let changes: Vec<&Changeset> = group.iter().map(|(changes, _)| &**changes).collect();
    let results = writer::commit_all(session, &changes);
    if results.iter().any(Result::is_ok) {
        follow_now(session, follow);
    }
    let fatal = results.iter().any(|result| matches!(result, Err(CommitError::Broken(_))));
    for ((_, reply), result) in group.drain(..).zip(results) {
        // Nobody waits for the answer any more: the commit stands all the same.
        drop(reply.send(result));
    }
    fatal
}

fn follow_now(session: &mut dyn Session, follow: &Follower) {
    if let Err(error) = read_in(session, |reading| follow(reading)) {
        tracing::error!(%error, "a commit was not taken up");
    }
}

/// The watcher's thread: takes up what other processes commit.
fn watch(url: &str, follow: &Follower, closing: &AtomicBool) {
    let mut session: Option<Postgres> = None;
    while !closing.load(Ordering::Relaxed) {
        let connected = match session.take().filter(|session| !session.is_closed()) {
            Some(session) => Ok(session),
            None => Postgres::connect(url),
        };
        let waited = connected.and_then(|mut connected| {
            connected.wait_for_commit(WATCH_PATIENCE)?;
            Ok(connected)
        });
        match waited {
            Ok(mut connected) => {
                follow_now(&mut connected, follow);
                session = Some(connected);
            }
            Err(error) => {
                tracing::warn!(%error, "commits of other processes are not seen now");
                thread::park_timeout(WATCH_PATIENCE);
            }
        }
    }
}

fn in_transaction<T>(
    session: &mut dyn Session,
    what: impl FnOnce(&mut dyn Session) -> Result<T, SqlError>,
) -> Result<T, SqlError> {
    session.begin(Mode::Write)?;
    let result = what(session).and_then(|value| {
        session.commit()?;
        Ok(value)
    });
    if result.is_err() {
        session.roll_back();
    }
    result
}

fn read_in<T>(
    session: &mut dyn Session,
    what: impl FnOnce(&Reading<'_>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    session.begin(Mode::Read)?;
    let result = what(&Reading::new(session));
    session.roll_back();
    result
}

fn read_on<T>(
    database: &Database,
    readers: &Mutex<Vec<Box<dyn Session>>>,
    what: impl FnOnce(&Reading<'_>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let pooled = lock(readers).pop().filter(|session| !session.is_closed());
    let mut session = match pooled {
        Some(session) => session,
        None => database.open_to_read()?,
    };
    let result = read_in(&mut *session, what);
    let mut readers = lock(readers);
    if readers.len() < READERS_MAX && !session.is_closed() {
        readers.push(session);
    }
    result
}
