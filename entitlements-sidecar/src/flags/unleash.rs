//! Flags in Unleash's import format: strategies with constraints over what an application passes.

use entitlements_core::{AMOUNT_MAX, Revision};
use serde_json::{Value as Json, json};

use super::{Flag, Rule, Value, When, gate::Gated};

/// Unleash takes so many values in one constraint, and so many strategies in one flag.
const VALUES_MAX: usize = 250;
const STRATEGIES_MAX: usize = 30;

/// What an import holds, for each flag, in the form in which it can be read back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Import {
    pub(crate) flags: Vec<(String, Vec<Json>)>,
    /// Flags that do not fit, and why.
    pub(crate) left_out: Vec<(String, String)>,
}

impl Import {
    /// Of all flags, each under its name with something before it.
    pub(crate) fn of(gated: &Gated, prefix: &str) -> Self {
        let mut import = Self { left_out: gated.left_out(), ..Self::default() };
        for feature in gated.features() {
            let name = format!("{prefix}{feature}");
            match strategies(&name, &gated.of(feature)) {
                Ok(strategies) => import.flags.push((name, strategies)),
                Err(why) => import.left_out.push((feature.to_string(), why)),
            }
        }
        import
    }

    /// The body of one transactional import into a project's environment.
    pub(crate) fn body(&self, project: &str, environment: &str) -> Json {
        let feature = |(name, _): &(String, Vec<Json>)| json!({ "name": name, "type": "permission", "description": "kept by Entitlements" });
        let enabled = |(name, strategies): &(String, Vec<Json>)| {
            json!({
                "name": name,
                "featureName": name,
                "environment": environment,
                // Without strategies a flag would be on for everybody.
                "enabled": !strategies.is_empty(),
            })
        };
        let strategies = self.flags.iter().flat_map(|(name, strategies)| {
            strategies.iter().map(move |strategy| {
                let mut strategy = strategy.clone();
                strategy["featureName"] = json!(name);
                strategy
            })
        });
        json!({
            "project": project,
            "environment": environment,
            "data": {
                "features": self.flags.iter().map(feature).collect::<Vec<_>>(),
                "featureStrategies": strategies.collect::<Vec<_>>(),
                "featureEnvironments": self.flags.iter().map(enabled).collect::<Vec<_>>(),
                "contextFields": CONTEXT.map(|name| json!({ "name": name })),
                "segments": [],
                "featureTags": [],
                "tagTypes": [],
                "dependencies": [],
            },
        })
    }

    /// What is different in a read-back of an environment; absent where nothing is.
    pub(crate) fn difference(&self, features: &Json) -> Option<String> {
        let found = features["features"].as_array();
        for (name, strategies) in &self.flags {
            let found = found.and_then(|all| all.iter().find(|it| it["name"] == name.as_str()));
            let Some(found) = found else { return Some(format!("flag `{name}` is missing")) };
            if found["enabled"] != json!(!strategies.is_empty()) {
                return Some(format!("flag `{name}` was switched"));
            }
            let mut theirs: Vec<String> = found["strategies"]
                .as_array()
                .map(|list| list.iter().map(essence).collect())
                .unwrap_or_default();
            let mut ours: Vec<String> = strategies.iter().map(essence).collect();
            theirs.sort_unstable();
            ours.sort_unstable();
            if theirs != ours {
                return Some(format!("flag `{name}` has other rules"));
            }
        }
        None
    }
}

/// The fields that an application passes.
pub(crate) const CONTEXT: [&str; 4] = ["tenantId", "plan", "country", "entRev"];

