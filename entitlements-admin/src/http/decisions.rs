//! Answers: what a tenant may use.

use axum::{extract::State, http::StatusCode};
use entitlements_core::{Revision, Timestamp, document::DecisionText};
use serde::Serialize;

use super::{
    extract::{Instant, Params, Segments},
    reply::{self, Reply},
};
use crate::app::App;

/// May this tenant use this feature, how much of it, and why?
pub(super) async fn check(
    State(app): State<App>,
    Segments((tenant, feature)): Segments<(String, String)>,
    Params(instant): Params<Instant>,
) -> Reply {
    let at = instant.or_now(&app)?;
    let pin = app.pin();
    let decision = pin.check(tenant.as_str(), feature.as_str(), at);
    let text = DecisionText::from((tenant.as_str(), feature.as_str(), &decision));
    reply::json(StatusCode::OK, pin.revision(), &text)
}

/// The same with everything that was weighed.
pub(super) async fn explain(
    State(app): State<App>,
    Segments((tenant, feature)): Segments<(String, String)>,
    Params(instant): Params<Instant>,
) -> Reply {
    let at = instant.or_now(&app)?;
    let pin = app.pin();
    reply::json(StatusCode::OK, pin.revision(), &pin.explain(&tenant, &feature, at))
}

#[derive(Serialize)]
struct All<'t> {
    tenant: &'t str,
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
    let pin = app.pin();
    let mut features = Vec::new();
    app.decisions(&pin, &tenant, at, |feature, decision| {
        let text = DecisionText::from((tenant.as_str(), feature.as_str(), &decision));
        features.extend(serde_json::to_value(&text).ok());
    });
    let body = All { tenant: &tenant, revision: pin.revision(), at, features };
    reply::json(StatusCode::OK, pin.revision(), &body)
}
