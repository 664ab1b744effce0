//! `catalog export`: a catalog written as files.

use std::{fs, path::Path};

use entitlements_admin::{Config, app::App, config::DATABASE_FILE};
use entitlements_core::{
    Draft,
    document::{Document, FILE_NAMES},
};

use super::{
    folder,
    lock::{LOCK_FILE, Lock, Seen},
    remote::{Live, Remote},
    show,
    write::{self, Replaced},
};
use crate::{
    cli::{ExportArguments, Failure},
    tools,
};

/// Runs the command.
pub(super) fn run(arguments: &ExportArguments) -> Result<(), Failure> {
    let folder = &arguments.folder;
    let live = if Remote::is_url(&arguments.from) {
        Remote::new(&arguments.from, &arguments.key)?.live()?
    } else {
        stored(Path::new(&arguments.from), &arguments.environment)?
    };
    fs::create_dir_all(folder)
        .map_err(|error| Failure::failed(format!("`{}`: {error}", folder.display())))?;
    let lock = Lock::read(folder)?;
    if !arguments.force {
        must_shadow_nothing(folder, lock.is_some())?;
    }
    let files = live.catalog.to_files().map_err(Failure::failed)?;
    let mut texts: Vec<_> = files.into_iter().map(|file| (file.name, file.text)).collect();
    let is_in = |name: &&str| texts.iter().any(|(written, _)| written == name);
    let gone: Vec<_> = FILE_NAMES.into_iter().filter(|name| !is_in(name)).collect();
    let seen = Seen { revision: live.revision, hash: live.hash.to_string(), submitted: None };
    let lock = lock.unwrap_or_default().with(&live.environment, seen);
    // The last one: where it stands, everything before it does.
    texts.push((LOCK_FILE, lock.text()?));
    let replaced = write::replace(folder, &texts, &gone)
        .map_err(|error| Failure::failed(format!("`{}`: {error}", folder.display())))?;
    println!("{}: {}", folder.display(), summary(replaced, live.revision));
    Ok(())
}

fn summary(Replaced { written, removed }: Replaced, revision: u64) -> String {
    if (written, removed) == (0, 0) {
        return format!("nothing to do, it is the catalog of revision {revision}");
    }
    let written = show::count(written, "file", "files");
    format!("the catalog of revision {revision}; {written} written, {removed} removed")
}

/// The catalog in a data folder.
fn stored(data: &Path, environment: &str) -> Result<Live, Failure> {
    // Opening a folder that is none would make it one.
    if !data.join(DATABASE_FILE).is_file() {
        return Err(Failure::failed(format!(
            "`{}` is no data folder: it has no `{DATABASE_FILE}`; give one, or the address of a \
             control plane",
            data.display()
        )));
    }
    let (data, environment) = (data.to_owned(), environment.to_owned());
    let config = Config { data, environment: environment.clone(), ..Config::default() };
    let read = async |app: App| {
        let revision = app.catalog_revision().map_or(0, |revision| revision.0);
        Ok((app.pin().catalog().draft().clone(), revision))
    };
    let (catalog, revision) = tools::with_app(&config, read)?;
    let hash = catalog.content_hash().map_err(Failure::failed)?;
    Ok(Live { environment, revision, catalog, hash })
}

/// Refuses where files would be lost, or where objects would stand twice afterwards.
fn must_shadow_nothing(folder: &Path, was_exported: bool) -> Result<(), Failure> {
    let mut shadowed = Vec::new();
    for (path, text) in folder::texts(folder)? {
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
        let is_ours = FILE_NAMES.contains(&&*name);
        let why = match Document::parse(&name, &text) {
            _ if is_ours && !was_exported => "no export wrote it",
            Ok(file) if is_ours && !(file.tenants.is_empty() && file.expect.is_empty()) => {
                "its tenants or expectations would be lost: move them to another file"
            }
            Ok(file) if !is_ours && file.catalog != Draft::default() => {
                "its objects of the catalog would stand twice"
            }
            Err(_) if !is_ours => "it cannot be read, so it may hold a part of the catalog",
            _ => continue,
        };
        shadowed.push(format!("\n  {name}: {why}"));
    }
    if shadowed.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "`{}` holds files that are in the way; export into an empty folder, or write all the same \
         with `--force`:{}",
        folder.display(),
        shadowed.concat()
    )))
}
