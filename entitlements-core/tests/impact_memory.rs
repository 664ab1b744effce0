//! The memory of an impact does not grow with the number of tenants.
//!
//! This counts; it does not time. Here no two tenants have the same answers, which is the worst case,
//! and nothing is prepared, so that every row is made on the way. There are so many that what is
//! remembered has to be folded into the totals and forgotten, more than once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use entitlements_core::{
    Amount, Catalog, Direction, FeatureKey, Impact, ImpactOptions, Limit, Override, PlanKey,
    Revision, Snapshot, Subscription, Tenant, TenantKey, Timestamp, Window, document::Document,
};

const FEATURES: u64 = 16;
const MANY: u64 = 150_000;
const NOW: Timestamp = Timestamp::from_micros(1_781_524_800_000_000);

fn catalog(seats: &str) -> Arc<Catalog> {
    let mut text = String::new();
    for feature in 0..FEATURES {
        text += &format!("[features.f{feature}]\nkind = {{ limit = {{ unit = \"x\" }} }}\n");
    }
    let grants: Vec<_> = (0..FEATURES).map(|feature| format!("f{feature} = {seats}")).collect();
    text += &format!("[plans.basic]\ngrants = {{ {} }}\n", grants.join(", "));
    Arc::new(Document::parse("c.toml", &text).unwrap().check().unwrap())
}

/// Tenant number `i` has its own numbers for two features, so that no other has the same row.
fn tenant(i: u64) -> (TenantKey, Tenant) {
    let word = |feature: u64, amount: u64| Override {
        feature: FeatureKey::new(&format!("f{feature}")).unwrap(),
        amount: Some(Amount::Set(Limit::AtMost(1 + amount))),
        window: Window::ALWAYS,
        force: false,
        author: None,
        note: None,
    };
    let plan = PlanKey::new("basic").unwrap();
    let subscriptions = vec![Subscription { plan, window: Window::ALWAYS, trial: false }];
    let overrides = vec![word(i % FEATURES, i % 200), word((i + 1) % FEATURES, i / 200)];
    let key = TenantKey::new(&format!("tenant-{i:07}")).unwrap();
    (key, Tenant { subscriptions, overrides, ..Tenant::default() })
}

/// The impact, and the most bytes that were held at once on the way.
fn measured(tenants: u64) -> (Impact, u64) {
    let tenants: Vec<_> = (0..tenants).map(tenant).collect();
    let unprepared = |seats| {
        let pairs = tenants.iter().map(|(key, tenant)| (key, tenant));
        let snapshot = Snapshot::compile(Revision(1), catalog(seats), pairs, NOW);
        Snapshot::open(&snapshot.encode()).unwrap()
    };
    let (before, after) = (unprepared("3"), unprepared("2"));
    let mut impact = None;
    let options = ImpactOptions { sample_max: 2, usage: Some(&|_, _| Some(3)) };
    let info = allocation_counter::measure(|| impact = Some(before.impact(&after, NOW, options)));
    (impact.unwrap(), info.bytes_max)
}

#[test]
fn memory_does_not_grow_with_the_number_of_tenants() {
    let (_, some) = measured(MANY / 2);
    let (impact, many) = measured(MANY);
    println!("{some} bytes for 75,000 tenants, {many} for 150,000");
    assert!(many < some + some / 4, "{some} bytes for 75,000 tenants, {many} for 150,000");

    // And nothing was lost when what was remembered was forgotten.
    let all = &impact.all;
    assert_eq!((all.tenants, all.changed, all.losing), (MANY, MANY, MANY));
    for (feature, tally) in &all.features {
        // Two of sixteen tenants have a word of their own for it.
        assert_eq!(tally.lowered, MANY * (FEATURES - 2) / FEATURES, "{feature}");
        assert_eq!(tally.total(), tally.lowered, "{feature}");
    }
    assert_eq!(all.features.len() as u64, FEATURES);
    let sampled = impact.sample.iter().filter(|change| change.feature.as_str() == "f0");
    let sampled: Vec<_> = sampled.map(|change| (&*change.tenant, change.direction)).collect();
    let expected = ["tenant-0000001", "tenant-0000002"].map(|key| (key, Direction::Lowered));
    assert_eq!(sampled, expected);
    assert!(impact.above_limit.iter().all(|above| above.tenants == MANY * 14 / FEATURES));
    assert_eq!(impact.above_limit.len() as u64, FEATURES);
}
