//! Clinics that nobody runs: the same ones for the same count and instant, every time.
//!
//! Each is drawn from its own number alone, so a million of them are the same mix as two thousand,
//! and the first two thousand are the same clinics. They may be made one by one.

use std::{fmt::Debug, iter, str::FromStr, time::Duration};

use entitlements_core::{
    Amount, AttributeValue, Block, Limit, Override, Subscription, Tenant, TenantAddOn,
    TenantEnrolment, TenantKey, Timestamp, Window,
};

/// The tenant that the README's commands ask for.
pub(crate) const ACME: &str = "acme";

/// So many clinics, the first one of them [`ACME`], as they would stand at an instant.
pub(crate) fn tenants(count: usize, now: Timestamp) -> impl Iterator<Item = (TenantKey, Tenant)> {
    let others = (1_u64..).map(move |number| {
        (key(&format!("clinic-{number:04}")), Clinic::draw(number, now).into_tenant())
    });
    iter::once((key(ACME), acme())).chain(others).take(count)
}

/// A dentist with a plan from before the last version, two add-ons of which one is suspended, a
/// promotion, an override and a block: something to explain for every rule.
fn acme() -> Tenant {
    let since = instant("2026-02-02T08:30:00Z");
    Tenant {
        name: Some("Acme Dental Berlin".into()),
        country: Some(key("DE")),
        signed_up_at: Some(since),
        segments: [key("nonprofit")].into(),
        integrations: ["calendar-server", "clearinghouse", "identity-provider"].map(key).into(),
        attributes: [
            (key("specialty"), AttributeValue::Text("dentist".into())),
            (key("staff"), AttributeValue::Number(14)),
        ]
        .into(),
        subscriptions: vec![Subscription {
            plan: key("pro"),
            window: Window::new(Some(since), None),
            trial: false,
        }],
        add_ons: vec![
            TenantAddOn {
                add_on: key("insurance-api"),
                quantity: 2,
                window: Window::new(Some(instant("2026-03-01T00:00:00Z")), None),
            },
            // Suspended: `insurance-api` came first, and the two exclude each other.
            TenantAddOn {
                add_on: key("insurance-lite"),
                quantity: 1,
                window: Window::new(Some(instant("2026-05-01T00:00:00Z")), None),
            },
        ],
        enrolments: vec![TenantEnrolment {
            promotion: key("telehealth-trial"),
            window: Window::default(),
        }],
        overrides: vec![Override {
            feature: key("storage"),
            amount: Some(Amount::Set(Limit::AtMost(150))),
            window: Window::default(),
            force: false,
            author: Some("kim".into()),
            note: Some("until their archive is moved".into()),
        }],
        blocks: vec![Block {
            owner: key("security"),
            features: [key("webhooks")].into(),
            modules: [].into(),
            window: Window::default(),
            note: Some("their endpoint was taken over".into()),
        }],
    }
}

const COUNTRIES: [(u32, &str); 12] = [
    (22, "DE"),
    (18, "US"),
    (10, "FR"),
    (9, "GB"),
    (8, "ES"),
    (7, "IT"),
    (6, "NL"),
    (6, "CA"),
    (5, "AT"),
    (4, "CH"),
    (3, "BE"),
    (2, "SE"),
];

const PLANS: [(u32, &str); 4] = [(34, "starter"), (31, "basic"), (27, "pro"), (8, "enterprise")];

const SPECIALTIES: [(u32, (&str, &str)); 7] = [
    (26, ("general", "Practice")),
    (20, ("dentist", "Dental")),
    (12, ("physiotherapist", "Physio")),
    (12, ("dermatologist", "Skin Clinic")),
    (11, ("paediatrician", "Children's Clinic")),
    (10, ("psychotherapist", "Counselling")),
    (9, ("orthodontist", "Orthodontics")),
];

const PLACES: [&str; 24] = [
    "Alder", "Bridge", "Canal", "Castle", "Cedar", "Chapel", "Corner", "Garden", "Harbour", "Hill",
    "Lake", "Lime", "Market", "Meadow", "Mill", "North", "Oak", "Park", "River", "Square",
    "Station", "Tower", "Valley", "West",
];

/// Integrations, with how many in a hundred clinics have connected them.
const INTEGRATIONS: [(u32, &str); 7] = [
    (55, "calendar-server"),
    (45, "payment-provider"),
    (40, "clearinghouse"),
    (30, "identity-provider"),
    (25, "lab-system"),
    (20, "whatsapp"),
    (8, "warehouse"),
];

