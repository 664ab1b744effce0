//! How far the steps have come, what is due next, and what an outcome leads to.

use std::time::Duration;

use entitlements_core::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plan::{CleanUp, StepKind, StepPlan};

/// How far a step has come.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum StepStage {
    /// It has not begun.
    #[default]
    Pending,
    /// It was asked for, or is just being asked for.
    Running,
    /// Others do it, and will say so or be asked.
    Waiting,
    /// It is done.
    Succeeded,
    /// What it may have left is being removed, before it is tried again.
    Cleaning,
    /// What it may have left is being removed, and then it has failed.
    CleaningUp,
    /// Somebody has to say that what it may have left can be removed.
    Held,
    /// It failed for good, and left nothing.
    Failed,
    /// It failed, and nothing depends on it.
    Skipped,
    /// It is being undone.
    Undoing,
    /// Others undo it, and will say so or be asked.
    UndoWaiting,
    /// It was undone.
    Undone,
    /// It could not be undone.
    UndoFailed,
}

impl StepStage {
    /// Every stage.
    pub const ALL: [Self; 13] = [
        Self::Pending,
        Self::Running,
        Self::Waiting,
        Self::Succeeded,
        Self::Cleaning,
        Self::CleaningUp,
        Self::Held,
        Self::Failed,
        Self::Skipped,
        Self::Undoing,
        Self::UndoWaiting,
        Self::Undone,
        Self::UndoFailed,
    ];

    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Cleaning => "cleaning",
            Self::CleaningUp => "cleaning_up",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Undoing => "undoing",
            Self::UndoWaiting => "undo_waiting",
            Self::Undone => "undone",
            Self::UndoFailed => "undo_failed",
        }
    }

    /// Whether a step in this stage waits for an answer to this.
    #[must_use]
    pub const fn awaits(self, doing: Doing) -> bool {
        match doing {
            Doing::Do => matches!(self, Self::Running),
            Doing::Ask => matches!(self, Self::Waiting),
            Doing::Clean | Doing::AskCleaned => matches!(self, Self::Cleaning | Self::CleaningUp),
            Doing::Undo => matches!(self, Self::Undoing),
            Doing::AskUndone => matches!(self, Self::UndoWaiting),
        }
    }

    /// What others may say something about in this stage without being asked.
    #[must_use]
    pub const fn waits_for(self) -> Option<Doing> {
        match self {
            Self::Running => Some(Doing::Do),
            Self::Waiting => Some(Doing::Ask),
            Self::Cleaning | Self::CleaningUp => Some(Doing::Clean),
            Self::Undoing => Some(Doing::Undo),
            Self::UndoWaiting => Some(Doing::AskUndone),
            _ => None,
        }
    }

    /// Whether it may have left something that is to be undone.
    const fn may_have_left_something(self) -> bool {
        matches!(
            self,
            Self::Running | Self::Waiting | Self::Succeeded | Self::Cleaning | Self::CleaningUp
        )
    }
}

/// A step on its way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StepRun {
    /// How far it has come.
    pub stage: StepStage,
    /// How often it was tried since it last came into this stage.
    pub tries: u32,
    /// How often what it may have left was removed: each time it begins anew, under another name.
    pub generation: u32,
    /// When it first began, or began to be undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When something is to be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// What others know it by. It stays the same however often they are asked, and whatever the request
    /// is that asks for it to be changed or removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// How often others were asked to do something: an answer to an earlier question is no answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub asked: u32,
    /// Whether it may have been done although nobody has said so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub doubtful: bool,
    /// Whether others have said that they are removing what it may have left.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub removing: bool,
    /// What others call what they are doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Where to ask how far it is, where they said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask_at: Option<String>,
    /// What there is to say about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Who does it, where somebody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
}

const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A step with its plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What is to be done.
    pub plan: StepPlan,
    /// How far it has come.
    #[serde(default)]
    pub run: StepRun,
}

/// Where the steps are going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Course {
    /// They are done.
    Forward,
    /// They are undone, the last one first.
    Back,
}

/// What is asked of others about a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// To do it.
    Do,
    /// Whether it is done.
    Ask,
    /// To remove what it may have left.
    Clean,
    /// Whether that is removed.
    AskCleaned,
    /// To undo it.
    Undo,
    /// Whether it is undone.
    AskUndone,
}

