//! The state of the last commit, in memory: what checks, authorisation and the sync go by.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use entitlements_core::{Catalog, Draft, Entitlements, Pin, Revision, Snapshot, Timestamp};
use tokio::sync::watch;

use super::Error;
use crate::{
    store::{ReadError, Reading, Stored},
    workflow::{Changeset, Token, TokenChange},
};

/// The live state. It follows the store, commit by commit.
pub(crate) struct Live {
    entitlements: Entitlements,
    /// The revision of the catalog in force; 0 before the first import.
    tokens: RwLock<BTreeMap<String, Token>>,
    catalog_revision: RwLock<Revision>,
    revision: watch::Sender<Revision>,
}

impl Live {
    /// Nothing yet: no catalog, no tenants, no tokens.
    pub(crate) fn new(at: Timestamp) -> Result<Self, Error> {
        let catalog =
            Catalog::new(Draft::default()).map_err(|errors| Error::InvalidCatalog(errors.0))?;
        let nothing = Snapshot::compile(Revision(0), Arc::new(catalog), [], at);
        Ok(Self {
            entitlements: Entitlements::new(nothing),
            tokens: RwLock::default(),
            catalog_revision: RwLock::default(),
            revision: watch::Sender::new(Revision(0)),
        })
    }

    /// Takes up all that the store holds.
    pub(crate) fn load(&self, store: &Reading<'_>, at: Timestamp) -> Result<(), ReadError> {
        let revision = store.revision()?;
        let stored = store.catalog()?;
        let catalog = stored.as_ref().map_or_else(|| Ok(Draft::default()), catalog_draft)?;
        let catalog = Catalog::new(catalog).map_err(|errors| corrupt("the catalog", &errors))?;
        let mut tenants = BTreeMap::new();
        for row in store.tenants_all()? {
            let what = format!("tenant `{}`", row.key);
            let key = row.key.parse().map_err(|error| corrupt(&what, &error))?;
            let tenant =
                serde_json::from_str(&row.stored.json).map_err(|error| corrupt(&what, &error))?;
            tenants.insert(key, tenant);
        }
        let snapshot = Snapshot::compile(revision, Arc::new(catalog), &tenants, at);
        self.entitlements
            .publish(snapshot)
            .map_err(|error| corrupt("the revision", &format!("{error:?}")))?;
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) =
            store.tokens()?.into_iter().map(|token| (token.id.clone(), token)).collect();
        self.set_catalog_revision(stored.map_or(Revision(0), |row| row.revision));
        self.revision.send_replace(revision);
        Ok(())
    }

    /// Follows one commit. The store calls it in revision order.
    pub(crate) fn apply(&self, revision: Revision, changes: &Changeset) {
        let pin = self.entitlements.pin();
        let recompiled = changes
            .catalog
            .as_ref()
            .map(|change| pin.with_catalog(revision, Arc::clone(&change.catalog), changes.at));
        let base = recompiled.as_ref().unwrap_or(&pin);
        let tenants = changes.tenants.iter().map(|(key, change)| (key, change.tenant.as_ref()));
        let next = base.with_tenants(revision, tenants, changes.at);
        if let Err(error) = self.entitlements.publish(next) {
            tracing::error!(revision = revision.0, ?error, "a commit was not published");
        }
        if changes.catalog.is_some() {
            self.set_catalog_revision(revision);
        }
        self.apply_tokens(&changes.tokens);
        self.revision.send_replace(revision);
    }

    fn apply_tokens(&self, changes: &[TokenChange]) {
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            match change {
                TokenChange::Create(token) => {
                    tokens.insert(token.id.clone(), token.clone());
                }
                TokenChange::Revoke(id) => {
                    tokens.remove(id);
                }
            }
        }
    }

    /// One consistent view of catalog and tenants.
    pub(crate) fn pin(&self) -> Pin {
        self.entitlements.pin()
    }

    /// The handle that the view comes from.
    pub(crate) fn entitlements(&self) -> &Entitlements {
        &self.entitlements
    }

    /// A token by its id.
    pub(super) fn token(&self, id: &str) -> Option<Token> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Every token, by id.
    pub(super) fn tokens(&self) -> Vec<Token> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Where to wait for the next commit.
    pub(crate) fn revisions(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// The last commit.
    pub(crate) fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// The commit that the catalog in force came with; 0 before the first import.
    pub(crate) fn catalog_revision(&self) -> Revision {
        *self.catalog_revision.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_catalog_revision(&self, revision: Revision) {
        *self.catalog_revision.write().unwrap_or_else(PoisonError::into_inner) = revision;
    }
}

fn catalog_draft(stored: &Stored) -> Result<Draft, ReadError> {
    serde_json::from_str(&stored.json).map_err(|error| corrupt("the catalog", &error))
}

fn corrupt(what: &str, why: &dyn std::fmt::Display) -> ReadError {
    ReadError::Corrupt { what: what.into(), why: why.to_string() }
}
