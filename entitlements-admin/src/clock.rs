//! The one place that reads the clock.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use entitlements_core::{Ratchet, Timestamp};

/// What time it is. It never goes backwards.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Ratchet>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(Ratchet::new(Timestamp::MIN)))
    }
}

impl Clock {
    /// The instant that counts as now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        self.0.advance(SystemTime::now().into())
    }

    /// A point from which to measure how long something takes.
    #[must_use]
    pub fn mark(&self) -> Instant {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        Instant::now()
    }
}
