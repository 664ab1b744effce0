//! Where tenants lie: pages by the hash of their key, so that a change of one touches one.
//!
//! A page holds some hundred tenants in a handful of flat arrays. Copying one takes microseconds.
//! Two levels of shared pointers lead to it, so that a changed page costs two small copies.

use std::{
    hash::BuildHasher,
    sync::{Arc, LazyLock},
};

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::{Timestamp, facts::Facts, handle::Stamp, rows::RowId};

/// Tenant keys come from outside, so the hash has a seed that nobody knows.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

#[inline]
pub(crate) fn tenant_hash(key: &str) -> u64 {
    HASHER.hash_one(key)
}

/// A tenant's place in a page. Half a cache line, so that looking at one touches one.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
pub(crate) struct Slot {
    /// From here to `until` the prepared row holds.
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
    /// A part of the hash, to tell most other keys at a glance.
    tag: u32,
    pub(crate) row: RowId,
    /// Where its facts start: their length, then they.
    words: u32,
    /// Where its key starts, and in the lowest byte how long it is.
    key: u32,
}

const _: () = assert!(size_of::<Slot>() == 32);

/// The part of a hash that a slot keeps. Pages and their tables use the lower half.
#[inline]
const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Some hundred tenants.
#[derive(Debug, Clone)]
pub struct Page {
    stamp: Stamp,
    places: HashTable<u16>,
    slots: Vec<Slot>,
    keys: String,
    words: Vec<u64>,
    /// Words that no slot points at any more.
    stale_words: usize,
}

impl Page {
    fn with_capacity(slots: usize, keys: usize, words: usize) -> Self {
        Self {
            stamp: Stamp::fresh(),
            places: HashTable::with_capacity(slots),
            slots: Vec::with_capacity(slots),
            keys: String::with_capacity(keys),
            words: Vec::with_capacity(words),
            stale_words: 0,
        }
    }

    #[inline]
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    #[inline]
    pub(crate) fn slot(&self, place: usize) -> Option<&Slot> {
        self.slots.get(place)
    }

    #[inline]
    pub(crate) fn key(&self, slot: &Slot) -> &str {
        let (start, len) = ((slot.key >> 8) as usize, (slot.key & 0xff) as usize);
        self.keys.get(start..start + len).unwrap_or("")
    }

    pub(crate) fn facts(&self, slot: &Slot) -> Facts<'_> {
        Facts::new(stored(&self.words, slot.words))
    }

    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &str) -> Option<usize> {
        let same = |place: &u16| {
            self.slots
                .get(usize::from(*place))
                .is_some_and(|slot| slot.tag == tag(hash) && self.key(slot) == key)
        };
        self.places.find(hash, same).map(|place| usize::from(*place))
    }

    /// Notes what has been prepared for a tenant.
    pub(crate) fn prepare(&mut self, place: usize, row: RowId, from: Timestamp, until: Timestamp) {
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = Slot { row, from, until, ..*slot };
        }
    }

    /// Adds a tenant that is not there, or gives one that is other facts. Says where it is.
    pub(crate) fn put(&mut self, hash: u64, key: &str, words: Words<'_>) -> usize {
        let start = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        self.words.push(words.len() as u64);
        words.append_to(&mut self.words);
        if let Some(place) = self.find(hash, key) {
            if let Some(slot) = self.slots.get_mut(place) {
                self.stale_words += 1 + stored(&self.words, slot.words).len();
                slot.words = start;
            }
            self.compact();
            return place;
        }
        let slot = Slot {
            // Not prepared: no instant lies between these.
            from: Timestamp::MAX,
            until: Timestamp::MIN,
            tag: tag(hash),
            row: RowId::NONE,
            words: start,
            key: u32::try_from(self.keys.len() << 8 | key.len()).unwrap_or(u32::MAX),
        };
        self.keys.push_str(key);
        let place = self.slots.len();
        self.slots.push(slot);
        if self.places.len() == self.places.capacity() {
            self.grow();
        }
        // There is room, so nothing has to be hashed again.
        self.places.insert_unique(hash, u16::try_from(place).unwrap_or(u16::MAX), |_| 0);
        place
    }

    /// Takes a tenant out; says whether it was there. Others may move, so handles look again.
    pub(crate) fn remove(&mut self, hash: u64, key: &str) -> bool {
        let Some(place) = self.find(hash, key) else { return false };
        let mut rest = Self::with_capacity(self.slots.len(), self.keys.len(), self.words.len());
        for slot in
            self.slots.iter().enumerate().filter_map(|(i, slot)| (i != place).then_some(slot))
        {
            let key = self.key(slot);
            let words = Words::Packed(self.facts(slot).words());
            let at = rest.put(tenant_hash(key), key, words);
            rest.prepare(at, slot.row, slot.from, slot.until);
        }
        *self = rest;
        true
    }

    /// Makes room in the table. A slot keeps a part of its hash only, so keys are hashed again.
    fn grow(&mut self) {
        let mut places = HashTable::with_capacity(2 * self.slots.len());
        for (place, slot) in (0..).zip(&self.slots).take(self.places.len()) {
            places.insert_unique(tenant_hash(self.key(slot)), place, |_| 0);
        }
        self.places = places;
    }

    /// Squeezes out stale words once they are the larger part.
    fn compact(&mut self) {
        if self.stale_words * 2 <= self.words.len() {
            return;
        }
        let mut words = Vec::with_capacity(self.words.len() - self.stale_words);
        for slot in &mut self.slots {
            let facts = stored(&self.words, slot.words);
            slot.words = u32::try_from(words.len()).unwrap_or(u32::MAX);
            words.push(facts.len() as u64);
            words.extend_from_slice(facts);
        }
        self.words = words;
        self.stale_words = 0;
    }

    /// How many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.keys.capacity()
            + self.words.capacity() * 8
            + self.places.capacity() * 4
    }
}

