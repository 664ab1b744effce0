//! The steps of a listing, as people write them.

use std::collections::BTreeSet;

use entitlements_core::IntegrationKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::workflow::{connector::line, listing::Known};

/// What becomes of what a broker may have made and nobody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CleanUp {
    /// It is removed at once.
    #[default]
    Immediate,
    /// It stays until somebody has looked at it.
    Hold,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StepKind {
    /// A webhook is told. It does it at once (2xx), or says later that it did (202).
    Webhook {
        /// Which connector, of the kind `webhook`.
        connector: String,
    },
    /// A service broker makes an instance, by version 2.17 of the Open Service Broker API.
    Broker {
        /// Which connector, of the kind `broker`.
        connector: String,
        /// What it calls the service.
        service_id: String,
        /// What it calls the plan.
        plan_id: String,
        /// What becomes of an instance that may be there and is not wanted.
        #[serde(default)]
        clean_up: CleanUp,
    },
    /// Somebody does something and says so.
    Manual {
        /// Which team; that of the listing where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        team: Option<String>,
        /// What to do.
        instructions: String,
        /// What to do to undo it; nothing where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undo_instructions: Option<String>,
    },
    /// An integration of the tenant has to be connected.
    Integration {
        /// Which.
        integration: IntegrationKey,
    },
    /// Nothing, for a while.
    Wait {
        /// For how long.
        seconds: u64,
    },
}

impl StepKind {
    /// The stable word for it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Broker { .. } => "broker",
            Self::Manual { .. } => "manual",
            Self::Integration { .. } => "integration",
            Self::Wait { .. } => "wait",
        }
    }

    /// Whether there is something to undo once it was done.
    #[must_use]
    pub const fn leaves_something(&self) -> bool {
        match self {
            Self::Webhook { .. } | Self::Broker { .. } => true,
            Self::Manual { undo_instructions, .. } => undo_instructions.is_some(),
            Self::Integration { .. } | Self::Wait { .. } => false,
        }
    }

    /// Whether it can be told of another quantity or other parameters.
    #[must_use]
    pub const fn takes_changes(&self) -> bool {
        matches!(self, Self::Webhook { .. } | Self::Broker { .. } | Self::Manual { .. })
    }
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepPlan {
    /// What it is called among the steps of its listing.
    pub key: String,
    /// What people call it.
    pub name: String,
    /// What is done.
    pub kind: StepKind,
    /// Whether there is nothing in force without it.
    #[serde(default = "yes")]
    pub required: bool,
    /// For how long it may take in all before it counts as failed, in seconds.
    #[serde(default = "a_day")]
    pub timeout_s: u64,
    /// How long to wait before each further try, in seconds.
    #[serde(default = "waits")]
    pub waits_s: Vec<u64>,
}

const fn yes() -> bool {
    true
}

const fn a_day() -> u64 {
    86_400
}

fn waits() -> Vec<u64> {
    vec![5, 30, 120, 600, 1_800]
}

/// The longest that a step may take: 90 days.
const TIMEOUT_S_MAX: u64 = 90 * 86_400;
/// The most tries.
const TRIES_MAX: usize = 32;
/// The longest instructions, in bytes.
const INSTRUCTIONS_BYTES_MAX: usize = 10_000;

impl StepPlan {
    /// What is wrong with it first.
    ///
    /// # Errors
    /// Where something is.
    pub fn check(&self, path: &str, known: &Known) -> Result<(), String> {
        let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=64).contains(&self.key.len()) || !self.key.bytes().all(letters) {
            return Err(format!("`{path}.key` takes small letters, digits and `-`"));
        }
        line(&format!("{path}.name"), &self.name)?;
        if !(1..=TIMEOUT_S_MAX).contains(&self.timeout_s) {
            return Err(format!("`{path}.timeout_s`: use 1 to {TIMEOUT_S_MAX}"));
        }
        if self.waits_s.len() >= TRIES_MAX || self.waits_s.iter().any(|wait| *wait > TIMEOUT_S_MAX)
        {
            return Err(format!("`{path}.waits_s` takes {} waits at the most", TRIES_MAX - 1));
        }
        match &self.kind {
            StepKind::Webhook { connector } => {
                known.has_connector(&format!("{path}.kind.webhook.connector"), connector, "webhook")
            }
            StepKind::Broker { connector, service_id, plan_id, .. } => {
                let path = format!("{path}.kind.broker");
                line(&format!("{path}.service_id"), service_id)?;
                line(&format!("{path}.plan_id"), plan_id)?;
                known.has_connector(&format!("{path}.connector"), connector, "broker")
            }
            StepKind::Manual { team, instructions, undo_instructions } => {
                let all = [Some(instructions), undo_instructions.as_ref()];
                let fits = |text: &&String| (1..=INSTRUCTIONS_BYTES_MAX).contains(&text.len());
                if !all.into_iter().flatten().all(|text| fits(&text)) {
                    return Err(format!(
                        "`{path}.kind.manual` takes instructions of 1 to {INSTRUCTIONS_BYTES_MAX} bytes"
                    ));
                }
                match team.as_ref().filter(|key| !known.teams.contains_key(*key)) {
                    Some(team) => {
                        Err(format!("`{path}.kind.manual.team`: there is no team `{team}`"))
                    }
                    None => Ok(()),
                }
            }
            StepKind::Integration { .. } => Ok(()),
            StepKind::Wait { seconds } => match (1..=TIMEOUT_S_MAX).contains(seconds) {
                true => Ok(()),
                false => Err(format!("`{path}.kind.wait.seconds`: use 1 to {TIMEOUT_S_MAX}")),
            },
        }
    }

    /// The connectors that it needs.
    #[must_use]
    pub fn connectors(&self) -> BTreeSet<&str> {
        match &self.kind {
            StepKind::Webhook { connector } | StepKind::Broker { connector, .. } => {
                BTreeSet::from([connector.as_str()])
            }
            _ => BTreeSet::new(),
        }
    }
}
