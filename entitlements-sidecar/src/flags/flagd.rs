//! Flags in flagd's definition format: JSON Logic over what an application passes.

use entitlements_core::{AMOUNT_MAX, Revision};
use serde_json::{Map, Value as Json, json};

use super::{Flag, Kind, Value, When, gate::Gated};

/// The largest definition: clients take messages up to 4 MB where nobody says otherwise, in bytes.
pub(crate) const BYTES_MAX: usize = 4 * 1024 * 1024 - 64 * 1024;

/// The greatest number that clients hold exactly.
const MOST: f64 = 9_007_199_254_740_991.0;

/// A definition, and what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    /// What it says apart from its version.
    pub(crate) flags: blake3::Hash,
    pub(crate) text: String,
}

/// Writes a definition, and sees to it that flagd can read it.
///
/// # Errors
/// Says why it must not be sent: some clients keep quiet about one that they cannot read.
pub(crate) fn definition(
    gated: &Gated,
    revision: Revision,
    environment: &str,
) -> Result<Definition, String> {
    let mut flags = Map::new();
    for feature in gated.features() {
        flags.insert(feature.to_string(), flag(&gated.of(feature)));
    }
    let hash = blake3::hash(Json::from(flags.clone()).to_string().as_bytes());
    let document = json!({
        "$schema": "https://flagd.dev/schema/v0/flags.json",
        "metadata": { "flagSetId": environment, "version": revision.to_string() },
        "flags": flags,
    });
    check(&document)?;
    let text = document.to_string();
    if text.len() > BYTES_MAX {
        return Err(format!(
            "the definition has {} bytes and clients take {BYTES_MAX}: leave features out",
            text.len()
        ));
    }
    Ok(Definition { flags: hash, text })
}

/// One flag: the rules of the newest revision that is not after the one that is passed.
fn flag(levels: &[(Revision, &Flag)]) -> Json {
    let kind = levels.first().map_or(Kind::Switch, |(_, flag)| flag.kind);
    let mut variants = Map::new();
    for value in levels.iter().flat_map(|(_, flag)| flag.values()) {
        variants.insert(variant(value), shown(kind, value));
    }
    let off = variant(&Value::Off);
    let mut levels = levels.iter();
    let mut targeting = levels.next().map_or_else(|| json!(off), |(_, flag)| rules(flag));
    for (from, flag) in levels {
        let is_there = json!({ ">=": [{ "var": "entRev" }, from.0] });
        targeting = json!({ "if": [is_there, rules(flag), targeting] });
    }
    if targeting.is_string() {
        // Targeting is logic, and a name alone is none.
        targeting = json!({ "if": [true, targeting] });
    }
    json!({
        "state": "ENABLED",
        "variants": variants,
        "defaultVariant": off,
        "targeting": targeting,
    })
}

/// The first rule that fits.
fn rules(flag: &Flag) -> Json {
    let off = json!(variant(&Value::Off));
    if flag.rules.is_empty() {
        return off;
    }
    let mut list = Vec::with_capacity(flag.rules.len() * 2 + 1);
    for rule in &flag.rules {
        list.push(match &rule.when {
            When::Tenants(tenants) => json!({ "in": [{ "var": "targetingKey" }, tenants] }),
            When::Plans(plans) => json!({ "in": [{ "var": "plan" }, plans] }),
            When::Countries { plan, countries } => json!({ "and": [
                { "==": [{ "var": "plan" }, plan] },
                { "in": [{ "var": "country" }, countries] },
            ] }),
        });
        list.push(json!(variant(&rule.value)));
    }
    list.push(off);
    json!({ "if": list })
}

/// The name of a value.
fn variant(value: &Value) -> String {
    match value {
        Value::Off => "off".into(),
        Value::On => "on".into(),
        Value::Amount(amount) => format!("n{amount}"),
        Value::Unlimited => "unlimited".into(),
        Value::Level(name) => format!("level-{name}"),
        Value::Config(json) => format!("config-{}", &blake3::hash(json.as_bytes()).to_hex()[..12]),
    }
}

