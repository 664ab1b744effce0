//! Refuses JSON that two readers could understand in two ways, or that is nested without end.

use std::{collections::HashSet, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// How deep values may be nested.
const DEPTH_MAX: u8 = 32;

/// Goes through all of a JSON text.
///
/// # Errors
/// Where it is no JSON, where a key stands twice in one object, or where it is nested too deep;
/// with the path to it.
pub(super) fn check(text: &[u8]) -> Result<(), (String, serde_json::Error)> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let mut track = serde_path_to_error::Track::new();
    let result = Strict(DEPTH_MAX)
        .deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track))
        .and_then(|()| json.end());
    result.map_err(|error| (track.path().to_string(), error))
}

/// A value that may be nested so many times more.
struct Strict(u8);

impl Strict {
    fn inner<E: de::Error>(&self) -> Result<u8, E> {
        let refuse = || E::custom(format!("nested more than {DEPTH_MAX} deep"));
        self.0.checked_sub(1).ok_or_else(refuse)
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while list.next_element_seed(Self(inner))?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if keys.contains(&key) {
                return Err(de::Error::custom(format!("`{key}` stands twice in one object")));
            }
            keys.insert(key);
            map.next_value_seed(Self(inner))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let (path, error) = check(text.as_bytes()).unwrap_err();
        format!("{path}: {error}")
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_at_its_place() {
        let error = refused(r#"{"a":{"b":[1,{"c":1,"c":2}]}}"#);
        assert!(error.starts_with("a.b[1]") && error.contains("`c` stands twice"), "{error}");
        check(br#"{"a":{"c":1},"b":{"c":1}}"#).unwrap();
    }

    #[test]
    fn depth_has_an_end() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        check(nested(32).as_bytes()).unwrap();
        assert!(refused(&nested(33)).contains("nested more than 32 deep"));
        assert!(refused(&nested(100_000)).contains("nested more than 32 deep"));
    }

    #[test]
    fn more_than_one_value_is_refused() {
        assert!(refused("{} {}").contains("trailing"));
        assert!(refused("").contains("EOF"));
    }
}
