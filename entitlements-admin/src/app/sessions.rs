//! Browsers that sign in, stay signed in for a while, and sign out.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use entitlements_core::Timestamp;

use super::{Actor, App, Call, Error, Expected, execute::Decided, parsed, users::credentials};
use crate::{
    ids,
    store::{Note, Reading, SIGN_IN_FAILED},
    workflow::{
        Kind, ObjectId, Origin, SessionChange, SessionRow, key, people::User, permission,
        sign_in::Failures,
    },
};

/// What somebody signs in with.
#[derive(Clone, PartialEq, Eq)]
pub struct SignIn {
    /// Their address.
    pub email: String,
    /// Their password.
    pub password: String,
    /// What the browser calls itself.
    pub agent: Option<String>,
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SignIn({:?})", self.email)
    }
}

/// A browser that has just signed in.
#[derive(Clone)]
pub struct Opened {
    /// What the browser keeps. Only its hash is kept here.
    pub secret: String,
    /// What a page sends with every change.
    pub csrf: String,
    /// Whose it is.
    pub user: String,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({})", self.user)
    }
}

/// How long a noted request of a session stands for the next ones, in microseconds.
const SEEN_NOTED_US: i64 = 60 * 1_000_000;

/// The longest name of a browser that is kept.
const AGENT_BYTES_MAX: usize = 300;

/// Sign-ins that are under way, by address, so that guesses at one do not run side by side.
#[derive(Debug, Default)]
pub(super) struct SignIns(Mutex<BTreeMap<String, ()>>);

impl SignIns {
    fn begin(&self, email: &str) -> Option<Going<'_>> {
        let mut going = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = going.insert(email.into(), ()).is_none();
        is_first.then(|| Going { all: self, email: email.into() })
    }
}

struct Going<'s> {
    all: &'s SignIns,
    email: String,
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.email);
    }
}

impl App {
    /// Signs somebody in. What is wrong is never said more exactly than that it is wrong, and takes
    /// as long whether or not there is such a user.
    ///
    /// # Errors
    /// Where the address or the password is not right, or too many were wrong of late.
    pub async fn sign_in(&self, call: &Call, wanted: SignIn) -> Result<Opened, Error> {
        let email = wanted.email.trim().to_ascii_lowercase();
        let _going = self.0.sign_ins.begin(&email).ok_or(Error::Busy)?;
        let now = self.now();
        let noted = email.clone();
        let failures = self.store().read(move |store| store.note(SIGN_IN_FAILED, &noted)).await?;
        let failures = failures.map_or(Failures { count: 0, last_at: now }, |(count, last_at)| {
            Failures { count: u32::try_from(count).unwrap_or(u32::MAX), last_at }
        });
        failures.may_try(now).map_err(Error::TooMany)?;

        let found = self.users().await?.into_iter().find(|kept| kept.user.email == email);
        let found = match found {
            Some(kept) if !kept.user.disabled => Some(kept),
            _ => None,
        };
        let kept = match &found {
            Some(kept) => {
                credentials(&self.stored_user(&kept.id, Expected::Any).await?)?.password_hash
            }
            None => None,
        };
        let fits = self.passwords().fits(wanted.password, kept).await?;
        let Some(user) = found.filter(|_| fits) else {
            return Err(self.failed(call, email, failures, now).await?);
        };
        self.store().note(vec![Note::Forget { topic: SIGN_IN_FAILED, key: email }]).await?;
        self.open_session(call, &user.id, wanted.agent, "sign_in").await
    }

