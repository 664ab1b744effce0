//! Compiling, changing one tenant, loading from disk, and memory.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![expect(unreachable_pub, reason = "modules shared with other benches")]

use std::{hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, SamplingMode, criterion_group, criterion_main};
use entitlements_core::{Entitlements, Revision, Snapshot, TenantKey, document::Document};

#[path = "../examples/demo/tenants.rs"]
mod demo;
#[path = "support/world.rs"]
mod world;

use world::NOW;

fn compile(criterion: &mut Criterion) {
    let catalog = Arc::new(world::Plan::new().document().check().unwrap());
    let tenants: Vec<_> = (0..100_000).map(world::tenant).collect();
    let pairs = || tenants.iter().map(|(key, tenant)| (key, tenant));
    let snapshot = Snapshot::compile(Revision(1), catalog.clone(), pairs(), NOW);
    tell("100,000 tenants x 300 features", &snapshot);

    let mut group = criterion.benchmark_group("100,000 tenants x 300 features");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("compile", |bencher| {
        bencher.iter(|| black_box(Snapshot::compile(Revision(1), catalog.clone(), pairs(), NOW)));
    });
    group.bench_function("compile again under another catalog", |bencher| {
        bencher.iter(|| black_box(snapshot.with_catalog(Revision(2), catalog.clone(), NOW)));
    });
    let bytes = snapshot.encode();
    group.bench_function("decode", |bencher| {
        bencher.iter(|| black_box(Snapshot::decode(&bytes, NOW).unwrap()))
    });
    group.finish();
    change_one(criterion, "100,000 tenants x 300 features: change one", snapshot);
}

fn million(criterion: &mut Criterion) {
    let document =
        Document::parse("clinic.toml", include_str!("../examples/demo/clinic.toml")).unwrap();
    let catalog = Arc::new(document.check().unwrap());
    let bytes = {
        let tenants: Vec<_> = demo::tenants(1_000_000, NOW).collect();
        let pairs = tenants.iter().map(|(key, tenant)| (key, tenant));
        Snapshot::compile(Revision(1), catalog, pairs, NOW).encode()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("million.snapshot");
    std::fs::write(&path, &bytes).unwrap();
    println!("1,000,000 tenants on disk: {} MB", bytes.len() / 1_000_000);
    drop(bytes);

    let load = || Snapshot::open(&std::fs::read(&path).unwrap()).unwrap();
    let snapshot = load().refreshed(NOW).unwrap();
    tell("1,000,000 tenants of the demo", &snapshot);
    let mut group = criterion.benchmark_group("1,000,000 tenants of the demo");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("load from disk", |bencher| bencher.iter(|| black_box(load())));
    group.bench_function("load from disk and prepare every answer", |bencher| {
        bencher.iter(|| black_box(Snapshot::decode(&std::fs::read(&path).unwrap(), NOW).unwrap()));
    });
    group.finish();
    change_one(criterion, "1,000,000 tenants of the demo: change one", snapshot);
}

fn change_one(criterion: &mut Criterion, name: &str, snapshot: Snapshot) {
    let keys: Vec<TenantKey> =
        snapshot.tenants().step_by(997).map(|view| TenantKey::new(view.key()).unwrap()).collect();
    let tenants: Vec<_> =
        keys.iter().map(|key| snapshot.tenant(key.as_str()).unwrap().tenant()).collect();
    let live = Entitlements::new(snapshot);
    let (mut revision, mut turn) = (1, 0);
    let mut group = criterion.benchmark_group(name);
    // From the facts of one tenant to a check that sees them.
    group.bench_function("until it is visible", |bencher| {
        bencher.iter_batched(
            || {
                turn = (turn + 1) % keys.len();
                (&keys[turn], &tenants[turn])
            },
            |(key, tenant)| {
                revision += 1;
                let next = live.pin().with_tenants(Revision(revision), [(key, Some(tenant))], NOW);
                live.publish(next).unwrap();
                assert_eq!(
                    live.pin().check(key.as_str(), "f0", NOW).revision(),
                    Revision(revision)
                );
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn tell(name: &str, snapshot: &Snapshot) {
    let bytes = snapshot.bytes();
    println!(
        "{name}: {} MB, {} bytes per tenant",
        bytes / 1_000_000,
        bytes / snapshot.tenant_count()
    );
    println!("{name}: {} MB resident at the most so far", resident_max() / 1_000);
}

/// The most memory this process has had, in kB, where the system tells.
fn resident_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

criterion_group!(benches, compile, million);
criterion_main!(benches);
