//! What sidecars follow.

use std::time::Duration;

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use entitlements_core::{document::StatusReport, signed::Basis};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    body,
    extract::Params,
    problem::{Code, Problem},
    reply::{self, REVISION, Reply},
};
use crate::app::{App, Asked, Call, Intent, Publication, Told};

/// The longest wait of a long poll.
pub(super) const WAIT_S_MAX: u64 = 60;
/// The largest report of a sidecar, in bytes.
const REPORT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Between two signs of life on a stream of events.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What a body of `/sync/v1/changes` is: `full`, `delta`, `candidate` or `none`.
const INTENT: HeaderName = HeaderName::from_static("entitlements-intent");

/// The signed list of keys that may publish.
pub(super) async fn keys(State(app): State<App>) -> Reply {
    Ok(bytes(app.keys_envelope()))
}

/// The snapshot of the last commit.
pub(super) async fn snapshot(State(app): State<App>, headers: HeaderMap) -> Reply {
    let tag = tag(&app.basis().await?);
    if reply::has(&headers, &tag) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        reply::insert_tag(&mut response, &tag);
        return Ok(response);
    }
    let Publication { basis, bundle, packed, .. } = app.publication().await?;
    Ok(told(&headers, Told { intent: Intent::Full, basis, bundle, packed: Some(packed) }))
}

/// What a sidecar has, and how long it waits.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    /// The `ETag` of its snapshot.
    basis: Option<String>,
    /// The candidate that it has prepared or rejected.
    candidate: Option<String>,
    /// For how many seconds at most, from 0 to 60.
    #[serde(default)]
    #[schemars(range(min = 0, max = 60))]
    wait: u64,
}

/// What changed since a basis, as soon as something does.
pub(super) async fn changes(
    State(app): State<App>,
    headers: HeaderMap,
    Params(wait): Params<Wait>,
) -> Reply {
    if wait.wait > WAIT_S_MAX {
        let detail = format!("`wait={}` is too long: use 0 to {WAIT_S_MAX} seconds", wait.wait);
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let basis = wait.basis.as_deref().filter(|text| !text.is_empty());
    let basis = basis.map(str::parse::<Basis>).transpose();
    let basis = basis.map_err(|error| Problem::new(Code::InvalidRequest, error.to_string()))?;
    let candidate = wait.candidate.filter(|text| !text.is_empty());
    let asked = Asked { basis, candidate };
    Ok(told(&headers, app.change(asked, Duration::from_secs(wait.wait)).await?))
}

fn told(headers: &HeaderMap, told: Told) -> Response {
    let mut response = match told.packed.filter(|_| accepts_gzip(headers)) {
        None => bytes(told.bundle),
        Some(packed) => {
            let mut response = bytes(packed);
            let gzip = HeaderValue::from_static("gzip");
            response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(INTENT, HeaderValue::from_static(told.intent.code()));
    headers.insert(REVISION, HeaderValue::from(told.basis.revision.0));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    reply::insert_tag(&mut response, &tag(&told.basis));
    response
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    codings.any(|coding| coding.split(';').next().is_some_and(|name| name.trim() == "gzip"))
}

fn tag(basis: &Basis) -> String {
    format!("\"{basis}\"")
}

fn bytes(bytes: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, bytes).into_response()
}

/// What a sidecar says of itself.
pub(super) async fn status(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let report: StatusReport = body::read(request, REPORT_BYTES_MAX).await?;
    let answer = app.note_status(&call, report).await?;
    reply::json(StatusCode::OK, app.revision(), &answer)
}

/// Tells at once, and after each commit, what is current. It is a hint to ask, and carries nothing
/// that has to be believed.
pub(super) async fn events(State(app): State<App>) -> Reply {
    let (mut stream, body) = http_body_util::channel::Channel::<Bytes>::new(1);
    let mut revisions = app.revisions();
    let mut event = event(&app).await?;
    tokio::spawn(async move {
        loop {
            if stream.send_data(event).await.is_err() {
                return;
            }
            revisions.mark_unchanged();
            event = tokio::select! {
                Ok(()) = revisions.changed() => match self::event(&app).await {
                    Ok(event) => event,
                    Err(_) => return,
                },
                () = tokio::time::sleep(KEEP_ALIVE) => Bytes::from_static(b": still here\n\n"),
                () = app.told_to_stop() => return,
            };
        }
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::new(body)).into_response())
}

async fn event(app: &App) -> Result<Bytes, Problem> {
    let basis = app.basis().await?;
    let Basis { epoch, revision, hash } = basis;
    Ok(format!(
        "id: {basis}\nevent: revision\ndata: {{\"epoch\":{epoch},\"revision\":{revision},\
         \"content\":\"{hash}\"}}\n\n"
    )
    .into())
}
