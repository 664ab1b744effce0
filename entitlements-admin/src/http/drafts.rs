//! Drafts of the catalog.

use axum::{
    Extension,
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::IntoResponse,
};
use entitlements_core::{Draft as Catalog, Problem as Finding, Revision, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    body::{self, BYTES_MAX, IMPORT_BYTES_MAX},
    download::download,
    extract::{Params, Segments, expected},
    problem::{Code, Problem},
    reply::{self, Reply},
};
use crate::{
    app::{App, Call, Command, DraftEdit, Expected, KeptDraft, Laid, Outcome, Preview, StartsWith},
    workflow::{
        barrier::DEADLINE_S,
        draft::{self, Changes, Conflict, DraftRecord, ObjectRef},
        publication::{Act, Stage},
    },
};

/// Which drafts to list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// Only those in these stages, with commas between them.
    #[serde(default)]
    stage: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct List {
    drafts: Vec<Item>,
}

/// A draft in a list, without what it changes.
#[derive(Serialize, JsonSchema)]
struct Item {
    id: String,
    revision: Revision,
    name: String,
    stage: String,
    created_at: Timestamp,
    created_by: String,
    /// How many objects it changes.
    edits: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    publish_at: Option<Timestamp>,
}

/// Every draft.
pub(super) async fn list(State(app): State<App>, Params(filter): Params<Filter>) -> Reply {
    let words = filter.stage.iter().flat_map(|text| text.split(',')).filter(|w| !w.is_empty());
    let stages: Result<Vec<Stage>, _> = words.map(|word| word.trim().parse()).collect();
    let stages = stages.map_err(|error: String| Problem::new(Code::InvalidRequest, error))?;
    let item = |kept: KeptDraft| Item {
        id: kept.id,
        revision: kept.revision,
        edits: kept.record.edits.len(),
        name: kept.record.name,
        stage: kept.record.stage,
        created_at: kept.record.created_at,
        created_by: kept.record.created_by,
        publish_at: kept.record.publish_at,
    };
    let drafts = app.drafts(&stages).await?.into_iter().map(item).collect();
    reply::json(StatusCode::OK, app.revision(), &List { drafts })
}

/// A draft to make.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// What people call it.
    name: String,
    /// What it is for.
    #[serde(default)]
    description: String,
    /// The catalog that it leads to.
    #[serde(default)]
    catalog: Option<Box<Catalog>>,
    /// The commit whose catalog it brings back.
    #[serde(default)]
    restores: Option<Revision>,
}

/// That something was made.
#[derive(Serialize, JsonSchema)]
pub(super) struct Made {
    revision: Revision,
    id: String,
}

/// Makes one.
pub(super) async fn create(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let wanted: Wanted = body::read(request, IMPORT_BYTES_MAX).await?;
    let starts_with = match (wanted.catalog, wanted.restores) {
        (None, None) => StartsWith::Nothing,
        (Some(catalog), None) => StartsWith::Catalog(catalog),
        (None, Some(revision)) => StartsWith::Past(revision),
        (Some(_), Some(_)) => {
            let detail = "send `catalog` or `restores`, not both";
            return Err(Problem::new(Code::InvalidRequest, detail));
        }
    };
    let (name, description) = (wanted.name, wanted.description);
    let command = Command::CreateDraft { name, description, starts_with };
    made(&app.execute(call, command).await?)
}

