//! A draft as it is kept: its edits, and how far it has come.

use entitlements_core::{Revision, Timestamp, document::Hash};
use serde::{Deserialize, Serialize};

use super::Edits;
use crate::workflow::publication::{Principal, Publication, Stage, Vote};

/// A draft as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DraftRecord {
    /// What people call it.
    pub name: String,
    /// What it is for, in the words of who made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// The revision of the catalog that it was made on; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Revision>,
    /// What it changes.
    #[serde(default)]
    pub edits: Edits,
    /// The past catalog that it brings back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<Revision>,
    /// The revision of the catalog that it replaced when it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Revision>,
    /// How far it has come: the stage's stable word.
    pub stage: String,
    /// Who edited it last.
    pub editor: KeptPrincipal,
    /// Who voted for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<KeptVote>,
    /// When it is to be published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_at: Option<Timestamp>,
    /// Why it was sent back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Who stands behind an act, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeptPrincipal {
    /// A person.
    Person(String),
    /// A key that nobody in particular made.
    Key(String),
}

/// A vote as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptVote {
    /// Whose.
    pub by: KeptPrincipal,
    /// When.
    pub at: Timestamp,
    /// The digest of what they saw, in hex digits.
    pub digest: String,
    /// How many tenants lost something in what they saw.
    pub losing: u64,
}

impl DraftRecord {
    /// The state machine's view of it.
    ///
    /// # Errors
    /// Where what is kept is nothing that this version writes.
    pub fn publication(&self) -> Result<Publication, String> {
        let vote = |vote: &KeptVote| {
            let digest: Hash =
                vote.digest.parse().map_err(|_| format!("`{}` is no digest", vote.digest))?;
            Ok(Vote { by: vote.by.clone().into(), at: vote.at, digest, losing: vote.losing })
        };
        Ok(Publication {
            stage: self.stage.parse::<Stage>()?,
            editor: self.editor.clone().into(),
            votes: self.votes.iter().map(vote).collect::<Result<_, String>>()?,
            publish_at: self.publish_at,
            note: self.note.clone(),
        })
    }

    /// The same, come as far as the state machine says.
    #[must_use]
    pub fn at(self, publication: Publication) -> Self {
        let Publication { stage, editor, votes, publish_at, note } = publication;
        let vote = |vote: Vote| KeptVote {
            by: vote.by.into(),
            at: vote.at,
            digest: vote.digest.to_string(),
            losing: vote.losing,
        };
        Self {
            stage: stage.code().into(),
            editor: editor.into(),
            votes: votes.into_iter().map(vote).collect(),
            publish_at,
            note,
            ..self
        }
    }
}

impl From<KeptPrincipal> for Principal {
    fn from(kept: KeptPrincipal) -> Self {
        match kept {
            KeptPrincipal::Person(name) => Self::Person(name),
            KeptPrincipal::Key(name) => Self::Key(name),
        }
    }
}

impl From<Principal> for KeptPrincipal {
    fn from(principal: Principal) -> Self {
        match principal {
            Principal::Person(name) => Self::Person(name),
            Principal::Key(name) => Self::Key(name),
        }
    }
}
