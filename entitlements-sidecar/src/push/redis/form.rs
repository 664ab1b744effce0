//! The names of keys, versions as text, and a tenant's answers as fields of a hash.

use entitlements_core::{Snapshot, Timestamp};

use crate::{
    State,
    answer::{Answer, push},
    json::Json,
    push::World,
};

/// The schema of keys and values. Readers of another one find nothing rather than something wrong.
const SCHEMA: &str = "s1";
/// The version that counts where none does: before all others.
pub(super) const NOTHING: &str = "0";
/// The field that says that there is no such tenant any more.
pub(super) const GONE: &str = "_gone";
const HASH: &str = "_hash";
/// The most tenants that one message names; beyond that it says that any may have changed.
const NAMED_MAX: usize = 100;

/// What keys are called.
#[derive(Debug, Clone)]
pub(super) struct Keys(String);

impl Keys {
    pub(super) fn new(prefix: &str, environment: &str) -> Self {
        Self(format!("{prefix}:{environment}:{SCHEMA}"))
    }

    /// The one key that says which version counts.
    pub(super) fn switch(&self) -> String {
        format!("{}:{{g}}:rev", self.0)
    }

    /// All tenants that have keys here.
    pub(super) fn register(&self) -> String {
        format!("{}:{{g}}:tenants", self.0)
    }

    pub(super) fn channel(&self) -> String {
        format!("{}:changed", self.0)
    }

    pub(super) fn pointer(&self, tenant: &str) -> String {
        format!("{}:{{{tenant}}}:cur", self.0)
    }

    /// A version's key but for the version.
    pub(super) fn versions(&self, tenant: &str) -> String {
        format!("{}:{{{tenant}}}:v:", self.0)
    }
}

/// A version as text: later ones are greater.
pub(super) fn version(world: &World) -> String {
    let (epoch, revision) = (world.epoch, world.snapshot.revision().0);
    format!("{epoch:06}.{revision:012}.{:017}", world.at.as_micros().max(0))
}

/// Whether somebody else may have written it.
pub(super) fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let are_digits = parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    are_digits && parts.iter().map(|part| part.len()).eq([6, 12, 17])
}

/// Whether two versions are of the same revision, at whatever instants.
pub(super) fn is_same_revision(one: &str, other: &str) -> bool {
    let revision = |version: &str| version.rsplit_once('.').map(|(it, _)| it.to_owned());
    revision(one).is_some() && revision(one) == revision(other)
}

/// Of a tenant's versions the newest that is not newer than a bound.
pub(super) fn newest<'p>(pointer: &'p str, bound: &str) -> Option<&'p str> {
    pointer.split(' ').find(|version| !version.is_empty() && *version <= bound)
}

/// What subscribers are told.
pub(super) fn message(world: &World, changed: &[String]) -> String {
    let tenants = (changed.len() <= NAMED_MAX).then_some(changed);
    serde_json::json!({ "revision": world.snapshot.revision(), "tenants": tenants }).to_string()
}

/// A tenant's answers, ready to be written.
pub(super) struct Entry {
    pub(super) digest: [u8; 16],
    pub(super) fields: Vec<(String, Vec<u8>)>,
}

impl Entry {
    /// Its answers at an instant; absent where there is no such tenant.
    pub(super) fn of(snapshot: &Snapshot, tenant: &str, at: Timestamp) -> Option<Self> {
        let view = snapshot.tenant(tenant)?;
        let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
        for (feature, decision) in view.decisions(at) {
            let catalog = snapshot.catalog();
            let answer = Answer::new(&decision, catalog, feature.as_str(), State::Fresh);
            let mut json = Json::with_capacity(256);
            answer.write_members(json.raw("{"), false);
            json.raw("}");
            fields.push((feature.to_string(), json.into_bytes()));
        }
        let mut until = Vec::new();
        if let Some(edge) = view.next_change(at) {
            push(&mut until, format_args!("{edge}"));
        }
        fields.push(("_valid_until".into(), until));
        let digest = digest(&mut fields);
        let text = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        fields.push((HASH.into(), text.into_bytes()));
        Some(Self { digest, fields })
    }
}

/// Over all fields in the order of their names.
fn digest(fields: &mut [(String, Vec<u8>)]) -> [u8; 16] {
    fields.sort();
    let mut hasher = blake3::Hasher::new();
    for (field, value) in fields.iter() {
        hasher.update(&(field.len() as u64).to_le_bytes()).update(field.as_bytes());
        hasher.update(&(value.len() as u64).to_le_bytes()).update(value);
    }
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    digest
}

/// The digest of what is stored, so that a changed value is seen; absent where that is nothing, or
/// no tenant any more.
pub(super) fn stored_digest(fields: Vec<(String, Vec<u8>)>) -> Option<[u8; 16]> {
    let mut fields: Vec<_> = fields.into_iter().filter(|(field, _)| field != HASH).collect();
    let is_gone = fields.is_empty() || fields.iter().any(|(field, _)| field == GONE);
    (!is_gone).then(|| digest(&mut fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_within_a_bound_is_read() {
        for (pointer, bound, expected) in [
            ("3 2", "3", Some("3")),
            ("3 2", "2", Some("2")),
            ("3 ", "2", None),
            ("3 2", "1", None),
            ("3", "4", Some("3")),
            ("5 4 3 2", "3", Some("3")),
            ("", "4", None),
        ] {
            assert_eq!(newest(pointer, bound), expected, "{pointer} within {bound}");
        }
    }

    #[test]
    fn a_version_is_told_from_nonsense_and_says_its_revision() {
        let version = "000001.000000000042.01795446578669042";
        assert!(is_version(version));
        for nonsense in ["", "0", "zzz", "1.42.17", "000001.000000000042.0179544657866904x"] {
            assert!(!is_version(nonsense), "{nonsense}");
        }
        assert!(is_same_revision(version, "000001.000000000042.01795446578669043"));
        assert!(!is_same_revision(version, "000001.000000000043.01795446578669042"));
        assert!(!is_same_revision(NOTHING, NOTHING));
    }
}
