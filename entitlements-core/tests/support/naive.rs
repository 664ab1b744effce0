//! The rules a second time, naively: no numbers, no preparation, straight from what people wrote.
//!
//! It exists to disagree with the real one. Nothing of `resolve.rs` is used here.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use entitlements_core::{
    AMOUNT_MAX, AddOnKey, Amount, Audience, BundleKey, Draft, Enrolment, FeatureKey, FeatureKind,
    Grant, Grants, Limit, PlanKey, Reason, SegmentKey, Status, Tenant, TenantAddOn, Timestamp,
};

/// An answer as text, its reason, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naive {
    pub answer: String,
    pub reason: Reason,
    pub source: Option<String>,
}

impl Naive {
    fn denied(reason: Reason, source: Option<String>) -> Self {
        Self { answer: "denied".into(), reason, source }
    }

    pub fn is_allowed(&self) -> bool {
        self.answer != "denied"
    }
}

pub fn decide(draft: &Draft, tenant: Option<&Tenant>, feature: &str, at: Timestamp) -> Naive {
    let Some(tenant) = tenant else { return Naive::denied(Reason::UnknownTenant, None) };
    let Ok(key) = FeatureKey::new(feature) else {
        return Naive::denied(Reason::UnknownFeature, None);
    };
    World { draft, tenant, at }.decide(&key)
}

/// The segments that a tenant is in, by tag or by audience.
pub fn segments<'w>(draft: &'w Draft, tenant: &Tenant, at: Timestamp) -> Vec<&'w SegmentKey> {
    let world = World { draft, tenant, at };
    let is_in = |key: &SegmentKey| {
        world.is_in(&Audience { segment: vec![key.clone()], ..Audience::EVERYONE })
    };
    draft.segments.keys().filter(|key| is_in(key)).collect()
}

/// The add-ons that are in force for a tenant. All that it holds must be in the draft.
pub fn add_ons_in_force(draft: &Draft, tenant: &Tenant, at: Timestamp) -> BTreeSet<AddOnKey> {
    let world = World { draft, tenant, at };
    world.add_ons().into_iter().map(|entry| entry.add_on.clone()).collect()
}

/// Whether an add-on may be had by a tenant.
pub fn is_available(draft: &Draft, add_on: &AddOnKey, tenant: &Tenant, at: Timestamp) -> bool {
    World { draft, tenant, at }.is_in(&draft.add_ons[add_on].available_to)
}

struct World<'w> {
    draft: &'w Draft,
    tenant: &'w Tenant,
    at: Timestamp,
}

/// Something in force: layer (0 plan, 1 add-on, 2 promotion), distance, key, its grants by bundle.
struct Source {
    layer: u8,
    distance: usize,
    key: String,
    quantity: u64,
    /// Which version of a plan; the newer one settles what is still a tie.
    version: Reverse<Timestamp>,
    own: Grants,
    bundles: BTreeSet<BundleKey>,
}

type Version = (Reverse<Timestamp>, Option<PlanKey>, BTreeSet<BundleKey>, Grants);

struct Found {
    layer: u8,
    /// Distance and whether through a bundle, for plans only.
    depth: (usize, bool),
    key: String,
    via: Option<String>,
    version: Reverse<Timestamp>,
    grant: Grant,
    quantity: u64,
}

