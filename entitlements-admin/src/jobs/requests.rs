//! Goes on with requests whose time has come: steps, deadlines, warnings, and what ends.
//!
//! Every control plane on a database works at this: each request is taken by one of them for a while.
//! What takes long, such as asking a broker, goes on beside the rest.

use std::{collections::BTreeMap, time::Duration};

use tokio::task::{Id, JoinSet};

use super::{PAUSE, RETRY};
use crate::app::{App, Error};

/// How many are worked on at the same time.
const UNDER_WAY_MAX: usize = 64;
/// For how long to wait, when the process ends, for what is under way.
const DRAIN: Duration = Duration::from_secs(10);

/// Works until the application stops, and then finishes what is under way.
pub(super) async fn run(app: App) {
    // Whoever sets the clock says when: nothing comes by itself under a clock that stands still.
    if app.clock().is_manual() {
        return;
    }
    if let Err(error) = app.index_requests().await {
        tracing::error!(%error, "some requests are in no list");
    }
    let mut desk = Desk::new(app.clone());
    let mut revisions = app.revisions();
    let work = async {
        loop {
            let pause = match desk.start().await {
                Ok(()) => desk.pause().await,
                Err(error) => {
                    tracing::warn!(%error, "requests did not go on, and will be tried again");
                    RETRY
                }
            };
            tokio::select! {
                () = desk.finished(), if !desk.work.is_empty() => {}
                _ = revisions.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = app.told_to_stop() => {}
    }
    let drain = async { while desk.work.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drain).await.is_err() {
        tracing::warn!("some steps are still under way: they are asked about again");
    }
}

/// Goes on with everything that is due now, and returns once nothing is any more. Says how many
/// requests that were.
///
/// # Errors
/// Where the store fails.
pub(super) async fn run_once(app: &App) -> Result<usize, Error> {
    let mut desk = Desk::new(app.clone());
    let mut count = 0;
    loop {
        desk.start().await?;
        if desk.work.is_empty() {
            return Ok(count);
        }
        count += desk.work.len();
        while !desk.work.is_empty() {
            desk.finished().await;
        }
    }
}

/// What is under way.
struct Desk {
    app: App,
    work: JoinSet<()>,
    under_way: BTreeMap<String, Id>,
}

impl Desk {
    fn new(app: App) -> Self {
        Self { app, work: JoinSet::new(), under_way: BTreeMap::new() }
    }

    /// Begins with what is due, as much as there is room for.
    async fn start(&mut self) -> Result<(), Error> {
        for (kind, row) in self.app.due_requests().await? {
            let name = format!("{}/{}", kind.code(), row.key);
            if self.work.len() >= UNDER_WAY_MAX {
                break;
            }
            if self.under_way.contains_key(&name) {
                continue;
            }
            let app = self.app.clone();
            let work = self.work.spawn(async move {
                let key = row.key.clone();
                if let Err(error) = app.tend(kind, row).await {
                    tracing::warn!(%error, kind = kind.code(), key, "it did not go on");
                }
            });
            self.under_way.insert(name, work.id());
        }
        Ok(())
    }

    /// Waits for one that is finished, and takes those that are as well by now.
    async fn finished(&mut self) {
        let mut next = self.work.join_next_with_id().await;
        while let Some(ended) = next {
            let id = match ended {
                Ok((id, ())) => id,
                Err(error) => {
                    tracing::error!(%error, "going on with a request broke off");
                    error.id()
                }
            };
            self.under_way.retain(|_, known| *known != id);
            next = self.work.try_join_next_with_id();
        }
    }

    /// Until something may be due.
    async fn pause(&self) -> Duration {
        let now = self.app.now();
        match self.app.next_due_request().await {
            Ok(Some(due)) if due > now => due.since(now).min(PAUSE),
            // It is under way, or somebody else has it.
            Ok(Some(_)) => RETRY,
            Ok(None) | Err(_) => PAUSE,
        }
    }
}
