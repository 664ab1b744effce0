//! What leads from one snapshot's content to another's.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::DocumentError;
use crate::{Catalog, Draft, Revision, Snapshot, Tenant, TenantKey, Timestamp};

/// The format that is written, and the newest that is read.
const FORMAT: u32 = 1;

/// What changed between two contents: whole objects, each as it is afterwards.
#[derive(Debug, Clone, Default)]
pub struct Delta {
    /// The catalog, where it is another one.
    pub catalog: Option<Arc<Catalog>>,
    /// Tenants made or changed, and (`None`) removed.
    pub tenants: BTreeMap<TenantKey, Option<Tenant>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    format: u32,
    #[serde(default)]
    catalog: Option<Draft>,
    #[serde(default, deserialize_with = "super::unique_keys")]
    tenants: BTreeMap<TenantKey, Option<Tenant>>,
}

#[derive(Serialize)]
struct Written<'d> {
    format: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    catalog: Option<&'d Draft>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tenants: &'d BTreeMap<TenantKey, Option<Tenant>>,
}

impl Delta {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.catalog.is_none() && self.tenants.is_empty()
    }

    /// As a document: JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let catalog = self.catalog.as_ref().map(|catalog| catalog.draft());
        let written = Written { format: FORMAT, catalog, tenants: &self.tenants };
        // Catalogs and tenants are plain data, which always has a JSON form.
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// Reads a document.
    ///
    /// # Errors
    /// Where it cannot be read, is of a newer format, or its catalog is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, DocumentError> {
        let read: Read = match serde_json::from_slice(bytes) {
            Ok(read) => read,
            Err(_) => return Err(unreadable(bytes)),
        };
        if read.format > FORMAT {
            return Err(DocumentError::NewerFormat { found: read.format });
        }
        let checked = |draft| {
            let wrong = |_| DocumentError::Damaged("the catalog in its change is wrong");
            Catalog::new(draft).map(Arc::new).map_err(wrong)
        };
        Ok(Self { catalog: read.catalog.map(checked).transpose()?, tenants: read.tenants })
    }

    /// What follows it, on top of it.
    pub fn extend(&mut self, later: Self) {
        self.catalog = later.catalog.or_else(|| self.catalog.take());
        self.tenants.extend(later.tenants);
    }
}

/// A newer format may hold what this version cannot read; then that is what is wrong.
fn unreadable(bytes: &[u8]) -> DocumentError {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    match serde_json::from_slice(bytes) {
        Ok(Format { format }) if format > FORMAT => DocumentError::NewerFormat { found: format },
        _ => DocumentError::Damaged("its change cannot be read"),
    }
}

impl Snapshot {
    /// The snapshot that a change leads to, its answers prepared from an instant on. A change of few
    /// tenants takes microseconds, however many there are.
    #[must_use]
    pub fn with_delta(&self, revision: Revision, delta: &Delta, at: Timestamp) -> Self {
        let base = match &delta.catalog {
            Some(catalog) => &self.with_catalog(revision, catalog.clone(), at),
            None => self,
        };
        base.with_tenants(revision, delta.tenants.iter().map(|(key, it)| (key, it.as_ref())), at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    const AT: Timestamp = Timestamp::from_micros(0);

    fn snapshot() -> Snapshot {
        let text = r#"
            [features.sso]
            kind = "switch"
            [plans.pro]
            grants = { sso = true }
            [tenants.acme]
            subscriptions = [{ plan = "pro" }]
            [tenants.beta]
            country = "FR"
        "#;
        let document = Document::parse("a.toml", text).unwrap();
        let catalog = Arc::new(document.check().unwrap());
        Snapshot::compile(Revision(7), catalog, &document.tenants, AT)
    }

    #[test]
    fn it_is_read_as_it_is_written() {
        let base = snapshot();
        let tenant = base.tenant("acme").unwrap().tenant();
        let delta = Delta {
            catalog: Some(base.catalog().clone()),
            tenants: [("acme", None), ("new", Some(tenant))]
                .map(|(key, it)| (TenantKey::new(key).unwrap(), it))
                .into(),
        };
        let read = Delta::decode(&delta.encode()).unwrap();
        assert_eq!(read.tenants, delta.tenants);
        assert_eq!(read.catalog.unwrap().draft(), base.catalog().draft());
        assert!(Delta::decode(&Delta::default().encode()).unwrap().is_empty());
    }

    #[test]
    fn an_empty_change_changes_nothing_but_the_revision() {
        let base = snapshot();
        let next = base.with_delta(Revision(8), &Delta::default(), AT);
        assert_eq!(next.content_hash(), base.content_hash());
        assert_eq!((next.revision(), next.tenant_count()), (Revision(8), 2));
    }

    #[test]
    fn the_hash_follows_every_change_and_comes_back_with_the_content() {
        let base = snapshot();
        let hash = base.content_hash();
        let acme = TenantKey::new("acme").unwrap();
        let tenant = base.tenant("acme").unwrap().tenant();
        let gone = Delta { tenants: [(acme.clone(), None)].into(), ..Delta::default() };
        let without = base.with_delta(Revision(8), &gone, AT);
        assert_ne!(without.content_hash(), hash);
        let back = Delta { tenants: [(acme, Some(tenant))].into(), ..Delta::default() };
        let again = without.with_delta(Revision(9), &back, AT);
        assert_eq!(again.content_hash(), hash);
        // Worked out from nothing it is the same.
        assert_eq!(snapshot().content_hash(), hash);
        assert_eq!(Snapshot::decode(&again.encode(), AT).unwrap().content_hash(), hash);
    }

    #[test]
    fn what_is_damaged_or_newer_is_refused() {
        let damaged = |text: &str| Delta::decode(text.as_bytes()).unwrap_err().to_string();
        assert!(damaged("{").contains("cannot be read"));
        assert!(damaged(r#"{"format":1,"more":{}}"#).contains("cannot be read"));
        assert!(damaged(r#"{"format":2,"more":{}}"#).contains("format 2"));
        assert!(damaged(r#"{"format":1,"tenants":{"a":null,"a":null}}"#).contains("cannot be"));
        let wrong = r#"{"format":1,"catalog":{"plans":{"p":{"grants":{"nothing":true}}}}}"#;
        assert!(damaged(wrong).contains("is wrong"), "{}", damaged(wrong));
    }
}
