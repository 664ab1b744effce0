//! Compiled = naive, over random worlds; and the laws of the rules.
//!
//! `ENTITLEMENTS_WORLDS` raises the number of worlds for long runs. A failure prints its seed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[expect(dead_code, reason = "what the test of the impact needs")]
mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use entitlements_core::{Catalog, Decision, Reason, Revision, Snapshot, TenantKey, Timestamp};
use support::{
    naive::{self, Naive},
    world::{Random, World},
};

/// Worlds, and questions (tenant, instant) for each.
const WORLDS: u64 = 2_500;
const TENANTS: usize = 10;
const QUESTIONS: u64 = 24;

fn worlds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test's own setting")]
    std::env::var("ENTITLEMENTS_WORLDS").ok().and_then(|text| text.parse().ok()).unwrap_or(WORLDS)
}

fn answered(decision: &Decision<'_>) -> Naive {
    Naive {
        answer: decision.verdict().to_string(),
        reason: decision.reason(),
        source: decision.source().map(|source| source.to_string()),
    }
}

fn catalog(world: &World) -> Arc<Catalog> {
    Arc::new(Catalog::new(world.draft.clone()).unwrap_or_else(|errors| panic!("{errors}")))
}

#[derive(Default)]
struct Mix {
    questions: u64,
    cells: u64,
    allowed: u64,
    near_edge: u64,
    reasons: BTreeMap<Reason, u64>,
}

impl Mix {
    fn assert(&self) {
        let share = |part: u64, whole: u64| part as f64 / whole as f64;
        let (allowed, near) =
            (share(self.allowed, self.cells), share(self.near_edge, self.questions));
        println!(
            "{} questions, {} cells, {allowed:.3} allowed, {near:.3} near an edge",
            self.questions, self.cells
        );
        println!("{:?}", self.reasons);
        assert!(self.questions >= 50_000 || worlds() < WORLDS, "{} questions", self.questions);
        assert!((0.3..=0.7).contains(&allowed), "{allowed} allowed");
        assert!(near >= 0.2, "{near} within a millisecond of an edge");
        for reason in Reason::ALL {
            let seen = share(self.reasons.get(&reason).copied().unwrap_or(0), self.cells);
            assert!(seen >= 0.001, "{reason} in {seen}");
        }
    }
}

#[test]
fn compiled_answers_are_those_of_the_naive_oracle() {
    let mut mix = Mix::default();
    for seed in 0..worlds() {
        let world = World::new(seed, TENANTS);
        let catalog = catalog(&world);
        let mut random = Random(seed ^ 0xabcd);
        let compiled_at = world.instant(&mut random);
        let snapshot = Snapshot::compile(Revision(seed), catalog, &world.tenants, compiled_at);
        let mut tenants: Vec<_> = world.tenants.keys().cloned().collect();
        tenants.push(TenantKey::new("nobody").unwrap());
        for question in 0..QUESTIONS {
            // One in four is asked where the answers are prepared.
            let at = if question % 4 == 0 { compiled_at } else { world.instant(&mut random) };
            let known = if random.chance(5) { TENANTS + 1 } else { TENANTS };
            let tenant = random.pick(&tenants[..known]);
            ask(&world, &snapshot, tenant, at, seed, &mut mix);
        }
    }
    mix.assert();
}

fn ask(
    world: &World,
    snapshot: &Snapshot,
    tenant: &TenantKey,
    at: Timestamp,
    seed: u64,
    mix: &mut Mix,
) {
    mix.questions += 1;
    let near = |edge: &Timestamp| edge.as_micros().abs_diff(at.as_micros()) <= 1_000;
    mix.near_edge += u64::from(world.edges.iter().any(near));
    let unknown = ["unknown"].into_iter().filter(|_| mix.questions.is_multiple_of(10));
    for feature in world.draft.features.keys().map(|key| key.as_str()).chain(unknown) {
        let decision = snapshot.check(tenant.as_str(), feature, at);
        let expected = naive::decide(&world.draft, world.tenants.get(tenant), feature, at);
        assert_eq!(
            answered(&decision),
            expected,
            "seed {seed}, tenant {tenant}, feature {feature}, at {at}\n{:#?}\n{:#?}",
            snapshot.explain(tenant.as_str(), feature, at),
            world.tenants.get(tenant)
        );
        mix.cells += 1;
        mix.allowed += u64::from(expected.is_allowed());
        *mix.reasons.entry(expected.reason).or_default() += 1;
    }
}

