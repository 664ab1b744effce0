//! Lets go of what need not be kept any longer.

use std::time::Duration;

use entitlements_core::Timestamp;

use super::micros;
use crate::{
    app::{App, Error},
    store::Note,
    workflow::settings::OutboxSetting,
    workflow::sign_in::{FAILURES_KEPT, SESSION_AGE_MAX, SESSION_IDLE_MAX},
};

const DAY: Duration = Duration::from_hours(24);
/// For how long a repeated request is known.
const ANSWERS_KEPT: Duration = DAY;

/// Lets go of answers to old requests, of sign-ins that are over or came to nothing, and of versions
/// that nobody wants to know of any more.
pub(super) async fn run(app: &App) -> Result<(), Error> {
    let now = app.now();
    let (outbox, _) = app.setting::<OutboxSetting>().await?;
    let notes = vec![
        Note::PruneAnswers { before: now.minus(ANSWERS_KEPT) },
        Note::PruneSessions {
            created_before: now.minus(SESSION_AGE_MAX),
            seen_before: now.minus(SESSION_IDLE_MAX),
        },
        Note::PrunePending { before: now },
        Note::PruneFailures { before: now.minus(FAILURES_KEPT) },
        Note::PruneOutbox { before: now.minus(DAY.saturating_mul(outbox.kept_days)) },
    ];
    app.keep_notes(notes).await?;
    let Some(days) = app.retention().await?.history_days else { return Ok(()) };
    // By whole days: what is pruned stands in the audit, and one row a day is enough.
    let horizon = now.minus(DAY.saturating_mul(days));
    let since_midnight = horizon.as_micros().rem_euclid(micros(DAY));
    app.prune_history(Timestamp::from_micros(horizon.as_micros().saturating_sub(since_midnight)))
        .await
}