/// What a strategy says, without what Unleash adds to it.
fn essence(strategy: &Json) -> String {
    let constraints = strategy["constraints"].as_array().cloned().unwrap_or_default();
    let mut constraints: Vec<String> = constraints
        .iter()
        .map(|it| {
            let mut values: Vec<&str> = it["values"]
                .as_array()
                .map(|values| values.iter().filter_map(Json::as_str).collect())
                .unwrap_or_default();
            values.sort_unstable();
            let value = it["value"].as_str().unwrap_or_default();
            let inverted = it["inverted"].as_bool().unwrap_or(false);
            format!("{} {} {values:?} {value} {inverted}", it["contextName"], it["operator"])
        })
        .collect();
    constraints.sort_unstable();
    let variants = strategy["variants"].as_array().cloned().unwrap_or_default();
    let variants: Vec<String> =
        variants.iter().map(|it| format!("{} {}", it["name"], it["payload"]["value"])).collect();
    let parameters = &strategy["parameters"];
    format!("{} {} {constraints:?} {variants:?}", strategy["name"], parameters["rollout"])
}

/// The strategies of one flag: a flag is on where one of them fits, and each says what it is worth.
fn strategies(name: &str, levels: &[(Revision, &Flag)]) -> Result<Vec<Json>, String> {
    let mut all = Vec::new();
    for (place, (from, flag)) in levels.iter().enumerate() {
        let mut gate = Vec::new();
        if place > 0 {
            gate.push(number("NUM_GTE", *from));
        }
        if let Some((next, _)) = levels.get(place + 1) {
            gate.push(number("NUM_LT", *next));
        }
        all.extend(level(name, flag, &gate)?);
    }
    if all.len() > STRATEGIES_MAX {
        return Err(format!("it takes {} strategies, and a flag has {STRATEGIES_MAX}", all.len()));
    }
    Ok(all)
}

/// One strategy for each rule. Unleash goes through all of them, so a rule leaves out whom an earlier
/// one names.
fn level(name: &str, flag: &Flag, gate: &[Json]) -> Result<Vec<Json>, String> {
    let mut named: Vec<&String> = Vec::new();
    let mut all = Vec::new();
    for Rule { when, value } in &flag.rules {
        let mut constraints = gate.to_vec();
        match when {
            When::Tenants(tenants) => {
                named.extend(tenants);
                constraints.push(values("tenantId", "IN", tenants)?);
            }
            When::Plans(plans) => constraints.push(values("plan", "IN", plans)?),
            When::Countries { plan, countries } => {
                constraints.push(values("plan", "IN", std::slice::from_ref(plan))?);
                constraints.push(values("country", "IN", countries)?);
            }
        }
        if *value == Value::Off {
            continue;
        }
        if !matches!(when, When::Tenants(_)) && !named.is_empty() {
            let named: Vec<String> = named.iter().map(|&it| it.clone()).collect();
            constraints.push(values("tenantId", "NOT_IN", &named)?);
        }
        all.push(json!({
            "name": "flexibleRollout",
            "parameters": { "rollout": "100", "stickiness": "default", "groupId": name },
            "constraints": constraints,
            "segments": [],
            "variants": variants(value),
            "sortOrder": all.len(),
        }));
    }
    Ok(all)
}

fn number(operator: &str, revision: Revision) -> Json {
    json!({
        "contextName": "entRev", "operator": operator, "value": revision.0.to_string(),
        "values": [], "inverted": false, "caseInsensitive": false,
    })
}

fn values(field: &str, operator: &str, values: &[String]) -> Result<Json, String> {
    if values.len() > VALUES_MAX {
        let count = values.len();
        return Err(format!("it names {count} values of `{field}`, and a rule takes {VALUES_MAX}"));
    }
    Ok(json!({
        "contextName": field, "operator": operator, "values": values,
        "inverted": false, "caseInsensitive": false,
    }))
}

/// How much, for flags that are more than a switch.
fn variants(value: &Value) -> Json {
    let (kind, text) = match value {
        Value::Off | Value::On => return json!([]),
        Value::Amount(amount) => ("number", amount.to_string()),
        Value::Unlimited => ("number", AMOUNT_MAX.to_string()),
        Value::Level(name) => ("string", name.clone()),
        Value::Config(json) => ("json", json.clone()),
    };
    json!([{
        "name": "value", "weight": 1000, "weightType": "variable", "stickiness": "default",
        "payload": { "type": kind, "value": text },
    }])
}
