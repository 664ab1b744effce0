//! How every task hears that the sidecar stops.

use tokio::sync::watch;

/// Tells every [`Stop`] that it is time. Dropping it tells them too.
#[derive(Debug)]
pub(crate) struct Stopper(watch::Sender<bool>);

/// Hears when it is time to stop.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stopper {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn listen(&self) -> Stop {
        Stop(self.0.subscribe())
    }

    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Waits until it is time. Once it is, it does not wait any more.
    pub(crate) async fn told(&mut self) {
        // An error means that the other side is gone, which means the same.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
