//! What holds for every catalog and every draft of it, on random ones by a seed.

use std::collections::{BTreeMap, BTreeSet};

use entitlements_core::{Draft, PlanVersion};
use serde_json::{Map, Value, json};

use super::super::{Conflict, Edits, ObjectKind, ObjectRef, changes, diff, merge, object};

#[path = "../../../../../entitlements-core/tests/support/world.rs"]
#[expect(dead_code, reason = "the worlds have tenants too, which a draft does not")]
mod world;

use world::{Make, Random};

const ROUNDS: u64 = 300;

/// A catalog that three people start from and two have changed, each in their own way.
struct Story {
    base: Draft,
    one: Draft,
    other: Draft,
}

impl Story {
    fn all() -> impl Iterator<Item = Self> {
        (0..ROUNDS).map(|seed| {
            let mut make = Make { random: Random(seed), edges: Vec::new() };
            let [base, first, second] = [make.draft(), make.draft(), make.draft()];
            // Half of the time they change much, half of the time little, so that they agree too.
            let untouched = if seed % 2 == 0 { 50 } else { 93 };
            let one = mixed(&mut make.random, untouched, &base, &first);
            let other = mixed(&mut make.random, untouched, &base, &second);
            Self { base, one, other }
        })
    }
}

/// A catalog with some objects, and some parts of objects, as they are in another.
fn mixed(random: &mut Random, untouched: u64, base: &Draft, other: &Draft) -> Draft {
    let mut result = base.clone();
    let objects = ObjectKind::ALL.into_iter().flat_map(|kind| object::differing(kind, base, other));
    for object in objects.collect::<Vec<_>>() {
        let (mine, theirs) = (object.in_catalog(base), object.in_catalog(other));
        if random.chance(untouched) {
            continue;
        }
        let value = match random.below(10) {
            0 => None,
            1 => theirs,
            _ => mix(random, mine.as_ref(), theirs.as_ref()),
        };
        let named = value.map(|mut value| {
            if random.chance(30) {
                value["name"] = json!(format!("name {}", random.below(3)));
            }
            value
        });
        let mut trial = result.clone();
        if object.put_into(&mut trial, named).is_empty() {
            result = trial;
        }
    }
    result
}

fn mix(random: &mut Random, mine: Option<&Value>, theirs: Option<&Value>) -> Option<Value> {
    match (mine, theirs) {
        (Some(Value::Object(mine)), Some(Value::Object(theirs))) if random.chance(80) => {
            let names: BTreeSet<_> = mine.keys().chain(theirs.keys()).collect();
            let part = |name: &String| {
                let value = mix(random, mine.get(name), theirs.get(name))?;
                Some((name.clone(), value))
            };
            Some(Value::Object(names.into_iter().filter_map(part).collect()))
        }
        (Some(Value::Array(mine)), Some(Value::Array(theirs))) if random.chance(80) => {
            let mut all: Vec<Value> = Vec::new();
            for item in mine.iter().chain(theirs) {
                let twin = |known: &Value| known == item || from(known) == from(item);
                if random.chance(60) && !all.iter().any(twin) {
                    all.push(item.clone());
                }
            }
            Some(Value::Array(all))
        }
        _ => if random.chance(70) { mine } else { theirs }.cloned(),
    }
}

/// What tells versions apart; other things only by all that they are.
fn from(value: &Value) -> &Value {
    value.get("from").unwrap_or(value)
}

/// The order of versions says nothing, and a merge has to put them in some.
fn in_order(mut catalog: Draft) -> Draft {
    let start = |version: &PlanVersion| version.from;
    catalog.plans.values_mut().for_each(|plan| plan.versions.sort_by_key(start));
    catalog
}

#[test]
fn the_edits_that_lead_from_one_catalog_to_another_lead_there() {
    let mut edited = 0;
    for Story { base, one, .. } in Story::all() {
        let edits = diff(&base, &one);
        edited += edits.len();
        let merged = merge(&base, &edits);
        assert_eq!(merged.conflicts, []);
        assert_eq!(merged.draft, one);
        assert_eq!(merged.catalog.is_some(), merged.problems.is_empty());
        assert_eq!(merge(&one, &diff(&one, &base)).draft, base, "and back");
        let kept = serde_json::to_string(&edits).unwrap();
        assert_eq!(serde_json::from_str::<Edits>(&kept).unwrap(), edits);
    }
    assert!(edited > 1_000, "{edited} edits are too few to show anything");
}

#[test]
fn edits_that_are_live_already_change_nothing() {
    for Story { base, one, .. } in Story::all() {
        let merged = merge(&one, &diff(&base, &one));
        assert_eq!(merged.conflicts, []);
        assert_eq!(merged.draft, one);
    }
}

#[test]
fn a_draft_without_edits_is_what_is_live() {
    for Story { one, .. } in Story::all().take(20) {
        assert_eq!(merge(&one, &Edits::default()).draft, one);
        assert!(diff(&one, &one.clone()).is_empty());
    }
}

#[test]
fn it_does_not_matter_who_publishes_first() {
    let (mut agreed, mut disputed) = (0, 0);
    for Story { base, one, other } in Story::all() {
        let there = merge(&one, &diff(&base, &other));
        let back = merge(&other, &diff(&base, &one));
        let swapped: Vec<_> = back.conflicts.into_iter().map(swap).collect();
        assert_eq!(there.conflicts, swapped);
        if there.conflicts.is_empty() {
            assert_eq!(in_order(there.draft), in_order(back.draft));
            agreed += 1;
        } else {
            disputed += 1;
        }
    }
    assert!(agreed > 50 && disputed > 50, "{agreed} agreed, {disputed} disputed");
}

