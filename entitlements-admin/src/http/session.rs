//! Signing in and out.

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use entitlements_core::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    body::{self, BYTES_MAX},
    extract::Params,
    guard::{Peer, RequestId},
    reply::{self, Reply},
};
use crate::app::{Actor, App, Call, Command, Error, Opened, Proof, SignIn};

/// What a page sends with every change, beside its cookie.
pub(super) const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

/// Who is asking, and what they may do.
#[derive(Serialize, JsonSchema)]
pub(super) struct Who {
    /// What the audit calls them.
    actor: String,
    /// The person behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// What people call them.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What they may do.
    permissions: Vec<&'static str>,
    /// What a page sends as `X-CSRF-Token` with every change. Absent for keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf: Option<String>,
}

/// Who am I?
pub(super) async fn get(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    csrf: Option<Extension<Csrf>>,
) -> Reply {
    let csrf = csrf.map(|Extension(Csrf(csrf))| csrf);
    let mut response = who(&app, &call.actor, csrf).await?;
    no_store(&mut response);
    Ok(response)
}

/// What a browser's pages must send, noted by the guard.
#[derive(Debug, Clone)]
pub(super) struct Csrf(pub(super) String);

async fn who(app: &App, actor: &Actor, csrf: Option<String>) -> Reply {
    let name = match (actor.principal(), actor.session()) {
        (Some(user), Some(_)) => Some(app.user(user).await?.user.name),
        _ => None,
    };
    let body = Who {
        actor: actor.name().into(),
        user: actor.principal().map(Into::into),
        name,
        permissions: actor.permissions().iter().map(|permission| permission.code()).collect(),
        csrf,
    };
    reply::json(StatusCode::OK, app.revision(), &body)
}

/// What somebody signs in with.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    email: String,
    password: String,
}

/// Signs in.
pub(super) async fn create(State(app): State<App>, request: Request) -> Reply {
    let (call, agent) = visitor(&request);
    let Credentials { email, password } = body::read(request, BYTES_MAX).await?;
    let opened = app.sign_in(&call, SignIn { email, password, agent }).await?;
    signed_in(&app, opened).await
}

/// That a browser is signed in, with its cookie.
pub(super) async fn signed_in(app: &App, opened: Opened) -> Reply {
    let (actor, csrf) = app.browser(&opened.secret).await?;
    let mut response = who(app, &actor, Some(csrf)).await?;
    no_store(&mut response);
    set_cookie(app, &mut response, &opened.secret, None);
    Ok(response)
}

/// Whoever asks before they are signed in.
pub(super) fn visitor(request: &Request) -> (Call, Option<String>) {
    let address = request.extensions().get::<Peer>().map(|peer| peer.0);
    let request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
    let agent = request.headers().get(header::USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok()).map(Into::into);
    (Call { address, request_id, ..Actor::nobody().into() }, agent)
}

/// Where to go once one is signed in.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Return {
    /// A path on this host.
    #[serde(default)]
    return_to: String,
}

/// What a browser keeps while it is at the identity provider.
const AWAY: &str = "entitlements-away";

/// Sends a browser to the identity provider.
pub(super) async fn leave(State(app): State<App>, Params(to): Params<Return>) -> Reply {
    let away = app.leave_to_sign_in(&to.return_to).await?;
    let mut response = redirect(&away.url);
    let secure = if app.is_https() { "; Secure" } else { "" };
    let cookie = format!(
        "{AWAY}={}; Path=/v1/session/oidc; HttpOnly; SameSite=Lax; Max-Age=600{secure}",
        away.browser
    );
    append_cookie(&mut response, &cookie);
    Ok(response)
}

/// Signs in whoever comes back from the identity provider.
pub(super) async fn come_back(State(app): State<App>, request: Request) -> Reply {
    let (call, agent) = visitor(&request);
    let browser = value_of(AWAY, request.headers()).unwrap_or_default();
    let query = request.uri().query().unwrap_or_default();
    let (opened, return_to) = app.return_signed_in(&call, query, &browser, agent).await?;
    let mut response = redirect(&return_to);
    set_cookie(&app, &mut response, &opened.secret, None);
    append_cookie(&mut response, &format!("{AWAY}=; Path=/v1/session/oidc; Max-Age=0"));
    Ok(response)
}

