//! What tenants ask for.

use std::collections::BTreeMap;

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use entitlements_core::{Revision, TenantKey, Timestamp, document::Hash};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    body::{self, BYTES_MAX},
    extract::{Params, Segments, expected},
    problem::{Code, Problem},
    reply::{self, Reply},
};
use crate::{
    app::{App, Call, Command, Error, KeptRequest, NewRequest, Outcome, StepTold},
    store::RequestSearch,
    workflow::request::{Act, Asks, Link, RequestRecord, Stage, Wants},
};

/// A request as people write it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestWanted {
    /// Whose.
    tenant: TenantKey,
    /// For which listing; that of what one has where it is about that.
    #[serde(default)]
    listing: String,
    /// What is asked: to have it, where absent.
    #[serde(default = "order")]
    asks: Asks,
    /// How much of it, and when.
    #[serde(default = "one")]
    wants: Wants,
    /// How much it matters.
    #[serde(default = "normal")]
    priority: String,
    /// For whom it is, by address, where that is somebody else.
    #[serde(default)]
    beneficiary: Option<String>,
    /// What there is to say about it.
    #[serde(default)]
    note: String,
    /// Whether it is handed in at once.
    #[serde(default = "yes")]
    submit: bool,
}

const fn order() -> Asks {
    Asks::Order {}
}

const fn one() -> Wants {
    Wants { quantity: 1, parameters: Value::Null, start_at: None, until: None }
}

fn normal() -> String {
    "normal".into()
}

const fn yes() -> bool {
    true
}

/// That something was asked for.
#[derive(Serialize, JsonSchema)]
pub(super) struct Made {
    /// The commit.
    revision: Revision,
    id: String,
}

