//! The snapshot document: columns that load about as fast as they can be copied.
//!
//! ```text
//! magic, format, revision          8 + 4 + 4 (zero) + 8 bytes
//! five lengths                     catalog, names, name bytes, tenants, key bytes: 8 bytes each
//! catalog                          JSON
//! names                            the length of each (4 bytes), then their texts
//! tenants                          the lengths of each key and of its facts (4 + 4 bytes), then the keys
//! facts                            64-bit words, the rest but for the hash
//! hash                             BLAKE3 of all before
//! ```
//!
//! Numbers are little-endian. Tenants are in the order of their keys and names in the order of their
//! first use, so that the same content at the same revision has the same bytes and the same hash,
//! whatever history led there.

use std::{collections::HashMap, fmt, ops::Range, str::FromStr, sync::Arc};

use foldhash::fast::RandomState;

use super::DocumentError;
use crate::{
    Catalog, Draft, Revision, Snapshot, TenantKey, Timestamp,
    facts::{self, Facts},
    names::{Name, Names},
    page::{Arriving, Words},
};

/// The format that is written, and the newest that is read.
pub const FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"ENTSNAP\n";
const HEAD: usize = 24;
const LENGTHS: usize = 5;
const HASH: usize = 32;

/// The BLAKE3 hash of a snapshot document.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; HASH]);

impl Hash {
    /// The hash of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = DocumentError;
    fn from_str(text: &str) -> Result<Self, DocumentError> {
        let hash = blake3::Hash::from_hex(text)
            .map_err(|_| DocumentError::Damaged("its hash is not 64 hex digits"))?;
        Ok(Self(*hash.as_bytes()))
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Snapshot {
    /// The snapshot document. The same content at the same revision has the same bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut views: Vec<_> = self.tenants().collect();
        views.sort_unstable_by_key(|view| view.key());
        let mut numbering = Numbering::new(&self.index.names);
        let (mut lengths, mut keys, mut words) = (Vec::new(), Vec::new(), Vec::new());
        for view in &views {
            let before = words.len();
            facts::renumber(view.facts(), &mut |name| numbering.number(name), &mut words);
            lengths.extend([view.key().len(), words.len() - before].map(size));
            keys.extend_from_slice(view.key().as_bytes());
        }
        // A checked catalog is plain data, which always has a JSON form.
        let catalog = serde_json::to_vec(self.catalog().draft()).unwrap_or_default();
        let mut out = Vec::with_capacity(
            HEAD + catalog.len() + keys.len() + words.len() * 8 + views.len() * 8,
        );
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.revision().0.to_le_bytes());
        let counts = [
            catalog.len(),
            numbering.lengths.len(),
            numbering.bytes.len(),
            views.len(),
            keys.len(),
        ];
        counts.iter().for_each(|count| out.extend_from_slice(&(*count as u64).to_le_bytes()));
        out.extend_from_slice(&catalog);
        numbering.lengths.iter().for_each(|length| out.extend_from_slice(&length.to_le_bytes()));
        out.extend_from_slice(&numbering.bytes);
        lengths.iter().for_each(|length| out.extend_from_slice(&length.to_le_bytes()));
        out.extend_from_slice(&keys);
        words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        let hash = Hash::of(&out);
        out.extend_from_slice(&hash.0);
        out
    }

    /// Reads a snapshot document and prepares its answers from an instant on.
    ///
    /// # Errors
    /// Where it is cut off or changed, or of a newer format.
    pub fn decode(bytes: &[u8], at: Timestamp) -> Result<Self, DocumentError> {
        Self::read(bytes, Some(at))
    }

    /// Reads a snapshot document and prepares nothing. It is there several times sooner, and each
    /// answer is worked out from the facts until [`Snapshot::refreshed`] has prepared them: what a
    /// daemon does that starts with a million tenants.
    ///
    /// # Errors
    /// Where it is cut off or changed, or of a newer format.
    pub fn open(bytes: &[u8]) -> Result<Self, DocumentError> {
        Self::read(bytes, None)
    }

    fn read(bytes: &[u8], at: Option<Timestamp>) -> Result<Self, DocumentError> {
        let head = Head::read(bytes)?;
        let body = bytes.get(..bytes.len().saturating_sub(HASH)).unwrap_or(&[]);
        let hash = bytes.get(body.len()..).unwrap_or(&[]);
        if Hash::of(body).0 != hash {
            return Err(DocumentError::Damaged("its hash is another one"));
        }
        Self::decode_body(body, head, at)
    }

