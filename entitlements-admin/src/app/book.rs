//! Connectors, teams, rules and words as of the last commit, ready to be used.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use entitlements_core::{Draft, Revision, Timestamp};
use serde::de::DeserializeOwned;

use super::{App, Error, parsed};
use crate::{
    store::{ReadError, Reading},
    workflow::{
        Kind, ObjectId,
        connector::{Connector, Credentials},
        routing::Book,
        who::Audiences,
    },
};

/// What is known as of a commit.
#[derive(Debug)]
pub(crate) struct OpenBook {
    revision: Revision,
    pub(crate) book: Book,
    sealed: BTreeMap<String, String>,
    audiences: Audiences,
}

/// The last of them.
#[derive(Debug, Default)]
pub(super) struct Books(Mutex<Option<Arc<OpenBook>>>);

/// The documents of a kind, by key.
type Rows = Vec<(String, String)>;

impl App {
    /// Connectors, teams, rules and words as of the last commit.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub(crate) async fn open_book(&self) -> Result<Arc<OpenBook>, Error> {
        let revision = self.revision();
        let books = &self.0.books.0;
        {
            let last = books.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = last.as_ref().filter(|known| known.revision >= revision) {
                return Ok(Arc::clone(known));
            }
        }
        let read = |store: &Reading<'_>| {
            let rows = |kind: Kind| -> Result<Rows, ReadError> {
                let mut rows = Vec::new();
                store.each_object(kind, |row| {
                    rows.push((row.key, row.stored.json));
                    Ok(())
                })?;
                Ok(rows)
            };
            let connectors = rows(Kind::Connector)?;
            let mut sealed = BTreeMap::new();
            for (key, _) in &connectors {
                let stored = store.object(&ObjectId::new(Kind::Connector, key.as_str()))?;
                sealed.extend(stored.and_then(|row| row.secret).map(|it| (key.clone(), it)));
            }
            let others = (rows(Kind::Team)?, rows(Kind::Route)?, rows(Kind::Template)?);
            Ok((store.revision()?, connectors, sealed, others))
        };
        let (revision, connectors, sealed, (teams, routes, templates)) =
            self.store().read(read).await?;
        let book = Book {
            connectors: all("connector", connectors)?,
            teams: all("team", teams)?,
            routes: all("route", routes)?,
            templates: all("template", templates)?,
        };
        let audiences = audiences(self.pin().catalog().draft(), &book)?;
        let known = Arc::new(OpenBook { revision, book, sealed, audiences });
        *books.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&known));
        Ok(known)
    }

    /// The rules that are for a tenant at an instant, of those that ask who it is.
    pub(super) fn routes_for(
        &self,
        known: &OpenBook,
        tenant: &str,
        at: Timestamp,
    ) -> BTreeSet<String> {
        let pin = self.pin();
        let view = pin.tenant(tenant);
        let key = entitlements_core::TenantKey::new(tenant).ok();
        let found = view.zip(key);
        found.map(|(view, key)| known.audiences.of(&key, &view.tenant(), at)).unwrap_or_default()
    }

    /// What it takes to get into a connector's destination.
    pub(super) fn credentials(&self, known: &OpenBook, key: &str) -> Result<Credentials, Error> {
        match known.sealed.get(key) {
            None => Ok(Credentials::default()),
            Some(sealed) => self.unsealed(key, sealed),
        }
    }

    pub(super) fn unsealed(&self, key: &str, sealed: &str) -> Result<Credentials, Error> {
        let opened = self.0.vault.open(&owner(key), sealed).map_err(Error::Unavailable)?;
        parsed("credentials of connector", key, &opened)
    }
}

impl OpenBook {
    pub(super) fn connector(&self, key: &str) -> Result<&Connector, Error> {
        let found = self.book.connectors.get(key);
        found.ok_or_else(|| Error::NotFound(format!("there is no connector `{key}`")))
    }
}

/// For whom credentials are sealed.
pub(super) fn owner(key: &str) -> String {
    format!("connector `{key}`")
}

fn all<T: DeserializeOwned>(what: &str, rows: Rows) -> Result<BTreeMap<String, T>, Error> {
    rows.into_iter()
        .map(|(key, json)| {
            let value = parsed(what, &key, &json)?;
            Ok((key, value))
        })
        .collect()
}

/// The audiences of all rules. One that a later catalog does not know is that of nobody.
fn audiences(catalog: &Draft, book: &Book) -> Result<Audiences, Error> {
    let wanted = |(key, route): (&'_ String, &'_ crate::workflow::routing::Route)| {
        route.audience.clone().map(|audience| (key.clone(), audience))
    };
    let mut wanted: BTreeMap<_, _> = book.routes.iter().filter_map(wanted).collect();
    let build = |wanted: &BTreeMap<String, _>| {
        Audiences::new(catalog, wanted.iter().map(|(key, audience)| (key.as_str(), audience)))
    };
    if let Ok(audiences) = build(&wanted) {
        return Ok(audiences);
    }
    wanted.retain(|key, audience| {
        let known = Audiences::new(catalog, [(key.as_str(), &*audience)]);
        if let Err(problems) = &known {
            let why = problems.first().map(|problem| problem.message.as_str());
            tracing::warn!(route = key, why, "its audience means nothing under this catalog");
        }
        known.is_ok()
    });
    build(&wanted).map_err(|_| Error::Unavailable("the rules' audiences cannot be read".into()))
}
