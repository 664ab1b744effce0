//! People who sign in. How they get in, and for how long, is in `sign_in.rs`.

use std::{collections::BTreeSet, fmt};

use entitlements_core::Timestamp;
use serde::{Deserialize, Serialize};

/// What somebody is here for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
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

impl std::str::FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.code() == text);
        found.ok_or_else(|| {
            let all = Self::ALL.map(|role| format!("`{role}`")).join(", ");
            format!("`{text}` is not a role: use one of {all}")
        })
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
    /// Who they are to the identity provider by which they signed in first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// When they were added.
    pub created_at: Timestamp,
}

/// Somebody as an identity provider knows them. An address may pass to somebody else, this never.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Which provider.
    pub issuer: String,
    /// What it calls them.
    pub subject: String,
}

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 100;

impl User {
    /// Somebody new.
    ///
    /// # Errors
    /// Where the address or the name is none, or there is no role.
    pub fn new(
        email: &str,
        name: &str,
        roles: BTreeSet<Role>,
        created_at: Timestamp,
    ) -> Result<Self, String> {
        let name = name.trim().to_owned();
        let user = Self {
            email: email_of(email)?,
            name,
            roles,
            disabled: false,
            identity: None,
            created_at,
        };
        user.check()?;
        Ok(user)
    }

    /// Goes on where this can be kept.
    ///
    /// # Errors
    /// What is wrong first.
    pub fn check(&self) -> Result<(), String> {
        let email = email_of(&self.email)?;
        if email != self.email {
            return Err(format!("`{}` is kept in small letters: use `{email}`", self.email));
        }
        let name = &self.name;
        if name.trim().is_empty()
            || name.len() > NAME_BYTES_MAX
            || name.chars().any(char::is_control)
        {
            return Err(format!(
                "a name takes 1 to {NAME_BYTES_MAX} bytes without control characters: \
                 say what people call `{email}`"
            ));
        }
        if self.roles.is_empty() {
            return Err(format!("`{email}` has no role: give at least one, such as `analyst`"));
        }
        Ok(())
    }

    /// Whether they can look after the other users.
    #[must_use]
    pub fn is_super_admin(&self) -> bool {
        !self.disabled && self.roles.contains(&Role::SuperAdmin)
    }
}

/// The longest address that mail servers take, in bytes, and the longest part before its `@`.
const EMAIL_BYTES_MAX: usize = 254;
const MAILBOX_BYTES_MAX: usize = 64;

/// An address as it is kept: without spaces around it, in small letters. Only ASCII, so that two
/// addresses that look the same are the same.
///
/// # Errors
/// Where the text is no address.
pub fn email_of(text: &str) -> Result<String, String> {
    let email = text.trim().to_ascii_lowercase();
    let parts = email.rsplit_once('@');
    let is_one = email.len() <= EMAIL_BYTES_MAX
        && parts.is_some_and(|(mailbox, host)| is_mailbox(mailbox) && is_host(host));
    if is_one {
        Ok(email)
    } else {
        Err(format!("`{}` is not an email address: write it as `ada@example.com`", text.trim()))
    }
}

fn is_mailbox(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    text.len() <= MAILBOX_BYTES_MAX
        && text.split('.').all(|part| !part.is_empty() && part.bytes().all(letter))
}

fn is_host(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    text.split('.').all(|label| {
        let ends = !label.starts_with('-') && !label.ends_with('-');
        (1..=63).contains(&label.len()) && ends && label.bytes().all(letter)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(email: &str, roles: &[Role]) -> User {
        let roles = roles.iter().copied().collect();
        User::new(email, "Test", roles, Timestamp::from_micros(0)).unwrap()
    }

    #[test]
    fn a_role_is_read_as_it_is_written() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.code());
        }
        let error = "root".parse::<Role>().unwrap_err();
        assert!(error.contains("`root`") && error.contains("`super_admin`"), "{error}");
    }

    #[test]
    fn an_address_is_kept_in_small_letters() {
        assert_eq!(email_of("  Ada.L+x@Example.COM "), Ok("ada.l+x@example.com".into()));
        assert_eq!(email_of("root@localhost"), Ok("root@localhost".into()));
    }

    #[test]
    fn what_is_no_address_is_refused_in_words() {
        let long = format!("{}@example.com", "a".repeat(65));
        let longer = format!("a@{}", ["a".repeat(60).as_str(); 5].join("."));
        for text in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a b@example.com",
            "ada@exa mple.com",
            "ada@.com",
            "ada@example..com",
            "ada@-example.com",
            "a..b@example.com",
            ".a@example.com",
            "ada@example.com\r\nBcc: eve",
            "ada\0@example.com",
            "\u{430}da@example.com",
            "a@b@c.com",
            &long,
            &longer,
        ] {
            let error = email_of(text).unwrap_err();
            assert!(error.contains("is not an email address"), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_user_has_an_address_a_name_and_a_role() {
        let new = |email: &str, name: &str, roles: &[Role]| {
            let roles = roles.iter().copied().collect();
            User::new(email, name, roles, Timestamp::from_micros(0))
        };
        assert_eq!(new("Ada@x.org", " Ada ", &[Role::Analyst]).unwrap().name, "Ada");
        assert!(new("x", "Ada", &[Role::Analyst]).unwrap_err().contains("email"));
        assert!(new("ada@x.org", " ", &[Role::Analyst]).unwrap_err().contains("name"));
        assert!(new("ada@x.org", "A\u{7}", &[Role::Analyst]).unwrap_err().contains("control"));
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert!(new("ada@x.org", &long, &[Role::Analyst]).unwrap_err().contains("100 bytes"));
        assert!(new("ada@x.org", "Ada", &[]).unwrap_err().contains("role"));
        let shouting = User { email: "Ada@x.org".into(), ..user("ada@x.org", &[Role::Analyst]) };
        assert!(shouting.check().unwrap_err().contains("small letters"));
    }

    #[test]
    fn a_document_from_before_identities_is_still_read() {
        let json = r#"{"email":"ada@x.org","name":"Test","roles":["super_admin"],"created_at":0}"#;
        let ada = user("ada@x.org", &[Role::SuperAdmin]);
        let created_at = serde_json::to_value(ada.created_at).unwrap();
        let json = json.replace(":0}", &format!(":{created_at}}}"));
        assert_eq!(serde_json::from_str::<User>(&json).unwrap(), ada);
        assert_eq!(serde_json::to_string(&ada).unwrap(), json);
    }
}