    fn decode_body(body: &[u8], head: Head, at: Option<Timestamp>) -> Result<Self, DocumentError> {
        let mut rest = Rest(body.get(HEAD + LENGTHS * 8..).unwrap_or(&[]));
        let [catalog_len, name_count, name_bytes, tenants, key_bytes] = head.lengths;
        let catalog = read_catalog(rest.take(catalog_len)?)?;
        let name_lengths = rest.numbers(name_count)?;
        let names = read_names(&name_lengths, rest.take(name_bytes)?)?;
        let lengths = rest.numbers(tenants.checked_mul(2).ok_or(TOO_LONG)?)?;
        let keys = str::from_utf8(rest.take(key_bytes)?)
            .map_err(|_| DocumentError::Damaged("a key is not text"))?;
        let words = rest.words()?;
        let places = places(&lengths, keys, words, names.len())?;
        let tenant = |place: usize| {
            let (key, facts) = places.get(place).cloned().unwrap_or_default();
            Arriving {
                key: keys.get(key.start as usize..key.end as usize).unwrap_or(""),
                words: Words::Stored(stored(words, &facts).unwrap_or(&[])),
            }
        };
        Ok(Self::lay_out(
            head.revision,
            Arc::new(catalog),
            Arc::new(names),
            places.len(),
            tenant,
            at,
        ))
    }
}

fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Gives names new numbers in the order in which they are met.
struct Numbering<'n> {
    names: &'n Names,
    known: HashMap<Name, Name, RandomState>,
    lengths: Vec<u32>,
    bytes: Vec<u8>,
}

impl<'n> Numbering<'n> {
    fn new(names: &'n Names) -> Self {
        let known = HashMap::from_iter([(Name::NONE, Name::NONE)]);
        Self { names, known, lengths: Vec::new(), bytes: Vec::new() }
    }

    fn number(&mut self, name: Name) -> Name {
        *self.known.entry(name).or_insert_with(|| {
            let text = self.names.text(name);
            self.lengths.push(size(text.len()));
            self.bytes.extend_from_slice(text.as_bytes());
            Name(size(self.lengths.len()))
        })
    }
}

#[derive(Clone, Copy)]
struct Head {
    revision: Revision,
    lengths: [usize; LENGTHS],
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        let (magic, rest) = bytes.split_first_chunk().ok_or(TOO_SHORT)?;
        if magic != MAGIC {
            return Err(DocumentError::Damaged("it does not start like one"));
        }
        let (format, rest) = rest.split_first_chunk().ok_or(TOO_SHORT)?;
        let found = u32::from_le_bytes(*format);
        if found > FORMAT {
            return Err(DocumentError::NewerFormat { found });
        }
        let (zero, rest) = rest.split_first_chunk::<4>().ok_or(TOO_SHORT)?;
        if found == 0 || *zero != [0; 4] {
            return Err(DocumentError::Damaged("its format is none"));
        }
        let (revision, rest) = rest.split_first_chunk().ok_or(TOO_SHORT)?;
        let (lengths, rest) = rest.split_first_chunk::<{ LENGTHS * 8 }>().ok_or(TOO_SHORT)?;
        if rest.len() < HASH {
            return Err(TOO_SHORT);
        }
        let mut read = [0; LENGTHS];
        for (length, bytes) in read.iter_mut().zip(lengths.as_chunks().0) {
            *length = usize::try_from(u64::from_le_bytes(*bytes)).map_err(|_| TOO_LONG)?;
        }
        Ok(Self { revision: Revision(u64::from_le_bytes(*revision)), lengths: read })
    }
}

const TOO_SHORT: DocumentError = DocumentError::Damaged("it is cut off");
const TOO_LONG: DocumentError = DocumentError::Damaged("a length is longer than the document");

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DocumentError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(TOO_LONG)?;
        self.0 = rest;
        Ok(taken)
    }

    fn numbers(&mut self, count: usize) -> Result<Vec<u32>, DocumentError> {
        let bytes = self.take(count.checked_mul(4).ok_or(TOO_LONG)?)?;
        Ok(bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
    }

    /// All that is left, which must be whole words.
    fn words(self) -> Result<&'a [u8], DocumentError> {
        if self.0.len().is_multiple_of(8) { Ok(self.0) } else { Err(TOO_SHORT) }
    }
}

fn read_catalog(bytes: &[u8]) -> Result<Catalog, DocumentError> {
    let draft: Draft = serde_json::from_slice(bytes)
        .map_err(|_| DocumentError::Damaged("its catalog cannot be read"))?;
    Catalog::new(draft).map_err(|_| DocumentError::Damaged("its catalog is wrong"))
}

fn read_names(lengths: &[u32], bytes: &[u8]) -> Result<Names, DocumentError> {
    let text = str::from_utf8(bytes).map_err(|_| DocumentError::Damaged("a name is not text"))?;
    let (names, mut start) = (Names::new(), 0);
    for length in lengths {
        let end = start + *length as usize;
        names.intern(text.get(start..end).ok_or(TOO_LONG)?);
        start = end;
    }
    if start != text.len() || names.len() != lengths.len() + 1 {
        return Err(DocumentError::Damaged("its names do not add up"));
    }
    Ok(names)
}

