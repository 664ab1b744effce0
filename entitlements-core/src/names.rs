//! Every text of a snapshot once, as a number.
//!
//! Snapshots that follow from one another share one table. It only grows: a text keeps its number,
//! so that facts of tenants need not be touched when the catalog changes. No check takes its lock.

use std::{
    fmt,
    hash::BuildHasher,
    sync::{Mutex, PoisonError},
};

use foldhash::quality::RandomState;
use hashbrown::HashTable;

/// The number of a text. 0 stands for none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(pub(crate) u32);

impl Name {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

/// The table.
pub(crate) struct Names {
    texts: boxcar::Vec<Box<str>>,
    numbers: Mutex<HashTable<u32>>,
    hasher: RandomState,
}

impl Names {
    pub(crate) fn new() -> Self {
        let names = Self {
            texts: boxcar::Vec::new(),
            numbers: Mutex::new(HashTable::new()),
            hasher: RandomState::default(),
        };
        names.texts.push("".into());
        names
    }

    /// The number of a text; a new one where it has none yet.
    pub(crate) fn intern(&self, text: &str) -> Name {
        // The table holds plain numbers: a panic elsewhere cannot leave it half written.
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = numbers.entry(
            self.hasher.hash_one(text),
            |number| self.text(Name(*number)) == text,
            |number| self.hasher.hash_one(self.text(Name(*number))),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(found) => Name(*found.get()),
            hashbrown::hash_table::Entry::Vacant(free) => {
                let number = u32::try_from(self.texts.push(text.into())).unwrap_or(u32::MAX);
                free.insert(number);
                Name(number)
            }
        }
    }

    /// The text of a number.
    pub(crate) fn text(&self, name: Name) -> &str {
        self.texts.get(name.0 as usize).map_or("", |text| text)
    }

    /// How many there are, the empty one included.
    pub(crate) fn len(&self) -> usize {
        self.texts.count()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Names({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_number() {
        let names = Names::new();
        let pro = names.intern("pro");
        let basic = names.intern("basic");
        assert_ne!(pro, basic);
        assert_eq!(names.intern("pro"), pro);
        assert_eq!(names.text(pro), "pro");
    }
}
