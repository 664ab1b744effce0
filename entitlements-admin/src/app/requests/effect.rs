//! What a request would do, worked out by the rules that enforce it.

use entitlements_core::{Revision, Snapshot, Tenant, TenantKey, Timestamp, Window, document::Hash};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::{App, Error, KeptListing};
use crate::workflow::{
    holding::Holding,
    listing::Listing,
    request::{Asks, RequestRecord, Terms},
};

/// What one feature is before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FeatureEffect {
    /// Which.
    pub feature: String,
    /// What it is without it.
    pub before: String,
    /// What it is with it.
    pub after: String,
    /// Why, afterwards.
    pub reason: String,
}

/// What a request would do to a tenant, worked out by the same rules that enforce it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Effect {
    /// The instant that it is worked out for.
    pub at: Timestamp,
    /// What would be otherwise, by feature.
    pub features: Vec<FeatureEffect>,
    /// The add-ons that would be held and not in force, each with why.
    pub suspended: Vec<String>,
    /// What is another in the listing since it was handed in.
    pub listing_changes: Vec<String>,
    /// What votes are bound to: request, listing and effect.
    #[schemars(with = "String")]
    pub digest: Hash,
}

impl App {
    pub(super) fn effect(
        &self,
        record: &RequestRecord,
        listing: &KeptListing,
        holding: Option<&(Holding, Revision)>,
        tenant: &Tenant,
    ) -> Result<Effect, Error> {
        let pin = self.pin();
        let key = TenantKey::new(&record.tenant).map_err(|e| Error::Unavailable(e.to_string()))?;
        let at = record.wants.start_at.map_or(self.now(), |start| start.max(self.now()));
        let holding = holding.map(|(holding, _)| holding);
        let after = after(record, &listing.record.listing, holding, tenant, at)?;
        let world = |tenant: &Tenant| {
            Snapshot::compile(pin.revision(), pin.catalog().clone(), [(&key, tenant)], at)
        };
        let (old, new) = (world(tenant), world(&after));
        let mut features = Vec::new();
        for feature in pin.catalog().draft().features.keys() {
            let before = old.check(key.as_str(), feature.as_str(), at);
            let then = new.check(key.as_str(), feature.as_str(), at);
            if before.verdict() != then.verdict() {
                features.push(FeatureEffect {
                    feature: feature.to_string(),
                    before: before.verdict().to_string(),
                    after: then.verdict().to_string(),
                    reason: then.reason().to_string(),
                });
            }
        }
        let held = new.tenant(key.as_str()).map(|view| view.add_ons(at)).unwrap_or_default();
        let suspended = held.iter().filter(|held| held.is_suspended()).map(|held| {
            let why = held.standing.map(|why| format!("{why:?}")).unwrap_or_default();
            format!("{} ({})", held.add_on, why.to_lowercase())
        });
        let suspended: Vec<String> = suspended.collect();
        let now = Terms::of(&listing.record.listing);
        let changes = record.terms.as_ref().map(|terms| terms.differences(&now));
        let digest = serde_json::to_vec(&(
            &record.tenant,
            &record.listing,
            &record.asks,
            &record.wants,
            now.listing,
            &features,
            &suspended,
        ));
        let digest = Hash::of(&digest.map_err(|error| Error::Unavailable(error.to_string()))?);
        let listing_changes = changes.unwrap_or_default().into_iter().map(Into::into).collect();
        Ok(Effect { at, features, suspended, listing_changes, digest })
    }
}

/// The tenant as a request would have it.
pub(super) fn after(
    record: &RequestRecord,
    listing: &Listing,
    holding: Option<&Holding>,
    tenant: &Tenant,
    at: Timestamp,
) -> Result<Tenant, Error> {
    let wants = &record.wants;
    let missing = || Error::Refused("what the request is about is gone".into());
    let changed = match &record.asks {
        Asks::Order {} => {
            let window = Window::new(Some(at), wants.until);
            listing.offer.granted(&record.tenant, tenant, wants.quantity, &window)
        }
        Asks::Change { .. } => {
            holding.ok_or_else(missing)?.changed(tenant, wants.quantity, wants.until)
        }
        Asks::Cancel { .. } => Ok(holding.ok_or_else(missing)?.revoked(tenant, at)),
    };
    changed.map_err(|error| Error::Refused(error.to_string()))
}
