//! What Super Admins set for the whole control plane.

use std::time::Duration;

use entitlements_core::Revision;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{delivery::Schedule, publication::Policy};

/// Something that is set.
pub trait Setting: Serialize + DeserializeOwned + Default {
    /// Its stable name.
    const NAME: &'static str;

    /// What is wrong with it, in a sentence.
    ///
    /// # Errors
    /// Where something is.
    fn check(&self) -> Result<(), String>;
}

/// When somebody else has to look at a change of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalSetting {
    /// Whether always.
    pub four_eyes: bool,
    /// How many others.
    pub approvals: u32,
    /// Where not always: above how many tenants that lose something.
    pub threshold: u64,
}

impl Default for ApprovalSetting {
    fn default() -> Self {
        let Policy { four_eyes, approvals, threshold } = Policy::default();
        Self { four_eyes, approvals, threshold }
    }
}

impl From<ApprovalSetting> for Policy {
    fn from(setting: ApprovalSetting) -> Self {
        let ApprovalSetting { four_eyes, approvals, threshold } = setting;
        Self { four_eyes, approvals, threshold }
    }
}

/// The most approvals that can be asked for.
const APPROVALS_MAX: u32 = 10;

impl Setting for ApprovalSetting {
    const NAME: &'static str = "approval";

    fn check(&self) -> Result<(), String> {
        if (1..=APPROVALS_MAX).contains(&self.approvals) {
            return Ok(());
        }
        Err(format!(
            "`approvals = {}` is not a number of people: use 1 to {APPROVALS_MAX}",
            self.approvals
        ))
    }
}

/// How long past versions are kept.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSetting {
    /// For how many days after they were replaced; for good where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_days: Option<u32>,
}

impl Setting for RetentionSetting {
    const NAME: &'static str = "retention";

    fn check(&self) -> Result<(), String> {
        match self.history_days {
            Some(0) => Err("`history_days = 0` keeps no past at all: use 1 or more, or leave it \
                            out to keep it for good"
                .into()),
            _ => Ok(()),
        }
    }
}

/// What was let go of the past. The control plane writes it, nobody sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistorySetting {
    /// Versions that were replaced before this commit may be gone.
    pub pruned_before: Revision,
}

impl Setting for HistorySetting {
    const NAME: &'static str = "history";

    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// How messages are sent, and how long what became of them is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutboxSetting {
    /// How long to wait before each try, in seconds. The first is for the first one.
    pub waits_s: Vec<u64>,
    /// By how much a wait is longer or shorter at the most, in percent.
    pub jitter_percent: u8,
    /// How many days before something ends people hear of it.
    pub lead_days: u32,
    /// For how many days it is kept what became of messages.
    pub kept_days: u32,
}

impl Default for OutboxSetting {
    fn default() -> Self {
        let Schedule { waits, jitter_percent } = Schedule::default();
        let waits_s = waits.iter().map(Duration::as_secs).collect();
        Self { waits_s, jitter_percent, lead_days: 7, kept_days: 90 }
    }
}

impl From<&OutboxSetting> for Schedule {
    fn from(setting: &OutboxSetting) -> Self {
        let waits = setting.waits_s.iter().copied().map(Duration::from_secs).collect();
        Self { waits, jitter_percent: setting.jitter_percent }
    }
}

/// The most tries.
const TRIES_MAX: usize = 32;
/// The longest wait between two tries: a week.
const WAIT_S_MAX: u64 = 7 * 86_400;
/// The most days ahead.
const LEAD_DAYS_MAX: u32 = 90;
/// The most days that something is kept.
const KEPT_DAYS_MAX: u32 = 3_650;

impl Setting for OutboxSetting {
    const NAME: &'static str = "outbox";

    fn check(&self) -> Result<(), String> {
        let (waits, jitter) = (&self.waits_s, self.jitter_percent);
        if !(1..=TRIES_MAX).contains(&waits.len()) || waits.iter().any(|wait| *wait > WAIT_S_MAX) {
            return Err(format!(
                "`waits_s` takes 1 to {TRIES_MAX} waits of {WAIT_S_MAX} seconds at the most"
            ));
        }
        if jitter > 100 {
            return Err(format!("`jitter_percent = {jitter}` is too much: use 0 to 100"));
        }
        if !(1..=LEAD_DAYS_MAX).contains(&self.lead_days) {
            return Err(format!("`lead_days = {}`: use 1 to {LEAD_DAYS_MAX}", self.lead_days));
        }
        if !(1..=KEPT_DAYS_MAX).contains(&self.kept_days) {
            return Err(format!("`kept_days = {}`: use 1 to {KEPT_DAYS_MAX}", self.kept_days));
        }
        Ok(())
    }
}