/// What becomes of what others have, by a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is made.
    Make,
    /// It gets another quantity, or other parameters.
    Change,
    /// It gets those again that it had before.
    PutBack,
    /// It goes.
    Remove,
}

impl Doing {
    /// Whether it changes nothing there.
    #[must_use]
    pub const fn is_question(self) -> bool {
        matches!(self, Self::Ask | Self::AskCleaned | Self::AskUndone)
    }
}

impl Action {
    /// That of what is asked, where a request is to change something that there is, or is not.
    #[must_use]
    pub const fn of(doing: Doing, changes: bool) -> Self {
        match (doing, changes) {
            (Doing::Do | Doing::Ask, false) => Self::Make,
            (Doing::Do | Doing::Ask, true) => Self::Change,
            (_, false) => Self::Remove,
            (_, true) => Self::PutBack,
        }
    }

    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Make => "make",
            Self::Change => "change",
            Self::PutBack => "put_back",
            Self::Remove => "remove",
        }
    }
}

/// What is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This, of this step, at this instant or when its turn comes.
    Step(usize, Doing, Timestamp),
    /// Somebody has to say something about this step. It counts as failed at this instant.
    Person(usize, Option<Timestamp>),
    /// Nothing: all are done.
    Done,
    /// This step failed for good, and those before have to be undone.
    Failed(usize),
    /// Nothing: all that ran are undone.
    Undone,
    /// This step could not be undone.
    Stuck(usize),
}

/// What came of asking others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done(String),
    /// They are at it, and call it this. They may say when to ask.
    Accepted {
        /// What they call it.
        operation: Option<String>,
        /// When to ask, counted from now.
        after: Option<Duration>,
        /// Where to ask.
        ask_at: Option<String>,
    },
    /// It is not done yet, and may be later.
    NotYet {
        /// Why.
        why: String,
        /// Not before so long.
        after: Option<Duration>,
    },
    /// It was not done, and may be when it is tried again.
    Retry {
        /// Why.
        why: String,
        /// Not before so long.
        after: Option<Duration>,
    },
    /// They have not said whether it was done. To ask again does it no second time.
    Doubt {
        /// Why.
        why: String,
        /// Not before so long.
        after: Option<Duration>,
    },
    /// It was not done, or they do not know; what it may have left has to be removed, and then it
    /// may be tried again.
    Orphan {
        /// Why.
        why: String,
        /// Whether it may be tried again.
        retries: bool,
    },
    /// It will never be done as it is, and left nothing.
    Refused(String),
}

impl Outcome {
    /// The same in other words.
    #[must_use]
    pub fn in_words(self, words: impl Fn(String) -> String) -> Self {
        match self {
            Self::Done(why) => Self::Done(words(why)),
            Self::Accepted { operation, after, ask_at } => {
                Self::Accepted { operation, after, ask_at }
            }
            Self::NotYet { why, after } => Self::NotYet { why: words(why), after },
            Self::Retry { why, after } => Self::Retry { why: words(why), after },
            Self::Doubt { why, after } => Self::Doubt { why: words(why), after },
            Self::Orphan { why, retries } => Self::Orphan { why: words(why), retries },
            Self::Refused(why) => Self::Refused(words(why)),
        }
    }
}

/// What there is to say of others who are doing what they were asked.
pub const AT_IT: &str = "they are at it";
/// How long to wait before asking again where nobody says.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// How often to try to undo or to remove something before somebody has to look at it.
const UNDO_TRIES: u32 = 12;
/// The longest wait between two tries to undo.
const UNDO_WAIT_MAX: Duration = Duration::from_secs(3_600);

impl Step {
    /// One that has not begun.
    #[must_use]
    pub fn new(plan: StepPlan) -> Self {
        Self { plan, run: StepRun::default() }
    }

    /// The same to be done once more to what it made.
    #[must_use]
    pub fn anew(&self) -> Self {
        let StepRun { instance, generation, .. } = self.run.clone();
        Self {
            plan: self.plan.clone(),
            run: StepRun { instance, generation, ..StepRun::default() },
        }
    }

    /// Whether it holds nothing up.
    fn is_past(&self) -> bool {
        matches!(self.run.stage, StepStage::Succeeded | StepStage::Skipped)
    }

