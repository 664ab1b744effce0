//! One object of the catalog: its name, and how to read it from a catalog and write it there.

use std::{borrow::Borrow, collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use entitlements_core::{
    AddOnKey, BundleKey, Draft, FeatureKey, KeyError, ModuleKey, PlanKey, Problem, PromotionKey,
    RegionKey, SegmentKey,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::Value;

use super::read::read;

/// The kinds of objects that a catalog is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A group of features.
    Module,
    /// Something that can be used.
    Feature,
    /// A reusable list of grants.
    Bundle,
    /// What tenants subscribe to.
    Plan,
    /// What tenants have on top.
    AddOn,
    /// What an audience gets inside a window.
    Promotion,
    /// A named audience.
    Segment,
    /// A named set of countries.
    Region,
}

impl ObjectKind {
    /// Every kind, in the order in which a catalog has its tables.
    pub const ALL: [Self; 8] = [
        Self::Module,
        Self::Feature,
        Self::Bundle,
        Self::Plan,
        Self::AddOn,
        Self::Promotion,
        Self::Segment,
        Self::Region,
    ];

    /// The name of its table in the catalog, such as `plans`.
    #[must_use]
    pub const fn table(self) -> &'static str {
        match self {
            Self::Module => "modules",
            Self::Feature => "features",
            Self::Bundle => "bundles",
            Self::Plan => "plans",
            Self::AddOn => "add_ons",
            Self::Promotion => "promotions",
            Self::Segment => "segments",
            Self::Region => "regions",
        }
    }

    fn check(self, key: &str) -> Result<(), KeyError> {
        match self {
            Self::Module => ModuleKey::new(key).map(drop),
            Self::Feature => FeatureKey::new(key).map(drop),
            Self::Bundle => BundleKey::new(key).map(drop),
            Self::Plan => PlanKey::new(key).map(drop),
            Self::AddOn => AddOnKey::new(key).map(drop),
            Self::Promotion => PromotionKey::new(key).map(drop),
            Self::Segment => SegmentKey::new(key).map(drop),
            Self::Region => RegionKey::new(key).map(drop),
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.table())
    }
}

impl FromStr for ObjectKind {
    type Err = ObjectRefError;
    fn from_str(text: &str) -> Result<Self, ObjectRefError> {
        let found = Self::ALL.into_iter().find(|kind| kind.table() == text);
        found.ok_or_else(|| ObjectRefError::Table(text.into()))
    }
}

/// Names one object of a catalog, such as `plans.pro`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    kind: ObjectKind,
    key: Arc<str>,
}

/// Why a text names no object of a catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectRefError {
    /// It has no key.
    #[error("`{0}` names no object of a catalog: write its table and its key, such as `plans.pro`")]
    NoKey(String),
    /// There is no such table.
    #[error("`{0}` is no table of a catalog: use one of {tables}", tables = tables())]
    Table(String),
    /// The key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
}

fn tables() -> String {
    ObjectKind::ALL.map(|kind| format!("`{kind}`")).join(", ")
}

impl ObjectRef {
    /// Names an object.
    ///
    /// # Errors
    /// Where the key breaks the rule for its kind.
    pub fn new(kind: ObjectKind, key: &str) -> Result<Self, KeyError> {
        kind.check(key)?;
        Ok(Self { kind, key: key.into() })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.key)
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl FromStr for ObjectRef {
    type Err = ObjectRefError;
    fn from_str(text: &str) -> Result<Self, ObjectRefError> {
        // Keys may hold dots, tables do not.
        let (table, key) =
            text.split_once('.').ok_or_else(|| ObjectRefError::NoKey(text.into()))?;
        Ok(Self::new(table.parse()?, key)?)
    }
}

impl Serialize for ObjectRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Runs a function on the table of a kind in one or more catalogs.
macro_rules! on_table {
    ($kind:expr, $run:ident, $([$($catalog:tt)+])+ $(, $more:expr)*) => {
        match $kind {
            ObjectKind::Module => $run($($($catalog)+.modules,)+ $($more),*),
            ObjectKind::Feature => $run($($($catalog)+.features,)+ $($more),*),
            ObjectKind::Bundle => $run($($($catalog)+.bundles,)+ $($more),*),
            ObjectKind::Plan => $run($($($catalog)+.plans,)+ $($more),*),
            ObjectKind::AddOn => $run($($($catalog)+.add_ons,)+ $($more),*),
            ObjectKind::Promotion => $run($($($catalog)+.promotions,)+ $($more),*),
            ObjectKind::Segment => $run($($($catalog)+.segments,)+ $($more),*),
            ObjectKind::Region => $run($($($catalog)+.regions,)+ $($more),*),
        }
    };
}

impl ObjectRef {
    /// What stands in a catalog under this name, as it is written there.
    #[must_use]
    pub fn in_catalog(&self, catalog: &Draft) -> Option<Value> {
        on_table!(self.kind, written, [&catalog], &self.key)
    }

    /// Puts an object into a catalog, or takes it out. What cannot be read of it is left out; where
    /// all of it cannot be, the catalog keeps what it has.
    pub(super) fn put_into(&self, catalog: &mut Draft, value: Option<Value>) -> Vec<Problem> {
        on_table!(self.kind, put, [&mut catalog], self, value)
    }

    /// The object as a catalog writes it, so that two that mean the same are equal. What cannot be
    /// read stays as it is.
    pub(super) fn normal(&self, value: Value) -> Value {
        let mut scratch = Draft::default();
        if self.put_into(&mut scratch, Some(value.clone())).is_empty() {
            self.in_catalog(&scratch).unwrap_or(value)
        } else {
            value
        }
    }
}

/// The objects of one kind that are not the same in two catalogs.
pub(super) fn differing(kind: ObjectKind, from: &Draft, to: &Draft) -> Vec<ObjectRef> {
    on_table!(kind, keys_differing, [&from][&to])
        .into_iter()
        .map(|key| ObjectRef { kind, key })
        .collect()
}

fn written<K, V>(table: &BTreeMap<K, V>, key: &str) -> Option<Value>
where
    K: Borrow<str> + Ord,
    V: Serialize,
{
    // An object of a catalog is plain data, which always has a JSON form.
    table.get(key).map(|object| serde_json::to_value(object).unwrap_or_default())
}

fn put<K, V>(table: &mut BTreeMap<K, V>, object: &ObjectRef, value: Option<Value>) -> Vec<Problem>
where
    K: Borrow<str> + Ord + FromStr<Err = KeyError>,
    V: DeserializeOwned,
{
    let Some(value) = value else {
        table.remove(object.key());
        return Vec::new();
    };
    let (read, problems) = read(&object.to_string(), value);
    if let (Some(read), Ok(key)) = (read, object.key().parse()) {
        table.insert(key, read);
    }
    problems
}

fn keys_differing<K, V>(from: &BTreeMap<K, V>, to: &BTreeMap<K, V>) -> Vec<Arc<str>>
where
    K: Borrow<str> + Ord,
    V: PartialEq,
{
    let gone_or_changed = from.iter().filter(|(key, object)| to.get::<K>(key) != Some(*object));
    let new = to.iter().filter(|(key, _)| !from.contains_key::<K>(key));
    gone_or_changed.chain(new).map(|(key, _)| Arc::from(key.borrow())).collect()
}
