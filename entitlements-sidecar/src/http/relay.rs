//! The sync API for sidecars below this one: the same paths as the admin's.

use std::time::Duration;

use bytes::Bytes;
use entitlements_core::signed::Basis;
use hyper::{
    Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use tokio::sync::mpsc;

use super::{
    Route, Server, parameter,
    reply::{Payload, Problem, Reply, reply},
};
use crate::sync::Relay;

/// The largest report of a sidecar, in bytes.
pub(super) const REPORT_BYTES_MAX: usize = 8 * 1024 * 1024;
const WAIT_S_MAX: u64 = 60;

pub(super) async fn answer(
    server: &Server,
    relay: &Relay,
    route: Route,
    query: &str,
    body: Bytes,
) -> Reply {
    let answered = match route {
        Route::SyncKeys => keys(relay),
        Route::SyncSnapshot => changes(relay, "", Duration::ZERO).await,
        Route::SyncChanges => match wait(query) {
            Ok(wait) => changes(relay, query, wait).await,
            Err(problem) => Err(problem),
        },
        Route::SyncEvents => events(server, relay),
        _ => status(relay, body).await,
    };
    answered.unwrap_or_else(|problem| problem.reply())
}

fn keys(relay: &Relay) -> Result<Reply, Problem> {
    let keys = relay.keys();
    if keys.is_empty() { Err(Problem::Cold) } else { Ok(binary(keys)) }
}

async fn changes(relay: &Relay, query: &str, wait: Duration) -> Result<Reply, Problem> {
    let basis = parameter(query, "basis").filter(|text| !text.is_empty());
    let basis = basis.map(|text| text.parse::<Basis>()).transpose();
    let basis = basis.map_err(|error| Problem::Malformed(error.to_string()))?;
    let candidate = parameter(query, "candidate");
    let handed = relay.change(basis, candidate.as_deref(), wait).await;
    let handed = handed.map_err(|error| Problem::Upstream(format!("cannot read it: {error}")))?;
    let handed = handed.ok_or(Problem::Cold)?;
    let mut reply = binary(handed.bundle);
    let intent = HeaderValue::from_static(handed.intent);
    reply.headers_mut().insert("entitlements-intent", intent);
    Ok(reply)
}

fn wait(query: &str) -> Result<Duration, Problem> {
    let Some(text) = parameter(query, "wait") else { return Ok(Duration::ZERO) };
    match text.parse().ok().filter(|wait| *wait <= WAIT_S_MAX) {
        Some(wait) => Ok(Duration::from_secs(wait)),
        None => Err(Problem::Malformed(format!(
            "`wait={text}` is no time to wait: use 0 to {WAIT_S_MAX} seconds"
        ))),
    }
}

async fn status(relay: &Relay, report: Bytes) -> Result<Reply, Problem> {
    let answer = relay.report(report).await;
    let answer = answer.map_err(|error| Problem::Upstream(error.to_string()))?;
    Ok(reply(StatusCode::OK, "application/json", answer))
}

/// Tells at once, and whenever it is another one, what is newest here. It is a hint to ask.
fn events(server: &Server, relay: &Relay) -> Result<Reply, Problem> {
    let room = server.streams.clone().try_acquire_owned().map_err(|_| Problem::Busy)?;
    let (events, body) = mpsc::channel(1);
    let (relay, mut stop) = (relay.clone(), server.stop.clone());
    let keep_alive = server.limits.keep_alive;
    tokio::spawn(async move {
        let _room = room;
        let mut pulses = relay.pulses();
        let mut told = None;
        loop {
            pulses.mark_unchanged();
            let newest = relay.basis();
            let event = match newest {
                Some(basis) if newest != told => event(&basis),
                _ => Bytes::from_static(b": still here\n\n"),
            };
            if events.send(event).await.is_err() {
                return;
            }
            told = newest;
            tokio::select! {
                _ = pulses.changed() => {}
                () = tokio::time::sleep(keep_alive) => {}
                () = events.closed() => return,
                () = stop.told() => return,
            }
        }
    });
    let mut reply = Response::new(Payload::Events(body));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

fn event(basis: &Basis) -> Bytes {
    let Basis { epoch, revision, hash } = basis;
    format!(
        "id: {basis}\nevent: revision\ndata: {{\"epoch\":{epoch},\"revision\":{revision},\
         \"content\":\"{hash}\"}}\n\n"
    )
    .into()
}

fn binary(bytes: Bytes) -> Reply {
    let mut reply = reply(StatusCode::OK, "application/octet-stream", bytes);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
