//! Signing in by an identity provider: people come to be known here as the provider knows them.

use std::sync::Arc;

use super::{App, Call, Error, KeptUser, Opened, users};
use crate::{
    oidc::{Callback, Draw, Oidc, OidcError, PendingSignIn, SignedIn},
    store::{CommitError, Note},
    workflow::{Kind, ObjectId, Origin, Write, people::User, sign_in::Credentials},
};

/// Where a browser goes, and what it keeps until it comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// The provider's address.
    pub url: String,
    /// What the browser keeps.
    pub browser: String,
}

impl App {
    fn provider(&self) -> Result<&Arc<Oidc>, Error> {
        let missing = || Error::NotFound("no identity provider is set up: see `--oidc`".into());
        self.0.oidc.as_ref().ok_or_else(missing)
    }

    /// Sends a browser to the identity provider.
    ///
    /// # Errors
    /// Where none is set up, or it does not answer.
    pub async fn leave_to_sign_in(&self, return_to: &str) -> Result<Away, Error> {
        let now = self.now();
        let started = self.provider()?.start(&Draw::new()?, return_to, now).await?;
        let json = serde_json::to_string(&started.pending)
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        let (state_hash, expires_at) = (started.pending.state_hash, started.pending.expires_at);
        let keep = Note::PendingSignIn { state_hash, json, expires_at };
        self.store().note(vec![keep]).await?;
        Ok(Away { url: started.url, browser: started.browser })
    }

    /// Signs in whoever comes back from the identity provider, and says where they wanted to go.
    ///
    /// # Errors
    /// Why nobody is signed in.
    pub async fn return_signed_in(
        &self,
        call: &Call,
        query: &str,
        browser: &str,
        agent: Option<String>,
    ) -> Result<(Opened, String), Error> {
        let provider = self.provider()?;
        let callback = Callback::read(query)?;
        // It is taken out before anything else: it is for once, whatever comes of it.
        let kept = self.store().take_pending(callback.state_hash()).await?;
        let kept = kept.ok_or(OidcError::Stale)?;
        let pending: PendingSignIn =
            serde_json::from_str(&kept).map_err(|error| Error::Unavailable(error.to_string()))?;
        let person = provider.finish(pending, &callback, browser, self.now()).await?;
        let user = self.known(call, &person).await?;
        let opened = self.open_session(call, &user, agent, "sign_in_by_provider").await?;
        Ok((opened, person.return_to))
    }

    /// The user that somebody is here, with the roles that the provider's groups give.
    async fn known(&self, call: &Call, person: &SignedIn) -> Result<String, Error> {
        loop {
            let origin = Origin {
                actor: format!("provider:{}", person.identity.issuer),
                ..call.origin("learn_from_provider", self.now())
            };
            let found = self.find(person).await?;
            if let Some(kept) = &found {
                if kept.user.disabled {
                    return Err(Error::Refused("you may not sign in here any more".into()));
                }
                if kept.user == as_known(kept.user.clone(), person) {
                    return Ok(kept.id.clone());
                }
            }
            let (id, changes) = self.learn(origin, found, person).await?;
            match self.store().commit(changes).await {
                Ok(_) => return Ok(id),
                Err(CommitError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// By what the provider calls them; by their address where nobody else has been there first.
    async fn find(&self, person: &SignedIn) -> Result<Option<KeptUser>, Error> {
        let users = self.users().await?;
        let same = |kept: &&KeptUser| kept.user.identity.as_ref() == Some(&person.identity);
        if let Some(kept) = users.iter().find(same) {
            return Ok(Some(kept.clone()));
        }
        let Some(kept) = users.into_iter().find(|kept| kept.user.email == person.email) else {
            return Ok(None);
        };
        // An address may pass to somebody else; what the provider calls them never does.
        if kept.user.identity.is_some() {
            return Err(Error::Refused(format!(
                "`{}` is somebody else here: ask a Super Admin to remove them first",
                person.email
            )));
        }
        Ok(Some(kept))
    }

    async fn learn(
        &self,
        origin: Origin,
        found: Option<KeptUser>,
        person: &SignedIn,
    ) -> Result<(String, crate::workflow::Changeset), Error> {
        let mut changes = origin.changeset(format!("user {}", person.email));
        let (id, expected, user, credentials) = match found {
            Some(kept) => {
                let stored = self.stored_user(&kept.id, super::Expected::At(kept.revision)).await?;
                (kept.id, Some(kept.revision), kept.user, users::credentials(&stored)?)
            }
            None => {
                let roles = person.roles.clone();
                let user = User::new(&person.email, &person.name, roles, changes.origin.at)
                    .map_err(Error::InvalidInput)?;
                changes.writes.extend([self.addresses_touched().await?]);
                (crate::ids::key_id()?, None, user, Credentials::default())
            }
        };
        let record = users::record(&as_known(user, person), &credentials)?;
        let write = Write { expected, after: Some(record) };
        changes.writes.insert(ObjectId::new(Kind::User, id.as_str()), write);
        Ok((id, changes))
    }
}

/// A user as the provider knows them.
fn as_known(user: User, person: &SignedIn) -> User {
    User {
        roles: person.roles.clone(),
        identity: Some(person.identity.clone()),
        email: person.email.clone(),
        ..user
    }
}

impl From<OidcError> for Error {
    fn from(error: OidcError) -> Self {
        if let Some(reason) = error.reason() {
            tracing::warn!(reason, "a sign-in by the identity provider failed");
        }
        Self::SignInFailed(error.to_string())
    }
}
