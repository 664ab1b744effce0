//! What an act leads to: all the rules of requests.

use super::{Act, Context, EndsAs, Event, Overdue, PendingReview, Refusal, Request, Stage, Step};
use crate::workflow::{
    approval::{Ballot, Ineligible, Involved},
    publication::{Principal, REASON_CHARS_MIN},
};

/// What an act leads to.
///
/// # Errors
/// Why it is refused; then nothing changes.
pub fn step(request: &Request, act: Act, context: &Context<'_>) -> Result<Step, Refusal> {
    let start = Start { request, context, act: act.code() };
    match act {
        Act::Edit => start.edit(),
        Act::Submit => start.submit(),
        Act::Evaluate { automatic } => start.evaluate(automatic),
        Act::Approve { seen, comment } => start.approve(seen, comment),
        Act::Reject { comment } => start.reject(&comment),
        Act::AskInfo { question } => start.ask_info(&question),
        Act::Answer { answer } => start.answer(&answer),
        Act::MarkDuplicate { of } => start.mark_duplicate(&of),
        Act::Withdraw => start.withdraw(),
        Act::Expire => start.expire(),
        Act::BreakGlass { reason } => start.break_glass(&reason),
        Act::Review { comment } => start.review(&comment),
        Act::Begin => start.begin(),
        Act::Finish => start.finish(),
        Act::Fail { why } => start.fail(&why),
        Act::Cancel { reason } => start.cancel(&reason),
        Act::Undone => start.undone(),
        Act::Stick { why } => start.stick(&why),
        Act::RetryUndo => start.retry_undo(),
        Act::Resolve { comment } => start.resolve(&comment),
    }
}

/// Where a step starts.
struct Start<'c> {
    request: &'c Request,
    context: &'c Context<'c>,
    act: &'static str,
}

