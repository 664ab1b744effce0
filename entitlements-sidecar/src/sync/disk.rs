//! What lies on disk: two generations of snapshots with the changes since, the publishers' keys, the
//! candidate that was prepared, and the mark that says how far this sidecar has come.

use std::io;

use entitlements_core::{
    Revision, Timestamp,
    signed::{Basis, push_envelope},
};

use super::files::Files;

/// One of the two places for a snapshot and the changes that followed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Slot {
    A,
    B,
}

impl Slot {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::A => "snapshot.a",
            Self::B => "snapshot.b",
        }
    }
}

/// How far this sidecar has come. It only ever rises.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Mark {
    /// Whose snapshots lie here.
    pub(crate) environment: String,
    /// The root key that vouches for them, in hex.
    pub(crate) root: String,
    /// The newest content that was taken.
    pub(crate) high: Option<High>,
    /// In microseconds: how late it has been.
    floor: i64,
}

/// The newest content that was taken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct High {
    pub(crate) epoch: u64,
    pub(crate) revision: Revision,
    pub(crate) hash: String,
    pub(crate) slot: Slot,
}

impl Mark {
    /// Where nothing was taken yet.
    pub(crate) fn new(environment: &str, root: &str) -> Self {
        Self { environment: environment.into(), root: root.into(), high: None, floor: i64::MIN }
    }

    pub(crate) fn floor(&self) -> Timestamp {
        Timestamp::from_micros(self.floor)
    }

    pub(crate) fn raised(&self, basis: &Basis, slot: Slot, now: Timestamp) -> Self {
        let high = High {
            epoch: basis.epoch,
            revision: basis.revision,
            hash: basis.hash.to_string(),
            slot,
        };
        Self { high: Some(high), ..self.at_floor(now) }
    }

    pub(crate) fn at_floor(&self, now: Timestamp) -> Self {
        Self { floor: self.floor.max(now.as_micros()), ..self.clone() }
    }

    fn to_text(&self) -> io::Result<String> {
        let line = serde_json::to_string(self)?;
        let check = blake3::hash(line.as_bytes());
        Ok(format!("{line}\n{check}\n"))
    }

    fn from_text(text: &str) -> Option<Self> {
        let (line, check) = text.split_once('\n')?;
        let whole = blake3::hash(line.as_bytes()).to_hex().as_str() == check.trim_end();
        if whole { serde_json::from_str(line).ok() } else { None }
    }
}

/// What was found where a mark is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Missing,
    Damaged,
    Whole(Mark),
}

/// The files by what they are.
#[derive(Debug)]
pub(crate) struct Disk {
    files: Box<dyn Files>,
    bytes_max: usize,
}

impl Disk {
    /// On these files, none of which may hold more than `bytes_max` bytes.
    pub(crate) fn new(files: impl Files + 'static, bytes_max: usize) -> Self {
        Self { files: Box::new(files), bytes_max }
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub(crate) fn read_mark(&self) -> io::Result<Stored> {
        let Some(bytes) = self.files.read(MARK, SMALL)? else { return Ok(Stored::Missing) };
        let mark = std::str::from_utf8(&bytes).ok().and_then(Mark::from_text);
        Ok(mark.map_or(Stored::Damaged, Stored::Whole))
    }

    pub(crate) fn write_mark(&mut self, mark: &Mark) -> io::Result<()> {
        self.files.replace(MARK, mark.to_text()?.as_bytes())
    }

    pub(crate) fn read_keys(&self) -> io::Result<Option<Vec<u8>>> {
        self.files.read(KEYS, SMALL)
    }

    pub(crate) fn write_keys(&mut self, envelope: &[u8]) -> io::Result<()> {
        self.files.replace(KEYS, envelope)
    }

    /// A bundle: a snapshot and the changes that followed it. Its end may be torn.
    pub(crate) fn read_snapshot(&self, slot: Slot) -> io::Result<Option<Vec<u8>>> {
        self.files.read(slot.file(), self.bytes_max)
    }

    pub(crate) fn write_snapshot(&mut self, slot: Slot, bundle: &[u8]) -> io::Result<()> {
        self.files.replace(slot.file(), bundle)
    }

    /// Adds envelopes to a bundle that is whole up to `length`. Says how long it is then.
    pub(crate) fn append<'e>(
        &mut self,
        slot: Slot,
        length: usize,
        envelopes: impl IntoIterator<Item = &'e [u8]>,
    ) -> io::Result<usize> {
        let mut bytes = Vec::new();
        envelopes.into_iter().for_each(|envelope| push_envelope(&mut bytes, envelope));
        self.files.append(slot.file(), length, &bytes)?;
        Ok(length + bytes.len())
    }

    /// Whether something was prepared of which it is not known what became of it.
    pub(crate) fn has_candidate(&self) -> io::Result<bool> {
        Ok(self.files.read(CANDIDATE, 0)?.is_some())
    }

    pub(crate) fn write_candidate(&mut self, envelope: &[u8]) -> io::Result<()> {
        self.files.replace(CANDIDATE, envelope)
    }

    pub(crate) fn remove_candidate(&mut self) -> io::Result<()> {
        self.files.remove(CANDIDATE)
    }

    /// The name under which this sidecar is known; `fresh` where it has none yet.
    pub(crate) fn name(&mut self, fresh: &str) -> io::Result<String> {
        let kept = self.files.read(NAME, SMALL)?.and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(name) = kept.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
        {
            return Ok(name);
        }
        self.files.replace(NAME, format!("{fresh}\n").as_bytes())?;
        Ok(fresh.into())
    }
}

const MARK: &str = "mark";
const KEYS: &str = "keys";
const CANDIDATE: &str = "candidate";
const NAME: &str = "name";
const SMALL: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::{super::files::Folder, *};

    fn mark(revision: u64) -> Mark {
        let basis = Basis {
            epoch: 1,
            revision: Revision(revision),
            hash: "07".repeat(32).parse().unwrap(),
        };
        Mark::new("default", "root").raised(&basis, Slot::B, Timestamp::from_micros(5))
    }

    #[test]
    fn a_mark_comes_back_and_a_changed_bit_is_seen() {
        let text = mark(7).to_text().unwrap();
        assert_eq!(Mark::from_text(&text), Some(mark(7)));
        for position in 0..text.trim_end().len() {
            for bit in 0..7 {
                let mut bytes = text.clone().into_bytes();
                bytes[position] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                assert_eq!(Mark::from_text(&changed), None, "byte {position}, bit {bit}");
            }
        }
    }

    #[test]
    fn the_floor_only_rises() {
        let risen = mark(7).at_floor(Timestamp::from_micros(9));
        assert_eq!(risen.at_floor(Timestamp::from_micros(3)).floor(), Timestamp::from_micros(9));
    }

    #[test]
    fn a_damaged_mark_is_known_and_a_name_stays() {
        let place = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(Folder::open(place.path()).unwrap(), 1_000);
        assert_eq!(disk.read_mark().unwrap(), Stored::Missing);
        disk.write_mark(&mark(3)).unwrap();
        assert_eq!(disk.read_mark().unwrap(), Stored::Whole(mark(3)));
        std::fs::write(place.path().join("mark"), b"{}").unwrap();
        assert_eq!(disk.read_mark().unwrap(), Stored::Damaged);
        assert_eq!(disk.name("one").unwrap(), "one");
        assert_eq!(disk.name("two").unwrap(), "one");
    }
}
