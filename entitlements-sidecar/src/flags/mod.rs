//! Features as flags of other flag services.
//!
//! A flag service cannot be sent every tenant. It is sent rules over what an application can pass as
//! its context: the tenant's plan, and its country where plans alone do not tell. Tenants for which
//! a rule is wrong are named, as long as they are few. So a flag is exact for every tenant, or it is
//! left out, with the reason.

pub(crate) mod flagd;
pub(crate) mod gate;
pub(crate) mod keeper;
pub(crate) mod unleash;

use std::collections::{BTreeMap, HashMap};

use entitlements_core::{
    Decision, FeatureKey, FeatureKind, Limit, Snapshot, Tenant, Timestamp, Verdict,
};

/// So many tenants may be named in one flag.
pub(crate) const NAMED_MAX: usize = 200;
/// The plan of whoever is no tenant. No plan is called that.
pub(crate) const NOBODY: &str = "-";

/// All flags of a world.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FlagSet {
    pub(crate) flags: BTreeMap<FeatureKey, Flag>,
    /// Features that cannot be told exactly, and why.
    pub(crate) left_out: BTreeMap<FeatureKey, String>,
}

/// One flag: the first rule that fits counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flag {
    pub(crate) kind: Kind,
    /// What it is for whom no rule fits: as for whoever is no tenant.
    pub(crate) rules: Vec<Rule>,
}

/// What type of value it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Switch,
    Number,
    Text,
    Json,
}

impl Kind {
    fn of(kind: &FeatureKind) -> Self {
        match kind {
            FeatureKind::Switch => Self::Switch,
            FeatureKind::Limit { .. } => Self::Number,
            FeatureKind::Level { .. } => Self::Text,
            FeatureKind::Config { .. } => Self::Json,
        }
    }
}

/// Who gets what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) when: When,
    pub(crate) value: Value,
}

/// For whom a rule is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum When {
    /// For these tenants.
    Tenants(Vec<String>),
    /// For these plans.
    Plans(Vec<String>),
    /// For these countries within a plan; an empty text is none.
    Countries { plan: String, countries: Vec<String> },
}

/// What a flag says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Value {
    /// Denied.
    Off,
    On,
    Amount(u64),
    Unlimited,
    Level(String),
    /// JSON text.
    Config(String),
}

impl Value {
    fn of(decision: &Decision<'_>) -> Self {
        match decision.verdict() {
            Verdict::Denied => Self::Off,
            Verdict::Allowed => Self::On,
            Verdict::Limit(Limit::AtMost(amount)) => Self::Amount(amount),
            Verdict::Limit(Limit::Unlimited) => Self::Unlimited,
            Verdict::Level(name) => Self::Level(name.to_string()),
            Verdict::Config(json) => Self::Config(json.to_string()),
        }
    }
}

/// What an application passes about a tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Context {
    /// The keys of the plans in force, in order, joined by `+`; empty without any.
    pub(crate) plan: String,
    /// The country; empty where none is known.
    pub(crate) country: String,
}

impl Context {
    /// Of a tenant at an instant.
    pub(crate) fn of(tenant: &Tenant, at: Timestamp) -> Self {
        let in_force = tenant.subscriptions.iter().filter(|it| it.window.contains(at));
        let mut plans: Vec<&str> = in_force.map(|it| it.plan.as_str()).collect();
        plans.sort_unstable();
        plans.dedup();
        let country = tenant.country.as_ref().map(ToString::to_string).unwrap_or_default();
        Self { plan: plans.join("+"), country }
    }

    /// Of whoever is no tenant.
    pub(crate) fn nobody() -> Self {
        Self { plan: NOBODY.into(), country: String::new() }
    }
}

/// Tenants that answer the same and are told apart by nothing that an application passes.
struct Cohort {
    context: Context,
    tenants: Vec<String>,
    values: Vec<Value>,
}

