//! Brings a database to the schema of this binary.
//!
//! Each step is applied once, in its own transaction, and remembered with a checksum. A database
//! that has a step this binary does not know, or another text for one it knows, is refused.

use entitlements_core::Timestamp;

use super::{
    session::{Dialect, Mode, Session, SqlError, values},
    sql,
};

/// One step: what both databases take, and what only one of them does.
struct Migration {
    number: i64,
    name: &'static str,
    text: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        number: 1,
        name: "init",
        text: include_str!("../../migrations/0001_init.sql"),
        sqlite: include_str!("../../migrations/0001_init.sqlite.sql"),
        postgres: include_str!("../../migrations/0001_init.postgres.sql"),
    },
    Migration {
        number: 2,
        name: "fleet",
        text: include_str!("../../migrations/0002_fleet.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        number: 3,
        name: "outbox",
        text: include_str!("../../migrations/0003_outbox.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        number: 4,
        name: "requests",
        text: include_str!("../../migrations/0004_requests.sql"),
        sqlite: "",
        postgres: "",
    },
];

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
    Sql(#[from] SqlError),
}

/// Applies what is missing, and says how many steps that were.
///
/// All of it is one transaction, and on `PostgreSQL` only one process at a time gets to it.
pub(super) fn migrate(session: &mut dyn Session, at: Timestamp) -> Result<usize, MigrateError> {
    session.begin(Mode::Write)?;
    let applied = apply_missing(session, at);
    match applied {
        Ok(count) => {
            session.commit()?;
            Ok(count)
        }
        Err(error) => {
            session.roll_back();
            Err(error)
        }
    }
}

/// Any number does, as long as nothing else in the database uses it.
const ALONE: &str = "SELECT pg_advisory_xact_lock(7400)";

fn apply_missing(session: &mut dyn Session, at: Timestamp) -> Result<usize, MigrateError> {
    if session.dialect() == Dialect::Postgres {
        session.batch(ALONE)?;
    }
    session.batch(sql::MIGRATION_TABLE)?;
    let applied = applied(session)?;
    let known = MIGRATIONS.last().map_or(0, |migration| migration.number);
    for (number, name, checksum) in &applied {
        let Some(migration) = MIGRATIONS.iter().find(|migration| migration.number == *number)
        else {
            return Err(MigrateError::Newer { found: *number, name: name.clone(), known });
        };
        if migration.name != name || self::checksum(migration) != *checksum {
            return Err(MigrateError::Edited { number: *number, name: name.clone() });
        }
    }
    let missing = MIGRATIONS.iter().filter(|m| !applied.iter().any(|row| row.0 == m.number));
    let mut count = 0;
    for migration in missing {
        apply(session, migration, at)?;
        count += 1;
    }
    Ok(count)
}

fn applied(session: &mut dyn Session) -> Result<Vec<(i64, String, String)>, SqlError> {
    session.all(sql::MIGRATION_ALL, &[], |row| Ok((row.integer()?, row.text()?, row.text()?)))
}

fn apply(session: &mut dyn Session, step: &Migration, at: Timestamp) -> Result<(), SqlError> {
    session.batch(step.text)?;
    session.batch(match session.dialect() {
        Dialect::Sqlite => step.sqlite,
        Dialect::Postgres => step.postgres,
    })?;
    let checksum = checksum(step);
    let values = values![step.number, step.name, &checksum, at.as_micros()];
    session.execute(sql::MIGRATION_PUT, values).map(drop)
}

fn checksum(migration: &Migration) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in [migration.text, migration.sqlite, migration.postgres] {
        hasher.update(text.as_bytes());
        hasher.update(&[0]);
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::{super::sqlite::Sqlite, *};

    fn migrated() -> Sqlite {
        let mut session = Sqlite::in_memory();
        migrate(&mut session, Timestamp::from_micros(0)).unwrap();
        session
    }

    #[test]
    fn a_second_run_changes_nothing() {
        let mut session = migrated();
        assert_eq!(migrate(&mut session, Timestamp::from_micros(1)).unwrap(), 0);
        assert_eq!(applied(&mut session).unwrap().len(), MIGRATIONS.len());
    }

    #[test]
    fn a_newer_database_is_refused_by_name() {
        let mut session = migrated();
        session.batch("INSERT INTO migration VALUES (99, 'later', 'x', 0)").unwrap();
        let error = migrate(&mut session, Timestamp::from_micros(1)).unwrap_err().to_string();
        assert!(error.contains("schema 99 `later`"), "{error}");
    }

    #[test]
    fn an_edited_step_is_refused() {
        let mut session = migrated();
        session.batch("UPDATE migration SET checksum = 'x' WHERE number = 1").unwrap();
        let error = migrate(&mut session, Timestamp::from_micros(1)).unwrap_err();
        assert!(matches!(error, MigrateError::Edited { number: 1, .. }), "{error}");
    }

    #[test]
    fn numbers_are_consecutive() {
        let numbers: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.number).collect();
        assert_eq!(numbers, (1..=i64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
    }
}