fn redirect(to: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    no_store(&mut response);
    if let Ok(place) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// Signs out.
pub(super) async fn delete(State(app): State<App>, Extension(call): Extension<Call>) -> Reply {
    let outcome = app.execute(call, Command::SignOut).await?;
    let mut response = reply::committed(&outcome, false)?;
    set_cookie(&app, &mut response, "", Some(0));
    Ok(response)
}

#[derive(Serialize, JsonSchema)]
pub(super) struct List {
    sessions: Vec<Item>,
}

/// A signed-in browser.
#[derive(Serialize, JsonSchema)]
struct Item {
    created_at: Timestamp,
    /// When it was last heard of, give or take a minute.
    seen_at: Timestamp,
    /// When it is over if nothing more is heard of it.
    ends_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// Whether it is the one that asks.
    is_this: bool,
}

/// One's own signed-in browsers.
pub(super) async fn list(State(app): State<App>, Extension(call): Extension<Call>) -> Reply {
    let user = call.actor.principal().ok_or(Error::NoSession)?;
    let item = |row: crate::workflow::SessionRow| Item {
        ends_at: row.ends_at(),
        is_this: call.actor.session() == Some(&row.id_hash),
        created_at: row.created_at,
        seen_at: row.seen_at,
        address: row.address,
        agent: row.agent,
    };
    let sessions = app.sessions(user).await?.into_iter().map(item).collect();
    reply::json(StatusCode::OK, app.revision(), &List { sessions })
}

/// Signs out everywhere.
pub(super) async fn delete_all(State(app): State<App>, Extension(call): Extension<Call>) -> Reply {
    let outcome = app.execute(call, Command::SignOutOwn).await?;
    let mut response = reply::committed(&outcome, false)?;
    set_cookie(&app, &mut response, "", Some(0));
    Ok(response)
}

/// A password to set, and what shows that one may.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    /// The password to have.
    password: String,
    /// The link that one was given.
    link: String,
}

/// Sets a password by a link.
pub(super) async fn set_password(State(app): State<App>, request: Request) -> Reply {
    let (call, _) = visitor(&request);
    let NewPassword { password, link } = body::read(request, BYTES_MAX).await?;
    let refused = || Error::Refused("this link is not valid: ask for a new one".into());
    let (user, secret) = crate::workflow::key::parse(&link).ok_or_else(refused)?;
    let proof = Proof::Link { user: user.into(), secret: secret.into() };
    let outcome = app.execute(call, Command::SetPassword { proof, password }).await?;
    reply::committed(&outcome, false)
}

/// A password to have instead.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangedPassword {
    /// The password to have.
    password: String,
    /// The one that one has.
    old: String,
}

/// Changes one's own password. One's other browsers are signed out.
pub(super) async fn change_password(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let ChangedPassword { password, old } = body::read(request, BYTES_MAX).await?;
    let command = Command::SetPassword { proof: Proof::Password(old), password };
    let outcome = app.execute(call, command).await?;
    reply::committed(&outcome, false)
}

fn no_store(response: &mut Response) {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn set_cookie(app: &App, response: &mut Response, value: &str, max_age: Option<u32>) {
    let name = cookie_name(app);
    let secure = if app.is_https() { "; Secure" } else { "" };
    let age = max_age.map_or(String::new(), |age| format!("; Max-Age={age}"));
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}");
    append_cookie(response, &text);
}

fn append_cookie(response: &mut Response, text: &str) {
    if let Ok(cookie) = HeaderValue::from_str(text) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// What a browser is asked to keep. The prefix makes it take the cookie from this very host only,
/// which needs https.
fn cookie_name(app: &App) -> &'static str {
    if app.is_https() { "__Host-entitlements" } else { "entitlements" }
}

/// The secret of a browser's session.
pub(super) fn cookie(app: &App, headers: &HeaderMap) -> Option<String> {
    value_of(cookie_name(app), headers)
}

fn value_of(name: &str, headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.split_once('='));
    let mut found = pairs.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim());
    let first = found.next()?;
    // Two of one name: one of them was slipped in.
    found.next().is_none().then(|| first.into())
}
