//! The one place that reads the clock.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use entitlements_core::{Ratchet, Timestamp};

/// What time it is. It never goes backwards. Clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock {
    shown: Arc<Ratchet>,
    /// Whether it stands still until it is told to go on.
    is_manual: bool,
}

impl Default for Clock {
    fn default() -> Self {
        Self { shown: Arc::new(Ratchet::new(Timestamp::MIN)), is_manual: false }
    }
}

impl Clock {
    /// One that shows an instant until [`Clock::advance`] says another: for tests.
    #[must_use]
    pub fn manual(at: Timestamp) -> Self {
        Self { shown: Arc::new(Ratchet::new(at)), is_manual: true }
    }

    /// Sets a manual clock forward; on any other it does nothing.
    pub fn advance(&self, to: Timestamp) {
        if self.is_manual {
            self.shown.advance(to);
        }
    }

    /// Whether it stands still until it is told to go on.
    #[must_use]
    pub const fn is_manual(&self) -> bool {
        self.is_manual
    }

    /// The instant that counts as now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        if self.is_manual {
            return self.shown.advance(Timestamp::MIN);
        }
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        self.shown.advance(SystemTime::now().into())
    }

    /// A point from which to measure how long something takes.
    #[must_use]
    pub fn mark(&self) -> Instant {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        Instant::now()
    }
}
