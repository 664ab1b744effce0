//! Decides what a command about tenants changes.

use std::collections::BTreeMap;

use entitlements_core::{Catalog, Problem, Revision, Tenant, TenantKey};

use super::{Changeset, ObjectId, Origin, Record, Write, catalog::tenant_problems};

/// The catalog that tenants are checked under, and its revision; none before the first one.
pub type Under<'c> = (&'c Catalog, Option<Revision>);

/// Makes or replaces one tenant.
///
/// # Errors
/// All that is wrong with it under the catalog, with paths inside the tenant.
pub fn put(
    origin: Origin,
    under: Under<'_>,
    current: Option<Revision>,
    key: &TenantKey,
    tenant: &Tenant,
) -> Result<Changeset, Vec<Problem>> {
    let (catalog, catalog_revision) = under;
    let problems = catalog.check_tenant(tenant);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut changes = origin.changeset(format!("tenant {key}"));
    changes.reads.insert(ObjectId::catalog(), catalog_revision);
    changes.writes.insert(ObjectId::tenant(key.as_str()), replacing(current, tenant)?);
    Ok(changes)
}

/// Removes one tenant.
#[must_use]
pub fn delete(origin: Origin, current: Revision, key: &TenantKey) -> Changeset {
    let mut changes = origin.changeset(format!("tenant {key}"));
    let write = Write { expected: Some(current), after: None };
    changes.writes.insert(ObjectId::tenant(key.as_str()), write);
    changes
}

/// Makes or replaces many tenants, all of them or none.
///
/// # Errors
/// All that is wrong with any of them under the catalog, with paths such as
/// `tenants.acme.subscriptions[0].plan`.
pub fn bulk(
    origin: Origin,
    under: Under<'_>,
    current: &BTreeMap<String, Revision>,
    tenants: &BTreeMap<TenantKey, Tenant>,
) -> Result<Changeset, Vec<Problem>> {
    let (catalog, catalog_revision) = under;
    let problems = tenant_problems(catalog, tenants);
    if !problems.is_empty() {
        return Err(problems);
    }
    let count = tenants.len();
    let subject = format!("{count} {}", if count == 1 { "tenant" } else { "tenants" });
    let mut changes = origin.changeset(subject);
    changes.reads.insert(ObjectId::catalog(), catalog_revision);
    changes.writes = replacing_all(current, tenants)?;
    Ok(changes)
}

/// The write that each tenant is, given what it replaces.
///
/// # Errors
/// Where one cannot be written as JSON.
pub fn replacing_all(
    current: &BTreeMap<String, Revision>,
    tenants: &BTreeMap<TenantKey, Tenant>,
) -> Result<BTreeMap<ObjectId, Write>, Vec<Problem>> {
    let write = |(key, tenant): (&TenantKey, &Tenant)| {
        let expected = current.get(key.as_str()).copied();
        Ok((ObjectId::tenant(key.as_str()), replacing(expected, tenant)?))
    };
    tenants.iter().map(write).collect()
}

fn replacing(expected: Option<Revision>, tenant: &Tenant) -> Result<Write, Vec<Problem>> {
    let not_json = |error: serde_json::Error| {
        let (path, message) = (String::new(), error.to_string());
        vec![Problem { path, code: "not_json".into(), message }]
    };
    let record = Record::of(tenant).map_err(not_json)?;
    Ok(Write { expected, after: Some(record) })
}
