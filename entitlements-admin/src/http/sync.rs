//! What sidecars follow.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    extract::Params,
    problem::{Code, Problem},
    reply::{self, REVISION, Reply},
};
use crate::app::{App, Basis, Change, Publication};

/// The longest wait of a long poll.
pub(super) const WAIT_S_MAX: u64 = 60;

/// What a body of `/sync/v1/changes` is: `full` or `none`.
const INTENT: HeaderName = HeaderName::from_static("entitlements-intent");

/// The signed list of keys that may publish.
pub(super) async fn keys(State(app): State<App>) -> Reply {
    Ok(envelope(app.keys_envelope()))
}

/// The snapshot of the last commit.
pub(super) async fn snapshot(State(app): State<App>, headers: HeaderMap) -> Reply {
    let publication = app.publication().await?;
    let tag = format!("\"{}\"", publication.basis);
    if reply::has(&headers, &tag) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        reply::insert_tag(&mut response, &tag);
        return Ok(response);
    }
    Ok(full(publication))
}

/// What a sidecar has, and how long it waits.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    /// The `ETag` of its snapshot.
    basis: Option<String>,
    /// For how many seconds at most, from 0 to 60.
    #[serde(default)]
    #[schemars(range(min = 0, max = 60))]
    wait: u64,
}

/// What changed since a basis, as soon as something does.
pub(super) async fn changes(State(app): State<App>, Params(wait): Params<Wait>) -> Reply {
    if wait.wait > WAIT_S_MAX {
        let detail = format!("`wait={}` is too long: use 0 to {WAIT_S_MAX} seconds", wait.wait);
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let basis = wait.basis.as_deref().filter(|text| !text.is_empty());
    let basis = basis.map(str::parse::<Basis>).transpose()?;
    let (intent, mut response) = match app.change(basis, Duration::from_secs(wait.wait)).await? {
        Change::Full(publication) => ("full", full(publication)),
        Change::None(heartbeat) => ("none", envelope(heartbeat)),
    };
    response.headers_mut().insert(INTENT, HeaderValue::from_static(intent));
    Ok(response)
}

fn full(publication: Publication) -> Response {
    let basis = publication.basis;
    let mut response = envelope(publication.envelope);
    response.headers_mut().insert(REVISION, HeaderValue::from(basis.revision.0));
    reply::insert_tag(&mut response, &format!("\"{basis}\""));
    response
}

fn envelope(bytes: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, bytes).into_response()
}