    fn deadline(&self) -> Option<Timestamp> {
        // A pause takes as long as it is told to.
        let is_pause = matches!(self.plan.kind, StepKind::Wait { .. });
        let since = self.run.since.filter(|_| !is_pause)?;
        Some(since.plus(Duration::from_secs(self.plan.timeout_s)))
    }

    fn is_late(&self, now: Timestamp) -> bool {
        self.deadline().is_some_and(|deadline| now >= deadline)
    }

    /// The same as it begins: before anything is asked of others, so that it is known that it may have
    /// been asked.
    #[must_use]
    pub fn begun(&self, doing: Doing, now: Timestamp) -> Self {
        let run = &self.run;
        let stage = match doing {
            Doing::Do => StepStage::Running,
            Doing::Undo => StepStage::Undoing,
            _ => run.stage,
        };
        let since = match stage == run.stage {
            true => run.since.or(Some(now)),
            false => Some(now),
        };
        let asked = run.asked + u32::from(!doing.is_question());
        // Whoever asked before has not said what came of it.
        let doubtful = run.doubtful
            || (doing == Doing::Do && run.stage == StepStage::Running && run.asked > 0);
        let run = StepRun { stage, since, asked, doubtful, due_at: None, ..run.clone() };
        Self { plan: self.plan.clone(), run }
    }

    /// The same after others were asked.
    #[must_use]
    pub fn after(&self, doing: Doing, outcome: Outcome, now: Timestamp, luck: f64) -> Self {
        let run = match doing {
            Doing::Do | Doing::Ask => self.after_doing(outcome, now, luck),
            Doing::Clean | Doing::AskCleaned => self.after_cleaning(&outcome, now, luck),
            Doing::Undo | Doing::AskUndone => self.after_undoing(outcome, now, luck),
        };
        Self { plan: self.plan.clone(), run }
    }

    fn after_doing(&self, outcome: Outcome, now: Timestamp, luck: f64) -> StepRun {
        let run = &self.run;
        match outcome {
            Outcome::Done(detail) => self.over(StepStage::Succeeded, detail),
            Outcome::Accepted { operation, after, ask_at } if !self.is_late(now) => StepRun {
                stage: StepStage::Waiting,
                tries: 0,
                due_at: Some(now.plus(after.unwrap_or(ASK_AGAIN))),
                operation: operation.or_else(|| run.operation.clone()),
                ask_at: ask_at.or_else(|| run.ask_at.clone()),
                detail: Some(AT_IT.into()),
                ..run.clone()
            },
            Outcome::NotYet { why, after } if !self.is_late(now) => StepRun {
                due_at: Some(now.plus(after.unwrap_or(ASK_AGAIN))),
                detail: Some(why),
                ..run.clone()
            },
            Outcome::Accepted { .. } | Outcome::NotYet { .. } => {
                let why = format!("it was not done within {} s", self.plan.timeout_s);
                self.orphaned(why, false, now)
            }
            Outcome::Retry { why, after } => match self.wait(run.tries, luck) {
                Some(wait) if !self.is_late(now) => {
                    self.waits(why, wait.max(after.unwrap_or_default()), now)
                }
                _ => self.gives_up(why, now),
            },
            Outcome::Doubt { why, after } => {
                let doubtful = StepRun { doubtful: true, ..run.clone() };
                let again = Self { plan: self.plan.clone(), run: doubtful };
                again.after_doing(Outcome::Retry { why, after }, now, luck)
            }
            Outcome::Orphan { why, retries } => {
                let has_tries = self.wait(run.tries, luck).is_some() && !self.is_late(now);
                self.orphaned(why, retries && has_tries, now)
            }
            Outcome::Refused(why) if run.doubtful => self.orphaned(why, false, now),
            Outcome::Refused(why) => self.failed(why),
        }
    }

    fn waits(&self, why: String, wait: Duration, now: Timestamp) -> StepRun {
        let run = self.run.clone();
        StepRun { tries: run.tries + 1, due_at: Some(now.plus(wait)), detail: Some(why), ..run }
    }

    /// It will not be done. What others are at, or may have done, may be there.
    fn gives_up(&self, why: String, now: Timestamp) -> StepRun {
        match self.run.stage == StepStage::Waiting || self.run.doubtful {
            true => self.orphaned(why, false, now),
            false => self.failed(why),
        }
    }

