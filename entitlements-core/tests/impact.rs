//! The impact in numbers = brute force over single checks, cell by cell, over random worlds.
//!
//! `ENTITLEMENTS_WORLDS` raises the number of worlds for long runs. A failure prints its seed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[expect(dead_code, reason = "the impact is not held against the naive answers themselves")]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use entitlements_core::{
    AboveLimit, AddOnImpact, AddOnKey, Catalog, Change, CohortImpact, Direction, Draft, FeatureKey,
    FeatureKind, Impact, ImpactOptions, Limit, Revision, SampledChange, SampledUsage, Snapshot,
    Standing, Tally, Tenant, TenantKey, Timestamp, Verdict,
};
use support::{
    change::changed,
    naive,
    world::{Random, World},
};

const WORLDS: u64 = 600;
const TENANTS: usize = 12;
const SAMPLE_MAX: usize = 2;

fn worlds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test's own setting")]
    std::env::var("ENTITLEMENTS_WORLDS").ok().and_then(|text| text.parse().ok()).unwrap_or(WORLDS)
}

fn catalog(draft: &Draft) -> Arc<Catalog> {
    Arc::new(Catalog::new(draft.clone()).unwrap_or_else(|errors| panic!("{errors}")))
}

/// Two snapshots that differ in their catalog, their tenants, or both.
struct Pair {
    drafts: [Draft; 2],
    tenants: [BTreeMap<TenantKey, Tenant>; 2],
    snapshots: [Snapshot; 2],
    at: Timestamp,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let world = World::new(seed, TENANTS);
        let mut random = Random(seed ^ 0xbeef);
        let at = world.instant(&mut random);
        // Half of them are prepared for another instant, or not for a part of the tenants.
        let prepared_at = |random: &mut Random| {
            if random.chance(50) { at } else { world.instant(random) }
        };
        let draft = changed(&world.draft, &mut random);
        let before = Snapshot::compile(
            Revision(1),
            catalog(&world.draft),
            &world.tenants,
            prepared_at(&mut random),
        );
        let mut tenants = world.tenants.clone();
        let after = if random.chance(70) {
            before.with_catalog(Revision(2), catalog(&draft), prepared_at(&mut random))
        } else {
            Snapshot::compile(Revision(2), catalog(&draft), &tenants, prepared_at(&mut random))
        };
        let mut after = after;
        if random.chance(40) {
            let other = World::new(seed ^ 0xffff, TENANTS);
            let keys: Vec<_> = tenants.keys().cloned().collect();
            let gone = random.pick(&keys).clone();
            let new = TenantKey::new("t00").unwrap();
            let moved = random.pick(&keys).clone();
            tenants.insert(new.clone(), other.tenants[&keys[0]].clone());
            tenants.insert(moved.clone(), other.tenants[&moved].clone());
            tenants.remove(&gone);
            let edits = [&new, &moved, &gone].map(|key| (key, tenants.get(key)));
            after = after.with_tenants(Revision(3), edits, prepared_at(&mut random));
        }
        Self {
            drafts: [world.draft, draft],
            tenants: [world.tenants, tenants],
            snapshots: [before, after],
            at,
        }
    }

    fn keys(&self) -> BTreeSet<&TenantKey> {
        self.tenants.iter().flat_map(BTreeMap::keys).collect()
    }

    fn features(&self) -> BTreeSet<&FeatureKey> {
        self.drafts.iter().flat_map(|draft| draft.features.keys()).collect()
    }

    fn verdicts(&self, tenant: &TenantKey, feature: &FeatureKey) -> [Verdict<'_>; 2] {
        [0, 1].map(|side| {
            self.snapshots[side].check(tenant.as_str(), feature.as_str(), self.at).verdict()
        })
    }

    fn direction(
        &self,
        feature: &FeatureKey,
        before: Verdict<'_>,
        after: Verdict<'_>,
    ) -> Direction {
        let by = |up: bool| if up { Direction::Raised } else { Direction::Lowered };
        let rank = |name: &str| match &self.drafts[1].features[feature].kind {
            FeatureKind::Level { levels } => levels.iter().position(|l| l.as_str() == name),
            _ => None,
        };
        match (before, after) {
            (Verdict::Denied, _) => Direction::Gained,
            (_, Verdict::Denied) => Direction::Lost,
            (Verdict::Limit(Limit::AtMost(before)), Verdict::Limit(Limit::AtMost(after))) => {
                by(before < after)
            }
            (Verdict::Limit(_), Verdict::Limit(after)) => by(after == Limit::Unlimited),
            (Verdict::Level(before), Verdict::Level(after)) => match (rank(before), rank(after)) {
                (Some(before), Some(after)) => by(before < after),
                _ => Direction::Altered,
            },
            _ => Direction::Altered,
        }
    }

    /// The cohorts of a tenant, as text, by what it is in either snapshot.
    fn cohorts(&self, tenant: &TenantKey) -> BTreeSet<String> {
        let mut all = BTreeSet::from(["all".to_owned()]);
        for (draft, tenants) in self.drafts.iter().zip(&self.tenants) {
            let Some(tenant) = tenants.get(tenant) else { continue };
            let current = tenant.subscriptions.iter().filter(|s| s.window.contains(self.at));
            let plans = current.map(|s| &s.plan).filter(|plan| draft.plans.contains_key(*plan));
            all.extend(plans.map(|plan| format!("plan:{plan}")));
            all.extend(tenant.country.iter().map(|country| format!("country:{country}")));
            let segments = naive::segments(draft, tenant, self.at);
            all.extend(segments.into_iter().map(|segment| format!("segment:{segment}")));
        }
        all
    }
}

