//! A JSON value as canonical text, so that no JSON library stands in the public interface.

use std::{fmt, sync::Arc};

/// A JSON value, kept as compact text with its object keys in order.
///
/// Two values that mean the same are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json(Arc<str>);

/// Why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not JSON: {0}")]
pub struct JsonError(String);

impl Json {
    /// Reads JSON text.
    ///
    /// # Errors
    /// Where the text is not one JSON value.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| JsonError(error.to_string()))?;
        Ok(Self::from_value(&value))
    }

    /// The compact text. It can be put into a JSON answer as it is.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the value is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.0.starts_with('{')
    }

    // `serde_json` keeps object keys in a sorted map, which is what makes the text canonical.
    pub(crate) fn from_value(value: &serde_json::Value) -> Self {
        Self(value.to_string().into())
    }

    #[cfg(feature = "json-schema")]
    pub(crate) fn to_value(&self) -> serde_json::Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(feature = "document")]
impl serde::Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: serde_json::Value =
            serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        value.serialize(serializer)
    }
}

#[cfg(feature = "document")]
impl<'de> serde::Deserialize<'de> for Json {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(|value| Self::from_value(&value))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Json {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Json".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "Any JSON value." })
    }
}
