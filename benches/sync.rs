//! A change on its way: its bytes and its time from the publisher to a sidecar, from a write in the
//! admin to an answer by it, and two hundred sidecars that come back at once.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot go on stops")]
#![expect(unreachable_pub, reason = "modules shared with other benches")]

use std::{
    collections::BTreeMap,
    hint::black_box,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use entitlements_admin::{
    Admin,
    app::{Actor, Command, Expected},
};
use entitlements_core::{
    Revision, Snapshot, Tenant, TenantKey,
    document::{Delta, Document},
    signed::{
        Basis, Header, SigningKey, Trust, Verified, VerifiedDelta, seal_delta, seal_keys,
        seal_snapshot,
    },
};
use entitlements_sidecar::{Running, Sidecar};
use tokio::runtime::Runtime;

#[path = "../examples/demo/tenants.rs"]
mod demo;
#[path = "support/world.rs"]
mod world;

use world::NOW;

/// A publisher, and whoever trusts it.
struct Publisher {
    key: SigningKey,
    trust: Trust,
}

impl Publisher {
    fn new() -> Self {
        let (root, key) = (SigningKey::from_bytes([1; 32]), SigningKey::from_bytes([2; 32]));
        let mut trust = Trust::new(root.public(), "default");
        let keys = seal_keys(&root, "default", 1, &[key.public()], NOW);
        trust.accept_keys(&keys).unwrap();
        Self { key, trust }
    }

    fn header(revision: Revision) -> Header {
        Header {
            environment: "default".into(),
            epoch: 1,
            revision,
            issued_at: NOW,
            max_age_s: Some(3_600),
            activate_at: None,
        }
    }

    fn delta(&self, base: &Snapshot, next: &Snapshot, delta: &Delta) -> Vec<u8> {
        let basis = Basis { epoch: 1, revision: base.revision(), hash: base.content_hash() };
        let header = Self::header(next.revision());
        seal_delta(&self.key, &header, &basis, &next.content_hash(), &delta.encode())
    }

    fn full(&self, snapshot: &Snapshot) -> Vec<u8> {
        let header = Self::header(snapshot.revision());
        seal_snapshot(&self.key, &header, &snapshot.content_hash(), &snapshot.encode())
    }

    fn verified(&self, envelope: &[u8]) -> VerifiedDelta {
        match self.trust.verify(envelope).unwrap() {
            Verified::Delta(delta) => delta,
            other => panic!("{other:?}"),
        }
    }
}

fn one_tenant(criterion: &mut Criterion) {
    let catalog = Arc::new(world::Plan::new().document().check().unwrap());
    let tenants: Vec<_> = (0..100_000).map(world::tenant).collect();
    let pairs = tenants.iter().map(|(key, tenant)| (key, tenant));
    let base = Snapshot::compile(Revision(1), catalog, pairs, NOW);
    let (key, tenant) = (tenants[5].0.clone(), tenants[7].1.clone());
    let next = |base: &Snapshot| base.with_tenants(Revision(2), [(&key, Some(&tenant))], NOW);
    let delta = Delta { catalog: None, tenants: [(key.clone(), Some(tenant.clone()))].into() };
    let publisher = Publisher::new();
    let (change, full) = (publisher.delta(&base, &next(&base), &delta), publisher.full(&base));
    println!(
        "one tenant of 100,000 changes: {} bytes, all of it: {} bytes",
        change.len(),
        full.len()
    );

    let mut group = criterion.benchmark_group("one tenant of 100,000 changes");
    group.bench_function("publisher: apply, hash, encode, sign", |bencher| {
        bencher.iter(|| black_box(publisher.delta(&base, &next(&base), &delta)));
    });
    group.bench_function("sidecar: verify, apply, compare the hash", |bencher| {
        bencher.iter(|| black_box(publisher.verified(&change).apply(&base, NOW).unwrap()));
    });
    group.bench_function("floor: verify the signature alone", |bencher| {
        bencher.iter(|| black_box(publisher.verified(&change)));
    });
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("instead, publisher: all of it encoded and signed", |bencher| {
        bencher.iter(|| black_box(publisher.full(&base)));
    });
    group.bench_function("instead, sidecar: all of it verified and decoded", |bencher| {
        bencher.iter(|| {
            black_box(publisher.trust.verify_snapshot(&full).unwrap().decode(NOW).unwrap())
        });
    });
    group.finish();
}

/// An admin with the demo's clinics.
struct World {
    folder: tempfile::TempDir,
    admin: entitlements_admin::Running,
    key: String,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = admin(folder.path(), ([127, 0, 0, 1], 0).into()).await;
        let key = admin.first_key().unwrap().to_owned();
        let text = include_str!("../examples/demo/clinic.toml");
        let draft = Box::new(Document::parse("clinic.toml", text).unwrap().catalog);
        let tenants: BTreeMap<_, _> = demo::tenants(2_000, admin.app().now()).collect();
        let import = Command::ImportAll { draft, tenants };
        admin.app().execute(&Actor::local("bench"), import).await.unwrap();
        Self { folder, admin, key }
    }

    async fn sidecar(&self, number: usize) -> Running {
        let url = format!("http://{}", self.admin.addr());
        let folder = self.folder.path().join(format!("s{number}"));
        let config = entitlements_sidecar::Config::new(&url, &self.key, self.admin.trust(), folder);
        let listen = ([127, 0, 0, 1], 0).into();
        Sidecar::start(entitlements_sidecar::Config { listen, ..config }).await.unwrap()
    }

    /// Changes one tenant. Says which revision that made.
    async fn write(&self, name: String) -> Revision {
        let key: TenantKey = "acme".parse().unwrap();
        let tenant = Box::new(Tenant { name: Some(name.into()), ..Default::default() });
        let put = Command::PutTenant { key, tenant, expected: Expected::Any };
        self.admin.app().execute(&Actor::local("bench"), put).await.unwrap().revision
    }
}

