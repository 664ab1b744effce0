//! Files of a folder replaced together: all of them, or none.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// The folder in which files wait until all are written.
const STAGING: &str = ".entitlements-staging";

/// Writes files into a folder and removes others from it. What is the same already stays untouched.
///
/// Everything is on the disk before the first file is replaced, and a failure puts back what was
/// there before it.
pub(super) fn replace(
    folder: &Path,
    files: &[(&str, String)],
    gone: &[&str],
) -> io::Result<Replaced> {
    let differs = |(name, text): &&(&str, String)| {
        fs::read(folder.join(name)).map_or(true, |there| there != text.as_bytes())
    };
    let new: Vec<_> = files.iter().filter(differs).collect();
    let gone: Vec<_> = gone.iter().copied().filter(|name| folder.join(name).exists()).collect();
    let replaced = Replaced { written: new.len(), removed: gone.len() };
    if replaced == Replaced::default() {
        return Ok(replaced);
    }
    let staging = folder.join(STAGING);
    // A leftover is of a process that ended halfway.
    match fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let result = stage(folder, &staging, &new, &gone).and_then(|()| {
        let names: Vec<&str> = new.iter().map(|(name, _)| *name).collect();
        exchange(folder, &staging, &names, &gone)
    });
    // What cannot be cleared away now is cleared away by the next one.
    drop(fs::remove_dir_all(&staging));
    result.map(|()| replaced)
}

/// Writes what is to come, and copies what it will replace.
fn stage(folder: &Path, staging: &Path, new: &[&(&str, String)], gone: &[&str]) -> io::Result<()> {
    let (to_come, kept) = (staging.join("new"), staging.join("old"));
    fs::create_dir_all(&to_come)?;
    fs::create_dir(&kept)?;
    for (name, text) in new {
        let mut file = File::create(to_come.join(name))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
    }
    let names = new.iter().map(|(name, _)| name).chain(gone);
    for name in names.filter(|name| folder.join(name).is_file()) {
        fs::copy(folder.join(name), kept.join(name))?;
    }
    Ok(())
}

/// Moves what is to come into its place, or puts everything back.
fn exchange(folder: &Path, staging: &Path, new: &[&str], gone: &[&str]) -> io::Result<()> {
    let (to_come, kept) = (staging.join("new"), staging.join("old"));
    let named =
        |name: &str, error: io::Error| io::Error::new(error.kind(), format!("`{name}`: {error}"));
    let mut done: Vec<&str> = Vec::new();
    let put = |name: &str| fs::rename(to_come.join(name), folder.join(name));
    let remove = |name: &str| fs::remove_file(folder.join(name));
    let result = new
        .iter()
        .map(|name| (*name, put(name)))
        .chain(gone.iter().map(|name| (*name, remove(name))))
        .try_for_each(|(name, result)| {
            result.map_err(|error| named(name, error))?;
            done.push(name);
            Ok(())
        })
        .and_then(|()| File::open(folder)?.sync_all());
    if result.is_err() {
        for name in done {
            match kept.join(name) {
                old if old.exists() => fs::rename(old, folder.join(name))?,
                _ => fs::remove_file(folder.join(name))?,
            }
        }
    }
    result
}

/// How many files were touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Replaced {
    pub(super) written: usize,
    pub(super) removed: usize,
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn names(folder: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_written_removed_or_left_alone() {
        let folder = TempDir::new().unwrap();
        for name in ["same", "other", "gone", "foreign"] {
            fs::write(folder.path().join(name), "old").unwrap();
        }
        let files = [("same", "old".into()), ("other", "new".into()), ("more", "new".into())];
        let replaced = replace(folder.path(), &files, &["gone", "never"]).unwrap();
        assert_eq!(replaced, Replaced { written: 2, removed: 1 });
        assert_eq!(names(&folder), ["foreign", "more", "other", "same"]);
        assert_eq!(fs::read_to_string(folder.path().join("other")).unwrap(), "new");
        let again = replace(folder.path(), &files, &["gone"]).unwrap();
        assert_eq!(again, Replaced::default());
    }

    #[test]
    fn a_failure_leaves_everything_as_it_was() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("a"), "old").unwrap();
        fs::create_dir(folder.path().join("c")).unwrap();
        let files = [("a", "new".into()), ("b", "new".into()), ("c", "new".into())];
        let error = replace(folder.path(), &files, &[]).unwrap_err().to_string();
        assert!(error.starts_with("`c`: "), "{error}");
        assert_eq!(names(&folder), ["a", "c"]);
        assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "old");
    }

    #[test]
    fn what_a_process_left_behind_is_cleared_away() {
        let folder = TempDir::new().unwrap();
        fs::create_dir_all(folder.path().join(STAGING).join("new")).unwrap();
        replace(folder.path(), &[("a", "new".into())], &[]).unwrap();
        assert_eq!(names(&folder), ["a"]);
    }
}
