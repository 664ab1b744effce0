//! How long people may wait: goals, the hours that count, and the clock that says how far it is.
//!
//! A clock is never a counter. It is worked out from what happened, so that it can be explained
//! minute by minute, and so that it is the same however often it is looked at.

mod calendar;
mod clock;
mod goal;

pub use self::{
    calendar::{Calendar, Hours, PastWeek, WorkTime, WorkWeek},
    clock::{Clock, ClockState, Mark, MarkKind, Span, SpanWhy, clock, crossings, spans},
    goal::{Goal, Metric, Sla, Target},
};
