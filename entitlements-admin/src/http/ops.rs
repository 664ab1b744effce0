//! For those who run it.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{
    problem::{Code, Problem},
    reply::Reply,
};
use crate::app::App;

/// The process is alive.
pub(super) async fn health() -> Response {
    "ok\n".into_response()
}

/// The process takes changes.
pub(super) async fn ready(State(app): State<App>) -> Reply {
    if app.is_ready() {
        return Ok("ready\n".into_response());
    }
    let detail =
        "changes cannot be made: it is going down, or its store failed and it must be restarted";
    Err(Problem::new(Code::Unavailable, detail))
}

/// The figures, in the text format of Prometheus.
pub(super) async fn metrics(State(app): State<App>) -> Reply {
    let pin = app.pin();
    let (state, _) = app.outbox().await?;
    let age = state.due_since.map(|since| app.now().since(since).as_secs());
    app.metrics().owes(state.open, age.unwrap_or_default(), state.dead);
    let text = app
        .metrics()
        .text(app.revision().0, pin.tenant_count())
        .map_err(|error| Problem::new(Code::Unavailable, error.to_string()))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