/// Asks for something, for a tenant.
pub(super) async fn create_request(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let wanted: RequestWanted = body::read(request, BYTES_MAX).await?;
    let RequestWanted { tenant, listing, asks, wants, priority, beneficiary, note, submit } =
        wanted;
    let wanted = NewRequest { tenant, listing, asks, wants, priority, beneficiary, note, submit };
    let outcome = app.execute(call, Command::CreateRequest(Box::new(wanted))).await?;
    let id = outcome.id.clone().unwrap_or_default();
    let body = Made { revision: outcome.revision, id: id.clone() };
    let mut response = reply::json(StatusCode::CREATED, outcome.revision, &body)?;
    reply::mark(&mut response, &outcome, true);
    if let Ok(place) = HeaderValue::from_str(&format!("/v1/requests/{id}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// Which requests to show.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RequestFilter {
    /// Of this tenant.
    tenant: String,
    /// For this listing.
    listing: String,
    /// In this stage, such as `pending_approval`.
    stage: String,
    /// Looked after by this team.
    team: String,
    /// Only those that are not over.
    open: bool,
    /// Only those with a promise that is due before this instant and not kept yet, the first due
    /// first.
    due_before: Option<Timestamp>,
    /// What the page before named as `next`.
    after: String,
    /// How many at most, from 1 to 200.
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
}

impl Default for RequestFilter {
    fn default() -> Self {
        Self {
            tenant: String::new(),
            listing: String::new(),
            stage: String::new(),
            team: String::new(),
            open: false,
            due_before: None,
            after: String::new(),
            limit: 100,
        }
    }
}

const LIMIT_MAX: u32 = 200;

/// A request.
#[derive(Serialize, JsonSchema)]
pub(super) struct RequestShown {
    id: String,
    revision: Revision,
    #[serde(flatten)]
    record: RequestRecord,
}

impl From<KeptRequest> for RequestShown {
    fn from(kept: KeptRequest) -> Self {
        let KeptRequest { id, record, revision } = kept;
        Self { id, revision, record }
    }
}

/// Requests, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct RequestList {
    requests: Vec<RequestShown>,
    /// What to ask for next, where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Requests, newest first.
pub(super) async fn requests(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Params(filter): Params<RequestFilter>,
) -> Reply {
    let wrong = |why: String| Problem::new(Code::InvalidRequest, why);
    if !(1..=LIMIT_MAX).contains(&filter.limit) {
        return Err(wrong(format!("`limit={}` is not a page: use 1 to {LIMIT_MAX}", filter.limit)));
    }
    if !filter.stage.is_empty() {
        filter.stage.parse::<Stage>().map_err(wrong)?;
    }
    let after = match filter.after.is_empty() {
        true => None,
        false => Some(cursor(&filter.after)?),
    };
    let limit = filter.limit as usize;
    let search = RequestSearch {
        tenant: filter.tenant,
        listing: filter.listing,
        stage: filter.stage,
        partner: String::new(),
        team: filter.team,
        open: filter.open,
        due_before: filter.due_before,
        after,
        limit: filter.limit + 1,
    };
    let is_paged = search.due_before.is_none();
    let rest = app.requests(&call, search).await?;
    let last = rest.get(limit - 1).filter(|_| is_paged && rest.len() > limit);
    let next = last.map(|kept| format!("{}.{}", kept.record.created_at.as_micros(), kept.id));
    let requests = rest.into_iter().take(limit).map(Into::into).collect();
    let list = RequestList { requests, next };
    reply::json(StatusCode::OK, app.revision(), &list)
}

/// Where a page ended.
fn cursor(text: &str) -> Result<(Timestamp, String), Problem> {
    let found = text.split_once('.');
    let found =
        found.and_then(|(at, id)| Some((Timestamp::from_micros(at.parse().ok()?), id.into())));
    found.ok_or_else(|| {
        let detail = format!("`after={text}` is no place in the list: use what `next` says");
        Problem::new(Code::InvalidRequest, detail)
    })
}

/// How many requests go on.
#[derive(Serialize, JsonSchema)]
pub(super) struct Counts {
    /// By stage. Those that are not named have none.
    stages: BTreeMap<String, u64>,
}

/// How many requests go on, by stage.
pub(super) async fn counts(State(app): State<App>, Extension(call): Extension<Call>) -> Reply {
    let stages = app.request_counts(&call).await?;
    reply::json(StatusCode::OK, app.revision(), &Counts { stages })
}

/// A request.
pub(super) async fn request(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    let kept = app.request(&call, &id).await?;
    let revision = kept.revision;
    Ok(reply::document(&headers, revision, reply::text(&RequestShown::from(kept))?))
}

/// What a request would do to its tenant.
pub(super) async fn effect(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
) -> Reply {
    let kept = app.request(&call, &id).await?;
    let effect = app.request_effect(&kept.record).await?;
    reply::json(StatusCode::OK, kept.revision, &effect)
}

/// Changes what is asked for.
pub(super) async fn edit_request(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let wants: Box<Wants> = body::read(request, BYTES_MAX).await?;
    let outcome = app.execute(call, Command::EditRequest { id, wants, expected }).await?;
    reply::committed(&outcome, true)
}

async fn act(app: App, call: Call, id: String, headers: &HeaderMap, act: Act) -> Reply {
    let expected = expected(headers)?;
    let outcome: Outcome = app.execute(call, Command::ActOnRequest { id, act, expected }).await?;
    reply::committed(&outcome, true)
}

/// Hands it in.
pub(super) async fn submit(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    act(app, call, id, &headers, Act::Submit).await
}

/// Takes it back.
pub(super) async fn withdraw(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    act(app, call, id, &headers, Act::Withdraw).await
}

/// Tries again to undo it.
pub(super) async fn retry_undo(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    act(app, call, id, &headers, Act::RetryUndo).await
}

/// A vote.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Agreement {
    /// The digest of the effect that was looked at.
    digest: String,
    /// What there is to say about it.
    #[serde(default)]
    comment: Option<String>,
}

/// Agrees.
pub(super) async fn approve(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    request: Request,
) -> Reply {
    let headers = request.headers().clone();
    let Agreement { digest, comment } = body::read(request, BYTES_MAX).await?;
    let seen: Hash = digest.parse().map_err(|_| {
        let detail = "`digest` is none: `GET …/effect` says which one";
        Problem::new(Code::InvalidRequest, detail)
    })?;
    act(app, call, id, &headers, Act::Approve { seen, comment }).await
}

/// Some words.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    /// What there is to say.
    text: String,
}

