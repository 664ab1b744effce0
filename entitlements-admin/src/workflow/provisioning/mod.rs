//! What is done before something is in force, and how it is undone: steps, one after the other.
//!
//! What is due next and what an outcome leads to stands here; sending anything does not. A step that
//! failed is tried again alone; one that failed for good undoes those that ran, the last one first.

mod plan;
mod run;
#[cfg(test)]
mod tests;

pub use self::{
    plan::{CleanUp, StepKind, StepPlan},
    run::{AT_IT, Action, Course, Doing, Next, Outcome, Step, StepRun, StepStage},
};
