//! A draft of the catalog: a named set of edits, and what becomes of them under what is live.
//!
//! A draft keeps for each object what stood there when it was first edited, and what shall stand
//! there. Nothing is written when the live catalog moves on: [`merge()`] lays the edits over
//! whatever is live when it is asked.

mod changes;
mod merge;
mod object;
mod read;
mod record;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use entitlements_core::{Draft, document::Hash};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::{
    changes::{Changes, FieldChange, changes, differences},
    merge::{Conflict, Merged, merge},
    object::{ObjectKind, ObjectRef, ObjectRefError},
    record::{DraftRecord, KeptPrincipal, KeptVote},
};

/// What a draft does to one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// What stood in the catalog when it was first edited. Absent: there was no such object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What shall stand there. Absent: the object is retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// The edits of a draft, each object's once. It is kept as `{ "plans.pro": { before, after } }`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Edits(BTreeMap<ObjectRef, Edit>);

impl Edits {
    /// Makes or replaces an object. Says whether an edit stands afterwards: one that makes no
    /// difference vanishes.
    ///
    /// An object that is edited already keeps what it was first compared with, so that what others
    /// change in the meantime is still noticed.
    pub fn put(&mut self, live: &Draft, object: ObjectRef, after: Value) -> bool {
        self.edit(live, object, Some(after))
    }

    /// Takes an object out of the catalog. Says whether an edit stands afterwards: there is none
    /// where the object is not in the catalog.
    pub fn retire(&mut self, live: &Draft, object: ObjectRef) -> bool {
        self.edit(live, object, None)
    }

    /// Says what shall stand in place of an object, by somebody who has seen what is live now: it
    /// ends all conflicts in the object. Says whether an edit stands afterwards.
    pub fn resolve(&mut self, live: &Draft, object: ObjectRef, after: Option<Value>) -> bool {
        let before = object.in_catalog(live);
        self.set(object, before, after)
    }

    /// Drops the edit of an object. Says whether there was one.
    pub fn revert(&mut self, object: &ObjectRef) -> bool {
        self.0.remove(object).is_some()
    }

    /// The edit of an object.
    #[must_use]
    pub fn get(&self, object: &ObjectRef) -> Option<&Edit> {
        self.0.get(object)
    }

    /// Every edit, by object.
    pub fn iter(&self) -> std::collections::btree_map::Iter<'_, ObjectRef, Edit> {
        self.0.iter()
    }

    /// How many objects are edited.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is edited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn edit(&mut self, live: &Draft, object: ObjectRef, after: Option<Value>) -> bool {
        let before = match self.0.remove(&object) {
            Some(edit) => edit.before,
            None => object.in_catalog(live),
        };
        self.set(object, before, after)
    }

    fn set(&mut self, object: ObjectRef, before: Option<Value>, after: Option<Value>) -> bool {
        let after = after.map(|value| object.normal(value));
        let differs = before != after;
        if differs {
            self.0.insert(object, Edit { before, after });
        } else {
            self.0.remove(&object);
        }
        differs
    }
}

impl<'e> IntoIterator for &'e Edits {
    type Item = (&'e ObjectRef, &'e Edit);
    type IntoIter = std::collections::btree_map::Iter<'e, ObjectRef, Edit>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The edits that lead from one catalog to another: for imports, for a catalog kept as code, and
/// for the way back to a past one.
#[must_use]
pub fn diff(from: &Draft, to: &Draft) -> Edits {
    let changed = ObjectKind::ALL.into_iter().flat_map(|kind| object::differing(kind, from, to));
    let edit = |object: ObjectRef| {
        let (before, after) = (object.in_catalog(from), object.in_catalog(to));
        (object, Edit { before, after })
    };
    Edits(changed.map(edit).collect())
}

/// What votes are bound to: the catalog that a draft would make, and what its approvers were shown
/// of its effect.
///
/// `preview` is whatever may not change between a vote and the publication. Numbers that drift as
/// tenants come and go are better left out of it; [`step`](super::publication::step()) compares
/// those by itself.
#[must_use]
pub fn digest(catalog: &Draft, preview: &[u8]) -> Hash {
    // A catalog is plain data, which always has a JSON form, and one only: its tables are sorted.
    // Its end is where its bracket closes, so nothing can pass from the one into the other.
    let catalog = serde_json::to_vec(catalog).unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&catalog).update(preview);
    Hash(*hasher.finalize().as_bytes())
}
