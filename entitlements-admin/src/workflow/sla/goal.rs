//! What is promised: a goal for each thing that people wait for, by priority.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::workflow::connector::line;

/// What people wait for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// That somebody looks at it: from its submission to the first word of somebody else.
    FirstResponse,
    /// That it is decided: from its submission to the approval, rejection or end.
    Approval,
    /// That it is in force: from its approval, or from the start that was asked for, to the end of
    /// provisioning.
    Fulfilment,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 3] = [Self::FirstResponse, Self::Approval, Self::Fulfilment];

    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::FirstResponse => "first_response",
            Self::Approval => "approval",
            Self::Fulfilment => "fulfilment",
        }
    }
}

/// How long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// So many minutes of work.
    Minutes(u32),
    /// To the end of the day of work, so many such days later.
    EndOfDay(u32),
}

/// One promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    /// What is waited for.
    pub metric: Metric,
    /// How long it may take.
    pub target: Target,
    /// By which calendar; around the clock where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<String>,
    /// Whether the clock stands still while the requester is asked for something.
    #[serde(default = "yes")]
    pub pauses: bool,
    /// At which parts of the time people hear of it, in percent.
    #[serde(default = "quarters")]
    pub warn_percent: BTreeSet<u16>,
}

const fn yes() -> bool {
    true
}

fn quarters() -> BTreeSet<u16> {
    BTreeSet::from([50, 75, 100, 150])
}

/// What is promised for requests. Priorities that are not named have the goals of `normal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sla {
    /// What people call it.
    pub name: String,
    /// The goals by priority, such as `normal` and `urgent`.
    pub goals: BTreeMap<String, Vec<Goal>>,
}

/// The longest target, in minutes of work.
const MINUTES_MAX: u32 = 525_600;
/// The longest target, in days of work.
const DAYS_MAX: u32 = 365;
/// The most that a warning may lie beyond the target, in percent.
const PERCENT_MAX: u16 = 1_000;
/// The most warnings of one goal.
const WARNINGS_MAX: usize = 8;
/// The most priorities.
const PRIORITIES_MAX: usize = 8;

impl Sla {
    /// What holds for a priority.
    #[must_use]
    pub fn goals_for(&self, priority: &str) -> &[Goal] {
        let found = self.goals.get(priority).or_else(|| self.goals.get("normal"));
        found.map(Vec::as_slice).unwrap_or_default()
    }

    /// What is wrong with it first. `calendars` are those that there are.
    ///
    /// # Errors
    /// Where something is: also what could never begin to count, or would never end.
    pub fn check(&self, calendars: &BTreeSet<String>) -> Result<(), String> {
        line("name", &self.name)?;
        if !self.goals.contains_key("normal") {
            return Err(
                "`goals.normal` is missing: most requests would have no goal, and no clock \
                        would ever run"
                    .into(),
            );
        }
        if self.goals.len() > PRIORITIES_MAX {
            return Err(format!("`goals` takes {PRIORITIES_MAX} priorities at the most"));
        }
        for (priority, goals) in &self.goals {
            line("goals", priority)?;
            let path = format!("goals.{priority}");
            if goals.is_empty() {
                return Err(format!("`{path}` is empty: it would never count anything"));
            }
            let mut seen = BTreeSet::new();
            for goal in goals {
                let code = goal.metric.code();
                if !seen.insert(code) {
                    return Err(format!(
                        "`{path}` has `{code}` twice: the second would never be looked at"
                    ));
                }
                goal.check(&format!("{path}.{code}"), calendars)?;
            }
        }
        Ok(())
    }
}

impl Goal {
    fn check(&self, path: &str, calendars: &BTreeSet<String>) -> Result<(), String> {
        match self.target {
            Target::Minutes(minutes) if !(1..=MINUTES_MAX).contains(&minutes) => {
                return Err(format!("`{path}.target`: use 1 to {MINUTES_MAX} minutes"));
            }
            Target::EndOfDay(days) if days > DAYS_MAX => {
                return Err(format!("`{path}.target`: use {DAYS_MAX} days at the most"));
            }
            Target::EndOfDay(_) if self.calendar.is_none() => {
                return Err(format!(
                    "`{path}.target`: around the clock no day of work ends: name a `calendar`"
                ));
            }
            _ => {}
        }
        if let Some(calendar) = self.calendar.as_ref().filter(|key| !calendars.contains(*key)) {
            return Err(format!("`{path}.calendar`: there is no calendar `{calendar}`"));
        }
        let percent = &self.warn_percent;
        if percent.len() > WARNINGS_MAX || percent.iter().any(|at| !(1..=PERCENT_MAX).contains(at))
        {
            return Err(format!(
                "`{path}.warn_percent` takes {WARNINGS_MAX} parts from 1 to {PERCENT_MAX}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(metric: Metric, target: Target) -> Goal {
        Goal { metric, target, calendar: None, pauses: true, warn_percent: quarters() }
    }

    fn sla(goals: &[(&str, Vec<Goal>)]) -> Sla {
        let goals = goals.iter().map(|(priority, goals)| ((*priority).into(), goals.clone()));
        Sla { name: "Standard".into(), goals: goals.collect() }
    }

    #[test]
    fn what_could_never_count_or_end_is_refused() {
        let hour = || goal(Metric::Approval, Target::Minutes(60));
        let calendars = BTreeSet::from(["support".to_owned()]);
        assert_eq!(sla(&[("normal", vec![hour()])]).check(&calendars), Ok(()));
        let with = |change: &dyn Fn(&mut Goal)| {
            let mut changed = hour();
            change(&mut changed);
            sla(&[("normal", vec![changed])])
        };
        for (wrong, said) in [
            (sla(&[("urgent", vec![hour()])]), "`goals.normal` is missing"),
            (sla(&[("normal", vec![])]), "never count anything"),
            (sla(&[("normal", vec![hour(), hour()])]), "`approval` twice"),
            (with(&|goal| goal.target = Target::Minutes(0)), "use 1 to"),
            (with(&|goal| goal.target = Target::EndOfDay(1)), "name a `calendar`"),
            (with(&|goal| goal.calendar = Some("none".into())), "there is no calendar `none`"),
            (with(&|goal| goal.warn_percent = BTreeSet::from([0])), "`goals.normal.approval.warn"),
        ] {
            let why = wrong.check(&calendars).unwrap_err();
            assert!(why.contains(said), "{why}");
        }
    }

    #[test]
    fn a_priority_that_is_not_named_has_the_usual_goals() {
        let long = vec![goal(Metric::Approval, Target::Minutes(600))];
        let short = vec![goal(Metric::Approval, Target::Minutes(60))];
        let sla = sla(&[("normal", long.clone()), ("urgent", short.clone())]);
        assert_eq!((sla.goals_for("urgent"), sla.goals_for("low")), (&short[..], &long[..]));
    }
}
