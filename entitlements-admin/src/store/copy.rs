//! Whole stores: a backup of a running one, its way back, and the move to a shared database.

use std::{fs, io, path::Path};

use entitlements_core::Timestamp;

use super::{
    Database, OpenError, SqlError, migrate,
    session::{Cell, Mode, Row, Session, Value, values},
    sql,
    sqlite::Sqlite,
};

/// Why a store was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A database failed.
    #[error("{0}")]
    Sql(#[from] SqlError),
    /// There is something at the place that would be written.
    #[error("`{0}` exists already: name another place, or remove it first")]
    Exists(String),
    /// The target has data in it.
    #[error("the target holds data already, up to revision {0}: copy into an empty database")]
    NotEmpty(i64),
    /// A file cannot be read or written.
    #[error("`{path}`: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: io::Error,
    },
}

/// Writes a consistent copy of a file while it is in use.
///
/// # Errors
/// Where the file cannot be read or the copy cannot be written.
pub fn back_up(from: &Path, to: &Path) -> Result<(), CopyError> {
    if to.exists() {
        return Err(CopyError::Exists(to.display().to_string()));
    }
    let mut session = Sqlite::open_to_read(from)?;
    let copied = session.execute(sql::VACUUM_INTO, values![to.to_string_lossy().as_ref()]);
    copied?;
    let synced = fs::File::open(to).and_then(|file| file.sync_all());
    synced.map_err(|why| CopyError::File { path: to.display().to_string(), why })
}

/// Puts a backup in the place of a store that nobody uses, and raises its epoch above that of both,
/// so that sidecars take what it says for new. Says which epoch that is.
///
/// # Errors
/// Where the backup is none of this version's, or a file cannot be written.
pub fn restore(from: &Path, to: &Path, at: Timestamp) -> Result<u64, CopyError> {
    let file = |path: &Path, why| CopyError::File { path: path.display().to_string(), why };
    let replaced = if to.exists() { epoch(&mut Sqlite::open(to)?)? } else { 0 };
    let draft = to.with_extension("restoring");
    fs::copy(from, &draft).map_err(|why| file(from, why))?;
    let raised = {
        let mut session = Sqlite::open(&draft)?;
        migrate::migrate(&mut session, at).map_err(OpenError::from)?;
        let raised = epoch(&mut session)?.max(replaced) + 1;
        session.execute(sql::COUNTER_PUT, values!["epoch", raised])?;
        raised
    };
    fs::rename(&draft, to).map_err(|why| file(to, why))?;
    for end in ["-wal", "-shm"] {
        let beside = to.with_file_name(format!(
            "{}{end}",
            to.file_name().unwrap_or_default().to_string_lossy()
        ));
        match fs::remove_file(&beside) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(file(&beside, why)),
            _ => {}
        }
    }
    let folder = to.parent().unwrap_or(Path::new("."));
    let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|why| file(folder, why))?;
    Ok(raised.unsigned_abs())
}

fn epoch(session: &mut dyn Session) -> Result<i64, SqlError> {
    let epoch = session.first(sql::COUNTER_GET, values!["epoch"], Row::integer)?;
    epoch.ok_or_else(|| SqlError::Odd("there is no epoch in it".into()))
}

/// Copies a whole store into an empty one, in one transaction. Says how many rows.
///
/// # Errors
/// Where the target is not empty, or a database fails.
pub fn copy(from: &Database, to: &Database, at: Timestamp) -> Result<u64, CopyError> {
    let (mut source, mut target) = (from.open()?, to.open()?);
    for session in [&mut source, &mut target] {
        migrate::migrate(&mut **session, at).map_err(OpenError::from)?;
    }
    source.begin(Mode::Read)?;
    target.begin(Mode::Write)?;
    let drawn = target.first(sql::COUNTER_GET, values!["revision"], Row::integer)?;
    if let Some(drawn) = drawn.filter(|drawn| *drawn > 0) {
        target.roll_back();
        return Err(CopyError::NotEmpty(drawn));
    }
    // What a new store starts with.
    target.batch("DELETE FROM meta; DELETE FROM counter")?;
    let mut rows = 0;
    for table in sql::TABLES {
        source.each(table.select, &[], &mut |row| {
            rows += 1;
            let cells: Vec<Cell> = row.into_cells().collect();
            let values: Vec<Value<'_>> = cells.iter().map(Cell::value).collect();
            target.execute(table.insert, &values).map(drop)
        })?;
    }
    target.announce()?;
    target.commit()?;
    Ok(rows)
}
