//! Random worlds by a seed: small catalogs with much in them, and tenants that hold it.

use std::collections::{BTreeMap, BTreeSet};

use entitlements_core::{
    AddOn, Age, Amount, AttributeValue, Audience, Block, Bundle, Draft, Enrolment, Feature,
    FeatureKind, Grant, Grants, Json, LevelName, Limit, Module, OneOf, Override, Plan, PlanVersion,
    Promotion, Region, Segment, Status, Subscription, Tenant, TenantAddOn, TenantEnrolment,
    TenantKey, Timestamp, WhenStale, Window,
};

/// Splitmix64: the next of a sequence that the seed fixes.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    fn some<T: Clone + Ord>(&mut self, all: &[T], most: u64) -> BTreeSet<T> {
        let count = self.below(most + 1).min(all.len() as u64);
        (0..count).map(|_| self.pick(all).clone()).collect()
    }
}

macro_rules! key {
    ($kind:ident, $($text:tt)*) => {
        entitlements_core::$kind::new(&format!($($text)*)).unwrap()
    };
}

const HOUR: i64 = 3_600_000_000;
/// 2026-03-01T00:00:00Z.
pub(crate) const START: i64 = 1_772_323_200_000_000;

pub(crate) struct World {
    pub draft: Draft,
    pub tenants: BTreeMap<TenantKey, Tenant>,
    /// Every instant that stands somewhere in it.
    pub edges: Vec<Timestamp>,
}

impl World {
    pub(crate) fn new(seed: u64, tenants: usize) -> Self {
        let mut make = Make { random: Random(seed), edges: Vec::new() };
        let draft = make.draft();
        let tenants =
            (0..tenants).map(|i| (key!(TenantKey, "t{i}"), make.tenant(&draft))).collect();
        Self { draft, tenants, edges: make.edges }
    }

    /// An instant: half of them on an edge or a few microseconds beside one.
    pub(crate) fn instant(&self, random: &mut Random) -> Timestamp {
        if random.chance(50) {
            let edge = random.pick(&self.edges).as_micros();
            return Timestamp::from_micros(
                edge + [-1_000, -1, 0, 0, 1, 999][random.below(6) as usize],
            );
        }
        Timestamp::from_micros(START + random.below(40 * HOUR as u64).cast_signed() - 2 * HOUR)
    }
}

pub(crate) struct Make {
    pub random: Random,
    pub edges: Vec<Timestamp>,
}

const FEATURES: u64 = 14;
const BUNDLES: u64 = 5;
const PLANS: u64 = 4;
const ADD_ONS: u64 = 5;
const PROMOTIONS: u64 = 5;
const COUNTRIES: [&str; 4] = ["DE", "AT", "US", "FR"];
const INTEGRATIONS: [&str; 3] = ["idp", "pay", "lab"];

impl Make {
    fn at(&mut self) -> Timestamp {
        let at = Timestamp::from_micros(START + self.random.below(36).cast_signed() * HOUR);
        self.edges.push(at);
        at
    }

    fn window(&mut self) -> Window {
        let (a, b) = (self.at(), self.at());
        match self.random.below(10) {
            0..=3 => Window::ALWAYS,
            4 | 5 => Window::new(Some(a), None),
            6 => Window::new(None, Some(a)),
            _ if a == b => Window::new(Some(a), None),
            _ => Window::new(Some(a.min(b)), Some(a.max(b))),
        }
    }