/// Add-ons in the order in which they sell, with the most that one clinic takes.
const ADD_ONS: [(u32, (&str, u32)); 10] = [
    (20, ("extra-seats", 4)),
    (18, ("sms-pack", 6)),
    (14, ("telehealth", 2)),
    (12, ("insurance-api", 3)),
    (10, ("analytics-pack", 1)),
    (8, ("api-pack", 3)),
    (6, ("insurance-lite", 1)),
    (5, ("lab-link", 1)),
    (4, ("telehealth-plus", 1)),
    (3, ("warehouse-link", 1)),
];

/// A clinic while it is drawn.
struct Clinic {
    dice: Dice,
    now: Timestamp,
    age_days: u32,
    plan: &'static str,
    tenant: Tenant,
}

impl Clinic {
    fn draw(number: u64, now: Timestamp) -> Self {
        let mut dice = Dice::new(number);
        // Most clinics are young: the square of an even draw over six years.
        let age_days = dice.below(1_000).pow(2) * 2_190 / 1_000_000;
        let plan = dice.pick(&PLANS);
        let mut clinic = Self { dice, now, age_days, plan, tenant: Tenant::default() };
        clinic.describe();
        clinic.subscribe();
        clinic.extend();
        clinic.operate();
        clinic
    }

    fn into_tenant(self) -> Tenant {
        self.tenant
    }

    fn describe(&mut self) {
        let (specialty, noun) = self.dice.pick(&SPECIALTIES);
        let place = self.dice.of(&PLACES);
        self.tenant.name = Some(format!("{place} {noun}").into());
        self.tenant.country = Some(key(self.dice.pick(&COUNTRIES)));
        self.tenant.signed_up_at = Some(self.ago(self.age_days));
        self.tenant.attributes.insert(key("specialty"), AttributeValue::Text(specialty.into()));
        let staff = i64::from(1 + self.dice.below(40));
        self.tenant.attributes.insert(key("staff"), AttributeValue::Number(staff));
        for (percent, segment) in [(5, "chain"), (4, "beta"), (3, "nonprofit")] {
            if self.dice.percent(percent) {
                self.tenant.segments.insert(key(segment));
            }
        }
        for (percent, integration) in INTEGRATIONS {
            if self.plan != "starter" && self.dice.percent(percent) {
                self.tenant.integrations.insert(key(integration));
            }
        }
    }

    /// What clinics do with plans: most keep one; some try, move up or down, leave, come later.
    fn subscribe(&mut self) {
        let began = self.ago(self.age_days);
        let entries = match self.dice.below(100) {
            0..3 => vec![],
            3..6 => vec![subscription(self.plan, Some(self.ahead(60)), None)],
            6..13 => {
                self.age_days %= 30;
                let began = self.ago(self.age_days);
                self.tenant.signed_up_at = Some(began);
                let ends = began.plus(days(30));
                vec![Subscription { trial: true, ..subscription("pro", Some(began), Some(ends)) }]
            }
            13..19 => vec![subscription(self.plan, Some(began), Some(self.within_age()))],
            19..24 => {
                let change = self.ahead(90);
                vec![
                    subscription("pro", Some(began), Some(change)),
                    subscription("basic", Some(change), None),
                ]
            }
            24..34 => {
                let change = self.within_age();
                vec![
                    subscription("starter", Some(began), Some(change)),
                    subscription(self.plan, Some(change), None),
                ]
            }
            34..37 => {
                let second = self.within_age();
                vec![
                    subscription(self.plan, Some(began), None),
                    subscription("basic", Some(second), None),
                ]
            }
            _ => vec![subscription(self.plan, Some(began), None)],
        };
        // One that began and ended at the same instant never was.
        self.tenant.subscriptions =
            entries.into_iter().filter(|entry| !entry.window.is_empty()).collect();
    }

    /// What they take on top: add-ons and promotions that one has to ask for.
    fn extend(&mut self) {
        let wanted = match (self.plan, self.dice.below(100)) {
            ("starter", 0..95) | (_, 0..50) => 0,
            (_, 50..82) => 1,
            (_, 82..95) => 2,
            _ => 3,
        };
        for _ in 0..wanted {
            let (add_on, most) = self.dice.pick(&ADD_ONS);
            let add_on = key(add_on);
            if self.tenant.add_ons.iter().any(|entry| entry.add_on == add_on) {
                continue;
            }
            let quantity = 1 + self.dice.below(most);
            let from = self.within_age();
            let until = match self.dice.below(100) {
                0..15 => Some(self.ahead(120)),
                15..20 => Some(self.ago(1)).filter(|until| *until > from),
                _ => None,
            };
            let window = Window::new(Some(from), until);
            self.tenant.add_ons.push(TenantAddOn { add_on, quantity, window });
        }
        for (percent, promotion) in [(5, "telehealth-trial"), (3, "assistant-preview")] {
            if self.dice.percent(percent) {
                let window = Window::new(Some(self.within_age()), None);
                self.tenant.enrolments.push(TenantEnrolment { promotion: key(promotion), window });
            }
        }
    }

