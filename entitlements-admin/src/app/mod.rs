//! The application: what can be asked and told, apart from how it is transported.

mod access;
mod audit;
mod barriers;
mod book;
mod command;
mod connectors;
mod drafts;
mod error;
mod execute;
mod fleet;
mod listings;
mod live;
mod outbox;
mod past;
mod preview;
mod provider;
mod requests;
mod routing;
mod sessions;
mod settings;
mod sync;
mod tidings;
mod usage;
mod users;
mod what_if;

use std::{
    fmt,
    fs::File,
    sync::{Arc, Mutex, PoisonError},
};

use entitlements_core::{
    Decision, Entitlements, Explanation, FeatureKey, Pin, Revision, Snapshot, TenantKey, Timestamp,
};
use tokio::sync::watch;

pub(crate) use self::live::Live;
pub use self::{
    access::{Access, Actor, Call},
    barriers::BarrierState,
    command::{Command, Expected, NewKey, Outcome},
    connectors::{ConnectorInput, ConnectorNews, Tested},
    drafts::{DraftEdit, KeptDraft, StartsWith},
    error::Error,
    fleet::{Denial, FleetState},
    listings::{KeptListing, ListingRecord, Shelf},
    outbox::KeptDelivery,
    past::AsOf,
    preview::{Laid, Preview, PreviewInstant},
    provider::Away,
    requests::{
        CalendarEffect, Effect, FeatureEffect, InForce, KeptPromise, KeptRequest, Lift, NewRequest,
        StepAnswer, StepHeard, StepTold, TenantShop,
    },
    routing::{Previewed, Routing},
    sessions::{Opened, SignIn},
    sync::{Asked, Intent, Publication, Told},
    usage::Used,
    users::{KeptUser, NewUser, Proof, UserChange},
    what_if::WhatIf,
};
use crate::{
    clock::Clock,
    connectors::Clients,
    keys::Keys,
    metrics::Metrics,
    oidc::Oidc,
    passwords::Passwords,
    store::{Listed, Note, Store, Stored},
    vault::Vault,
    workflow::{Key, Kind, ObjectId, doors},
};

/// The application. Clones are handles to the same one.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    store: Store,
    live: Arc<Live>,
    clock: Clock,
    metrics: Metrics,
    publisher: sync::Publisher,
    fleet: fleet::Fleet,
    books: book::Books,
    edges: tidings::EdgesAhead,
    clients: Clients,
    vault: Vault,
    key_uses: access::KeyUses,
    past_catalogs: past::PastCatalogs,
    passwords: Passwords,
    sign_ins: sessions::SignIns,
    public_url: Option<String>,
    oidc: Option<Arc<Oidc>>,
    stopping: watch::Sender<bool>,
    /// Held as long as the data folder is ours.
    lock: Mutex<Option<File>>,
}

