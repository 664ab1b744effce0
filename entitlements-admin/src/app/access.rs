//! Who is asking, and what that opens.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use entitlements_core::{TenantKey, Timestamp};

use super::{App, Error};
use crate::{
    store::Note,
    workflow::{IdempotencyKey, Key, Kind, ObjectId, Origin, Permission, Scope, key, permission},
};

/// What something takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: anyone may.
    Public,
    /// Somebody who is signed in or has a key, whatever they may do.
    Anyone,
    /// Somebody who may do this.
    Needs(Permission),
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    name: String,
    principal: Option<String>,
    permissions: BTreeSet<Permission>,
    tenants: BTreeSet<TenantKey>,
    partner: Option<String>,
    session: Option<[u8; 32]>,
}

impl Actor {
    /// Somebody at this machine, who may read and write the data folder itself.
    #[must_use]
    pub fn local(name: &str) -> Self {
        Self {
            name: format!("local:{name}"),
            principal: None,
            permissions: Permission::ALL.into(),
            tenants: BTreeSet::new(),
            partner: None,
            session: None,
        }
    }

    /// Somebody who has not said who they are.
    #[must_use]
    pub fn nobody() -> Self {
        Self { name: "nobody".into(), permissions: BTreeSet::new(), ..Self::local("") }
    }

    /// A person at a browser that signed in.
    pub(super) fn person(user: &str, permissions: BTreeSet<Permission>, session: [u8; 32]) -> Self {
        Self {
            name: format!("user:{user}"),
            principal: Some(user.into()),
            permissions,
            tenants: BTreeSet::new(),
            partner: None,
            session: Some(session),
        }
    }

    /// The user and the session of a browser.
    ///
    /// # Errors
    /// Where it is none.
    pub(super) fn own_session(&self) -> Result<(&str, [u8; 32]), Error> {
        self.principal().zip(self.session).ok_or(Error::NoSession)
    }

    /// What the audit calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The person behind it: behind a session, or behind the key that they made.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        self.principal.as_deref()
    }

    /// What it may do.
    #[must_use]
    pub fn permissions(&self) -> &BTreeSet<Permission> {
        &self.permissions
    }

    /// Whether tenants other than these do not exist to it.
    #[must_use]
    pub fn sees(&self, tenant: &str) -> bool {
        self.tenants.is_empty() || self.tenants.iter().any(|key| key.as_str() == tenant)
    }

    /// The tenants that it sees; all where there are none.
    #[must_use]
    pub fn only_tenants(&self) -> &BTreeSet<TenantKey> {
        &self.tenants
    }

    /// Whether what belongs to this partner, or to nobody but us, exists to it.
    #[must_use]
    pub fn deals_with(&self, partner: Option<&str>) -> bool {
        self.partner.is_none() || self.partner.as_deref() == partner
    }

    /// The partner that it is for: what is of others does not exist to it.
    #[must_use]
    pub fn only_partner(&self) -> Option<&str> {
        self.partner.as_deref()
    }

    /// Whether it sees some tenants only.
    #[must_use]
    pub fn is_for_some_tenants(&self) -> bool {
        !self.tenants.is_empty()
    }

    /// The browser session it comes from.
    #[must_use]
    pub fn session(&self) -> Option<&[u8; 32]> {
        self.session.as_ref()
    }

    /// Goes on where the actor may do this.
    ///
    /// # Errors
    /// Where it may not.
    pub fn may(&self, needs: Permission) -> Result<(), Error> {
        if self.permissions.contains(&needs) { Ok(()) } else { Err(Error::Forbidden { needs }) }
    }

    /// Goes on where the actor has this access.
    ///
    /// # Errors
    /// Where it has not.
    pub fn has(&self, access: Access) -> Result<(), Error> {
        match access {
            Access::Public | Access::Anyone => Ok(()),
            Access::Needs(permission) => self.may(permission),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// One request: who asks, from where, and under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Who asks.
    pub actor: Actor,
    /// From where.
    pub address: Option<IpAddr>,
    /// What the request is called in logs and in the audit.
    pub request_id: Option<String>,
    /// How the caller names it, so that it is not done twice.
    pub idempotency: Option<IdempotencyKey>,
    /// Why, in the caller's words.
    pub reason: Option<String>,
}

impl From<Actor> for Call {
    fn from(actor: Actor) -> Self {
        Self { actor, address: None, request_id: None, idempotency: None, reason: None }
    }
}

impl From<&Actor> for Call {
    fn from(actor: &Actor) -> Self {
        actor.clone().into()
    }
}

impl Call {
    pub(super) fn origin(&self, command: &'static str, at: Timestamp) -> Origin {
        Origin {
            actor: self.actor.name.clone(),
            principal: self.actor.principal.clone(),
            address: self.address,
            command,
            at,
            reason: self.reason.clone(),
            request_id: self.request_id.clone(),
            idempotency: self.idempotency.clone(),
        }
    }
}

/// How long one noted use of a key stands for the next ones, in microseconds.
const USE_NOTED_US: i64 = 60 * 1_000_000;

/// The topic under which uses of keys are noted.
pub(super) const KEY_USED: &str = "key_used";

/// When the use of each key was noted last, so that not each one is written.
#[derive(Debug, Default)]
pub(super) struct KeyUses(Mutex<BTreeMap<String, Timestamp>>);

impl KeyUses {
    /// Whether this use must be noted.
    fn is_news(&self, id: &str, at: Timestamp) -> bool {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = uses.get(id).map_or(i64::MIN, |last| last.as_micros());
        let is_news = at.as_micros().saturating_sub(last) >= USE_NOTED_US;
        if is_news {
            uses.insert(id.into(), at);
        }
        is_news
    }
}

impl App {
    /// Who a key belongs to. It is looked up each time: a key that was revoked opens nothing more.
    ///
    /// # Errors
    /// Where it belongs to nobody, or has expired.
    pub async fn actor(&self, text: &str) -> Result<Actor, Error> {
        let (id, secret) = key::parse(text).ok_or(Error::Unauthenticated)?;
        let object = ObjectId::new(Kind::Key, id);
        let stored = self.store().read(move |store| store.object(&object)).await?;
        let stored = stored.ok_or(Error::Unauthenticated)?;
        let kept = stored.secret.as_deref().unwrap_or_default();
        if !key::has_secret(kept, secret) {
            return Err(Error::Unauthenticated);
        }
        let known: Key = super::parsed("key", id, &stored.json)?;
        let now = self.now();
        if !known.is_valid(now) {
            return Err(Error::Expired);
        }
        if self.0.key_uses.is_news(id, now) {
            self.note_use(id, now);
        }
        Ok(Actor {
            name: format!("key:{id}"),
            principal: known.principal,
            permissions: permission::of_scope(known.scope).iter().copied().collect(),
            tenants: known.tenants,
            // A partner's key without a partner is for nobody.
            partner: (known.scope == Scope::Partner).then(|| known.partner.unwrap_or_default()),
            session: None,
        })
    }

    /// Notes that a key was used. Nobody waits for it, and nothing depends on it.
    fn note_use(&self, id: &str, at: Timestamp) {
        let (app, key) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            if let Err(error) =
                app.store().note(vec![Note::Seen { topic: KEY_USED, key, at }]).await
            {
                tracing::debug!(%error, "the use of a key was not noted");
            }
        });
    }
}