/// That a draft was made, and where it is.
pub(super) fn made(outcome: &Outcome) -> Reply {
    let id = outcome.id.clone().unwrap_or_default();
    let body = Made { revision: outcome.revision, id: id.clone() };
    let mut response = reply::json(StatusCode::CREATED, outcome.revision, &body)?;
    reply::mark(&mut response, outcome, true);
    if let Ok(place) = HeaderValue::from_str(&format!("/v1/drafts/{id}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// A draft, and what stands in its way.
#[derive(Serialize, JsonSchema)]
pub(super) struct Shown {
    id: String,
    revision: Revision,
    #[serde(flatten)]
    #[schemars(with = "Value")]
    draft: DraftRecord,
    /// What it changes in the live catalog, field by field.
    #[schemars(with = "Vec<Value>")]
    changes: Changes,
    /// Where it and the live catalog disagree.
    #[schemars(with = "Vec<Value>")]
    conflicts: Vec<Conflict>,
    /// All that is wrong with the catalog as it would be.
    problems: Vec<Finding>,
}

/// One draft, laid over what is live.
pub(super) async fn get(
    State(app): State<App>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    let kept = app.draft(&id).await?;
    let pin = app.pin();
    let merged = draft::merge(pin.catalog().draft(), &kept.record.edits);
    let shown = Shown {
        id,
        revision: kept.revision,
        changes: draft::changes(pin.catalog().draft(), &merged.draft),
        draft: kept.record,
        conflicts: merged.conflicts,
        problems: merged.problems,
    };
    // What it is laid over is part of what is shown, and of the tag.
    let over = app.catalog_revision().unwrap_or_default();
    let tag = format!("\"{}.{over}\"", kept.revision);
    if reply::has(&headers, &tag) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        reply::insert_tag(&mut response, &tag);
        return Ok(response);
    }
    let mut response = reply::json(StatusCode::OK, kept.revision, &shown)?;
    reply::insert_tag(&mut response, &tag);
    Ok(response)
}

/// What to call a draft, and what it leads to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Described {
    /// What people call it.
    #[serde(default)]
    name: Option<String>,
    /// What it is for.
    #[serde(default)]
    description: Option<String>,
    /// The catalog that it leads to from the live one: it replaces all that the draft changed.
    #[serde(default)]
    catalog: Option<Box<Catalog>>,
}

/// Changes the draft as a whole.
pub(super) async fn patch(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let Described { name, description, catalog } = body::read(request, IMPORT_BYTES_MAX).await?;
    let edit = match (catalog, name, description) {
        (Some(catalog), None, None) => DraftEdit::Catalog(catalog),
        (None, name, description) => DraftEdit::Describe { name, description },
        (Some(_), _, _) => {
            let detail = "send `catalog` alone, or `name` and `description`";
            return Err(Problem::new(Code::InvalidRequest, detail));
        }
    };
    let outcome = app.execute(call, Command::EditDraft { id, edit, expected }).await?;
    reply::committed(&outcome, true)
}

/// How an edit stands to what others published in the meantime.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resolving {
    /// Whether it ends conflicts in the object: you have seen what is live.
    #[serde(default)]
    resolve: bool,
}

/// Makes or replaces an object in the draft.
pub(super) async fn put_object(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments((id, object)): Segments<(String, String)>,
    Params(Resolving { resolve: resolves }): Params<Resolving>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let object = object_ref(&object)?;
    let value: Value = body::read(request, BYTES_MAX).await?;
    let edit = DraftEdit::Put { object, value, resolves };
    let outcome = app.execute(call, Command::EditDraft { id, edit, expected }).await?;
    reply::committed(&outcome, true)
}

/// How an object leaves the draft.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Leaving {
    /// Leave it as it is in the live catalog, instead of retiring it.
    #[serde(default)]
    revert: bool,
    /// Whether it ends conflicts in the object: you have seen what is live.
    #[serde(default)]
    resolve: bool,
}

/// Retires an object in the draft, or drops what the draft does to it.
pub(super) async fn delete_object(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments((id, object)): Segments<(String, String)>,
    Params(leaving): Params<Leaving>,
    headers: HeaderMap,
) -> Reply {
    let expected = expected(&headers)?;
    let object = object_ref(&object)?;
    let edit = match leaving.revert {
        true => DraftEdit::Revert { object },
        false => DraftEdit::Retire { object, resolves: leaving.resolve },
    };
    let outcome = app.execute(call, Command::EditDraft { id, edit, expected }).await?;
    reply::committed(&outcome, true)
}

