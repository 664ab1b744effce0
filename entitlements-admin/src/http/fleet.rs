//! The sidecars, what they push to, and publications that they switch to together.

use axum::{Extension, extract::State, http::StatusCode};
use entitlements_core::{
    Revision, Timestamp,
    document::{Rejection, SinkStatus, StatusReport},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    extract::{Params, Segments},
    problem::{Code, Problem},
    reply::{self, Reply},
};
use crate::{
    app::{App, BarrierState, Call, Command, FleetState},
    workflow::{barrier::Stage, fleet::Member},
};

/// The fleet.
#[derive(Serialize, JsonSchema)]
pub(super) struct Fleet {
    /// The epoch that all should serve.
    epoch: u64,
    /// The revision that all should serve.
    revision: Revision,
    /// The latest revision that every live sidecar serves; absent where none is live.
    #[serde(skip_serializing_if = "Option::is_none")]
    watermark: Option<Revision>,
    /// The latest revision for which flag services and checks agree; absent where nothing is gated.
    #[serde(skip_serializing_if = "Option::is_none")]
    settled: Option<Revision>,
    /// How many are live.
    live: usize,
    /// Each, by name.
    sidecars: Vec<Sidecar>,
}

/// A sidecar that was heard of.
#[derive(Serialize, JsonSchema)]
struct Sidecar {
    /// Its name.
    id: String,
    /// Whether it counts.
    live: bool,
    /// When it was last heard of.
    reported_at: Timestamp,
    /// Until when it counts without another word.
    live_until: Timestamp,
    /// How many revisions it is behind; absent where it serves another epoch or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<u64>,
    version: String,
    epoch: u64,
    revision: Revision,
    /// `FRESH`, `STALE`, `EXPIRED` or `COLD`.
    state: String,
    age_ms: u64,
    held: Vec<Revision>,
    /// What it refused last.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<Rejection>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    sinks: Vec<SinkStatus>,
}

impl Sidecar {
    fn of(member: Member, state: (u64, Revision), now: Timestamp) -> Self {
        let (live, live_until) = (member.is_live(now), member.live_until());
        let (epoch, current) = state;
        let StatusReport { sidecar: id, version, revision, held, .. } = member.report;
        let behind = (member.report.epoch == epoch && revision > Revision(0))
            .then(|| current.0.saturating_sub(revision.0));
        Self {
            id,
            live,
            reported_at: member.at,
            live_until,
            behind,
            version,
            epoch: member.report.epoch,
            revision,
            state: member.report.state,
            age_ms: member.report.age_ms,
            held,
            rejected: member.report.rejected,
            sinks: member.report.sinks,
        }
    }
}

/// Every sidecar, and what all of them have.
pub(super) async fn list(State(app): State<App>) -> Reply {
    let FleetState { epoch, revision, tidings, members } = app.fleet_state().await?;
    let now = app.now();
    let sidecar = |member| Sidecar::of(member, (epoch, revision), now);
    let sidecars: Vec<Sidecar> = members.into_iter().map(sidecar).collect();
    let live = sidecars.iter().filter(|sidecar| sidecar.live).count();
    let (watermark, settled) = (tidings.watermark, tidings.settled);
    let fleet = Fleet { epoch, revision, watermark, settled, live, sidecars };
    reply::json(StatusCode::OK, revision, &fleet)
}

/// Shows a sidecar no more, until it reports again.
pub(super) async fn forget(State(app): State<App>, Segments(id): Segments<String>) -> Reply {
    app.forget_sidecar(&id).await?;
    reply::json(StatusCode::OK, app.revision(), &Forgotten { forgotten: id })
}

/// That a sidecar was forgotten.
#[derive(Serialize, JsonSchema)]
pub(super) struct Forgotten {
    /// Which.
    forgotten: String,
}

/// A publication that sidecars prepare, or switched to.
#[derive(Serialize, JsonSchema)]
pub(super) struct Barrier {
    id: String,
    draft: String,
    /// `preparing`, `committed` or `aborted`.
    stage: &'static str,
    started_by: String,
    started_at: Timestamp,
    /// When sidecars must have prepared it.
    deadline: Timestamp,
    /// Which part of them must have, in percent.
    quorum_percent: u8,
    /// How many live sidecars have prepared it.
    prepared: usize,
    /// How many live sidecars there are.
    live: usize,
    /// When all switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    activate_at: Option<Timestamp>,
    /// What they switch to.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<Revision>,
    /// Why nobody switches.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The publication that sidecars prepare, or switched to last.
pub(super) async fn barrier(State(app): State<App>) -> Reply {
    let BarrierState { revision, barrier, prepared: (prepared, live) } = app.barrier()?;
    let (activate_at, reason) = match &barrier.stage {
        Stage::Preparing {} => (None, None),
        Stage::Committed { activate_at } => (Some(*activate_at), None),
        Stage::Aborted { reason } => (None, Some(reason.clone())),
    };
    let shown = Barrier {
        id: barrier.id.clone(),
        draft: barrier.draft.clone(),
        stage: barrier.stage.code(),
        started_by: barrier.started_by.clone(),
        started_at: barrier.started_at,
        deadline: barrier.deadline,
        quorum_percent: barrier.quorum_percent,
        prepared,
        live,
        activate_at,
        revision: activate_at.map(|_| revision),
        reason,
    };
    reply::json(StatusCode::OK, app.revision(), &shown)
}

/// Has nobody switch.
pub(super) async fn abort(State(app): State<App>, Extension(call): Extension<Call>) -> Reply {
    let id = app.barrier()?.barrier.id.clone();
    let reason = match &call.reason {
        Some(reason) => format!("{} aborted it: {reason}", call.actor),
        None => format!("{} aborted it", call.actor),
    };
    let outcome = app.execute(call, Command::AbortBarrier { id, reason }).await?;
    reply::committed(&outcome, false)
}

/// What was denied: since when, whom, how many rows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Denied {
    /// Since the day of this instant; the last seven days where absent.
    since: Option<Timestamp>,
    /// Of this tenant only.
    tenant: Option<String>,
    /// At most so many rows, from 1 to 1,000.
    #[serde(default = "some")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

fn some() -> u32 {
    100
}

/// What was denied most.
#[derive(Serialize, JsonSchema)]
pub(super) struct Denials {
    denials: Vec<Denial>,
}

/// How often something was denied.
#[derive(Serialize, JsonSchema)]
struct Denial {
    tenant: String,
    feature: String,
    reason: String,
    count: u64,
}

/// What sidecars denied most.
pub(super) async fn denials(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Params(query): Params<Denied>,
) -> Reply {
    if !(1..=1_000).contains(&query.limit) {
        let detail = format!("`limit={}` is no number of rows: use 1 to 1000", query.limit);
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let week = std::time::Duration::from_secs(7 * 24 * 3_600);
    let since = query.since.unwrap_or_else(|| app.now().minus(week));
    let tenant = query.tenant.unwrap_or_default();
    let rows = app.denials(&call.actor, since, tenant, query.limit).await?;
    let denial = |row: crate::app::Denial| Denial {
        tenant: row.tenant,
        feature: row.feature,
        reason: row.reason,
        count: row.count,
    };
    let denials = rows.into_iter().map(denial).collect();
    reply::json(StatusCode::OK, app.revision(), &Denials { denials })
}