impl FlagSet {
    /// The flags that say for every tenant what a snapshot says at an instant.
    pub(crate) fn of(snapshot: &Snapshot, at: Timestamp, named_max: usize) -> Self {
        let cohorts = cohorts(snapshot, at);
        let mut set = Self::default();
        for (place, (key, feature)) in snapshot.catalog().draft().features.iter().enumerate() {
            match rules(&cohorts, place, named_max) {
                Ok(rules) => {
                    let flag = Flag { kind: Kind::of(&feature.kind), rules };
                    set.flags.insert(key.clone(), flag);
                }
                Err(count) => {
                    let why = format!(
                        "{count} tenants differ from others with the same plan and country; at most \
                         {named_max} can be named"
                    );
                    set.left_out.insert(key.clone(), why);
                }
            }
        }
        set
    }

    /// What a flag says in a context, as a flag service works it out.
    #[cfg(test)]
    pub(crate) fn evaluate(&self, feature: &str, tenant: &str, context: &Context) -> Option<Value> {
        let (_, flag) = self.flags.iter().find(|(key, _)| key.as_str() == feature)?;
        Some(flag.evaluate(tenant, context))
    }
}

impl Flag {
    #[cfg(test)]
    fn evaluate(&self, tenant: &str, context: &Context) -> Value {
        let fits = |rule: &&Rule| match &rule.when {
            When::Tenants(tenants) => tenants.iter().any(|it| it == tenant),
            When::Plans(plans) => plans.contains(&context.plan),
            When::Countries { plan, countries } => {
                *plan == context.plan && countries.contains(&context.country)
            }
        };
        self.rules.iter().find(fits).map_or(Value::Off, |rule| rule.value.clone())
    }

    /// Every value that it may have, in order.
    pub(crate) fn values(&self) -> Vec<&Value> {
        let mut values: Vec<&Value> = self.rules.iter().map(|rule| &rule.value).collect();
        values.push(&Value::Off);
        values.sort_unstable();
        values.dedup();
        values
    }
}

/// Tenants by what they answer and what is known of them, each cohort asked once.
fn cohorts(snapshot: &Snapshot, at: Timestamp) -> Vec<Cohort> {
    let mut known: HashMap<(Context, Option<u32>), usize> = HashMap::new();
    let mut cohorts: Vec<Cohort> = Vec::new();
    for view in snapshot.tenants() {
        let context = Context::of(&view.tenant(), at);
        let same = view.same_answers(at);
        let key = (context.clone(), same);
        if let (Some(place), true) = (known.get(&key), same.is_some()) {
            cohorts[*place].tenants.push(view.key().into());
            continue;
        }
        known.insert(key, cohorts.len());
        let values = view.decisions(at).map(|(_, decision)| Value::of(&decision)).collect();
        cohorts.push(Cohort { context, tenants: vec![view.key().into()], values });
    }
    cohorts
}

/// The rules of one feature; or how many tenants would have to be named.
fn rules(cohorts: &[Cohort], place: usize, named_max: usize) -> Result<Vec<Rule>, usize> {
    let by_plan = Grouped::new(cohorts, place, |context| (context.plan.clone(), String::new()));
    if by_plan.exceptions() <= named_max {
        return Ok(by_plan.rules());
    }
    let by_country =
        Grouped::new(cohorts, place, |context| (context.plan.clone(), context.country.clone()));
    match by_country.exceptions() {
        count if count <= named_max => Ok(by_country.rules()),
        count => Err(count),
    }
}

/// What each group answers, by value.
struct Grouped<'c> {
    groups: BTreeMap<(String, String), BTreeMap<&'c Value, Vec<&'c Cohort>>>,
}

impl<'c> Grouped<'c> {
    fn new(
        cohorts: &'c [Cohort],
        place: usize,
        group: impl Fn(&Context) -> (String, String),
    ) -> Self {
        let mut groups: BTreeMap<_, BTreeMap<&Value, Vec<&Cohort>>> = BTreeMap::new();
        for cohort in cohorts {
            let value = cohort.values.get(place).unwrap_or(&Value::Off);
            let values = groups.entry(group(&cohort.context)).or_default();
            values.entry(value).or_default().push(cohort);
        }
        Self { groups }
    }

