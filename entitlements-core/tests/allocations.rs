//! A check allocates nothing: not by text, not by handle, not where nothing is prepared.
//!
//! This counts; it does not time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/world.rs"]
mod world;

use std::{hint::black_box, sync::Arc, time::Duration};

use entitlements_core::{
    Catalog, Entitlements, FeatureHandle, Revision, Snapshot, TenantHandle, Timestamp,
};
use world::{Random, World};

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| _ = black_box(Box::new(1))), 1);
}

#[test]
fn a_check_allocates_nothing() {
    let world = World::new(1, 20);
    let at = world.instant(&mut Random(7));
    let catalog = Arc::new(Catalog::new(world.draft.clone()).unwrap());
    let live = Entitlements::new(Snapshot::compile(Revision(1), catalog, &world.tenants, at));
    let tenants: Vec<TenantHandle> =
        world.tenants.keys().map(|key| TenantHandle::new(key.as_str())).collect();
    let features: Vec<FeatureHandle> =
        world.draft.features.keys().map(|key| FeatureHandle::new(key.as_str())).collect();
    let instants = [
        at,
        Timestamp::MIN,
        at.plus(Duration::from_secs(3_600)),
        at.plus(Duration::from_secs(1 << 30)),
    ];
    let mut reader = live.reader();
    let mut ask_all = || {
        for at in instants {
            for tenant in &tenants {
                for feature in &features {
                    black_box(live.pin().check(tenant.key(), feature.key(), at).is_allowed());
                    black_box(reader.load().check(tenant, feature, at).source());
                    let view = reader.load().tenant(tenant);
                    black_box(view.map(|view| view.check(feature, at).verdict()));
                }
                black_box(reader.load().check("nobody", "nothing", at).reason());
            }
        }
    };
    // The first round fills the buffers of this thread.
    ask_all();
    assert_eq!(allocations(ask_all), 0);
}
