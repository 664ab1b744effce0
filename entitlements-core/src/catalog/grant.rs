//! The one line that everything sold is made of: this feature, this much.

use super::Audience;
use crate::{FeatureKey, Json, LevelName};

/// The largest whole number that every JSON reader keeps exactly, 2^53 - 1. Amounts stop here.
pub const AMOUNT_MAX: u64 = 9_007_199_254_740_991;

/// "This feature, this much."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which feature.
    pub feature: FeatureKey,
    /// How much of it.
    pub amount: Amount,
    /// Whom it holds for, among those who get the plan, bundle, add-on or promotion around it.
    pub only: Audience,
}

/// How much of a feature. The variant must fit the feature's kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Amount {
    /// A switch, on. Written `true`.
    On,
    /// A limit of so much. Written as a number, or `"unlimited"`.
    Set(Limit),
    /// So much on top of a limit. Written `"+5"`.
    Add(u64),
    /// A level, by its name.
    Level(LevelName),
    /// A JSON object.
    Config(Json),
}

/// How much of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// So many and no more.
    AtMost(u64),
    /// As many as you like.
    Unlimited,
}

impl Limit {
    /// The two amounts together; saturates at [`AMOUNT_MAX`].
    #[must_use]
    pub fn plus(self, more: u64) -> Self {
        match self {
            Self::AtMost(amount) => Self::AtMost(amount.saturating_add(more).min(AMOUNT_MAX)),
            Self::Unlimited => Self::Unlimited,
        }
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::Set(Limit::AtMost(amount)) => write!(f, "{amount}"),
            Self::Set(Limit::Unlimited) => f.write_str("unlimited"),
            Self::Add(amount) => write!(f, "+{amount}"),
            Self::Level(name) => write!(f, "{name}"),
            Self::Config(json) => write!(f, "{json}"),
        }
    }
}

/// The grants of a plan version, bundle, add-on or promotion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "text::GrantsText", into = "text::GrantsText")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(with = "text::GrantsText"))]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// The grants, by feature.
    pub fn iter(&self) -> std::slice::Iter<'_, Grant> {
        self.0.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'g> IntoIterator for &'g Grants {
    type Item = &'g Grant;
    type IntoIter = std::slice::Iter<'g, Grant>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<I: IntoIterator<Item = Grant>>(grants: I) -> Self {
        let mut grants: Vec<_> = grants.into_iter().collect();
        grants.sort_by(|a, b| a.feature.cmp(&b.feature));
        Self(grants)
    }
}

#[cfg(feature = "document")]
pub(super) mod text {
    //! How grants are written: a table from feature to amount; where one depends on an audience, or
    //! where there are several for one feature, a list of `{ amount, only }`.

    use std::{collections::BTreeMap, fmt};

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::{AMOUNT_MAX, Amount, Audience, FeatureKey, Grant, Grants, Json, LevelName, Limit};

    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[serde(transparent)]
    pub(crate) struct GrantsText(
        #[serde(deserialize_with = "crate::document::unique_keys")] BTreeMap<FeatureKey, GrantText>,
    );

    #[derive(Serialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[serde(untagged)]
    enum GrantText {
        /// For everybody.
        Plain(Amount),
        /// Several, or for an audience only.
        Each(Vec<ConditionalText>),
    }

    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[serde(deny_unknown_fields)]
    struct ConditionalText {
        amount: Amount,
        #[serde(default, skip_serializing_if = "Audience::is_everyone")]
        only: Audience,
    }

