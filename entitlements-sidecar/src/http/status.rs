//! For operators and their probes: alive, ready, and figures.

use hyper::StatusCode;

use super::reply::{Reply, reply, stamp};
use crate::{
    answer::{push, push_string},
    serving::Serving,
};

/// `GET /healthz`: the process works. It says nothing about the snapshot.
pub(super) fn alive() -> Reply {
    reply(StatusCode::OK, "application/json", "{\"status\":\"alive\"}")
}

/// `GET /readyz`: whether it should be asked, and how things stand.
pub(super) fn ready(serving: &Serving) -> Reply {
    let now = serving.clock.now();
    let standing = serving.standing();
    let state = standing.state(now);
    let revision = serving.revision().map_or(0, |revision| revision.0);
    let age_ms = standing.age_ms(now);
    let mut out = Vec::new();
    push(
        &mut out,
        format_args!(
            "{{\"ready\":{},\"state\":\"{state}\",\"revision\":{revision},\"epoch\":{},\
             \"age_ms\":{age_ms},\"last_error\":",
            state.is_ready(),
            standing.epoch(),
        ),
    );
    match serving.trouble() {
        Some(trouble) => push_string(&mut out, &trouble),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    let status = if state.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut reply = reply(status, "application/json", out);
    stamp(&mut reply, revision, age_ms, state);
    reply
}

/// `GET /v1/sinks`: what is pushed on, and how far that has come.
pub(super) fn sinks(serving: &Serving) -> Reply {
    let mut out = b"{\"sinks\":".to_vec();
    // A `Vec` takes every byte, and these are plain data.
    let _ = serde_json::to_writer(&mut out, &serving.sinks.known());
    out.extend_from_slice(b",\"receipts\":");
    let _ = serde_json::to_writer(&mut out, &serving.sinks.receipts());
    out.push(b'}');
    reply(StatusCode::OK, "application/json", out)
}

/// `GET /metrics`
pub(super) fn metrics(serving: &Serving) -> Reply {
    let now = serving.clock.now();
    let revision = serving.revision().map_or(0, |revision| revision.0);
    serving.metrics.sinks(&serving.sinks.known());
    let text = serving.metrics.to_text(revision, &serving.standing(), now);
    reply(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text)
}
