//! What the outside world was told, what became of it, and what is followed up elsewhere.

use axum::{
    Extension,
    extract::{Request, State},
    http::StatusCode,
};
use entitlements_core::{Revision, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    body::{self, BYTES_MAX},
    extract::{Params, Segments},
    problem::{Code, Problem},
    reply::{self, Reply},
};
use crate::{
    app::{App, Call, Command, KeptDelivery},
    store::{Attempt, DeliveryRow, DeliverySearch, NoticeSearch, TaskSearch},
    workflow::{
        Redrive,
        delivery::Stage,
        notice::{EventType, KeptNotice, Phase, Severity, type_name},
        task::{Task, TaskState},
    },
};

/// A type of event.
#[derive(Serialize, JsonSchema)]
struct TypeShown {
    /// As rules name it.
    code: &'static str,
    /// As envelopes name it.
    r#type: String,
    severity: Severity,
    /// What it does to the follow-up of its subject.
    phase: Phase,
    /// When it happens.
    summary: &'static str,
    /// The JSON Schema of its data.
    schema: Value,
    /// Data as it might be.
    sample: Value,
}

/// Every type of event.
#[derive(Serialize, JsonSchema)]
pub(super) struct Types {
    event_types: Vec<TypeShown>,
}

/// Every type of event.
pub(super) async fn types(State(app): State<App>) -> Reply {
    let shown = |event_type: &EventType| TypeShown {
        code: event_type.code(),
        r#type: type_name(*event_type),
        severity: event_type.severity(),
        phase: event_type.phase(),
        summary: event_type.summary(),
        schema: event_type.schema_document(),
        sample: event_type.sample(),
    };
    let event_types = EventType::ALL.iter().map(shown).collect();
    reply::json(StatusCode::OK, app.revision(), &Types { event_types })
}

/// Which notices to show.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NoticeFilter {
    /// Of this type, such as `promotion.started`.
    event_type: String,
    /// About this tenant.
    tenant: String,
    /// About this subject, such as `draft/abcdefgh`.
    subject: String,
    /// Only those of which nobody is told, as no rule takes them.
    unrouted: bool,
    /// What the page before ended with.
    after: String,
    /// How many at most, from 1 to 200.
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
}

impl Default for NoticeFilter {
    fn default() -> Self {
        Self {
            event_type: String::new(),
            tenant: String::new(),
            subject: String::new(),
            unrouted: false,
            after: String::new(),
            limit: 100,
        }
    }
}

const LIMIT_MAX: u32 = 200;

fn limit(limit: u32) -> Result<u32, Problem> {
    if (1..=LIMIT_MAX).contains(&limit) {
        return Ok(limit);
    }
    let detail = format!("`limit={limit}` is not a page: use 1 to {LIMIT_MAX}");
    Err(Problem::new(Code::InvalidRequest, detail))
}

/// The place after which a page begins: revision, place and id, with a dot between.
fn after(text: &str) -> Result<(Revision, u32, String), Problem> {
    if text.is_empty() {
        return Ok((Revision(i64::MAX.unsigned_abs()), 0, String::new()));
    }
    let mut parts = text.splitn(3, '.');
    let revision = parts.next().and_then(|part| part.parse().ok());
    let place = parts.next().and_then(|part| part.parse().ok());
    let place = revision.filter(|revision| *revision <= i64::MAX.unsigned_abs()).zip(place);
    match place {
        Some((revision, place)) => {
            Ok((Revision(revision), place, parts.next().unwrap_or_default().into()))
        }
        None => {
            let detail = format!("`after={text}` is no place: use the `next` of the page before");
            Err(Problem::new(Code::InvalidRequest, detail))
        }
    }
}

/// A notice.
#[derive(Serialize, JsonSchema)]
struct NoticeShown {
    id: String,
    event_type: &'static str,
    severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    subject: String,
    at: Timestamp,
    /// The commit that it came with.
    revision: Revision,
    /// Whether it was decided whom to tell.
    routed: bool,
}

impl NoticeShown {
    fn of(kept: KeptNotice, routed: bool) -> Self {
        let KeptNotice { notice, revision, .. } = kept;
        Self {
            id: notice.id,
            event_type: notice.event_type.code(),
            severity: notice.event_type.severity(),
            tenant: notice.tenant,
            subject: notice.subject,
            at: notice.at,
            revision,
            routed,
        }
    }
}

/// Notices, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Notices {
    notices: Vec<NoticeShown>,
    /// What to ask for next, where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Notices, newest first.