    fn audience(&mut self, depth: u64) -> Audience {
        let mut audience = Audience::EVERYONE;
        match self.random.below(if depth == 0 { 7 } else { 10 }) {
            0 => audience.country = vec![key!(Country, "{}", self.random.pick(&COUNTRIES))],
            1 => audience.region = vec![key!(RegionKey, "r{}", self.random.below(2))],
            2 => audience.segment = vec![key!(SegmentKey, "s{}", self.random.below(3))],
            3 => audience.plan = vec![key!(PlanKey, "p{}", self.random.below(PLANS))],
            4 => {
                audience.status = vec![*self.random.pick(&[
                    Status::Trial,
                    Status::Active,
                    Status::Lapsed,
                    Status::Prospect,
                ])]
            }
            5 => {
                let min = self.random.below(3) as u32;
                let below = self.random.chance(50).then_some(min + 1);
                audience.age = Some(Age { days_min: Some(min), days_below: below });
            }
            6 => {
                let values = vec![
                    AttributeValue::Number(self.random.below(2).cast_signed()),
                    AttributeValue::Text("x".into()),
                ];
                audience.attributes.insert(key!(AttributeKey, "a"), OneOf(values));
            }
            7 => audience.not = Some(Box::new(self.audience(depth - 1))),
            8 => audience.any = vec![self.audience(depth - 1), self.audience(depth - 1)],
            _ => audience.all = vec![self.audience(depth - 1), self.audience(depth - 1)],
        }
        audience
    }

    fn perhaps(&mut self, percent: u64) -> Audience {
        if self.random.chance(percent) { self.audience(1) } else { Audience::EVERYONE }
    }

    pub(crate) fn draft(&mut self) -> Draft {
        let mut draft = Draft::default();
        for i in 0..2_u64 {
            let countries =
                COUNTRIES.iter().filter(|_| self.random.chance(60)).map(|c| key!(Country, "{c}"));
            let mut countries: BTreeSet<_> = countries.collect();
            countries.insert(key!(Country, "DE"));
            draft
                .regions
                .insert(key!(RegionKey, "r{i}"), Region { name: String::new(), countries });
        }
        for i in 0..3_u64 {
            // Segments mention only those before them: no circle.
            let audience = self.random.chance(70).then(|| {
                let mut audience = self.audience(0);
                audience.segment = if i > 0 && self.random.chance(50) {
                    vec![key!(SegmentKey, "s{}", i - 1)]
                } else {
                    vec![]
                };
                audience
            });
            draft
                .segments
                .insert(key!(SegmentKey, "s{i}"), Segment { name: String::new(), audience });
        }
        for i in 0..2_u64 {
            let module = Module {
                integrations: if self.random.chance(15) {
                    [key!(IntegrationKey, "lab")].into()
                } else {
                    BTreeSet::new()
                },
                requires: if self.random.chance(20) {
                    [key!(FeatureKey, "f0")].into()
                } else {
                    BTreeSet::new()
                },
                available_to: self.perhaps(10),
                ..Module::default()
            };
            draft.modules.insert(key!(ModuleKey, "m{i}"), module);
        }
        for i in 0..FEATURES {
            let feature = self.feature(i);
            draft.features.insert(key!(FeatureKey, "f{i}"), feature);
        }
        for i in 0..BUNDLES {
            let before: Vec<_> = (0..i).map(|j| key!(BundleKey, "b{j}")).collect();
            let bundles =
                if before.is_empty() { BTreeSet::new() } else { self.random.some(&before, 2) };
            let grants = self.grants(&draft, 4);
            draft
                .bundles
                .insert(key!(BundleKey, "b{i}"), Bundle { bundles, grants, ..Bundle::default() });
        }
        for i in 0..PLANS {
            let plan = self.plan(&draft, i);
            draft.plans.insert(key!(PlanKey, "p{i}"), plan);
        }
        for i in 0..ADD_ONS {
            let add_on = self.add_on(&draft, i);
            draft.add_ons.insert(key!(AddOnKey, "a{i}"), add_on);
        }
        for i in 0..PROMOTIONS {
            let promotion = self.promotion(&draft);
            draft.promotions.insert(key!(PromotionKey, "x{i}"), promotion);
        }
        draft
    }

