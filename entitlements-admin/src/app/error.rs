//! What can go wrong, without a word about how it is transported.

use entitlements_core::Problem;

use super::Access;
use crate::store::{Conflict, ReadError};

/// Why the application did not do what it was asked.
///
/// The text of each is for the caller. What only the operator should read goes to the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody knows who is asking.
    #[error("send an access token: `Authorization: Bearer ent_…`")]
    Unauthenticated,
    /// The token does not open this.
    #[error("this takes {}, your token is for `{has}`", needs.people())]
    Forbidden {
        /// What it takes.
        needs: Access,
        /// What the token has.
        has: &'static str,
    },
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It is no longer what the caller thinks it is.
    #[error("{0}; read it again, and send the change with its new revision")]
    Conflict(Box<Conflict>),
    /// It cannot be done as things stand.
    #[error("{0}")]
    Refused(String),
    /// The catalog is wrong.
    #[error("the catalog was not imported, {} to be put right", count(.0))]
    InvalidCatalog(Vec<Problem>),
    /// Tenants are wrong under the catalog.
    #[error("nothing was changed, {} to be put right", count(.0))]
    InvalidTenants(Vec<Problem>),
    /// Something else in the input is wrong.
    #[error("{0}")]
    InvalidInput(String),
    /// Others keep changing the same thing.
    #[error("others are changing the same things: try again")]
    Busy,
    /// The service cannot do it now. The text is for the log.
    #[error("{0}")]
    Unavailable(String),
}

fn count(problems: &[Problem]) -> String {
    match problems.len() {
        1 => "1 problem is".into(),
        many => format!("{many} problems are"),
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