fn stored(words: &[u64], start: u32) -> &[u64] {
    let stored = words.get(start as usize..).and_then(|words| words.split_first());
    stored.and_then(|(len, words)| words.get(..usize::try_from(*len).ok()?)).unwrap_or(&[])
}

const BRANCH: usize = 64;
/// How many tenants a page has when it is laid out, and the most it may have on average.
const PAGE_TENANTS: usize = 256;
const PAGE_TENANTS_MAX: usize = 4 * PAGE_TENANTS;

/// The pages of a branch, in one piece with their count of owners.
type Branch = Arc<[Arc<Page>]>;

/// All pages. Their number is a power of two.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    branches: Vec<Branch>,
    mask: usize,
    tenants: usize,
}

/// A tenant on its way into a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arriving<'a> {
    pub(crate) key: &'a str,
    pub(crate) words: Words<'a>,
}

/// Packed facts, in memory or as they stand in a document.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Words<'a> {
    Packed(&'a [u64]),
    /// Little-endian.
    #[cfg_attr(not(feature = "document"), expect(dead_code, reason = "only documents hold some"))]
    Stored(&'a [u8]),
}

impl Words<'_> {
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Packed(words) => words.len(),
            Self::Stored(bytes) => bytes.len() / 8,
        }
    }

    pub(crate) fn append_to(self, out: &mut Vec<u64>) {
        match self {
            Self::Packed(words) => out.extend_from_slice(words),
            Self::Stored(bytes) => {
                out.extend(bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)));
            }
        }
    }
}

