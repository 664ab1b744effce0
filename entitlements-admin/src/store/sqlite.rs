//! The embedded database: one file, one writer.

use std::{fmt, path::Path, time::Duration};

use rusqlite::{
    Connection, OpenFlags, ToSql,
    types::{ToSqlOutput, ValueRef},
};

use super::session::{Cell, Dialect, Mode, Row, Session, SqlError, Value};

/// How long to wait for another process, such as a backup, to let go of the file.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);

/// How many prepared statements a connection keeps: all that there are.
const STATEMENTS_MAX: usize = 128;

/// A connection to a file.
pub(super) struct Sqlite(Connection);

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sqlite({})", self.0.path().unwrap_or("memory"))
    }
}

impl Sqlite {
    /// Opens or makes the file, to write.
    ///
    /// `FULL`: a commit that was answered must survive a power cut.
    pub(super) fn open(path: &Path) -> Result<Self, SqlError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(Self(connection))
    }

    /// Opens the file to read.
    pub(super) fn open_to_read(path: &Path) -> Result<Self, SqlError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        Ok(Self(connection))
    }

    #[cfg(test)]
    pub(super) fn in_memory() -> Self {
        Self(Connection::open_in_memory().unwrap())
    }
}

impl Session for Sqlite {
    fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, SqlError> {
        let mut statement = self.0.prepare_cached(sql)?;
        Ok(statement.execute(rusqlite::params_from_iter(values))? as u64)
    }

    fn each(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
        row: &mut dyn FnMut(Row) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let mut statement = self.0.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        while let Some(found) = rows.next()? {
            let cells = (0..columns).map(|column| Ok(cell(found.get_ref(column)?)));
            row(Row::new(cells.collect::<Result<_, SqlError>>()?))?;
        }
        Ok(())
    }

    fn batch(&mut self, sql: &str) -> Result<(), SqlError> {
        Ok(self.0.execute_batch(sql)?)
    }

    fn begin(&mut self, mode: Mode) -> Result<(), SqlError> {
        self.batch(match mode {
            Mode::Read => "BEGIN",
            Mode::Write => "BEGIN IMMEDIATE",
        })
    }

    fn announce(&mut self) -> Result<(), SqlError> {
        Ok(())
    }

    fn is_closed(&self) -> bool {
        false
    }

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        // No column holds any; cut off, it is no number that was written either.
        ValueRef::Real(number) => Cell::Text(number.to_string()),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.into()),
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, SystemIoFailure};
        match error.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase | SystemIoFailure) => {
                Self::Broken(error.to_string())
            }
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
