//! Several files read as one document.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt::Display,
};

use super::{Document, DocumentError, Located};
use crate::{Draft, Problem};

impl Document {
    /// Reads files, each a name and its text as for [`Document::parse`], as one document: what
    /// stands in one may be used in the others.
    ///
    /// # Errors
    /// For each file that cannot be read, why; and each object that stands in two files, with both
    /// places.
    pub fn parse_all<'f>(
        files: impl IntoIterator<Item = (&'f str, &'f str)>,
    ) -> Result<Self, DocumentError> {
        let mut whole = Self::default();
        let mut wrong = Vec::new();
        for (name, text) in files {
            match Self::parse(name, text) {
                Ok(document) => wrong.extend(whole.absorb(document)),
                Err(DocumentError::Syntax(one)) => wrong.push(one),
                Err(DocumentError::Wrong(several)) => wrong.extend(several),
                Err(other) => return Err(other),
            }
        }
        if wrong.is_empty() { Ok(whole) } else { Err(DocumentError::Wrong(wrong)) }
    }

    /// Takes over what another document holds, and tells what both have.
    fn absorb(&mut self, other: Self) -> Vec<Located> {
        let Self { catalog, tenants, expect, sources } = other;
        let mut twice = absorb_catalog(&mut self.catalog, catalog);
        absorb_table("tenants", &mut self.tenants, tenants, &mut twice);
        self.expect.extend(expect);
        let mut found = Vec::new();
        for path in twice {
            let has = |source: &&super::source::Source| source.object_of(&path) == Some(&*path);
            let here = sources.iter().find(has).map(|source| source.place(&path));
            let there = self.sources.iter().find(has).map(|source| source.place(&path));
            let message =
                format!("it stands in `{}` too; keep one of them", there.unwrap_or_default());
            let problem = Problem::new(&path, "duplicate", message);
            found.push(Located { place: here.unwrap_or_default(), problem });
        }
        self.sources.extend(sources);
        found
    }
}

/// Moves every object over, and gives the paths of those that both have.
fn absorb_catalog(into: &mut Draft, from: Draft) -> Vec<String> {
    let Draft { modules, features, bundles, plans, add_ons, promotions, segments, regions } = from;
    let mut twice = Vec::new();
    absorb_table("modules", &mut into.modules, modules, &mut twice);
    absorb_table("features", &mut into.features, features, &mut twice);
    absorb_table("bundles", &mut into.bundles, bundles, &mut twice);
    absorb_table("plans", &mut into.plans, plans, &mut twice);
    absorb_table("add_ons", &mut into.add_ons, add_ons, &mut twice);
    absorb_table("promotions", &mut into.promotions, promotions, &mut twice);
    absorb_table("segments", &mut into.segments, segments, &mut twice);
    absorb_table("regions", &mut into.regions, regions, &mut twice);
    twice
}

fn absorb_table<K: Ord + Display, V>(
    table: &str,
    into: &mut BTreeMap<K, V>,
    from: BTreeMap<K, V>,
    twice: &mut Vec<String>,
) {
    for (key, value) in from {
        match into.entry(key) {
            Entry::Occupied(entry) => twice.push(format!("{table}.{}", entry.key())),
            Entry::Vacant(entry) => {
                entry.insert(value);
            }
        }
    }
}
