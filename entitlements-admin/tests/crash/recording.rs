//! What a program did to the files of a folder, and what a disk may hold of it after a power cut.
//!
//! `recorder.c` writes it down. A power cut keeps what was synced before it. Of the rest, the disk
//! may hold all, nothing, some, or pieces of 512 bytes. Names in a folder come and go in order, and
//! are sure once the folder was synced.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    mem,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use crate::random::Random;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Create { file: u64, mode: u32, path: String },
    Write { file: u64, offset: usize, bytes: Vec<u8> },
    Truncate { file: u64, length: usize },
    Sync { file: u64 },
    SyncFolder { path: String },
    Unlink { path: String },
    Rename { from: String, to: String },
    MakeFolder { path: String },
}

/// A recording, with the length that the log had after each operation.
pub(crate) struct Recording {
    pub(crate) ops: Vec<Op>,
    ends: Vec<u64>,
}

impl Recording {
    pub(crate) fn read(log: &[u8]) -> Self {
        let (mut ops, mut ends, mut rest) = (Vec::new(), Vec::new(), log);
        while !rest.is_empty() {
            let (op, after) = record(rest).expect("the log ends between two records");
            rest = after;
            ops.push(op);
            ends.push((log.len() - rest.len()) as u64);
        }
        Self { ops, ends }
    }

    /// How many operations had been done when the log had this length.
    pub(crate) fn done_at(&self, length: u64) -> usize {
        self.ends.partition_point(|end| *end <= length)
    }
}

fn record(log: &[u8]) -> Option<(Op, &[u8])> {
    let (file, rest) = log.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (code, rest) = rest.split_first_chunk()?;
    let (file, number) = (u64::from_ne_bytes(*file), u64::from_ne_bytes(*number));
    let (text, rest) = rest.split_at_checked(u32::from_ne_bytes(*length) as usize)?;
    let path = || String::from_utf8(text.to_vec()).expect("paths are text");
    let op = match char::from_u32(u32::from_ne_bytes(*code))? {
        'c' => Op::Create { file, mode: number as u32, path: path() },
        'w' => Op::Write { file, offset: number as usize, bytes: text.to_vec() },
        't' => Op::Truncate { file, length: number as usize },
        's' => Op::Sync { file },
        'd' => Op::SyncFolder { path: path() },
        'u' => Op::Unlink { path: path() },
        'm' => Op::MakeFolder { path: path() },
        'r' => {
            let both = path();
            let (from, to) = both.split_once('\n')?;
            Op::Rename { from: from.into(), to: to.into() }
        }
        _ => return None,
    };
    Some((op, rest))
}

/// The operations that `SQLite` would leave out if it were told `synchronous=NORMAL`: its log is
/// then synced when it begins anew and before a checkpoint, but not when a transaction commits.
pub(crate) fn commit_syncs(ops: &[Op]) -> BTreeSet<usize> {
    /// The log's header, which is written and synced by itself.
    const HEADER: usize = 32;
    let (mut log, mut commits, mut found) = (None, false, BTreeSet::new());
    for (place, op) in ops.iter().enumerate() {
        match op {
            Op::Create { file, path, .. } if path.ends_with("-wal") => {
                (log, commits) = (Some(*file), false);
            }
            // The number of a file that is gone may be given to another.
            Op::Create { file, .. } if log == Some(*file) => log = None,
            Op::Write { file, offset, bytes } if log == Some(*file) => {
                commits |= *offset != 0 || bytes.len() != HEADER;
            }
            Op::Sync { file } if log == Some(*file) && mem::take(&mut commits) => {
                found.insert(place);
            }
            _ => {}
        }
    }
    found
}

/// What the disk makes of what was not synced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Nothing,
    All,
    Some,
    Torn,
}

impl Fate {
    pub(crate) const EACH: [Self; 4] = [Self::Nothing, Self::All, Self::Some, Self::Torn];
}

/// A disk: what it surely holds, and what it was told since.
#[derive(Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    /// Which file has this number at present.
    numbers: BTreeMap<u64, usize>,
    /// The names that now apply, and those that are sure.
    names: BTreeMap<String, Entry>,
    sure_names: BTreeMap<String, Entry>,
    /// Changes of names since their folder was synced.
    renames: BTreeMap<String, Vec<NameChange>>,
}

#[derive(Default)]
struct File {
    mode: u32,
    sure: Vec<u8>,
    /// Writes and truncations since the last sync.
    unsure: Vec<Op>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    File(usize),
    Folder,
}

