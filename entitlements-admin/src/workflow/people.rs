//! People who sign in.

use std::{collections::BTreeSet, fmt};

use entitlements_core::Timestamp;
use serde::{Deserialize, Serialize};

/// What somebody is here for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    SuperAdmin,
    /// Changes what is sold.
    CatalogEditor,
    /// Approves what others change.
    Approver,
    /// Looks after tenants.
    Operator,
    /// Looks at everything that is about tenants and catalog.
    Analyst,
    /// Looks at who did what.
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] = [
        Self::SuperAdmin,
        Self::CatalogEditor,
        Self::Approver,
        Self::Operator,
        Self::Analyst,
        Self::Auditor,
    ];

    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::SuperAdmin => "super_admin",
            Self::CatalogEditor => "catalog_editor",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Analyst => "analyst",
            Self::Auditor => "auditor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Somebody who signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// In small letters.
    pub email: String,
    /// What people call them.
    pub name: String,
    /// What they are here for.
    pub roles: BTreeSet<Role>,
    /// Whether they may not sign in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// When they were added.
    pub created_at: Timestamp,
}
