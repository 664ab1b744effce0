//! What one commit changes, as a plain value.

use std::{collections::BTreeMap, sync::Arc};

use entitlements_core::{Catalog, Revision, Tenant, TenantKey, Timestamp};

use super::Token;

/// Everything that one commit changes. All of it happens, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changeset {
    /// Who asked for it.
    pub actor: String,
    /// The stable word for what was asked, such as `put_tenant`.
    pub command: &'static str,
    /// What it is about, in the user's words, such as `tenant acme`.
    pub subject: String,
    /// When it was decided.
    pub at: Timestamp,
    /// The catalog that the decision rests on: its revision, or 0 for none. A commit under another
    /// one is a conflict.
    pub catalog_read: Option<Revision>,
    /// A new catalog.
    pub catalog: Option<CatalogChange>,
    /// Changes to tenants.
    pub tenants: BTreeMap<TenantKey, TenantChange>,
    /// Changes to access tokens.
    pub tokens: Vec<TokenChange>,
}

/// A new catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogChange {
    /// The revision of the catalog that it replaces; absent where there must be none.
    pub expected: Option<Revision>,
    /// The catalog.
    pub catalog: Arc<Catalog>,
}

/// A tenant made, changed or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantChange {
    /// The revision of what it replaces; absent where there must be none.
    pub expected: Option<Revision>,
    /// The tenant afterwards; absent where it is removed.
    pub tenant: Option<Tenant>,
}

/// An access token made or revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenChange {
    /// Made.
    Create(Token),
    /// Revoked, by its id.
    Revoke(String),
}
