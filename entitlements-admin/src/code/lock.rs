//! `entitlements.lock`: which live catalog a folder follows, for each environment.

use std::{collections::BTreeMap, fs, io, path::Path};

use entitlements_core::document::Hash;
use serde::{Deserialize, Serialize};

use crate::cli::Failure;

/// The name of the file.
pub(super) const LOCK_FILE: &str = "entitlements.lock";

const PREFACE: &str = "\
# The live catalog that these files follow, for each environment. `entitlements-admin catalog` writes
# this and refuses to run over any other. Keep it with the files.
";

/// What a folder follows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    /// By environment.
    #[serde(default)]
    seen: BTreeMap<String, Seen>,
}

/// A live catalog that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    /// Its revision.
    pub(super) revision: u64,
    /// The hash of its content.
    pub(super) hash: String,
    /// The hash of the catalog that was submitted for approval since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) submitted: Option<String>,
}

impl Seen {
    /// Whether a live catalog is one that is known here: seen, or submitted by ourselves.
    pub(super) fn knows(&self, live: &Hash) -> bool {
        let live = live.to_string();
        self.hash == live || self.submitted.as_ref() == Some(&live)
    }
}

impl Lock {
    /// Reads the file of a folder; `None` where there is none.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, Failure> {
        let path = folder.join(LOCK_FILE);
        let failed = |why: &dyn std::fmt::Display| {
            Failure::failed(format!(
                "`{}`: {why}; take it back from version control, or remove it and apply with \
                 `--seen`",
                path.display()
            ))
        };
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map(Some).map_err(|error| failed(&error.message())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// What was seen of an environment.
    pub(super) fn of(&self, environment: &str) -> Option<&Seen> {
        self.seen.get(environment)
    }

    /// The same with something else seen of an environment.
    pub(super) fn with(mut self, environment: &str, seen: Seen) -> Self {
        self.seen.insert(environment.into(), seen);
        self
    }

    /// The text of the file.
    pub(super) fn text(&self) -> Result<String, Failure> {
        let tables = toml::to_string(self).map_err(Failure::failed)?;
        Ok(format!("{PREFACE}\n{tables}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(hash: Hash) -> Seen {
        Seen { revision: 3, hash: hash.to_string(), submitted: None }
    }

    #[test]
    fn each_environment_has_its_own() {
        let folder = tempfile::TempDir::new().unwrap();
        assert_eq!(Lock::read(folder.path()).unwrap(), None);
        let lock = Lock::default().with("default", seen(Hash::of(b"a")));
        let lock = lock.with("eu.west-1", seen(Hash::of(b"b")));
        fs::write(folder.path().join(LOCK_FILE), lock.text().unwrap()).unwrap();
        let read = Lock::read(folder.path()).unwrap().unwrap();
        assert_eq!(read, lock);
        assert!(read.of("eu.west-1").unwrap().knows(&Hash::of(b"b")));
        assert!(!read.of("eu.west-1").unwrap().knows(&Hash::of(b"a")));
        assert_eq!(read.of("other"), None);
    }

    #[test]
    fn what_was_submitted_is_known_too() {
        let seen = Seen { submitted: Some(Hash::of(b"b").to_string()), ..seen(Hash::of(b"a")) };
        assert!(seen.knows(&Hash::of(b"a")) && seen.knows(&Hash::of(b"b")));
        assert!(!seen.knows(&Hash::of(b"c")));
    }

    #[test]
    fn a_damaged_one_is_no_missing_one() {
        let folder = tempfile::TempDir::new().unwrap();
        fs::write(folder.path().join(LOCK_FILE), "[seen\n").unwrap();
        let error = Lock::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("entitlements.lock") && error.contains("--seen"), "{error}");
    }
}