/// All answers of a tenant, as text.
fn row(snapshot: &Snapshot, tenant: &TenantKey, at: Timestamp) -> Vec<Naive> {
    let view = snapshot.tenant(tenant.as_str());
    view.into_iter()
        .flat_map(|view| view.decisions(at))
        .map(|(_, decision)| answered(&decision))
        .collect()
}

#[test]
fn between_two_changes_that_are_named_no_answer_changes() {
    for seed in 0..worlds() / 5 {
        let world = World::new(seed, 3);
        let mut random = Random(seed ^ 0x77);
        let at = world.instant(&mut random);
        let snapshot = Snapshot::compile(Revision(1), catalog(&world), &world.tenants, at);
        for tenant in world.tenants.keys() {
            let view = snapshot.tenant(tenant.as_str()).unwrap();
            // Starts also where nothing is prepared.
            let start = world.instant(&mut random);
            let expected = row(&snapshot, tenant, start);
            let next = view.next_change(start);
            let inside = world
                .edges
                .iter()
                .copied()
                .filter(|edge| start < *edge && next.is_none_or(|next| *edge < next));
            let before_next = next.map(|next| next.minus(Duration::from_micros(1)));
            for at in inside.chain(before_next).filter(|at| *at >= start) {
                assert_eq!(
                    row(&snapshot, tenant, at),
                    expected,
                    "seed {seed}, {tenant}, from {start} to {at}, next {next:?}"
                );
            }
            for (feature, decision) in view.decisions(start) {
                assert_eq!(decision.valid_until(), next, "seed {seed}, {tenant}, {feature}");
            }
        }
    }
}

#[test]
fn the_order_of_the_input_is_irrelevant() {
    for seed in 0..worlds() / 10 {
        let world = World::new(seed, 4);
        let catalog = catalog(&world);
        let at = world.instant(&mut Random(seed));
        let forth = Snapshot::compile(Revision(1), catalog.clone(), &world.tenants, at);
        let mut turned = world.tenants.clone();
        for tenant in turned.values_mut() {
            tenant.subscriptions.reverse();
            tenant.add_ons.reverse();
            tenant.enrolments.reverse();
            tenant.overrides.reverse();
            tenant.blocks.reverse();
        }
        let back = Snapshot::compile(Revision(1), catalog, turned.iter().rev(), at);
        for tenant in world.tenants.keys() {
            assert_eq!(row(&forth, tenant, at), row(&back, tenant, at), "seed {seed}, {tenant}");
        }
        assert_eq!(forth.encode(), back.encode(), "seed {seed}");
    }
}

#[test]
fn a_full_snapshot_is_the_same_as_one_reached_by_any_series_of_changes() {
    for seed in 0..worlds() / 10 {
        let world = World::new(seed, 6);
        let other = World::new(seed ^ 0xffff, 6);
        let mut random = Random(seed);
        let at = world.instant(&mut random);
        let full = Snapshot::compile(Revision(9), catalog(&world), &world.tenants, at);
        let hash = full.content_hash();
        // From another catalog and other tenants under the same keys, in random steps.
        let mut steps = Snapshot::compile(
            Revision(1),
            catalog(&other),
            &other.tenants,
            other.instant(&mut random),
        );
        assert_ne!(steps.content_hash(), hash, "seed {seed}");
        let mut keys: Vec<_> = world.tenants.keys().cloned().collect();
        let swap_at = random.below(6);
        for step in 0..6 {
            if step == swap_at {
                steps =
                    steps.with_catalog(Revision(2), catalog(&world), world.instant(&mut random));
            }
            let key = keys.swap_remove(random.below(keys.len() as u64) as usize);
            let gone = TenantKey::new(&format!("gone{step}")).unwrap();
            let now = world.instant(&mut random);
            steps = steps.with_tenants(
                Revision(3),
                [(&gone, Some(&world.tenants[&key])), (&key, None)],
                now,
            );
            steps = steps.with_tenants(
                Revision(4),
                [(&key, Some(&world.tenants[&key])), (&gone, None)],
                now,
            );
            steps = steps.refreshed(world.instant(&mut random)).unwrap_or(steps);
        }
        let steps = steps.with_tenants(Revision(9), [], at);
        for at in [at, world.instant(&mut random), world.instant(&mut random)] {
            for tenant in world.tenants.keys() {
                assert_eq!(
                    row(&steps, tenant, at),
                    row(&full, tenant, at),
                    "seed {seed}, {tenant}, {at}"
                );
            }
        }
        assert_eq!(steps.encode(), full.encode(), "seed {seed}");
        assert_eq!(steps.content_hash(), hash, "seed {seed}");
        let read = Snapshot::decode(&full.encode(), at).unwrap();
        assert_eq!(read.encode(), full.encode(), "seed {seed}");
        assert!(full.changes(&read, at).next().is_none(), "seed {seed}");
    }
}

