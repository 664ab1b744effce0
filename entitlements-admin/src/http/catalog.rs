//! The catalog.

use axum::{
    Extension,
    extract::{Request, State},
    http::HeaderMap,
};
use entitlements_core::Revision;
use serde::Deserialize;

use super::{
    body::{self, IMPORT_BYTES_MAX},
    extract::{Params, expected},
    reply::{self, Reply},
};
use crate::app::{App, Call, Command};

/// The catalog in force; an empty one before the first import.
pub(super) async fn get(State(app): State<App>, headers: HeaderMap) -> Reply {
    let stored = app.catalog().await?;
    let (text, revision) =
        stored.map_or_else(|| ("{}".into(), Revision(0)), |row| (row.json, row.revision));
    Ok(reply::document(&headers, revision, text))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BreakGlass {
    /// Whether to do without the approval that is asked for. It takes an `Entitlements-Reason`.
    #[serde(default)]
    break_glass: bool,
}

/// Imports a catalog.
pub(super) async fn put(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Params(BreakGlass { break_glass: breaks_glass }): Params<BreakGlass>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let draft = Box::new(body::read(request, IMPORT_BYTES_MAX).await?);
    let command = Command::ImportCatalog { draft, expected, breaks_glass };
    let outcome = app.execute(call, command).await?;
    reply::committed(&outcome, true)
}
