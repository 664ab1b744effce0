//! Time travel: what was there, and what would have been answered.

use std::sync::Arc;

use entitlements_core::{Catalog, Revision, Snapshot, Tenant, TenantKey, Timestamp};
use moka::sync::Cache;

use super::{
    Actor, App, Command, Error,
    execute::apart,
    live::{checked_catalog, parsed_tenant},
};
use crate::{
    store::{Note, Past, ReadError, Reading, Version},
    workflow::{
        Kind, ObjectId,
        settings::{HistorySetting, Setting},
    },
};

/// Which world to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AsOf {
    /// The one in force.
    #[default]
    Now,
    /// The one after a commit.
    Revision(Revision),
    /// The one at an instant.
    Instant(Timestamp),
}

/// Catalogs of the past without tenants, compiled, by the commit that they came with.
#[derive(Clone)]
pub(super) struct PastCatalogs(Cache<Revision, Arc<Snapshot>>);

/// How many are kept: those that somebody looks at now.
const CATALOGS_KEPT: u64 = 32;

impl Default for PastCatalogs {
    fn default() -> Self {
        Self(Cache::new(CATALOGS_KEPT))
    }
}

impl App {
    /// One tenant in the world that is asked for.
    ///
    /// # Errors
    /// Where that world is not kept any more, or is yet to come.
    pub async fn world(&self, tenant: &str, as_of: AsOf) -> Result<Snapshot, Error> {
        if as_of == AsOf::Now {
            return Ok(Snapshot::clone(&self.pin()));
        }
        let revision = self.revision_of(as_of).await?;
        let key = ObjectId::tenant(tenant);
        let read = move |store: &Reading<'_>| {
            let catalog = store.as_of(&ObjectId::catalog(), revision)?;
            Ok((catalog, store.as_of(&key, revision)?))
        };
        let (catalog, version) = self.store().read(read).await?;
        let tenant: Option<(TenantKey, Tenant)> = match version.and_then(|version| version.json) {
            None => None,
            Some(json) => {
                let key = tenant.parse().map_err(|_| no_tenant(tenant))?;
                Some((key, parsed_tenant(tenant, &json)?))
            }
        };
        let (cache, now) = (self.0.past_catalogs.clone(), self.now());
        let compile = move || {
            let empty = cache.compiled(catalog, now)?;
            let only = tenant.iter().map(|(key, tenant)| (key, Some(tenant)));
            Ok(empty.with_tenants(revision, only, now))
        };
        let compiled: Result<Snapshot, ReadError> = apart(compile).await?;
        Ok(compiled?)
    }

    /// The catalog that was in force after a commit.
    ///
    /// # Errors
    /// Where it is not kept any more, is yet to come, or there was none.
    pub async fn catalog_as_of(&self, revision: Revision) -> Result<Arc<Catalog>, Error> {
        let version = self.catalog_version(AsOf::Revision(revision)).await?;
        let (json, _) = version
            .ok_or_else(|| Error::NotFound(format!("there was no catalog at {revision} yet")))?;
        Ok(apart(move || checked_catalog(&json)).await??)
    }

    /// The catalog that is asked for as it is kept, and the commit that it came with.
    ///
    /// # Errors
    /// Where it is not kept any more, or is yet to come.
    pub async fn catalog_version(&self, as_of: AsOf) -> Result<Option<(String, Revision)>, Error> {
        if as_of == AsOf::Now {
            return Ok(self.catalog().await?.map(|row| (row.json, row.revision)));
        }
        let revision = self.revision_of(as_of).await?;
        let read = move |store: &Reading<'_>| store.as_of(&ObjectId::catalog(), revision);
        let version = self.store().read(read).await?;
        Ok(version.and_then(|Version { revision, json }| Some((json?, revision))))
    }

    /// The commit that a world comes from.
    ///
    /// # Errors
    /// Where it is not kept any more, or is yet to come.
    pub async fn revision_of(&self, as_of: AsOf) -> Result<Revision, Error> {
        let read = move |store: &Reading<'_>| {
            let revision = match as_of {
                AsOf::Now => store.revision()?,
                AsOf::Revision(revision) => revision,
                AsOf::Instant(at) => store.revision_at(at)?,
            };
            Ok((revision, store.revision()?, pruned_before(store)?))
        };
        let (revision, last, kept_from) = self.store().read(read).await?;
        if let AsOf::Instant(at) = as_of
            && at > self.now()
        {
            return Err(Error::NotFound(format!("`{at}` is yet to come: ask with `at` instead")));
        }
        if revision > last {
            return Err(Error::NotFound(format!(
                "there is no revision {revision}: {last} is the last"
            )));
        }
        if revision < kept_from {
            return Err(Error::NotFound(format!(
                "what was before revision {kept_from} is not kept any more"
            )));
        }
        Ok(revision)
    }

    /// Lets go of versions that were replaced at an instant or before it. What was in force then
    /// stays, and so does every row of the audit.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn prune_history(&self, horizon: Timestamp) -> Result<(), Error> {
        let read =
            move |store: &Reading<'_>| Ok((store.revision_at(horizon)?, pruned_before(store)?));
        let (before, kept_from) = self.store().read(read).await?;
        if before <= kept_from {
            return Ok(());
        }
        // First the word that they may be gone, then they go: the audit is never found broken.
        let command = Command::NoteHistory { pruned_before: before };
        self.execute(&Actor::local("retention"), command).await?;
        Ok(self.store().note(vec![Note::PruneVersions { before }]).await?)
    }

    /// At most `limit` versions of an object before a commit, the newest first.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn history(
        &self,
        id: ObjectId,
        before: Revision,
        limit: u32,
    ) -> Result<Vec<Past>, Error> {
        Ok(self.store().read(move |store| store.history(&id, before, limit)).await?)
    }
}

impl PastCatalogs {
    fn compiled(
        &self,
        version: Option<Version>,
        now: Timestamp,
    ) -> Result<Arc<Snapshot>, ReadError> {
        let (revision, json) = match version {
            Some(Version { revision, json }) => (revision, json),
            None => (Revision(0), None),
        };
        let compile = || {
            let catalog = match &json {
                Some(json) => checked_catalog(json)?,
                None => checked_catalog("{}")?,
            };
            Ok(Arc::new(Snapshot::compile(revision, catalog, [], now)))
        };
        self.0.try_get_with(revision, compile).map_err(|error: Arc<ReadError>| ReadError::Corrupt {
            what: "a past catalog".into(),
            why: error.to_string(),
        })
    }
}

/// The commit before which versions may be gone.
pub(super) fn pruned_before(store: &Reading<'_>) -> Result<Revision, ReadError> {
    let stored = store.object(&ObjectId::new(Kind::Setting, HistorySetting::NAME))?;
    let read = |json: &str| serde_json::from_str::<HistorySetting>(json);
    let setting = stored.map(|row| read(&row.json)).transpose().map_err(|error| {
        ReadError::Corrupt { what: "the history setting".into(), why: error.to_string() }
    })?;
    Ok(setting.unwrap_or_default().pruned_before)
}

fn no_tenant(key: &str) -> Error {
    Error::NotFound(format!("there is no tenant `{key}`"))
}
