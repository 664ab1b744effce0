//! The last good snapshots on disk, and the mark that says how far this sidecar has come.
//!
//! Every file is replaced as a whole: temporary file, fsync, rename, fsync of the folder. A crash at
//! any instant leaves the old file or the new one, never half of one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use entitlements_core::{Revision, Timestamp, signed::ENVELOPE_BYTES_MAX};

use super::machine::Basis;

/// One of the two places for a snapshot.
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
    /// The newest snapshot that was taken.
    pub(crate) high: Option<High>,
    /// In microseconds: how late it has been.
    floor: i64,
}

/// The newest snapshot that was taken.
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

/// The folder. While it is open no other sidecar can use it.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    _lock: File,
}

impl Disk {
    /// Opens the folder, making it where there is none.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = private().create(true).truncate(false).open(folder.join("lock"))?;
        lock.try_lock().map_err(|_| {
            io::Error::new(io::ErrorKind::ResourceBusy, "another sidecar is using it")
        })?;
        Ok(Self { folder: folder.into(), _lock: lock })
    }

    pub(crate) fn read_mark(&self) -> io::Result<Stored> {
        let Some(bytes) = self.read("mark")? else { return Ok(Stored::Missing) };
        let mark = std::str::from_utf8(&bytes).ok().and_then(Mark::from_text);
        Ok(mark.map_or(Stored::Damaged, Stored::Whole))
    }

    pub(crate) fn write_mark(&self, mark: &Mark) -> io::Result<()> {
        self.replace("mark", mark.to_text()?.as_bytes())
    }

    pub(crate) fn read_keys(&self) -> io::Result<Option<Vec<u8>>> {
        self.read("keys")
    }

    pub(crate) fn write_keys(&self, envelope: &[u8]) -> io::Result<()> {
        self.replace("keys", envelope)
    }

    pub(crate) fn read_snapshot(&self, slot: Slot) -> io::Result<Option<Vec<u8>>> {
        self.read(slot.file())
    }

    pub(crate) fn write_snapshot(&self, slot: Slot, envelope: &[u8]) -> io::Result<()> {
        self.replace(slot.file(), envelope)
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(ENVELOPE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.folder.join(format!("{name}.tmp"));
        let mut file = private().create(true).truncate(true).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, self.folder.join(name))?;
        File::open(&self.folder)?.sync_all()
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn files_are_replaced_whole_and_a_half_written_one_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        assert_eq!(disk.read_mark().unwrap(), Stored::Missing);
        disk.write_snapshot(Slot::A, b"one").unwrap();
        fs::write(folder.path().join("snapshot.a.tmp"), b"tw").unwrap();
        assert_eq!(disk.read_snapshot(Slot::A).unwrap().unwrap(), b"one");
        disk.write_snapshot(Slot::A, b"two").unwrap();
        assert_eq!(disk.read_snapshot(Slot::A).unwrap().unwrap(), b"two");
        assert_eq!(disk.read_snapshot(Slot::B).unwrap(), None);
        disk.write_mark(&mark(3)).unwrap();
        fs::write(folder.path().join("mark"), b"{}").unwrap();
        assert_eq!(disk.read_mark().unwrap(), Stored::Damaged);
    }

    #[test]
    fn two_sidecars_cannot_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = Disk::open(folder.path()).unwrap();
        assert!(Disk::open(folder.path()).unwrap_err().to_string().contains("another sidecar"));
        drop(first);
        assert!(Disk::open(folder.path()).is_ok());
    }
}