#[test]
fn adding_a_grant_never_takes_away_or_lowers_anything() {
    for seed in 0..worlds() / 5 {
        let world = World::new(seed, 4);
        let donor = World::new(seed ^ 0x5555, 0);
        let mut random = Random(seed);
        let mut draft = world.draft.clone();
        // The grants of another world's plan on top of one of this world's, through a bundle of
        // their own. Settings of a config are neither more nor less, so configs are left out.
        let grants = donor
            .draft
            .plans
            .values()
            .flat_map(|plan| plan.grants.iter())
            .filter(|g| g.feature.as_str() != "f3");
        let mut extra =
            entitlements_core::Bundle { grants: grants.cloned().collect(), ..Default::default() };
        if extra.grants.iter().any(|grant| !grant.only.is_everyone()) {
            extra.grants = extra
                .grants
                .iter()
                .map(|g| entitlements_core::Grant { only: Default::default(), ..g.clone() })
                .collect();
        }
        let key = entitlements_core::BundleKey::new("extra").unwrap();
        draft.bundles.insert(key.clone(), extra);
        let plans: Vec<_> = draft.plans.keys().cloned().collect();
        let plan = draft.plans.get_mut(random.pick(&plans)).unwrap();
        plan.bundles.insert(key.clone());
        plan.versions.iter_mut().for_each(|version| _ = version.bundles.insert(key.clone()));

        let at = world.instant(&mut random);
        let before = Snapshot::compile(Revision(1), catalog(&world), &world.tenants, at);
        let more = before.with_catalog(Revision(2), Arc::new(Catalog::new(draft).unwrap()), at);
        for change in before.changes(&more, at) {
            use entitlements_core::Direction::{Gained, Raised};
            assert!(matches!(change.direction(&more), Gained | Raised), "seed {seed}: {change:?}");
        }
    }
}

#[test]
fn windows_are_exact_to_the_microsecond_on_both_ends() {
    let text = r#"
        [features.a]
        kind = "switch"
        [promotions.p]
        window = { from = 2026-03-01T00:00:00.000001Z, until = 2026-03-02T00:00:00.000001Z }
        grants = { a = true }
        [tenants.t]
    "#;
    let document = entitlements_core::document::Document::parse("w.toml", text).unwrap();
    let catalog = Arc::new(document.check().unwrap());
    let at = |text: &str| Timestamp::parse(text).unwrap();
    let expected = [
        ("2026-03-01T00:00:00Z", false, Some("2026-03-01T00:00:00.000001Z")),
        ("2026-03-01T00:00:00.000001Z", true, Some("2026-03-02T00:00:00.000001Z")),
        ("2026-03-02T00:00:00Z", true, Some("2026-03-02T00:00:00.000001Z")),
        ("2026-03-02T00:00:00.000001Z", false, None),
    ];
    // Compiled before, during and after: each must give every answer.
    for (compiled, _, _) in expected {
        let snapshot =
            Snapshot::compile(Revision(1), catalog.clone(), &document.tenants, at(compiled));
        for (when, allowed, until) in expected {
            let decision = snapshot.check("t", "a", at(when));
            assert_eq!(decision.is_allowed(), allowed, "compiled at {compiled}, asked at {when}");
            assert_eq!(
                decision.valid_until(),
                until.map(at),
                "compiled at {compiled}, asked at {when}"
            );
        }
    }
}
