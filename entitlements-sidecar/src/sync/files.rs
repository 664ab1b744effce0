//! Files that a crash or a power cut leaves whole.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A few small files. What a call has said is done survives a power cut.
pub(crate) trait Files: fmt::Debug + Send {
    /// A file, no more than `most` bytes of it; absent where there is none.
    fn read(&self, name: &str, most: usize) -> io::Result<Option<Vec<u8>>>;

    /// Puts a file in the place of one before: a crash leaves the old one or the new one.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file to `length` bytes and adds some: a crash leaves all of them or a part.
    fn append(&mut self, name: &str, length: usize, bytes: &[u8]) -> io::Result<()>;

    /// Removes a file, where there is one.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// A folder of our own. While it is open no other sidecar can use it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens the folder, making it where there is none.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = private().create(true).truncate(false).open(path.join("lock"))?;
        lock.try_lock().map_err(|_| {
            io::Error::new(io::ErrorKind::ResourceBusy, "another sidecar is using it")
        })?;
        Ok(Self { path: path.into(), _lock: lock })
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Files for Folder {
    fn read(&self, name: &str, most: usize) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(most as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path.join(format!("{name}.tmp"));
        let mut file = private().create(true).truncate(true).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, self.path.join(name))?;
        self.sync()
    }

    fn append(&mut self, name: &str, length: usize, bytes: &[u8]) -> io::Result<()> {
        let mut file = private().open(self.path.join(name))?;
        file.set_len(length as u64)?;
        file.seek(SeekFrom::End(0))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.sync(),
        }
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

    #[test]
    fn files_are_replaced_whole_and_a_half_written_one_is_ignored() {
        let place = tempfile::tempdir().unwrap();
        let mut files = Folder::open(place.path()).unwrap();
        assert_eq!(files.read("a", 9).unwrap(), None);
        files.replace("a", b"one").unwrap();
        fs::write(place.path().join("a.tmp"), b"tw").unwrap();
        assert_eq!(files.read("a", 9).unwrap().unwrap(), b"one");
        files.replace("a", b"two").unwrap();
        assert_eq!(files.read("a", 9).unwrap().unwrap(), b"two");
        assert_eq!(files.read("a", 1).unwrap().unwrap(), b"tw", "one byte more than may be");
    }

    #[test]
    fn what_is_added_takes_the_place_of_a_torn_end() {
        let place = tempfile::tempdir().unwrap();
        let mut files = Folder::open(place.path()).unwrap();
        files.replace("a", b"whole").unwrap();
        files.append("a", 5, b" and more").unwrap();
        files.append("a", 5, b", new").unwrap();
        assert_eq!(files.read("a", 99).unwrap().unwrap(), b"whole, new");
        assert!(files.append("b", 0, b"x").is_err(), "there is nothing to add to");
        files.remove("a").unwrap();
        files.remove("a").unwrap();
        assert_eq!(files.read("a", 9).unwrap(), None);
    }

    #[test]
    fn two_sidecars_cannot_share_a_folder() {
        let place = tempfile::tempdir().unwrap();
        let first = Folder::open(place.path()).unwrap();
        assert!(Folder::open(place.path()).unwrap_err().to_string().contains("another sidecar"));
        drop(first);
        assert!(Folder::open(place.path()).is_ok());
    }
}
