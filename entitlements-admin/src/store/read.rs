//! What can be read, all at one revision.

use std::collections::BTreeMap;

use entitlements_core::{Revision, TenantKey, Timestamp};
use rusqlite::{OptionalExtension, Row, Transaction};

use super::{AuditEntry, AuditFault, Verified, audit, sql};
use crate::workflow::Token;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database failed.
    #[error("the store cannot be read: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// What it holds is not what this version wrote.
    #[error("the store holds something that cannot be read: {what}: {why}")]
    Corrupt {
        /// Which thing.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The process is going down.
    #[error("the store is closed")]
    Closed,
}

/// A document as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its JSON text.
    pub json: String,
    /// The revision of its last change.
    pub revision: Revision,
}

/// A tenant as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRow {
    /// Its key.
    pub key: String,
    /// Its document.
    pub stored: Stored,
}

/// One consistent view of the store.
#[derive(Debug)]
pub struct Reading<'c>(&'c Transaction<'c>);

impl<'c> Reading<'c> {
    pub(super) fn new(transaction: &'c Transaction<'c>) -> Self {
        Self(transaction)
    }

    /// The last revision that was drawn.
    ///
    /// # Errors
    /// Where the database fails, as for all of these.
    pub fn revision(&self) -> Result<Revision, ReadError> {
        revision(self.counter("revision")?)
    }

    /// The epoch: it rises when the store is restored from a backup.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn epoch(&self) -> Result<u64, ReadError> {
        Ok(revision(self.counter("epoch")?)?.0)
    }

    fn counter(&self, name: &str) -> Result<i64, ReadError> {
        let mut statement = self.0.prepare_cached(sql::COUNTER_GET)?;
        Ok(statement.query_row([name], |row| row.get(0))?)
    }

    /// A fact about the data folder, such as the environment that it belongs to.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn meta(&self, name: &str) -> Result<Option<String>, ReadError> {
        let mut statement = self.0.prepare_cached(sql::META_GET)?;
        Ok(statement.query_row([name], |row| row.get(0)).optional()?)
    }

    /// The catalog in force.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn catalog(&self) -> Result<Option<Stored>, ReadError> {
        let mut statement = self.0.prepare_cached(sql::CATALOG_GET)?;
        let row = statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        row.map(stored).transpose()
    }

    /// Every catalog that was ever in force, oldest first.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn catalog_history(&self) -> Result<Vec<Stored>, ReadError> {
        let mut statement = self.0.prepare_cached(sql::CATALOG_HISTORY_LIST)?;
        let rows = statement.query_map([], |row| Ok((row.get(1)?, row.get(0)?)))?;
        rows.map(|row| stored(row?)).collect()
    }

    /// One tenant.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn tenant(&self, key: &str) -> Result<Option<Stored>, ReadError> {
        let mut statement = self.0.prepare_cached(sql::TENANT_GET)?;
        let row = statement.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        row.map(stored).transpose()
    }

    /// The revisions of those of the tenants that exist.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn tenant_revisions<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k TenantKey>,
    ) -> Result<BTreeMap<TenantKey, Revision>, ReadError> {
        let found = |key: &TenantKey| {
            let row = self.tenant(key.as_str()).transpose()?;
            Some(row.map(|row| (key.clone(), row.revision)))
        };
        keys.into_iter().filter_map(found).collect()
    }

    /// At most `limit` tenants whose keys come after `after`, by key.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn tenants(&self, after: &str, limit: u32) -> Result<Vec<TenantRow>, ReadError> {
        let mut statement = self.0.prepare_cached(sql::TENANT_LIST)?;
        let rows = statement.query_map((after, limit), tenant_row)?;
        rows.map(|row| row?).collect()
    }

    /// Every tenant, by key.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn tenants_all(&self) -> Result<Vec<TenantRow>, ReadError> {
        let mut statement = self.0.prepare_cached(sql::TENANT_ALL)?;
        let rows = statement.query_map([], tenant_row)?;
        rows.map(|row| row?).collect()
    }

    /// Every access token, oldest first.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn tokens(&self) -> Result<Vec<Token>, ReadError> {
        let mut statement = self.0.prepare_cached(sql::TOKEN_ALL)?;
        let rows = statement.query_map([], token)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// At most `limit` audit entries after a revision, oldest first. Documents longer than
    /// `text_chars_max` are left out of them.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn audit(
        &self,
        after: Revision,
        limit: u32,
        text_chars_max: u32,
    ) -> Result<Vec<AuditEntry>, ReadError> {
        let mut statement = self.0.prepare_cached(sql::AUDIT_LIST)?;
        let rows = statement.query_map((text_chars_max, integer(after), limit), audit::entry)?;
        rows.map(|row| row?).collect()
    }

    /// One audit entry, whole.
    ///
    /// # Errors
    /// As [`Reading::revision`].
    pub fn audit_entry(&self, at: Revision) -> Result<Option<AuditEntry>, ReadError> {
        let mut statement = self.0.prepare_cached(sql::AUDIT_GET)?;
        statement.query_row([integer(at)], audit::entry).optional()?.transpose()
    }

    /// Walks the audit's hash chain from its start.
    ///
    /// # Errors
    /// As [`Reading::revision`]. A broken chain is not an error but an answer.
    pub fn audit_verify(&self) -> Result<Result<Verified, AuditFault>, ReadError> {
        audit::verify(self.0, self.revision()?)
    }
}

fn stored((json, number): (String, i64)) -> Result<Stored, ReadError> {
    Ok(Stored { json, revision: revision(number)? })
}

fn tenant_row(row: &Row<'_>) -> rusqlite::Result<Result<TenantRow, ReadError>> {
    let (key, json, number) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(stored((json, number)).map(|stored| TenantRow { key, stored }))
}

pub(super) fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let scope: String = row.get(2)?;
    let scope = scope.parse().map_err(|error: String| {
        rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, error.into())
    })?;
    Ok(Token {
        id: row.get(0)?,
        label: row.get(1)?,
        scope,
        secret_hash: row.get(3)?,
        created_at: Timestamp::from_micros(row.get(4)?),
    })
}

pub(super) fn revision(number: i64) -> Result<Revision, ReadError> {
    u64::try_from(number).map(Revision).map_err(|_| ReadError::Corrupt {
        what: "a revision".into(),
        why: format!("`{number}` is below 0"),
    })
}

/// A revision as the database keeps it.
pub(super) fn integer(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}