    impl<'de> Deserialize<'de> for GrantText {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(GrantVisitor)
        }
    }

    struct GrantVisitor;

    impl<'de> de::Visitor<'de> for GrantVisitor {
        type Value = GrantText;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an amount, or a list of `{ amount, only }`")
        }

        fn visit_bool<E: de::Error>(self, on: bool) -> Result<GrantText, E> {
            AmountVisitor.visit_bool(on).map(GrantText::Plain)
        }

        fn visit_i64<E: de::Error>(self, amount: i64) -> Result<GrantText, E> {
            AmountVisitor.visit_i64(amount).map(GrantText::Plain)
        }

        fn visit_u64<E: de::Error>(self, amount: u64) -> Result<GrantText, E> {
            AmountVisitor.visit_u64(amount).map(GrantText::Plain)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<GrantText, E> {
            AmountVisitor.visit_str(text).map(GrantText::Plain)
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<GrantText, A::Error> {
            AmountVisitor.visit_map(map).map(GrantText::Plain)
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<GrantText, A::Error> {
            Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(GrantText::Each)
        }
    }

    impl From<GrantsText> for Grants {
        fn from(GrantsText(table): GrantsText) -> Self {
            let mut grants = Vec::with_capacity(table.len());
            for (feature, text) in table {
                match text {
                    GrantText::Plain(amount) => {
                        grants.push(Grant { feature, amount, only: Audience::EVERYONE });
                    }
                    GrantText::Each(each) => grants.extend(each.into_iter().map(|one| Grant {
                        feature: feature.clone(),
                        amount: one.amount,
                        only: one.only,
                    })),
                }
            }
            Self(grants)
        }
    }

    impl From<Grants> for GrantsText {
        fn from(Grants(grants): Grants) -> Self {
            let mut table: BTreeMap<FeatureKey, Vec<ConditionalText>> = BTreeMap::new();
            for Grant { feature, amount, only } in grants {
                table.entry(feature).or_default().push(ConditionalText { amount, only });
            }
            let plain = |mut each: Vec<ConditionalText>| match each.as_slice() {
                [one] if one.only.is_everyone() => GrantText::Plain(each.remove(0).amount),
                _ => GrantText::Each(each),
            };
            Self(table.into_iter().map(|(feature, each)| (feature, plain(each))).collect())
        }
    }

    impl Serialize for Amount {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self {
                Self::On => serializer.serialize_bool(true),
                Self::Set(Limit::AtMost(amount)) => serializer.serialize_u64(*amount),
                Self::Config(json) => json.serialize(serializer),
                Self::Set(Limit::Unlimited) | Self::Add(_) | Self::Level(_) => {
                    serializer.collect_str(self)
                }
            }
        }
    }

    impl<'de> Deserialize<'de> for Amount {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(AmountVisitor)
        }
    }

    struct AmountVisitor;

    impl<'de> de::Visitor<'de> for AmountVisitor {
        type Value = Amount;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(
                "`true`, a whole number, `\"unlimited\"`, `\"+5\"`, a level's name or a table",
            )
        }

        fn visit_bool<E: de::Error>(self, on: bool) -> Result<Amount, E> {
            if on {
                Ok(Amount::On)
            } else {
                Err(E::custom(
                    "a grant cannot take away; leave the line out, or use an override that denies",
                ))
            }
        }

        fn visit_i64<E: de::Error>(self, amount: i64) -> Result<Amount, E> {
            let amount = u64::try_from(amount).map_err(|_| {
                E::custom(format_args!("`{amount}` is below zero; an amount is 0 or more"))
            })?;
            self.visit_u64(amount)
        }

        fn visit_u64<E: de::Error>(self, amount: u64) -> Result<Amount, E> {
            within(amount).map(|amount| Amount::Set(Limit::AtMost(amount)))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
            if text == "unlimited" {
                return Ok(Amount::Set(Limit::Unlimited));
            }
            if let Some(more) = text.strip_prefix('+') {
                let more = more.parse().map_err(|_| {
                    E::custom(format_args!("`{text}` is no amount to add; write one such as `+5`"))
                })?;
                return within(more).map(Amount::Add);
            }
            LevelName::new(text).map(Amount::Level).map_err(E::custom)
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Amount, A::Error> {
            Json::deserialize(de::value::MapAccessDeserializer::new(map)).map(Amount::Config)
        }
    }

    fn within<E: de::Error>(amount: u64) -> Result<u64, E> {
        if amount <= AMOUNT_MAX {
            Ok(amount)
        } else {
            Err(E::custom(format_args!(
                "`{amount}` is too large; use at most {AMOUNT_MAX}, or `\"unlimited\"`"
            )))
        }
    }

    #[cfg(feature = "schema")]
    impl schemars::JsonSchema for Amount {
        fn schema_name() -> std::borrow::Cow<'static, str> {
            "Amount".into()
        }
        fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
            schemars::json_schema!({
                "description": "How much of a feature: `true` for a switch; a whole number, \
                    `\"unlimited\"` or an addition such as `\"+5\"` for a limit; a level's name; \
                    an object for a config.",
                "anyOf": [
                    { "const": true },
                    { "type": "integer", "minimum": 0, "maximum": AMOUNT_MAX },
                    { "type": "string" },
                    { "type": "object" }
                ]
            })
        }
    }
}
