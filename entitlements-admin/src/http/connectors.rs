//! Connectors: kept, verified, tried out, and what comes back from them.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use entitlements_core::{Revision, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    body::{self, BYTES_MAX},
    extract::{Page, Params, Segments, expected},
    problem::{Code, Problem},
    reply::{self, Reply},
};
use crate::{
    app::{App, Call, Command, ConnectorInput, Expected, Tested},
    workflow::{
        Kind,
        connector::{Connector, ConnectorKind, Disabled},
        lane::Lane,
    },
};

/// A connector as people write it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// What people call it.
    name: String,
    /// What it is, and where.
    kind: ConnectorKind,
    /// Whether it is to be used.
    #[serde(default = "yes")]
    enabled: bool,
    /// What it takes to get in there, by name. It stays as it was where absent, and is shown nowhere.
    #[serde(default)]
    credentials: Option<BTreeMap<String, String>>,
}

const fn yes() -> bool {
    true
}

/// A connector.
#[derive(Serialize, JsonSchema)]
pub(super) struct Shown {
    key: String,
    name: String,
    kind: ConnectorKind,
    enabled: bool,
    /// `ready`, `off`, `disabled` or `unverified`.
    state: &'static str,
    /// The names of the credentials that are kept for it.
    credentials: BTreeSet<String>,
    /// When its receiver said that it wants to hear from us.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_at: Option<Timestamp>,
    /// Why it was switched off by itself. Writing it again switches it on.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled: Option<Disabled>,
    /// How many attempts failed in a row.
    failures: u32,
    /// Until when nothing is sent there, because too much failed or it asked for time.
    #[serde(skip_serializing_if = "Option::is_none")]
    resting_until: Option<Timestamp>,
    /// What its receiver verifies with, where that is a pair of keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
}

impl Shown {
    fn of(key: String, connector: Connector, lane: Option<&Lane>, now: Timestamp) -> Self {
        let lane = lane.copied().unwrap_or_default();
        Self {
            key,
            state: connector.state(),
            name: connector.name,
            kind: connector.kind,
            enabled: connector.enabled,
            credentials: connector.credentials,
            verified_at: connector.verified_at,
            disabled: connector.disabled,
            failures: lane.failures,
            resting_until: lane.closed_until.filter(|until| *until > now),
            public_key: None,
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct List {
    connectors: Vec<Shown>,
    /// What to ask for next, where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Connectors, by key.
pub(super) async fn list(State(app): State<App>, Params(page): Params<Page>) -> Reply {
    let limit = page.limit()?;
    let rows = app.routings(Kind::Connector, page.after, limit).await?;
    let (lanes, now) = (app.outbox().await?.1, app.now());
    let next = super::routing::next(&rows, limit);
    let shown = |row: crate::store::Listed| {
        let connector = super::routing::read("connector", &row.key, &row.stored.json)?;
        let lane = lanes.get(&row.key);
        Ok(Shown::of(row.key, connector, lane, now))
    };
    let connectors = rows.into_iter().map(shown).collect::<Result<_, Problem>>()?;
    reply::json(StatusCode::OK, app.revision(), &List { connectors, next })
}

/// A connector.
pub(super) async fn get(
    State(app): State<App>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    let (connector, stored) = app.connector(&key).await?;
    let (lanes, now) = (app.outbox().await?.1, app.now());
    let public_key = app.public_key_of(&key).await?;
    let shown = Shown { public_key, ..Shown::of(key.clone(), connector, lanes.get(&key), now) };
    Ok(reply::document(&headers, stored.revision, reply::text(&shown)?))
}

/// That a connector was written.
#[derive(Serialize, JsonSchema)]
pub(super) struct Written {
    /// The commit.
    revision: Revision,
    /// What the receiver verifies with, where it was drawn just now: `whsec_…` or `whpk_…`. It is not
    /// shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

fn written(outcome: &crate::app::Outcome, tagged: bool) -> Reply {
    let body = Written { revision: outcome.revision, secret: outcome.secret.clone() };
    let mut response = reply::json(StatusCode::OK, outcome.revision, &body)?;
    reply::mark(&mut response, outcome, tagged);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Makes or replaces a connector.
pub(super) async fn put(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let Wanted { name, kind, enabled, credentials } = body::read(request, BYTES_MAX).await?;
    let input = Box::new(ConnectorInput { name, kind, enabled, credentials });
    let outcome = app.execute(call, Command::PutConnector { key, input, expected }).await?;
    written(&outcome, true)
}

/// How to rotate a secret.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// For how long the secret before signs as well, in seconds.
    #[serde(default = "a_day")]
    overlap_s: u64,
}

const fn a_day() -> u64 {
    86_400
}

/// Has a webhook sign with a new secret.
pub(super) async fn rotate(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    request: Request,
) -> Reply {
    let Rotation { overlap_s } = body::read(request, BYTES_MAX).await?;
    let outcome = app.execute(call, Command::RotateConnector { key, overlap_s }).await?;
    written(&outcome, false)
}

/// Asks a webhook's receiver whether it wants to hear from us.
pub(super) async fn verify(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
) -> Reply {
    let outcome = app.verify_connector(call, &key).await?;
    reply::committed(&outcome, false)
}

/// To whom to send a test.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TestTo {
    /// To the members of this team, where the connector writes to those.
    team: Option<String>,
}

/// What came of a test.
#[derive(Serialize, JsonSchema)]
pub(super) struct TestResult {
    /// `delivered`, `retry` (it might later), `refused` or `ambiguous` (it may have arrived).
    outcome: &'static str,
    /// What there is to say about it.
    detail: String,
    /// How long it took.
    took_ms: u64,
}

/// Sends a test.
pub(super) async fn test(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    Params(to): Params<TestTo>,
) -> Reply {
    let tested = app.test_connector(&call, &key, to.team.as_deref()).await?;
    let Tested { outcome, detail, took_us } = tested;
    let result = TestResult { outcome, detail, took_ms: took_us / 1_000 };
    reply::json(StatusCode::OK, app.revision(), &result)
}

/// Removes a connector.
pub(super) async fn delete(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    let expected: Expected = expected(&headers)?;
    let command = Command::RemoveRouting { kind: Kind::Connector, key, expected };
    let outcome = app.execute(call, command).await?;
    reply::committed(&outcome, false)
}

/// Takes a message of Jira's that an issue changed.
pub(super) async fn hear_jira(
    State(app): State<App>,
    Segments(key): Segments<String>,
    request: Request,
) -> Reply {
    let (parts, body) = request.into_parts();
    let bytes = body::collect(&parts.headers, body, JIRA_BYTES_MAX).await?;
    let header = |name: &str| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let (signature, identifier) =
        (header("x-hub-signature"), header("x-atlassian-webhook-identifier"));
    match app.hear_jira(&key, signature, identifier, &bytes).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(crate::app::Error::Unauthenticated) => Err(Problem::new(
            Code::Unauthenticated,
            "sign the body with the connector's `webhook_secret`: `X-Hub-Signature: sha256=…`",
        )),
        Err(error) => Err(error.into()),
    }
}

/// The most that a message of Jira's may hold: it carries the whole issue.
const JIRA_BYTES_MAX: usize = 1_024 * 1_024;
