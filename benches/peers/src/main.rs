//! The same question put to this engine, to the floor, to the map that people write by hand, and to
//! Unleash's engine, in turns.
//!
//! A busy machine is fast for one second and slow for the next. So each round puts the questions to
//! every peer in turn, once to warm up and then to be timed, and what is printed is the median over
//! rounds of the ratio inside a round.
//! Every peer must give the same answers before anything is timed.

use std::{collections::HashMap, hint::black_box, sync::Arc, time::Instant};

use entitlements_core::{Entitlements, FeatureHandle, Revision, Snapshot, Tenant, TenantHandle};
use unleash_types::client_features::{ClientFeatures, Context};
use unleash_yggdrasil::EngineState;

#[path = "../../support/floor.rs"]
mod floor;
#[path = "../../support/world.rs"]
mod world;

use world::NOW;

const TENANTS: u64 = 10_000;
const QUESTIONS: usize = 8_192;
const ROUNDS: usize = 101;
const PASSES: usize = 4;

fn main() {
    let plan = world::Plan::new();
    let catalog = Arc::new(plan.document().check().expect("the bench catalog is right"));
    let tenants: Vec<_> = (0..TENANTS).map(world::tenant).collect();
    let pairs = tenants.iter().map(|(key, tenant)| (key, tenant));
    let snapshot = Snapshot::compile(Revision(1), catalog, pairs, NOW);
    let questions = floor::questions(TENANTS, QUESTIONS);
    let floor = floor::Floor::new(&snapshot, NOW);
    let map = floor::map(&snapshot, NOW);
    let engine = unleash(&plan, &tenants);
    let contexts: HashMap<&str, Context> =
        tenants.iter().map(|(key, tenant)| (key.as_str(), context(key.as_str(), tenant))).collect();
    let contexts: Vec<&Context> =
        questions.iter().map(|(tenant, _)| &contexts[tenant.as_str()]).collect();
    let handles: Vec<_> =
        questions.iter().map(|(t, f)| (TenantHandle::new(t), FeatureHandle::new(f))).collect();
    let numbers: Vec<usize> =
        questions.iter().map(|(_, f)| f[1..].parse().expect("a number")).collect();
    let live = Entitlements::new(snapshot.clone());
    let (mut reader, mut other, mut third) = (live.reader(), live.reader(), live.reader());
    let views: Vec<_> = questions.iter().filter_map(|(t, _)| snapshot.tenant(t.as_str())).collect();

    let mut peers: Vec<(&str, Box<dyn FnMut(usize) -> bool + '_>)> = vec![
        (
            "floor: arc-swap load, one hash, one bit",
            Box::new(|i| floor.check(&questions[i].0, numbers[i])),
        ),
        (
            "handles, full decision",
            Box::new(|i| {
                black_box(reader.load().check(&handles[i].0, &handles[i].1, NOW)).is_allowed()
            }),
        ),
        (
            "strings, full decision",
            Box::new(|i| {
                let (tenant, feature) = &questions[i];
                black_box(other.load().check(tenant.as_str(), feature.as_str(), NOW)).is_allowed()
            }),
        ),
        (
            "strings, full decision, pinned anew each time",
            Box::new(|i| {
                let (tenant, feature) = &questions[i];
                black_box(live.pin().check(tenant.as_str(), feature.as_str(), NOW)).is_allowed()
            }),
        ),
        (
            "view, feature by handle, full decision",
            Box::new(|i| {
                black_box(third.load().revision());
                black_box(views[i].check(&handles[i].1, NOW)).is_allowed()
            }),
        ),
        (
            "HashMap<String, HashSet<String>>",
            Box::new(|i| map.get(&questions[i].0).is_some_and(|all| all.contains(&questions[i].1))),
        ),
        (
            "unleash-yggdrasil, context built before",
            Box::new(|i| engine.is_enabled(&questions[i].1, contexts[i], &None)),
        ),
    ];

    let expected: Vec<bool> = (0..QUESTIONS).map(|i| peers[0].1(i)).collect();
    for (name, ask) in &mut peers {
        let wrong = (0..QUESTIONS).filter(|i| ask(*i) != expected[*i]).count();
        assert_eq!(wrong, 0, "{name} gives other answers");
    }
    let allowed = expected.iter().filter(|allowed| **allowed).count() * 100 / QUESTIONS;
    println!(
        "{TENANTS} tenants x {} features, {QUESTIONS} questions, {allowed} % allowed, {ROUNDS} rounds",
        world::FEATURES
    );

    let mut times = vec![Vec::with_capacity(ROUNDS); peers.len()];
    for _ in 0..ROUNDS {
        for ((_, ask), times) in peers.iter_mut().zip(&mut times) {
            // The peer before has filled the caches with its own things.
            black_box((0..QUESTIONS).filter(|i| ask(*i)).count());
            let start = Instant::now();
            for _ in 0..PASSES {
                black_box((0..QUESTIONS).filter(|i| ask(*i)).count());
            }
            times.push(start.elapsed().as_secs_f64() * 1e9 / (PASSES * QUESTIONS) as f64);
        }
    }
    println!("{:<48} {:>9} {:>9} {:>9}", "", "best ns", "median ns", "x floor");
    for ((name, _), own) in peers.iter().zip(&times) {
        let best = own.iter().copied().fold(f64::MAX, f64::min);
        let ratios = own.iter().zip(&times[0]).map(|(own, floor)| own / floor).collect();
        println!("{name:<48} {best:>9.1} {:>9.1} {:>9.2}", median(own.clone()), median(ratios));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The catalog as toggles: a strategy for the plans, one for each add-on and promotion, one for the
/// tenants with an override; a required feature as a dependency.
fn unleash(plan: &world::Plan, tenants: &[(entitlements_core::TenantKey, Tenant)]) -> EngineState {
    let is_in = |name: &str, values: Vec<String>| serde_json::json!({ "contextName": name, "operator": "IN", "values": values });
    let day = |days: i64| {
        entitlements_core::Timestamp::from_micros(NOW.as_micros() + days * 86_400_000_000)
            .to_string()
    };
    let toggle = |f: u64| {
        let having = |all: &[Vec<u64>]| -> Vec<usize> {
            (0..all.len()).filter(|i| all[*i].contains(&f)).collect()
        };
        let plans = having(&plan.plans).into_iter().map(|i| format!("p{i}")).collect();
        let mut constraints = vec![vec![is_in("plan", plans)]];
        for i in having(&plan.add_ons) {
            constraints.push(vec![serde_json::json!({ "contextName": "addOns", "operator": "STR_CONTAINS", "values": [format!(",a{i},")] })]);
        }
        for (features, countries, from, until) in &plan.promotions {
            if features.contains(&f) {
                constraints.push(vec![
                    is_in("country", countries.iter().map(ToString::to_string).collect()),
                    serde_json::json!({ "contextName": "currentTime", "operator": "DATE_AFTER", "value": day(*from) }),
                    serde_json::json!({ "contextName": "currentTime", "operator": "DATE_BEFORE", "value": day(*until) }),
                ]);
            }
        }
        let name = format!("f{f}");
        let overridden =
            tenants.iter().filter(|(_, t)| t.overrides.iter().any(|o| o.feature.as_str() == name));
        constraints
            .push(vec![is_in("userId", overridden.map(|(key, _)| key.to_string()).collect())]);
        let strategies: Vec<_> = constraints
            .into_iter()
            .map(|all| serde_json::json!({ "name": "default", "constraints": all }))
            .collect();
        let dependencies: Vec<_> = plan
            .requires
            .get(&f)
            .map(|r| serde_json::json!({ "feature": format!("f{r}"), "enabled": true }))
            .into_iter()
            .collect();
        serde_json::json!({ "name": name, "enabled": true, "strategies": strategies, "dependencies": dependencies })
    };
    let features: Vec<_> = (0..world::FEATURES).map(toggle).collect();
    let features: ClientFeatures =
        serde_json::from_value(serde_json::json!({ "version": 2, "features": features }))
            .expect("toggles are right");
    let engine = EngineState::default();
    let warnings = engine.apply_client_features(features);
    assert!(warnings.is_none_or(|all| all.is_empty()), "a toggle did not compile");
    engine
}

/// What an application would tell the engine about a tenant: it keeps none itself.
fn context(key: &str, tenant: &Tenant) -> Context {
    let add_ons = tenant.add_ons.iter().filter(|entry| entry.window.contains(NOW));
    let add_ons: String = add_ons.map(|entry| format!("{},", entry.add_on)).collect();
    let mut properties = HashMap::from([("addOns".into(), format!(",{add_ons}"))]);
    properties
        .extend(tenant.country.as_ref().map(|country| ("country".into(), country.to_string())));
    properties.extend(tenant.subscriptions.first().map(|s| ("plan".into(), s.plan.to_string())));
    Context {
        user_id: Some(key.into()),
        session_id: None,
        environment: None,
        app_name: None,
        current_time: Some(NOW.to_string()),
        remote_address: None,
        properties: Some(properties),
    }
}