/// How much a tenant uses: by what the names happen to be, about as much as limits allow.
fn usage(tenant: &str, feature: &FeatureKey) -> Option<u64> {
    let sum = tenant
        .bytes()
        .chain(feature.as_str().bytes())
        .fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    (sum % 3 != 0).then_some(sum % 45)
}

fn is_above(verdict: Verdict<'_>, used: u64) -> bool {
    match verdict {
        Verdict::Denied => used > 0,
        Verdict::Limit(Limit::AtMost(most)) => used > most,
        _ => false,
    }
}

#[test]
fn the_impact_is_what_single_checks_say() {
    let mut seen = Tally::default();
    for seed in 0..worlds() {
        let pair = Pair::new(seed);
        let impact = impact(&pair);
        let expected = brute_force(&pair, &mut seen);
        let found: BTreeMap<String, &CohortImpact> = std::iter::once(("all".into(), &impact.all))
            .chain(impact.by_plan.iter().map(|(key, cohort)| (format!("plan:{key}"), cohort)))
            .chain(impact.by_country.iter().map(|(key, cohort)| (format!("country:{key}"), cohort)))
            .chain(impact.by_segment.iter().map(|(key, cohort)| (format!("segment:{key}"), cohort)))
            .collect();
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            expected.cohorts.keys().collect::<Vec<_>>(),
            "seed {seed}"
        );
        for (name, cohort) in &expected.cohorts {
            assert_eq!(found[name], cohort, "seed {seed}, {name}");
        }
        assert_eq!(impact.sample, expected.sample, "seed {seed}");
        assert_eq!(impact.above_limit, expected.above, "seed {seed}");
        assert_eq!((impact.before, impact.after), (Revision(1), pair.snapshots[1].revision()));
        let text = serde_json::to_string(&impact).unwrap();
        assert_eq!(serde_json::from_str::<Impact>(&text).unwrap(), impact, "seed {seed}");
    }
    println!("{seen:?}");
    for direction in Direction::ALL {
        assert!(seen.of(direction) >= worlds() / 10, "{direction:?} in {seen:?}");
    }
}

fn impact(pair: &Pair) -> Impact {
    let options = ImpactOptions { sample_max: SAMPLE_MAX, usage: Some(&usage) };
    pair.snapshots[0].impact(&pair.snapshots[1], pair.at, options)
}

#[derive(Default)]
struct Expected {
    cohorts: BTreeMap<String, CohortImpact>,
    sample: Vec<SampledChange>,
    above: Vec<AboveLimit>,
}

