//! Why an act on a request is refused.

use super::Stage;
use crate::workflow::{approval::Ineligible, publication::REASON_CHARS_MIN};

/// Why an act is refused, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has not come so far yet, or is further already.
    #[error("the request is `{stage}`, so `{act}` is not possible")]
    WrongStage {
        /// What was tried.
        act: &'static str,
        /// How far it has come.
        stage: Stage,
    },
    /// Their agreement does not count.
    #[error(transparent)]
    Ineligible(#[from] Ineligible),
    /// They are involved, or a key.
    #[error("{0}, so somebody else has to do it")]
    NotTheirs(&'static str),
    /// The policy of the listing does not ask them.
    #[error("who decides this is asked by the listing's policy, and that does not ask you")]
    NotAsked,
    /// It takes a word.
    #[error("say why: `{0}` is empty")]
    NoComment(&'static str),
    /// They may not do without votes.
    #[error("you may not approve without the votes that it needs: it takes `break_glass`")]
    MayNotBreakGlass,
    /// The reason is too short.
    #[error("say in {REASON_CHARS_MIN} characters or more why that cannot wait for others")]
    ShortReason,
    /// There is nothing to look at.
    #[error("nothing about it waits for a review")]
    NothingToReview,
    /// It is not overdue.
    #[error("there is still time to decide it")]
    NotOverdue,
    /// Only the requester may.
    #[error("only who asked for it may take it back: reject it, or call it off")]
    NotTheRequester,
}
