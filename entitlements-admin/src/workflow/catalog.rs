//! Decides what making a catalog the one in force changes.

use std::collections::BTreeMap;

use entitlements_core::{Catalog, Problem, Revision, Tenant, TenantKey};

use super::{Changeset, ObjectId, Origin, Record, Write, below};

/// Makes `catalog` the catalog in force.
///
/// # Errors
/// Where it cannot be written as JSON.
pub fn replace(
    origin: Origin,
    current: Option<Revision>,
    catalog: &Catalog,
) -> Result<Changeset, serde_json::Error> {
    let mut changes = origin.changeset("the catalog");
    let record = Record::of(catalog.draft())?;
    let write = Write { expected: current, after: Some(record) };
    changes.writes.insert(ObjectId::catalog(), write);
    Ok(changes)
}

/// What in existing tenants means nothing, or does not fit, under a catalog.
///
/// It stops nobody from making it the one in force: what means nothing gives nothing.
#[must_use]
pub fn warnings<'t>(
    catalog: &Catalog,
    tenants: impl IntoIterator<Item = (&'t str, Tenant)>,
) -> Vec<Problem> {
    let sorted: BTreeMap<&str, Tenant> = tenants.into_iter().collect();
    let findings = |(key, tenant): (&&str, &Tenant)| {
        let path = format!("tenants.{key}");
        catalog.check_tenant(tenant).into_iter().map(move |problem| below(&path, problem))
    };
    sorted.iter().flat_map(findings).collect()
}

/// What is wrong with tenants under a catalog.
#[must_use]
pub fn tenant_problems(catalog: &Catalog, tenants: &BTreeMap<TenantKey, Tenant>) -> Vec<Problem> {
    let findings = |(key, tenant): (&TenantKey, &Tenant)| {
        let path = format!("tenants.{key}");
        catalog.check_tenant(tenant).into_iter().map(move |problem| below(&path, problem))
    };
    tenants.iter().flat_map(findings).collect()
}
