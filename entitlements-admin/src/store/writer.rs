//! The one transaction that changes anything.

use std::collections::BTreeMap;

use entitlements_core::{Revision, TenantKey};
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{CommitError, Conflict, Stored, Subject, audit, read, sql};
use crate::workflow::{CatalogChange, Changeset, Scope, TenantChange, Token, TokenChange};

/// Does all of it, or none.
pub(super) fn commit(
    connection: &mut rusqlite::Connection,
    changes: &Changeset,
) -> Result<Revision, CommitError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let revision = draw_revision(&transaction)?;
    let mut story = Story::default();
    catalog_is_the_one_read(&transaction, changes)?;
    if let Some(change) = &changes.catalog {
        put_catalog(&transaction, revision, changes, change, &mut story)?;
    }
    for (key, change) in &changes.tenants {
        put_tenant(&transaction, revision, key, change, &mut story)?;
    }
    for change in &changes.tokens {
        put_token(&transaction, revision, change, &mut story)?;
    }
    audit::append(&transaction, revision, changes, story.before.text()?, story.after.text()?)?;
    transaction.commit()?;
    Ok(revision)
}

/// What was there before and what is there after, for the audit.
#[derive(Default)]
struct Story {
    before: Side,
    after: Side,
}

#[derive(Default, Serialize)]
struct Side {
    #[serde(skip_serializing_if = "Option::is_none")]
    catalog: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tenants: BTreeMap<String, Box<RawValue>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tokens: BTreeMap<String, TokenText>,
}

#[derive(Serialize)]
struct TokenText {
    scope: Scope,
    label: String,
}

impl Side {
    fn text(&self) -> Result<Option<String>, serde_json::Error> {
        let empty = self.catalog.is_none() && self.tenants.is_empty() && self.tokens.is_empty();
        if empty { Ok(None) } else { serde_json::to_string(self).map(Some) }
    }

    fn token(&mut self, token: &Token) {
        let text = TokenText { scope: token.scope, label: token.label.clone() };
        self.tokens.insert(token.id.clone(), text);
    }
}

fn draw_revision(transaction: &Transaction<'_>) -> Result<Revision, CommitError> {
    let value: i64 =
        transaction.prepare_cached(sql::COUNTER_NEXT)?.query_row(["revision"], |row| row.get(0))?;
    read::revision(value).map_err(|error| CommitError::Unavailable(error.to_string()))
}

fn stored(
    transaction: &Transaction<'_>,
    statement: &str,
    key: &[&str],
) -> Result<Option<Stored>, CommitError> {
    let row = transaction
        .prepare_cached(statement)?
        .query_row(rusqlite::params_from_iter(key), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    row.map(|(json, revision)| Ok(Stored { json, revision: read::revision(revision)? }))
        .transpose()
        .map_err(|error: super::ReadError| CommitError::Unavailable(error.to_string()))
}

/// The present row, where it is the one that the changeset expects.
fn expect(
    present: Option<Stored>,
    expected: Option<Revision>,
    subject: impl FnOnce() -> Subject,
) -> Result<Option<Stored>, CommitError> {
    if present.as_ref().map(|row| row.revision) == expected {
        return Ok(present);
    }
    Err(CommitError::Conflict(Box::new(Conflict { subject: subject(), expected, present })))
}

fn catalog_is_the_one_read(
    transaction: &Transaction<'_>,
    changes: &Changeset,
) -> Result<(), CommitError> {
    let Some(read) = changes.catalog_read else { return Ok(()) };
    let present = stored(transaction, sql::CATALOG_GET, &[])?;
    expect(present, (read != Revision(0)).then_some(read), || Subject::Catalog)?;
    Ok(())
}

fn put_catalog(
    transaction: &Transaction<'_>,
    revision: Revision,
    changes: &Changeset,
    change: &CatalogChange,
    story: &mut Story,
) -> Result<(), CommitError> {
    let present = stored(transaction, sql::CATALOG_GET, &[])?;
    let before = expect(present, change.expected, || Subject::Catalog)?;
    let json = serde_json::to_string(change.catalog.draft())?;
    let number = read::integer(revision);
    transaction.prepare_cached(sql::CATALOG_PUT)?.execute(params![json, number])?;
    transaction.prepare_cached(sql::CATALOG_HISTORY_PUT)?.execute(params![
        number,
        changes.at.as_micros(),
        json
    ])?;
    story.before.catalog = before.map(|row| RawValue::from_string(row.json)).transpose()?;
    story.after.catalog = Some(RawValue::from_string(json)?);
    Ok(())
}

fn put_tenant(
    transaction: &Transaction<'_>,
    revision: Revision,
    key: &TenantKey,
    change: &TenantChange,
    story: &mut Story,
) -> Result<(), CommitError> {
    let present = stored(transaction, sql::TENANT_GET, &[key.as_str()])?;
    let before = expect(present, change.expected, || Subject::Tenant(key.clone()))?;
    if let Some(before) = before {
        story.before.tenants.insert(key.to_string(), RawValue::from_string(before.json)?);
    }
    let Some(tenant) = &change.tenant else {
        transaction.prepare_cached(sql::TENANT_DELETE)?.execute([key.as_str()])?;
        return Ok(());
    };
    let json = serde_json::to_string(tenant)?;
    transaction.prepare_cached(sql::TENANT_PUT)?.execute(params![
        key.as_str(),
        json,
        read::integer(revision)
    ])?;
    story.after.tenants.insert(key.to_string(), RawValue::from_string(json)?);
    Ok(())
}

fn put_token(
    transaction: &Transaction<'_>,
    revision: Revision,
    change: &TokenChange,
    story: &mut Story,
) -> Result<(), CommitError> {
    match change {
        TokenChange::Create(token) => {
            transaction.prepare_cached(sql::TOKEN_PUT)?.execute(params![
                token.id,
                token.label,
                token.scope.code(),
                token.secret_hash,
                token.created_at.as_micros(),
                read::integer(revision)
            ])?;
            story.after.token(token);
        }
        TokenChange::Revoke(id) => {
            let token = transaction
                .prepare_cached(sql::TOKEN_GET)?
                .query_row([id], read::token)
                .optional()?
                .ok_or_else(|| CommitError::UnknownToken(id.clone()))?;
            transaction.prepare_cached(sql::TOKEN_DELETE)?.execute([id])?;
            story.before.token(&token);
            one_admin_token_is_left(transaction)?;
        }
    }
    Ok(())
}

fn one_admin_token_is_left(transaction: &Transaction<'_>) -> Result<(), CommitError> {
    let admins: i64 =
        transaction.prepare_cached(sql::TOKEN_ADMINS)?.query_row([], |row| row.get(0))?;
    if admins > 0 { Ok(()) } else { Err(CommitError::LastAdminToken) }
}

impl From<rusqlite::Error> for CommitError {
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

impl From<serde_json::Error> for CommitError {
    fn from(error: serde_json::Error) -> Self {
        Self::Unavailable(format!("a document cannot be written: {error}"))
    }
}
