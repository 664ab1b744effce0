//! The catalog.

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
};
use entitlements_core::{Catalog, Draft, Problem as Finding, Revision};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    body::{self, BYTES_MAX, IMPORT_BYTES_MAX},
    drafts,
    extract::{Instant, Params, expected},
    reply::{self, Reply},
};
use crate::{
    app::{App, AsOf, Call, Command, Error, Preview, StartsWith},
    store::audit::document_hash,
    workflow::draft::{self, Changes},
};

/// The header that names the environment whose catalog it is.
const ENVIRONMENT: HeaderName = HeaderName::from_static("entitlements-environment");

/// The catalog in force, now or then; an empty one before the first.
pub(super) async fn get(
    State(app): State<App>,
    Params(instant): Params<Instant>,
    headers: HeaderMap,
) -> Reply {
    let stored = app.catalog_version(instant.as_of()?).await?;
    let (text, revision) = stored.unwrap_or_else(|| ("{}".into(), Revision(0)));
    let mut response = reply::document(&headers, revision, text);
    if let Ok(environment) = HeaderValue::from_str(app.environment()) {
        response.headers_mut().insert(ENVIRONMENT, environment);
    }
    Ok(response)
}

/// What a catalog would change.
#[derive(Serialize, JsonSchema)]
pub(super) struct Plan {
    /// The revision of the live catalog that it is compared with; 0 where there is none.
    revision: Revision,
    /// The hash of the live catalog's document.
    hash: String,
    /// What is different, field by field.
    #[schemars(with = "Vec<serde_json::Value>")]
    changes: Changes,
    /// All that is wrong with it.
    problems: Vec<Finding>,
    /// Whether somebody else would have to approve it.
    needs_approval: bool,
    /// What it would do to every tenant; absent where it is no catalog.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    impact: Option<Preview>,
}

/// Compares a catalog with the one in force, and changes nothing.
pub(super) async fn plan(State(app): State<App>, request: Request) -> Reply {
    let draft: Draft = body::read(request, IMPORT_BYTES_MAX).await?;
    let live = app.catalog_version(AsOf::Now).await?;
    let (text, revision) = live.unwrap_or_else(|| ("{}".into(), Revision(0)));
    let current: Draft = serde_json::from_str(&text)
        .map_err(|error| Error::Unavailable(format!("the catalog: {error}")))?;
    let changes = draft::changes(&current, &draft);
    let (problems, impact) = match Catalog::new(draft) {
        Ok(catalog) => (Vec::new(), Some(app.preview(catalog.into()).await?)),
        Err(errors) => (errors.0, None),
    };
    let needs_approval = match &impact {
        Some(preview) => app.needs_approval(preview).await?,
        None => false,
    };
    let hash = document_hash(&text);
    let plan = Plan { revision, hash, changes, problems, needs_approval, impact };
    reply::json(StatusCode::OK, revision, &plan)
}

/// Which catalog to bring back.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollBack {
    /// The commit whose catalog it is.
    revision: Revision,
}

/// Makes a draft that brings a past catalog back: it is previewed and approved like any change.
pub(super) async fn roll_back(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let RollBack { revision } = body::read(request, BYTES_MAX).await?;
    let command = Command::CreateDraft {
        name: format!("Back to revision {revision}"),
        description: String::new(),
        starts_with: StartsWith::Past(revision),
    };
    let outcome = app.execute(call, command).await?;
    drafts::made(&outcome)
}

/// How to stand to approvals.
#[derive(Deserialize, JsonSchema)]
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
