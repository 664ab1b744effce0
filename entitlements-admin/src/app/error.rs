//! What can go wrong, without a word about how it is transported.

use entitlements_core::Problem;

use crate::{
    store::{Conflict, ReadError},
    workflow::{Permission, publication::Refusal, sign_in::Wait},
};

/// Why the application did not do what it was asked.
///
/// The text of each is for the caller. What only the operator should read goes to the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody knows who is asking.
    #[error("send a service key: `Authorization: Bearer ent_…`, or sign in")]
    Unauthenticated,
    /// The key has expired.
    #[error("the key has expired: ask for a new one")]
    Expired,
    /// The address or the password is not right.
    #[error("the address or the password is not right")]
    WrongSignIn,
    /// The identity provider did not sign anybody in.
    #[error("{0}")]
    SignInFailed(String),
    /// Too many passwords were wrong of late.
    #[error("{0}")]
    TooMany(Wait),
    /// It is about a browser's session, and there is none.
    #[error("this is about a signed-in browser: sign in first")]
    NoSession,
    /// A page of another site may have sent it.
    #[error("{0}")]
    CrossSite(String),
    /// Whoever asks may not do this.
    #[error("this takes {}", needs.people())]
    Forbidden {
        /// What it takes.
        needs: Permission,
    },
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It is no longer what the caller thinks it is.
    #[error("{0}; read it again, and send the change with its new revision")]
    Conflict(Box<Conflict>),
    /// The request's name was used for another one.
    #[error("{0}")]
    KeyReused(String),
    /// It cannot be done as things stand.
    #[error("{0}")]
    Refused(String),
    /// A draft is not so far, or must not go there.
    #[error("{0}")]
    Publication(#[from] Refusal),
    /// Somebody else has to look at the change first.
    #[error(
        "a change of the catalog needs approval here: make a draft of it (`POST /v1/drafts`) and \
         submit it, or break the glass with a reason"
    )]
    ApprovalRequired,
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
