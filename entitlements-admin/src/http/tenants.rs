//! Tenants.

use std::collections::BTreeMap;

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};
use entitlements_core::{Revision, Tenant, TenantKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    body::{self, BYTES_MAX, IMPORT_BYTES_MAX},
    extract::{Page, Params, Segments, expected, tenant_key},
    reply::{self, Reply},
};
use crate::{
    app::{App, Call, Command, Error},
    store::Listed,
};

#[derive(Serialize, JsonSchema)]
pub(super) struct List {
    revision: Revision,
    tenants: Vec<Item>,
    /// What to give as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Item {
    key: String,
    revision: Revision,
    #[schemars(with = "Tenant")]
    tenant: Box<RawValue>,
}

/// A page of tenants, by key.
pub(super) async fn list(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Params(page): Params<Page>,
) -> Reply {
    let limit = page.limit()?;
    let (mut rows, revision) = app.tenants(&call.actor, page.after, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.key.clone());
    let tenants = rows.into_iter().map(item).collect::<Result<_, _>>()?;
    reply::json(StatusCode::OK, revision, &List { revision, tenants, next })
}

fn item(row: Listed) -> Result<Item, Error> {
    let tenant = RawValue::from_string(row.stored.json)
        .map_err(|error| Error::Unavailable(format!("tenant `{}`: {error}", row.key)))?;
    Ok(Item { key: row.key, revision: row.stored.revision, tenant })
}

/// One tenant.
pub(super) async fn get(
    State(app): State<App>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    let stored = app.tenant(key).await?;
    Ok(reply::document(&headers, stored.revision, stored.json))
}

/// Makes or replaces one.
pub(super) async fn put(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    request: Request,
) -> Reply {
    let key = tenant_key(&key)?;
    let expected = expected(request.headers())?;
    let tenant = Box::new(body::read(request, BYTES_MAX).await?);
    let outcome = app.execute(call, Command::PutTenant { key, tenant, expected }).await?;
    reply::committed(&outcome, true)
}

/// Removes one.
pub(super) async fn delete(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    let (key, expected) = (tenant_key(&key)?, expected(&headers)?);
    let outcome = app.execute(call, Command::DeleteTenant { key, expected }).await?;
    reply::committed(&outcome, false)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Bulk {
    tenants: BTreeMap<TenantKey, Tenant>,
}

/// Makes or replaces many, all of them or none.
pub(super) async fn bulk(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let Bulk { tenants } = body::read(request, IMPORT_BYTES_MAX).await?;
    let outcome = app.execute(call, Command::BulkTenants { tenants }).await?;
    reply::committed(&outcome, false)
}