fn swap(conflict: Conflict) -> Conflict {
    Conflict { live: conflict.draft, draft: conflict.live, ..conflict }
}

#[test]
fn a_conflict_is_where_both_sides_changed_the_same_and_nowhere_else() {
    let mut count = 0;
    for (seed, Story { base, one, other }) in Story::all().enumerate() {
        let found: BTreeSet<_> =
            merge(&one, &diff(&base, &other)).conflicts.into_iter().map(|c| c.path).collect();
        let expected = disputed(&base, &one, &other);
        assert_eq!(found, expected, "seed {seed}");
        count += expected.len();
    }
    assert!(count > 200, "{count} conflicts are too few to show anything");
}

#[test]
fn without_a_conflict_every_change_of_either_side_is_in_the_result() {
    for Story { base, one, other } in Story::all() {
        let merged = merge(&one, &diff(&base, &other));
        if !merged.conflicts.is_empty() {
            continue;
        }
        let [base, one, other, merged] = [&base, &one, &other, &merged.draft].map(leaves);
        for path in one.keys().chain(other.keys()).chain(base.keys()) {
            let [base, one, other, merged] =
                [&base, &one, &other, &merged].map(|leaves| leaves.get(path));
            let expected = if one == base { other } else { one };
            assert_eq!(merged, expected, "{path}");
        }
    }
}

#[test]
fn changes_are_told_for_each_object_that_differs_and_for_no_other() {
    for Story { base, one, .. } in Story::all() {
        let edits = diff(&base, &one);
        let told = changes(&base, &one);
        let objects: BTreeSet<_> =
            told.0.iter().filter_map(|change| change.object.as_ref()).collect();
        assert_eq!(objects, edits.iter().map(|(object, _)| object).collect());
        assert!(told.0.is_sorted_by(|a, b| a.path <= b.path));
        for change in &told.0 {
            assert_ne!(change.before, change.after, "{change}");
            let object = change.object.as_ref().unwrap().to_string();
            assert!(change.path.starts_with(&object), "{change}");
        }
        assert_eq!(told.to_string().lines().count(), told.0.len());
    }
}

/// The second statement of what a conflict is, over the leaves of three catalogs.
///
/// Where a thing with fields is gone on one side and is not what it was on the other, that is one
/// conflict. Elsewhere each leaf is one that was changed on both sides, and not to the same.
fn disputed(base: &Draft, one: &Draft, other: &Draft) -> BTreeSet<String> {
    let [base, one, other] = [base, one, other].map(leaves);
    let below = |leaves: &BTreeMap<String, Value>, path: &str| -> BTreeMap<String, Value> {
        let inside = |leaf: &str| {
            leaf.strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        leaves
            .iter()
            .filter(|(leaf, _)| inside(leaf))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    let mut found: BTreeSet<String> = BTreeSet::new();
    let paths: BTreeSet<_> = base.keys().chain(one.keys()).chain(other.keys()).collect();
    for path in paths {
        // Keys may hold dots, but none of these worlds' does.
        let is_inside = |known: &String| {
            path.strip_prefix(known.as_str()).is_some_and(|rest| rest.starts_with(['.', '[']))
        };
        if found.iter().any(is_inside) {
            continue;
        }
        let [was, mine, theirs] = [&base, &one, &other].map(|leaves| leaves.get(path));
        let is_thing = [was, mine, theirs].into_iter().flatten().any(|value| *value == json!({}));
        let disputed = if is_thing && (mine.is_none() || theirs.is_none()) {
            was.is_some()
                && below(&one, path) != below(&base, path)
                && below(&other, path) != below(&base, path)
                && below(&one, path) != below(&other, path)
        } else {
            mine != was && theirs != was && mine != theirs
        };
        if disputed {
            found.insert(path.clone());
        }
    }
    found
}

/// All that can be changed by itself in a catalog. A thing with fields is a leaf too, `{}`: that it
/// is there.
fn leaves(catalog: &Draft) -> BTreeMap<String, Value> {
    let tables = serde_json::to_value(catalog).unwrap();
    let mut leaves = BTreeMap::new();
    for (table, objects) in tables.as_object().unwrap() {
        for (key, object) in objects.as_object().unwrap() {
            let name: ObjectRef = format!("{table}.{key}").parse().unwrap();
            fields(&name.to_string(), object.as_object().unwrap(), &mut leaves);
        }
    }
    leaves
}

fn fields(path: &str, object: &Map<String, Value>, leaves: &mut BTreeMap<String, Value>) {
    leaves.insert(path.into(), json!({}));
    for (field, value) in object {
        let path = format!("{path}.{field}");
        match (field.as_str(), value) {
            ("grants" | "attributes", Value::Object(table)) => {
                leaves.extend(table.iter().map(|(k, v)| (format!("{path}.{k}"), v.clone())));
            }
            ("versions", Value::Array(versions)) => {
                for version in versions {
                    let start = version["from"].as_str().unwrap();
                    fields(&format!("{path}[{start}]"), version.as_object().unwrap(), leaves);
                }
            }
            ("bundles" | "requires" | "excludes" | "integrations" | "countries", list) => {
                for item in list.as_array().unwrap() {
                    leaves.insert(format!("{path}[{}]", item.as_str().unwrap()), json!(true));
                }
            }
            ("kind" | "enrolment", value) => {
                leaves.insert(path, value.clone());
            }
            (_, Value::Object(inner)) => fields(&path, inner, leaves),
            (_, value) => {
                leaves.insert(path, value.clone());
            }
        }
    }
}
