//! The state of the last commit, in memory: what checks and the sync go by.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use entitlements_core::{Catalog, Draft, Entitlements, Pin, Revision, Snapshot, Tenant, TenantKey};
use tokio::sync::watch;

use super::Error;
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
    revision: watch::Sender<Revision>,
    /// Those who follow take turns: the store tells of commits on more than one thread.
    turn: Mutex<()>,
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
        let (mut catalog, mut tenants) = (None, BTreeMap::new());
        // Later versions come later: of two of one tenant the last one stays.
        for (id, Version { revision, json }) in store.since(from)? {
            match (id.kind, json) {
                (Kind::Catalog, Some(json)) => catalog = Some((revision, json)),
                (Kind::Tenant, json) => {
                    let tenant = json.map(|json| parsed_tenant(&id.key, &json)).transpose()?;
                    tenants.insert(tenant_key(&id.key)?, tenant);
                }
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
        self.publish(next, catalog_revision.or_else(|| self.catalog_revision()))
    }

    fn publish(&self, next: Snapshot, catalog: Option<Revision>) -> Result<(), ReadError> {
        let revision = next.revision();
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

fn tenant_key(key: &str) -> Result<TenantKey, ReadError> {
    key.parse().map_err(|error| corrupt(&format!("tenant `{key}`"), &error))
}

fn corrupt(what: &str, why: &dyn std::fmt::Display) -> ReadError {
    ReadError::Corrupt { what: what.into(), why: why.to_string() }
}
