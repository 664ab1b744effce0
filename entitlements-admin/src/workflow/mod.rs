//! What may happen, as plain values and pure functions: no clock, no store, no network.

pub mod approval;
pub mod barrier;
pub mod catalog;
pub mod changeset;
pub mod civil;
pub mod connector;
pub mod delivery;
pub mod doors;
pub mod draft;
pub mod edges;
pub mod fleet;
pub mod holding;
pub mod key;
pub mod lane;
pub mod listing;
pub mod notice;
pub mod people;
pub mod permission;
pub mod prose;
pub mod provisioning;
pub mod publication;
pub mod request;
pub mod routing;
pub mod settings;
pub mod sign_in;
pub mod sla;
pub mod task;
pub mod template;
pub mod tenants;
pub mod watch;
pub mod who;

use entitlements_core::Problem;

pub use self::{
    changeset::{
        Answer, Changeset, IdempotencyKey, Index, Kind, ObjectId, Origin, Record, Redrive,
        SessionChange, SessionRow, Write,
    },
    key::{Key, Scope},
    notice::Notice,
    permission::Permission,
};

/// Puts a problem below a path: `name` below `tenants.acme` is `tenants.acme.name`.
fn below(path: &str, problem: Problem) -> Problem {
    let path =
        if problem.path.is_empty() { path.into() } else { format!("{path}.{}", problem.path) };
    Problem { path, ..problem }
}
