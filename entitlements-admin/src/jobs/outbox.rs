//! Decides whom to tell of what happened, and tells them.
//!
//! Every control plane on a database works at this: each message is taken by one of them for a while.
//! What is taken goes to its destination beside what goes to others, so that one that is dead or slow
//! delays nobody else.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::task::{Id, JoinError, JoinSet};

use super::{PAUSE, RETRY};
use crate::{
    app::{App, Error},
    store::Recorded,
};

/// For how long to wait, when the process ends, for what is under way.
const DRAIN: Duration = Duration::from_secs(10);

/// Works until the application stops, and then finishes what is under way.
pub(super) async fn run(app: App, holder: String) {
    let mut desk = Desk::new(app.clone(), holder);
    let mut revisions = app.revisions();
    let work = async {
        loop {
            let pause = match desk.start().await {
                Ok(()) => desk.pause().await,
                Err(error) => {
                    tracing::warn!(%error, "messages were not sent, and will be tried again");
                    RETRY
                }
            };
            tokio::select! {
                done = desk.finished(), if !desk.sends.is_empty() => desk.record(done).await,
                _ = revisions.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = app.told_to_stop() => {}
    }
    if tokio::time::timeout(DRAIN, desk.drain()).await.is_err() {
        tracing::warn!(
            "some messages are still under way: it will be found out what became of them"
        );
    }
}

/// Sends everything that is due now, and returns once it is recorded what came of it. Says how many
/// attempts that were.
///
/// # Errors
/// Where the store fails.
pub(super) async fn run_once(app: &App, holder: &str) -> Result<usize, Error> {
    let mut desk = Desk::new(app.clone(), holder.into());
    let mut attempts = 0;
    loop {
        desk.start().await?;
        if desk.sends.is_empty() {
            return Ok(attempts);
        }
        let done = desk.finished().await;
        attempts += done.len();
        desk.record(done).await;
    }
}

/// What is under way.
struct Desk {
    app: App,
    holder: String,
    sends: JoinSet<Recorded>,
    /// Where each goes.
    to: HashMap<Id, String>,
    under_way: BTreeMap<String, usize>,
}

impl Desk {
    fn new(app: App, holder: String) -> Self {
        Self { app, holder, sends: JoinSet::new(), to: HashMap::new(), under_way: BTreeMap::new() }
    }

    /// Decides whom to tell of what is new, and begins to send what is due.
    async fn start(&mut self) -> Result<(), Error> {
        while self.app.route_notices().await? {}
        for claimed in self.app.take_due(&self.holder, &self.under_way).await? {
            let connector = claimed.delivery.connector.clone();
            let (app, holder) = (self.app.clone(), self.holder.clone());
            let send = self.sends.spawn(async move { app.send(claimed, holder).await });
            *self.under_way.entry(connector.clone()).or_default() += 1;
            self.to.insert(send.id(), connector);
        }
        Ok(())
    }

    /// Waits for one that is finished, and takes those that are as well by now.
    async fn finished(&mut self) -> Vec<Recorded> {
        let mut done = Vec::new();
        let first = self.sends.join_next_with_id().await;
        let mut next = first;
        while let Some(ended) = next {
            done.extend(self.took_back(ended));
            next = self.sends.try_join_next_with_id();
        }
        done
    }

    fn took_back(&mut self, ended: Result<(Id, Recorded), JoinError>) -> Option<Recorded> {
        let (id, recorded) = match ended {
            Ok((id, recorded)) => (id, Some(recorded)),
            Err(error) => {
                tracing::error!(%error, "sending a message broke off");
                (error.id(), None)
            }
        };
        if let Some(count) = self.to.remove(&id).and_then(|to| self.under_way.get_mut(&to)) {
            *count = count.saturating_sub(1);
        }
        self.under_way.retain(|_, count| *count > 0);
        recorded
    }

    async fn record(&self, done: Vec<Recorded>) {
        if let Err(error) = self.app.record(done).await {
            // Their leases run out, and it will be found out what became of them.
            tracing::error!(%error, "what came of messages was not recorded");
        }
    }

    /// Until something may be due.
    async fn pause(&self) -> Duration {
        let now = self.app.now();
        match self.app.first_delivery().await {
            Ok(Some(due)) if due > now => due.since(now).min(PAUSE),
            // It waits for another one, or for its destination.
            Ok(Some(_)) => RETRY,
            Ok(None) | Err(_) => PAUSE,
        }
    }

    async fn drain(&mut self) {
        while !self.sends.is_empty() {
            let done = self.finished().await;
            self.record(done).await;
        }
    }
}
