//! The audit.

use axum::{extract::State, http::StatusCode};
use entitlements_core::Revision;
use serde::Serialize;

use super::{
    extract::{Page, Params, Segments},
    problem::{Code, Problem},
    reply::{self, Reply},
};
use crate::{app::App, store::AuditEntry};

#[derive(Serialize)]
struct List {
    entries: Vec<AuditEntry>,
    /// What to give as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Revision>,
}

/// A page of it, oldest first.
pub(super) async fn list(State(app): State<App>, Params(page): Params<Page>) -> Reply {
    let limit = page.limit()?;
    let after = if page.after.is_empty() { Revision(0) } else { revision(&page.after)? };
    let mut entries = app.audit(after, limit + 1).await?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let next = entries.last().filter(|_| more).map(|entry| entry.revision);
    reply::json(StatusCode::OK, app.revision(), &List { entries, next })
}

/// One entry, whole.
pub(super) async fn get(State(app): State<App>, Segments(text): Segments<String>) -> Reply {
    let found = app.audit_entry(revision(&text)?).await?;
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
