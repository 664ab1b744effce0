//! Lets go of what need not be kept any longer.

use entitlements_core::Timestamp;

use crate::{
    app::{App, Error},
    store::Note,
};

const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;
/// For how long a repeated request is known.
const ANSWERS_US: i64 = DAY_US;

/// Lets go of answers to old requests, and of versions that nobody wants to know of any more.
pub(super) async fn run(app: &App) -> Result<(), Error> {
    let now = app.now().as_micros();
    let before = Timestamp::from_micros(now.saturating_sub(ANSWERS_US));
    app.keep_notes(vec![Note::PruneAnswers { before }]).await?;
    let Some(days) = app.retention().await?.history_days else { return Ok(()) };
    let horizon = Timestamp::from_micros(now.saturating_sub(i64::from(days) * DAY_US));
    app.prune_history(horizon).await
}