async fn with_words(
    app: App,
    call: Call,
    id: String,
    request: Request,
    to: fn(String) -> Act,
) -> Reply {
    let headers = request.headers().clone();
    let Words { text } = body::read(request, BYTES_MAX).await?;
    act(app, call, id, &headers, to(text)).await
}

macro_rules! with_words {
    ($($(#[$doc:meta])* $name:ident => $act:expr;)*) => {
        $($(#[$doc])*
        pub(super) async fn $name(
            State(app): State<App>,
            Extension(call): Extension<Call>,
            Segments(id): Segments<String>,
            request: Request,
        ) -> Reply {
            with_words(app, call, id, request, $act).await
        })*
    };
}

with_words! {
    /// Does not agree.
    reject => |comment| Act::Reject { comment };
    /// Asks the requester for something.
    ask => |question| Act::AskInfo { question };
    /// Says what was asked for.
    answer => |answer| Act::Answer { answer };
    /// Says that another one asks for the same.
    mark_duplicate => |of| Act::MarkDuplicate { of };
    /// Approves it without the votes that it needs.
    break_glass => |reason| Act::BreakGlass { reason };
    /// Looks at what was approved by breaking the glass.
    review => |comment| Act::Review { comment };
    /// Calls it off.
    cancel => |reason| Act::Cancel { reason };
    /// Says how what could not be undone was put right.
    resolve => |comment| Act::Resolve { comment };
}

/// Something said about a request.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Comment {
    /// What.
    #[serde(default)]
    text: String,
    /// Something elsewhere that belongs to it.
    #[serde(default)]
    link: Option<Link>,
}

/// Says something about a request.
pub(super) async fn comment(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    request: Request,
) -> Reply {
    let Comment { text, link } = body::read(request, BYTES_MAX).await?;
    let outcome = app.execute(call, Command::CommentRequest { id, text, link }).await?;
    reply::committed(&outcome, false)
}

/// What became of a step that a person does.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// Whether it is done.
    done: bool,
    /// What there is to say about it.
    #[serde(default)]
    comment: String,
}

/// Says what became of a step that a person does.
pub(super) async fn tell_step(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments((id, step)): Segments<(String, String)>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let Told { done, comment } = body::read(request, BYTES_MAX).await?;
    let told = StepTold { step, done, comment };
    let outcome = app.execute(call, Command::TellStep { id, told, expected }).await?;
    reply::committed(&outcome, true)
}

/// Where a request is in force.
pub(super) async fn in_force(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
) -> Reply {
    let kept = app.request(&call, &id).await?;
    let force = app.in_force(&kept).await?;
    reply::json(StatusCode::OK, kept.revision, &force)
}

/// Takes what a webhook's receiver says of a step that it said it would do.
pub(super) async fn hear_step(
    State(app): State<App>,
    Segments(key): Segments<String>,
    request: Request,
) -> Reply {
    let (parts, body) = request.into_parts();
    let bytes = body::collect(&parts.headers, body, STEP_BYTES_MAX).await?;
    let header = |name: &str| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let signed = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    match app.hear_step(&key, signed, &bytes).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(Error::Unauthenticated) => Err(Problem::new(
            Code::Unauthenticated,
            "sign it with the connector's secret, by Standard Webhooks: `webhook-id`, \
             `webhook-timestamp` and `webhook-signature`",
        )),
        Err(error) => Err(error.into()),
    }
}

/// The most that a receiver may say of a step.
const STEP_BYTES_MAX: usize = 64 * 1_024;