    /// Opens a session for somebody who has shown who they are.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn open_session(
        &self,
        call: &Call,
        user: &str,
        agent: Option<String>,
        command: &'static str,
    ) -> Result<Opened, Error> {
        let (secret, csrf) = (ids::secret()?, ids::secret()?);
        let now = self.now();
        let row = SessionRow {
            id_hash: hash(&secret),
            user: user.into(),
            csrf: csrf.clone(),
            created_at: now,
            seen_at: now,
            address: call.address.map(|address| address.to_string()),
            agent: agent.map(|agent| cut(agent, AGENT_BYTES_MAX)),
        };
        let origin = Origin {
            actor: format!("user:{user}"),
            principal: Some(user.into()),
            ..call.origin(command, now)
        };
        let mut changes = origin.changeset(format!("session of {user}"));
        changes.sessions.push(SessionChange::Open(row));
        self.store().commit(changes).await?;
        self.metrics().committed(command);
        Ok(Opened { secret, csrf, user: user.into() })
    }

    /// Takes note of a wrong password. The one that makes the account wait is in the audit.
    async fn failed(
        &self,
        call: &Call,
        email: String,
        before: Failures,
        now: Timestamp,
    ) -> Result<Error, Error> {
        let after = Failures { count: before.count.saturating_add(1), last_at: now };
        let note = Note::Count { topic: SIGN_IN_FAILED, key: email.clone(), at: now };
        self.store().note(vec![note]).await?;
        if before.may_try(now).is_ok() && after.may_try(now).is_err() {
            let origin = Origin { actor: "nobody".into(), ..call.origin("lock_sign_in", now) };
            self.store().commit(origin.changeset(format!("sign-in of {email}"))).await?;
        }
        Ok(Error::WrongSignIn)
    }

    /// Who a browser belongs to, and what its pages must send with every change.
    ///
    /// # Errors
    /// Where its session is over, or the user may not sign in any more.
    pub async fn browser(&self, secret: &str) -> Result<(Actor, String), Error> {
        let id_hash = hash(secret);
        let read = move |store: &Reading<'_>| {
            let Some(session) = store.session(&id_hash)? else { return Ok(None) };
            let user = store.object(&ObjectId::new(Kind::User, session.user.as_str()))?;
            Ok(user.map(|user| (session, user)))
        };
        let (session, stored) = self.store().read(read).await?.ok_or(Error::Unauthenticated)?;
        let user: User = parsed("user", &session.user, &stored.json)?;
        let now = self.now();
        if user.disabled || !session.is_valid(now) {
            return Err(Error::Unauthenticated);
        }
        if now.as_micros().saturating_sub(session.seen_at.as_micros()) >= SEEN_NOTED_US {
            self.store().note(vec![Note::SessionSeen { id_hash, at: now }]).await?;
        }
        let permissions = user.roles.iter().flat_map(|role| permission::of_role(*role)).copied();
        let actor = Actor::person(&session.user, permissions.collect(), id_hash);
        Ok((actor, session.csrf))
    }

    /// A user's signed-in browsers, oldest first.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn sessions(&self, user: &str) -> Result<Vec<SessionRow>, Error> {
        let (user, now) = (user.to_owned(), self.now());
        let mut rows = self.store().read(move |store| store.sessions(&user)).await?;
        rows.retain(|row| row.is_valid(now));
        Ok(rows)
    }

    pub(super) fn decide_sign_out(&self, call: &Call, origin: Origin) -> Result<Decided, Error> {
        let (user, session) = call.actor.own_session()?;
        let mut changes = origin.changeset(format!("session of {user}"));
        changes.sessions.push(SessionChange::Close(session));
        Ok(changes.into())
    }

    pub(super) fn decide_sign_out_own(
        &self,
        call: &Call,
        origin: Origin,
    ) -> Result<Decided, Error> {
        let (user, _) = call.actor.own_session()?;
        let mut changes = origin.changeset(format!("sessions of {user}"));
        changes.sessions.push(SessionChange::CloseAll { user: user.into(), except: None });
        Ok(changes.into())
    }

    pub(super) async fn decide_sign_out_everywhere(
        &self,
        origin: Origin,
        user: &str,
    ) -> Result<Decided, Error> {
        self.stored_user(user, Expected::Any).await?;
        let mut changes = origin.changeset(format!("sessions of {user}"));
        changes.sessions.push(SessionChange::CloseAll { user: user.into(), except: None });
        Ok(changes.into())
    }
}

/// What is kept of a session's secret.
fn hash(secret: &str) -> [u8; 32] {
    let hex = key::secret_hash(secret);
    blake3::Hash::from_hex(hex).map_or([0; 32], Into::into)
}

fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}
