//! Files at a path, read as one document.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use entitlements_core::document::{Document, DocumentError};

use crate::cli::Failure;

/// Reads a file, or of a folder every `*.toml` and `*.json` in it and in the folders below.
pub(super) fn read(path: &Path) -> Result<Document, Failure> {
    parse(path).and_then(|parsed| parsed.map_err(Failure::failed))
}

/// The same, with what cannot be understood apart from what cannot be read at all.
pub(super) fn parse(path: &Path) -> Result<Result<Document, DocumentError>, Failure> {
    let texts = texts(path)?;
    if texts.is_empty() {
        return Err(Failure::failed(format!(
            "`{}` holds no catalog: it has no `*.toml` or `*.json` file",
            path.display()
        )));
    }
    let files = texts.iter().map(|(path, text)| (path.to_string_lossy(), text));
    let files: Vec<_> = files.collect();
    Ok(Document::parse_all(files.iter().map(|(name, text)| (&**name, text.as_str()))))
}

/// The files at a path, by name, each with its text.
pub(super) fn texts(path: &Path) -> Result<Vec<(PathBuf, String)>, Failure> {
    let failed =
        |path: &Path, error: &io::Error| Failure::failed(format!("`{}`: {error}", path.display()));
    let mut files = Vec::new();
    if fs::metadata(path).map_err(|error| failed(path, &error))?.is_dir() {
        collect(path, &mut files).map_err(|(path, error)| failed(&path, &error))?;
        files.sort();
    } else {
        files.push(path.to_owned());
    }
    let with_text = |path: PathBuf| match fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(error) => Err(failed(&path, &error)),
    };
    files.into_iter().map(with_text).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    let at = |error| (folder.to_owned(), error);
    for entry in fs::read_dir(folder).map_err(at)? {
        let entry = entry.map_err(at)?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        // A link to a folder is not followed: it may lead back to where it stands.
        if entry.file_type().map_err(at)?.is_dir() {
            collect(&path, files)?;
        } else if is_document(&name) && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn is_document(name: &str) -> bool {
    let ends = |end: &str| name.to_ascii_lowercase().ends_with(end);
    // What an editor checks the files with stands beside them.
    ends(".toml") || (ends(".json") && !ends(".schema.json"))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn folder(files: &[&str]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn folders_below_count_and_what_is_no_document_does_not() {
        let folder = folder(&[
            "plans.toml",
            "b/tests.JSON",
            "a.toml",
            ".hidden.toml",
            ".git/x.toml",
            "entitlements.lock",
            "entitlements.schema.json",
            "README.md",
        ]);
        let found = texts(folder.path()).unwrap();
        let names: Vec<_> =
            found.iter().map(|(path, _)| path.strip_prefix(folder.path()).unwrap()).collect();
        assert_eq!(names, ["a.toml", "b/tests.JSON", "plans.toml"].map(Path::new));
    }

    #[test]
    fn a_folder_without_a_document_is_no_empty_catalog() {
        let folder = folder(&["README.md"]);
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("holds no catalog"), "{error}");
    }
}
