//! How a draft becomes the catalog: the states of a publication, and what leads from one to the
//! next.
//!
//! [`step`] is all of it. Who may try what at all is decided before, by permissions; here stands
//! what is asked of a change: that it is clean, that others have seen its effect, and that what is
//! published is what they saw.

mod refusal;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use entitlements_core::{Timestamp, document::Hash};

pub use self::refusal::Refusal;

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

/// The fewest characters of a reason to do without votes.
pub const REASON_CHARS_MIN: usize = 10;

/// What an act leads to.
///
/// # Errors
/// Where the act is refused and nothing changes. A refusal that also sends the publication back to
/// review is an [`Event::SentBack`].
pub fn step(publication: &Publication, act: Act, context: &Context<'_>) -> Result<Step, Refusal> {
    let start = Start { publication, context };
    match act {
        Act::Edit => start.edit(),
        Act::Submit => start.submit(),
        Act::Withdraw => start.withdraw(),
        Act::Approve { digest } => start.approve(digest),
        Act::Reject { comment } => start.reject(comment),
        Act::Schedule { at } => start.schedule(at),
        Act::Unschedule => start.unschedule(),
        Act::Publish => start.publish(),
        Act::BreakGlass { reason } => start.break_glass(reason),
        Act::Discard => start.discard(),
        Act::RollBack => start.roll_back(),
    }
}

/// Where a step starts.
struct Start<'c> {
    publication: &'c Publication,
    context: &'c Context<'c>,
}

impl Start<'_> {
    fn edit(&self) -> Result<Step, Refusal> {
        self.in_stage("edit", Stage::is_open)?;
        let editor = self.context.actor.clone();
        Ok(Step { publication: Publication { editor, ..self.as_draft() }, event: Event::Edited })
    }

    fn submit(&self) -> Result<Step, Refusal> {
        self.in_stage("submit", |stage| stage == Stage::Draft)?;
        self.is_publishable()?;
        let publication = Publication { note: None, ..self.to(Stage::InReview) };
        Ok(Step { publication, event: Event::Submitted })
    }

    fn withdraw(&self) -> Result<Step, Refusal> {
        self.in_stage("withdraw", is_submitted)?;
        Ok(Step { publication: self.as_draft(), event: Event::Withdrawn })
    }

    fn approve(&self, digest: Hash) -> Result<Step, Refusal> {
        self.in_stage("approve", is_submitted)?;
        let Context { actor, effect, .. } = self.context;
        self.is_person()?;
        if **actor == self.publication.editor {
            return Err(Refusal::OwnEdit);
        }
        self.is_publishable()?;
        if digest != effect.digest {
            return Err(Refusal::OtherPreview);
        }
        let standing = self.publication.votes.iter().filter(|vote| vote.stands(effect));
        let mut votes: Vec<Vote> = standing.cloned().collect();
        if votes.iter().any(|vote| vote.by == **actor) {
            return Err(Refusal::VotedAlready);
        }
        let needed = self.needed().max(1);
        if votes.len() >= needed {
            return Err(Refusal::EnoughVotes);
        }
        let by = (*actor).clone();
        votes.push(Vote { by, at: self.context.now, digest, losing: effect.losing });
        let enough = votes.len() >= needed;
        let stage = match self.publication.stage {
            // Its votes may be given anew before its time comes.
            Stage::Scheduled => Stage::Scheduled,
            _ if enough => Stage::Approved,
            _ => Stage::InReview,
        };
        let event = if enough { Event::Approved } else { Event::Voted };
        let publication = Publication { stage, votes, ..self.publication.clone() };
        Ok(Step { publication, event })
    }

    fn reject(&self, comment: String) -> Result<Step, Refusal> {
        self.in_stage("reject", is_submitted)?;
        self.is_person()?;
        if comment.trim().is_empty() {
            return Err(Refusal::NoComment);
        }
        let publication = Publication { note: Some(comment.clone()), ..self.as_draft() };
        Ok(Step { publication, event: Event::Rejected { comment } })
    }

    fn schedule(&self, at: Timestamp) -> Result<Step, Refusal> {
        self.in_stage("schedule", Stage::is_open)?;
        if at <= self.context.now {
            return Err(Refusal::NotInFuture { at, now: self.context.now });
        }
        if let Err(refusal) = self.is_ready() {
            return self.refuse_or_send_back(refusal);
        }
        let publication = Publication { publish_at: Some(at), ..self.to(Stage::Scheduled) };
        Ok(Step { publication, event: Event::Scheduled { at } })
    }

    fn unschedule(&self) -> Result<Step, Refusal> {
        self.in_stage("unschedule", |stage| stage == Stage::Scheduled)?;
        let votes = &self.publication.votes;
        let stage = if votes.is_empty() {
            Stage::Draft
        } else if self.publication.standing(&self.context.effect) >= self.needed().max(1) {
            Stage::Approved
        } else {
            Stage::InReview
        };
        Ok(Step { publication: self.to(stage), event: Event::Unscheduled })
    }

    fn publish(&self) -> Result<Step, Refusal> {
        self.in_stage("publish", Stage::is_open)?;
        if let Err(refusal) = self.is_ready() {
            return self.refuse_or_send_back(refusal);
        }
        Ok(Step { publication: self.as_published(), event: Event::Published })
    }

    fn break_glass(&self, reason: String) -> Result<Step, Refusal> {
        self.in_stage("break_glass", Stage::is_open)?;
        if !self.context.may_break_glass {
            return Err(Refusal::MayNotBreakGlass);
        }
        if reason.trim().chars().count() < REASON_CHARS_MIN {
            return Err(Refusal::ShortReason);
        }
        self.is_publishable()?;
        Ok(Step { publication: self.as_published(), event: Event::BrokeGlass { reason } })
    }

    fn discard(&self) -> Result<Step, Refusal> {
        self.in_stage("discard", Stage::is_open)?;
        Ok(Step { publication: self.to(Stage::Discarded), event: Event::Discarded })
    }

    fn roll_back(&self) -> Result<Step, Refusal> {
        self.in_stage("roll_back", |stage| stage == Stage::Published)?;
        Ok(Step { publication: self.to(Stage::RolledBack), event: Event::RolledBack })
    }
}

