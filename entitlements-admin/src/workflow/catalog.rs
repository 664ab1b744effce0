//! Decides what importing a catalog changes.

use std::{collections::BTreeMap, sync::Arc};

use entitlements_core::{Catalog, Problem, Revision, Tenant, TenantKey};

use super::{CatalogChange, Changeset, Origin, below};

/// Makes `catalog` the catalog in force.
#[must_use]
pub fn import(origin: Origin, current: Option<Revision>, catalog: Arc<Catalog>) -> Changeset {
    let mut changes = origin.changeset("catalog".into());
    changes.catalog = Some(CatalogChange { expected: current, catalog });
    changes
}

/// What in existing tenants means nothing, or does not fit, under a catalog.
///
/// It stops nobody from importing it: what means nothing gives nothing.
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
