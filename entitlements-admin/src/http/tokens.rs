//! Access tokens.

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
};
use entitlements_core::{Revision, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    body::{self, BYTES_MAX},
    extract::Segments,
    reply::{self, Reply},
};
use crate::{
    app::{Actor, App, Command, Error},
    workflow::Scope,
};

#[derive(Serialize)]
struct List {
    tokens: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    id: String,
    scope: Scope,
    label: String,
    created_at: Timestamp,
}

/// Every token, without its secret.
pub(super) async fn list(State(app): State<App>) -> Reply {
    let item = |token: crate::workflow::Token| Item {
        id: token.id,
        scope: token.scope,
        label: token.label,
        created_at: token.created_at,
    };
    let tokens = app.tokens().into_iter().map(item).collect();
    reply::json(StatusCode::OK, app.revision(), &List { tokens })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    scope: Scope,
    label: String,
}

#[derive(Serialize)]
struct Made {
    revision: Revision,
    id: String,
    scope: Scope,
    label: String,
    /// All of it. It is not kept, so it is never shown again.
    token: String,
}

/// Makes one.
pub(super) async fn create(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    request: Request,
) -> Reply {
    let Wanted { scope, label } = body::read(request, BYTES_MAX).await?;
    let command = Command::CreateToken { scope, label: label.clone() };
    let outcome = app.execute(&actor, command).await?;
    let made = outcome.token.ok_or_else(|| Error::Unavailable("no token was made".into()))?;
    let revision = outcome.revision;
    let body = Made { revision, id: made.id, scope, label, token: made.text };
    let mut response = reply::json(StatusCode::CREATED, revision, &body)?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Makes one useless.
pub(super) async fn revoke(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Segments(id): Segments<String>,
) -> Reply {
    let outcome = app.execute(&actor, Command::RevokeToken { id }).await?;
    reply::committed(&outcome, false)
}
