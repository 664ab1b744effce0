//! Reconcilers: what is to be done when its time comes, without anybody asking.
//!
//! Each looks at what is there and does what is due. They take no input and may run at any time, as
//! often as one likes. Where several control planes share a database, a lease lets one of them work.

mod barrier;
mod outbox;
mod publisher;
mod requests;
mod retention;

use std::time::Duration;

use entitlements_core::{Revision, Timestamp};
use tokio::task::JoinHandle;

use crate::app::{App, Error};

/// How long to wait when nothing is known to be due.
const PAUSE: Duration = Duration::from_secs(30);
/// How long to wait when something that is due was not done.
const RETRY: Duration = Duration::from_secs(1);
/// How long a lease holds. Who has it takes it again well before.
const LEASE: Duration = Duration::from_secs(90);
/// After how many rows of audit a checkpoint is signed and kept.
const CHECKPOINT_ROWS: u64 = 256;

/// Works until the application stops.
pub(crate) fn start(app: App, holder: String) -> JoinHandle<()> {
    tokio::spawn(async move {
        let work = async {
            loop {
                let seen = app.revision();
                if let Err(error) = run(&app, &holder).await {
                    tracing::warn!(%error, "a reconciler failed, and will try again");
                }
                until_due(&app, seen).await;
            }
        };
        let until_told = async {
            tokio::select! {
                () = work => {}
                () = barrier::run(app.clone()) => {}
                () = app.told_to_stop() => {}
            }
        };
        // The outbox and the requests end by themselves, once what is under way is finished.
        let outbox = outbox::run(app.clone(), holder.clone());
        tokio::join!(until_told, outbox, requests::run(app.clone()));
    })
}

/// Does once whatever is due, where no other process does.
///
/// # Errors
/// Where the store fails. What was done by then is done.
pub async fn run(app: &App, holder: &str) -> Result<(), Error> {
    let now = app.now();
    let until = Timestamp::from_micros(now.as_micros().saturating_add(micros(LEASE)));
    if !app.lease("reconcilers", holder, now, until).await? {
        return Ok(());
    }
    publisher::run(app).await?;
    app.tell_edges().await?;
    app.tell_sidecars().await?;
    retention::run(app).await?;
    app.keep_checkpoint(CHECKPOINT_ROWS).await
}

/// Goes on with every request that is due now, and returns once nothing is due any more. Says how many
/// that were.
///
/// # Errors
/// Where the store fails. What was done by then is done.
pub async fn advance(app: &App) -> Result<usize, Error> {
    requests::run_once(app).await
}

/// Sends every message that is due now, and returns once it is recorded what came of it. Says how
/// many attempts that were.
///
/// # Errors
/// Where the store fails. What was recorded by then is recorded.
pub async fn deliver(app: &App, holder: &str) -> Result<usize, Error> {
    outbox::run_once(app, holder).await
}

/// Waits until there may be something to do since a commit: a draft's instant has come, there are
/// enough new rows for a checkpoint, or it is time to look around.
async fn until_due(app: &App, since: Revision) {
    let mut revisions = app.revisions();
    let rest = tokio::time::sleep(PAUSE);
    tokio::pin!(rest);
    loop {
        let pause = pause(app).await;
        tokio::select! {
            () = &mut rest => return,
            () = tokio::time::sleep(pause) => return,
            // What was committed may be due sooner.
            changed = revisions.changed() => {
                let rows = revisions.borrow().0.saturating_sub(since.0);
                if changed.is_err() || rows >= CHECKPOINT_ROWS {
                    return;
                }
            }
        }
    }
}

async fn pause(app: &App) -> Duration {
    let now = app.now();
    match app.next_due().await {
        Ok(Some(due)) if due > now => due.since(now).min(PAUSE),
        // It was not done although it is due: another process does it, or it failed.
        Ok(Some(_)) => RETRY,
        // Where the store cannot be read, later is soon enough.
        Ok(None) | Err(_) => PAUSE,
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
