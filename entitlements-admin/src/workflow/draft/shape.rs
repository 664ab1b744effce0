//! How the fields of an object are taken apart, so that two people may change different parts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// How a field is taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Not at all.
    Whole,
    /// By field. That it is there at all says something.
    Fields,
    /// By key, each entry whole. An empty one is none.
    Table,
    /// By element; the order says nothing. An empty one is none.
    Set,
    /// Versions of a plan, by the instant from which they hold. An empty list is none.
    Versions,
}

impl Shape {
    /// The shape of a field with these values, absent ones being `None`. Where one of them does
    /// not have the form that the field should have, all are taken whole.
    pub(super) fn of(field: &str, values: &[Option<&Value>]) -> Self {
        let shape = match field {
            // One word or another, with what belongs to that word alone.
            "kind" | "enrolment" => Self::Whole,
            "grants" | "attributes" => Self::Table,
            "bundles" | "requires" | "excludes" | "integrations" | "countries" => Self::Set,
            "versions" => Self::Versions,
            _ => Self::Fields,
        };
        let fits = values.iter().flatten().all(|value| shape.fits(value));
        if fits { shape } else { Self::Whole }
    }

    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Whole => true,
            Self::Fields | Self::Table => value.is_object(),
            Self::Set | Self::Versions => value.as_array().is_some_and(|list| {
                let names: BTreeSet<_> = list.iter().filter_map(|item| self.name(item)).collect();
                names.len() == list.len()
            }),
        }
    }

    /// What tells an element of a list from the others.
    fn name(self, item: &Value) -> Option<&str> {
        match self {
            Self::Set => item.as_str(),
            Self::Versions => item.get("from")?.as_str(),
            Self::Whole | Self::Fields | Self::Table => None,
        }
    }

    /// The parts of a value of this shape, by name.
    pub(super) fn parts(self, value: Option<&Value>) -> BTreeMap<&str, &Value> {
        match value {
            Some(Value::Object(fields)) => {
                fields.iter().map(|(name, part)| (name.as_str(), part)).collect()
            }
            Some(Value::Array(list)) => {
                list.iter().filter_map(|item| Some((self.name(item)?, item))).collect()
            }
            _ => BTreeMap::new(),
        }
    }

    /// The shape of a part, whose values these are.
    pub(super) fn of_part(self, name: &str, values: &[Option<&Value>]) -> Self {
        match self {
            Self::Whole | Self::Table | Self::Set => Self::Whole,
            Self::Fields => Self::of(name, values),
            Self::Versions => Self::of("", values),
        }
    }

    /// The path of a part.
    pub(super) fn path(self, path: &str, name: &str) -> String {
        match self {
            Self::Whole | Self::Set => path.into(),
            Self::Fields | Self::Table => format!("{path}.{name}"),
            Self::Versions => format!("{path}[{name}]"),
        }
    }

    /// Whether an empty one is the same as none.
    pub(super) fn may_be_empty(self) -> bool {
        matches!(self, Self::Table | Self::Set | Self::Versions)
    }
}
