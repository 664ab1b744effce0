//! Who somebody is here, by what the provider says of them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{OidcConfig, OidcError};
use crate::workflow::people::{Identity, Role, email_of};

/// Somebody who signed in by a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// Who they are to the provider.
    pub identity: Identity,
    /// Their address, in small letters.
    pub email: String,
    /// What they are called.
    pub name: String,
    /// What they are here for, by their groups.
    pub roles: BTreeSet<Role>,
    /// Where they wanted to go.
    pub return_to: String,
}

/// What a provider says of somebody. All of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) identity: Identity,
    pub(super) email: Option<String>,
    pub(super) email_verified: Option<bool>,
    pub(super) name: Option<String>,
    /// Every other claim.
    pub(super) others: Map<String, Value>,
}

impl Claims {
    /// Whether it says all that is asked of it.
    pub(super) fn is_complete(&self, config: &OidcConfig) -> bool {
        self.email.is_some() && claim(&self.others, &config.roles_claim).is_some()
    }

    /// Adds what was not said yet.
    pub(super) fn or(mut self, more: Self) -> Self {
        if self.email.is_none() {
            // Whether it is confirmed goes with the address that it is about.
            (self.email, self.email_verified) = (more.email, more.email_verified);
        }
        self.name = self.name.or(more.name);
        for (name, value) in more.others {
            self.others.entry(name).or_insert(value);
        }
        self
    }

    /// Who that is here.
    pub(super) fn signed_in(
        self,
        config: &OidcConfig,
        return_to: String,
    ) -> Result<SignedIn, OidcError> {
        let email = self.email.ok_or(OidcError::NoEmail)?;
        let email = email_of(&email).map_err(OidcError::Malformed)?;
        if self.email_verified == Some(false) {
            return Err(OidcError::Unconfirmed(email));
        }
        let groups = claim(&self.others, &config.roles_claim);
        let roles: BTreeSet<Role> = groups
            .into_iter()
            .flat_map(texts)
            .filter_map(|group| config.roles.get(group).copied())
            .collect();
        if roles.is_empty() {
            return Err(OidcError::NoRole(email));
        }
        let name =
            self.name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| email.clone());
        Ok(SignedIn { identity: self.identity, email, name, roles, return_to })
    }
}

/// A claim by its name, or by a path: some providers nest their groups.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        claim(claims.get(outer)?.as_object()?, inner)
    })
}

/// One text, or each of a list.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(roles_claim: &str) -> OidcConfig {
        let roles = [("admins".into(), Role::SuperAdmin), ("readers".into(), Role::Analyst)].into();
        OidcConfig { roles_claim: roles_claim.into(), roles, ..OidcConfig::default() }
    }

    fn claims(others: Value) -> Claims {
        let Value::Object(others) = others else { panic!("not an object") };
        Claims {
            identity: Identity { issuer: "https://id.example.com".into(), subject: "1".into() },
            email: Some("Ada@Example.com".into()),
            email_verified: None,
            name: Some("Ada".into()),
            others,
        }
    }

    fn roles(roles_claim: &str, others: Value) -> Vec<Role> {
        let signed_in = claims(others).signed_in(&config(roles_claim), "/".into());
        signed_in.map(|one| one.roles.into_iter().collect()).unwrap_or_default()
    }

    #[test]
    fn groups_become_roles_and_unknown_ones_nothing() {
        let both = json!({"groups": ["admins", "readers", "cooks", 7]});
        assert_eq!(roles("groups", both), [Role::SuperAdmin, Role::Analyst]);
        assert_eq!(roles("groups", json!({"groups": "readers"})), [Role::Analyst]);
        // A part of a group's name is not its name.
        assert_eq!(roles("groups", json!({"groups": "readers admins"})), []);
        assert_eq!(roles("groups", json!({"groups": {"admins": true}})), []);
    }

    #[test]
    fn groups_are_found_inside_other_claims() {
        let keycloak = json!({"realm_access": {"roles": ["admins"]}});
        assert_eq!(roles("realm_access.roles", keycloak), [Role::SuperAdmin]);
        let named = json!({"https://example.com/groups": ["admins"]});
        assert_eq!(roles("https://example.com/groups", named), [Role::SuperAdmin]);
    }

    #[test]
    fn nobody_is_signed_in_without_address_confirmation_or_role() {
        let good = claims(json!({"groups": ["admins"]}));
        let with = |change: fn(&mut Claims)| {
            let mut claims = good.clone();
            change(&mut claims);
            claims.signed_in(&config("groups"), "/".into())
        };
        assert_eq!(with(|_| ()).unwrap().email, "ada@example.com");
        assert!(with(|c| c.email_verified = Some(true)).is_ok());
        let unconfirmed = with(|c| c.email_verified = Some(false));
        assert!(matches!(unconfirmed, Err(OidcError::Unconfirmed(_))), "{unconfirmed:?}");
        assert!(matches!(with(|c| c.email = None), Err(OidcError::NoEmail)));
        assert!(matches!(with(|c| c.email = Some("ada".into())), Err(OidcError::Malformed(_))));
        assert!(matches!(with(|c| c.others.clear()), Err(OidcError::NoRole(_))));
        assert_eq!(with(|c| c.name = None).unwrap().name, "ada@example.com");
    }

    #[test]
    fn what_was_said_first_holds_and_a_confirmation_stays_with_its_address() {
        let first =
            Claims { email_verified: Some(false), ..claims(json!({"groups": ["readers"]})) };
        let mut more = claims(json!({"groups": ["admins"], "more": 1}));
        more.email = Some("eve@example.com".into());
        more.email_verified = Some(true);
        let both = first.clone().or(more.clone());
        assert_eq!(both.email.as_deref(), Some("Ada@Example.com"));
        assert_eq!(both.email_verified, Some(false));
        assert_eq!(both.others["groups"], json!(["readers"]));
        assert_eq!(both.others["more"], json!(1));

        let without = Claims { email: None, email_verified: Some(true), ..first };
        let unconfirmed = Claims { email_verified: Some(false), ..more };
        assert_eq!(without.or(unconfirmed).email_verified, Some(false));
    }

    #[test]
    fn it_is_complete_with_address_and_groups() {
        let all = claims(json!({"groups": []}));
        assert!(all.is_complete(&config("groups")));
        assert!(!all.is_complete(&config("roles")));
        assert!(!Claims { email: None, ..all }.is_complete(&config("groups")));
    }
}
