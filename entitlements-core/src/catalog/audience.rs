//! Whom something is for: a small typed condition over a tenant.

use std::{collections::BTreeMap, time::Duration};

use crate::{AttributeKey, Country, PlanKey, RegionKey, SegmentKey};

/// A condition over a tenant at an instant. Everything given must hold; given nothing, it is
/// everyone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, default)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Audience {
    /// Each of these must hold.
    #[cfg_attr(
        feature = "document",
        serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "some")
    )]
    pub all: Vec<Audience>,
    /// At least one of these must hold.
    #[cfg_attr(
        feature = "document",
        serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "some")
    )]
    pub any: Vec<Audience>,
    /// This must not hold.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Option::is_none"))]
    pub not: Option<Box<Audience>>,
    /// A subscription to one of these plans is in force.
    #[cfg_attr(
        feature = "document",
        serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "some")
    )]
    pub plan: Vec<PlanKey>,
    /// The tenant's country is one of these.
    #[cfg_attr(
        feature = "document",
        serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "some")
    )]
    pub country: Vec<Country>,
    /// The tenant's country lies in one of these regions.
    #[cfg_attr(
        feature = "document",
        serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "some")
    )]
    pub region: Vec<RegionKey>,
    /// The tenant is in one of these segments.
    #[cfg_attr(
        feature = "document",
        serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "some")
    )]
    pub segment: Vec<SegmentKey>,
    /// The tenant's status is one of these.
    #[cfg_attr(
        feature = "document",
        serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "some")
    )]
    pub status: Vec<Status>,
    /// How long ago the tenant signed up. One that never did has no age and is outside.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "Option::is_none"))]
    pub age: Option<Age>,
    /// For each of these attributes, the tenant has one of the values.
    #[cfg_attr(feature = "document", serde(skip_serializing_if = "BTreeMap::is_empty"))]
    pub attributes: BTreeMap<AttributeKey, OneOf>,
}

impl Audience {
    /// Every tenant.
    pub const EVERYONE: Self = Self {
        all: Vec::new(),
        any: Vec::new(),
        not: None,
        plan: Vec::new(),
        country: Vec::new(),
        region: Vec::new(),
        segment: Vec::new(),
        status: Vec::new(),
        age: None,
        attributes: BTreeMap::new(),
    };

    /// Whether no condition is given.
    #[must_use]
    pub fn is_everyone(&self) -> bool {
        *self == Self::EVERYONE
    }

    /// This audience and each one inside it, with its path below this one.
    pub(crate) fn walk(&self, path: &str, visit: &mut impl FnMut(&str, &Self)) {
        visit(path, self);
        for (index, inner) in self.all.iter().enumerate() {
            inner.walk(&format!("{path}.all[{index}]"), visit);
        }
        for (index, inner) in self.any.iter().enumerate() {
            inner.walk(&format!("{path}.any[{index}]"), visit);
        }
        if let Some(inner) = &self.not {
            inner.walk(&format!("{path}.not"), visit);
        }
    }
}

/// How long ago a tenant signed up: at least, and less than, so many days of 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Age {
    /// The youngest inside.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
    pub days_min: Option<u32>,
    /// The first that is too old.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
    pub days_below: Option<u32>,
}

/// So many days of 24 hours.
pub(crate) const fn days(count: u32) -> Duration {
    Duration::from_secs(count as u64 * 86_400)
}

/// What a tenant's subscriptions make of it. It follows from them and is stored nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Status {
    /// No subscription has started yet.
    Prospect,
    /// Every subscription in force is a trial.
    Trial,
    /// A subscription in force is not a trial.
    Active,
    /// There was a subscription and none is in force.
    Lapsed,
}

/// A custom attribute's value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(untagged, expecting = "an attribute is a text, a whole number, `true` or `false`")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum AttributeValue {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// Text.
    Text(std::sync::Arc<str>),
}

/// The values of which an attribute must have one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "OneOfText", into = "OneOfText")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(with = "OneOfText"))]
pub struct OneOf(pub Vec<AttributeValue>);

#[cfg(feature = "document")]
#[derive(serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "a text, a whole number, `true`, `false`, or a list of them")]
enum OneOfText {
    One(AttributeValue),
    Several(Vec<AttributeValue>),
}

#[cfg(feature = "document")]
impl TryFrom<OneOfText> for OneOf {
    type Error = &'static str;
    fn try_from(text: OneOfText) -> Result<Self, Self::Error> {
        match text {
            OneOfText::One(value) => Ok(Self(vec![value])),
            OneOfText::Several(values) if values.is_empty() => Err(EMPTY_LIST),
            OneOfText::Several(values) => Ok(Self(values)),
        }
    }
}

#[cfg(feature = "document")]
impl From<OneOf> for OneOfText {
    fn from(OneOf(mut values): OneOf) -> Self {
        if values.len() == 1 { Self::One(values.remove(0)) } else { Self::Several(values) }
    }
}

#[cfg(feature = "document")]
const EMPTY_LIST: &str =
    "an empty list would hold for nobody; leave the condition out to mean everybody";

/// Reads a list that must not be empty: an empty one could be meant as nobody or as everybody.
#[cfg(feature = "document")]
fn some<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    let list = <Vec<T> as serde::Deserialize>::deserialize(deserializer)?;
    if list.is_empty() { Err(serde::de::Error::custom(EMPTY_LIST)) } else { Ok(list) }
}