    fn after_cleaning(&self, outcome: &Outcome, now: Timestamp, luck: f64) -> StepRun {
        let run = &self.run;
        match outcome {
            Outcome::Done(_) if run.stage == StepStage::Cleaning => StepRun {
                stage: StepStage::Pending,
                generation: run.generation + 1,
                tries: run.tries + 1,
                doubtful: false,
                removing: false,
                instance: None,
                operation: None,
                ask_at: None,
                due_at: Some(now.plus(self.wait(run.tries, luck).unwrap_or_default())),
                ..run.clone()
            },
            Outcome::Done(_) => {
                let why = run.detail.clone().unwrap_or_default();
                let generation = run.generation + 1;
                StepRun { generation, doubtful: false, ..self.failed(why) }
            }
            Outcome::Accepted { operation, after, ask_at } => StepRun {
                removing: true,
                due_at: Some(now.plus(after.unwrap_or(ASK_AGAIN))),
                operation: operation.clone(),
                ask_at: ask_at.clone(),
                ..run.clone()
            },
            // It goes on, until it has taken so long that it is asked for anew.
            Outcome::NotYet { after, .. } if !self.is_late(now) => {
                StepRun { due_at: Some(now.plus(after.unwrap_or(ASK_AGAIN))), ..run.clone() }
            }
            Outcome::NotYet { after, .. }
            | Outcome::Doubt { after, .. }
            | Outcome::Retry { after, .. } => {
                // What may be there is never forgotten: it is removed until that is so.
                let wait =
                    undo_wait(run.generation.min(6) + 1, luck).max(after.unwrap_or_default());
                StepRun { removing: false, due_at: Some(now.plus(wait)), ..run.clone() }
            }
            Outcome::Orphan { .. } => {
                let due_at = Some(now.plus(undo_wait(run.generation.min(6) + 1, luck)));
                StepRun { removing: false, due_at, ..run.clone() }
            }
            // Somebody has to look at it.
            Outcome::Refused(why) => self.over(StepStage::UndoFailed, why.clone()),
        }
    }

    fn after_undoing(&self, outcome: Outcome, now: Timestamp, luck: f64) -> StepRun {
        let run = &self.run;
        match outcome {
            Outcome::Done(detail) => self.over(StepStage::Undone, detail),
            Outcome::Accepted { operation, after, ask_at } => StepRun {
                stage: StepStage::UndoWaiting,
                due_at: Some(now.plus(after.unwrap_or(ASK_AGAIN))),
                operation,
                ask_at,
                ..run.clone()
            },
            Outcome::NotYet { why, after } if !self.is_late(now) => StepRun {
                due_at: Some(now.plus(after.unwrap_or(ASK_AGAIN))),
                detail: Some(why),
                ..run.clone()
            },
            Outcome::NotYet { why, after }
            | Outcome::Doubt { why, after }
            | Outcome::Retry { why, after } => {
                let tries = run.tries + 1;
                if tries >= UNDO_TRIES {
                    return StepRun { tries, ..self.over(StepStage::UndoFailed, why) };
                }
                let wait = undo_wait(tries, luck).max(after.unwrap_or_default());
                let due_at = Some(now.plus(wait));
                StepRun {
                    stage: StepStage::Undoing,
                    tries,
                    due_at,
                    detail: Some(why),
                    ..run.clone()
                }
            }
            Outcome::Orphan { why, .. } => {
                let again = Outcome::Retry { why, after: None };
                self.after_undoing(again, now, luck)
            }
            Outcome::Refused(why) => self.over(StepStage::UndoFailed, why),
        }
    }

    /// What a person said of a step that is theirs, or that is held.
    #[must_use]
    pub fn told(&self, by: &str, done: bool, why: &str, now: Timestamp) -> Self {
        let detail = match why.trim() {
            "" => format!("{by} said so"),
            why => format!("{by}: {why}"),
        };
        let run = match (self.run.stage, done) {
            (StepStage::Held, _) => {
                StepRun { stage: StepStage::CleaningUp, due_at: Some(now), ..self.run.clone() }
            }
            (StepStage::Undoing | StepStage::UndoWaiting | StepStage::UndoFailed, true) => {
                self.over(StepStage::Undone, detail)
            }
            (StepStage::Undoing | StepStage::UndoWaiting, false) => {
                self.over(StepStage::UndoFailed, detail)
            }
            (_, true) => self.over(StepStage::Succeeded, detail),
            (_, false) => self.failed(detail),
        };
        Self { plan: self.plan.clone(), run }
    }