impl Start<'_> {
    fn edit(&self) -> Result<Step, Refusal> {
        self.in_stage(|stage| stage == Stage::Draft || stage.is_undecided())?;
        let editor = self.context.actor.clone();
        let request =
            Request { editor, votes: Vec::new(), decide_by: None, ..self.to(Stage::Draft) };
        done(request, Event::Edited)
    }

    fn submit(&self) -> Result<Step, Refusal> {
        self.in_stage(|stage| stage == Stage::Draft)?;
        done(self.to(Stage::Submitted), Event::Submitted)
    }

    fn evaluate(&self, automatic: bool) -> Result<Step, Refusal> {
        self.in_stage(|stage| stage == Stage::Submitted)?;
        match automatic {
            true => done(self.approved(), Event::Approved { automatic }),
            false => done(self.to(Stage::PendingApproval), Event::NeedsApproval),
        }
    }

    fn approve(
        &self,
        seen: entitlements_core::document::Hash,
        comment: Option<String>,
    ) -> Result<Step, Refusal> {
        self.in_stage(|stage| stage == Stage::PendingApproval)?;
        let person = self.person()?;
        let Context { now, people, digest, .. } = *self.context;
        let ballot = self.ballot(digest);
        let vote = ballot.vote(person, seen, people, now)?;
        let mut votes: Vec<_> = ballot.standing(people).cloned().collect();
        votes.push(crate::workflow::approval::Vote { comment, ..vote });
        let is_filled = Ballot { votes: &votes, ..ballot }.open_stage(people).is_none();
        let request = Request { votes, ..self.request.clone() };
        match is_filled {
            true => {
                let votes = request.votes;
                done(Request { votes, ..self.approved() }, Event::Approved { automatic: false })
            }
            false => done(request, Event::Voted),
        }
    }

    fn reject(&self, comment: &str) -> Result<Step, Refusal> {
        self.in_stage(Stage::is_undecided)?;
        self.person()?;
        self.is_not_involved()?;
        self.is_asked()?;
        says("comment", comment)?;
        done(self.to(Stage::Rejected), Event::Rejected)
    }

    fn ask_info(&self, question: &str) -> Result<Step, Refusal> {
        self.in_stage(|stage| stage == Stage::PendingApproval)?;
        self.is_not_involved()?;
        self.is_asked()?;
        says("question", question)?;
        done(self.to(Stage::NeedsInfo), Event::AskedForInfo)
    }

    fn answer(&self, answer: &str) -> Result<Step, Refusal> {
        self.in_stage(|stage| stage == Stage::NeedsInfo)?;
        says("answer", answer)?;
        done(self.to(Stage::PendingApproval), Event::Answered)
    }

    fn mark_duplicate(&self, of: &str) -> Result<Step, Refusal> {
        self.in_stage(Stage::is_undecided)?;
        self.is_not_involved()?;
        self.is_asked()?;
        says("of", of)?;
        done(self.to(Stage::Duplicate), Event::MarkedDuplicate)
    }

    fn withdraw(&self) -> Result<Step, Refusal> {
        self.in_stage(|stage| stage == Stage::Draft || stage.is_undecided())?;
        let Context { actor, is_vendor, .. } = self.context;
        let theirs = **actor == self.request.requester || **actor == self.request.editor;
        // What was asked for by the tenant's own product, the tenant's own product takes back.
        if !theirs && *is_vendor {
            return Err(Refusal::NotTheRequester);
        }
        done(self.to(Stage::Withdrawn), Event::Withdrawn)
    }

    fn expire(&self) -> Result<Step, Refusal> {
        self.in_stage(Stage::is_undecided)?;
        if self.request.decide_by.is_none_or(|by| self.context.now < by) {
            return Err(Refusal::NotOverdue);
        }
        match self.context.overdue {
            Overdue::Escalate(team, until) if self.request.escalated_to.is_none() => {
                let request = Request {
                    escalated_to: Some(team.into()),
                    decide_by: Some(until),
                    ..self.request.clone()
                };
                done(request, Event::Escalated)
            }
            Overdue::Reject => done(self.to(Stage::Rejected), Event::Rejected),
            Overdue::Expire | Overdue::Escalate(..) => {
                done(self.to(Stage::Expired), Event::Expired)
            }
        }
    }

    fn break_glass(&self, reason: &str) -> Result<Step, Refusal> {
        self.in_stage(Stage::is_undecided)?;
        self.person()?;
        if !self.context.may_break_glass {
            return Err(Refusal::MayNotBreakGlass);
        }
        if reason.trim().chars().count() < REASON_CHARS_MIN {
            return Err(Refusal::ShortReason);
        }
        let review = Some(PendingReview { broke: self.context.actor.clone() });
        done(Request { review, ..self.approved() }, Event::BrokeGlass)
    }

    fn review(&self, comment: &str) -> Result<Step, Refusal> {
        let Some(PendingReview { broke }) = &self.request.review else {
            return Err(Refusal::NothingToReview);
        };
        self.person()?;
        if self.context.actor == broke {
            return Err(Refusal::NotTheirs("you broke the glass"));
        }
        self.is_not_involved()?;
        says("comment", comment)?;
        done(Request { review: None, ..self.request.clone() }, Event::Reviewed)
    }

    fn begin(&self) -> Result<Step, Refusal> {
        self.in_stage(|stage| matches!(stage, Stage::Approved | Stage::Scheduled))?;
        match self.request.start_at.filter(|at| *at > self.context.now) {
            Some(_) if self.request.stage == Stage::Approved => {
                done(self.to(Stage::Scheduled), Event::Scheduled)
            }
            Some(_) => Err(self.wrong_stage()),
            None => done(self.to(Stage::Provisioning), Event::Began),
        }
    }

    fn finish(&self) -> Result<Step, Refusal> {
        self.in_stage(|stage| stage == Stage::Provisioning)?;
        done(self.to(Stage::Fulfilled), Event::Fulfilled)
    }

    fn fail(&self, why: &str) -> Result<Step, Refusal> {
        self.in_stage(|stage| stage == Stage::Provisioning)?;
        says("why", why)?;
        self.undo(EndsAs::Failed)
    }

    fn cancel(&self, reason: &str) -> Result<Step, Refusal> {
        self.in_stage(|stage| {
            matches!(stage, Stage::Approved | Stage::Scheduled | Stage::Provisioning)
        })?;
        says("reason", reason)?;
        match self.request.stage {
            Stage::Provisioning => self.undo(EndsAs::Cancelled),
            _ => done(self.to(Stage::Cancelled), Event::Cancelled),
        }
    }

    fn undone(&self) -> Result<Step, Refusal> {
        self.in_stage(|stage| stage == Stage::Compensating)?;
        self.end()
    }

    fn stick(&self, why: &str) -> Result<Step, Refusal> {
        // Where something is given back, undoing it is what it asks for.
        self.in_stage(|stage| matches!(stage, Stage::Provisioning | Stage::Compensating))?;
        says("why", why)?;
        done(self.to(Stage::CompensationFailed), Event::Stuck)
    }

    fn retry_undo(&self) -> Result<Step, Refusal> {
        self.in_stage(|stage| stage == Stage::CompensationFailed)?;
        let stage = match self.request.ends_as {
            Some(_) => Stage::Compensating,
            None => Stage::Provisioning,
        };
        done(self.to(stage), Event::RetriedUndo)
    }

    fn resolve(&self, comment: &str) -> Result<Step, Refusal> {
        self.in_stage(|stage| stage == Stage::CompensationFailed)?;
        self.person()?;
        says("comment", comment)?;
        match self.request.ends_as {
            Some(_) => self.end(),
            // What was to be given back is gone.
            None => done(self.to(Stage::Fulfilled), Event::Fulfilled),
        }
    }
}

