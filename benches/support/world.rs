//! A world for measuring: 300 features, 12 plans, 30 bundles, 40 add-ons, 25 promotions, and as many
//! tenants as asked for, by a fixed seed.
//!
//! It holds nothing that a flag service could not be told as well, so that peers can be asked the
//! same questions and must give the same answers.

use std::{collections::BTreeMap, fmt::Write as _};

use entitlements_core::{
    AddOnKey, Amount, Country, FeatureKey, Override, PlanKey, Subscription, Tenant, TenantAddOn,
    TenantKey, Timestamp, Window, document::Document,
};

pub const FEATURES: u64 = 300;
pub const PLANS: u64 = 12;
pub const ADD_ONS: u64 = 40;
pub const PROMOTIONS: u64 = 25;
pub const COUNTRIES: [&str; 8] = ["DE", "AT", "CH", "FR", "ES", "IT", "US", "GB"];
const DAY: i64 = 86_400_000_000;

/// The instant at which everything is asked: 2026-06-15T12:00:00Z.
pub const NOW: Timestamp = Timestamp::from_micros(1_781_524_800_000_000);

/// Splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn is_limit(feature: u64) -> bool {
    feature % 5 < 2
}

/// What the catalog grants, as numbers: peers are told the same.
pub struct Plan {
    pub plans: Vec<Vec<u64>>,
    pub add_ons: Vec<Vec<u64>>,
    /// Features, countries, and the days around now between which it runs.
    pub promotions: Vec<(Vec<u64>, Vec<&'static str>, i64, i64)>,
    /// For a feature, the one that it requires.
    pub requires: BTreeMap<u64, u64>,
}

impl Plan {
    pub fn new() -> Self {
        let mut random = Random(42);
        let mut some = |count: u64| -> Vec<u64> {
            let mut all: Vec<u64> = (0..count).map(|_| random.below(FEATURES)).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let plans = (0..PLANS).map(|i| some(60 + i * 16)).collect();
        let add_ons = (0..ADD_ONS).map(|_| some(10)).collect();
        let promoted: Vec<_> = (0..PROMOTIONS).map(|_| some(8)).collect();
        let mut random = Random(43);
        let promotions = promoted
            .into_iter()
            .map(|features| {
                let first = random.below(6) as usize;
                let start = random.below(120).cast_signed() - 90;
                (features, COUNTRIES[first..first + 3].to_vec(), start, start + 45)
            })
            .collect();
        let requires = (0..FEATURES).filter(|f| f % 7 == 3).map(|f| (f, random.below(3))).collect();
        Self { plans, add_ons, promotions, requires }
    }

    /// The catalog in TOML. Each plan has its grants in bundles, which makes it more like a real one.
    pub fn document(&self) -> Document {
        let mut text = String::new();
        for f in 0..FEATURES {
            let kind = if is_limit(f) { "{ limit = { unit = \"call\" } }" } else { "\"switch\"" };
            let requires = self
                .requires
                .get(&f)
                .map(|r| format!("requires = [\"f{r}\"]\n"))
                .unwrap_or_default();
            writeln!(text, "[features.f{f}]\nkind = {kind}\n{requires}").unwrap();
        }
        for (i, features) in self.plans.iter().enumerate() {
            let parts: Vec<_> = features.chunks(features.len().div_ceil(3)).collect();
            let mut names = Vec::new();
            for (j, part) in parts.iter().skip(1).enumerate() {
                writeln!(text, "[bundles.p{i}-{j}]\ngrants = {{ {} }}", grants(part, 100)).unwrap();
                names.push(format!("\"p{i}-{j}\""));
            }
            writeln!(
                text,
                "[plans.p{i}]\nbundles = [{}]\ngrants = {{ {} }}",
                names.join(","),
                grants(parts[0], 100)
            )
            .unwrap();
        }
        for (i, features) in self.add_ons.iter().enumerate() {
            writeln!(text, "[add_ons.a{i}]\ngrants = {{ {} }}", grants(features, 50)).unwrap();
        }
        for (i, (features, countries, from, until)) in self.promotions.iter().enumerate() {
            let at = |days: &i64| Timestamp::from_micros(NOW.as_micros() + days * DAY);
            let countries: Vec<_> = countries.iter().map(|c| format!("\"{c}\"")).collect();
            writeln!(
                text,
                "[promotions.x{i}]\nwindow = {{ from = \"{}\", until = \"{}\" }}\naudience = {{ country = [{}] }}\ngrants = {{ {} }}",
                at(from), at(until), countries.join(","), grants(features, 20)
            )
            .unwrap();
        }
        Document::parse("bench.toml", &text).unwrap()
    }
}

fn grants(features: &[u64], amount: u64) -> String {
    let line =
        |f: &u64| if is_limit(*f) { format!("f{f} = {amount}") } else { format!("f{f} = true") };
    features.iter().map(line).collect::<Vec<_>>().join(", ")
}

/// Tenant number `i`: a plan, some add-ons bought in a window, and for 3 % of them overrides.
pub fn tenant(i: u64) -> (TenantKey, Tenant) {
    let mut random = Random(i.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let at = |days: u64| Some(Timestamp::from_micros(NOW.as_micros() - days.cast_signed() * DAY));
    let mut tenant = Tenant {
        country: Country::new(COUNTRIES[random.below(8) as usize]).ok(),
        signed_up_at: at(random.below(1_000)),
        subscriptions: vec![Subscription {
            plan: PlanKey::new(&format!("p{}", random.below(PLANS))).unwrap(),
            window: Window::new(at(random.below(700)), None),
            trial: false,
        }],
        ..Tenant::default()
    };
    for _ in 0..[0, 0, 0, 1, 1, 2][random.below(6) as usize] {
        let from = random.below(200);
        let add_on = AddOnKey::new(&format!("a{}", random.below(ADD_ONS))).unwrap();
        if tenant.add_ons.iter().all(|entry| entry.add_on != add_on) {
            let until = if random.below(2) == 0 {
                None
            } else {
                Some(Timestamp::from_micros(
                    NOW.as_micros() + random.below(90).cast_signed() * DAY + 1,
                ))
            };
            tenant.add_ons.push(TenantAddOn {
                add_on,
                quantity: 1,
                window: Window::new(at(from), until),
            });
        }
    }
    if random.below(100) < 3 {
        let mut f = random.below(FEATURES);
        while is_limit(f) {
            f = random.below(FEATURES);
        }
        let feature = FeatureKey::new(&format!("f{f}")).unwrap();
        tenant.overrides.push(Override {
            feature,
            amount: Some(Amount::On),
            window: Window::ALWAYS,
            force: false,
            author: None,
            note: None,
        });
    }
    (TenantKey::new(&format!("tenant-{i:07}")).unwrap(), tenant)
}
