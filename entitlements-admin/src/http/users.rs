//! People who sign in.

use std::collections::BTreeSet;

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use entitlements_core::{Revision, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    body::{self, BYTES_MAX},
    extract::{Segments, expected},
    reply::{self, Reply},
};
use crate::{
    app::{App, Call, Command, Error, KeptUser, NewUser, UserChange},
    workflow::people::Role,
};

#[derive(Serialize, JsonSchema)]
pub(super) struct List {
    users: Vec<Item>,
}

/// Somebody who signs in.
#[derive(Serialize, JsonSchema)]
pub(super) struct Item {
    id: String,
    revision: Revision,
    email: String,
    name: String,
    roles: BTreeSet<Role>,
    disabled: bool,
    created_at: Timestamp,
}

impl From<KeptUser> for Item {
    fn from(KeptUser { id, user, revision }: KeptUser) -> Self {
        let crate::workflow::people::User { email, name, roles, disabled, created_at, .. } = user;
        Self { id, revision, email, name, roles, disabled, created_at }
    }
}

/// Everybody.
pub(super) async fn list(State(app): State<App>) -> Reply {
    let users = app.users().await?.into_iter().map(Item::from).collect();
    reply::json(StatusCode::OK, app.revision(), &List { users })
}

/// One of them.
pub(super) async fn get(
    State(app): State<App>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    let kept = app.user(&id).await?;
    let revision = kept.revision;
    Ok(reply::document(&headers, revision, reply::text(&Item::from(kept))?))
}

/// Somebody to add.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Their address, by which they sign in.
    email: String,
    /// What people call them.
    name: String,
    /// What they are here for.
    roles: BTreeSet<Role>,
}

/// A link to set a password with. It is shown once and holds for 7 days.
#[derive(Serialize, JsonSchema)]
pub(super) struct Link {
    revision: Revision,
    /// The user.
    id: String,
    /// What to send to `POST /v1/password` as `link`, with the new password.
    link: String,
}

/// Adds somebody.
pub(super) async fn create(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let Wanted { email, name, roles } = body::read(request, BYTES_MAX).await?;
    let outcome = app.execute(call, Command::CreateUser(NewUser { email, name, roles })).await?;
    link(StatusCode::CREATED, &outcome)
}

/// Gives somebody a new link. Their password and their sessions open nothing any more.
pub(super) async fn reset(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
) -> Reply {
    let outcome = app.execute(call, Command::ResetUser { id }).await?;
    link(StatusCode::OK, &outcome)
}

fn link(status: StatusCode, outcome: &crate::app::Outcome) -> Reply {
    let (Some(id), Some(link)) = (outcome.id.clone(), outcome.secret.clone()) else {
        return Err(Error::Unavailable("no link was made".into()).into());
    };
    let id = id.split('.').next().unwrap_or_default().into();
    let mut response =
        reply::json(status, outcome.revision, &Link { revision: outcome.revision, id, link })?;
    reply::mark(&mut response, outcome, true);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What is to change. What is left out stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Changed {
    /// What people call them.
    #[serde(default)]
    name: Option<String>,
    /// What they are here for.
    #[serde(default)]
    roles: Option<BTreeSet<Role>>,
    /// Whether they may not sign in.
    #[serde(default)]
    disabled: Option<bool>,
}

/// Changes somebody. Other roles, or none, end their sessions.
pub(super) async fn patch(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let Changed { name, roles, disabled } = body::read(request, BYTES_MAX).await?;
    let change = UserChange { name, roles, disabled };
    let outcome = app.execute(call, Command::ChangeUser { id, change, expected }).await?;
    reply::committed(&outcome, true)
}

/// Removes somebody.
pub(super) async fn delete(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    let expected = expected(&headers)?;
    let outcome = app.execute(call, Command::RemoveUser { id, expected }).await?;
    reply::committed(&outcome, false)
}

/// Signs somebody out everywhere.
pub(super) async fn sign_out(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
) -> Reply {
    let outcome = app.execute(call, Command::SignOutEverywhere { user: id }).await?;
    reply::committed(&outcome, false)
}
