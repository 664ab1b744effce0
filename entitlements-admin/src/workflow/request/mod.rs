//! What a tenant asks for, and how that comes to be in force: the states of a request.
//!
//! [`step()`] is all of it. Who may try what is decided before, by permissions; who agrees is counted
//! by `approval`; what is done to put it in force is that of `provisioning`. A request is apart from
//! what it grants: that is a `Holding`, which goes on when the request is over.

mod record;
mod refusal;
mod row;
mod step;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use entitlements_core::{Timestamp, document::Hash};

pub use self::{
    record::{Asks, ENTRIES_MAX, Entry, Had, Link, Promise, RequestRecord, Terms, Wants},
    refusal::Refusal,
    row::{PromiseRow, PromiseState, RequestRow},
    step::step,
};
use super::{
    approval::{ApprovalStage, Electorate, Vote},
    publication::Principal,
};

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Somebody works on it.
    Draft,
    /// It was handed in, and is being looked at by the rules.
    Submitted,
    /// People have to agree.
    PendingApproval,
    /// The requester was asked for something.
    NeedsInfo,
    /// It has what it needs.
    Approved,
    /// It begins at an instant.
    Scheduled,
    /// Its steps are being done.
    Provisioning,
    /// It is in force.
    Fulfilled,
    /// People did not agree.
    Rejected,
    /// The requester took it back.
    Withdrawn,
    /// Nobody decided in time.
    Expired,
    /// It asks for what another one asks for.
    Duplicate,
    /// It could not be put in force. What had been done was undone.
    Failed,
    /// What had been done is being undone.
    Compensating,
    /// Something could not be undone: an operator has to look at it.
    CompensationFailed,
    /// It was called off. What had been done was undone.
    Cancelled,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 16] = [
        Self::Draft,
        Self::Submitted,
        Self::PendingApproval,
        Self::NeedsInfo,
        Self::Approved,
        Self::Scheduled,
        Self::Provisioning,
        Self::Fulfilled,
        Self::Rejected,
        Self::Withdrawn,
        Self::Expired,
        Self::Duplicate,
        Self::Failed,
        Self::Compensating,
        Self::CompensationFailed,
        Self::Cancelled,
    ];

    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Submitted => "submitted",
            Self::PendingApproval => "pending_approval",
            Self::NeedsInfo => "needs_info",
            Self::Approved => "approved",
            Self::Scheduled => "scheduled",
            Self::Provisioning => "provisioning",
            Self::Fulfilled => "fulfilled",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::Duplicate => "duplicate",
            Self::Failed => "failed",
            Self::Compensating => "compensating",
            Self::CompensationFailed => "compensation_failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it never changes again.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(
            self,
            Self::Fulfilled
                | Self::Rejected
                | Self::Withdrawn
                | Self::Expired
                | Self::Duplicate
                | Self::Failed
                | Self::Cancelled
        )
    }

    /// Whether it is not decided yet.
    #[must_use]
    pub const fn is_undecided(self) -> bool {
        matches!(self, Self::Submitted | Self::PendingApproval | Self::NeedsInfo)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Stage {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|stage| stage.code() == text);
        found.ok_or_else(|| {
            let codes = Self::ALL.map(|stage| format!("`{stage}`")).join(", ");
            format!("`{text}` is no stage of a request: use one of {codes}")
        })
    }
}

/// What may be done to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Change what is asked for. It is a draft again and its votes are void.
    Edit,
    /// Hand it in.
    Submit,
    /// Say what the rules find: whether people have to agree.
    Evaluate {
        /// Whether nobody has to.
        automatic: bool,
    },
    /// Agree.
    Approve {
        /// What would be granted, as the voter saw it.
        seen: Hash,
        /// What they have to say.
        comment: Option<String>,
    },
    /// Do not agree.
    Reject {
        /// Why.
        comment: String,
    },
    /// Ask the requester for something.
    AskInfo {
        /// For what.
        question: String,
    },
    /// Say what was asked for.
    Answer {
        /// What.
        answer: String,
    },
    /// Say that another one asks for the same.
    MarkDuplicate {
        /// Which.
        of: String,
    },
    /// Take it back.
    Withdraw,
    /// Note that the time to decide is over.
    Expire,
    /// Approve it without the votes that it needs.
    BreakGlass {
        /// Why that cannot wait.
        reason: String,
    },
    /// Look at what was approved by breaking glass, after it was done.
    Review {
        /// What there is to say about it.
        comment: String,
    },
    /// Begin to put it in force.
    Begin,
    /// Note that it is in force, and everything done.
    Finish,
    /// Note that a step failed for good.
    Fail {
        /// Why.
        why: String,
    },
    /// Call it off.
    Cancel {
        /// Why.
        reason: String,
    },
    /// Note that all is undone.
    Undone,
    /// Note that something could not be undone.
    Stick {
        /// What, and why.
        why: String,
    },
    /// Try again to undo it.
    RetryUndo,
    /// Note that somebody has put right what could not be undone.
    Resolve {
        /// How.
        comment: String,
    },
}

