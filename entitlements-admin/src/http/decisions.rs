//! Answers: what a tenant may use, may have used, or might use.

use axum::{
    extract::{Request, State},
    http::StatusCode,
};
use entitlements_core::{
    Decision, Direction, Explanation, Reason, Revision, Tenant, Timestamp, document::DecisionText,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    body::{self, BYTES_MAX},
    extract::{Instant, Params, Segments, tenant_key},
    problem::{Code, Problem},
    reply::{self, Reply},
};
use crate::app::{App, WhatIf};

/// An answer.
#[derive(Serialize, JsonSchema)]
pub(super) struct Checked {
    #[serde(flatten)]
    answer: DecisionText,
    /// Where it stands what the tenant may ask for that would make it another answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    offers: Option<String>,
}

/// An explanation.
#[derive(Serialize, JsonSchema)]
pub(super) struct Explained {
    #[serde(flatten)]
    explanation: Explanation,
    /// Where it stands what the tenant may ask for that would make it another answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    offers: Option<String>,
}

/// Where it stands what would lift a denial. Nothing else asks for more by itself.
fn offers_of(decision: &Decision<'_>, tenant: &str, feature: &str) -> Option<String> {
    let is_known = !matches!(decision.reason(), Reason::UnknownTenant | Reason::UnknownFeature);
    (is_known && !decision.is_allowed())
        .then(|| format!("/v1/tenants/{tenant}/features/{feature}/offers"))
}

/// May this tenant use this feature, how much of it, and why?
pub(super) async fn check(
    State(app): State<App>,
    Segments((tenant, feature)): Segments<(String, String)>,
    Params(instant): Params<Instant>,
) -> Reply {
    let at = instant.or_now(&app)?;
    let world = app.world(&tenant, instant.as_of()?).await?;
    let decision = world.check(tenant.as_str(), feature.as_str(), at);
    let offers = offers_of(&decision, &tenant, &feature);
    let answer = DecisionText::from((tenant.as_str(), feature.as_str(), &decision));
    reply::json(StatusCode::OK, world.revision(), &Checked { answer, offers })
}

/// The same with everything that was weighed.
pub(super) async fn explain(
    State(app): State<App>,
    Segments((tenant, feature)): Segments<(String, String)>,
    Params(instant): Params<Instant>,
) -> Reply {
    let at = instant.or_now(&app)?;
    let world = app.world(&tenant, instant.as_of()?).await?;
    let offers = offers_of(&world.check(tenant.as_str(), feature.as_str(), at), &tenant, &feature);
    let explanation = world.explain(&tenant, &feature, at);
    reply::json(StatusCode::OK, world.revision(), &Explained { explanation, offers })
}

/// Every answer for a tenant.
#[derive(Serialize, JsonSchema)]
pub(super) struct All {
    tenant: String,
    revision: Revision,
    at: Timestamp,
    features: Vec<serde_json::Value>,
}

/// The answers for every feature of the catalog.
pub(super) async fn all(
    State(app): State<App>,
    Segments(tenant): Segments<String>,
    Params(instant): Params<Instant>,
) -> Reply {
    let at = instant.or_now(&app)?;
    let world = app.world(&tenant, instant.as_of()?).await?;
    let mut features = Vec::new();
    app.decisions(&world, &tenant, at, |feature, decision| {
        let text = DecisionText::from((tenant.as_str(), feature.as_str(), &decision));
        features.extend(serde_json::to_value(&text).ok());
    });
    let revision = world.revision();
    reply::json(StatusCode::OK, revision, &All { tenant, revision, at, features })
}

/// What might be otherwise.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Supposed {
    /// The tenant as it might be: its subscriptions, add-ons and so on. As it is where absent.
    #[serde(default)]
    tenant: Option<Box<Tenant>>,
    /// A draft of the catalog to look through. The live catalog where absent.
    #[serde(default)]
    draft: Option<String>,
    /// When. Now where absent.
    #[serde(default)]
    at: Option<Timestamp>,
}

/// What would become of a tenant.
#[derive(Serialize, JsonSchema)]
pub(super) struct Would {
    tenant: String,
    at: Timestamp,
    /// The revision that it is compared with.
    revision: Revision,
    /// The answers that would be others.
    changes: Vec<WouldChange>,
    /// The add-ons that it would hold, and whether they would be in force.
    add_ons: Vec<serde_json::Value>,
}

/// One answer that would be another.
#[derive(Serialize, JsonSchema)]
struct WouldChange {
    feature: String,
    direction: Direction,
    before: Explanation,
    after: Explanation,
}

/// What would become of one tenant if it, the catalog or the date were another.
pub(super) async fn what_if(
    State(app): State<App>,
    Segments(key): Segments<String>,
    request: Request,
) -> Reply {
    let key = tenant_key(&key)?;
    let Supposed { tenant, draft, at } = body::read(request, BYTES_MAX).await?;
    let at = at.unwrap_or_else(|| app.now());
    let supposed = WhatIf { key: key.clone(), tenant, draft };
    let (now, would) = app.what_if(supposed).await?;
    let tenant = key.as_str();
    let changes = now.changes_of(&would, tenant, at).map(|change| WouldChange {
        feature: change.feature.to_string(),
        direction: change.direction(&would),
        before: now.explain(tenant, change.feature.as_str(), at),
        after: would.explain(tenant, change.feature.as_str(), at),
    });
    let changes = changes.collect();
    let held = would.tenant(tenant).map(|view| view.add_ons(at)).unwrap_or_default();
    let written: Result<Vec<_>, _> = held.iter().map(serde_json::to_value).collect();
    let add_ons = written.map_err(|error| Problem::new(Code::Unavailable, error.to_string()))?;
    let revision = now.revision();
    let body = Would { tenant: tenant.into(), at, revision, changes, add_ons };
    reply::json(StatusCode::OK, revision, &body)
}