/// What acts have in common.
impl Start<'_> {
    fn in_stage(&self, is_right: impl Fn(Stage) -> bool) -> Result<(), Refusal> {
        if is_right(self.request.stage) { Ok(()) } else { Err(self.wrong_stage()) }
    }

    fn wrong_stage(&self) -> Refusal {
        Refusal::WrongStage { act: self.act, stage: self.request.stage }
    }

    fn person(&self) -> Result<&str, Refusal> {
        match self.context.actor {
            Principal::Person(person) => Ok(person),
            Principal::Key(_) => Err(Ineligible::NotAPerson.into()),
        }
    }

    /// Whoever is involved decides nothing.
    fn is_not_involved(&self) -> Result<(), Refusal> {
        let Principal::Person(person) = self.context.actor else { return Ok(()) };
        let ballot = self.ballot(self.context.digest);
        match ballot.involvement(person, self.context.people) {
            Some(why) => Err(why.into()),
            None => Ok(()),
        }
    }

    /// Whoever has no part in agreeing has none in disagreeing.
    fn is_asked(&self) -> Result<(), Refusal> {
        let Principal::Person(person) = self.context.actor else {
            return Err(Ineligible::NotAPerson.into());
        };
        match self.ballot(self.context.digest).asks(person, self.context.people) {
            true => Ok(()),
            false => Err(Refusal::NotAsked),
        }
    }

    fn ballot(&self, digest: entitlements_core::document::Hash) -> Ballot<'_> {
        let request = self.request;
        let involved = Involved {
            requester: address(&request.requester),
            beneficiary: request.beneficiary.as_deref(),
            editor: address(&request.editor),
        };
        let escalated_to = request.escalated_to.as_deref();
        Ballot { stages: &request.stages, escalated_to, votes: &request.votes, involved, digest }
    }

    fn approved(&self) -> Request {
        Request { decide_by: None, ..self.to(Stage::Approved) }
    }

    fn undo(&self, ends_as: EndsAs) -> Result<Step, Refusal> {
        let request = Request { ends_as: Some(ends_as), ..self.to(Stage::Compensating) };
        done(request, Event::Undoing)
    }

    fn end(&self) -> Result<Step, Refusal> {
        match self.request.ends_as {
            Some(EndsAs::Cancelled) => done(self.to(Stage::Cancelled), Event::Cancelled),
            Some(EndsAs::Failed) | None => done(self.to(Stage::Failed), Event::Failed),
        }
    }

    fn to(&self, stage: Stage) -> Request {
        let decide_by = self.request.decide_by.filter(|_| stage.is_undecided());
        Request { stage, decide_by, ..self.request.clone() }
    }
}

fn done(request: Request, event: Event) -> Result<Step, Refusal> {
    Ok(Step { request, event })
}

fn says(name: &'static str, text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() { Err(Refusal::NoComment(name)) } else { Ok(()) }
}

fn address(principal: &Principal) -> Option<&str> {
    match principal {
        Principal::Person(person) => Some(person),
        Principal::Key(_) => None,
    }
}
