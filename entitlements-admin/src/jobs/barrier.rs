//! Decides about the barrier that is being prepared, as soon as sidecars have said enough.

use std::time::Duration;

use crate::{
    app::{Actor, App, Command, Error},
    workflow::barrier::Decision,
};

/// How long to wait for a report. Time alone may decide as well.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often to take up what sidecars told other control planes.
const OTHERS_EVERY: Duration = Duration::from_secs(5);

/// Works for as long as it is polled.
pub(super) async fn run(app: App) {
    let (mut reports, mut revisions) = (app.reports(), app.revisions());
    let mut others = tokio::time::interval(OTHERS_EVERY);
    loop {
        let is_preparing = match step(&app).await {
            Ok(is_preparing) => is_preparing,
            Err(error) => {
                tracing::warn!(%error, "a barrier was not decided, and will be tried again");
                true
            }
        };
        tokio::select! {
            _ = reports.changed(), if is_preparing => {}
            () = tokio::time::sleep(LOOK_EVERY), if is_preparing => {}
            _ = revisions.changed() => {}
            _ = others.tick() => {
                if let Err(error) = app.hear_others().await {
                    tracing::warn!(%error, "the sidecars of others are not known");
                }
            }
        }
    }
}

/// Decides once; says whether there is one that is being prepared. Where several control planes
/// share a database, each decides, and the first commit counts.
async fn step(app: &App) -> Result<bool, Error> {
    let Some((id, decision)) = app.barrier_decision() else { return Ok(false) };
    let command = match decision {
        Decision::Wait => return Ok(true),
        Decision::Commit { activate_at } => Command::CommitBarrier { id, activate_at },
        Decision::Abort { reason } => {
            tracing::warn!(reason, "a barrier is aborted");
            Command::AbortBarrier { id, reason }
        }
    };
    match app.execute(&Actor::local("barrier"), command).await {
        Ok(_) | Err(Error::Refused(_) | Error::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
