//! Lays a draft over what is live: a three-way merge, field by field.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use entitlements_core::{Catalog, Draft, Problem};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Edits, shape::Shape};

/// A draft laid over what is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The catalog as it would be. Where there is a conflict it has what is live; what cannot be
    /// read of an object is left out of it.
    pub draft: Draft,
    /// The same, checked. Absent where there are problems. A conflict does not prevent it, so that
    /// the effect of everything else can be looked at.
    pub catalog: Option<Catalog>,
    /// Where the draft and the live catalog disagree, by path.
    pub conflicts: Vec<Conflict>,
    /// All that is wrong with the catalog as it would be.
    pub problems: Vec<Problem>,
}

impl Merged {
    /// Whether it could be published: nobody disagrees and nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.conflicts.is_empty() && self.problems.is_empty()
    }
}

/// Something that the draft and the live catalog have both changed, each in its own way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conflict {
    /// Where, such as `plans.pro.grants.seats`.
    pub path: String,
    /// What stood there when the draft was made. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Value>,
    /// What is live now. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Value>,
    /// What the draft wants there. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<Value>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, base, live, draft } = self;
        let text = |value: &Option<Value>| {
            value.as_ref().map_or("nothing".into(), |value| format!("`{value}`"))
        };
        write!(
            f,
            "{path}: it was {} when the draft was made, is {} in the live catalog by now, and the \
             draft says {}; choose one",
            text(base),
            text(live),
            text(draft)
        )
    }
}

/// Lays edits over what is live, and finds all that stands against publishing them.
#[must_use]
pub fn merge(live: &Draft, edits: &Edits) -> Merged {
    let mut draft = live.clone();
    let mut conflicts = Vec::new();
    let mut problems = Vec::new();
    for (object, edit) in edits {
        let normal = |value: &Option<Value>| value.clone().map(|value| object.normal(value));
        let (base, wanted) = (normal(&edit.before), normal(&edit.after));
        let now = object.in_catalog(live);
        let sides = Sides { base: base.as_ref(), live: now.as_ref(), draft: wanted.as_ref() };
        let shape = Shape::of("", &sides.all());
        let merged = sides.merge(&object.to_string(), shape, &mut conflicts);
        if merged != now {
            problems.extend(object.put_into(&mut draft, merged));
        }
    }
    let catalog = match Catalog::new(draft.clone()) {
        Ok(catalog) => Some(catalog).filter(|_| problems.is_empty()),
        Err(errors) => {
            problems.extend(errors.0);
            None
        }
    };
    conflicts.sort_by(|one, other| one.path.cmp(&other.path));
    Merged { draft, catalog, conflicts, problems }
}

/// One place, three times: as the draft found it, as it is live, and as the draft wants it.
#[derive(Clone, Copy)]
struct Sides<'v> {
    base: Option<&'v Value>,
    live: Option<&'v Value>,
    draft: Option<&'v Value>,
}

impl<'v> Sides<'v> {
    fn all(self) -> [Option<&'v Value>; 3] {
        [self.base, self.live, self.draft]
    }

    /// What both sides together make of it. In a conflict the live side stays.
    fn merge(self, path: &str, shape: Shape, conflicts: &mut Vec<Conflict>) -> Option<Value> {
        let Self { base, live, draft } = self;
        if draft == base || draft == live {
            return live.cloned();
        }
        if live == base {
            return draft.cloned();
        }
        let one_is_gone = live.is_none() || draft.is_none();
        if shape == Shape::Whole || one_is_gone && !shape.may_be_empty() {
            let [base, live, draft] = self.all().map(Option::<&Value>::cloned);
            conflicts.push(Conflict { path: path.into(), base, live: live.clone(), draft });
            return live;
        }
        self.merge_parts(path, shape, conflicts)
    }

    fn merge_parts(self, path: &str, shape: Shape, conflicts: &mut Vec<Conflict>) -> Option<Value> {
        let [base, live, draft] = self.all().map(|value| shape.parts(value));
        let names: BTreeSet<&str> =
            [&base, &live, &draft].into_iter().flatten().map(|(name, _)| *name).collect();
        let mut merged = BTreeMap::new();
        for name in names {
            let part = |side: &BTreeMap<&str, &'v Value>| side.get(name).copied();
            let sides = Self { base: part(&base), live: part(&live), draft: part(&draft) };
            let shape_below = shape.of_part(name, &sides.all());
            if let Some(value) = sides.merge(&shape.path(path, name), shape_below, conflicts) {
                merged.insert(name, value);
            }
        }
        Some(self.put_together(shape, merged))
    }

    fn put_together(self, shape: Shape, mut parts: BTreeMap<&str, Value>) -> Value {
        match shape {
            Shape::Versions => {
                // As they stand in the live plan, then what the draft adds, as it stands there.
                let order = [self.live, self.draft].into_iter().flatten();
                let names = order.filter_map(Value::as_array).flatten();
                let names = names.filter_map(|version| version.get("from")?.as_str());
                names.filter_map(|name| parts.remove(name)).collect()
            }
            Shape::Set => parts.into_values().collect(),
            Shape::Whole | Shape::Fields | Shape::Table => {
                Value::Object(parts.into_iter().map(|(name, part)| (name.into(), part)).collect())
            }
        }
    }
}
