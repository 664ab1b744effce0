//! Sign-in by `OpenID` Connect: authorization code with PKCE, at one provider.
//!
//! [`Oidc::start`] says where to send the browser and what to keep, [`Oidc::finish`] takes what the
//! browser comes back with and says who that is. What is kept belongs into the store, under the
//! hash of its state, and must be taken out of it, so that it is used once.

mod claims;
mod config;
mod pending;
mod provider;

use entitlements_outbound::ClientError;

pub use self::{
    claims::SignedIn,
    config::{CALLBACK_PATH, OidcConfig},
    pending::{Callback, Draw, PENDING_AGE_MAX, PendingSignIn, return_path, state_hash},
    provider::{Oidc, Started},
};

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The provider cannot be asked. The reason is for the log.
    #[error("the identity provider does not answer now: try again in a moment")]
    Unreachable(#[source] ClientError),
    /// The provider speaks otherwise than the standard says. The reason is for the log.
    #[error("the identity provider's answer is not understood: tell an administrator")]
    Malformed(String),
    /// The provider does not know this program, or not so. The reason is for the log.
    #[error("the identity provider refuses this program: tell an administrator")]
    Setup(String),
    /// The person said no to the provider.
    #[error("the sign-in was cancelled at the identity provider: start again")]
    Cancelled,
    /// The provider said no.
    #[error("the identity provider refused the sign-in ({0}): start again, or ask there")]
    Refused(String),
    /// It was not begun here, is used already, or took too long.
    #[error("this sign-in took too long or was used already: start again")]
    Stale,
    /// It was begun by another browser.
    #[error("this sign-in was begun in another browser: start again in this one")]
    OtherBrowser,
    /// What the provider sent cannot be trusted. The reason is for the log.
    #[error("the identity provider's answer cannot be trusted: start again")]
    Untrusted(String),
    /// The provider does not say the address.
    #[error("the identity provider does not tell your email address: ask there to release it")]
    NoEmail,
    /// The provider does not vouch for the address.
    #[error("`{0}` is not confirmed at the identity provider: confirm it there, then start again")]
    Unconfirmed(String),
    /// None of the person's groups has a role here.
    #[error("`{0}` is in no group that has a role here: ask an administrator")]
    NoRole(String),
}

impl OidcError {
    /// What only the operator should read.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Unreachable(error) => Some(error.to_string()),
            Self::Malformed(why) | Self::Setup(why) | Self::Untrusted(why) => Some(why.clone()),
            _ => None,
        }
    }
}
