//! How a listing comes to be shown, and how it goes.

use std::{fmt, str::FromStr};

use crate::workflow::publication::Principal;

/// How far a listing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListingStage {
    /// Somebody works on it.
    Draft,
    /// Others look at it.
    InReview,
    /// Tenants see it and ask for it.
    Published,
    /// Tenants see it and cannot ask for it for now.
    Paused,
    /// Those who have it keep it, with changes and renewals. Nobody new gets it.
    Deprecated,
    /// Those who have it keep it as it is. It is shown no more.
    Retired,
}

impl ListingStage {
    /// Every stage.
    pub const ALL: [Self; 6] = [
        Self::Draft,
        Self::InReview,
        Self::Published,
        Self::Paused,
        Self::Deprecated,
        Self::Retired,
    ];

    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::InReview => "in_review",
            Self::Published => "published",
            Self::Paused => "paused",
            Self::Deprecated => "deprecated",
            Self::Retired => "retired",
        }
    }

    /// Whether tenants see it.
    #[must_use]
    pub const fn is_shown(self) -> bool {
        matches!(self, Self::Published | Self::Paused | Self::Deprecated)
    }

    /// Whether somebody who does not have it may ask for it.
    #[must_use]
    pub const fn takes_orders(self) -> bool {
        matches!(self, Self::Published)
    }

    /// Whether somebody who has it may ask for more of it, or for longer. Giving it back is always
    /// possible.
    #[must_use]
    pub const fn takes_changes(self) -> bool {
        matches!(self, Self::Published | Self::Paused | Self::Deprecated)
    }
}

impl fmt::Display for ListingStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for ListingStage {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|stage| stage.code() == text);
        found.ok_or_else(|| {
            let codes = Self::ALL.map(|stage| format!("`{stage}`")).join(", ");
            format!("`{text}` is no stage of a listing: use one of {codes}")
        })
    }
}

/// What may be done to a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListingAct {
    /// Change it. What tenants see changes at once.
    Edit,
    /// Ask others to look at it.
    Submit,
    /// Take it back, or ask for changes.
    Return,
    /// Show it to tenants.
    Publish,
    /// Take no requests for now.
    Pause,
    /// Take requests again.
    Resume,
    /// Take no new tenants any more.
    Deprecate,
    /// Show it no more.
    Retire,
}

impl ListingAct {
    /// Every act.
    pub const ALL: [Self; 8] = [
        Self::Edit,
        Self::Submit,
        Self::Return,
        Self::Publish,
        Self::Pause,
        Self::Resume,
        Self::Deprecate,
        Self::Retire,
    ];

    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Edit => "edit",
            Self::Submit => "submit",
            Self::Return => "return",
            Self::Publish => "publish",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Deprecate => "deprecate",
            Self::Retire => "retire",
        }
    }
}

impl FromStr for ListingAct {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|act| act.code() == text);
        found.ok_or_else(|| format!("`{text}` is nothing to do with a listing"))
    }
}

/// Why an act is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListingRefusal {
    /// It has not come so far yet, or is further already.
    #[error("the listing is `{stage}`, so `{act}` is not possible")]
    WrongStage {
        /// What was tried.
        act: &'static str,
        /// How far it has come.
        stage: ListingStage,
    },
    /// Who edited it last tried to publish it.
    #[error("you edited the listing last, so somebody else has to publish it")]
    OwnEdit,
    /// A key without a person behind it tried to publish it.
    #[error("only people publish listings: sign in")]
    NotAPerson,
}

/// What an act leads to. `editor` edited it last; with `four_eyes` somebody else publishes it.
///
/// # Errors
/// Why it is refused.
pub fn step(
    stage: ListingStage,
    act: ListingAct,
    editor: &Principal,
    actor: &Principal,
    four_eyes: bool,
) -> Result<ListingStage, ListingRefusal> {
    use {ListingAct as A, ListingStage as S};
    let next = match (stage, act) {
        (S::Draft | S::InReview, A::Edit) => S::Draft,
        (S::Published, A::Edit) => S::Published,
        (S::Paused, A::Edit) | (S::Published, A::Pause) => S::Paused,
        (S::Draft, A::Submit) => S::InReview,
        (S::InReview, A::Return) => S::Draft,
        (S::InReview, A::Publish) => {
            if four_eyes && matches!(actor, Principal::Key(_)) {
                return Err(ListingRefusal::NotAPerson);
            }
            if four_eyes && actor == editor {
                return Err(ListingRefusal::OwnEdit);
            }
            S::Published
        }
        (S::Paused | S::Deprecated, A::Resume) => S::Published,
        (S::Published | S::Paused, A::Deprecate) => S::Deprecated,
        (S::Draft | S::InReview | S::Published | S::Paused | S::Deprecated, A::Retire) => {
            S::Retired
        }
        (stage, act) => return Err(ListingRefusal::WrongStage { act: act.code(), stage }),
    };
    Ok(next)
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write, fs, path::Path};

    use super::*;

    #[test]
    fn the_table_is_the_one_that_is_kept() {
        let (ann, bob) = (Principal::Person("ann".into()), Principal::Person("bob".into()));
        let mut table = String::new();
        for stage in ListingStage::ALL {
            for act in ListingAct::ALL {
                let next = step(stage, act, &ann, &bob, true);
                let told = next.map_or_else(|refusal| refusal.to_string(), |next| next.to_string());
                writeln!(table, "{:10} | {:9} -> {told}", stage.code(), act.code()).unwrap();
            }
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/listing.txt");
        #[expect(clippy::disallowed_methods, reason = "a test may be told to write its file anew")]
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, &table).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), table, "UPDATE_EXPECT=1 writes it anew");
    }

    #[test]
    fn somebody_else_publishes() {
        use {ListingAct as A, ListingStage as S};
        let (ann, key) = (Principal::Person("ann".into()), Principal::Key("ci".into()));
        let publish = |actor, four_eyes| step(S::InReview, A::Publish, &ann, actor, four_eyes);
        assert_eq!(publish(&ann, true), Err(ListingRefusal::OwnEdit));
        assert_eq!(publish(&key, true), Err(ListingRefusal::NotAPerson));
        assert_eq!(publish(&ann, false), Ok(S::Published));
    }
}
