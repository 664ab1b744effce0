//! Catalogs, tenants and answers as people and machines write them.
//!
//! One serde model serves TOML, which people keep in git, and JSON, which machines send. The
//! snapshot document, which daemons hand on, is in [`snapshot`](crate::Snapshot::encode).

mod by_name;
mod decision;
mod delta;
mod error;
mod export;
mod file;
mod layout;
mod merge;
mod snapshot;
mod source;
mod status;

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, de};

pub use self::{
    by_name::ByName,
    decision::DecisionText,
    delta::Delta,
    error::{DocumentError, Located, Place},
    export::{CatalogFile, ExportError, FILE_NAMES},
    file::{Document, Expectation, Expected},
    snapshot::{FORMAT, Hash},
    status::{
        CandidateStatus, Denials, Denied, Receipt, Rejection, SinkStatus, StatusReply, StatusReport,
    },
};

/// Reads a table and refuses a key that stands twice, which JSON readers mostly let pass.
pub(crate) fn unique_keys<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    struct UniqueKeys<K, V>(PhantomData<(K, V)>);

    impl<'de, K, V> de::Visitor<'de> for UniqueKeys<K, V>
    where
        K: Deserialize<'de> + Ord + fmt::Display,
        V: Deserialize<'de>,
    {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some(key) = map.next_key::<K>()? {
                if all.contains_key(&key) {
                    return Err(de::Error::custom(format_args!("`{key}` stands here twice")));
                }
                all.insert(key, map.next_value()?);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_map(UniqueKeys(PhantomData))
}
