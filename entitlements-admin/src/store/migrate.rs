//! Brings a database to the schema of this binary.
//!
//! Each step is applied once, in its own transaction, and remembered with a checksum. A database
//! that has a step this binary does not know, or another text for one it knows, is refused.

use entitlements_core::Timestamp;
use rusqlite::{Connection, params};

use super::sql;

/// One step.
struct Migration {
    number: i64,
    name: &'static str,
    text: &'static str,
}

const MIGRATIONS: &[Migration] =
    &[Migration { number: 1, name: "init", text: include_str!("../../migrations/0001_init.sql") }];

/// Why a database could not be brought to this binary's schema.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// It was written by a newer version.
    #[error(
        "the database has schema {found} `{name}`, this version knows up to {known}: \
         start the newer version that wrote it"
    )]
    Newer {
        /// The step that is not known.
        found: i64,
        /// Its name.
        name: String,
        /// The last step that is.
        known: i64,
    },
    /// A step that was applied is not the one that this binary has.
    #[error(
        "schema {number} `{name}` in the database is not the one of this version: \
         it was made by another build, or its record was edited"
    )]
    Edited {
        /// The step.
        number: i64,
        /// Its name.
        name: String,
    },
    /// The database itself failed.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Applies what is missing.
pub(super) fn migrate(connection: &mut Connection, at: Timestamp) -> Result<(), MigrateError> {
    connection.execute_batch(sql::MIGRATION_TABLE)?;
    let applied = applied(connection)?;
    let known = MIGRATIONS.last().map_or(0, |migration| migration.number);
    for (number, name, checksum) in &applied {
        let Some(migration) = MIGRATIONS.iter().find(|migration| migration.number == *number)
        else {
            return Err(MigrateError::Newer { found: *number, name: name.clone(), known });
        };
        if migration.name != name || self::checksum(migration.text) != *checksum {
            return Err(MigrateError::Edited { number: *number, name: name.clone() });
        }
    }
    for migration in MIGRATIONS.iter().filter(|m| !applied.iter().any(|row| row.0 == m.number)) {
        apply(connection, migration, at)?;
    }
    Ok(())
}

fn applied(connection: &Connection) -> rusqlite::Result<Vec<(i64, String, String)>> {
    let mut statement = connection.prepare(sql::MIGRATION_ALL)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

fn apply(
    connection: &mut Connection,
    migration: &Migration,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(migration.text)?;
    transaction.execute(
        sql::MIGRATION_PUT,
        params![migration.number, migration.name, checksum(migration.text), at.as_micros()],
    )?;
    transaction.commit()
}

fn checksum(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrated() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, Timestamp::from_micros(0)).unwrap();
        connection
    }

    #[test]
    fn a_second_run_changes_nothing() {
        let mut connection = migrated();
        migrate(&mut connection, Timestamp::from_micros(1)).unwrap();
        assert_eq!(applied(&connection).unwrap().len(), MIGRATIONS.len());
    }

    #[test]
    fn a_newer_database_is_refused_by_name() {
        let mut connection = migrated();
        connection.execute("INSERT INTO migration VALUES (99, 'later', 'x', 0)", []).unwrap();
        let error = migrate(&mut connection, Timestamp::from_micros(1)).unwrap_err().to_string();
        assert!(error.contains("schema 99 `later`"), "{error}");
    }

    #[test]
    fn an_edited_step_is_refused() {
        let mut connection = migrated();
        connection.execute("UPDATE migration SET checksum = 'x' WHERE number = 1", []).unwrap();
        let error = migrate(&mut connection, Timestamp::from_micros(1)).unwrap_err();
        assert!(matches!(error, MigrateError::Edited { number: 1, .. }), "{error}");
    }

    #[test]
    fn numbers_are_consecutive() {
        let numbers: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.number).collect();
        assert_eq!(numbers, (1..=i64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
    }
}