    fn feature(&mut self, i: u64) -> Feature {
        let kind = match i % 5 {
            0 | 4 => FeatureKind::Switch,
            1 => FeatureKind::Limit { unit: "seat".into() },
            2 => FeatureKind::Level {
                levels: ["low", "mid", "top"].map(|l| LevelName::new(l).unwrap()).into(),
            },
            _ if i == 3 => {
                FeatureKind::Config { schema: Json::parse(r#"{"type":"object"}"#).unwrap() }
            }
            _ => FeatureKind::Limit { unit: "call".into() },
        };
        let before: Vec<_> = (0..i.min(3)).map(|j| key!(FeatureKey, "f{j}")).collect();
        let requires = if i > 0 && self.random.chance(25) {
            self.random.some(&before, 2)
        } else {
            BTreeSet::new()
        };
        let integrations: Vec<_> =
            INTEGRATIONS.iter().map(|i| key!(IntegrationKey, "{i}")).collect();
        Feature {
            name: String::new(),
            description: String::new(),
            kind,
            // The modules require the first feature, which therefore stands in none.
            module: (i > 0 && self.random.chance(40)).then(|| key!(ModuleKey, "m{}", i % 2)),
            requires,
            integrations: if self.random.chance(20) {
                self.random.some(&integrations, 1)
            } else {
                BTreeSet::new()
            },
            available_to: self.perhaps(8),
            essential: self.random.chance(20),
            when_stale: WhenStale::LastKnown,
        }
    }

    fn grants(&mut self, draft: &Draft, most: u64) -> Grants {
        let keys: Vec<_> = draft.features.keys().cloned().collect();
        let count = 1 + self.random.below(most);
        (0..count)
            .map(|_| {
                let feature = self.random.pick(&keys).clone();
                let amount = self.amount(&draft.features[&feature].kind, true);
                Grant { amount, only: self.perhaps(12), feature }
            })
            .collect()
    }

    fn amount(&mut self, kind: &FeatureKind, may_add: bool) -> Amount {
        match kind {
            FeatureKind::Switch => Amount::On,
            FeatureKind::Limit { .. } => match self.random.below(if may_add { 8 } else { 5 }) {
                0 | 1 => Amount::Set(Limit::AtMost(0)),
                2 => Amount::Set(Limit::Unlimited),
                3 => {
                    Amount::Set(Limit::AtMost(entitlements_core::AMOUNT_MAX - self.random.below(3)))
                }
                4 => Amount::Set(Limit::AtMost(self.random.below(5) * 10)),
                _ => Amount::Add(self.random.below(4)),
            },
            FeatureKind::Level { levels } => Amount::Level(self.random.pick(levels).clone()),
            FeatureKind::Config { .. } => Amount::Config(
                Json::parse(&format!(r#"{{"n":{}}}"#, self.random.below(3))).unwrap(),
            ),
        }
    }

    fn bundles(&mut self, percent: u64) -> BTreeSet<entitlements_core::BundleKey> {
        let all: Vec<_> = (0..BUNDLES).map(|i| key!(BundleKey, "b{i}")).collect();
        if self.random.chance(percent) { self.random.some(&all, 2) } else { BTreeSet::new() }
    }

    fn plan(&mut self, draft: &Draft, i: u64) -> Plan {
        let parent = |random: &mut Random| {
            (i > 0 && random.chance(50)).then(|| key!(PlanKey, "p{}", random.below(i)))
        };
        let mut starts = BTreeSet::new();
        let versions = (0..self.random.below(3))
            .filter_map(|_| {
                let from = self.at();
                let existing = self.at();
                starts.insert(from).then(|| PlanVersion {
                    from,
                    existing_from: self.random.chance(50).then_some(existing.max(from)),
                    extends: parent(&mut self.random),
                    bundles: self.bundles(60),
                    grants: self.grants(draft, 6),
                })
            })
            .collect();
        Plan {
            extends: parent(&mut self.random),
            bundles: self.bundles(60),
            grants: self.grants(draft, 8),
            versions,
            ..Plan::default()
        }
    }

    fn add_on(&mut self, draft: &Draft, i: u64) -> AddOn {
        let before: Vec<_> = (0..i).map(|j| key!(AddOnKey, "a{j}")).collect();
        let requires = if i > 0 && self.random.chance(40) {
            self.random.some(&before, 1)
        } else {
            BTreeSet::new()
        };
        let mut excludes = if i > 0 && self.random.chance(40) {
            self.random.some(&before, 2)
        } else {
            BTreeSet::new()
        };
        excludes.retain(|other| !requires.contains(other));
        AddOn {
            bundles: self.bundles(30),
            grants: self.grants(draft, 3),
            available_to: self.perhaps(20),
            requires,
            excludes,
            ..AddOn::default()
        }
    }

    fn promotion(&mut self, draft: &Draft) -> Promotion {
        let grouped = self.random.chance(50);
        Promotion {
            window: self.window(),
            audience: self.perhaps(50),
            enrolment: if self.random.chance(30) {
                Enrolment::ByRequest { cap: None }
            } else {
                Enrolment::Automatic
            },
            priority: if grouped { self.random.below(3) as i32 } else { 0 },
            exclusive_group: grouped.then(|| key!(GroupKey, "g{}", self.random.below(2))),
            bundles: self.bundles(30),
            grants: self.grants(draft, 3),
            ..Promotion::default()
        }
    }

    pub(crate) fn tenant(&mut self, draft: &Draft) -> Tenant {
        let segments: Vec<_> = draft.segments.keys().cloned().collect();
        let signed_up_at = self.random.chance(90).then(|| {
            let at = self.at().as_micros() - self.random.below(3).cast_signed() * 24 * HOUR;
            for days in 0..4 {
                self.edges.push(Timestamp::from_micros(at + days * 24 * HOUR));
            }
            Timestamp::from_micros(at)
        });
        let mut tenant = Tenant {
            country: self
                .random
                .chance(90)
                .then(|| key!(Country, "{}", self.random.pick(&COUNTRIES))),
            signed_up_at,
            segments: self.random.some(&segments, 1),
            integrations: INTEGRATIONS
                .iter()
                .filter(|_| self.random.chance(70))
                .map(|i| key!(IntegrationKey, "{i}"))
                .collect(),
            ..Tenant::default()
        };
        if self.random.chance(60) {
            let value = if self.random.chance(50) {
                AttributeValue::Number(1)
            } else {
                AttributeValue::Text("x".into())
            };
            tenant.attributes.insert(key!(AttributeKey, "a"), value);
        }
        for _ in 0..1 + self.random.below(3) {
            let plan = key!(PlanKey, "p{}", self.random.below(PLANS));
            tenant.subscriptions.push(Subscription {
                plan,
                window: self.window(),
                trial: self.random.chance(25),
            });
        }
        for i in 0..ADD_ONS {
            if self.random.chance(45) {
                let quantity = 1 + self.random.below(3) as u32;
                tenant.add_ons.push(TenantAddOn {
                    add_on: key!(AddOnKey, "a{i}"),
                    quantity,
                    window: self.window(),
                });
            }
        }
        for i in 0..PROMOTIONS {
            if self.random.chance(40) {
                tenant.enrolments.push(TenantEnrolment {
                    promotion: key!(PromotionKey, "x{i}"),
                    window: self.window(),
                });
            }
        }
        self.words(draft, &mut tenant);
        tenant
    }

    fn words(&mut self, draft: &Draft, tenant: &mut Tenant) {
        for i in 0..FEATURES {
            if self.random.chance(12) {
                let feature = key!(FeatureKey, "f{i}");
                let amount = self
                    .random
                    .chance(70)
                    .then(|| self.amount(&draft.features[&feature].kind, false));
                let force = amount.is_some() && self.random.chance(30);
                tenant.overrides.push(Override {
                    feature,
                    amount,
                    window: self.window(),
                    force,
                    author: None,
                    note: None,
                });
            }
        }
        if self.random.chance(20) {
            for _ in 0..1 + self.random.below(2) {
                let mut block = Block {
                    owner: key!(OwnerKey, "{}", self.random.pick(&["billing", "security"])),
                    features: BTreeSet::new(),
                    modules: BTreeSet::new(),
                    window: self.window(),
                    note: None,
                };
                match self.random.below(3) {
                    0 => {}
                    1 => {
                        _ = block.features.insert(key!(
                            FeatureKey,
                            "f{}",
                            self.random.below(FEATURES)
                        ))
                    }
                    _ => _ = block.modules.insert(key!(ModuleKey, "m{}", self.random.below(2))),
                }
                tenant.blocks.push(block);
            }
        }
    }
}