fn object_ref(text: &str) -> Result<ObjectRef, Problem> {
    text.parse().map_err(|error: draft::ObjectRefError| {
        Problem::new(Code::InvalidRequest, error.to_string())
    })
}

/// What a draft would do, and what a vote for it is bound to.
#[derive(Serialize, JsonSchema)]
pub(super) struct ShownPreview {
    /// The revision of the draft.
    revision: Revision,
    /// What an approval names.
    digest: String,
    /// How many tenants lose something, at the instant at which most do.
    losing: u64,
    /// How many approvals it takes.
    approvals_needed: u32,
    /// How many it has.
    approvals: usize,
    /// In how many places it and the live catalog disagree.
    conflicts: usize,
    /// How much is wrong with the catalog as it would be.
    problems: usize,
    /// Absent where the draft is no catalog.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    preview: Option<Preview>,
}

/// What it would do to every tenant.
pub(super) async fn preview(State(app): State<App>, Segments(id): Segments<String>) -> Reply {
    let kept = app.draft(&id).await?;
    let Laid { preview, effect, .. } = app.laid(&kept.record).await?;
    let publication = kept.record.publication();
    let shown = ShownPreview {
        revision: kept.revision,
        digest: effect.digest.to_string(),
        losing: effect.losing,
        approvals_needed: app.policy().await?.approvals_needed(&effect),
        approvals: publication.map_or(0, |publication| publication.standing(&effect)),
        conflicts: effect.conflicts,
        problems: effect.problems,
        preview,
    };
    reply::json(StatusCode::OK, kept.revision, &shown)
}

/// An instant to look at.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Then {
    /// When; now where none is given.
    #[serde(default)]
    at: Option<String>,
}

/// The same as a list of every tenant and feature that changes.
pub(super) async fn preview_csv(
    State(app): State<App>,
    Segments(id): Segments<String>,
    Params(then): Params<Then>,
) -> Reply {
    let at = super::extract::instant(then.at.as_deref())?.unwrap_or_else(|| app.now());
    let kept = app.draft(&id).await?;
    let merged = draft::merge(app.pin().catalog().draft(), &kept.record.edits);
    let Some(catalog) = merged.catalog else {
        let detail = "the draft is no catalog: put right what its validation lists";
        return Err(Problem::new(Code::InvalidCatalog, detail).at(merged.problems));
    };
    let pin = app.pin();
    let after = pin.with_catalog(pin.revision(), catalog.into(), at);
    let name = format!("draft-{id}.csv");
    Ok(download("text/csv; charset=utf-8", &name, move |lines| {
        lines.row(&["tenant", "feature", "change", "before", "after"])?;
        for change in pin.changes(&after, at) {
            let (before, now) = (change.before.to_string(), change.after.to_string());
            let way = change.direction(&after).code();
            lines.row(&[change.tenant, change.feature.as_str(), way, &before, &now])?;
        }
        Ok(())
    }))
}

/// The catalog as it would be.
pub(super) async fn catalog(State(app): State<App>, Segments(id): Segments<String>) -> Reply {
    let kept = app.draft(&id).await?;
    let merged = draft::merge(app.pin().catalog().draft(), &kept.record.edits);
    reply::json(StatusCode::OK, kept.revision, &merged.draft)
}

/// A vote.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Approval {
    /// The `digest` of the preview that was looked at.
    digest: String,
}

/// What should be changed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rejection {
    /// In a sentence or two.
    comment: String,
}

/// When to publish.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Schedule {
    /// The instant.
    at: Timestamp,
}

/// Why it cannot wait.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BreakGlass {
    /// In ten characters or more.
    reason: String,
}

/// Which draft to act on, and what it must be.
pub(super) struct ActOn {
    id: String,
    expected: Expected,
}

