//! What may happen, as plain values and pure functions: no clock, no store, no network.

pub mod barrier;
pub mod catalog;
pub mod changeset;
pub mod doors;
pub mod draft;
pub mod fleet;
pub mod key;
pub mod people;
pub mod permission;
pub mod publication;
pub mod settings;
pub mod sign_in;
pub mod tenants;

use entitlements_core::Problem;

pub use self::{
    changeset::{
        Answer, Changeset, IdempotencyKey, Kind, ObjectId, Origin, Record, SessionChange,
        SessionRow, Write,
    },
    key::{Key, Scope},
    permission::Permission,
};

/// Puts a problem below a path: `name` below `tenants.acme` is `tenants.acme.name`.
fn below(path: &str, problem: Problem) -> Problem {
    let path =
        if problem.path.is_empty() { path.into() } else { format!("{path}.{}", problem.path) };
    Problem { path, ..problem }
}
