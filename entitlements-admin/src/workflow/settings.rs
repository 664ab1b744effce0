//! What Super Admins set for the whole control plane.

use entitlements_core::Revision;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::publication::Policy;

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