#[derive(Debug, Clone)]
enum NameChange {
    Put(String, Entry),
    Remove(String),
    Move(String, String),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, Entry>) {
        match self {
            Self::Put(name, entry) => drop(names.insert(name.clone(), *entry)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Move(from, to) => {
                if let Some(entry) = names.remove(from) {
                    names.insert(to.clone(), entry);
                }
            }
        }
    }
}

impl Disk {
    pub(crate) fn run(&mut self, op: &Op) {
        match op {
            Op::Create { file, mode, path } => {
                self.numbers.insert(*file, self.files.len());
                let entry = Entry::File(self.files.len());
                self.files.push(File { mode: *mode, ..File::default() });
                self.name(path, NameChange::Put(path.clone(), entry));
            }
            Op::MakeFolder { path } => {
                self.name(path, NameChange::Put(path.clone(), Entry::Folder))
            }
            Op::Unlink { path } => self.name(path, NameChange::Remove(path.clone())),
            Op::Rename { from, to } => self.name(to, NameChange::Move(from.clone(), to.clone())),
            Op::Write { file, .. } | Op::Truncate { file, .. } => {
                self.file(*file).unsure.push(op.clone());
            }
            Op::Sync { file } => self.file(*file).sync(),
            Op::SyncFolder { path } => {
                for change in self.renames.remove(path).unwrap_or_default() {
                    change.apply(&mut self.sure_names);
                }
            }
        }
    }

    fn file(&mut self, number: u64) -> &mut File {
        let place = self.numbers.get(&number).expect("the file was seen when it was made");
        &mut self.files[*place]
    }

    fn name(&mut self, path: &str, change: NameChange) {
        change.apply(&mut self.names);
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.renames.entry(folder.into()).or_default().push(change);
    }

    /// What the disk holds when the power is cut now.
    pub(crate) fn cut(&self, fate: Fate, random: &mut Random) -> Image {
        let mut names = self.sure_names.clone();
        for changes in self.renames.values() {
            let kept = match fate {
                Fate::Nothing => 0,
                Fate::All => changes.len(),
                Fate::Some | Fate::Torn => random.below(changes.len() + 1),
            };
            changes[..kept].iter().for_each(|change| change.apply(&mut names));
        }
        self.image(&names, fate, random)
    }

    /// What the folder looks like while the power stays on.
    pub(crate) fn now(&self) -> Image {
        self.image(&self.names, Fate::All, &mut Random(0))
    }

    fn image(&self, names: &BTreeMap<String, Entry>, fate: Fate, random: &mut Random) -> Image {
        let mut content = |entry: &Entry| match entry {
            Entry::Folder => None,
            Entry::File(place) => {
                let file = &self.files[*place];
                Some((file.mode, file.cut(fate, random)))
            }
        };
        Image(names.iter().map(|(name, entry)| (name.clone(), content(entry))).collect())
    }
}

impl File {
    fn sync(&mut self) {
        for op in self.unsure.drain(..) {
            apply(&op, &mut self.sure, |_| true);
        }
    }

    fn cut(&self, fate: Fate, random: &mut Random) -> Vec<u8> {
        let mut content = self.sure.clone();
        for op in &self.unsure {
            match fate {
                Fate::Nothing => {}
                Fate::All => apply(op, &mut content, |_| true),
                Fate::Some => {
                    let kept = random.coin();
                    apply(op, &mut content, |_| kept);
                }
                Fate::Torn => apply(op, &mut content, |_| random.coin()),
            }
        }
        content
    }
}

/// Does a write or a truncation, as far as the sectors that it touches are `kept`.
fn apply(op: &Op, content: &mut Vec<u8>, mut kept: impl FnMut(usize) -> bool) {
    match op {
        Op::Write { offset, bytes, .. } => {
            let end = offset + bytes.len();
            let mut at = *offset;
            while at < end {
                let until = end.min((at / SECTOR + 1) * SECTOR);
                if kept(at / SECTOR) {
                    content.resize(content.len().max(until), 0);
                    content[at..until].copy_from_slice(&bytes[at - offset..until - offset]);
                }
                at = until;
            }
        }
        Op::Truncate { length, .. } if kept(0) => content.resize(*length, 0),
        _ => {}
    }
}

/// Files and folders by their path: folders have no content, files a mode and bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Image(pub(crate) BTreeMap<String, Option<(u32, Vec<u8>)>>);

impl Image {
    /// Reads what lies in a folder, but for the memory that `SQLite` shares between processes.
    pub(crate) fn of(folder: &Path) -> Self {
        let mut found = BTreeMap::new();
        collect(folder, "", &mut found);
        Self(found)
    }

