//! How much of their limits tenants used. It comes often, is kept as it is last known, and is no
//! part of any revision.

use entitlements_core::{FeatureKey, TenantKey, Timestamp};

use super::{Actor, App, Error};
use crate::{store::Note, workflow::Permission};

/// How much a tenant used of a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Who.
    pub tenant: TenantKey,
    /// Of what.
    pub feature: FeatureKey,
    /// How much, in the feature's unit.
    pub amount: u64,
    /// When it was counted.
    pub at: Timestamp,
}

impl App {
    /// Takes note of what was used, all of it or nothing, and says how many that were.
    ///
    /// # Errors
    /// Where the actor may not, or one of it is about a tenant that it does not see.
    pub async fn note_usage(&self, actor: &Actor, used: Vec<Used>) -> Result<usize, Error> {
        actor.may(Permission::WriteUsage)?;
        if let Some(foreign) = used.iter().find(|used| !actor.sees(used.tenant.as_str())) {
            return Err(Error::NotFound(format!("there is no tenant `{}`", foreign.tenant)));
        }
        let now = self.now();
        if let Some(odd) = used.iter().find(|used| used.at > now) {
            return Err(Error::InvalidInput(format!("`{}` is yet to come", odd.at)));
        }
        let count = used.len();
        let note = |used: Used| Note::Usage {
            tenant: used.tenant.to_string(),
            feature: used.feature.to_string(),
            amount: used.amount,
            at: used.at,
        };
        self.store().note(used.into_iter().map(note).collect()).await?;
        Ok(count)
    }

    /// What one tenant used last.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn usage_of(&self, tenant: &TenantKey) -> Result<Vec<Used>, Error> {
        let key = tenant.to_string();
        let rows = self.store().read(move |store| store.usage_of(&key)).await?;
        let used = |(feature, amount, at): (String, u64, Timestamp)| {
            let feature = feature
                .parse()
                .map_err(|error| Error::Unavailable(format!("the usage of `{tenant}`: {error}")))?;
            Ok(Used { tenant: tenant.clone(), feature, amount, at })
        };
        rows.into_iter().map(used).collect()
    }
}
