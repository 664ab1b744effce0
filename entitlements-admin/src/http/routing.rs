//! Teams, rules and the words of messages.

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    body::{self, BYTES_MAX},
    extract::{Page, Params, Segments, expected},
    problem::{Code, Problem},
    reply::{self, Reply},
};
use crate::{
    app::{App, Call, Command, Routing},
    store::Listed,
    workflow::{
        Kind,
        connector::Medium,
        routing::{Route, Team},
        sla::{Calendar, Sla},
        template::Template,
    },
};

/// A document that was kept.
pub(super) fn read<T: DeserializeOwned>(what: &str, key: &str, json: &str) -> Result<T, Problem> {
    serde_json::from_str(json).map_err(|error| {
        tracing::error!(%error, what, key, "the store holds what cannot be read");
        Problem::new(Code::Unavailable, format!("{what} `{key}` cannot be read"))
    })
}

/// What to ask for next, where there may be more.
pub(super) fn next(rows: &[Listed], limit: u32) -> Option<String> {
    let last = rows.last().filter(|_| rows.len() == limit as usize);
    last.map(|row| row.key.clone())
}

/// Something with its key.
#[derive(Serialize, JsonSchema)]
struct Item<T> {
    key: String,
    #[serde(flatten)]
    value: T,
}

/// A page of them.
#[derive(Serialize, JsonSchema)]
pub(super) struct Items<T> {
    items: Vec<Item<T>>,
    /// What to ask for next, where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(super) type Teams = Items<Team>;
pub(super) type Routes = Items<Route>;
pub(super) type Templates = Items<Template>;

async fn list<T: DeserializeOwned + Serialize>(app: App, kind: Kind, page: Page) -> Reply {
    let limit = page.limit()?;
    let rows = app.routings(kind, page.after, limit).await?;
    let next = next(&rows, limit);
    let item = |row: Listed| {
        let value: T = read(kind.code(), &row.key, &row.stored.json)?;
        Ok(Item { key: row.key, value })
    };
    let items = rows.into_iter().map(item).collect::<Result<Vec<_>, Problem>>()?;
    reply::json(StatusCode::OK, app.revision(), &Items { items, next })
}

async fn get(app: App, kind: Kind, key: &str, headers: &HeaderMap) -> Reply {
    let (json, revision) = app.routing(kind, key).await?;
    Ok(reply::document(headers, revision, json))
}

async fn put<T: DeserializeOwned + Send + 'static>(
    app: App,
    call: Call,
    key: String,
    request: Request,
    wrap: fn(T) -> Routing,
) -> Reply {
    let expected = expected(request.headers())?;
    let routing = wrap(body::read(request, BYTES_MAX).await?);
    let outcome = app.execute(call, Command::PutRouting { key, routing, expected }).await?;
    reply::committed(&outcome, true)
}

async fn delete(app: App, call: Call, kind: Kind, key: String, headers: &HeaderMap) -> Reply {
    let expected = expected(headers)?;
    let outcome = app.execute(call, Command::RemoveRouting { kind, key, expected }).await?;
    reply::committed(&outcome, false)
}

/// Teams, by key.
pub(super) async fn teams(State(app): State<App>, Params(page): Params<Page>) -> Reply {
    list::<Team>(app, Kind::Team, page).await
}

/// A team.
pub(super) async fn team(
    State(app): State<App>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    get(app, Kind::Team, &key, &headers).await
}

/// Makes or replaces a team.
pub(super) async fn put_team(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    request: Request,
) -> Reply {
    put(app, call, key, request, Routing::Team).await
}

/// Removes a team.
pub(super) async fn delete_team(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    delete(app, call, Kind::Team, key, &headers).await
}

/// Rules, by key.
pub(super) async fn routes(State(app): State<App>, Params(page): Params<Page>) -> Reply {
    list::<Route>(app, Kind::Route, page).await
}

/// A rule.
pub(super) async fn route(
    State(app): State<App>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    get(app, Kind::Route, &key, &headers).await
}

/// Makes or replaces a rule.
pub(super) async fn put_route(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    request: Request,
) -> Reply {
    put(app, call, key, request, |route| Routing::Route(Box::new(route))).await
}

/// Removes a rule.
pub(super) async fn delete_route(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    delete(app, call, Kind::Route, key, &headers).await
}

/// Words, by key.
pub(super) async fn templates(State(app): State<App>, Params(page): Params<Page>) -> Reply {
    list::<Template>(app, Kind::Template, page).await
}

/// Words.
pub(super) async fn template(
    State(app): State<App>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    get(app, Kind::Template, &key, &headers).await
}

/// Makes or replaces words.
pub(super) async fn put_template(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    request: Request,
) -> Reply {
    put(app, call, key, request, Routing::Template).await
}

/// Removes words.
pub(super) async fn delete_template(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    delete(app, call, Kind::Template, key, &headers).await
}

/// Words to try out, and an event to try them on.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    /// The words; ours where absent.
    #[serde(default)]
    template: Option<Template>,
    /// The id of a notice, or a type of event, such as `promotion.started`.
    event: String,
    /// What the message is written in.
    #[serde(default = "text")]
    medium: Medium,
}

const fn text() -> Medium {
    Medium::Text
}

/// What comes of words for an event.
pub(super) async fn preview(State(app): State<App>, request: Request) -> Reply {
    let Trial { template, event, medium } = body::read(request, BYTES_MAX).await?;
    let previewed = app.preview_words(template.as_ref(), &event, medium).await?;
    reply::json(StatusCode::OK, app.revision(), &previewed)
}

pub(super) type Calendars = Items<Calendar>;
pub(super) type Slas = Items<Sla>;

/// Calendars, by key.
pub(super) async fn calendars(State(app): State<App>, Params(page): Params<Page>) -> Reply {
    list::<Calendar>(app, Kind::Calendar, page).await
}

/// A calendar.
pub(super) async fn calendar(
    State(app): State<App>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    get(app, Kind::Calendar, &key, &headers).await
}

/// Promises, by key.
pub(super) async fn slas(State(app): State<App>, Params(page): Params<Page>) -> Reply {
    list::<Sla>(app, Kind::Sla, page).await
}

/// What is promised.
pub(super) async fn sla(
    State(app): State<App>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    get(app, Kind::Sla, &key, &headers).await
}
