//! The handle an application holds: the current snapshot, swapped in one step.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::{ArcSwap, Cache, Guard};

use crate::{Revision, Snapshot};

/// The current snapshot. Clones share it.
#[derive(Clone)]
pub struct Entitlements {
    current: Arc<ArcSwap<Snapshot>>,
    /// Publishers take turns; readers never wait.
    turn: Arc<Mutex<()>>,
}

/// Why a snapshot was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "revision {offered} is older than {current}, which is published; an old world must not come back"
)]
pub struct StaleRevision {
    /// What was offered.
    pub offered: Revision,
    /// What is published.
    pub current: Revision,
}

impl Entitlements {
    /// Starts with a snapshot.
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(first)), turn: Arc::default() }
    }

    /// Publishes a snapshot: every check that starts after this sees it, whole.
    ///
    /// The same revision may be published again, which is how prepared answers are refreshed.
    ///
    /// # Errors
    /// Where a later revision is published already; nothing is changed then.
    pub fn publish(&self, next: Snapshot) -> Result<(), StaleRevision> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (offered, current) = (next.revision(), self.current.load().revision());
        if offered < current {
            return Err(StaleRevision { offered, current });
        }
        self.current.store(Arc::new(next));
        Ok(())
    }

    /// Publishes a snapshot whatever its revision is: for a publisher that starts a new epoch, with
    /// revisions of its own, because it was restored from a backup.
    pub fn publish_epoch(&self, first: Snapshot) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.current.store(Arc::new(first));
    }

    /// Holds on to the current snapshot: all checks under one pin agree. Take one for each request.
    #[must_use]
    #[inline]
    pub fn pin(&self) -> Pin {
        Pin(self.current.load())
    }

    /// The current snapshot, to be kept for longer than a pin should be.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// A reader for hot loops: one for each thread, asked again before each check.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader(Cache::new(self.current.clone()))
    }
}

impl fmt::Debug for Entitlements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entitlements({:?})", &*self.pin())
    }
}

/// One consistent view of the world.
pub struct Pin(Guard<Arc<Snapshot>>);

impl Deref for Pin {
    type Target = Snapshot;
    #[inline]
    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({:?})", &**self)
    }
}

/// Reads the current snapshot without touching anything that other threads write.
pub struct Reader(Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>);

impl Reader {
    /// The current snapshot.
    #[inline]
    pub fn load(&mut self) -> &Snapshot {
        self.0.load()
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}
