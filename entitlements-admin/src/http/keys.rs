//! Service keys.

use std::collections::BTreeSet;

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
};
use entitlements_core::{Revision, TenantKey, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    body::{self, BYTES_MAX},
    extract::Segments,
    guard,
    reply::{self, Reply},
};
use crate::{
    app::{App, Call, Command, Error, NewKey},
    workflow::{Key, Scope},
};

#[derive(Serialize, JsonSchema)]
pub(super) struct List {
    keys: Vec<Item>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Item {
    id: String,
    #[serde(flatten)]
    key: Key,
    /// When it was last used, give or take a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_at: Option<Timestamp>,
}

/// Every key, without its secret.
pub(super) async fn list(State(app): State<App>) -> Reply {
    let item = |(id, key, used_at)| Item { id, key, used_at };
    let keys = app.keys().await?.into_iter().map(item).collect();
    reply::json(StatusCode::OK, app.revision(), &List { keys })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    scope: Scope,
    label: String,
    #[serde(default)]
    expires_at: Option<Timestamp>,
    #[serde(default)]
    tenants: BTreeSet<TenantKey>,
    /// For `partner`: whose listings and requests exist to it.
    #[serde(default)]
    partner: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Made {
    revision: Revision,
    id: String,
    scope: Scope,
    label: String,
    /// All of it. It is not kept, so it is never shown again.
    key: String,
}

/// Makes one.
pub(super) async fn create(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let Wanted { scope, label, expires_at, tenants, partner } =
        body::read(request, BYTES_MAX).await?;
    let wanted = NewKey { scope, label: label.clone(), expires_at, tenants, partner };
    let outcome = app.execute(call, Command::CreateKey(wanted)).await?;
    let (Some(id), Some(key)) = (outcome.id, outcome.secret) else {
        return Err(Error::Unavailable("no key was made".into()).into());
    };
    let (revision, repeated) = (outcome.revision, outcome.repeated);
    let body = Made { revision, id, scope, label, key };
    let mut response = reply::json(StatusCode::CREATED, revision, &body)?;
    if repeated {
        guard::replayed(&mut response);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Makes one useless.
pub(super) async fn revoke(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
) -> Reply {
    let outcome = app.execute(call, Command::RevokeKey { id }).await?;
    reply::committed(&outcome, false)
}
