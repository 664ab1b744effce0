//! How a draft becomes the catalog: the states of a publication, and what leads from one to the
//! next.
//!
//! [`step()`] is all of it. Who may try what at all is decided before, by permissions; here stands
//! what is asked of a change: that it is clean, that others have seen its effect, and that what is
//! published is what they saw.

mod refusal;
mod step;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use entitlements_core::{Timestamp, document::Hash};

pub use self::{
    refusal::Refusal,
    step::{REASON_CHARS_MIN, step},
};

/// How far a publication has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Somebody works on it.
    Draft,
    /// Others look at it and vote.
    InReview,
    /// It has the votes that it needs.
    Approved,
    /// It will be published at an instant.
    Scheduled,
    /// It is or was the catalog in force.
    Published,
    /// It was published, and a catalog from before it is in force again.
    RolledBack,
    /// It was given up.
    Discarded,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 7] = [
        Self::Draft,
        Self::InReview,
        Self::Approved,
        Self::Scheduled,
        Self::Published,
        Self::RolledBack,
        Self::Discarded,
    ];

    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::InReview => "in_review",
            Self::Approved => "approved",
            Self::Scheduled => "scheduled",
            Self::Published => "published",
            Self::RolledBack => "rolled_back",
            Self::Discarded => "discarded",
        }
    }

    /// Whether it may still become the catalog.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Draft | Self::InReview | Self::Approved | Self::Scheduled)
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
            format!("`{text}` is no stage of a publication: use one of {codes}")
        })
    }
}

/// Who stands behind an act.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// A person, in a session of their own or through a key that they made.
    Person(String),
    /// A key that nobody in particular made.
    Key(String),
}

/// What may be done to a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Change the draft. It is a draft again and its votes are void.
    Edit,
    /// Ask others to look at it.
    Submit,
    /// Take it back to work on it.
    Withdraw,
    /// Vote for it.
    Approve {
        /// The digest of the draft and the preview that the voter has seen.
        digest: Hash,
    },
    /// Ask for changes.
    Reject {
        /// Which.
        comment: String,
    },
    /// Have it published later.
    Schedule {
        /// When.
        at: Timestamp,
    },
    /// Have it no longer published later.
    Unschedule,
    /// Make it the catalog.
    Publish,
    /// Make it the catalog without the votes that it needs.
    BreakGlass {
        /// Why that cannot wait.
        reason: String,
    },
    /// Give it up.
    Discard,
    /// Note that a catalog from before it is in force again.
    RollBack,
}

impl Act {
    /// The stable word for it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Edit => "edit",
            Self::Submit => "submit",
            Self::Withdraw => "withdraw",
            Self::Approve { .. } => "approve",
            Self::Reject { .. } => "reject",
            Self::Schedule { .. } => "schedule",
            Self::Unschedule => "unschedule",
            Self::Publish => "publish",
            Self::BreakGlass { .. } => "break_glass",
            Self::Discard => "discard",
            Self::RollBack => "roll_back",
        }
    }
}

/// When somebody else has to look at a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether always.
    pub four_eyes: bool,
    /// How many others. It is never less than one where any is needed.
    pub approvals: u32,
    /// Where not always: above how many tenants that lose something.
    pub threshold: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { four_eyes: true, approvals: 1, threshold: 0 }
    }
}

impl Policy {
    /// How many votes a change of this effect needs.
    #[must_use]
    pub fn approvals_needed(&self, effect: &Effect) -> u32 {
        let needed = self.four_eyes || effect.losing > self.threshold;
        if needed && !effect.is_first { self.approvals.max(1) } else { 0 }
    }
}

/// What the draft would do if it were published now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// Of the catalog as it would be and its preview: see [`digest`](super::draft::digest).
    pub digest: Hash,
    /// How many tenants lose something.
    pub losing: u64,
    /// In how many places it and the live catalog disagree.
    pub conflicts: usize,
    /// How much is wrong with the catalog as it would be.
    pub problems: usize,
    /// Whether the catalog would be what it is.
    pub is_unchanged: bool,
    /// Whether there is nothing live that it could hurt: no catalog and no tenants.
    pub is_first: bool,
}