/// A value as clients get it: always one of the flag's type.
fn shown(kind: Kind, value: &Value) -> Json {
    match (kind, value) {
        (_, Value::On) => json!(true),
        (_, Value::Amount(amount)) => json!(amount),
        (_, Value::Unlimited) => json!(AMOUNT_MAX),
        (_, Value::Level(name)) => json!(name),
        (_, Value::Config(text)) => serde_json::from_str(text).unwrap_or_else(|_| json!({})),
        (Kind::Switch, Value::Off) => json!(false),
        (Kind::Number, Value::Off) => json!(0),
        (Kind::Text, Value::Off) => json!("none"),
        (Kind::Json, Value::Off) => json!({}),
    }
}

/// What flagd asks of a definition, as far as one of ours can go against it.
fn check(document: &Json) -> Result<(), String> {
    let flags = document["flags"].as_object().ok_or("it has no flags")?;
    for (key, flag) in flags {
        let wrong = |why: &str| Err(format!("flag `{key}`: {why}"));
        if !matches!(flag["state"].as_str(), Some("ENABLED" | "DISABLED")) {
            return wrong("its `state` is none");
        }
        let Some(variants) = flag["variants"].as_object().filter(|it| !it.is_empty()) else {
            return wrong("it has no variants");
        };
        let kinds = variants.values().map(|value| match value {
            Json::Bool(_) => Some(0),
            Json::Number(number) => number.as_f64().filter(|it| it.abs() <= MOST).map(|_| 1),
            Json::String(_) => Some(2),
            Json::Object(_) => Some(3),
            _ => None,
        });
        let mut kinds: Vec<Option<i32>> = kinds.collect();
        kinds.dedup();
        if kinds.len() != 1 || kinds[0].is_none() {
            return wrong("its variants are not all booleans, numbers, texts or objects");
        }
        let default = flag["defaultVariant"].as_str().unwrap_or_default();
        if !variants.contains_key(default) {
            return wrong("its default is none of its variants");
        }
        if !leads_to(&flag["targeting"], variants) {
            return wrong("its targeting leads to something that is no variant");
        }
    }
    Ok(())
}

/// Whether every end of a tree of `if`s is the name of a variant.
fn leads_to(logic: &Json, variants: &Map<String, Json>) -> bool {
    match logic {
        Json::String(name) => variants.contains_key(name),
        Json::Object(operation) => {
            let Some(list) = operation.get("if").and_then(Json::as_array) else { return false };
            operation.len() == 1
                && list.len() >= 2
                && list.iter().enumerate().all(|(place, part)| {
                    let is_condition = place % 2 == 0 && place + 1 < list.len();
                    is_condition || leads_to(part, variants)
                })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            FlagSet, NAMED_MAX,
            tests::{AT, world},
        },
        *,
    };

    #[test]
    fn what_is_written_can_be_read() {
        for seed in 0..20 {
            let set = FlagSet::of(&world(seed, 80), AT, NAMED_MAX);
            let other = FlagSet::of(&world(seed + 100, 80), AT, NAMED_MAX);
            let gated = Gated::new(Revision(1), set).with(Revision(2), other);
            let definition = definition(&gated, Revision(2), "default").unwrap();
            let document: Json = serde_json::from_str(&definition.text).unwrap();
            assert_eq!(document["metadata"]["version"], "2");
            assert_eq!(document["flags"].as_object().unwrap().len(), 4);
        }
    }

    #[test]
    fn what_flagd_would_not_read_is_not_sent() {
        let good = json!({ "flags": { "a": {
            "state": "ENABLED", "variants": { "on": true, "off": false },
            "defaultVariant": "off", "targeting": { "if": [true, "on", "off"] },
        } } });
        assert_eq!(check(&good), Ok(()));
        for (path, value, said) in [
            ("/flags/a/state", json!("on"), "state"),
            ("/flags/a/variants", json!({}), "no variants"),
            ("/flags/a/variants", json!({ "on": true, "off": 0 }), "not all"),
            ("/flags/a/variants", json!({ "on": [1], "off": [2] }), "not all"),
            ("/flags/a/defaultVariant", json!("other"), "default"),
            ("/flags/a/targeting", json!({ "if": [true, "other"] }), "targeting"),
            ("/flags/a/targeting", json!({ "iff": [true, "on"] }), "targeting"),
            ("/flags/a/targeting", json!({ "if": ["on"] }), "targeting"),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(path).unwrap() = value;
            let error = check(&bad).unwrap_err();
            assert!(error.contains("flag `a`") && error.contains(said), "{error}");
        }
    }
}