impl<S: Send + Sync> FromRequestParts<S> for ActOn {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Segments(id) = Segments::from_request_parts(parts, state).await?;
        Ok(Self { id, expected: expected(&parts.headers)? })
    }
}

async fn act(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    ActOn { id, expected }: ActOn,
    act: Act,
) -> Reply {
    let outcome = app.execute(call, Command::ActOnDraft { id, act, expected }).await?;
    reply::committed(&outcome, true)
}

/// Asks others to look at it.
pub(super) async fn submit(app: State<App>, call: Extension<Call>, to: ActOn) -> Reply {
    act(app, call, to, Act::Submit).await
}

/// Takes it back to work on it.
pub(super) async fn withdraw(app: State<App>, call: Extension<Call>, to: ActOn) -> Reply {
    act(app, call, to, Act::Withdraw).await
}

/// Has it no longer published later.
pub(super) async fn unschedule(app: State<App>, call: Extension<Call>, to: ActOn) -> Reply {
    act(app, call, to, Act::Unschedule).await
}

/// Whether sidecars prepare it first, and all switch at one instant.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Together {
    /// Which part of the live sidecars must have prepared it, in percent from 1 to 100; at once and
    /// without waiting for any of them where absent.
    #[schemars(range(min = 1, max = 100))]
    barrier: Option<u8>,
    /// How many seconds they may take, from 1 to 600.
    #[schemars(range(min = 1, max = 600))]
    deadline_s: Option<u64>,
}

/// Makes it the catalog.
pub(super) async fn publish(
    app: State<App>,
    call: Extension<Call>,
    to: ActOn,
    Params(together): Params<Together>,
) -> Reply {
    let Together { barrier: Some(quorum_percent), deadline_s } = together else {
        return match together.deadline_s {
            None => act(app, call, to, Act::Publish).await,
            Some(_) => {
                let detail = "`deadline_s` goes with `barrier`: send `barrier=100` as well";
                Err(Problem::new(Code::InvalidRequest, detail))
            }
        };
    };
    let deadline_s = deadline_s.unwrap_or(DEADLINE_S);
    let (draft, expected) = (to.id, to.expected);
    let command = Command::StartBarrier { draft, expected, quorum_percent, deadline_s };
    let outcome = app.0.execute(call.0, command).await?;
    reply::committed(&outcome, false)
}

/// Gives it up.
pub(super) async fn discard(app: State<App>, call: Extension<Call>, to: ActOn) -> Reply {
    act(app, call, to, Act::Discard).await
}

/// Votes for it.
pub(super) async fn approve(
    app: State<App>,
    call: Extension<Call>,
    to: ActOn,
    request: Request,
) -> Reply {
    let Approval { digest } = body::read(request, BYTES_MAX).await?;
    let digest = digest.parse().map_err(|_| {
        let detail = format!("`{digest}` is no digest: send the one of the preview you looked at");
        Problem::new(Code::InvalidRequest, detail)
    })?;
    act(app, call, to, Act::Approve { digest }).await
}

/// Asks for changes.
pub(super) async fn reject(
    app: State<App>,
    call: Extension<Call>,
    to: ActOn,
    request: Request,
) -> Reply {
    let Rejection { comment } = body::read(request, BYTES_MAX).await?;
    act(app, call, to, Act::Reject { comment }).await
}

/// Has it published later.
pub(super) async fn schedule(
    app: State<App>,
    call: Extension<Call>,
    to: ActOn,
    request: Request,
) -> Reply {
    let Schedule { at } = body::read(request, BYTES_MAX).await?;
    act(app, call, to, Act::Schedule { at }).await
}

/// Makes it the catalog without the approvals that are asked for.
pub(super) async fn break_glass(
    app: State<App>,
    call: Extension<Call>,
    to: ActOn,
    request: Request,
) -> Reply {
    let BreakGlass { reason } = body::read(request, BYTES_MAX).await?;
    act(app, call, to, Act::BreakGlass { reason }).await
}
