//! One hash over what a snapshot holds, which follows a change without reading everything again.
//!
//! Each tenant has a digest over its key and facts, in words that do not depend on how a process
//! numbers names. The digests are added up, so a change of one tenant takes one away and adds one.
//! The sum and the catalog's digest give the hash. It tells whether two snapshots hold the same; that
//! nobody made them the same on purpose is what the publisher's signature is for.

use std::sync::OnceLock;

use crate::{
    Catalog, Snapshot, TenantView,
    document::Hash,
    facts,
    names::{Name, Names},
};

/// What is known of a snapshot's content. Nothing is worked out before somebody asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    catalog: OnceLock<Hash>,
    tenants: OnceLock<Sum>,
}

impl Content {
    /// The same tenants under another catalog.
    pub(crate) fn with_catalog(&self) -> Self {
        Self { catalog: OnceLock::new(), tenants: self.tenants.clone() }
    }
}

/// Eight lanes that wrap around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sum([u64; 8]);

impl Sum {
    fn add(&mut self, digest: &Self) {
        self.0.iter_mut().zip(digest.0).for_each(|(lane, other)| *lane = lane.wrapping_add(other));
    }

    fn take_away(&mut self, digest: &Self) {
        self.0.iter_mut().zip(digest.0).for_each(|(lane, other)| *lane = lane.wrapping_sub(other));
    }
}

/// Buffers for digests.
#[derive(Default)]
struct Scratch {
    words: Vec<u64>,
    numbered: Vec<Name>,
    bytes: Vec<u8>,
}

impl Scratch {
    /// Over key, facts, and the texts of their names in the order of their first use.
    fn digest(&mut self, view: TenantView<'_>) -> Sum {
        let Self { words, numbered, bytes } = self;
        words.clear();
        numbered.clear();
        facts::renumber(view.facts(), &mut |name| number(numbered, name), words);
        bytes.clear();
        push_text(bytes, view.key());
        bytes.extend_from_slice(&(words.len() as u64).to_le_bytes());
        words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        let names: &Names = &view.snapshot.index.names;
        numbered.iter().for_each(|name| push_text(bytes, names.text(*name)));
        let mut out = [0; 64];
        blake3::Hasher::new().update(bytes).finalize_xof().fill(&mut out);
        let mut sum = Sum::default();
        for (lane, bytes) in sum.0.iter_mut().zip(out.as_chunks().0) {
            *lane = u64::from_le_bytes(*bytes);
        }
        sum
    }
}

/// A tenant names few things, so looking through them is quicker than a table.
fn number(known: &mut Vec<Name>, name: Name) -> Name {
    if name == Name::NONE {
        return name;
    }
    let place = known.iter().position(|one| *one == name).unwrap_or_else(|| {
        known.push(name);
        known.len() - 1
    });
    Name(u32::try_from(place + 1).unwrap_or(u32::MAX))
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

impl Snapshot {
    /// The hash of what it holds: catalog and tenants, not the revision. Two snapshots with the same
    /// hash answer the same, whatever led to them.
    ///
    /// The first time it reads all tenants; what follows from this snapshot costs microseconds.
    #[must_use]
    pub fn content_hash(&self) -> Hash {
        self.hash_under(self.content.catalog.get_or_init(|| digest(self.catalog())))
    }

    /// The same, where nothing has to be read for it.
    #[must_use]
    pub fn known_content_hash(&self) -> Option<Hash> {
        let catalog = self.content.catalog.get()?;
        self.content.tenants.get().map(|_| self.hash_under(catalog))
    }

    /// The hash that the content would have under another catalog. Nothing is compiled for it.
    #[must_use]
    pub fn content_hash_under(&self, catalog: &Catalog) -> Hash {
        self.hash_under(&digest(catalog))
    }

    /// Before a tenant is changed: what it was counts no more.
    pub(crate) fn take_from_content(&mut self, tenant: &str) {
        self.change_content(tenant, Sum::take_away);
    }

    /// After a tenant was changed: what it is counts.
    pub(crate) fn add_to_content(&mut self, tenant: &str) {
        self.change_content(tenant, Sum::add);
    }

    /// Where nobody has asked for the hash yet, there is nothing to keep right.
    fn change_content(&mut self, tenant: &str, change: impl Fn(&mut Sum, &Sum)) {
        if self.content.tenants.get().is_none() {
            return;
        }
        let digest = self.tenant(tenant).map(|view| Scratch::default().digest(view));
        if let (Some(sum), Some(digest)) = (self.content.tenants.get_mut(), digest) {
            change(sum, &digest);
        }
    }

    fn hash_under(&self, catalog: &Hash) -> Hash {
        let tenants = self.content.tenants.get_or_init(|| {
            let (mut sum, mut scratch) = (Sum::default(), Scratch::default());
            self.tenants().for_each(|view| sum.add(&scratch.digest(view)));
            sum
        });
        let mut hasher = blake3::Hasher::new();
        hasher.update(TAG).update(&catalog.0);
        hasher.update(&(self.tenant_count() as u64).to_le_bytes());
        tenants.0.iter().for_each(|lane| _ = hasher.update(&lane.to_le_bytes()));
        Hash(*hasher.finalize().as_bytes())
    }
}

fn digest(catalog: &Catalog) -> Hash {
    // A checked catalog is plain data, which always has a JSON form.
    Hash::of(&serde_json::to_vec(catalog.draft()).unwrap_or_default())
}

const TAG: &[u8] = b"entitlements/content/v1\0";