impl Pages {
    /// Lays tenants out; `fill` then prepares each page. Of two with one key the later counts.
    pub(crate) fn new<'a>(
        count: usize,
        tenant: impl Fn(usize) -> Arriving<'a>,
        mut fill: impl FnMut(&mut Page),
    ) -> Self {
        let pages = count.div_ceil(PAGE_TENANTS).next_power_of_two();
        let mask = pages - 1;
        let hashes: Vec<u64> = (0..count).map(|i| tenant_hash(tenant(i).key)).collect();
        let mut this = Self { branches: Vec::new(), mask, tenants: 0 };
        let mut branch = Vec::with_capacity(BRANCH.min(pages));
        for members in ByPage::new(&hashes, mask).pages() {
            let size = members
                .iter()
                .map(|i| tenant(*i as usize))
                .fold((0, 0), |(keys, words), t| (keys + t.key.len(), words + 1 + t.words.len()));
            let mut page = Page::with_capacity(members.len(), size.0, size.1);
            for member in members {
                let Arriving { key, words } = tenant(*member as usize);
                page.put(hashes.get(*member as usize).copied().unwrap_or(0), key, words);
            }
            fill(&mut page);
            this.tenants += page.slots.len();
            branch.push(Arc::new(page));
            if branch.len() == BRANCH {
                this.branches.push(branch.drain(..).collect());
            }
        }
        if !branch.is_empty() {
            this.branches.push(branch.into());
        }
        this
    }

    pub(crate) fn tenants(&self) -> usize {
        self.tenants
    }

    #[inline]
    fn number(&self, hash: u64) -> usize {
        number(hash, self.mask)
    }

    #[inline]
    pub(crate) fn page(&self, hash: u64) -> Option<&Page> {
        let number = self.number(hash);
        self.branches.get(number / BRANCH)?.get(number % BRANCH).map(|page| &**page)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Page> {
        self.branches.iter().flat_map(|branch| branch.iter()).map(|page| &**page)
    }

    /// The pages themselves: one that two snapshots share was not changed in between.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &Arc<Page>> {
        self.branches.iter().flat_map(|branch| branch.iter())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.mask + 1
    }

    /// Whether so many more tenants find room. More would crowd pages, whose places are small numbers.
    pub(crate) fn has_room_for(&self, more: usize) -> bool {
        self.tenants + more <= (self.mask + 1) * PAGE_TENANTS_MAX
    }

    /// Changes the page of a hash, on a copy.
    pub(crate) fn edit(&mut self, hash: u64, change: impl FnOnce(&mut Page)) {
        let number = self.number(hash);
        self.edit_numbered(number, change);
    }

    fn edit_numbered(&mut self, number: usize, change: impl FnOnce(&mut Page)) {
        let branch = self.branches.get_mut(number / BRANCH).map(Arc::make_mut);
        let page = branch.and_then(|branch| branch.get_mut(number % BRANCH)).map(Arc::make_mut);
        if let Some(page) = page {
            let before = page.slots.len();
            change(page);
            self.tenants = self.tenants - before + page.slots.len();
        }
    }

    /// Changes every page that has a tenant whose prepared row ends at or before an instant.
    pub(crate) fn edit_due(&mut self, at: Timestamp, mut change: impl FnMut(&mut Page)) {
        let due: Vec<usize> = self
            .iter()
            .enumerate()
            .filter(|(_, page)| page.slots.iter().any(|slot| slot.until <= at))
            .map(|(number, _)| number)
            .collect();
        for number in due {
            self.edit_numbered(number, &mut change);
        }
    }

    /// Changes every page, each on a copy.
    pub(crate) fn edit_all(&mut self, mut change: impl FnMut(&mut Page)) {
        (0..=self.mask).for_each(|number| self.edit_numbered(number, &mut change));
    }

    /// How many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.iter().map(Page::bytes).sum()
    }
}

#[inline]
const fn number(hash: u64, mask: usize) -> usize {
    // The table inside a page uses the lowest and the highest bits.
    (hash >> 16) as usize & mask
}

/// Which tenants lie in which page, by counting.
struct ByPage {
    members: Vec<u32>,
    starts: Vec<u32>,
}

impl ByPage {
    fn new(hashes: &[u64], mask: usize) -> Self {
        let mut starts = vec![0_u32; mask + 2];
        for hash in hashes {
            if let Some(count) = starts.get_mut(number(*hash, mask) + 1) {
                *count += 1;
            }
        }
        let mut before = 0;
        for start in &mut starts {
            before += *start;
            *start = before;
        }
        let mut next = starts.clone();
        let mut members = vec![0_u32; hashes.len()];
        for (member, hash) in (0..).zip(hashes) {
            let Some(next) = next.get_mut(number(*hash, mask)) else { continue };
            if let Some(cell) = members.get_mut(*next as usize) {
                *cell = member;
            }
            *next += 1;
        }
        Self { members, starts }
    }

    fn pages(&self) -> impl Iterator<Item = &[u32]> {
        self.starts
            .array_windows()
            .map(|[start, end]| self.members.get(*start as usize..*end as usize).unwrap_or(&[]))
    }
}