    /// Set going again by a person, after it could not be undone.
    #[must_use]
    pub fn retried(&self, now: Timestamp) -> Self {
        let run = StepRun {
            stage: StepStage::Undoing,
            tries: 0,
            since: Some(now),
            due_at: Some(now),
            ..self.run.clone()
        };
        Self { plan: self.plan.clone(), run }
    }

    fn over(&self, stage: StepStage, detail: String) -> StepRun {
        StepRun { stage, due_at: None, detail: Some(detail), ..self.run.clone() }
    }

    fn failed(&self, why: String) -> StepRun {
        let stage = if self.plan.required { StepStage::Failed } else { StepStage::Skipped };
        self.over(stage, why)
    }

    /// What may be there has to go before anything else is done.
    fn orphaned(&self, why: String, retries: bool, now: Timestamp) -> StepRun {
        if !self.plan.kind.leaves_something() {
            return self.failed(why);
        }
        let holds = matches!(self.plan.kind, StepKind::Broker { clean_up: CleanUp::Hold, .. });
        let (stage, due_at) = match (holds, retries) {
            (true, _) => (StepStage::Held, None),
            (false, true) => (StepStage::Cleaning, Some(now)),
            (false, false) => (StepStage::CleaningUp, Some(now)),
        };
        StepRun { stage, due_at, detail: Some(why), ..self.run.clone() }
    }

    fn wait(&self, tries: u32, luck: f64) -> Option<Duration> {
        let wait = self.plan.waits_s.get(usize::try_from(tries).ok()?)?;
        Some(Duration::from_secs(*wait).mul_f64(1.0 + 0.1 * luck.clamp(-1.0, 1.0)))
    }
}

fn undo_wait(tries: u32, luck: f64) -> Duration {
    let wait = Duration::from_secs(5).saturating_mul(2_u32.saturating_pow(tries.min(12)));
    wait.min(UNDO_WAIT_MAX).mul_f64(1.0 + 0.1 * luck.clamp(-1.0, 1.0))
}

impl Course {
    /// What is next of these steps.
    #[must_use]
    pub fn next(self, steps: &[Step], now: Timestamp) -> Next {
        match self {
            Self::Forward => forward(steps, now),
            Self::Back => back(steps, now),
        }
    }

    /// Whether everything is done that has to be before it is in force.
    #[must_use]
    pub fn is_ready(steps: &[Step]) -> bool {
        steps.iter().filter(|step| step.plan.required).all(Step::is_past)
    }
}

fn forward(steps: &[Step], now: Timestamp) -> Next {
    let Some((number, step)) = steps.iter().enumerate().find(|(_, step)| !step.is_past()) else {
        return Next::Done;
    };
    let due = step.run.due_at.unwrap_or(now);
    match step.run.stage {
        StepStage::Pending | StepStage::Running => match &step.plan.kind {
            StepKind::Manual { .. } if step.run.stage == StepStage::Running => {
                Next::Person(number, step.deadline())
            }
            _ => Next::Step(number, Doing::Do, due),
        },
        StepStage::Waiting => Next::Step(number, Doing::Ask, due),
        StepStage::Cleaning | StepStage::CleaningUp if step.run.removing => {
            Next::Step(number, Doing::AskCleaned, due)
        }
        StepStage::Cleaning | StepStage::CleaningUp => Next::Step(number, Doing::Clean, due),
        StepStage::Held => Next::Person(number, None),
        _ => Next::Failed(number),
    }
}

fn back(steps: &[Step], now: Timestamp) -> Next {
    for (number, step) in steps.iter().enumerate().rev() {
        let due = step.run.due_at.unwrap_or(now);
        let is_manual = matches!(step.plan.kind, StepKind::Manual { .. });
        match step.run.stage {
            StepStage::Undoing if is_manual => return Next::Person(number, step.deadline()),
            StepStage::Undoing => return Next::Step(number, Doing::Undo, due),
            StepStage::UndoWaiting => return Next::Step(number, Doing::AskUndone, due),
            StepStage::UndoFailed => return Next::Stuck(number),
            StepStage::Held => return Next::Person(number, None),
            stage if stage.may_have_left_something() && step.plan.kind.leaves_something() => {
                return Next::Step(number, Doing::Undo, now);
            }
            _ => {}
        }
    }
    Next::Undone
}