impl Act {
    /// The stable word for it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Edit => "edit",
            Self::Submit => "submit",
            Self::Evaluate { .. } => "evaluate",
            Self::Approve { .. } => "approve",
            Self::Reject { .. } => "reject",
            Self::AskInfo { .. } => "ask_info",
            Self::Answer { .. } => "answer",
            Self::MarkDuplicate { .. } => "mark_duplicate",
            Self::Withdraw => "withdraw",
            Self::Expire => "expire",
            Self::BreakGlass { .. } => "break_glass",
            Self::Review { .. } => "review",
            Self::Begin => "begin",
            Self::Finish => "finish",
            Self::Fail { .. } => "fail",
            Self::Cancel { .. } => "cancel",
            Self::Undone => "undone",
            Self::Stick { .. } => "stick",
            Self::RetryUndo => "retry_undo",
            Self::Resolve { .. } => "resolve",
        }
    }
}

/// How a request ends once everything is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndsAs {
    /// It could not be done.
    Failed,
    /// It was called off.
    Cancelled,
}

/// That somebody else has to look at what was approved by breaking glass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingReview {
    /// Who broke it.
    pub broke: Principal,
}

/// A request, as far as its states go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// How far it has come.
    pub stage: Stage,
    /// Who asked for it.
    pub requester: Principal,
    /// For whom it is, by address, where that is somebody else.
    pub beneficiary: Option<String>,
    /// Who edited it last.
    pub editor: Principal,
    /// The stages of agreement that it goes through.
    pub stages: Vec<ApprovalStage>,
    /// The agreements.
    pub votes: Vec<Vote>,
    /// When it has to be decided.
    pub decide_by: Option<Timestamp>,
    /// Who may agree as well, since it took too long.
    pub escalated_to: Option<String>,
    /// When it is to begin; at once where absent.
    pub start_at: Option<Timestamp>,
    /// How it ends once everything is undone.
    pub ends_as: Option<EndsAs>,
    /// What is to be looked at afterwards.
    pub review: Option<PendingReview>,
}

/// What becomes of a request that nobody decided in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue<'c> {
    /// It is over.
    Expire,
    /// It is rejected.
    Reject,
    /// This team may agree as well, until an instant.
    Escalate(&'c str, Timestamp),
}

/// What an act is looked at with.
#[derive(Debug, Clone)]
pub struct Context<'c> {
    /// When.
    pub now: Timestamp,
    /// Who.
    pub actor: &'c Principal,
    /// Whether they may do without votes.
    pub may_break_glass: bool,
    /// Whether they may act for the vendor: ask, call off, resolve.
    pub is_vendor: bool,
    /// Who may agree to what.
    pub people: &'c Electorate,
    /// What would be granted now: of the request, of the listing and of its effect.
    pub digest: Hash,
    /// What becomes of it once it is overdue.
    pub overdue: Overdue<'c>,
}

/// What came of an act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It was changed.
    Edited,
    /// It was handed in.
    Submitted,
    /// People have to agree.
    NeedsApproval,
    /// Somebody agreed, and more have to.
    Voted,
    /// It has what it needs.
    Approved {
        /// Whether by a rule.
        automatic: bool,
    },
    /// Somebody did not agree, or nobody in time.
    Rejected,
    /// The requester was asked for something.
    AskedForInfo,
    /// The requester answered.
    Answered,
    /// Another one asks for the same.
    MarkedDuplicate,
    /// It was taken back.
    Withdrawn,
    /// Nobody decided in time.
    Expired,
    /// More people may agree.
    Escalated,
    /// It was approved without votes.
    BrokeGlass,
    /// Somebody looked at that.
    Reviewed,
    /// It begins later.
    Scheduled,
    /// Its steps begin.
    Began,
    /// It is in force.
    Fulfilled,
    /// It is being undone.
    Undoing,
    /// It failed, and everything is undone.
    Failed,
    /// It was called off, and everything is undone.
    Cancelled,
    /// Something could not be undone.
    Stuck,
    /// It is tried again to undo it.
    RetriedUndo,
}

/// What an act leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The request afterwards.
    pub request: Request,
    /// What happened.
    pub event: Event,
}
