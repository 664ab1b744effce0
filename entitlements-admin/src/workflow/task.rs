//! Follow-ups: what was opened elsewhere for a subject, such as an issue, and whether it is done.
//!
//! A connector that tracks has one open follow-up for a subject. Those that do not still remember
//! their first message about it, so that later ones can be tied to it.

use entitlements_core::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::notice::Phase;

/// Whether there is still something to do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// There is.
    Open,
    /// There is not.
    Closed,
}

impl TaskState {
    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// What was opened elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id here.
    pub id: String,
    /// By which connector.
    pub connector: String,
    /// For what.
    pub subject: String,
    /// Whether there is still something to do.
    pub state: TaskState,
    /// Which delivery opened it.
    pub opened_by: String,
    /// What it is called there.
    pub external: External,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was last changed.
    pub changed_at: Timestamp,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// Whether it is shown to people: a message in a thread is not.
    pub is_shown: bool,
}

/// What something is called elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct External {
    /// Its id there: an issue's key, a record's number, a message's time.
    pub id: String,
    /// What else its connector needs to find it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// Where people see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What to do elsewhere about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Make something.
    Open,
    /// Go on with what this delivery has made already.
    Finish,
    /// Say it there, and open it again.
    Reopen,
    /// Say it there.
    Comment,
    /// Say it there, and close it.
    Close,
    /// Nothing: there is nothing there that could be closed.
    Nothing,
}

/// What to do about a message, given what there is for its subject. `delivery` is the one that is
/// being worked on; `reopens` is for how long something closed is opened again.
#[must_use]
pub fn action(
    task: Option<&Task>,
    phase: Phase,
    delivery: &str,
    reopens: Duration,
    now: Timestamp,
) -> Action {
    let Some(task) = task else {
        return if phase == Phase::Closes { Action::Nothing } else { Action::Open };
    };
    if task.opened_by == delivery {
        return Action::Finish;
    }
    match (task.state, phase) {
        (TaskState::Open, Phase::Opens | Phase::Updates) => Action::Comment,
        (TaskState::Open, Phase::Closes) => Action::Close,
        (TaskState::Closed, Phase::Closes) => Action::Nothing,
        (TaskState::Closed, Phase::Opens | Phase::Updates) => {
            let closed_at = task.closed_at.unwrap_or(task.changed_at);
            if now.since(closed_at) < reopens { Action::Reopen } else { Action::Open }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_follow_up_is_opened_and_closed_for_a_subject() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let task = |state, opened_by: &str| Task {
            id: "t".into(),
            connector: "c".into(),
            subject: "s".into(),
            state,
            opened_by: opened_by.into(),
            external: External::default(),
            opened_at: at(0),
            changed_at: at(0),
            closed_at: (state == TaskState::Closed).then_some(at(100)),
            is_shown: true,
        };
        let (open, closed) = (task(TaskState::Open, "d0"), task(TaskState::Closed, "d0"));
        let own = task(TaskState::Open, "d1");
        use Action as A;
        for (task, phase, now, expected) in [
            (None, Phase::Opens, 0, A::Open),
            (None, Phase::Updates, 0, A::Open),
            (None, Phase::Closes, 0, A::Nothing),
            (Some(&own), Phase::Opens, 0, A::Finish),
            (Some(&open), Phase::Opens, 0, A::Comment),
            (Some(&open), Phase::Updates, 0, A::Comment),
            (Some(&open), Phase::Closes, 0, A::Close),
            (Some(&closed), Phase::Closes, 0, A::Nothing),
            (Some(&closed), Phase::Opens, 109, A::Reopen),
            (Some(&closed), Phase::Opens, 110, A::Open),
        ] {
            let found = action(task, phase, "d1", Duration::from_secs(10), at(now));
            assert_eq!(found, expected, "{task:?} {phase:?} at {now}");
        }
    }
}
