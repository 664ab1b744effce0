//! Who is asking, and what that opens.

use std::fmt;

use super::{App, Error};
use crate::workflow::{Scope, tokens};

/// What something takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: anyone may.
    Public,
    /// A token that may read.
    Read,
    /// A token that may follow the sync.
    Sync,
    /// A token that may do everything.
    Admin,
}

impl Access {
    /// Whether a scope opens it.
    #[must_use]
    pub fn is_open_to(self, scope: Scope) -> bool {
        match self {
            Self::Public => true,
            Self::Read => matches!(scope, Scope::Read | Scope::Admin),
            Self::Sync => matches!(scope, Scope::Sync | Scope::Admin),
            Self::Admin => scope == Scope::Admin,
        }
    }

    pub(super) fn people(self) -> &'static str {
        match self {
            Self::Public => "nothing",
            Self::Read => "a token for `read` or `admin`",
            Self::Sync => "a token for `sync` or `admin`",
            Self::Admin => "a token for `admin`",
        }
    }
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    name: String,
    scope: Scope,
}

impl Actor {
    /// Somebody at this machine, who may read and write the data folder itself.
    #[must_use]
    pub fn local(name: &str) -> Self {
        Self { name: format!("local:{name}"), scope: Scope::Admin }
    }

    /// What the audit calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it may do.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Goes on where the actor may do this.
    ///
    /// # Errors
    /// Where it may not.
    pub fn may(&self, needs: Access) -> Result<(), Error> {
        if needs.is_open_to(self.scope) {
            Ok(())
        } else {
            Err(Error::Forbidden { needs, has: self.scope.code() })
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl App {
    /// Who a token belongs to.
    ///
    /// # Errors
    /// Where it belongs to nobody.
    pub fn actor(&self, token: &str) -> Result<Actor, Error> {
        let (id, secret) = tokens::parse(token).ok_or(Error::Unauthenticated)?;
        let known = self.live().token(id).ok_or(Error::Unauthenticated)?;
        if !known.has_secret(secret) {
            return Err(Error::Unauthenticated);
        }
        Ok(Actor { name: format!("token:{id}"), scope: known.scope })
    }
}