pub(super) async fn list(State(app): State<App>, Params(filter): Params<NoticeFilter>) -> Reply {
    let limit = limit(filter.limit)?;
    if !filter.event_type.is_empty() && EventType::of_code(&filter.event_type).is_none() {
        let detail =
            format!("there is no type `{}`: `GET /v1/event-types` lists them", filter.event_type);
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let (revision, place, _) = after(&filter.after)?;
    let NoticeFilter { event_type, tenant, subject, unrouted, .. } = filter;
    let before = (revision, place);
    let search = NoticeSearch { before, event_type, tenant, subject, unrouted, limit };
    let found = app.notices(search).await?;
    let last = found.last().filter(|_| found.len() == limit as usize);
    let next = last.map(|(kept, _)| format!("{}.{}", kept.revision, kept.place));
    let notices = found.into_iter().map(|(kept, routed)| NoticeShown::of(kept, routed)).collect();
    reply::json(StatusCode::OK, app.revision(), &Notices { notices, next })
}

/// A notice, as it is sent, and the messages that tell of it.
#[derive(Serialize, JsonSchema)]
pub(super) struct NoticeWhole {
    #[serde(flatten)]
    notice: NoticeShown,
    /// As a webhook gets it.
    envelope: Value,
    deliveries: Vec<DeliveryShown>,
}

/// A notice.
pub(super) async fn get(State(app): State<App>, Segments(id): Segments<String>) -> Reply {
    let (kept, routed, rows) = app.notice(&id).await?;
    let envelope = app.envelope(&kept);
    let notice = NoticeShown::of(kept, routed);
    let deliveries = rows.into_iter().map(DeliveryShown::of).collect();
    let whole = NoticeWhole { notice, envelope, deliveries };
    reply::json(StatusCode::OK, app.revision(), &whole)
}

/// A message.
#[derive(Serialize, JsonSchema)]
struct DeliveryShown {
    id: String,
    /// `pending`, `reconciling`, `delivered`, `refused` or `dead`.
    stage: &'static str,
    connector: String,
    team: String,
    /// By which rule.
    route: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    subject: String,
    /// How often it was tried or looked for.
    attempts: u32,
    /// When something is to be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Timestamp>,
    /// What there is to say about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl DeliveryShown {
    fn of(row: DeliveryRow) -> Self {
        Self {
            id: row.id,
            stage: row.progress.stage.code(),
            connector: row.connector,
            team: row.team,
            route: row.route,
            template: row.template,
            subject: row.subject,
            attempts: row.attempts,
            due_at: row.progress.due_at,
            created_at: row.created_at,
            finished_at: row.finished_at,
            detail: row.detail,
        }
    }
}

/// Which messages to show.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DeliveryFilter {
    /// In this stage: `pending`, `reconciling`, `delivered`, `refused` or `dead`.
    stage: String,
    /// By this connector.
    connector: String,
    /// About this subject.
    subject: String,
    /// That tell of this notice.
    notice: String,
    /// What the page before ended with.
    after: String,
    /// How many at most, from 1 to 200.
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
}

impl Default for DeliveryFilter {
    fn default() -> Self {
        Self {
            stage: String::new(),
            connector: String::new(),
            subject: String::new(),
            notice: String::new(),
            after: String::new(),
            limit: 100,
        }
    }
}

/// Messages, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Deliveries {
    deliveries: Vec<DeliveryShown>,
    /// How many are owed in all.
    owed: u64,
    /// How many were given up in all.
    dead: u64,
    /// What to ask for next, where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Messages, newest first.
