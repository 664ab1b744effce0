//! A decision as APIs answer it.

use serde::{Deserialize, Serialize};

use crate::{Decision, Json, Limit, Reason, Revision, Timestamp, Verdict};

/// A decision as APIs answer it: flat, and the same from both daemons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DecisionText {
    /// Who was asked about.
    pub tenant: String,
    /// What was asked about.
    pub feature: String,
    /// Whether the answer is a yes of any kind.
    pub allowed: bool,
    /// `denied`, `allowed`, `limit`, `level` or `config`.
    pub verdict: String,
    /// For a limit: how many, or `unlimited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<AmountText>,
    /// For a level: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// For a config: its settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Json>,
    /// Why.
    pub reason: Reason,
    /// What it rests on, such as `plan:pro`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Of which world.
    pub revision: Revision,
    /// Until when it holds if nothing is published. Absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
}

/// How many of a limit, as APIs answer it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum AmountText {
    /// So many.
    Number(u64),
    /// `unlimited`.
    Word(String),
}

impl From<(&str, &str, &Decision<'_>)> for DecisionText {
    fn from((tenant, feature, decision): (&str, &str, &Decision<'_>)) -> Self {
        let (word, mut amount, mut level, mut config) =
            (word(decision.verdict()), None, None, None);
        match decision.verdict() {
            Verdict::Limit(Limit::AtMost(most)) => amount = Some(AmountText::Number(most)),
            Verdict::Limit(Limit::Unlimited) => amount = Some(AmountText::Word("unlimited".into())),
            Verdict::Level(name) => level = Some(name.into()),
            Verdict::Config(json) => config = Json::parse(json).ok(),
            Verdict::Denied | Verdict::Allowed => {}
        }
        Self {
            tenant: tenant.into(),
            feature: feature.into(),
            allowed: decision.is_allowed(),
            verdict: word.into(),
            amount,
            level,
            config,
            reason: decision.reason(),
            source: decision.source().map(|source| source.to_string()),
            revision: decision.revision(),
            valid_until: decision.valid_until(),
        }
    }
}

const fn word(verdict: Verdict<'_>) -> &'static str {
    match verdict {
        Verdict::Denied => "denied",
        Verdict::Allowed => "allowed",
        Verdict::Limit(_) => "limit",
        Verdict::Level(_) => "level",
        Verdict::Config(_) => "config",
    }
}
