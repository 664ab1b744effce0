//! What Super Admins set.

use axum::{
    Extension,
    extract::{Request, State},
    http::HeaderMap,
};

use super::{
    body::{self, BYTES_MAX},
    extract::expected,
    reply::{self, Reply},
};
use crate::{
    app::{App, Call, Command},
    workflow::{
        approval::DelegationSetting,
        settings::{ApprovalSetting, OutboxSetting, RetentionSetting, Setting},
    },
};

async fn get<S: Setting>(app: App, headers: &HeaderMap) -> Reply {
    let (setting, revision) = app.setting::<S>().await?;
    let text = reply::text(&setting)?;
    Ok(reply::document(headers, revision.unwrap_or_default(), text))
}

/// When changes of the catalog need approval.
pub(super) async fn approval(State(app): State<App>, headers: HeaderMap) -> Reply {
    get::<ApprovalSetting>(app, &headers).await
}

/// How long the past is kept.
pub(super) async fn retention(State(app): State<App>, headers: HeaderMap) -> Reply {
    get::<RetentionSetting>(app, &headers).await
}

/// How messages are sent.
pub(super) async fn outbox(State(app): State<App>, headers: HeaderMap) -> Reply {
    get::<OutboxSetting>(app, &headers).await
}

/// Who stands in for whom.
pub(super) async fn delegations(State(app): State<App>, headers: HeaderMap) -> Reply {
    get::<DelegationSetting>(app, &headers).await
}

/// Says how messages are sent.
pub(super) async fn put_outbox(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let setting = Box::new(body::read(request, BYTES_MAX).await?);
    let outcome = app.execute(call, Command::SetOutbox { setting, expected }).await?;
    reply::committed(&outcome, true)
}

/// Says when changes of the catalog need approval.
pub(super) async fn put_approval(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let setting = body::read(request, BYTES_MAX).await?;
    let outcome = app.execute(call, Command::SetApproval { setting, expected }).await?;
    reply::committed(&outcome, true)
}

/// Says how long the past is kept.
pub(super) async fn put_retention(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let setting = body::read(request, BYTES_MAX).await?;
    let outcome = app.execute(call, Command::SetRetention { setting, expected }).await?;
    reply::committed(&outcome, true)
}
