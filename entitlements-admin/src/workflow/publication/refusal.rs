//! Why an act is refused.

use entitlements_core::Timestamp;

use super::{REASON_CHARS_MIN, Stage};

/// Why an act is refused, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has not come so far yet, or is further already.
    #[error("it is `{stage}`, so `{act}` is not possible: {}", advice(*.stage))]
    WrongStage {
        /// What was tried.
        act: &'static str,
        /// How far it has come.
        stage: Stage,
    },
    /// It cannot be laid over what is live, or what comes of it is no catalog.
    #[error(
        "{} in the way: put right what the validation of the draft lists",
        unclean(*.conflicts, *.problems)
    )]
    Unclean {
        /// In how many places it and the live catalog disagree.
        conflicts: usize,
        /// How much is wrong with the catalog as it would be.
        problems: usize,
    },
    /// The catalog would be what it is.
    #[error("it would change nothing in the live catalog: edit it first, or discard it")]
    NothingToPublish,
    /// A key without a person behind it tried to vote.
    #[error("only people vote: sign in, or use a key that a person made")]
    NotAPerson,
    /// Who edited last tried to vote.
    #[error("you edited it last, so somebody else has to approve it")]
    OwnEdit,
    /// The vote is for something else than what stands there.
    #[error(
        "what you looked at is not what would be published now: look at the new preview, and \
         approve that"
    )]
    OtherPreview,
    /// The same person voted before.
    #[error("you have approved it already: it takes somebody else")]
    VotedAlready,
    /// It needs no more votes.
    #[error("it has the approvals that it needs: publish or schedule it")]
    EnoughVotes,
    /// Too few have voted.
    #[error("it has {standing} of the {} that it needs: {}", votes(*.needed), ask(*.standing))]
    NeedsVotes {
        /// How many votes count.
        standing: usize,
        /// How many it takes.
        needed: usize,
    },
    /// What would be published is not what was approved.
    #[error(
        "what would be published is no longer what was approved: look at the new preview, and \
         approve that"
    )]
    OtherEffect,
    /// More tenants lose something than those who approved it saw.
    #[error(
        "{now} tenants would lose something and {saw} would when it was approved: look at the new \
         preview, and approve that"
    )]
    LargerEffect {
        /// How many lost something when it was approved.
        saw: u64,
        /// How many do now.
        now: u64,
    },
    /// The instant is past.
    #[error("`{at}` is not after now, `{now}`: choose a later instant, or publish it at once")]
    NotInFuture {
        /// The instant.
        at: Timestamp,
        /// What it is now.
        now: Timestamp,
    },
    /// Changes were asked for, and not said which.
    #[error("say in a comment what should be changed")]
    NoComment,
    /// Why it cannot wait is not said.
    #[error("say in {} characters or more why it cannot wait for approval", REASON_CHARS_MIN)]
    ShortReason,
    /// Doing without votes is not theirs to decide.
    #[error("you may not publish without approval: ask for approval, or ask a Super Admin")]
    MayNotBreakGlass,
}

impl Refusal {
    /// The stable word for it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WrongStage { .. } => "wrong_stage",
            Self::Unclean { .. } => "unclean",
            Self::NothingToPublish => "nothing_to_publish",
            Self::NotAPerson => "not_a_person",
            Self::OwnEdit => "own_edit",
            Self::OtherPreview => "other_preview",
            Self::VotedAlready => "voted_already",
            Self::EnoughVotes => "enough_votes",
            Self::NeedsVotes { .. } => "needs_votes",
            Self::OtherEffect => "other_effect",
            Self::LargerEffect { .. } => "larger_effect",
            Self::NotInFuture { .. } => "not_in_future",
            Self::NoComment => "no_comment",
            Self::ShortReason => "short_reason",
            Self::MayNotBreakGlass => "may_not_break_glass",
        }
    }
}

fn advice(stage: Stage) -> &'static str {
    match stage {
        Stage::Draft => "submit it first, or discard it",
        Stage::InReview => "approve or reject it, or withdraw it to work on it",
        Stage::Approved => "publish or schedule it, or withdraw it to work on it",
        Stage::Scheduled => "wait for its time, or unschedule it",
        Stage::Published => "make a new draft, or roll back to a revision before it",
        Stage::RolledBack | Stage::Discarded => "make a new draft",
    }
}

fn unclean(conflicts: usize, problems: usize) -> String {
    let conflict =
        count(conflicts, "conflict with the live catalog", "conflicts with the live catalog");
    let problem = count(problems, "problem", "problems");
    match (conflicts, problems) {
        (_, 0) => format!("{conflict} {}", if conflicts == 1 { "is" } else { "are" }),
        (0, _) => format!("{problem} {}", if problems == 1 { "is" } else { "are" }),
        _ => format!("{conflict} and {problem} are"),
    }
}

fn votes(needed: usize) -> String {
    count(needed, "approval", "approvals")
}

fn ask(standing: usize) -> &'static str {
    if standing == 0 { "ask somebody to approve it" } else { "ask somebody else to approve it too" }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
