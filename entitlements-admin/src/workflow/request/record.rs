//! A request as it is kept: what is asked for, under which terms, and everything that happened.

use std::collections::BTreeMap;

use entitlements_core::{Timestamp, document::Hash};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EndsAs, PendingReview, Request, Stage};
use crate::workflow::{
    approval::{ApprovalStage, Vote},
    draft::KeptPrincipal,
    listing::{Listing, Offer, Price},
    provisioning::{Course, Step},
    sla::{Goal, Mark, MarkKind, Metric},
};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Asks {
    /// To have it.
    Order {},
    /// To have another number of what one has, or for another time.
    Change {
        /// Of what.
        holding: String,
    },
    /// To have what one has no more.
    Cancel {
        /// What.
        holding: String,
    },
}

/// How much of it, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wants {
    /// How many.
    #[serde(default = "one")]
    pub quantity: u32,
    /// What the listing asks of whoever asks for it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
    /// From when on; at once where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<Timestamp>,
    /// Until when; for good where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

const fn one() -> u32 {
    1
}

/// Under what it was asked for: the part of the listing that is agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// What it was called.
    pub title: String,
    /// What was agreed to.
    pub terms: String,
    /// What was said of its price.
    pub price_note: String,
    /// What it cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// What it gave.
    pub offer: Offer,
    /// What tells the listing as it was from any other.
    #[schemars(with = "String")]
    pub listing: Hash,
}

impl Terms {
    /// Those of a listing.
    #[must_use]
    pub fn of(listing: &Listing) -> Self {
        Self {
            title: listing.title.clone(),
            terms: listing.terms.clone(),
            price_note: listing.price_note.clone(),
            price: listing.price.clone(),
            offer: listing.offer.clone(),
            listing: listing.digest(),
        }
    }

    /// What is another in the terms of now, by name.
    #[must_use]
    pub fn differences(&self, now: &Self) -> Vec<&'static str> {
        let all = [
            ("title", self.title != now.title),
            ("terms", self.terms != now.terms),
            ("price_note", self.price_note != now.price_note),
            ("price", self.price != now.price),
            ("offer", self.offer != now.offer),
        ];
        let mut found: Vec<_> =
            all.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
        if found.is_empty() && self.listing != now.listing {
            found.push("listing");
        }
        found
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: String,
    /// A stable word for what, such as `submit` or `comment`.
    pub what: String,
    /// How far the request came by it.
    pub stage: String,
    /// What was said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// Something elsewhere that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What it is.
    pub title: String,
    /// Where it is.
    pub url: String,
}

/// A promise that holds for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    /// What was promised.
    pub goal: Goal,
    /// The parts of the time, in percent, of which people were told, and when.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub told: BTreeMap<u16, Timestamp>,
    /// By which policy.
    pub sla: String,
    /// The version of the zone database that was built in when it was made.
    pub zones: String,
    /// Why it took longer, in somebody's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a tenant had before a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Had {
    /// How many.
    pub quantity: u32,
    /// What was asked of the requester.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A request as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestRecord {
    /// Whose.
    pub tenant: String,
    /// For what.
    pub listing: String,
    /// Of which partner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// Who looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// What is asked.
    pub asks: Asks,
    /// How much of it, and when.
    pub wants: Wants,
    /// How much it matters, such as `normal`.
    pub priority: String,
    /// How far it has come: the stage's stable word.
    pub stage: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who asked for it.
    pub requester: KeptPrincipal,
    /// For whom it is, by address, where that is somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beneficiary: Option<String>,
    /// Who edited it last.
    pub editor: KeptPrincipal,
    /// Under what it was handed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// The stages of agreement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<ApprovalStage>,
    /// The agreements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<Vote>,
    /// When it has to be decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decide_by: Option<Timestamp>,
    /// Who may agree as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalated_to: Option<String>,
    /// How it ends once everything is undone: `failed` or `cancelled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_as: Option<String>,
    /// Who broke the glass, where somebody else still has to look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<KeptPrincipal>,
    /// What is done to put it in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// What it gave, once it is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holding: Option<String>,
    /// What the tenant had before, where it is about a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Had>,
    /// When it came into force, or what it was about was in force no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_at: Option<Timestamp>,
    /// The promises that hold for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promises: Vec<Promise>,
    /// What belongs to it elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Everything that happened, oldest first.
    #[serde(default)]
    pub log: Vec<Entry>,
}

