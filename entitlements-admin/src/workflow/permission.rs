//! What may be done, and by whom: people have roles, programs have keys with a scope.

use std::fmt;

use super::{key::Scope, people::Role};

/// Something that may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// See catalog, drafts, previews and their history.
    ReadCatalog,
    /// Make, change, submit and discard drafts.
    EditDrafts,
    /// Approve or reject drafts of others.
    ApproveDrafts,
    /// Publish, schedule and roll back.
    PublishCatalog,
    /// Publish without the approvals that are asked for, with a reason.
    BreakGlass,
    /// See tenants, their answers and their history.
    ReadTenants,
    /// Make, change and remove tenants.
    WriteTenants,
    /// Say how much of their limits tenants used.
    WriteUsage,
    /// See and export the audit.
    ReadAudit,
    /// Make, change and disable users, and end their sessions.
    ManageUsers,
    /// Make and revoke service keys.
    ManageKeys,
    /// See listings, requests and what is promised.
    ReadMarketplace,
    /// Change what is on offer, and what is promised.
    ManageListings,
    /// Ask for something, for a tenant.
    MakeRequests,
    /// Decide requests, where their policy asks for that person.
    DecideRequests,
    /// Carry requests out: steps, calling off, what is stuck.
    OperateRequests,
    /// See what the outside world was told, and what became of it.
    ReadNotices,
    /// Send again what did not arrive.
    Redrive,
    /// Change connectors, teams, rules and the words of messages.
    ManageConnectors,
    /// Change settings.
    ManageSettings,
    /// Follow the sync, as sidecars do.
    FollowSync,
    /// See the figures of the process.
    ReadMetrics,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 22] = [
        Self::ReadCatalog,
        Self::EditDrafts,
        Self::ApproveDrafts,
        Self::PublishCatalog,
        Self::BreakGlass,
        Self::ReadTenants,
        Self::WriteTenants,
        Self::WriteUsage,
        Self::ReadAudit,
        Self::ManageUsers,
        Self::ManageKeys,
        Self::ReadMarketplace,
        Self::ManageListings,
        Self::MakeRequests,
        Self::DecideRequests,
        Self::OperateRequests,
        Self::ReadNotices,
        Self::Redrive,
        Self::ManageConnectors,
        Self::ManageSettings,
        Self::FollowSync,
        Self::ReadMetrics,
    ];

    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ReadCatalog => "read_catalog",
            Self::EditDrafts => "edit_drafts",
            Self::ApproveDrafts => "approve_drafts",
            Self::PublishCatalog => "publish_catalog",
            Self::BreakGlass => "break_glass",
            Self::ReadTenants => "read_tenants",
            Self::WriteTenants => "write_tenants",
            Self::WriteUsage => "write_usage",
            Self::ReadAudit => "read_audit",
            Self::ManageUsers => "manage_users",
            Self::ManageKeys => "manage_keys",
            Self::ReadMarketplace => "read_marketplace",
            Self::ManageListings => "manage_listings",
            Self::MakeRequests => "make_requests",
            Self::DecideRequests => "decide_requests",
            Self::OperateRequests => "operate_requests",
            Self::ReadNotices => "read_notices",
            Self::Redrive => "redrive",
            Self::ManageConnectors => "manage_connectors",
            Self::ManageSettings => "manage_settings",
            Self::FollowSync => "follow_sync",
            Self::ReadMetrics => "read_metrics",
        }
    }

    /// Who may, for a sentence.
    #[must_use]
    pub fn people(self) -> String {
        let roles = Role::ALL.iter().filter(|role| of_role(**role).contains(&self));
        let scopes = Scope::ALL.iter().filter(|scope| of_scope(**scope).contains(&self));
        let roles: Vec<String> = roles.map(|role| format!("`{}`", role.code())).collect();
        let scopes: Vec<String> = scopes.map(|scope| format!("`{}`", scope.code())).collect();
        let role = format!("the role {}", roles.join(" or "));
        let key = format!("a key for {}", scopes.join(" or "));
        match (roles.is_empty(), scopes.is_empty()) {
            (false, false) => format!("{role}, or {key}"),
            (false, true) => role,
            (true, _) => key,
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What a role may do.
#[must_use]
pub const fn of_role(role: Role) -> &'static [Permission] {
    use Permission as P;
    match role {
        Role::SuperAdmin => &[
            P::ReadCatalog,
            P::EditDrafts,
            P::ApproveDrafts,
            P::PublishCatalog,
            P::BreakGlass,
            P::ReadTenants,
            P::WriteTenants,
            P::WriteUsage,
            P::ReadAudit,
            P::ManageUsers,
            P::ManageKeys,
            P::ReadMarketplace,
            P::ManageListings,
            P::MakeRequests,
            P::DecideRequests,
            P::OperateRequests,
            P::ReadNotices,
            P::Redrive,
            P::ManageConnectors,
            P::ManageSettings,
            P::ReadMetrics,
        ],
        Role::CatalogEditor => &[
            P::ReadCatalog,
            P::EditDrafts,
            P::PublishCatalog,
            P::ReadTenants,
            P::ReadMarketplace,
            P::ManageListings,
            P::DecideRequests,
        ],
        Role::Approver => &[
            P::ReadCatalog,
            P::ApproveDrafts,
            P::PublishCatalog,
            P::ReadTenants,
            P::ReadMarketplace,
            P::DecideRequests,
        ],
        Role::Operator => &[
            P::ReadCatalog,
            P::ReadTenants,
            P::WriteTenants,
            P::WriteUsage,
            P::ReadMarketplace,
            P::MakeRequests,
            P::DecideRequests,
            P::OperateRequests,
            P::ReadNotices,
            P::Redrive,
            P::ReadMetrics,
        ],
        Role::Analyst => &[
            P::ReadCatalog,
            P::ReadTenants,
            P::ReadMarketplace,
            P::DecideRequests,
            P::ReadNotices,
            P::ReadMetrics,
        ],
        Role::Auditor => &[
            P::ReadCatalog,
            P::ReadTenants,
            P::ReadAudit,
            P::ReadMarketplace,
            P::ReadNotices,
            P::ReadMetrics,
        ],
    }
}

/// What a key may do. A key never approves: that takes a person.
#[must_use]
pub const fn of_scope(scope: Scope) -> &'static [Permission] {
    use Permission as P;
    match scope {
        Scope::Admin => &[
            P::ReadCatalog,
            P::EditDrafts,
            P::PublishCatalog,
            P::BreakGlass,
            P::ReadTenants,
            P::WriteTenants,
            P::WriteUsage,
            P::ReadAudit,
            P::ManageUsers,
            P::ManageKeys,
            P::ReadMarketplace,
            P::ManageListings,
            P::MakeRequests,
            P::OperateRequests,
            P::ReadNotices,
            P::Redrive,
            P::ManageConnectors,
            P::ManageSettings,
            P::FollowSync,
            P::ReadMetrics,
        ],
        Scope::Read => &[
            P::ReadCatalog,
            P::ReadTenants,
            P::ReadAudit,
            P::ReadMarketplace,
            P::ReadNotices,
            P::ReadMetrics,
        ],
        Scope::Sync => &[P::FollowSync],
        Scope::Product => {
            &[P::ReadCatalog, P::ReadTenants, P::WriteUsage, P::ReadMarketplace, P::MakeRequests]
        }
        Scope::Ingest => &[P::WriteUsage],
        Scope::Partner => &[P::ReadTenants, P::ReadMarketplace, P::OperateRequests],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_permission_is_given_to_somebody_and_says_to_whom() {
        for permission in Permission::ALL {
            let people = permission.people();
            assert!(people.contains('`'), "{permission}: {people}");
        }
        assert!(Permission::ApproveDrafts.people().contains("the role `super_admin`"));
        assert!(Permission::FollowSync.people().starts_with("a key for"));
    }

    #[test]
    fn no_key_approves() {
        for scope in Scope::ALL {
            assert!(!of_scope(scope).contains(&Permission::ApproveDrafts), "{scope}");
        }
    }
}
