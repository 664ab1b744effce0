//! What may happen, as plain values and pure functions: no clock, no store, no network.

pub mod catalog;
pub mod changeset;
pub mod draft;
pub mod publication;
pub mod tenants;
pub mod tokens;

use entitlements_core::Problem;

pub use self::{
    changeset::{CatalogChange, Changeset, TenantChange, TokenChange},
    tokens::{Scope, Token},
};

/// Who asked, for what, and when: the part of a changeset that every command has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who asked.
    pub actor: String,
    /// The stable word for what was asked.
    pub command: &'static str,
    /// When.
    pub at: entitlements_core::Timestamp,
}

impl Origin {
    /// A changeset that changes nothing yet.
    #[must_use]
    pub fn changeset(self, subject: String) -> Changeset {
        Changeset {
            actor: self.actor,
            command: self.command,
            subject,
            at: self.at,
            catalog_read: None,
            catalog: None,
            tenants: std::collections::BTreeMap::new(),
            tokens: Vec::new(),
        }
    }
}

/// Puts a problem below a path: `name` below `tenants.acme` is `tenants.acme.name`.
fn below(path: &str, problem: Problem) -> Problem {
    let path =
        if problem.path.is_empty() { path.into() } else { format!("{path}.{}", problem.path) };
    Problem { path, ..problem }
}
