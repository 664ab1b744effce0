//! From which revision a request is answered: the present one, one that is not older than the caller
//! has seen, or exactly one that is still held.
//!
//! A caller that changed something in the admin sends the revision of that change as
//! `Entitlements-At-Least`. A service that was answered sends the revision of that answer to the next
//! one as `Entitlements-At`, so that all services along a request agree.

use std::{sync::Arc, time::Duration};

use entitlements_core::{Revision, Snapshot};
use hyper::{HeaderMap, header::HeaderName};

use super::reply::Problem;
use crate::serving::Serving;

/// Waits for so long where nobody says, in milliseconds.
const WAIT_MS: u64 = 50;
/// The longest that a request may wait, in milliseconds.
const WAIT_MS_MAX: u64 = 1_000;

static AT: HeaderName = HeaderName::from_static("entitlements-at");
static AT_LEAST: HeaderName = HeaderName::from_static("entitlements-at-least");
static WAIT: HeaderName = HeaderName::from_static("entitlements-wait-ms");

/// A request, and what it is answered from.
#[derive(Debug)]
pub(crate) struct Asking<'s> {
    pub(crate) serving: &'s Serving,
    pub(super) pinned: Option<Arc<Snapshot>>,
}

/// A revision as callers write it: with the epoch before it, or alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    epoch: Option<u64>,
    revision: Revision,
}

impl<'s> Asking<'s> {
    /// Answered from what is served now.
    pub(crate) fn now(serving: &'s Serving) -> Self {
        Self { serving, pinned: None }
    }

    /// Answered from what the headers of a request ask for.
    ///
    /// # Errors
    /// Where that is not held any more, or not there yet in the time that there is.
    pub(super) async fn of(serving: &'s Serving, headers: &HeaderMap) -> Result<Self, Problem> {
        if let Some(least) = wanted(headers, &AT_LEAST)? {
            wait_for(serving, least, budget(headers)?).await?;
        }
        let Some(exactly) = wanted(headers, &AT)? else { return Ok(Self::now(serving)) };
        if !has(serving, exactly) {
            wait_for(serving, exactly, budget(headers)?).await?;
        }
        let epoch = serving.standing().epoch();
        let held =
            serving.held(exactly.revision).filter(|_| exactly.epoch.is_none_or(|it| it == epoch));
        match held {
            Some(pinned) => Ok(Self { serving, pinned: Some(pinned) }),
            None => Err(Problem::NotHeld {
                wanted: exactly.revision.0,
                held: serving.held_revisions().iter().map(|revision| revision.0).collect(),
            }),
        }
    }
}

/// Whether what is served is at least that new. A higher epoch is newer than any revision before.
fn has(serving: &Serving, least: Wanted) -> bool {
    let Some(now) = serving.revision() else { return false };
    match least.epoch.map(|epoch| serving.standing().epoch().cmp(&epoch)) {
        Some(std::cmp::Ordering::Greater) => true,
        Some(std::cmp::Ordering::Less) => false,
        Some(std::cmp::Ordering::Equal) | None => now >= least.revision,
    }
}

async fn wait_for(serving: &Serving, least: Wanted, budget: Duration) -> Result<(), Problem> {
    if has(serving, least) {
        return Ok(());
    }
    let mut pulses = serving.pulses();
    serving.hurry();
    let arrived = pulses.wait_for(|_| has(serving, least));
    match tokio::time::timeout(budget, arrived).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(Problem::NotYet {
            wanted: least.revision.0,
            served: serving.revision().map_or(0, |revision| revision.0),
        }),
    }
}

fn wanted(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Wanted>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let parsed = value.to_str().ok().map(str::trim).and_then(|text| {
        let (epoch, revision) = match text.split_once('.') {
            Some((epoch, revision)) => (Some(epoch.parse().ok()?), revision),
            None => (None, text),
        };
        Some(Wanted { epoch, revision: Revision(revision.parse().ok()?) })
    });
    let malformed = || {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        Problem::Malformed(format!(
            "`{text}` in the header `{name}` is no revision: send a number such as `42`, or `1.42` \
             with the epoch"
        ))
    };
    parsed.map(Some).ok_or_else(malformed)
}

fn budget(headers: &HeaderMap) -> Result<Duration, Problem> {
    let Some(value) = headers.get(&WAIT) else { return Ok(Duration::from_millis(WAIT_MS)) };
    let parsed = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    match parsed.filter(|ms| *ms <= WAIT_MS_MAX) {
        Some(ms) => Ok(Duration::from_millis(ms)),
        None => Err(Problem::Malformed(format!(
            "the header `{WAIT}` takes a number of milliseconds from 0 to {WAIT_MS_MAX}"
        ))),
    }
}