async fn admin(folder: &Path, listen: SocketAddr) -> entitlements_admin::Running {
    let data = folder.join("admin");
    Admin::start(entitlements_admin::Config { listen, data, ..Default::default() }).await.unwrap()
}

const PATIENCE: Duration = Duration::from_secs(120);

fn write_to_visible(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::start());
    let mut turn = 0;
    let mut write = |world: &World| {
        turn += 1;
        runtime.block_on(world.write(format!("name {turn}")))
    };
    let mut group = criterion.benchmark_group("a write in the admin, 2,000 tenants");
    group.sample_size(50);
    group.bench_function("floor: until it is committed and acknowledged", |bencher| {
        bencher.iter(|| write(&world));
    });
    let sidecar = runtime.block_on(world.sidecar(0));
    runtime.block_on(sidecar.wait_ready(PATIENCE)).unwrap();
    group.bench_function("until a sidecar answers by it", |bencher| {
        bencher.iter(|| {
            let revision = write(&world);
            runtime.block_on(sidecar.wait_revision(revision, PATIENCE)).unwrap();
        });
    });
    group.finish();
    runtime.block_on(async {
        sidecar.stop().await;
        world.admin.stop().await;
    });
}

/// So many sidecars at once, on the same two cores as their admin.
const FLEET: usize = 200;

fn reconnect(_: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let world = World::start().await;
        let start = now();
        let started = (0..FLEET).map(|number| world.sidecar(number));
        let sidecars = futures_util::future::join_all(started).await;
        let revision = world.admin.app().revision();
        tell("sidecars without a snapshot", &arrivals(&sidecars, revision, start).await);

        let start = now();
        let revision = world.write("while all listen".into()).await;
        tell("a change while all are connected", &arrivals(&sidecars, revision, start).await);

        let (address, World { folder, admin: before, key }) = (world.admin.addr(), world);
        before.stop().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let start = now();
        let admin = admin(folder.path(), address).await;
        let world = World { folder, admin, key };
        let revision = world.write("after the restart".into()).await;
        tell(
            "back after three seconds without an admin",
            &arrivals(&sidecars, revision, start).await,
        );
        for sidecar in sidecars {
            sidecar.stop().await;
        }
        world.admin.stop().await;
    });
}

/// How long after an instant each sidecar had a revision, in order.
async fn arrivals(sidecars: &[Running], revision: Revision, start: Instant) -> Vec<Duration> {
    let each = sidecars.iter().map(|sidecar| async move {
        sidecar.wait_revision(revision, PATIENCE).await.unwrap();
        start.elapsed()
    });
    let mut all = futures_util::future::join_all(each).await;
    all.sort();
    all
}

fn tell(what: &str, arrivals: &[Duration]) {
    let ms = |place: usize| arrivals[place].as_millis();
    let last = arrivals.len() - 1;
    println!(
        "{} {what}: the first has it after {} ms, half of them after {} ms, the last after {} ms",
        arrivals.len(),
        ms(0),
        ms(last / 2),
        ms(last)
    );
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn now() -> Instant {
    Instant::now()
}

criterion_group!(benches, one_tenant, write_to_visible, reconnect);
criterion_main!(benches);