type Place = (Range<u32>, Range<u32>);

/// The bytes of some words.
fn stored<'w>(words: &'w [u8], range: &Range<u32>) -> Option<&'w [u8]> {
    words.get(range.start as usize * 8..range.end as usize * 8)
}

/// Where each tenant's key and facts are, all of them looked at.
fn places(
    lengths: &[u32],
    keys: &str,
    words: &[u8],
    names: usize,
) -> Result<Vec<Place>, DocumentError> {
    let (pairs, _) = lengths.as_chunks();
    let (mut key_start, mut word_start) = (0_u32, 0_u32);
    let mut places: Vec<Place> = Vec::with_capacity(pairs.len());
    let (mut before, mut facts) = ("", Vec::new());
    for [key_len, word_len] in pairs {
        let key_end = key_start.checked_add(*key_len).ok_or(TOO_LONG)?;
        let word_end = word_start.checked_add(*word_len).ok_or(TOO_LONG)?;
        let key = keys.get(key_start as usize..key_end as usize).ok_or(TOO_LONG)?;
        facts.clear();
        Words::Stored(stored(words, &(word_start..word_end)).ok_or(TOO_LONG)?)
            .append_to(&mut facts);
        if !TenantKey::is_valid(key) || key <= before {
            return Err(DocumentError::Damaged("its tenants are not in order"));
        }
        if Facts::checked(&facts, names).is_none() {
            return Err(DocumentError::Damaged("a tenant's facts do not add up"));
        }
        places.push((key_start..key_end, word_start..word_end));
        (key_start, word_start, before) = (key_end, word_end, key);
    }
    if key_start as usize != keys.len() || word_start as usize * 8 != words.len() {
        return Err(DocumentError::Damaged("its tenants do not add up"));
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let text = r#"
            [features.sso]
            kind = "switch"
            [plans.pro]
            grants = { sso = true }
            [tenants.acme]
            subscriptions = [{ plan = "pro" }]
            blocks = [{ owner = "billing", features = ["sso"], window = { until = 2026-02-01 } }]
        "#;
        let document = super::super::Document::parse("a.toml", text).unwrap();
        let catalog = Arc::new(document.check().unwrap());
        Snapshot::compile(Revision(7), catalog, &document.tenants, Timestamp::from_micros(0))
    }

    #[test]
    fn a_flipped_bit_is_never_accepted_at_any_position() {
        let good = snapshot().encode();
        assert!(Snapshot::decode(&good, Timestamp::from_micros(0)).is_ok());
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Snapshot::decode(&bad, Timestamp::from_micros(0)).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn without_the_hash_flipped_bits_would_be_accepted() {
        let good = snapshot().encode();
        let body = &good[..good.len() - HASH];
        let accepted = (0..body.len() * 8).filter(|bit| {
            let mut bad = body.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut padded = bad.clone();
            padded.extend_from_slice(&[0; HASH]);
            Head::read(&padded).is_ok_and(|head| Snapshot::decode_body(&bad, head, None).is_ok())
        });
        assert!(accepted.count() > 100, "the guard would not be needed");
    }

    #[test]
    fn a_document_that_is_cut_off_is_refused_at_every_length() {
        let good = snapshot().encode();
        for len in 0..good.len() {
            assert!(
                Snapshot::decode(&good[..len], Timestamp::from_micros(0)).is_err(),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn a_newer_format_is_refused_with_both_numbers() {
        let mut newer = snapshot().encode();
        newer[8] = 2;
        let error = Snapshot::decode(&newer, Timestamp::from_micros(0)).unwrap_err().to_string();
        assert!(error.contains("format 2") && error.contains("up to 1"), "{error}");
    }

    #[test]
    fn the_same_content_has_the_same_bytes_whatever_led_there() {
        let direct = snapshot();
        let at = Timestamp::from_micros(0);
        let other = TenantKey::new("zzz").unwrap();
        let acme = TenantKey::new("acme").unwrap();
        let tenant = direct.tenant("acme").unwrap().tenant();
        let detour = direct
            .with_tenants(Revision(8), [(&other, Some(&tenant)), (&acme, None)], at)
            .with_tenants(Revision(7), [(&acme, Some(&tenant)), (&other, None)], at);
        assert_eq!(direct.encode(), detour.encode());
        let read = Snapshot::decode(&direct.encode(), at).unwrap();
        assert_eq!(read.encode(), direct.encode());
        assert_eq!(read.tenant("acme").unwrap().tenant(), tenant);
    }
}
