//! Which of several audiences a tenant is in, by the rules of the core.
//!
//! The rules are stated once, so they are asked: each audience becomes that of a promotion which
//! grants a feature of its own, and whoever may use that feature is in it.

use std::collections::{BTreeMap, BTreeSet};

use entitlements_core::{
    Amount, Audience, Catalog, Draft, Feature, FeatureKey, FeatureKind, Grant, Plan, Problem,
    Promotion, PromotionKey, Revision, Snapshot, Tenant, TenantKey, Timestamp, WhenStale,
};

/// Audiences by name, ready to be asked.
#[derive(Debug, Clone)]
pub struct Audiences {
    catalog: std::sync::Arc<Catalog>,
    names: Vec<(FeatureKey, String)>,
}

impl Audiences {
    /// Takes the regions, segments and plans of a catalog, and audiences by name.
    ///
    /// # Errors
    /// What in them the catalog does not know.
    pub fn new<'a>(
        catalog: &Draft,
        wanted: impl IntoIterator<Item = (&'a str, &'a Audience)>,
    ) -> Result<Self, Vec<Problem>> {
        let plans = catalog.plans.keys().map(|key| (key.clone(), Plan::default())).collect();
        let mut draft = Draft {
            regions: catalog.regions.clone(),
            segments: catalog.segments.clone(),
            plans,
            ..Draft::default()
        };
        let mut names = Vec::new();
        for (number, (name, audience)) in wanted.into_iter().enumerate() {
            let key = format!("a{number}");
            let (Ok(feature), Ok(promotion)) = (FeatureKey::new(&key), PromotionKey::new(&key))
            else {
                continue;
            };
            draft.features.insert(feature.clone(), switch());
            let grant =
                Grant { feature: feature.clone(), amount: Amount::On, only: Audience::EVERYONE };
            let grants = [grant].into_iter().collect();
            let audience = audience.clone();
            draft
                .promotions
                .insert(promotion, Promotion { audience, grants, ..Promotion::default() });
            names.push((feature, name.to_owned()));
        }
        let catalog = Catalog::new(draft).map_err(|errors| errors.0)?;
        Ok(Self { catalog: std::sync::Arc::new(catalog), names })
    }

    /// The names of those that a tenant is in at an instant.
    #[must_use]
    pub fn of(&self, key: &TenantKey, tenant: &Tenant, at: Timestamp) -> BTreeSet<String> {
        // Nothing that stands in the way of using a feature stands in the way of being somebody.
        let bare = Tenant {
            overrides: Vec::new(),
            blocks: Vec::new(),
            add_ons: Vec::new(),
            enrolments: Vec::new(),
            ..tenant.clone()
        };
        let tenants = BTreeMap::from([(key.clone(), bare)]);
        let world =
            Snapshot::compile(Revision(1), std::sync::Arc::clone(&self.catalog), &tenants, at);
        let is_in = |(feature, name): &(FeatureKey, String)| {
            let decision = world.check(key.as_str(), feature.as_str(), at);
            decision.is_allowed().then(|| name.clone())
        };
        self.names.iter().filter_map(is_in).collect()
    }
}

fn switch() -> Feature {
    Feature {
        name: String::new(),
        description: String::new(),
        kind: FeatureKind::Switch,
        module: None,
        requires: BTreeSet::new(),
        integrations: BTreeSet::new(),
        available_to: Audience::EVERYONE,
        essential: false,
        when_stale: WhenStale::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_where_the_rules_say() {
        let catalog: Draft = toml::from_str(
            r#"
            [features.seats]
            kind = { limit = { unit = "seat" } }
            [plans.pro]
            grants = { seats = 5 }
            [plans.basic]
            [regions.dach]
            countries = ["DE", "AT", "CH"]
            [segments.large]
            audience = { attributes = { beds = 100 } }
            "#,
        )
        .unwrap();
        let audience = |text: &str| toml::from_str::<Audience>(text).unwrap();
        let wanted = [
            ("dach", audience("region = ['dach']")),
            ("pro", audience("plan = ['pro']")),
            ("not-pro", audience("not = { plan = ['pro'] }")),
            ("large", audience("segment = ['large']")),
            ("trial", audience("status = ['trial']")),
        ];
        let wanted = wanted.iter().map(|(name, audience)| (*name, audience));
        let audiences = Audiences::new(&catalog, wanted).unwrap();
        let at = Timestamp::from_micros(0);
        let of = |json: &str| {
            let tenant: Tenant = serde_json::from_str(json).unwrap();
            let found = audiences.of(&TenantKey::new("acme").unwrap(), &tenant, at);
            found.into_iter().collect::<Vec<_>>().join(" ")
        };
        let blocked = r#""blocks":[{"owner":"billing"}]"#;
        assert_eq!(of(&format!(r#"{{"country":"AT",{blocked}}}"#)), "dach not-pro");
        let pro = r#""subscriptions":[{"plan":"pro","trial":true}]"#;
        assert_eq!(of(&format!("{{{pro}}}")), "pro trial");
        assert_eq!(of(r#"{"attributes":{"beds":100}}"#), "large not-pro");
        let unknown = audience("region = ['nowhere']");
        let problems = Audiences::new(&catalog, [("x", &unknown)]).unwrap_err();
        assert!(problems[0].message.contains("nowhere"), "{problems:?}");
    }
}
