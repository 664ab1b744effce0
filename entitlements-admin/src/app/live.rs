//! The state of the last commit, in memory: what checks and the sync go by.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use entitlements_core::{
    Catalog, Draft, Entitlements, Pin, Revision, Snapshot, Tenant, TenantKey, Timestamp,
};
use tokio::sync::watch;

use super::Error;
use crate::workflow::barrier::{Barrier, Stage};
use crate::{
    clock::Clock,
    store::{ReadError, Reading, Version},
    workflow::{Kind, ObjectId},
};

/// The live state. It follows the store, commit by commit.
pub(crate) struct Live {
    clock: Clock,
    entitlements: Entitlements,
    /// The revision of the catalog in force; absent before the first one.
    catalog_revision: RwLock<Option<Revision>>,
    /// The publication that sidecars prepare or switched to last.
    barrier: RwLock<Option<Held>>,
    revision: watch::Sender<Revision>,
    /// Those who follow take turns: the store tells of commits on more than one thread.
    turn: Mutex<()>,
}

/// What may become the catalog once all sidecars have prepared it.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// What it is called.
    pub(crate) id: String,
    /// The catalog.
    pub(crate) catalog: Arc<Catalog>,
}

/// A barrier as it is kept, and its candidate while it prepares.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// The commit of its last change.
    pub(crate) revision: Revision,
    /// The barrier.
    pub(crate) barrier: Arc<Barrier>,
    candidate: Option<Arc<Candidate>>,
}

impl Held {
    fn read(revision: Revision, json: &str) -> Result<Self, ReadError> {
        let barrier: Barrier =
            serde_json::from_str(json).map_err(|error| corrupt("the barrier", &error))?;
        let candidate = match barrier.stage {
            Stage::Preparing {} => {
                let catalog = Catalog::new(barrier.catalog.clone())
                    .map_err(|errors| corrupt("the barrier", &errors))?;
                Some(Arc::new(Candidate { id: barrier.id.clone(), catalog: Arc::new(catalog) }))
            }
            _ => None,
        };
        Ok(Self { revision, barrier: Arc::new(barrier), candidate })
    }
}

impl Live {
    /// Nothing yet: no catalog, no tenants.
    pub(crate) fn new(clock: Clock) -> Result<Self, Error> {
        let catalog =
            Catalog::new(Draft::default()).map_err(|errors| Error::InvalidCatalog(errors.0))?;
        let nothing = Snapshot::compile(Revision(0), Arc::new(catalog), [], clock.now());
        Ok(Self {
            clock,
            entitlements: Entitlements::new(nothing),
            catalog_revision: RwLock::default(),
            barrier: RwLock::default(),
            revision: watch::Sender::new(Revision(0)),
            turn: Mutex::default(),
        })
    }

    /// Takes up all that the store holds.
    pub(crate) fn load(&self, store: &Reading<'_>) -> Result<(), ReadError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = store.object(&ObjectId::catalog())?;
        let catalog = stored.as_ref().map_or_else(
            || Ok(Arc::clone(self.pin().catalog())),
            |stored| checked_catalog(&stored.json),
        )?;
        let mut tenants = BTreeMap::new();
        store.each_object(Kind::Tenant, |row| {
            tenants.insert(tenant_key(&row.key)?, parsed_tenant(&row.key, &row.stored.json)?);
            Ok(())
        })?;
        let revision = store.revision()?;
        if let Some(stored) = store.object(&ObjectId::barrier())? {
            self.hold(Held::read(stored.revision, &stored.json)?);
        }
        let snapshot = Snapshot::compile(revision, catalog, &tenants, self.clock.now());
        self.publish(snapshot, stored.map(|row| row.revision))
    }