    /// Writes it into an empty folder. What lies in a folder that was lost is lost.
    pub(crate) fn write(&self, folder: &Path) {
        for (name, content) in &self.0 {
            let path = folder.join(name);
            if !path.parent().is_some_and(Path::is_dir) {
                continue;
            }
            match content {
                None => fs::DirBuilder::new().mode(0o700).create(path).unwrap(),
                Some((mode, bytes)) => {
                    let mut options = fs::File::options();
                    let mut file =
                        options.write(true).create_new(true).mode(*mode).open(path).unwrap();
                    file.write_all(bytes).unwrap();
                }
            }
        }
    }
}

fn collect(folder: &Path, below: &str, found: &mut BTreeMap<String, Option<(u32, Vec<u8>)>>) {
    use std::os::unix::fs::PermissionsExt;
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        if name.ends_with("-shm") {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{name}/"), found);
            found.insert(name, None);
        } else {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            found.insert(name, Some((mode, fs::read(entry.path()).unwrap())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: usize, bytes: &[u8]) -> Op {
        Op::Write { file: 1, offset, bytes: bytes.into() }
    }

    fn create(path: &str) -> Op {
        Op::Create { file: 1, mode: 0o600, path: path.into() }
    }

    fn root() -> Op {
        Op::SyncFolder { path: String::new() }
    }

    fn cut(ops: &[Op], fate: Fate, seed: u64) -> Vec<(String, Vec<u8>)> {
        let mut disk = Disk::default();
        ops.iter().for_each(|op| disk.run(op));
        let Image(entries) = disk.cut(fate, &mut Random(seed));
        entries.into_iter().map(|(name, content)| (name, content.unwrap().1)).collect()
    }

    #[test]
    fn what_was_synced_stays_and_the_rest_has_its_fate() {
        let ops =
            [create("a"), root(), write(0, b"sure"), Op::Sync { file: 1 }, write(0, b"perhaps")];
        let holds = |text: &[u8]| vec![("a".to_owned(), text.to_vec())];
        assert_eq!(cut(&ops, Fate::Nothing, 0), holds(b"sure"));
        assert_eq!(cut(&ops, Fate::All, 0), holds(b"perhaps"));
        let some: BTreeSet<_> = (0..20).map(|seed| cut(&ops, Fate::Some, seed)).collect();
        assert_eq!(some, [holds(b"sure"), holds(b"perhaps")].into());
    }

    #[test]
    fn a_torn_write_comes_in_whole_sectors() {
        let ops = [create("a"), root(), write(100, &[1; 3 * SECTOR])];
        let torn: BTreeSet<_> = (0..200).map(|seed| cut(&ops, Fate::Torn, seed)).collect();
        // From byte 100 on, the write touches four sectors, each of which may be there or not.
        assert_eq!(torn.len(), 1 << 4);
        for found in torn {
            let content = &found[0].1;
            assert!(content.iter().take(100).all(|byte| *byte == 0));
            let rest = content.get(100..).unwrap_or_default();
            let parts = [&rest[..rest.len().min(SECTOR - 100)]]
                .into_iter()
                .chain(rest.get(SECTOR - 100..).unwrap_or_default().chunks(SECTOR));
            parts.for_each(|part| assert!(part.iter().all(|byte| *byte == part[0])));
        }
    }

    #[test]
    fn names_come_and_go_in_order_and_are_sure_once_their_folder_was_synced() {
        let renamed = Op::Rename { from: "a".into(), to: "b".into() };
        let ops = [create("a"), root(), renamed, Op::Unlink { path: "b".into() }];
        let names = |ops: &[Op], fate, seed| -> Vec<String> {
            cut(ops, fate, seed).into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(&ops[..1], Fate::Nothing, 0), [""; 0]);
        assert_eq!(names(&ops, Fate::Nothing, 0), ["a"]);
        assert_eq!(names(&ops, Fate::All, 0), [""; 0]);
        let some: BTreeSet<_> = (0..50).map(|seed| names(&ops, Fate::Some, seed)).collect();
        assert_eq!(some, [vec!["a".into()], vec!["b".into()], vec![]].into());
    }

    #[test]
    fn only_the_syncs_of_commits_are_left_out() {
        let sync = || Op::Sync { file: 1 };
        let (header, frame) = (write(0, &[0; 32]), write(32, &[0; 24]));
        let ops = [create("a-wal"), header, sync(), frame.clone(), sync(), sync(), frame, sync()];
        assert_eq!(commit_syncs(&ops), [4, 7].into());
        let other = [&ops[..], &[create("a.db"), write(8, b"page"), sync()]].concat();
        assert_eq!(commit_syncs(&other), [4, 7].into());
    }
}
