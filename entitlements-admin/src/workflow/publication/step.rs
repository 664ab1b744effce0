//! What an act leads to: all the rules of publications.

use entitlements_core::{Timestamp, document::Hash};

use super::{Act, Context, Effect, Event, Principal, Publication, Refusal, Stage, Step, Vote};

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
