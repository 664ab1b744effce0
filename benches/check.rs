//! One check, in every way it can be asked, beside the floor and the map that people write by hand.
//!
//! Ratios taken one after the other are good to a factor of two on a busy machine; `benches/peers`
//! takes them interleaved. Each loop asserts its answers.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![expect(unreachable_pub, reason = "modules shared with other benches")]

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use entitlements_core::{Entitlements, FeatureHandle, Revision, Snapshot, TenantHandle};

#[path = "support/floor.rs"]
mod floor;
#[path = "support/world.rs"]
mod world;

use world::NOW;

const TENANTS: u64 = 10_000;
const QUESTIONS: usize = 4_096;

fn check(criterion: &mut Criterion) {
    let document = world::Plan::new().document();
    let catalog = Arc::new(document.check().unwrap());
    let tenants: Vec<_> = (0..TENANTS).map(world::tenant).collect();
    let pairs = tenants.iter().map(|(key, tenant)| (key, tenant));
    let snapshot = Snapshot::compile(Revision(1), catalog, pairs, NOW);
    let questions = floor::questions(TENANTS, QUESTIONS);
    let expected = questions
        .iter()
        .filter(|(t, f)| snapshot.check(t.as_str(), f.as_str(), NOW).is_allowed())
        .count();
    let numbers: Vec<usize> = questions.iter().map(|(_, f)| f[1..].parse().unwrap()).collect();
    let handles: Vec<_> =
        questions.iter().map(|(t, f)| (TenantHandle::new(t), FeatureHandle::new(f))).collect();
    let floor = floor::Floor::new(&snapshot, NOW);
    let map = floor::map(&snapshot, NOW);
    let live = Entitlements::new(snapshot.clone());

    let mut group = criterion.benchmark_group("check");
    group.throughput(Throughput::Elements(QUESTIONS as u64));
    let mut run = |name: &str, round: &mut dyn FnMut() -> usize| {
        assert_eq!(round(), expected, "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| black_box(round())));
    };
    run("floor: arc-swap load + one hash + one bit", &mut || {
        questions.iter().zip(&numbers).filter(|((t, _), f)| floor.check(black_box(t), **f)).count()
    });
    run("map: HashMap<String, HashSet<String>>", &mut || {
        questions.iter().filter(|(t, f)| map.get(t).is_some_and(|all| all.contains(f))).count()
    });
    let mut reader = live.reader();
    run("strings", &mut || {
        let full = |(t, f): &&(String, String)| {
            black_box(reader.load().check(t.as_str(), f.as_str(), NOW)).is_allowed()
        };
        questions.iter().filter(full).count()
    });
    run("strings, pinned anew each time", &mut || {
        questions
            .iter()
            .filter(|(t, f)| black_box(live.pin().check(t.as_str(), f.as_str(), NOW)).is_allowed())
            .count()
    });
    run("handles", &mut || {
        handles
            .iter()
            .filter(|(t, f)| black_box(reader.load().check(t, f, NOW)).is_allowed())
            .count()
    });
    let views: Vec<_> =
        questions.iter().map(|(t, _)| snapshot.tenant(t.as_str()).unwrap()).collect();
    run("view, feature by text", &mut || {
        views
            .iter()
            .zip(&questions)
            .filter(|(view, (_, f))| black_box(view.check(f.as_str(), NOW)).is_allowed())
            .count()
    });
    run("view, feature by handle", &mut || {
        views
            .iter()
            .zip(&handles)
            .filter(|(view, (_, f))| black_box(view.check(f, NOW)).is_allowed())
            .count()
    });
    let later = NOW.plus(std::time::Duration::from_secs(400 * 86_400));
    group.bench_function("strings, not prepared (another instant)", |bencher| {
        bencher.iter(|| {
            questions
                .iter()
                .filter(|(t, f)| reader.load().check(t.as_str(), f.as_str(), later).is_allowed())
                .count()
        });
    });

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (key, tenant) = world::tenant(5);
            let mut revision = 1;
            while !done.load(Ordering::Relaxed) {
                revision += 1;
                let next =
                    live.pin().with_tenants(Revision(revision), [(&key, Some(&tenant))], NOW);
                live.publish(next).unwrap();
            }
        });
        group.bench_function(
            "strings, while another thread publishes without a pause",
            |bencher| {
                bencher.iter(|| {
                    questions
                        .iter()
                        .filter(|(t, f)| {
                            reader.load().check(t.as_str(), f.as_str(), NOW).is_allowed()
                        })
                        .count()
                });
            },
        );
        done.store(true, Ordering::Relaxed);
    });
    group.finish();
}

criterion_group!(benches, check);
criterion_main!(benches);
