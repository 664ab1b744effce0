//! One connection to a database, whichever it is: the little of SQL that both speak.

use std::fmt;

/// A value that goes into a statement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'v> {
    Null,
    Integer(i64),
    Text(&'v str),
    Bytes(&'v [u8]),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Self::Text(text)
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(text: &'v String) -> Self {
        Self::Text(text)
    }
}

impl<'v> From<&'v [u8; 32]> for Value<'v> {
    fn from(bytes: &'v [u8; 32]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(bytes: &'v [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'v, T: Into<Value<'v>>> From<Option<T>> for Value<'v> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The values of a statement, in the order of their numbers.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::session::Value::from($value)),*] };
}
pub(super) use values;

/// A value that came out of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Cell {
    /// The same, to go into another statement.
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Integer(number) => Value::Integer(*number),
            Self::Text(text) => Value::Text(text),
            Self::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

/// A row that came out of a statement. Its cells are taken one after the other.
#[derive(Debug)]
pub(super) struct Row {
    cells: std::vec::IntoIter<Cell>,
    number: usize,
}

/// Takes the cells of a row in their order.
impl Row {
    pub(super) fn new(cells: Vec<Cell>) -> Self {
        Self { cells: cells.into_iter(), number: 0 }
    }

    pub(super) fn into_cells(self) -> impl Iterator<Item = Cell> {
        self.cells
    }

    fn next(&mut self) -> Result<Cell, SqlError> {
        self.number += 1;
        self.cells.next().ok_or_else(|| self.odd("is not there"))
    }

    fn odd(&self, what: &str) -> SqlError {
        SqlError::Odd(format!("column {} {what}", self.number))
    }

    pub(super) fn integer(&mut self) -> Result<i64, SqlError> {
        self.maybe_integer()?.ok_or_else(|| self.odd("is empty"))
    }

    pub(super) fn maybe_integer(&mut self) -> Result<Option<i64>, SqlError> {
        match self.next()? {
            Cell::Null => Ok(None),
            Cell::Integer(number) => Ok(Some(number)),
            Cell::Text(_) | Cell::Bytes(_) => Err(self.odd("is no number")),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, SqlError> {
        self.maybe_text()?.ok_or_else(|| self.odd("is empty"))
    }

    pub(super) fn maybe_text(&mut self) -> Result<Option<String>, SqlError> {
        match self.next()? {
            Cell::Null => Ok(None),
            Cell::Text(text) => Ok(Some(text)),
            Cell::Integer(_) | Cell::Bytes(_) => Err(self.odd("is no text")),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, SqlError> {
        match self.next()? {
            Cell::Bytes(bytes) => Ok(bytes),
            Cell::Null | Cell::Integer(_) | Cell::Text(_) => Err(self.odd("is no bytes")),
        }
    }

    pub(super) fn hash(&mut self) -> Result<[u8; 32], SqlError> {
        self.bytes()?.try_into().map_err(|_| self.odd("is no hash of 32 bytes"))
    }
}

/// What a database said no to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// It cannot be reached or does not do it now.
    #[error("{0}")]
    Unavailable(String),
    /// Its disk failed, or its file is damaged.
    #[error("{0}")]
    Broken(String),
    /// It holds what this version did not write.
    #[error("{0}")]
    Odd(String),
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Reads, all of it at one revision.
    Read,
    /// Writes, alone.
    Write,
}

/// One connection.
pub(super) trait Session: Send + fmt::Debug {
    /// Runs a statement that gives no rows, and says how many it changed.
    fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, SqlError>;

    /// Runs a statement and hands over its rows, one by one, until one is refused.
    fn each(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
        row: &mut dyn FnMut(Row) -> Result<(), SqlError>,
    ) -> Result<(), SqlError>;

    /// Runs several statements without values.
    fn batch(&mut self, sql: &str) -> Result<(), SqlError>;

    /// Starts a transaction.
    fn begin(&mut self, mode: Mode) -> Result<(), SqlError>;

    /// Tells other processes on the same database that something is about to be committed.
    fn announce(&mut self) -> Result<(), SqlError>;

    /// Whether the connection is lost. Another one must be made.
    fn is_closed(&self) -> bool;

    /// The steps of the schema that only this kind of database has are under this name.
    fn dialect(&self) -> Dialect;
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// What every session can do beside.
impl dyn Session + '_ {
    /// All rows, read one by one.
    pub(super) fn all<T>(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
        mut read: impl FnMut(&mut Row) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, SqlError> {
        let mut all = Vec::new();
        self.each(sql, values, &mut |mut row| {
            all.push(read(&mut row)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// The first row, where there is one.
    pub(super) fn first<T>(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
        read: impl FnMut(&mut Row) -> Result<T, SqlError>,
    ) -> Result<Option<T>, SqlError> {
        Ok(self.all(sql, values, read)?.into_iter().next())
    }

    pub(super) fn commit(&mut self) -> Result<(), SqlError> {
        self.batch("COMMIT")
    }

    /// Gives up what was not committed. Where that fails too there is nothing to give up.
    pub(super) fn roll_back(&mut self) {
        if let Err(error) = self.batch("ROLLBACK") {
            tracing::debug!(%error, "nothing to roll back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_which_column_is_odd() {
        let mut row = Row::new(vec![Cell::Integer(1), Cell::Null, Cell::Bytes(vec![1])]);
        assert_eq!(row.integer(), Ok(1));
        assert_eq!(row.text(), Err(SqlError::Odd("column 2 is empty".into())));
        assert_eq!(row.hash(), Err(SqlError::Odd("column 3 is no hash of 32 bytes".into())));
        assert_eq!(row.maybe_text(), Err(SqlError::Odd("column 4 is not there".into())));
    }
}
