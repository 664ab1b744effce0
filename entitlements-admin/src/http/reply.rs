//! Answers.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use entitlements_core::{Problem as Finding, Revision};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    guard,
    problem::{Code, Problem},
};
use crate::app::Outcome;

/// The header that names the revision an answer comes from, or that a change was committed at.
pub(super) const REVISION: HeaderName = HeaderName::from_static("entitlements-revision");

/// What a handler gives.
pub(super) type Reply = Result<Response, Problem>;

/// A value as JSON.
pub(super) fn json(status: StatusCode, revision: Revision, value: &impl Serialize) -> Reply {
    Ok(json_text(status, revision, text(value)?))
}

/// The JSON text of a value.
pub(super) fn text(value: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(value).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written");
        Problem::new(Code::Unavailable, "the answer cannot be written; the operator's log says why")
    })
}

/// Text that is JSON already.
pub(super) fn json_text(
    status: StatusCode,
    revision: Revision,
    text: impl IntoResponse,
) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (REVISION, HeaderValue::from(revision.0)),
    ];
    (status, headers, text).into_response()
}

/// A document with its revision as `ETag`; 304 where the caller has it already.
pub(super) fn document(request: &HeaderMap, revision: Revision, text: String) -> Response {
    let tag = format!("\"{revision}\"");
    let mut response = if has(request, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        json_text(StatusCode::OK, revision, text)
    };
    insert_tag(&mut response, &tag);
    response
}

/// Whether `If-None-Match` names this tag.
pub(super) fn has(request: &HeaderMap, tag: &str) -> bool {
    let values =
        request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == tag)
}

/// Sets the `ETag`.
pub(super) fn insert_tag(response: &mut Response, tag: &str) {
    if let Ok(value) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, value);
    }
}

/// That a change was made.
#[derive(Serialize, JsonSchema)]
pub(super) struct Committed<'o> {
    /// The commit.
    revision: Revision,
    /// What is odd about it and did not stop it.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schemars(default)]
    warnings: &'o [Finding],
}

/// That a change was made. A document that was written carries its new `ETag`.
pub(super) fn committed(outcome: &Outcome, tagged: bool) -> Reply {
    let body = Committed { revision: outcome.revision, warnings: &outcome.warnings };
    let mut response = json(StatusCode::OK, outcome.revision, &body)?;
    mark(&mut response, outcome, tagged);
    Ok(response)
}

/// Says whether it had been done before, and the new `ETag` of what was written.
pub(super) fn mark(response: &mut Response, outcome: &Outcome, tagged: bool) {
    if outcome.repeated {
        guard::replayed(response);
    }
    if tagged {
        insert_tag(response, &format!("\"{}\"", outcome.revision));
    }
}