fn brute_force(pair: &Pair, seen: &mut Tally) -> Expected {
    let mut expected = Expected::default();
    for tenant in pair.keys() {
        let mut directions = BTreeMap::new();
        for feature in pair.features() {
            let [before, after] = pair.verdicts(tenant, feature);
            if before != after {
                directions.insert(feature, pair.direction(feature, before, after));
            }
        }
        let losing = directions.values().any(|d| matches!(d, Direction::Lost | Direction::Lowered));
        for cohort in pair.cohorts(tenant) {
            let cohort = expected.cohorts.entry(cohort).or_default();
            cohort.tenants += 1;
            cohort.changed += u64::from(!directions.is_empty());
            cohort.losing += u64::from(losing);
            for (feature, direction) in &directions {
                add(cohort.features.entry((*feature).clone()).or_default(), *direction);
            }
        }
        directions.values().for_each(|direction| add(seen, *direction));
    }
    expected.cohorts.retain(|name, cohort| cohort.changed > 0 || name == "all");
    for feature in pair.features() {
        expected.above.extend(above(pair, feature));
        for direction in Direction::ALL {
            expected.sample.extend(sample(pair, feature, direction));
        }
    }
    expected
}

fn add(tally: &mut Tally, direction: Direction) {
    *match direction {
        Direction::Gained => &mut tally.gained,
        Direction::Lost => &mut tally.lost,
        Direction::Raised => &mut tally.raised,
        Direction::Lowered => &mut tally.lowered,
        Direction::Altered => &mut tally.altered,
    } += 1;
}

fn sample(pair: &Pair, feature: &FeatureKey, direction: Direction) -> Vec<SampledChange> {
    let mut found = Vec::new();
    for tenant in pair.keys() {
        let [before, after] = pair.verdicts(tenant, feature);
        if before != after && pair.direction(feature, before, after) == direction {
            found.push(SampledChange {
                feature: feature.clone(),
                direction,
                tenant: tenant.to_string(),
                before: before.to_string(),
                after: after.to_string(),
            });
        }
    }
    found.truncate(SAMPLE_MAX);
    found
}

fn above(pair: &Pair, feature: &FeatureKey) -> Option<AboveLimit> {
    let mut found = Vec::new();
    for tenant in pair.keys() {
        let [before, after] = pair.verdicts(tenant, feature);
        let Some(used) = usage(tenant.as_str(), feature) else { continue };
        if is_above(after, used) && !is_above(before, used) {
            found.push(SampledUsage {
                tenant: tenant.to_string(),
                used,
                before: before.to_string(),
                after: after.to_string(),
            });
        }
    }
    let tenants = found.len() as u64;
    found.truncate(SAMPLE_MAX);
    (tenants > 0).then(|| AboveLimit { feature: feature.clone(), tenants, sample: found })
}

#[test]
fn every_change_is_listed_by_tenant_and_feature() {
    for seed in 0..worlds() / 2 {
        let pair = Pair::new(seed);
        let [before, after] = &pair.snapshots;
        let mut expected = Vec::new();
        for tenant in pair.keys() {
            let mut own = Vec::new();
            for feature in pair.features() {
                let [before, after] = pair.verdicts(tenant, feature);
                if before != after {
                    own.push(Change { tenant: tenant.as_str(), feature, before, after });
                }
            }
            let listed: Vec<_> = before.changes_of(after, tenant.as_str(), pair.at).collect();
            assert_eq!(listed, own, "seed {seed}, {tenant}");
            expected.append(&mut own);
        }
        let listed: Vec<_> = before.changes(after, pair.at).collect();
        assert_eq!(listed, expected, "seed {seed}");
    }
}

/// Add-ons of a tenant by whether they are in force, and those out of force with the reason.
struct Held {
    in_force: BTreeSet<AddOnKey>,
    suspended: BTreeMap<AddOnKey, (Standing, Option<AddOnKey>)>,
}

