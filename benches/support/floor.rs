//! What a check is measured against: the least that any such lookup costs, and what people write by
//! hand.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arc_swap::ArcSwap;
use entitlements_core::{Snapshot, Timestamp};
use foldhash::quality::RandomState;

/// One bit for each feature and tenant behind an arc-swap and one seeded hash lookup. It knows
/// nothing of amounts, reasons, sources or time.
pub struct Floor {
    pub tables: ArcSwap<Table>,
}

pub struct Table {
    tenants: HashMap<Box<str>, u32, RandomState>,
    bits: Vec<[u64; 5]>,
}

impl Floor {
    pub fn new(snapshot: &Snapshot, at: Timestamp) -> Self {
        let mut table = Table { tenants: HashMap::default(), bits: Vec::new() };
        for (number, view) in (0..).zip(snapshot.tenants()) {
            let mut bits = [0; 5];
            for (feature, (_, decision)) in by_number(view.decisions(at)) {
                bits[feature / 64] |= u64::from(decision.is_allowed()) << (feature % 64);
            }
            table.tenants.insert(view.key().into(), number);
            table.bits.push(bits);
        }
        Self { tables: ArcSwap::new(Arc::new(table)) }
    }

    /// The feature comes as a number: the floor looks up one text only.
    #[inline]
    pub fn check(&self, tenant: &str, feature: usize) -> bool {
        let tables = self.tables.load();
        tables.tenants.get(tenant).is_some_and(|number| {
            tables.bits[*number as usize][feature / 64] >> (feature % 64) & 1 == 1
        })
    }
}

fn by_number<'k, T>(
    all: impl Iterator<Item = (&'k entitlements_core::FeatureKey, T)>,
) -> impl Iterator<Item = (usize, (&'k entitlements_core::FeatureKey, T))> {
    all.map(|(key, value)| (key.as_str()[1..].parse().unwrap(), (key, value)))
}

/// What people write by hand.
pub type Map = HashMap<String, HashSet<String>>;

pub fn map(snapshot: &Snapshot, at: Timestamp) -> Map {
    let allowed = |view: entitlements_core::TenantView<'_>| {
        view.decisions(at).filter(|(_, d)| d.is_allowed()).map(|(key, _)| key.to_string()).collect()
    };
    snapshot.tenants().map(|view| (view.key().to_owned(), allowed(view))).collect()
}

/// Questions spread over tenants and features: the keys of both, as text.
pub fn questions(tenants: u64, count: usize) -> Vec<(String, String)> {
    let mut random = crate::world::Random(7);
    (0..count)
        .map(|_| {
            (
                format!("tenant-{:07}", random.below(tenants)),
                format!("f{}", random.below(crate::world::FEATURES)),
            )
        })
        .collect()
}
