//! What is on offer that would give a tenant a feature, or more of it.

use entitlements_core::{Direction, Snapshot, Tenant, TenantKey, Window};

use super::{
    super::{App, Call, Error},
    work::ineligible,
};

/// Something that would give a tenant more of a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lift {
    /// The key of the listing.
    pub listing: String,
    /// What it is called.
    pub title: String,
    /// What the feature would be.
    pub after: String,
    /// Why it may not be asked for now.
    pub why: Option<String>,
}

impl App {
    /// What a feature is for a tenant now, and what is on offer that would make it more, worked out by
    /// the rules that enforce it.
    ///
    /// # Errors
    /// Where there is no such tenant or feature.
    pub async fn lifts(
        &self,
        call: &Call,
        key: &str,
        feature: &str,
    ) -> Result<(String, Vec<Lift>), Error> {
        let (tenant, _) = self.tenant_now(key).await?;
        let (pin, at) = (self.pin(), self.now());
        if !pin.catalog().draft().features.contains_key(feature) {
            return Err(Error::NotFound(format!("there is no feature `{feature}`")));
        }
        let name = TenantKey::new(key).map_err(|error| Error::Unavailable(error.to_string()))?;
        let world = |tenant: &Tenant| {
            Snapshot::compile(pin.revision(), pin.catalog().clone(), [(&name, tenant)], at)
        };
        let now = world(&tenant);
        let mut lifts = Vec::new();
        for kept in self.listings(call).await? {
            let (stage, listing) = (kept.record.stage()?, &kept.record.listing);
            let window = Window::new(Some(at), None);
            if !stage.is_shown() {
                continue;
            }
            // What it has already gives it no more.
            let Ok(granted) = listing.offer.granted(key, &tenant, 1, &window) else { continue };
            let then = world(&granted);
            let gains = now.changes_of(&then, key, at).any(|change| {
                change.feature.as_str() == feature
                    && matches!(
                        change.direction(&then),
                        Direction::Gained | Direction::Raised | Direction::Altered
                    )
            });
            if gains {
                lifts.push(Lift {
                    title: listing.title.clone(),
                    after: then.check(key, feature, at).verdict().to_string(),
                    why: ineligible(self, listing, stage, key, &tenant, at)?,
                    listing: kept.key,
                });
            }
        }
        Ok((now.check(key, feature, at).verdict().to_string(), lifts))
    }
}