pub(super) async fn deliveries(
    State(app): State<App>,
    Params(filter): Params<DeliveryFilter>,
) -> Reply {
    let limit = limit(filter.limit)?;
    if !filter.stage.is_empty() && Stage::of_code(&filter.stage).is_none() {
        let all = Stage::ALL.map(|stage| format!("`{}`", stage.code())).join(", ");
        let detail = format!("`stage={}` is none: use one of {all}", filter.stage);
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let before = after(&filter.after)?;
    let DeliveryFilter { stage, connector, subject, notice, .. } = filter;
    let search = DeliverySearch { before, stage, connector, subject, notice, limit };
    let rows = app.deliveries(search).await?;
    let (state, _) = app.outbox().await?;
    let last = rows.last().filter(|_| rows.len() == limit as usize);
    let next = last.map(|row| format!("{}.{}.{}", row.order.0, row.order.1, row.id));
    let deliveries = rows.into_iter().map(DeliveryShown::of).collect();
    let page = Deliveries { deliveries, owed: state.open, dead: state.dead, next };
    reply::json(StatusCode::OK, app.revision(), &page)
}

/// One attempt.
#[derive(Serialize, JsonSchema)]
struct AttemptShown {
    number: u32,
    at: Timestamp,
    /// How long it took; absent while it is under way, and where it was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<u64>,
    /// `under_way`, `delivered`, `retry`, `refused`, `ambiguous`, `missing` or `lost`.
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// A message with all that is known of it.
#[derive(Serialize, JsonSchema)]
pub(super) struct DeliveryWhole {
    #[serde(flatten)]
    delivery: DeliveryShown,
    /// What it tells of, oldest first.
    notices: Vec<NoticeShown>,
    attempt_log: Vec<AttemptShown>,
}

/// A message.
pub(super) async fn delivery(State(app): State<App>, Segments(id): Segments<String>) -> Reply {
    let KeptDelivery { row, notices, attempts } = app.delivery(&id).await?;
    let attempt = |attempt: Attempt| AttemptShown {
        number: attempt.number,
        at: attempt.at,
        took_ms: attempt.took_us.map(|took| took / 1_000),
        outcome: attempt.outcome,
        detail: attempt.detail,
    };
    let whole = DeliveryWhole {
        delivery: DeliveryShown::of(row),
        notices: notices.into_iter().map(|kept| NoticeShown::of(kept, true)).collect(),
        attempt_log: attempts.into_iter().map(attempt).collect(),
    };
    reply::json(StatusCode::OK, app.revision(), &whole)
}

/// Sends a message again.
pub(super) async fn redrive_one(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
) -> Reply {
    let outcome = app.execute(call, Command::Redrive(Redrive::One(id))).await?;
    reply::committed(&outcome, false)
}

/// Which messages to send again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    /// `failed` (given up or refused) or `missing` (what happened then goes by the rules as they are
    /// now; nobody is told twice).
    what: What,
    /// Made or happened at or after this instant.
    since: Timestamp,
    /// And before this one; now where absent.
    until: Option<Timestamp>,
    /// Of `failed`: by this connector only.
    #[serde(default)]
    connector: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum What {
    Failed,
    Missing,
}

/// Sends many messages again.
pub(super) async fn redrive(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let Range { what, since, until, connector } = body::read(request, BYTES_MAX).await?;
    let until = until.unwrap_or_else(|| app.now().plus(std::time::Duration::from_micros(1)));
    if since >= until {
        let detail = format!("`since` ({since}) is not before `until` ({until})");
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let between = (since, until);
    let redrive = match (what, connector) {
        (What::Failed, connector) => {
            Redrive::Failed { between, connector: connector.unwrap_or_default() }
        }
        (What::Missing, None) => Redrive::Missing { between },
        (What::Missing, Some(_)) => {
            let detail = "`connector` goes with `failed`: `missing` follows the rules";
            return Err(Problem::new(Code::InvalidRequest, detail));
        }
    };
    let outcome = app.execute(call, Command::Redrive(redrive)).await?;
    reply::committed(&outcome, false)
}

/// Which follow-ups to show.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TaskFilter {
    /// About this subject.
    subject: String,
    /// `open` or `closed`.
    state: String,
    /// By this connector.
    connector: String,
    /// What the page before ended with.
    after: String,
    /// How many at most, from 1 to 200.
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
}

impl Default for TaskFilter {
    fn default() -> Self {
        Self {
            subject: String::new(),
            state: String::new(),
            connector: String::new(),
            after: String::new(),
            limit: 100,
        }
    }
}

/// A follow-up.
#[derive(Serialize, JsonSchema)]
struct TaskShown {
    id: String,
    subject: String,
    connector: String,
    state: TaskState,
    /// What it is called there, such as `ENT-24`.
    external_id: String,
    /// Where people see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    opened_at: Timestamp,
    changed_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<Timestamp>,
}

impl TaskShown {
    fn of(task: Task) -> Self {
        Self {
            id: task.id,
            subject: task.subject,
            connector: task.connector,
            state: task.state,
            external_id: task.external.id,
            url: task.external.url,
            opened_at: task.opened_at,
            changed_at: task.changed_at,
            closed_at: task.closed_at,
        }
    }
}

/// Follow-ups.
#[derive(Serialize, JsonSchema)]
pub(super) struct Tasks {
    tasks: Vec<TaskShown>,
    /// What to ask for next, where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Follow-ups, by id.
pub(super) async fn tasks(State(app): State<App>, Params(filter): Params<TaskFilter>) -> Reply {
    let limit = limit(filter.limit)?;
    if !matches!(filter.state.as_str(), "" | "open" | "closed") {
        let detail = format!("`state={}` is none: use `open` or `closed`", filter.state);
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let TaskFilter { subject, state, connector, after, .. } = filter;
    let found = app.tasks(TaskSearch { after, subject, state, connector, limit }).await?;
    let last = found.last().filter(|_| found.len() == limit as usize);
    let next = last.map(|task| task.id.clone());
    let tasks = found.into_iter().map(TaskShown::of).collect();
    reply::json(StatusCode::OK, app.revision(), &Tasks { tasks, next })
}

/// One follow-up: where what was made elsewhere leads back to.
pub(super) async fn task(State(app): State<App>, Segments(id): Segments<String>) -> Reply {
    let task = app.task(&id).await?;
    reply::json(StatusCode::OK, app.revision(), &TaskWhole(TaskShown::of(task)))
}

/// One follow-up.
#[derive(Serialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct TaskWhole(TaskShown);