/// The most entries of a request. Comments beyond are refused; what happens is always kept.
pub const ENTRIES_MAX: usize = 1_000;

impl RequestRecord {
    /// The state machine's view of it.
    ///
    /// # Errors
    /// Where what is kept is nothing that this version writes.
    pub fn request(&self) -> Result<Request, String> {
        let ends_as = match self.ends_as.as_deref() {
            None => None,
            Some("cancelled") => Some(EndsAs::Cancelled),
            Some("failed") => Some(EndsAs::Failed),
            Some(other) => return Err(format!("`{other}` is no end of a request")),
        };
        Ok(Request {
            stage: self.stage.parse::<Stage>()?,
            requester: self.requester.clone().into(),
            beneficiary: self.beneficiary.clone(),
            editor: self.editor.clone().into(),
            stages: self.stages.clone(),
            votes: self.votes.clone(),
            decide_by: self.decide_by,
            escalated_to: self.escalated_to.clone(),
            start_at: self.wants.start_at,
            ends_as,
            review: self.review.clone().map(|broke| PendingReview { broke: broke.into() }),
        })
    }

    /// The same, come as far as the state machine says.
    #[must_use]
    pub fn at(self, request: Request) -> Self {
        let ends_as = request.ends_as.map(|end| match end {
            EndsAs::Failed => "failed".to_owned(),
            EndsAs::Cancelled => "cancelled".to_owned(),
        });
        Self {
            stage: request.stage.code().into(),
            editor: request.editor.into(),
            votes: request.votes,
            decide_by: request.decide_by,
            escalated_to: request.escalated_to,
            ends_as,
            review: request.review.map(|review| review.broke.into()),
            ..self
        }
    }

    /// How far it has come; the first stage where that cannot be read.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage.parse().unwrap_or(Stage::Draft)
    }

    /// Where its steps are going: those of what is given back are undone.
    #[must_use]
    pub fn course(&self) -> Course {
        match (self.stage(), &self.asks) {
            (Stage::Compensating | Stage::CompensationFailed, _) | (_, Asks::Cancel { .. }) => {
                Course::Back
            }
            _ => Course::Forward,
        }
    }

    /// Whether it asks for something that there is to be another.
    #[must_use]
    pub const fn changes(&self) -> bool {
        matches!(self.asks, Asks::Change { .. })
    }

    /// What happened to the clock of a promise.
    #[must_use]
    pub fn marks(&self, metric: Metric) -> Vec<Mark> {
        let mut marks = Vec::new();
        let mut is_paused = false;
        for entry in &self.log {
            let mut mark = |kind| marks.push(Mark { at: entry.at, kind });
            let Ok(stage) = entry.stage.parse::<Stage>() else { continue };
            match (metric, entry.what.as_str()) {
                (Metric::FirstResponse | Metric::Approval, "submit") => mark(MarkKind::Starts),
                (Metric::FirstResponse, "approve" | "ask_info" | "reject" | "respond") => {
                    mark(MarkKind::Stops);
                }
                (Metric::Fulfilment, "begin") if stage == Stage::Provisioning => {
                    mark(MarkKind::Starts);
                }
                _ => {}
            }
            let waits = stage == Stage::NeedsInfo;
            if waits != is_paused {
                is_paused = waits;
                mark(if waits { MarkKind::Pauses } else { MarkKind::Resumes });
            }
            let decided = !matches!(stage, Stage::Draft) && !stage.is_undecided();
            match (metric, stage) {
                (_, Stage::Withdrawn | Stage::Duplicate | Stage::Draft) => mark(MarkKind::Cancels),
                (Metric::FirstResponse | Metric::Approval, _) if decided => mark(MarkKind::Stops),
                (Metric::Fulfilment, Stage::Fulfilled) => mark(MarkKind::Stops),
                (Metric::Fulfilment, Stage::Compensating) => mark(MarkKind::Cancels),
                _ => {}
            }
        }
        // A draft that has never been handed in has no clock; one that is handed in again, a new one.
        let start = marks.iter().rposition(|mark| mark.kind == MarkKind::Starts);
        start.map(|start| marks.split_off(start)).unwrap_or_default()
    }
}