/// What an application is put together from.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) live: Arc<Live>,
    pub(crate) clock: Clock,
    pub(crate) keys: Keys,
    pub(crate) environment: String,
    pub(crate) epoch: u64,
    pub(crate) max_age_s: u32,
    pub(crate) public_url: Option<String>,
    pub(crate) oidc: Option<Oidc>,
    pub(crate) clients: Clients,
    pub(crate) lock: Option<File>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "App({:?}, revision {})", self.0.store, self.revision())
    }
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        let vault = Vault::new(&parts.keys.root.to_bytes());
        let publisher = sync::Publisher::new(
            parts.keys,
            parts.environment,
            parts.epoch,
            parts.max_age_s,
            parts.clock.now(),
        );
        Self(Arc::new(Inner {
            store: parts.store,
            live: parts.live,
            clock: parts.clock,
            metrics: Metrics::new(),
            publisher,
            fleet: fleet::Fleet::default(),
            books: book::Books::default(),
            edges: tidings::EdgesAhead::default(),
            clients: parts.clients,
            vault,
            key_uses: access::KeyUses::default(),
            past_catalogs: past::PastCatalogs::default(),
            passwords: Passwords::default(),
            sign_ins: sessions::SignIns::default(),
            public_url: parts.public_url,
            oidc: parts.oidc.map(Arc::new),
            stopping: watch::Sender::new(false),
            lock: Mutex::new(parts.lock),
        }))
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn passwords(&self) -> &Passwords {
        &self.0.passwords
    }

    /// Where people reach it, as they write it.
    pub(crate) fn public_url(&self) -> Option<&str> {
        self.0.public_url.as_deref()
    }

    /// Whether browsers reach it over TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.public_url().is_some_and(|url| url.starts_with("https://"))
    }

    fn store(&self) -> &Store {
        &self.0.store
    }

    fn live(&self) -> &Live {
        &self.0.live
    }

    /// The revision of the last commit.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.live().revision()
    }

    /// What its snapshots are for.
    #[must_use]
    pub fn environment(&self) -> &str {
        self.0.publisher.environment()
    }

    /// The commit that the catalog in force came with; absent before the first one.
    #[must_use]
    pub fn catalog_revision(&self) -> Option<Revision> {
        self.live().catalog_revision()
    }

    /// One consistent view of catalog and tenants as of the last commit.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.live().pin()
    }

    /// The live entitlements that the view comes from: they follow every commit.
    #[must_use]
    pub fn entitlements(&self) -> &Entitlements {
        self.live().entitlements()
    }

    /// The answer for one tenant and feature, explained.
    #[must_use]
    pub fn explain(&self, tenant: &str, feature: &str, at: Timestamp) -> Explanation {
        self.pin().explain(tenant, feature, at)
    }

    /// The answers for one tenant and every feature of the catalog, handed to `each` by key.
    pub fn decisions(
        &self,
        world: &Snapshot,
        tenant: &str,
        at: Timestamp,
        mut each: impl FnMut(&FeatureKey, Decision<'_>),
    ) {
        for feature in world.catalog().draft().features.keys() {
            each(feature, world.check(tenant, feature.as_str(), at));
        }
    }

    /// The catalog in force, as it is kept.
    ///
    /// # Errors
    /// Where the store cannot be read, as for every read here.
    pub async fn catalog(&self) -> Result<Option<Stored>, Error> {
        Ok(self.store().read(|store| store.object(&ObjectId::catalog())).await?)
    }

    /// A tenant, as it is kept.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn tenant(&self, key: String) -> Result<Stored, Error> {
        let missing = format!("there is no tenant `{key}`");
        let found = self.store().read(move |store| store.object(&ObjectId::tenant(key))).await?;
        found.ok_or(Error::NotFound(missing))
    }

    /// At most `limit` tenants that the actor sees and whose keys come after `after`, and the
    /// revision of the view.
    ///
    /// # Errors
    /// As [`App::catalog`].
    pub async fn tenants(
        &self,
        actor: &Actor,
        after: String,
        limit: u32,
    ) -> Result<(Vec<Listed>, Revision), Error> {
        let only = actor.only_tenants().clone();
        let read = move |store: &crate::store::Reading<'_>| {
            if only.is_empty() {
                return Ok((store.objects(Kind::Tenant, &after, limit)?, store.revision()?));
            }
            let later = only.iter().map(TenantKey::as_str).filter(|key| *key > after.as_str());
            let mut found = Vec::new();
            for key in later.take(limit as usize) {
                let stored = store.object(&ObjectId::tenant(key))?;
                found.extend(stored.map(|stored| Listed { key: key.into(), stored }));
            }
            Ok((found, store.revision()?))
        };
        Ok(self.store().read(read).await?)
    }

    /// Every service key with its id and when it was last used, without its secret.
    ///
    /// # Errors
    /// As [`App::catalog`].
    pub async fn keys(&self) -> Result<Vec<(String, Key, Option<Timestamp>)>, Error> {
        let read = |store: &crate::store::Reading<'_>| {
            let mut keys = Vec::new();
            store.each_object(Kind::Key, |row| {
                keys.push(row);
                Ok(())
            })?;
            Ok((keys, store.notes(access::KEY_USED)?))
        };
        let (keys, uses) = self.store().read(read).await?;
        let read = |row: Listed| {
            let key: Key = parsed("key", &row.key, &row.stored.json)?;
            let used = uses.get(&row.key).copied();
            Ok((row.key, key, used))
        };
        keys.into_iter().map(read).collect()
    }

    /// Whether there is somebody who can let others in.
    ///
    /// # Errors
    /// As [`App::catalog`].
    pub async fn somebody_gets_in(&self) -> Result<bool, Error> {
        let read = |store: &crate::store::Reading<'_>| {
            let mut open = false;
            for kind in doors::KINDS {
                store.each_object(kind, |row| {
                    open |= doors::is_open(kind, &row.stored.json);
                    Ok(())
                })?;
            }
            Ok(open)
        };
        Ok(self.store().read(read).await?)
    }

    /// Where to wait for the next commit.
    pub(crate) fn revisions(&self) -> watch::Receiver<Revision> {
        self.live().revisions()
    }

    /// When a reconciler must look at something next.
    pub(crate) async fn next_due(&self) -> Result<Option<Timestamp>, Error> {
        let kept = self.store().read(|store| store.next_due(Kind::Draft)).await?;
        Ok(kept.into_iter().chain(self.next_edge()).min())
    }

    /// Takes or keeps the right to do something alone until an instant.
    pub(crate) async fn lease(
        &self,
        name: &'static str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, Error> {
        Ok(self.store().lease(name, holder.into(), now, until).await?)
    }

    pub(crate) async fn keep_notes(&self, notes: Vec<Note>) -> Result<(), Error> {
        Ok(self.store().note(notes).await?)
    }

    /// Returns once the application goes down.
    pub(crate) async fn told_to_stop(&self) {
        drop(self.stopping().wait_for(|stopping| *stopping).await);
    }

    /// Takes up what another process committed.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        let live = Arc::clone(&self.0.live);
        Ok(self.store().read(move |store| live.follow(store)).await?)
    }

    /// Whether changes can be made.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.store().is_writable() && !self.is_stopping()
    }

    /// Whether the application is going down.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.0.stopping.borrow()
    }

    /// Ends every wait, so that requests can be answered and the process can go.
    pub(crate) fn stop_waiting(&self) {
        self.0.stopping.send_replace(true);
    }

    fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stopping.subscribe()
    }

    /// Finishes what is queued, closes the store and gives the data folder back.
    pub fn close(&self) {
        self.stop_waiting();
        self.store().close();
        drop(self.0.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// A document as it is kept.
fn parsed<T: serde::de::DeserializeOwned>(what: &str, key: &str, json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| {
        Error::Unavailable(format!("the store holds {what} `{key}`, which cannot be read: {error}"))
    })
}
