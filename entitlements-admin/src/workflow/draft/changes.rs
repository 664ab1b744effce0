//! What is different between two catalogs, field by field, for people.

use std::{collections::BTreeSet, fmt};

use entitlements_core::Draft;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ObjectRef, diff, shape::Shape};

/// One field that is another one, or an object that is new or gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldChange {
    /// Of which object of the catalog; absent where it is about another document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// Where, such as `plans.pro.grants.seats`. The object itself where it is new or gone. An
    /// element that joins or leaves a set has the path of the set.
    pub path: String,
    /// What stood there. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What stands there now. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, path, before, after } = self;
        let is_whole = object.as_ref().is_some_and(|object| *path == object.to_string());
        match (before, after) {
            (Some(before), Some(after)) => write!(f, "~ {path}: {before} -> {after}"),
            (None, _) if is_whole => write!(f, "+ {path}"),
            (_, None) if is_whole => write!(f, "- {path}"),
            (None, Some(value)) => write!(f, "+ {path}: {value}"),
            (Some(value), None) => write!(f, "- {path}: {value}"),
            (None, None) => Ok(()),
        }
    }
}

/// All that is different, by path. As text it is a line for each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Changes(pub Vec<FieldChange>);

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|change| writeln!(f, "{change}"))
    }
}

/// What is different between two catalogs.
#[must_use]
pub fn changes(from: &Draft, to: &Draft) -> Changes {
    let mut found = Vec::new();
    for (object, edit) in &diff(from, to) {
        let path = object.to_string();
        let sides = [edit.before.as_ref(), edit.after.as_ref()];
        if sides.contains(&None) {
            push(object, &path, sides, &mut found);
        } else {
            compare(object, &path, Shape::of("", &sides), sides, &mut found);
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Changes(found)
}

/// What is different between two documents of any kind, field by field. It is their whole where one
/// of them is not there.
#[must_use]
pub fn differences(before: Option<&Value>, after: Option<&Value>) -> Vec<FieldChange> {
    let mut found = Vec::new();
    leaves("", before, after, &mut found);
    found
}

fn leaves(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    if let (Some(Value::Object(before)), Some(Value::Object(after))) = (before, after) {
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            leaves(&path, before.get(name), after.get(name), found);
        }
        return;
    }
    let (before, after) = (before.cloned(), after.cloned());
    found.push(FieldChange { object: None, path: path.into(), before, after });
}

fn compare(
    object: &ObjectRef,
    path: &str,
    shape: Shape,
    sides: [Option<&Value>; 2],
    found: &mut Vec<FieldChange>,
) {
    if sides[0] == sides[1] {
        return;
    }
    let count = found.len();
    if shape != Shape::Whole {
        let parts = sides.map(|side| shape.parts(side));
        let names: BTreeSet<&str> = parts.iter().flatten().map(|(name, _)| *name).collect();
        for name in names {
            let sides = [parts[0].get(name).copied(), parts[1].get(name).copied()];
            let shape_below = shape.of_part(name, &sides);
            compare(object, &shape.path(path, name), shape_below, sides, found);
        }
    }
    // Taken whole, or the parts are the same in another order, or it is there and empty.
    if found.len() == count {
        push(object, path, sides, found);
    }
}

fn push(
    object: &ObjectRef,
    path: &str,
    [before, after]: [Option<&Value>; 2],
    found: &mut Vec<FieldChange>,
) {
    found.push(FieldChange {
        object: Some(object.clone()),
        path: path.into(),
        before: before.cloned(),
        after: after.cloned(),
    });
}