    /// What most tenants of a group answer; of two the greater value.
    fn usual<'g>(values: &'g BTreeMap<&'c Value, Vec<&'c Cohort>>) -> &'g Value {
        let count = |cohorts: &[&Cohort]| cohorts.iter().map(|it| it.tenants.len()).sum::<usize>();
        let most = values.iter().max_by_key(|(_, cohorts)| count(cohorts));
        most.map_or(&Value::Off, |(value, _)| *value)
    }

    fn exceptions(&self) -> usize {
        let odd = |values: &BTreeMap<&'c Value, Vec<&'c Cohort>>| {
            let usual = Self::usual(values).clone();
            let others = values.iter().filter(|(value, _)| ***value != usual);
            others.flat_map(|(_, cohorts)| cohorts).map(|it| it.tenants.len()).sum::<usize>()
        };
        self.groups.values().map(odd).sum()
    }

    /// Those who differ by name first, then the groups, each value in one rule.
    fn rules(&self) -> Vec<Rule> {
        let mut named: BTreeMap<Value, Vec<String>> = BTreeMap::new();
        let mut plans: BTreeMap<Value, Vec<String>> = BTreeMap::new();
        let mut countries: BTreeMap<(String, Value), Vec<String>> = BTreeMap::new();
        let mut by_plan: BTreeMap<&str, Vec<(&str, &Value)>> = BTreeMap::new();
        for ((plan, country), values) in &self.groups {
            let usual = Self::usual(values);
            by_plan.entry(plan).or_default().push((country, usual));
            for (value, cohorts) in values.iter().filter(|(value, _)| **value != usual) {
                let tenants = cohorts.iter().flat_map(|cohort| cohort.tenants.iter().cloned());
                named.entry((*value).clone()).or_default().extend(tenants);
            }
        }
        for (plan, groups) in by_plan {
            // Countries that all say the same need not be told apart, unless one is still to come.
            let is_alone = groups.len() == 1 && groups[0].0.is_empty();
            for (country, value) in groups {
                match (is_alone, value) {
                    (_, Value::Off) => {}
                    (true, value) => plans.entry(value.clone()).or_default().push(plan.into()),
                    (false, value) => {
                        let key = (plan.to_owned(), value.clone());
                        countries.entry(key).or_default().push(country.into());
                    }
                }
            }
        }
        let tenants = named.into_iter().map(|(value, mut tenants)| {
            tenants.sort_unstable();
            Rule { when: When::Tenants(tenants), value }
        });
        let plans =
            plans.into_iter().map(|(value, plans)| Rule { when: When::Plans(plans), value });
        let countries = countries.into_iter().map(|((plan, value), countries)| Rule {
            when: When::Countries { plan, countries },
            value,
        });
        tenants.chain(plans).chain(countries).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::random::Random;
    use entitlements_core::{Catalog, Revision, document::Document};

    pub(crate) const AT: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    pub(crate) fn snapshot(revision: u64, text: &str) -> Snapshot {
        let document = Document::parse("flags.toml", text).unwrap();
        let catalog = Catalog::new(document.catalog).unwrap();
        Snapshot::compile(Revision(revision), catalog.into(), &document.tenants, AT)
    }

    /// The flags of a plan with so many seats.
    pub(crate) fn set_with_seats(seats: u64) -> FlagSet {
        let text = format!(
            "[features]\nseats = {{ kind = {{ limit = {{ unit = \"s\" }} }} }}\n[plans.p]\ngrants = \
             {{ seats = {seats} }}\n[tenants.a]\nsubscriptions = [{{ plan = \"p\" }}]\n"
        );
        FlagSet::of(&snapshot(1, &text), AT, NAMED_MAX)
    }

    /// Clinics on three plans in four countries, some with overrides, add-ons and blocks.
    pub(crate) fn world(seed: u64, tenants: u64) -> Snapshot {
        let mut text = String::from(
            r#"
            [features]
            sso = { kind = "switch" }
            seats = { kind = { limit = { unit = "seat" } } }
            support = { kind = { level = { levels = ["basic", "gold"] } } }
            theme = { kind = { config = { schema = { type = "object" } } } }
            [regions.south]
            countries = ["ES", "IT"]
            [plans.free]
            grants = { seats = 1 }
            [plans.pro]
            grants = { sso = true, seats = 15, support = "basic", theme = { color = "blue" } }
            [plans.max]
            grants = { sso = true, seats = "unlimited", support = "gold" }
            [promotions.sun]
            audience = { region = ["south"] }
            grants = { support = "gold", seats = "+5" }
            "#,
        );
        let mut random = Random::new(seed);
        for tenant in 0..tenants {
            text += &format!("[tenants.t{tenant}]\n");
            let plans = ["free", "pro", "max"];
            let plan = plans[random.below(3) as usize];
            text += &match random.below(20) {
                0 => String::new(),
                1 => format!("subscriptions = [{{ plan = \"{plan}\" }}, {{ plan = \"free\" }}]\n"),
                2 => format!(
                    "subscriptions = [{{ plan = \"{plan}\", window = {{ until = 2020-01-01T00:00:00Z \
                     }} }}]\n"
                ),
                _ => format!("subscriptions = [{{ plan = \"{plan}\" }}]\n"),
            };
            if random.below(5) > 0 {
                text += &format!(
                    "country = \"{}\"\n",
                    ["ES", "IT", "FR", "DE"][random.below(4) as usize]
                );
            }
            match random.below(25) {
                0 => text += "overrides = [{ feature = \"seats\", amount = 7 }]\n",
                1 => text += "blocks = [{ owner = \"billing\" }]\n",
                _ => {}
            }
        }
        snapshot(1, &text)
    }

    fn is_exact(snapshot: &Snapshot, set: &FlagSet) {
        for view in snapshot.tenants() {
            let context = Context::of(&view.tenant(), AT);
            for (feature, decision) in view.decisions(AT) {
                if let Some(said) = set.evaluate(feature.as_str(), view.key(), &context) {
                    assert_eq!(said, Value::of(&decision), "{} {feature}", view.key());
                }
            }
        }
        for feature in set.flags.keys() {
            let nobody = set.evaluate(feature.as_str(), "nobody", &Context::nobody());
            assert_eq!(nobody, Some(Value::Off), "{feature}");
        }
    }

    #[test]
    fn flags_say_for_every_tenant_what_the_snapshot_says() {
        let (mut told, mut left_out) = (0, 0);
        for seed in 0..60 {
            let snapshot = world(seed, 150);
            // With few names allowed, some features cannot be told.
            for most in [NAMED_MAX, 12, 3] {
                let set = FlagSet::of(&snapshot, AT, most);
                is_exact(&snapshot, &set);
                assert_eq!(set.flags.len() + set.left_out.len(), 4);
                told += set.flags.len();
                left_out += set.left_out.len();
                let named = set.flags.values().flat_map(|flag| &flag.rules).map(|rule| {
                    if let When::Tenants(tenants) = &rule.when { tenants.len() } else { 0 }
                });
                assert!(named.max().unwrap_or(0) <= most);
            }
        }
        assert!(told > 300 && left_out > 60, "{told} told, {left_out} left out");
    }

    #[test]
    fn plans_are_enough_where_nothing_depends_on_the_country() {
        let snapshot = snapshot(
            1,
            r#"
            [features]
            sso = { kind = "switch" }
            [plans.pro]
            grants = { sso = true }
            [plans.free]
            grants = {}
            [tenants.a]
            subscriptions = [{ plan = "pro" }]
            country = "FR"
            [tenants.b]
            subscriptions = [{ plan = "pro" }]
            [tenants.c]
            subscriptions = [{ plan = "free" }]
            [tenants.d]
            subscriptions = [{ plan = "free" }]
            overrides = [{ feature = "sso", amount = true }]
            [tenants.e]
            subscriptions = [{ plan = "free" }]
            "#,
        );
        let set = FlagSet::of(&snapshot, AT, NAMED_MAX);
        let rules = &set.flags.values().next().unwrap().rules;
        let expected = [
            Rule { when: When::Tenants(vec!["d".into()]), value: Value::On },
            Rule { when: When::Plans(vec!["pro".into()]), value: Value::On },
        ];
        assert_eq!(rules, &expected);
    }
}
