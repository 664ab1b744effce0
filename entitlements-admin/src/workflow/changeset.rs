//! What one commit changes, as a plain value.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use entitlements_core::{Problem, Revision, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Notice, request::RequestRow};

/// What kinds of things are kept in versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The catalog in force. There is one.
    Catalog,
    /// A tenant.
    Tenant,
    /// A draft of the catalog.
    Draft,
    /// A person who signs in.
    User,
    /// A service key.
    Key,
    /// Something that Super Admins set, such as `approval`.
    Setting,
    /// A publication that all sidecars switch to together. There is one at a time.
    Barrier,
    /// What a sidecar pushes to, with its receipts.
    Sink,
    /// Where messages go.
    Connector,
    /// People who look after something together.
    Team,
    /// A rule that says which team is told of what.
    Route,
    /// The words of messages.
    Template,
    /// The hours in which work is done.
    Calendar,
    /// How long things may take.
    Sla,
    /// What tenants may ask for.
    Listing,
    /// What a tenant asks for.
    Request,
    /// What a tenant has by a request.
    Holding,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 17] = [
        Self::Catalog,
        Self::Tenant,
        Self::Draft,
        Self::User,
        Self::Key,
        Self::Setting,
        Self::Barrier,
        Self::Sink,
        Self::Connector,
        Self::Team,
        Self::Route,
        Self::Template,
        Self::Calendar,
        Self::Sla,
        Self::Listing,
        Self::Request,
        Self::Holding,
    ];

    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Tenant => "tenant",
            Self::Draft => "draft",
            Self::User => "user",
            Self::Key => "key",
            Self::Setting => "setting",
            Self::Barrier => "barrier",
            Self::Sink => "sink",
            Self::Connector => "connector",
            Self::Team => "team",
            Self::Route => "route",
            Self::Template => "template",
            Self::Calendar => "calendar",
            Self::Sla => "sla",
            Self::Listing => "listing",
            Self::Request => "request",
            Self::Holding => "holding",
        }
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.code() == text);
        found.ok_or_else(|| {
            let all = Self::ALL.map(|kind| format!("`{}`", kind.code())).join(", ");
            format!("`{text}` is no kind of object: use one of {all}")
        })
    }
}

/// One thing that is kept in versions. Its text is `tenant:acme`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// What kind of thing.
    pub kind: Kind,
    /// Which one.
    pub key: String,
}

impl ObjectId {
    /// One of a kind.
    #[must_use]
    pub fn new(kind: Kind, key: impl Into<String>) -> Self {
        Self { kind, key: key.into() }
    }

    /// The catalog in force.
    #[must_use]
    pub fn catalog() -> Self {
        Self::new(Kind::Catalog, "live")
    }

    /// The publication that sidecars prepare, or switched to last.
    #[must_use]
    pub fn barrier() -> Self {
        Self::new(Kind::Barrier, "live")
    }

    /// A tenant.
    #[must_use]
    pub fn tenant(key: impl Into<String>) -> Self {
        Self::new(Kind::Tenant, key)
    }

    /// What it is called in a sentence: "the catalog", "tenant `acme`".
    #[must_use]
    pub fn for_people(&self) -> String {
        match self.kind {
            Kind::Catalog => "the catalog".into(),
            Kind::Barrier => "the barrier".into(),
            kind => format!("{} `{}`", kind.code(), self.key),
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.code(), self.key)
    }
}

impl FromStr for ObjectId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, key) = text
            .split_once(':')
            .ok_or_else(|| format!("`{text}` is no object: write it as `tenant:acme`"))?;
        Ok(Self::new(kind.parse()?, key))
    }
}

/// Who asked for what, how and when: the part of a changeset that every command has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who asked, such as `user:ada@example.com`.
    pub actor: String,
    /// The person behind it, where there is one: behind a session, or behind the key they made.
    pub principal: Option<String>,
    /// From where.
    pub address: Option<IpAddr>,
    /// The stable word for what was asked, such as `put_tenant`.
    pub command: &'static str,
    /// When it was decided.
    pub at: Timestamp,
    /// Why, in the words of who asked.
    pub reason: Option<String>,
    /// What the request is called in logs.
    pub request_id: Option<String>,
    /// How the caller names the request, so that it is not done twice.
    pub idempotency: Option<IdempotencyKey>,
}

impl Origin {
    /// A command that nobody asked for over the network.
    #[must_use]
    pub fn local(actor: &str, command: &'static str, at: Timestamp) -> Self {
        Self {
            actor: actor.into(),
            principal: None,
            address: None,
            command,
            at,
            reason: None,
            request_id: None,
            idempotency: None,
        }
    }