    /// Takes up what was committed since the last time.
    pub(crate) fn follow(&self, store: &Reading<'_>) -> Result<(), ReadError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, to) = (self.revision(), store.revision()?);
        if to <= from {
            return Ok(());
        }
        let (mut catalog, mut tenants, mut barrier) = (None, BTreeMap::new(), None);
        // Later versions come later: of two of one tenant the last one stays.
        for (id, Version { revision, json }) in store.since(from)? {
            match (id.kind, json) {
                (Kind::Catalog, Some(json)) => catalog = Some((revision, json)),
                (Kind::Tenant, json) => {
                    let tenant = json.map(|json| parsed_tenant(&id.key, &json)).transpose()?;
                    tenants.insert(tenant_key(&id.key)?, tenant);
                }
                (Kind::Barrier, Some(json)) => barrier = Some(Held::read(revision, &json)?),
                _ => {}
            }
        }
        let (pin, now) = (self.pin(), self.clock.now());
        let recompiled = match &catalog {
            Some((_, json)) => Some(pin.with_catalog(to, checked_catalog(json)?, now)),
            None => None,
        };
        let base = recompiled.as_ref().unwrap_or(&pin);
        let changed = tenants.iter().map(|(key, tenant)| (key, tenant.as_ref()));
        let next = base.with_tenants(to, changed, now);
        let catalog_revision = catalog.map(|(revision, _)| revision);
        // Before the revision is told of, so that nobody is sent it without its instant.
        barrier.into_iter().for_each(|held| self.hold(held));
        self.publish(next, catalog_revision.or_else(|| self.catalog_revision()))
    }

    fn hold(&self, held: Held) {
        *self.barrier.write().unwrap_or_else(PoisonError::into_inner) = Some(held);
    }

    /// The publication that sidecars prepare or switched to last.
    pub(crate) fn barrier(&self) -> Option<Held> {
        self.barrier.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What sidecars are to prepare.
    pub(crate) fn candidate(&self) -> Option<Arc<Candidate>> {
        self.barrier()?.candidate
    }

    /// Before which instant nobody is to serve what is current. It may have passed.
    pub(crate) fn switch(&self) -> Option<Timestamp> {
        match self.barrier()?.barrier.stage {
            Stage::Committed { activate_at } => Some(activate_at),
            _ => None,
        }
    }

    fn publish(&self, next: Snapshot, catalog: Option<Revision>) -> Result<(), ReadError> {
        let revision = next.revision();
        // Worked out here, so that nobody waits for it later.
        let _ = next.content_hash();
        self.entitlements.publish(next).map_err(|error| corrupt("the revision", &error))?;
        *self.catalog_revision.write().unwrap_or_else(PoisonError::into_inner) = catalog;
        self.revision.send_replace(revision);
        Ok(())
    }

    /// One consistent view of catalog and tenants.
    pub(crate) fn pin(&self) -> Pin {
        self.entitlements.pin()
    }

    /// The handle that the view comes from.
    pub(crate) fn entitlements(&self) -> &Entitlements {
        &self.entitlements
    }

    /// Where to wait for the next commit.
    pub(crate) fn revisions(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// The last commit.
    pub(crate) fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// The commit that the catalog in force came with; absent before the first one.
    pub(crate) fn catalog_revision(&self) -> Option<Revision> {
        *self.catalog_revision.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A catalog as it is kept. It was checked before it was.
pub(super) fn checked_catalog(json: &str) -> Result<Arc<Catalog>, ReadError> {
    let draft: Draft =
        serde_json::from_str(json).map_err(|error| corrupt("the catalog", &error))?;
    Catalog::new(draft).map(Arc::new).map_err(|errors| corrupt("the catalog", &errors))
}

pub(super) fn parsed_tenant(key: &str, json: &str) -> Result<Tenant, ReadError> {
    serde_json::from_str(json).map_err(|error| corrupt(&format!("tenant `{key}`"), &error))
}

pub(super) fn tenant_key(key: &str) -> Result<TenantKey, ReadError> {
    key.parse().map_err(|error| corrupt(&format!("tenant `{key}`"), &error))
}

fn corrupt(what: &str, why: &dyn std::fmt::Display) -> ReadError {
    ReadError::Corrupt { what: what.into(), why: why.to_string() }
}
