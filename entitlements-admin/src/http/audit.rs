//! The audit.

use axum::{extract::State, http::StatusCode};
use entitlements_core::{Revision, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    extract::{Page, Params, Segments},
    problem::{Code, Problem},
    reply::{self, Reply},
};
use crate::{
    app::{App, Error},
    store::AuditEntry,
};

#[derive(Serialize)]
struct List {
    entries: Vec<Entry>,
    /// What to give as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Revision>,
}

#[derive(Serialize)]
struct Entry {
    revision: Revision,
    at: Timestamp,
    actor: String,
    command: String,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Box<RawValue>>,
    /// Whether documents were left out because they are long: ask for the entry itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shortened: bool,
    hash: String,
}

/// A page of it, oldest first.
pub(super) async fn list(State(app): State<App>, Params(page): Params<Page>) -> Reply {
    let limit = page.limit()?;
    let after = if page.after.is_empty() { Revision(0) } else { revision(&page.after)? };
    let mut entries = app.audit(after, limit + 1).await?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let next = entries.last().filter(|_| more).map(|entry| entry.revision);
    let entries = entries.into_iter().map(entry).collect::<Result<_, _>>()?;
    reply::json(StatusCode::OK, app.revision(), &List { entries, next })
}

/// One entry, whole.
pub(super) async fn get(State(app): State<App>, Segments(text): Segments<String>) -> Reply {
    let found = entry(app.audit_entry(revision(&text)?).await?)?;
    reply::json(StatusCode::OK, app.revision(), &found)
}

fn revision(text: &str) -> Result<Revision, Problem> {
    text.parse().map(Revision).map_err(|_| {
        Problem::new(
            Code::InvalidRequest,
            format!("`{text}` is not a revision: use a whole number"),
        )
    })
}

fn entry(entry: AuditEntry) -> Result<Entry, Error> {
    let raw = |text: Option<String>| {
        text.map(RawValue::from_string)
            .transpose()
            .map_err(|error| Error::Unavailable(format!("audit {}: {error}", entry.revision)))
    };
    Ok(Entry {
        before: raw(entry.before)?,
        after: raw(entry.after)?,
        revision: entry.revision,
        at: entry.at,
        actor: entry.actor,
        command: entry.command,
        subject: entry.subject,
        shortened: entry.shortened,
        hash: entry.hash,
    })
}
