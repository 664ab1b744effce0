//! People who sign in: added, changed, and given links to set a password.

use std::collections::BTreeSet;

use entitlements_core::Revision;

use super::{App, Call, Error, Expected, execute::Decided, parsed};
use crate::{
    ids, passwords,
    store::{Listed, Reading, Stored},
    workflow::{
        Changeset, Kind, ObjectId, Origin, Record, SessionChange, Write,
        people::{Role, User},
        sign_in::Credentials,
    },
};

/// Somebody to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// Their address, by which they sign in.
    pub email: String,
    /// What people call them.
    pub name: String,
    /// What they are here for.
    pub roles: BTreeSet<Role>,
}

/// What is to change of somebody. What is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserChange {
    /// What people call them.
    pub name: Option<String>,
    /// What they are here for.
    pub roles: Option<BTreeSet<Role>>,
    /// Whether they may not sign in.
    pub disabled: Option<bool>,
}

/// How somebody shows that they may set a password.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// By the link they were given: the id of the user, and its secret.
    Link {
        /// Whose.
        user: String,
        /// The secret part.
        secret: String,
    },
    /// By the password they have.
    Password(String),
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Link { user, .. } => write!(f, "Link({user})"),
            Self::Password(_) => f.write_str("Password(***)"),
        }
    }
}

/// Somebody as they are kept.
#[derive(Debug, Clone)]
pub struct KeptUser {
    /// Their id.
    pub id: String,
    /// Who they are.
    pub user: User,
    /// The revision of the last change.
    pub revision: Revision,
}

