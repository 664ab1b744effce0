//! The impact of a draft on 100,000 tenants x 300 features, from the draft's catalog on.
//!
//! Beside it stand two floors: looking every tenant up in both snapshots, which nothing can do
//! without, and asking both about each of the 30,000,000 cells, which is what it saves.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![expect(unreachable_pub, dead_code, reason = "modules shared with other benches")]

use std::{hint::black_box, sync::Arc};

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use entitlements_core::{
    AddOnKey, Audience, Catalog, Country, Draft, FeatureKey, Impact, ImpactOptions, PlanKey,
    Revision, Segment, SegmentKey, Snapshot, Timestamp,
};

#[path = "support/world.rs"]
mod world;

use world::NOW;

const TENANTS: u64 = 100_000;
const DAY: i64 = 86_400_000_000;

/// The world's catalog, with two segments.
fn live() -> Draft {
    let mut draft = world::Plan::new().document().check().unwrap().into_draft();
    let segment = |audience| Segment { name: String::new(), audience: Some(audience) };
    let small = Audience {
        plan: ["p0", "p1", "p2"].map(|key| PlanKey::new(key).unwrap()).into(),
        ..Audience::EVERYONE
    };
    let southern = Audience {
        country: ["ES", "IT"].map(|key| Country::new(key).unwrap()).into(),
        ..Audience::EVERYONE
    };
    draft.segments.insert(SegmentKey::new("small").unwrap(), segment(small));
    draft.segments.insert(SegmentKey::new("southern").unwrap(), segment(southern));
    draft
}

/// What somebody would like to sell instead: every second plan has a third of its features less,
/// promotions give something else, and a quarter of the add-ons have conditions.
fn draft() -> Draft {
    let mut plan = world::Plan::new();
    for features in plan.plans.iter_mut().step_by(2) {
        features.retain(|feature| feature % 3 != 0);
    }
    for (features, ..) in plan.promotions.iter_mut().take(5) {
        features.retain(|feature| feature % 2 != 0);
    }
    let changed = plan.document().check().unwrap().into_draft();
    let mut draft = Draft { segments: live().segments, ..changed };
    let add_on = |number: u64| AddOnKey::new(&format!("a{number}")).unwrap();
    for number in (0..world::ADD_ONS).step_by(4) {
        let entry = draft.add_ons.get_mut(&add_on(number)).unwrap();
        entry.available_to.segment = vec![SegmentKey::new("small").unwrap()];
        entry.excludes.insert(add_on(number + 1));
    }
    draft
}

/// Four features in five are used by every tenant, up to what a plan grants.
fn usage(tenant: &str, feature: &FeatureKey) -> Option<u64> {
    let sum = tenant.bytes().chain(feature.as_str().bytes()).map(u64::from).sum::<u64>();
    (sum % 5 != 0).then_some(sum % 100)
}

fn catalog(draft: Draft) -> Arc<Catalog> {
    Arc::new(Catalog::new(draft).unwrap())
}

/// A preview, from the draft's catalog to its numbers.
fn preview(live: &Snapshot, draft: &Arc<Catalog>, at: Timestamp) -> Impact {
    let after = live.with_catalog(Revision(2), draft.clone(), at);
    live.impact(&after, at, ImpactOptions { sample_max: 3, usage: Some(&usage) })
}

fn impact(criterion: &mut Criterion) {
    let tenants: Vec<_> = (0..TENANTS).map(world::tenant).collect();
    let pairs = tenants.iter().map(|(key, tenant)| (key, tenant));
    let live = Snapshot::compile(Revision(1), catalog(live()), pairs, NOW);
    let draft = catalog(draft());
    let next_month = Timestamp::from_micros(NOW.as_micros() + 30 * DAY);
    for (when, at) in [("now", NOW), ("in a month", next_month)] {
        let before = cpu_ms();
        let impact = preview(&live, &draft, at);
        println!("the first time, {when}: {} ms of CPU", cpu_ms() - before);
        tell(&impact);
    }

    let mut group = criterion.benchmark_group("100,000 tenants x 300 features: impact");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("of a draft, now", |bencher| {
        bencher.iter(|| black_box(preview(&live, &draft, NOW)));
    });
    group.bench_function("of a draft, in a month", |bencher| {
        bencher.iter(|| black_box(preview(&live, &draft, next_month)));
    });
    let after = live.with_catalog(Revision(2), draft.clone(), NOW);
    group.bench_function("of two snapshots", |bencher| {
        bencher.iter(|| black_box(live.impact(&after, NOW, ImpactOptions::default())));
    });
    group.bench_function("every change as a list", |bencher| {
        bencher.iter(|| black_box(live.changes(&after, NOW).count()));
    });
    group.bench_function("floor: every tenant in both", |bencher| {
        let is_in_both = |key: &str| after.tenant(key).is_some();
        bencher.iter(|| black_box(live.tenants().filter(|one| is_in_both(one.key())).count()));
    });
    group.bench_function("what it saves: a check of every cell in both", |bencher| {
        bencher.iter(|| black_box(differing_cells(&live, &after)));
    });
    group.finish();
    assert_eq!(
        live.impact(&after, NOW, ImpactOptions::default()).all.changes().total(),
        differing_cells(&live, &after),
    );
}

fn differing_cells(live: &Snapshot, after: &Snapshot) -> u64 {
    let mut count = 0;
    for tenant in live.tenants() {
        let Some(then) = after.tenant(tenant.key()) else { continue };
        let both = tenant.decisions(NOW).zip(then.decisions(NOW));
        count += both.filter(|(now, then)| now.1.verdict() != then.1.verdict()).count() as u64;
    }
    count
}

fn tell(impact: &Impact) {
    let Impact { all, suspended, above_limit, .. } = impact;
    println!("  {} tenants, {} changed, {} losing", all.tenants, all.changed, all.losing);
    println!("  cells: {:?}", all.changes());
    let tenants = suspended.iter().map(|add_on| add_on.tenants).sum::<u64>();
    println!("  {tenants} suspended add-ons, for {} reasons", suspended.len());
    let tenants = above_limit.iter().map(|above| above.tenants).sum::<u64>();
    println!("  {tenants} above a limit, of {} features", above_limit.len());
}

/// Milliseconds that this thread has run, where the system tells.
fn cpu_ms() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let run_ns = text.split_whitespace().next().and_then(|text| text.parse::<u64>().ok());
    run_ns.unwrap_or(0) / 1_000_000
}

criterion_group!(benches, impact);
criterion_main!(benches);
