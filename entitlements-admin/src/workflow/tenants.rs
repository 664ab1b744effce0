//! Decides what a command about tenants changes.

use std::collections::BTreeMap;

use entitlements_core::{Catalog, Problem, Revision, Tenant, TenantKey};

use super::{Changeset, Origin, TenantChange, catalog::tenant_problems};

/// Makes or replaces one tenant.
///
/// # Errors
/// All that is wrong with it under the catalog, with paths inside the tenant.
pub fn put(
    origin: Origin,
    catalog: (&Catalog, Revision),
    current: Option<Revision>,
    key: TenantKey,
    tenant: Tenant,
) -> Result<Changeset, Vec<Problem>> {
    let (catalog, catalog_revision) = catalog;
    let problems = catalog.check_tenant(&tenant);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut changes = origin.changeset(format!("tenant {key}"));
    changes.catalog_read = Some(catalog_revision);
    changes.tenants.insert(key, TenantChange { expected: current, tenant: Some(tenant) });
    Ok(changes)
}

/// Removes one tenant.
#[must_use]
pub fn delete(origin: Origin, current: Revision, key: TenantKey) -> Changeset {
    let mut changes = origin.changeset(format!("tenant {key}"));
    changes.tenants.insert(key, TenantChange { expected: Some(current), tenant: None });
    changes
}

/// Makes or replaces many tenants, all of them or none.
///
/// # Errors
/// All that is wrong with any of them under the catalog, with paths such as
/// `tenants.acme.subscriptions[0].plan`.
pub fn bulk(
    origin: Origin,
    catalog: (&Catalog, Revision),
    current: &BTreeMap<TenantKey, Revision>,
    tenants: BTreeMap<TenantKey, Tenant>,
) -> Result<Changeset, Vec<Problem>> {
    let (catalog, catalog_revision) = catalog;
    let problems = tenant_problems(catalog, &tenants);
    if !problems.is_empty() {
        return Err(problems);
    }
    let count = tenants.len();
    let subject = format!("{count} {}", if count == 1 { "tenant" } else { "tenants" });
    let mut changes = origin.changeset(subject);
    changes.catalog_read = Some(catalog_revision);
    changes.tenants = replacing(current, tenants);
    Ok(changes)
}

/// The change that each tenant is, given what it replaces.
#[must_use]
pub fn replacing(
    current: &BTreeMap<TenantKey, Revision>,
    tenants: BTreeMap<TenantKey, Tenant>,
) -> BTreeMap<TenantKey, TenantChange> {
    let change = |(key, tenant): (TenantKey, Tenant)| {
        let expected = current.get(&key).copied();
        (key, TenantChange { expected, tenant: Some(tenant) })
    };
    tenants.into_iter().map(change).collect()
}
