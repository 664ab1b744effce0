//! A draft, changed at random: as one would edit it, or another one altogether.

use entitlements_core::{
    AddOnKey, Amount, Audience, Catalog, Draft, Feature, FeatureKey, FeatureKind, Grant, Grants,
    Limit, PlanVersion, Timestamp,
};

use super::world::{Make, Random};

/// A checked draft that differs from another in a few places, or in all.
pub fn changed(draft: &Draft, random: &mut Random) -> Draft {
    if random.chance(25) {
        return Make { random: Random(random.next()), edges: Vec::new() }.draft();
    }
    let mut next = draft.clone();
    for _ in 0..=random.below(3) {
        let mut tried = next.clone();
        edit(&mut tried, random);
        // What does not fit is left out.
        if Catalog::new(tried.clone()).is_ok() {
            next = tried;
        }
    }
    next
}

fn edit(draft: &mut Draft, random: &mut Random) {
    let donor = Make { random: Random(random.next()), edges: Vec::new() }.draft();
    match random.below(13) {
        0 => {
            let key = pick(draft.plans.keys(), random);
            draft.plans.insert(key.clone(), donor.plans[&key].clone());
        }
        1 => {
            let key = pick(draft.plans.keys(), random);
            let plan = draft.plans.get_mut(&key).unwrap();
            let from = Timestamp::from_micros(super::world::START);
            plan.versions.retain(|version| version.from != from);
            plan.versions.push(PlanVersion {
                from,
                existing_from: random.chance(50).then_some(from),
                extends: None,
                bundles: donor.plans[&key].bundles.clone(),
                grants: donor.plans[&key].grants.clone(),
            });
        }
        2 => {
            let key = pick(draft.bundles.keys(), random);
            draft.bundles.get_mut(&key).unwrap().grants = donor.bundles[&key].grants.clone();
        }
        3 => {
            let key = pick(draft.add_ons.keys(), random);
            draft.add_ons.insert(key.clone(), donor.add_ons[&key].clone());
        }
        4 => retire_add_on(draft, random),
        5 => {
            let key = pick(donor.promotions.keys(), random);
            draft.promotions.insert(key.clone(), donor.promotions[&key].clone());
        }
        6 => {
            let key = pick(draft.promotions.keys(), random);
            draft.promotions.remove(&key);
        }
        7 => {
            let key = pick(draft.segments.keys(), random);
            draft.segments.insert(key.clone(), donor.segments[&key].clone());
        }
        8 => {
            let key = pick(draft.regions.keys(), random);
            draft.regions.insert(key.clone(), donor.regions[&key].clone());
        }
        9 => {
            let key = pick(draft.modules.keys(), random);
            draft.modules.insert(key.clone(), donor.modules[&key].clone());
        }
        10 => {
            let key = pick(draft.features.keys(), random);
            let other = donor.features.get(&key).unwrap_or(&draft.features[&key]).clone();
            draft.features.insert(key.clone(), other);
            // Levels in another order: what was higher is lower.
            if let FeatureKind::Level { levels } = &mut draft.features.get_mut(&key).unwrap().kind {
                levels.reverse();
            }
        }
        11 => retire_feature(draft, random),
        _ => launch_feature(draft, random),
    }
}

fn pick<'k, K: Clone + 'k>(keys: impl Iterator<Item = &'k K>, random: &mut Random) -> K {
    let keys: Vec<&K> = keys.collect();
    (*random.pick(&keys)).clone()
}

fn retire_add_on(draft: &mut Draft, random: &mut Random) {
    let key: AddOnKey = pick(draft.add_ons.keys(), random);
    draft.add_ons.remove(&key);
    for other in draft.add_ons.values_mut() {
        other.requires.remove(&key);
        other.excludes.remove(&key);
    }
}

/// Takes a feature out, or makes it one of another kind, and with it all that grants it.
fn retire_feature(draft: &mut Draft, random: &mut Random) {
    let key: FeatureKey = pick(draft.features.keys(), random);
    let without = |grants: &mut Grants| {
        *grants = grants.iter().filter(|grant| grant.feature != key).cloned().collect();
    };
    draft.bundles.values_mut().for_each(|bundle| without(&mut bundle.grants));
    draft.add_ons.values_mut().for_each(|add_on| without(&mut add_on.grants));
    draft.promotions.values_mut().for_each(|promotion| without(&mut promotion.grants));
    for plan in draft.plans.values_mut() {
        without(&mut plan.grants);
        plan.versions.iter_mut().for_each(|version| without(&mut version.grants));
    }
    if random.chance(50) {
        draft.features.get_mut(&key).unwrap().kind = FeatureKind::Switch;
        grant_in_plans(draft, &key, &Amount::On);
        return;
    }
    draft.features.remove(&key);
    draft.features.values_mut().for_each(|feature| _ = feature.requires.remove(&key));
    draft.modules.values_mut().for_each(|module| _ = module.requires.remove(&key));
}

fn launch_feature(draft: &mut Draft, random: &mut Random) {
    // Its key is the first, so that all others move.
    let key = FeatureKey::new("a-new-one").unwrap();
    let kind = FeatureKind::Limit { unit: "seat".into() };
    draft.features.insert(key.clone(), Feature { kind, ..feature() });
    grant_in_plans(draft, &key, &Amount::Set(Limit::AtMost(random.below(3))));
}

fn feature() -> Feature {
    Feature {
        name: String::new(),
        description: String::new(),
        kind: FeatureKind::Switch,
        module: None,
        requires: Default::default(),
        integrations: Default::default(),
        available_to: Audience::EVERYONE,
        essential: false,
        when_stale: Default::default(),
    }
}

fn grant_in_plans(draft: &mut Draft, feature: &FeatureKey, amount: &Amount) {
    for plan in draft.plans.values_mut() {
        let more =
            Grant { feature: feature.clone(), amount: amount.clone(), only: Audience::EVERYONE };
        plan.grants = plan.grants.iter().cloned().chain([more]).collect();
    }
}