fn is_submitted(stage: Stage) -> bool {
    matches!(stage, Stage::InReview | Stage::Approved | Stage::Scheduled)
}

/// What acts have in common.
impl Start<'_> {
    fn in_stage(&self, act: &'static str, is_right: impl Fn(Stage) -> bool) -> Result<(), Refusal> {
        let stage = self.publication.stage;
        if is_right(stage) { Ok(()) } else { Err(Refusal::WrongStage { act, stage }) }
    }

    fn is_person(&self) -> Result<(), Refusal> {
        match self.context.actor {
            Principal::Person(_) => Ok(()),
            Principal::Key(_) => Err(Refusal::NotAPerson),
        }
    }

    fn is_publishable(&self) -> Result<(), Refusal> {
        let Effect { conflicts, problems, is_unchanged, .. } = self.context.effect;
        if conflicts > 0 || problems > 0 {
            return Err(Refusal::Unclean { conflicts, problems });
        }
        if is_unchanged { Err(Refusal::NothingToPublish) } else { Ok(()) }
    }

    fn needed(&self) -> usize {
        let needed = self.context.policy.approvals_needed(&self.context.effect);
        usize::try_from(needed).unwrap_or(usize::MAX)
    }

    /// Whether it could be made the catalog now, without breaking glass.
    fn is_ready(&self) -> Result<(), Refusal> {
        self.is_publishable()?;
        let Context { effect, .. } = self.context;
        let (standing, needed) = (self.publication.standing(effect), self.needed());
        if standing >= needed {
            return Ok(());
        }
        let votes = &self.publication.votes;
        let fallen = votes.iter().find(|vote| !vote.stands(effect));
        Err(match fallen {
            None => Refusal::NeedsVotes { standing, needed },
            Some(vote) if vote.digest != effect.digest => Refusal::OtherEffect,
            Some(vote) => Refusal::LargerEffect { saw: vote.losing, now: effect.losing },
        })
    }

    /// What has been approved goes back to review where votes no longer cover it; what is scheduled
    /// goes there whatever the matter is, or it would be tried for ever.
    fn refuse_or_send_back(&self, refusal: Refusal) -> Result<Step, Refusal> {
        let votes_fell = matches!(
            refusal,
            Refusal::NeedsVotes { .. } | Refusal::OtherEffect | Refusal::LargerEffect { .. }
        );
        match self.publication.stage {
            Stage::Scheduled => {}
            Stage::Approved if votes_fell => {}
            _ => return Err(refusal),
        }
        let mut publication = self.to(Stage::InReview);
        publication.votes.retain(|vote| vote.stands(&self.context.effect));
        publication.note = Some(refusal.to_string());
        Ok(Step { publication, event: Event::SentBack(refusal) })
    }

    fn to(&self, stage: Stage) -> Publication {
        Publication { stage, publish_at: None, ..self.publication.clone() }
    }

    fn as_draft(&self) -> Publication {
        Publication { votes: Vec::new(), ..self.to(Stage::Draft) }
    }

    fn as_published(&self) -> Publication {
        Publication { note: None, ..self.to(Stage::Published) }
    }
}
