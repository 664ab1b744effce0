//! The answer to "may this tenant use this feature now, how much of it, and why?"

use std::fmt;

use crate::{Limit, Snapshot, Timestamp, index::Index};

/// The number that one commit draws. Everything that follows from the commit carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "document", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'s> {
    /// No.
    Denied,
    /// Yes. For a switch.
    Allowed,
    /// Yes, up to so much. For a limit; never 0.
    Limit(Limit),
    /// Yes, at this level. For a level.
    Level(&'s str),
    /// Yes, with these settings. For a config: a JSON object as text.
    Config(&'s str),
}

impl Verdict<'_> {
    /// Whether it is a yes of any kind.
    #[must_use]
    #[inline]
    pub fn is_allowed(self) -> bool {
        self != Self::Denied
    }
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("denied"),
            Self::Allowed => f.write_str("allowed"),
            Self::Limit(Limit::AtMost(amount)) => write!(f, "{amount}"),
            Self::Limit(Limit::Unlimited) => f.write_str("unlimited"),
            Self::Level(name) => f.write_str(name),
            Self::Config(json) => f.write_str(json),
        }
    }
}

/// Why the answer is what it is.
///
/// Where several things stand in the way, it is the one that has to change first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Reason {
    /// Allowed: a plan grants it.
    Plan,
    /// Allowed: an add-on grants it.
    AddOn,
    /// Allowed: a promotion grants it.
    Promotion,
    /// Allowed: an operator said so.
    Override,
    /// Denied: somebody blocked it (rule 1).
    Blocked,
    /// Denied: an operator said so (rule 4).
    DeniedByOverride,
    /// Denied: it is not sold to such a tenant (rule 5).
    NotAvailable,
    /// Denied: nothing in force grants it.
    NotIncluded,
    /// Denied: it is granted, with an amount of 0.
    Exhausted,
    /// Denied: an integration is not connected (rule 5).
    MissingIntegration,
    /// Denied: a feature that it requires is not allowed (rule 5).
    MissingPrerequisite,
    /// Denied: there is no such tenant in the snapshot.
    UnknownTenant,
    /// Denied: there is no such feature in the catalog.
    UnknownFeature,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::Plan,
        Self::AddOn,
        Self::Promotion,
        Self::Override,
        Self::Blocked,
        Self::DeniedByOverride,
        Self::NotAvailable,
        Self::NotIncluded,
        Self::Exhausted,
        Self::MissingIntegration,
        Self::MissingPrerequisite,
        Self::UnknownTenant,
        Self::UnknownFeature,
    ];

    /// The stable word for it that APIs, metrics and logs use.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::AddOn => "add_on",
            Self::Promotion => "promotion",
            Self::Override => "override",
            Self::Blocked => "blocked",
            Self::DeniedByOverride => "denied_by_override",
            Self::NotAvailable => "not_available",
            Self::NotIncluded => "not_included",
            Self::Exhausted => "exhausted",
            Self::MissingIntegration => "missing_integration",
            Self::MissingPrerequisite => "missing_prerequisite",
            Self::UnknownTenant => "unknown_tenant",
            Self::UnknownFeature => "unknown_feature",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What kind of thing an answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SourceKind {
    /// A plan that the tenant subscribes to, or one that it extends.
    Plan,
    /// An add-on.
    AddOn,
    /// A promotion.
    Promotion,
    /// An operator's override of the feature.
    Override,
    /// A block, by its owner.
    Block,
    /// A feature that is required.
    Feature,
    /// An integration that is required.
    Integration,
}

impl SourceKind {
    /// The stable word for it that APIs, metrics and logs use.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::AddOn => "add_on",
            Self::Promotion => "promotion",
            Self::Override => "override",
            Self::Block => "block",
            Self::Feature => "feature",
            Self::Integration => "integration",
        }
    }
}

/// What an answer rests on. Its text is `plan:pro`, or `plan:pro/security` through a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source<'s> {
    /// What kind of thing.
    pub kind: SourceKind,
    /// Which one. For an override, the feature itself.
    pub key: &'s str,
    /// The bundle through which it grants.
    pub via: Option<&'s str>,
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.code(), self.key)?;
        self.via.map_or(Ok(()), |bundle| write!(f, "/{bundle}"))
    }
}

/// The answer, what it rests on, and of which world.
///
/// It is small and copied freely; names in it live as long as the snapshot that it came from.
#[derive(Clone, Copy)]
pub struct Decision<'s> {
    pub(crate) answer: Answer,
    pub(crate) snapshot: &'s Snapshot,
    pub(crate) valid_until: Timestamp,
}

