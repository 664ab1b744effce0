//! The audit.

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use entitlements_core::{Revision, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{
    download::{Gone, Lines, download},
    extract::{Params, Segments, instant},
    problem::{Code, Problem},
    reply::{self, Reply},
};
use crate::{
    app::App,
    audit_export::Line,
    store::{AuditEntry, AuditSearch},
};

/// What to look for. What is left out is not asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    /// Only what was before this commit: the `next` of the page before.
    #[serde(default)]
    before: Option<u64>,
    /// Not before this instant.
    #[serde(default)]
    since: Option<String>,
    /// Before this instant.
    #[serde(default)]
    until: Option<String>,
    /// By this actor, such as `user:abcd2345`.
    #[serde(default)]
    actor: String,
    /// By this command, such as `publish_draft`.
    #[serde(default)]
    command: String,
    /// About this object, such as `tenant:acme`.
    #[serde(default)]
    object: String,
    /// With these words in the subject or the reason.
    #[serde(default)]
    text: String,
    /// How many at most, from 1 to 200.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
}

fn default_limit() -> u32 {
    100
}

#[derive(Serialize, JsonSchema)]
pub(super) struct List {
    entries: Vec<AuditEntry>,
    /// What to give as `before` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Revision>,
}

/// A page of it, newest first.
pub(super) async fn list(State(app): State<App>, Params(search): Params<Search>) -> Reply {
    let limit = search.limit;
    if !(1..=200).contains(&limit) {
        let detail = format!("`limit={limit}` is not a page: use 1 to 200");
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let wanted = AuditSearch {
        before: search.before.map_or(Revision(u64::MAX), Revision),
        since: instant(search.since.as_deref())?.unwrap_or(Timestamp::MIN),
        until: instant(search.until.as_deref())?.unwrap_or(Timestamp::MAX),
        actor: search.actor,
        command: search.command,
        object: search.object,
        text: search.text,
        limit: limit + 1,
    };
    let mut entries = app.audit_search(wanted).await?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let next = entries.last().filter(|_| more).map(|entry| entry.revision);
    reply::json(StatusCode::OK, app.revision(), &List { entries, next })
}

/// One row, with what was there before and after.
pub(super) async fn get(State(app): State<App>, Segments(text): Segments<String>) -> Reply {
    let revision = text.parse().map(Revision).map_err(|_| {
        Problem::new(
            Code::InvalidRequest,
            format!("`{text}` is not a revision: use a whole number"),
        )
    })?;
    let found = app.audit_entry(revision).await?;
    reply::json(StatusCode::OK, app.revision(), &found)
}

/// What became of a walk over the audit.
#[derive(Serialize, JsonSchema)]
pub(super) struct Verdict {
    /// Whether nothing was changed, dropped or swapped.
    whole: bool,
    /// How many rows there are, where it is whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    /// The hash of the last row, where it is whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<String>,
    /// The first fault, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

/// Walks the hash chain from its start.
pub(super) async fn verify(State(app): State<App>) -> Reply {
    let verdict = match app.audit_verify().await? {
        Ok(verified) => Verdict {
            whole: true,
            rows: Some(verified.rows),
            head: Some(verified.head),
            fault: None,
        },
        Err(fault) => {
            tracing::error!(%fault, "the audit is not whole");
            Verdict { whole: false, rows: None, head: None, fault: Some(fault.to_string()) }
        }
    };
    reply::json(StatusCode::OK, app.revision(), &verdict)
}

/// How to export.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Export {
    /// `jsonl`, which can be verified without a control plane, or `csv` for spreadsheets.
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize, JsonSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Jsonl,
    Csv,
}

/// How many rows are read at once.
const STEP: u32 = 500;

/// All of it, in a file.
pub(super) async fn export(
    State(app): State<App>,
    Params(Export { format }): Params<Export>,
) -> Reply {
    let (top, last) = app.audit_top().await?;
    let top = serde_json::to_string(&top)
        .map_err(|error| Problem::new(Code::Unavailable, error.to_string()))?;
    let response = match format {
        Format::Jsonl => download("application/jsonl", "audit.jsonl", move |lines| {
            lines.line(&top)?;
            each(&app, last, |line| match serde_json::to_string(&line) {
                Ok(text) => lines.line(&text),
                Err(_) => Err(Gone),
            })
        }),
        Format::Csv => download("text/csv; charset=utf-8", "audit.csv", move |lines| {
            lines.row(&CSV)?;
            each(&app, last, |line| row(lines, &line.entry))
        }),
    };
    Ok(response.into_response())
}

/// Every row up to one, on a thread that may wait.
fn each(
    app: &App,
    last: Revision,
    mut take: impl FnMut(Line) -> Result<(), Gone>,
) -> Result<(), Gone> {
    let mut after = Revision(0);
    while after < last {
        let lines = Handle::current().block_on(app.audit_lines(after, STEP)).map_err(|error| {
            tracing::error!(%error, "an export of the audit was broken off");
            Gone
        })?;
        if lines.is_empty() {
            return Ok(());
        }
        for line in lines {
            after = line.entry.revision;
            if after > last {
                return Ok(());
            }
            take(line)?;
        }
    }
    Ok(())
}

const CSV: [&str; 10] = [
    "revision",
    "at",
    "actor",
    "principal",
    "address",
    "command",
    "subject",
    "reason",
    "request",
    "objects",
];

fn row(lines: &mut Lines, entry: &AuditEntry) -> Result<(), Gone> {
    let objects: Vec<&str> = entry.changes.iter().map(|change| &*change.object).collect();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    lines.row(&[
        &entry.revision.to_string(),
        &entry.at.to_string(),
        &entry.actor,
        &text(&entry.principal),
        &text(&entry.address),
        &entry.command,
        &entry.subject,
        &text(&entry.reason),
        &text(&entry.request_id),
        &objects.join(" "),
    ])
}
