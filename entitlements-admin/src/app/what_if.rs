//! What would become of one tenant if it, the catalog or the date were another.

use entitlements_core::{Snapshot, Tenant, TenantKey};

use super::{App, Error};
use crate::workflow::{catalog::tenant_problems, draft};

/// What might be otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhatIf {
    /// Whose answers.
    pub key: TenantKey,
    /// The tenant as it might be; as it is where absent.
    pub tenant: Option<Box<Tenant>>,
    /// A draft of the catalog; the live catalog where absent.
    pub draft: Option<String>,
}

impl App {
    /// The world as it is, and as it would be. The second knows this tenant and no other.
    ///
    /// # Errors
    /// Where there is no such tenant and none was given, no such draft, or where the draft is no
    /// catalog or the tenant does not fit it.
    pub async fn what_if(&self, what: WhatIf) -> Result<(Snapshot, Snapshot), Error> {
        let WhatIf { key, tenant, draft } = what;
        let (pin, now) = (self.pin(), self.now());
        let current = pin.tenant(key.as_str()).map(|view| view.tenant());
        let missing = || Error::NotFound(format!("there is no tenant `{key}`: send one"));
        let tenant = tenant.map(|tenant| *tenant).or(current.clone()).ok_or_else(missing)?;
        let catalog = match &draft {
            None => pin.catalog().clone(),
            Some(id) => {
                let edits = self.draft(id).await?.record.edits;
                let merged = draft::merge(pin.catalog().draft(), &edits);
                merged.catalog.ok_or(Error::InvalidCatalog(merged.problems))?.into()
            }
        };
        let supposed = [(key.clone(), tenant.clone())].into();
        let problems = tenant_problems(&catalog, &supposed);
        if !problems.is_empty() {
            return Err(Error::InvalidTenants(problems));
        }
        let revision = pin.revision();
        let live = current.iter().map(|tenant| (&key, tenant));
        let before = Snapshot::compile(revision, pin.catalog().clone(), live, now);
        let after = Snapshot::compile(revision, catalog, [(&key, &tenant)], now);
        Ok((before, after))
    }
}