impl<'s> Decision<'s> {
    /// What the answer is.
    #[must_use]
    pub fn verdict(&self) -> Verdict<'s> {
        self.answer.verdict(&self.snapshot.index)
    }

    /// Whether it is a yes of any kind.
    #[must_use]
    #[inline]
    pub fn is_allowed(&self) -> bool {
        self.answer.is_allowed()
    }

    /// Whether so much more may be used where so much is used already. For a switch, level or
    /// config: whether it is allowed.
    #[must_use]
    pub fn permits(&self, used: u64, more: u64) -> bool {
        match self.verdict() {
            Verdict::Denied => false,
            Verdict::Limit(Limit::AtMost(most)) => used.saturating_add(more) <= most,
            Verdict::Limit(Limit::Unlimited)
            | Verdict::Allowed
            | Verdict::Level(_)
            | Verdict::Config(_) => true,
        }
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.answer.reason
    }

    /// What it rests on: what grants the feature, or what stands in its way.
    #[must_use]
    pub fn source(&self) -> Option<Source<'s>> {
        self.answer.source(&self.snapshot.index)
    }

    /// The revision of the snapshot that it came from.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.snapshot.revision()
    }

    /// The instant until which it holds if nothing is published. Absent: for ever.
    ///
    /// No cache may keep it longer. It may well be the same afterwards.
    #[must_use]
    pub fn valid_until(&self) -> Option<Timestamp> {
        (self.valid_until < Timestamp::MAX).then_some(self.valid_until)
    }
}

impl fmt::Debug for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision")
            .field("verdict", &self.verdict())
            .field("reason", &self.reason())
            .field("source", &self.source().map(|source| source.to_string()))
            .field("revision", &self.revision().0)
            .field("valid_until", &self.valid_until())
            .finish()
    }
}

/// A decision in 16 bytes, its names as numbers of the [`Index`]. Rows of a snapshot share them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Answer {
    /// An amount, [`UNLIMITED`], a level's rank or a config's number; 0 where it is denied.
    pub(crate) amount: u64,
    /// The number of what it rests on; what it numbers follows from `kind`.
    pub(crate) source: u32,
    /// The number of the bundle, [`NO_BUNDLE`] where there is none.
    pub(crate) via: u16,
    pub(crate) reason: Reason,
    pub(crate) shape: Shape,
}

/// The amount of an unlimited limit.
pub(crate) const UNLIMITED: u64 = u64::MAX;
/// Where an answer is not given through a bundle.
pub(crate) const NO_BUNDLE: u16 = u16::MAX;

/// What an answer's `amount` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    Denied,
    Allowed,
    Limit,
    Level,
    Config,
}

impl Answer {
    pub(crate) const fn denied(reason: Reason, source: u32) -> Self {
        Self { amount: 0, source, via: NO_BUNDLE, reason, shape: Shape::Denied }
    }

    #[inline]
    pub(crate) fn is_allowed(self) -> bool {
        self.shape != Shape::Denied
    }

    pub(crate) fn verdict(self, index: &Index) -> Verdict<'_> {
        match self.shape {
            Shape::Denied => Verdict::Denied,
            Shape::Allowed => Verdict::Allowed,
            Shape::Limit if self.amount == UNLIMITED => Verdict::Limit(Limit::Unlimited),
            Shape::Limit => Verdict::Limit(Limit::AtMost(self.amount)),
            Shape::Level => Verdict::Level(index.level_name(self.amount)),
            Shape::Config => Verdict::Config(index.config_text(self.amount)),
        }
    }

    pub(crate) fn source(self, index: &Index) -> Option<Source<'_>> {
        let (kind, key) = match self.reason {
            Reason::Plan => (SourceKind::Plan, index.plan_key(self.source)),
            Reason::AddOn => (SourceKind::AddOn, index.add_on_key(self.source)),
            Reason::Promotion => (SourceKind::Promotion, index.promotion_key(self.source)),
            Reason::Override | Reason::DeniedByOverride => {
                (SourceKind::Override, index.feature_key(self.source))
            }
            // An exhausted feature rests on whatever granted it the 0; `index` tells them apart.
            Reason::Exhausted => return index.exhausted_by(self),
            Reason::Blocked => (SourceKind::Block, index.name(self.source)),
            Reason::MissingIntegration => (SourceKind::Integration, index.name(self.source)),
            Reason::MissingPrerequisite => (SourceKind::Feature, index.feature_key(self.source)),
            Reason::NotAvailable
            | Reason::NotIncluded
            | Reason::UnknownTenant
            | Reason::UnknownFeature => return None,
        };
        let via = (self.via != NO_BUNDLE).then(|| index.bundle_key(self.via));
        Some(Source { kind, key, via })
    }
}
