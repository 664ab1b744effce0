//! Who can let others in: the last one must not be shut out.

use super::{
    Kind,
    key::{Key, Scope},
    people::User,
};

/// The kinds of objects by which somebody gets in.
pub const KINDS: [Kind; 2] = [Kind::Key, Kind::User];

/// Whether a document is of somebody who can let others in, and for good.
#[must_use]
pub fn is_open(kind: Kind, json: &str) -> bool {
    match kind {
        Kind::Key => serde_json::from_str::<Key>(json)
            .is_ok_and(|key| key.scope == Scope::Admin && key.expires_at.is_none()),
        Kind::User => serde_json::from_str::<User>(json).is_ok_and(|user| user.is_super_admin()),
        _ => false,
    }
}

/// Whether a change shuts out somebody who could let others in.
#[must_use]
pub fn closes(kind: Kind, before: Option<&str>, after: Option<&str>) -> bool {
    let open = |json: Option<&str>| json.is_some_and(|json| is_open(kind, json));
    open(before) && !open(after)
}