/// What a tenant's view says it holds, after the naive rules have agreed with it.
fn held(pair: &Pair, side: usize, key: &TenantKey, seed: u64) -> Option<Held> {
    let (draft, at) = (&pair.drafts[side], pair.at);
    let tenant = pair.tenants[side].get(key)?;
    let mut known = tenant.clone();
    known.add_ons.retain(|entry| draft.add_ons.contains_key(&entry.add_on));
    let in_force = naive::add_ons_in_force(draft, &known, at);
    let mut held = Held { in_force, suspended: BTreeMap::new() };
    let all = pair.snapshots[side].tenant(key.as_str()).unwrap().add_ons(at);
    assert_eq!(all.len(), tenant.add_ons.len(), "seed {seed}, {key}");
    for found in all {
        let add_on = draft.add_ons.get(&found.add_on);
        let because = found.because.clone();
        let fine = match found.standing {
            None => held.in_force.contains(&found.add_on) && found.window.contains(at),
            Some(Standing::NotStarted) => at < found.window.start(),
            Some(Standing::Ended) => at >= found.window.end(),
            Some(Standing::NotInCatalog) => add_on.is_none(),
            Some(Standing::NotForTenant) => !naive::is_available(draft, &found.add_on, tenant, at),
            Some(Standing::LacksRequirement) => because.as_ref().is_some_and(|other| {
                add_on.unwrap().requires.contains(other) && !held.in_force.contains(other)
            }),
            Some(Standing::Excluded) => because.as_ref().is_some_and(|other| {
                let other_way = &draft.add_ons[other].excludes;
                held.in_force.contains(other)
                    && (add_on.unwrap().excludes.contains(other)
                        || other_way.contains(&found.add_on))
            }),
            Some(_) => false,
        };
        assert!(fine, "seed {seed}, {key}: {found:?}");
        assert_eq!(found.is_in_force(), found.standing.is_none());
        if found.is_suspended() && !held.in_force.contains(&found.add_on) {
            let reason = (found.standing.unwrap(), because);
            held.suspended.entry(found.add_on).or_insert(reason);
        }
    }
    Some(held)
}

#[test]
fn add_ons_come_to_be_suspended_and_come_back_as_single_tenants_say() {
    let mut seen: BTreeMap<Standing, u64> = BTreeMap::new();
    for seed in 0..worlds() {
        let pair = Pair::new(seed);
        let mut counts = [BTreeMap::new(), BTreeMap::new()];
        for key in pair.keys() {
            let (Some(before), Some(after)) =
                (held(&pair, 0, key, seed), held(&pair, 1, key, seed))
            else {
                continue;
            };
            for (count, has, lacks) in [(0, &before, &after), (1, &after, &before)] {
                for (add_on, reason) in &lacks.suspended {
                    if has.in_force.contains(add_on) {
                        let tenants: &mut Vec<String> =
                            counts[count].entry((add_on.clone(), reason.clone())).or_default();
                        tenants.push(key.to_string());
                        *seen.entry(reason.0).or_default() += 1;
                    }
                }
            }
        }
        let [suspended, resumed] = counts.map(|counts| counts.into_iter().map(named).collect());
        let impact = impact(&pair);
        let (suspended, resumed): (Vec<_>, Vec<_>) = (suspended, resumed);
        assert_eq!(impact.suspended, suspended, "seed {seed}");
        assert_eq!(impact.resumed, resumed, "seed {seed}");
    }
    println!("{seen:?}");
    for standing in [
        Standing::NotForTenant,
        Standing::LacksRequirement,
        Standing::Excluded,
        Standing::NotInCatalog,
    ] {
        assert!(seen.get(&standing).is_some_and(|count| *count > 10), "{standing:?} in {seen:?}");
    }
}

type Suspended = ((AddOnKey, (Standing, Option<AddOnKey>)), Vec<String>);

fn named(((add_on, (standing, because)), mut keys): Suspended) -> AddOnImpact {
    let tenants = keys.len() as u64;
    keys.truncate(SAMPLE_MAX);
    AddOnImpact { add_on, standing, because, tenants, sample: keys }
}