    /// A changeset that changes nothing yet.
    #[must_use]
    pub fn changeset(self, subject: impl Into<String>) -> Changeset {
        Changeset {
            origin: self,
            subject: subject.into(),
            reads: BTreeMap::new(),
            writes: BTreeMap::new(),
            sessions: Vec::new(),
            notices: Vec::new(),
            redrive: None,
            answer: Answer::default(),
        }
    }
}

/// A request's name and what it asked, so that the same one is known again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// What the caller sent as `Idempotency-Key`.
    pub key: String,
    /// A hash over method, path and body.
    pub fingerprint: [u8; 32],
}

/// Everything that one commit changes. All of it happens, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changeset {
    /// Who asked, and when.
    pub origin: Origin,
    /// What it is about, in the user's words, such as `tenant acme`.
    pub subject: String,
    /// What the decision rests on without changing it: a commit is a conflict once one of them has
    /// another revision. Absent: it must not be there.
    pub reads: BTreeMap<ObjectId, Option<Revision>>,
    /// What is made, changed or removed.
    pub writes: BTreeMap<ObjectId, Write>,
    /// Browsers that sign in or out.
    pub sessions: Vec<SessionChange>,
    /// What the outside world must be told of it.
    pub notices: Vec<Notice>,
    /// Messages that are set going again.
    pub redrive: Option<Redrive>,
    /// What the caller is told, now and when the same request comes again.
    pub answer: Answer,
}

/// Messages to set going again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redrive {
    /// One, whatever came of it.
    One(String),
    /// Those that were made since an instant and before another, and were given up or refused.
    Failed {
        /// The instants.
        between: (Timestamp, Timestamp),
        /// To this connector only; to all where empty.
        connector: String,
    },
    /// What happened since an instant and before another goes by the rules as they are now. Nobody is
    /// told twice.
    Missing {
        /// The instants.
        between: (Timestamp, Timestamp),
    },
}

/// An object made, changed or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The revision of what it replaces; absent where there must be none.
    pub expected: Option<Revision>,
    /// The object afterwards; absent where it is removed.
    pub after: Option<Record>,
}

/// An object as it is kept.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Its document, as JSON.
    pub json: String,
    /// What must not be seen, such as the hash of a password. It is in no version and no audit.
    pub secret: Option<String>,
    /// When a reconciler must look at it.
    pub due_at: Option<Timestamp>,
    /// What it is found and counted by beside its key.
    pub index: Option<Index>,
}

/// What an object is found and counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Index {
    /// A request.
    Request(Box<RequestRow>),
    /// What a tenant has by one.
    Holding {
        /// Whose.
        tenant: String,
        /// Whether it is in force, or will be.
        is_active: bool,
    },
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.secret.as_ref().map(|_| "***");
        write!(f, "Record({}, {secret:?}, {:?})", self.json, self.due_at)
    }
}

impl Record {
    /// An object with nothing but a document.
    ///
    /// # Errors
    /// Where the document cannot be written as JSON.
    pub fn of(document: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self { json: serde_json::to_string(document)?, ..Self::default() })
    }
}

/// What the caller of a command is told beside the revision.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// The id of what was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is odd about it and did not stop it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Problem>,
}

/// A browser that signs in or out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionChange {
    /// In.
    Open(SessionRow),
    /// Out.
    Close([u8; 32]),
    /// A user's, everywhere, but for one.
    CloseAll {
        /// Whose.
        user: String,
        /// The one that stays.
        except: Option<[u8; 32]>,
    },
}

/// A signed-in browser as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// A hash of what the browser holds.
    pub id_hash: [u8; 32],
    /// Whose it is.
    pub user: String,
    /// What a page must send with every change.
    pub csrf: String,
    /// When it signed in.
    pub created_at: Timestamp,
    /// When it was last heard of.
    pub seen_at: Timestamp,
    /// From where it signed in.
    pub address: Option<String>,
    /// What the browser calls itself.
    pub agent: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_as_it_is_written() {
        for kind in Kind::ALL {
            let id = ObjectId::new(kind, "a:b.c");
            assert_eq!(id.to_string().parse::<ObjectId>(), Ok(id));
        }
        assert!("tenant".parse::<ObjectId>().unwrap_err().contains("tenant:acme"));
        assert!("cat:acme".parse::<ObjectId>().unwrap_err().contains("`catalog`"));
    }

    #[test]
    fn a_secret_is_not_in_a_log() {
        let record = Record { secret: Some("hush".into()), ..Record::default() };
        assert!(!format!("{record:?}").contains("hush"));
    }
}
