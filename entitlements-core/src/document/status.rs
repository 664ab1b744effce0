//! What a sidecar tells the admin about itself, and what it is told in return.

use serde::{Deserialize, Serialize};

use crate::{FeatureKey, Revision, TenantKey, Timestamp};

/// How a sidecar is. Sent when something about it changes, and every few seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StatusReport {
    /// Which sidecar: a name that stays the same over restarts.
    pub sidecar: String,
    /// Which run of it.
    pub boot: String,
    /// The program's version.
    pub version: String,
    /// The epoch of what it serves; 0 where it serves nothing.
    pub epoch: u64,
    /// The revision that it serves; 0 where it serves nothing.
    pub revision: Revision,
    /// `FRESH`, `STALE`, `EXPIRED` or `COLD`.
    pub state: String,
    /// Since when nobody confirmed what it serves, in milliseconds.
    pub age_ms: u64,
    /// For how long it calls itself fresh after hearing from the admin, in milliseconds.
    pub fresh_for_ms: u64,
    /// The revisions that can be pinned.
    #[serde(default)]
    pub held: Vec<Revision>,
    /// What became of the candidate that it was sent last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateStatus>,
    /// What it refused last, until something is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Rejection>,
    /// What it pushes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<SinkStatus>,
    /// Pushes since those that were acknowledged, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<Receipt>,
    /// Checks that were denied; the same batch until it is acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denials: Option<Denials>,
}

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CandidateStatus {
    /// Which one.
    pub id: String,
    /// Why it cannot be served; absent where it was verified, compiled and written to disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
}

/// Something that was not believed or not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rejection {
    /// A stable word for the cause.
    pub cause: String,
    /// What is wrong, in a sentence.
    pub detail: String,
    /// When.
    pub at: Timestamp,
}

/// How far a sink has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SinkStatus {
    /// What the operator calls it.
    pub name: String,
    /// What it is, such as `redis`.
    pub kind: String,
    /// `in_step`, `behind`, `failing`, `refused` or `drifted`.
    pub state: String,
    /// The revision that it should hold.
    pub desired: Revision,
    /// The revision that it was seen to hold; 0 where it holds nothing.
    pub applied: Revision,
    /// For sinks of flags: the latest revision for which flags and checks agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Revision>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What became of one push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Counts up within a run of the sidecar.
    pub id: u64,
    /// Which sink.
    pub sink: String,
    /// The revision that was pushed.
    pub revision: Revision,
    /// When it was done.
    pub at: Timestamp,
    /// `applied`, `refused`, `drifted` or `repaired`.
    pub outcome: String,
    /// How many things in the sink changed.
    pub changed: u64,
    /// What there is to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Checks that were denied since the batch before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Denials {
    /// Counts up within a run of the sidecar. A batch counts once, however often it is sent.
    pub batch: u64,
    /// How many for each tenant, feature and reason.
    pub counts: Vec<Denied>,
    /// How many more there were for which there was no room.
    #[serde(default)]
    pub others: u64,
}

/// How often one thing was denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Denied {
    /// Whom.
    pub tenant: TenantKey,
    /// What.
    pub feature: FeatureKey,
    /// Why: a reason's stable word.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// What the admin answers to a report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatusReply {
    /// For how many seconds the sidecar counts as live.
    pub lease_s: u64,
    /// Receipts up to this one need not be sent again.
    #[serde(default)]
    pub receipts_through: u64,
    /// Denials up to this batch need not be sent again.
    #[serde(default)]
    pub denials_through: u64,
}