impl App {
    /// Everybody who can sign in, by id.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn users(&self) -> Result<Vec<KeptUser>, Error> {
        let read = |store: &Reading<'_>| {
            let mut rows = Vec::new();
            store.each_object(Kind::User, |row| {
                rows.push(row);
                Ok(())
            })?;
            Ok(rows)
        };
        let kept = |row: Listed| {
            let user = parsed("user", &row.key, &row.stored.json)?;
            Ok(KeptUser { id: row.key, user, revision: row.stored.revision })
        };
        self.store().read(read).await?.into_iter().map(kept).collect()
    }

    /// Somebody.
    ///
    /// # Errors
    /// Where there is no such user.
    pub async fn user(&self, id: &str) -> Result<KeptUser, Error> {
        let stored = self.stored_user(id, Expected::Any).await?;
        let user = parsed("user", id, &stored.json)?;
        Ok(KeptUser { id: id.into(), user, revision: stored.revision })
    }

    pub(super) async fn stored_user(&self, id: &str, expected: Expected) -> Result<Stored, Error> {
        let found = self.present(ObjectId::new(Kind::User, id), expected).await?;
        found.ok_or_else(|| Error::NotFound(format!("there is no user `{id}`")))
    }

    pub(super) async fn decide_new_user(
        &self,
        call: &Call,
        origin: Origin,
        wanted: &NewUser,
    ) -> Result<Decided, Error> {
        let NewUser { email, name, roles } = wanted.clone();
        let user = User::new(&email, &name, roles, origin.at).map_err(Error::InvalidInput)?;
        if self.users().await?.iter().any(|kept| kept.user.email == user.email) {
            return Err(Error::Refused(format!("there is a user `{}` already", user.email)));
        }
        let id = ids::key_id()?;
        let link = Credentials::default().with_setup_link(&self.secret_of(call, &id), origin.at);
        let mut changes = origin.changeset(format!("user {}", user.email));
        changes.answer.id = Some(id.clone());
        // Two with one address must not come to be at the same time: whoever is added touches this.
        changes.writes.extend([self.addresses_touched().await?]);
        write(&mut changes, &id, None, &user, &link)?;
        Ok(changes.into())
    }

    pub(super) async fn decide_user_change(
        &self,
        origin: Origin,
        id: &str,
        change: &UserChange,
        expected: Expected,
    ) -> Result<Decided, Error> {
        let stored = self.stored_user(id, expected).await?;
        let before: User = parsed("user", id, &stored.json)?;
        let mut after = before.clone();
        let UserChange { name, roles, disabled } = change.clone();
        after.name = name.map_or(after.name, |name| name.trim().into());
        after.roles = roles.unwrap_or(after.roles);
        after.disabled = disabled.unwrap_or(after.disabled);
        after.check().map_err(Error::InvalidInput)?;
        let mut changes = origin.changeset(format!("user {}", after.email));
        if after.roles != before.roles || after.disabled {
            // What somebody may do holds from the next request on; so they sign in anew.
            changes.sessions.push(SessionChange::CloseAll { user: id.into(), except: None });
        }
        write(&mut changes, id, Some(stored.revision), &after, &credentials(&stored)?)?;
        Ok(changes.into())
    }

    pub(super) async fn decide_user_removal(
        &self,
        origin: Origin,
        id: &str,
        expected: Expected,
    ) -> Result<Decided, Error> {
        let stored = self.stored_user(id, expected).await?;
        let user: User = parsed("user", id, &stored.json)?;
        let mut changes = origin.changeset(format!("user {}", user.email));
        let write = Write { expected: Some(stored.revision), after: None };
        changes.writes.insert(ObjectId::new(Kind::User, id), write);
        changes.sessions.push(SessionChange::CloseAll { user: id.into(), except: None });
        Ok(changes.into())
    }

    /// A new link to set a password. The old password opens nothing any more.
    pub(super) async fn decide_reset(
        &self,
        call: &Call,
        origin: Origin,
        id: &str,
    ) -> Result<Decided, Error> {
        let stored = self.stored_user(id, Expected::Any).await?;
        let user: User = parsed("user", id, &stored.json)?;
        let secret = self.secret_of(call, &reset_id(id, stored.revision));
        let link = Credentials::default().with_setup_link(&secret, origin.at);
        let mut changes = origin.changeset(format!("user {}", user.email));
        changes.answer.id = Some(reset_id(id, stored.revision));
        changes.sessions.push(SessionChange::CloseAll { user: id.into(), except: None });
        write(&mut changes, id, Some(stored.revision), &user, &link)?;
        Ok(changes.into())
    }

    pub(super) async fn decide_password(
        &self,
        call: &Call,
        origin: Origin,
        proof: &Proof,
        password: &str,
    ) -> Result<Decided, Error> {
        let id = match proof {
            Proof::Link { user, .. } => user.clone(),
            Proof::Password(_) => call.actor.own_session()?.0.into(),
        };
        let missing = || Error::Refused("this link is not valid: ask for a new one".into());
        let stored = self.stored_user(&id, Expected::Any).await.map_err(|error| match error {
            Error::NotFound(_) => missing(),
            error => error,
        })?;
        let user: User = parsed("user", &id, &stored.json)?;
        let kept = credentials(&stored)?;
        match proof {
            Proof::Link { secret, .. } => {
                kept.opens_setup(secret, origin.at).map_err(|why| Error::Refused(why.into()))?
            }
            Proof::Password(old) => {
                let fits = self.passwords().fits(old.clone(), kept.password_hash.clone()).await?;
                if !fits {
                    return Err(Error::Refused("the old password is not right".into()));
                }
            }
        }
        passwords::check(password, &user.email, &user.name).map_err(Error::InvalidInput)?;
        let hash = self.passwords().hash(password.into(), ids::salt()?).await?;
        let mut changes = origin.changeset(format!("user {}", user.email));
        let except = call.actor.session().copied();
        changes.sessions.push(SessionChange::CloseAll { user: id.clone(), except });
        write(&mut changes, &id, Some(stored.revision), &user, &kept.with_password(hash))?;
        Ok(changes.into())
    }

    /// The object that each new user changes, so that two are never added at once.
    pub(super) async fn addresses_touched(&self) -> Result<(ObjectId, Write), Error> {
        let id = ObjectId::new(Kind::Setting, "addresses");
        let present = self.present(id.clone(), Expected::Any).await?;
        let count = present.as_ref().map_or(0, |row| row.json.parse().unwrap_or(0_u64));
        let record = Record { json: (count + 1).to_string(), ..Record::default() };
        let expected = present.map(|row| row.revision);
        Ok((id, Write { expected, after: Some(record) }))
    }
}

/// What the secret of a reset is drawn for, as `<user>.<revision>`.
fn reset_id(user: &str, at: Revision) -> String {
    format!("{user}.{at}")
}

pub(super) fn credentials(stored: &Stored) -> Result<Credentials, Error> {
    Credentials::read(stored.secret.as_deref()).map_err(Error::Unavailable)
}

fn write(
    changes: &mut Changeset,
    id: &str,
    expected: Option<Revision>,
    user: &User,
    credentials: &Credentials,
) -> Result<(), Error> {
    let after = Some(record(user, credentials)?);
    changes.writes.insert(ObjectId::new(Kind::User, id), Write { expected, after });
    Ok(())
}

/// A user as they are kept.
pub(super) fn record(user: &User, credentials: &Credentials) -> Result<Record, Error> {
    let record = Record::of(user).map_err(|error| Error::Unavailable(error.to_string()))?;
    let secret = credentials.kept().map_err(Error::Unavailable)?;
    Ok(Record { secret, ..record })
}
