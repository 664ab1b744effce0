//! Reads structs by the names of their fields, and never from a list.

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};

/// A reader that takes no list where a table is meant, at any depth.
///
/// Derived readers take a list for a struct: its elements for the fields, in the order in which the
/// source happens to name them. `[["pro"]]` would pass for a list of subscriptions, and mean
/// something else once a field is added.
#[derive(Debug)]
pub struct ByName<T>(pub T);

/// The same for what a reader finds; `is_struct` where it looks for a struct.
struct Finding<V> {
    visitor: V,
    is_struct: bool,
}

impl<V> Finding<V> {
    fn any(visitor: V) -> Self {
        Self { visitor, is_struct: false }
    }

    fn of_struct(visitor: V) -> Self {
        Self { visitor, is_struct: true }
    }
}

macro_rules! forward {
    ($($method:ident($($name:ident: $type:ty),*) $finding:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($name,)* Finding::$finding(visitor))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ByName<D> {
    type Error = D::Error;

    forward! {
        deserialize_any() any;
        deserialize_bool() any;
        deserialize_i8() any;
        deserialize_i16() any;
        deserialize_i32() any;
        deserialize_i64() any;
        deserialize_i128() any;
        deserialize_u8() any;
        deserialize_u16() any;
        deserialize_u32() any;
        deserialize_u64() any;
        deserialize_u128() any;
        deserialize_f32() any;
        deserialize_f64() any;
        deserialize_char() any;
        deserialize_str() any;
        deserialize_string() any;
        deserialize_bytes() any;
        deserialize_byte_buf() any;
        deserialize_option() any;
        deserialize_unit() any;
        deserialize_unit_struct(name: &'static str) any;
        deserialize_newtype_struct(name: &'static str) any;
        deserialize_seq() any;
        deserialize_tuple(len: usize) any;
        deserialize_tuple_struct(name: &'static str, len: usize) any;
        deserialize_map() any;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) of_struct;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) any;
        deserialize_identifier() any;
        deserialize_ignored_any() any;
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! found {
    ($($method:ident: $type:ty;)*) => {
        $(fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.visitor.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Finding<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.visitor.expecting(f)
    }

    found! {
        visit_bool: bool;
        visit_i8: i8;
        visit_i16: i16;
        visit_i32: i32;
        visit_i64: i64;
        visit_i128: i128;
        visit_u8: u8;
        visit_u16: u16;
        visit_u32: u32;
        visit_u64: u64;
        visit_u128: u128;
        visit_f32: f32;
        visit_f64: f64;
        visit_char: char;
        visit_str: &str;
        visit_borrowed_str: &'de str;
        visit_string: String;
        visit_bytes: &[u8];
        visit_borrowed_bytes: &'de [u8];
        visit_byte_buf: Vec<u8>;
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }
    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(ByName(deserializer))
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(ByName(inner))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        if self.is_struct {
            return Err(de::Error::invalid_type(Unexpected::Seq, &"a table with named fields"));
        }
        self.visitor.visit_seq(ByName(seq))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(ByName(map))
    }
    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(ByName(data))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for ByName<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(ByName(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for ByName<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(ByName(seed))
    }
    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for ByName<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(ByName(seed))
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(ByName(seed))
    }
    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for ByName<A> {
    type Error = A::Error;
    type Variant = ByName<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.0.variant_seed(ByName(seed))?;
        Ok((value, ByName(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for ByName<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(ByName(seed))
    }
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, Finding::any(visitor))
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, Finding::of_struct(visitor))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    enum Word {
        Plain,
        Pair(u8, u8),
        Named { a: u8 },
        Inner(Table),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Table {
        a: u8,
    }

    fn read<T: de::DeserializeOwned>(json: &str) -> Result<T, String> {
        let mut reader = serde_json::Deserializer::from_str(json);
        T::deserialize(ByName(&mut reader)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_is_no_struct_wherever_it_stands() {
        assert_eq!(read(r#"{"a":1}"#), Ok(Table { a: 1 }));
        assert_eq!(read(r#"[{"a":1}]"#), Ok(vec![Table { a: 1 }]));
        assert_eq!(read("[1,2]"), Ok((1_u8, 2_u8)));
        // Without the reader in between it would be taken.
        assert!(serde_json::from_str::<Table>("[1]").is_ok());
        let error = read::<Table>("[1]").unwrap_err();
        assert!(error.contains("a table with named fields"), "{error}");
        assert!(read::<Vec<Table>>("[[1]]").is_err());
        assert!(read::<Option<Table>>("[1]").is_err());
        assert!(read::<std::collections::BTreeMap<String, Table>>(r#"{"x":[1]}"#).is_err());
    }

    #[test]
    fn variants_are_read_as_ever_but_for_lists() {
        assert_eq!(read(r#""Plain""#), Ok(Word::Plain));
        assert_eq!(read(r#"{"Pair":[1,2]}"#), Ok(Word::Pair(1, 2)));
        assert_eq!(read(r#"{"Named":{"a":1}}"#), Ok(Word::Named { a: 1 }));
        assert_eq!(read(r#"{"Inner":{"a":1}}"#), Ok(Word::Inner(Table { a: 1 })));
        assert!(read::<Word>(r#"{"Named":[1]}"#).is_err());
        assert!(read::<Word>(r#"{"Inner":[1]}"#).is_err());
    }
}
