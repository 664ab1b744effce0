//! Everything that can be asked to change.

use std::collections::BTreeMap;

use entitlements_core::{Draft, Problem, Revision, Tenant, TenantKey};

use crate::workflow::Scope;

/// Something to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Make this the catalog in force.
    ImportCatalog {
        /// The catalog.
        draft: Box<Draft>,
        /// What it must replace.
        expected: Expected,
    },
    /// Make this the catalog in force and make or replace these tenants, in one commit.
    ImportAll {
        /// The catalog.
        draft: Box<Draft>,
        /// The tenants. Others stay as they are.
        tenants: BTreeMap<TenantKey, Tenant>,
    },
    /// Make or replace a tenant.
    PutTenant {
        /// Which one.
        key: TenantKey,
        /// All that is to be known of it.
        tenant: Box<Tenant>,
        /// What it must replace.
        expected: Expected,
    },
    /// Remove a tenant.
    DeleteTenant {
        /// Which one.
        key: TenantKey,
        /// What must be removed.
        expected: Expected,
    },
    /// Make or replace many tenants, all of them or none.
    BulkTenants {
        /// The tenants. Others stay as they are.
        tenants: BTreeMap<TenantKey, Tenant>,
    },
    /// Make an access token.
    CreateToken {
        /// What it opens.
        scope: Scope,
        /// Who uses it, for people.
        label: String,
    },
    /// Make an access token useless.
    RevokeToken {
        /// Its id.
        id: String,
    },
}

impl Command {
    /// The stable word for it in the audit, in logs and in metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ImportCatalog { .. } => "import_catalog",
            Self::ImportAll { .. } => "import_all",
            Self::PutTenant { .. } => "put_tenant",
            Self::DeleteTenant { .. } => "delete_tenant",
            Self::BulkTenants { .. } => "bulk_tenants",
            Self::CreateToken { .. } => "create_token",
            Self::RevokeToken { .. } => "revoke_token",
        }
    }
}

/// What the caller thinks it is changing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Whatever is there.
    #[default]
    Any,
    /// Nothing.
    Absent,
    /// Something.
    Present,
    /// What was last changed at this revision.
    At(Revision),
}

impl Expected {
    /// Whether it is what is there.
    #[must_use]
    pub fn is_met_by(self, present: Option<Revision>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => present.is_none(),
            Self::Present => present.is_some(),
            Self::At(revision) => present == Some(revision),
        }
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The commit.
    pub revision: Revision,
    /// What is odd about it and did not stop it.
    pub warnings: Vec<Problem>,
    /// The token that was made. Its text is never shown again.
    pub token: Option<NewToken>,
}

/// A token as its owner gets it.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Its public part.
    pub id: String,
    /// All of it, the secret included.
    pub text: String,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewToken({})", self.id)
    }
}