    /// What the vendor's own people do: an override for 3 in a hundred, a block for 1.
    fn operate(&mut self) {
        if self.dice.percent(3) {
            let at_most = |amount| Some(Amount::Set(Limit::AtMost(amount)));
            let (feature, amount) = match self.dice.below(5) {
                0 => ("seats", at_most(u64::from(20 + self.dice.below(60)))),
                1 => ("sms", at_most(5_000)),
                2 => ("api-access", Some(Amount::On)),
                3 => ("support", Some(Amount::Level(key("dedicated")))),
                _ => ("chat", None),
            };
            let until = self.dice.percent(60).then(|| self.ahead(180));
            let window = Window::new(Some(self.within_age()), until);
            let author = Some(self.dice.of(&["kim", "noor", "sasha"]).into());
            let feature = key(feature);
            let entry = Override { feature, amount, window, force: false, author, note: None };
            self.tenant.overrides.push(entry);
        }
        if self.dice.percent(1) {
            let (owner, features, modules) = match self.dice.below(3) {
                0 => ("billing", vec![], vec![]),
                1 => ("security", vec![key("api-access")], vec![]),
                _ => ("compliance", vec![], vec![key("telehealth")]),
            };
            self.tenant.blocks.push(Block {
                owner: key(owner),
                features: features.into_iter().collect(),
                modules: modules.into_iter().collect(),
                window: Window::new(Some(self.ago(self.age_days.min(20))), None),
                note: None,
            });
        }
    }

    /// An instant so many days ago, at the second of the day at which this clinic does things.
    fn ago(&self, days_ago: u32) -> Timestamp {
        self.now.minus(days(days_ago)).minus(self.habit())
    }

    fn habit(&self) -> Duration {
        Duration::from_secs(self.dice.seed % 86_400)
    }

    /// Some instant since the clinic signed up.
    fn within_age(&mut self) -> Timestamp {
        let days_ago = self.dice.below(self.age_days + 1);
        self.ago(days_ago)
    }

    /// Some instant in the future, within so many days and one.
    fn ahead(&mut self, days_max: u32) -> Timestamp {
        let days_ahead = self.dice.below(days_max) + 1;
        later(self.now, days_ahead).plus(self.habit())
    }
}

fn subscription(plan: &str, from: Option<Timestamp>, until: Option<Timestamp>) -> Subscription {
    Subscription { plan: key(plan), window: Window::new(from, until), trial: false }
}

fn later(now: Timestamp, days_ahead: u32) -> Timestamp {
    now.plus(days(days_ahead))
}

fn days(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 86_400)
}

#[expect(clippy::expect_used, reason = "every text that comes here stands in this file")]
fn key<K: FromStr<Err: Debug>>(text: &str) -> K {
    text.parse().expect("a key of this file is well formed")
}

fn instant(text: &str) -> Timestamp {
    key(text)
}

/// `SplitMix64` by Sebastiano Vigna: small, fast and the same everywhere.
struct Dice {
    seed: u64,
    state: u64,
}

impl Dice {
    /// Change it and every clinic is another one.
    const SEED: u64 = 0x5EED_0FC1_1C50_0001;

    fn new(number: u64) -> Self {
        let mut dice =
            Self { seed: 0, state: Self::SEED ^ number.wrapping_mul(0xD1B5_4A32_D192_ED03) };
        dice.seed = dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below another; 0 where that is 0.
    fn below(&mut self, end: u32) -> u32 {
        // The high half of a 32-by-32-bit product is even enough for a demo.
        (((self.next() >> 32) * u64::from(end)) >> 32) as u32
    }

    fn percent(&mut self, chance: u32) -> bool {
        self.below(100) < chance
    }

    fn of(&mut self, all: &[&'static str]) -> &'static str {
        let last = u32::try_from(all.len()).unwrap_or(u32::MAX);
        all.get(self.below(last) as usize).copied().unwrap_or_default()
    }

    fn pick<T: Copy + Default>(&mut self, weighted: &[(u32, T)]) -> T {
        let total = weighted.iter().map(|(weight, _)| weight).sum();
        let mut rest = self.below(total);
        for (weight, value) in weighted {
            match rest.checked_sub(*weight) {
                Some(less) => rest = less,
                None => return *value,
            }
        }
        T::default()
    }
}
