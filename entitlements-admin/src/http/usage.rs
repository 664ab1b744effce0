//! How much of their limits tenants used.

use axum::{
    Extension,
    extract::{Request, State},
    http::StatusCode,
};
use entitlements_core::{FeatureKey, TenantKey, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    body::{self, IMPORT_BYTES_MAX},
    extract::Segments,
    reply::{self, Reply},
};
use crate::app::{App, Call, Used};

/// What was used.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    usage: Vec<Item>,
}

/// How much a tenant used of a feature.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Item {
    tenant: TenantKey,
    feature: FeatureKey,
    amount: u64,
    /// When it was counted; now where absent. An older word does not replace a newer one.
    #[serde(default)]
    at: Option<Timestamp>,
}

/// How many were taken.
#[derive(Serialize, JsonSchema)]
pub(super) struct Taken {
    taken: usize,
}

/// Takes note of what was used.
pub(super) async fn put(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let Batch { usage } = body::read(request, IMPORT_BYTES_MAX).await?;
    let now = app.now();
    let used = |item: Item| Used {
        tenant: item.tenant,
        feature: item.feature,
        amount: item.amount,
        at: item.at.unwrap_or(now),
    };
    let taken = app.note_usage(&call.actor, usage.into_iter().map(used).collect()).await?;
    reply::json(StatusCode::OK, app.revision(), &Taken { taken })
}

#[derive(Serialize, JsonSchema)]
pub(super) struct List {
    usage: Vec<Item>,
}

/// What one tenant used last.
pub(super) async fn get(State(app): State<App>, Segments(tenant): Segments<String>) -> Reply {
    let key = super::extract::tenant_key(&tenant)?;
    let rows = app.usage_of(&key).await?;
    let item = |used: Used| Item {
        tenant: used.tenant,
        feature: used.feature,
        amount: used.amount,
        at: Some(used.at),
    };
    let usage = rows.into_iter().map(item).collect();
    reply::json(StatusCode::OK, app.revision(), &List { usage })
}
