//! What holds for every route: who may, how long, that it is named, and that it is counted.

use std::net::IpAddr;

use axum::{
    RequestPartsExt,
    body::Body,
    extract::{RawPathParams, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use subtle::ConstantTimeEq;

use super::{
    body::{self, IMPORT_BYTES_MAX},
    endpoint::Route,
    problem::{Code, Problem},
    session::{self, Csrf},
};
use crate::{
    app::{Access, App, Call, Error},
    ids,
    workflow::IdempotencyKey,
};

/// The header by which a caller names a request, so that it is not done twice.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header in which an answer says that it had been given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// What a request is called in logs and in the audit.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Why, in the caller's words, for the audit.
const REASON: HeaderName = HeaderName::from_static("entitlements-reason");

/// A route's guard.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) app: App,
    pub(super) route: Route,
}

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// What a request is called.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

/// Lets a request through to its handler, or not.
pub(super) async fn guard(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let Gate { app, route } = gate;
    let started = app.clock().mark();
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = match admit(&app, route, request).await {
        Err(problem) => problem.into_response(),
        Ok(request) => run(route, request, next).await,
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    app.metrics().answered(route.verb.method().to_string(), route.path, status);
    let took_us = started.elapsed().as_micros();
    tracing::debug!(method = %route.verb.method(), route = route.path, status, took_us, id);
    response
}

/// The request with its [`Call`], where whoever sent it may do that.
async fn admit(app: &App, route: Route, request: Request) -> Result<Request, Problem> {
    let (mut parts, body) = request.into_parts();
    let changes = !matches!(parts.method, Method::GET | Method::HEAD);
    let key = token(&parts.headers).map(str::to_owned);
    if changes && key.is_none() {
        comes_from_us(app, &parts.headers)?;
    }
    if route.access == Access::Public {
        return Ok(Request::from_parts(parts, body));
    }
    let actor = match key {
        Some(key) => app.actor(&key).await?,
        None => {
            let secret = session::cookie(app, &parts.headers).ok_or(Error::Unauthenticated)?;
            let (actor, csrf) = app.browser(&secret).await?;
            if changes {
                has_csrf_token(&parts.headers, &csrf)?;
            }
            parts.extensions.insert(Csrf(csrf));
            actor
        }
    };
    actor.has(route.access)?;
    if actor.is_for_some_tenants() && route.is_about_a_tenant() {
        let params = parts.extract::<RawPathParams>().await;
        let params = params.map_err(|error| Problem::new(Code::NotFound, error.body_text()))?;
        let tenant = params.iter().find(|(name, _)| *name == "key").map_or("", |(_, key)| key);
        if !actor.sees(tenant) {
            return Err(Error::NotFound(format!("there is no tenant `{tenant}`")).into());
        }
    }
    let (idempotency, body) = match idempotency_key(&parts.headers)? {
        Some(key) if parts.method != Method::GET => {
            let bytes = body::collect(&parts.headers, body, IMPORT_BYTES_MAX).await?;
            let fingerprint = fingerprint(&parts.method, &parts.uri, &bytes);
            (Some(IdempotencyKey { key, fingerprint }), Body::from(bytes))
        }
        _ => (None, body),
    };
    let address = parts.extensions.get::<Peer>().map(|peer| peer.0);
    let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone());
    let reason = reason(&parts.headers)?;
    let call = Call { address, request_id, idempotency, reason, ..actor.into() };
    parts.extensions.insert(call);
    Ok(Request::from_parts(parts, body))
}

/// A change without a key may be sent by a page of another site, with the browser's cookie. Browsers
/// say which site a page is of.
fn comes_from_us(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_ours = match app.public_url() {
        Some(url) => origin == url,
        None => origin.strip_prefix("http://") == Some(host) && !host.is_empty(),
    };
    if is_ours {
        return Ok(());
    }
    let detail = format!(
        "a page of `{origin}` sent this: open the console itself, or say with `--public-url` where \
         people reach it"
    );
    Err(Error::CrossSite(detail).into())
}

fn has_csrf_token(headers: &HeaderMap, csrf: &str) -> Result<(), Problem> {
    let given = headers.get(session::CSRF).map_or(&b""[..], HeaderValue::as_bytes);
    if given.ct_eq(csrf.as_bytes()).into() {
        return Ok(());
    }
    let detail = "send the `csrf` of `GET /v1/session` as `X-CSRF-Token` with every change";
    Err(Error::CrossSite(detail.into()).into())
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let single = values.next().is_none();
    (single && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim())
}

/// The longest name of a request, and the longest reason, in bytes.
const NAME_BYTES_MAX: usize = 255;
const REASON_BYTES_MAX: usize = 1_000;

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if (1..=NAME_BYTES_MAX).contains(&text.len()) {
        return Ok(Some(text.into()));
    }
    let detail = format!(
        "`Idempotency-Key` takes 1 to {NAME_BYTES_MAX} visible ASCII characters, such as a UUID"
    );
    Err(Problem::new(Code::InvalidRequest, detail))
}

fn reason(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(REASON) else { return Ok(None) };
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) if text.len() <= REASON_BYTES_MAX => Ok(Some(text.trim().into())),
        _ => {
            let detail =
                format!("`Entitlements-Reason` takes at most {REASON_BYTES_MAX} bytes of UTF-8");
            Err(Problem::new(Code::InvalidRequest, detail))
        }
    }
}

/// What makes two requests the same.
fn fingerprint(method: &Method, uri: &Uri, body: &[u8]) -> [u8; 32] {
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let mut hasher = blake3::Hasher::new();
    for part in [method.as_str().as_bytes(), path.as_bytes(), body] {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The caller's own name for the request, where it is a short word, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let given = given.filter(|text| (1..=64).contains(&text.len()) && text.bytes().all(letters));
    // Without randomness a request has no name; what needs some says so itself.
    given.map_or_else(|| ids::request_id().unwrap_or_default(), Into::into)
}

/// Marks an answer that had been given before.
pub(super) fn replayed(response: &mut Response) {
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
}

async fn run(route: Route, request: Request, next: Next) -> Response {
    match tokio::time::timeout(route.patience, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let seconds = route.patience.as_secs();
            let detail =
                format!("it was not done within {seconds} s: send the body faster, or less");
            Problem::new(Code::RequestTimeout, detail).into_response()
        }
    }
}