impl World<'_> {
    fn decide(&self, key: &FeatureKey) -> Naive {
        let Some(feature) = self.draft.features.get(key) else {
            return Naive::denied(Reason::UnknownFeature, None);
        };
        let module = feature.module.as_ref().and_then(|module| self.draft.modules.get(module));
        let mut owners = BTreeSet::new();
        for block in self.tenant.blocks.iter().filter(|block| block.window.contains(self.at)) {
            let all = block.features.is_empty() && block.modules.is_empty();
            let in_module =
                feature.module.as_ref().is_some_and(|module| block.modules.contains(module));
            if (all && !feature.essential) || block.features.contains(key) || in_module {
                owners.insert(block.owner.clone());
            }
        }
        if let Some(owner) = owners.first() {
            return Naive::denied(Reason::Blocked, Some(format!("block:{owner}")));
        }
        let word =
            self.tenant.overrides.iter().find(|o| o.feature == *key && o.window.contains(self.at));
        if word.is_some_and(|word| word.amount.is_none()) {
            return Naive::denied(Reason::DeniedByOverride, Some(format!("override:{key}")));
        }
        let force = word.is_some_and(|word| word.force);
        let sold =
            self.is_in(&feature.available_to) && module.is_none_or(|m| self.is_in(&m.available_to));
        if !force && !sold {
            return Naive::denied(Reason::NotAvailable, None);
        }
        let granted = match word.and_then(|word| word.amount.as_ref()) {
            Some(amount) => Some((amount.clone(), Reason::Override, format!("override:{key}"))),
            None => self.combine(key, &feature.kind),
        };
        let Some((amount, reason, source)) = granted else {
            return Naive::denied(Reason::NotIncluded, None);
        };
        if amount == Amount::Set(Limit::AtMost(0)) {
            return Naive::denied(Reason::Exhausted, Some(source));
        }
        if !force {
            let both =
                feature.integrations.iter().chain(module.iter().flat_map(|m| &m.integrations));
            let missing = both
                .collect::<BTreeSet<_>>()
                .into_iter()
                .find(|i| !self.tenant.integrations.contains(*i));
            if let Some(missing) = missing {
                return Naive::denied(
                    Reason::MissingIntegration,
                    Some(format!("integration:{missing}")),
                );
            }
            let both = feature.requires.iter().chain(module.iter().flat_map(|m| &m.requires));
            let missing =
                both.collect::<BTreeSet<_>>().into_iter().find(|f| !self.decide(f).is_allowed());
            if let Some(missing) = missing {
                return Naive::denied(
                    Reason::MissingPrerequisite,
                    Some(format!("feature:{missing}")),
                );
            }
        }
        let answer = if amount == Amount::On { "allowed".into() } else { amount.to_string() };
        Naive { answer, reason, source: Some(source) }
    }

    fn combine(&self, key: &FeatureKey, kind: &FeatureKind) -> Option<(Amount, Reason, String)> {
        let mut found = self.found(key);
        found.sort_by(|a, b| {
            (a.layer, a.depth, &a.key, &a.via, a.version)
                .cmp(&(b.layer, b.depth, &b.key, &b.via, b.version))
        });
        let first = found.first()?;
        let (amount, winner) = match kind {
            FeatureKind::Switch => (Amount::On, first),
            FeatureKind::Limit { .. } => {
                let set = |found: &Found| match found.grant.amount {
                    Amount::Set(limit) => Some(limit),
                    _ => None,
                };
                let largest = found.iter().filter_map(set).max();
                let added = found.iter().fold(0_u128, |sum, found| match found.grant.amount {
                    Amount::Add(more) => sum + u128::from(more) * u128::from(found.quantity),
                    _ => sum,
                });
                let base = largest.unwrap_or(Limit::AtMost(0));
                let total = match base {
                    Limit::Unlimited => Limit::Unlimited,
                    Limit::AtMost(base) => {
                        let sum = (u128::from(base) + added).min(AMOUNT_MAX.into());
                        Limit::AtMost(u64::try_from(sum).unwrap())
                    }
                };
                let winner =
                    largest.and_then(|largest| found.iter().find(|f| set(f) == Some(largest)));
                (Amount::Set(total), winner.unwrap_or(first))
            }
            FeatureKind::Level { levels } => {
                let rank = |found: &Found| match &found.grant.amount {
                    Amount::Level(level) => levels.iter().position(|one| one == level),
                    _ => None,
                };
                let highest = found.iter().filter_map(rank).max()?;
                let winner = found.iter().find(|found| rank(found) == Some(highest))?;
                (winner.grant.amount.clone(), winner)
            }
            FeatureKind::Config { .. } => {
                let highest = found.iter().map(|found| found.layer).max()?;
                let winner = found.iter().find(|found| found.layer == highest)?;
                (winner.grant.amount.clone(), winner)
            }
        };
        let (reason, word) = match winner.layer {
            0 => (Reason::Plan, "plan"),
            1 => (Reason::AddOn, "add_on"),
            _ => (Reason::Promotion, "promotion"),
        };
        let via = winner.via.as_ref().map(|via| format!("/{via}")).unwrap_or_default();
        Some((amount, reason, format!("{word}:{}{via}", winner.key)))
    }

    fn found(&self, key: &FeatureKey) -> Vec<Found> {
        let mut all = Vec::new();
        for source in self.sources() {
            let mut add = |via: Option<&BundleKey>, grants: &Grants| {
                for grant in grants.iter().filter(|g| g.feature == *key && self.is_in(&g.only)) {
                    let depth = if source.layer == 0 {
                        (source.distance, via.is_some())
                    } else {
                        (0, false)
                    };
                    all.push(Found {
                        layer: source.layer,
                        depth,
                        key: source.key.clone(),
                        via: via.map(ToString::to_string),
                        version: source.version,
                        grant: grant.clone(),
                        quantity: source.quantity,
                    });
                }
            };
            add(None, &source.own);
            for bundle in &source.bundles {
                add(Some(bundle), &self.draft.bundles[bundle].grants);
            }
        }
        all
    }

    fn sources(&self) -> Vec<Source> {
        let mut sources = Vec::new();
        for subscription in self.tenant.subscriptions.iter().filter(|s| s.window.contains(self.at))
        {
            let (mut next, mut distance, mut seen) =
                (Some(subscription.plan.clone()), 0, BTreeSet::new());
            while let Some(key) = next {
                let (version, extends, bundles, own) =
                    self.version(&key, subscription.window.start());
                // A bundle counts once for a subscription, where it is nearest.
                let bundles: BTreeSet<_> =
                    self.expand(&bundles).into_iter().filter(|b| seen.insert(b.clone())).collect();
                sources.push(Source {
                    layer: 0,
                    distance,
                    key: key.to_string(),
                    quantity: 1,
                    version,
                    own,
                    bundles,
                });
                next = extends;
                distance += 1;
            }
        }
        for entry in self.add_ons() {
            let add_on = &self.draft.add_ons[&entry.add_on];
            sources.push(Source {
                layer: 1,
                distance: 0,
                key: entry.add_on.to_string(),
                quantity: entry.quantity.into(),
                version: Reverse(Timestamp::MIN),
                own: add_on.grants.clone(),
                bundles: self.expand(&add_on.bundles),
            });
        }
        let mut groups = BTreeMap::new();
        let mut running = Vec::new();
        for (key, promotion) in &self.draft.promotions {
            let enrolled = promotion.enrolment == Enrolment::Automatic
                || self
                    .tenant
                    .enrolments
                    .iter()
                    .any(|e| e.promotion == *key && e.window.contains(self.at));
            if promotion.window.contains(self.at) && self.is_in(&promotion.audience) && enrolled {
                running.push((key, promotion));
                if let Some(group) = &promotion.exclusive_group {
                    let best = groups.entry(group).or_insert((promotion.priority, key));
                    if promotion.priority > best.0 {
                        *best = (promotion.priority, key);
                    }
                }
            }
        }
        for (key, promotion) in running {
            if promotion.exclusive_group.as_ref().is_none_or(|group| groups[group].1 == key) {
                sources.push(Source {
                    layer: 2,
                    distance: 0,
                    key: key.to_string(),
                    quantity: 1,
                    version: Reverse(Timestamp::MIN),
                    own: promotion.grants.clone(),
                    bundles: self.expand(&promotion.bundles),
                });
            }
        }
        sources
    }

    fn version(&self, key: &PlanKey, subscribed: Timestamp) -> Version {
        let plan = &self.draft.plans[key];
        let reached = plan.versions.iter().filter(|version| {
            version.from <= subscribed || version.existing_from.is_some_and(|from| from <= self.at)
        });
        match reached.max_by_key(|version| version.from) {
            Some(version) => (
                Reverse(version.from),
                version.extends.clone(),
                version.bundles.clone(),
                version.grants.clone(),
            ),
            None => (
                Reverse(Timestamp::MIN),
                plan.extends.clone(),
                plan.bundles.clone(),
                plan.grants.clone(),
            ),
        }
    }

    fn expand(&self, bundles: &BTreeSet<BundleKey>) -> BTreeSet<BundleKey> {
        let inner =
            bundles.iter().flat_map(|bundle| self.expand(&self.draft.bundles[bundle].bundles));
        bundles.iter().cloned().chain(inner).collect()
    }

    /// Add-ons in force. Those that cannot have what they require exclude nobody.
    fn add_ons(&self) -> Vec<&TenantAddOn> {
        let mut able: Vec<&TenantAddOn> = self
            .tenant
            .add_ons
            .iter()
            .filter(|e| {
                e.window.contains(self.at)
                    && self.is_in(&self.draft.add_ons[&e.add_on].available_to)
            })
            .collect();
        able.sort_by_key(|entry| (entry.window.start(), entry.add_on.clone(), entry.window.end()));
        let add_on = |entry: &TenantAddOn| &self.draft.add_ons[&entry.add_on];
        let excludes = |a: &TenantAddOn, b: &TenantAddOn| {
            add_on(a).excludes.contains(&b.add_on) || add_on(b).excludes.contains(&a.add_on)
        };
        let mut in_force: Vec<&TenantAddOn> = Vec::new();
        while !able.is_empty() {
            let requires = |entry: &TenantAddOn, all: &[&TenantAddOn]| {
                all.iter().any(|other| add_on(entry).requires.contains(&other.add_on))
            };
            let next = able.iter().position(|entry| !requires(entry, &able)).unwrap_or(0);
            let entry = able.remove(next);
            let has = |required: &AddOnKey| in_force.iter().any(|other| other.add_on == *required);
            let supported = add_on(entry).requires.iter().all(has);
            if supported && !in_force.iter().any(|other| excludes(other, entry)) {
                in_force.push(entry);
            }
        }
        in_force
    }

    fn status(&self) -> Status {
        let mut now =
            self.tenant.subscriptions.iter().filter(|s| s.window.contains(self.at)).peekable();
        if now.peek().is_some() {
            return if now.all(|s| s.trial) { Status::Trial } else { Status::Active };
        }
        let started = self.tenant.subscriptions.iter().any(|s| s.window.start() <= self.at);
        if started { Status::Lapsed } else { Status::Prospect }
    }

    fn is_in(&self, audience: &Audience) -> bool {
        let tenant = self.tenant;
        let subscribed = |plan: &PlanKey| {
            tenant.subscriptions.iter().any(|s| s.plan == *plan && s.window.contains(self.at))
        };
        let in_region = |key: &entitlements_core::RegionKey| {
            tenant.country.as_ref().is_some_and(|c| self.draft.regions[key].countries.contains(c))
        };
        let in_segment = |key: &entitlements_core::SegmentKey| {
            tenant.segments.contains(key)
                || self.draft.segments[key]
                    .audience
                    .as_ref()
                    .is_some_and(|audience| self.is_in(audience))
        };
        let aged = audience.age.is_none_or(|age| {
            let Some(start) = tenant.signed_up_at else { return false };
            let day = 86_400_000_000_i128;
            let lived = i128::from(self.at.as_micros()) - i128::from(start.as_micros());
            lived >= i128::from(age.days_min.unwrap_or(0)) * day
                && age.days_below.is_none_or(|below| lived < i128::from(below) * day)
        });
        audience.all.iter().all(|inner| self.is_in(inner))
            && (audience.any.is_empty() || audience.any.iter().any(|inner| self.is_in(inner)))
            && audience.not.as_ref().is_none_or(|inner| !self.is_in(inner))
            && (audience.plan.is_empty() || audience.plan.iter().any(subscribed))
            && (audience.country.is_empty()
                || tenant.country.as_ref().is_some_and(|c| audience.country.contains(c)))
            && (audience.region.is_empty() || audience.region.iter().any(in_region))
            && (audience.segment.is_empty() || audience.segment.iter().any(in_segment))
            && (audience.status.is_empty() || audience.status.contains(&self.status()))
            && aged
            && audience.attributes.iter().all(|(key, one_of)| {
                tenant.attributes.get(key).is_some_and(|value| one_of.0.contains(value))
            })
    }
}