impl Effect {
    /// What nobody has looked at. With it the acts that depend on the effect are refused; those
    /// that do not can do with it: edit, withdraw, reject, discard and roll back.
    pub const UNKNOWN: Self = Self {
        digest: Hash([0; 32]),
        losing: u64::MAX,
        conflicts: 0,
        problems: 1,
        is_unchanged: true,
        is_first: false,
    };
}

/// What a step depends on besides the publication.
#[derive(Debug, Clone, Copy)]
pub struct Context<'c> {
    /// When.
    pub now: Timestamp,
    /// Who.
    pub actor: &'c Principal,
    /// Whether they may do without votes.
    pub may_break_glass: bool,
    /// What is asked of changes.
    pub policy: Policy,
    /// What the draft would do now.
    pub effect: Effect,
}

/// One person's word that a change is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// Whose.
    pub by: Principal,
    /// When.
    pub at: Timestamp,
    /// The digest of what they saw.
    pub digest: Hash,
    /// How many tenants lost something in what they saw.
    pub losing: u64,
}

impl Vote {
    /// Whether it is a vote for this effect: the same change, and no more tenants that lose.
    #[must_use]
    pub fn stands(&self, effect: &Effect) -> bool {
        self.digest == effect.digest && self.losing >= effect.losing
    }
}

/// A draft on its way to be the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// How far it has come.
    pub stage: Stage,
    /// Who edited it last.
    pub editor: Principal,
    /// The votes since the last edit. Those that no longer [stand](Vote::stands) do not count.
    pub votes: Vec<Vote>,
    /// When it is to be published. It is there in [`Stage::Scheduled`] and nowhere else.
    pub publish_at: Option<Timestamp>,
    /// Why it was sent back, until it is submitted again.
    pub note: Option<String>,
}

impl Publication {
    /// A draft that somebody has just made.
    #[must_use]
    pub fn new(editor: Principal) -> Self {
        Self { stage: Stage::Draft, editor, votes: Vec::new(), publish_at: None, note: None }
    }

    /// How many of its votes count for this effect.
    #[must_use]
    pub fn standing(&self, effect: &Effect) -> usize {
        self.votes.iter().filter(|vote| vote.stands(effect)).count()
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The draft was changed.
    Edited,
    /// Others were asked to look at it.
    Submitted,
    /// It was taken back.
    Withdrawn,
    /// Somebody voted for it, and more have to.
    Voted,
    /// Somebody voted for it, and it has what it needs.
    Approved,
    /// Somebody asked for changes.
    Rejected {
        /// Which.
        comment: String,
    },
    /// It is to be published at an instant.
    Scheduled {
        /// When.
        at: Timestamp,
    },
    /// It is no longer to be published at an instant.
    Unscheduled,
    /// It is to be made the catalog now.
    Published,
    /// It is to be made the catalog now, without the votes that it needs.
    BrokeGlass {
        /// Why that could not wait.
        reason: String,
    },
    /// It could not be published or scheduled and is in review again. Whoever tried is to be told.
    SentBack(Refusal),
    /// It was given up.
    Discarded,
    /// A catalog from before it is in force again.
    RolledBack,
}

impl Event {
    /// The stable word for it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Submitted => "submitted",
            Self::Withdrawn => "withdrawn",
            Self::Voted => "voted",
            Self::Approved => "approved",
            Self::Rejected { .. } => "rejected",
            Self::Scheduled { .. } => "scheduled",
            Self::Unscheduled => "unscheduled",
            Self::Published => "published",
            Self::BrokeGlass { .. } => "broke_glass",
            Self::SentBack(_) => "sent_back",
            Self::Discarded => "discarded",
            Self::RolledBack => "rolled_back",
        }
    }

    /// Whether the draft is to be made the catalog in the same commit.
    #[must_use]
    pub const fn publishes(&self) -> bool {
        matches!(self, Self::Published | Self::BrokeGlass { .. })
    }
}

/// What an act leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Step {
    /// The publication afterwards.
    pub publication: Publication,
    /// What happened.
    pub event: Event,
}
