//! The answer with everything that won or lost. It asks the same rules as a check does, and listens.

use crate::{
    Reason, Revision, Snapshot, SourceKind, TenantView, Timestamp, Window,
    decision::{Answer, NO_BUNDLE, Shape, UNLIMITED},
    facts::{Facts, OverrideAmount, Span},
    index::{Contents, FeatureIx, Give, Index, SheetIx},
    resolve::{self, Candidate, Outcome, Profile, Trace, Workspace},
};

/// A decision, with every contribution and every condition behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "document", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Explanation {
    /// Who was asked about.
    pub tenant: String,
    /// What was asked about.
    pub feature: String,
    /// When.
    pub at: Timestamp,
    /// Whether the answer is a yes of any kind.
    pub allowed: bool,
    /// The answer: `denied`, `allowed`, an amount, a level's name or a config's JSON.
    pub answer: String,
    /// Why.
    pub reason: Reason,
    /// What it rests on, such as `plan:pro`.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
    pub source: Option<String>,
    /// Of which world.
    pub revision: Revision,
    /// Until when it holds if nothing is published. Absent: for ever.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
    pub valid_until: Option<Timestamp>,
    /// Everything that grants, replaces or blocks the feature, whether it counts or not.
    pub contributions: Vec<Contribution>,
    /// What has to hold for it to be allowed.
    pub conditions: Vec<Condition>,
}

/// One thing that grants, replaces or blocks a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "document", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Contribution {
    /// What it is, such as `promotion:spring`, or `plan:pro/team` through a bundle.
    pub source: String,
    /// What it says: an amount, `+5`, a level, or `denied`.
    pub amount: String,
    /// When it is in force.
    pub window: Window,
    /// Whether it counts, and if not, why not.
    pub standing: Standing,
    /// What it lost to, or lacks.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
    pub because: Option<String>,
}

/// Whether a contribution counts, and if not, why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "document",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Standing {
    /// The answer rests on it.
    Won,
    /// It is added to the limit.
    Added,
    /// It grants no more than the one that won.
    Outranked,
    /// An override took its place.
    Overridden,
    /// Its window has not come.
    NotStarted,
    /// Its window is over.
    Ended,
    /// The tenant is not in its audience.
    NotForTenant,
    /// The tenant is not enrolled.
    NotEnrolled,
    /// Another promotion of its exclusive group counts.
    GroupTaken,
    /// Suspended: an add-on that it requires is not in force.
    LacksRequirement,
    /// Suspended: an add-on that excludes it is in force.
    Excluded,
    /// This grant is for a part of the tenants only.
    OnlyForOthers,
    /// The tenant holds it, and the catalog does not have it.
    NotInCatalog,
}

/// One thing that has to hold for a feature to be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "document", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Condition {
    /// What it asks for, such as `feature:users`, `integration:idp` or `available_to`.
    pub needs: String,
    /// Whether it holds.
    pub holds: bool,
}

pub(crate) fn explain(
    snapshot: &Snapshot,
    tenant: &str,
    feature: &str,
    at: Timestamp,
) -> Explanation {
    let decision = snapshot.check(tenant, feature, at);
    let mut explanation = Explanation {
        tenant: tenant.into(),
        feature: feature.into(),
        at,
        allowed: decision.is_allowed(),
        answer: decision.verdict().to_string(),
        reason: decision.reason(),
        source: decision.source().map(|source| source.to_string()),
        revision: decision.revision(),
        valid_until: decision.valid_until(),
        contributions: Vec::new(),
        conditions: Vec::new(),
    };
    if let (Some(view), Some(place)) =
        (snapshot.tenant(tenant), snapshot.index.find_feature(feature))
    {
        let mut listening = Listening { index: &snapshot.index, place, at, found: Vec::new() };
        let mut work = Workspace::default();
        let profile = work.profile(&snapshot.index, view.facts(), at, &mut listening);
        explanation.contributions = listening.contributions(profile, view.facts());
        explanation.conditions = conditions(view, profile, place, at);
    }
    explanation
}

fn conditions(
    view: TenantView<'_>,
    profile: &Profile,
    place: FeatureIx,
    at: Timestamp,
) -> Vec<Condition> {
    let index = &view.snapshot.index;
    let Some(feature) = index.feature(place) else { return Vec::new() };
    let mut conditions = Vec::new();
    if !feature.available_to.is_empty() {
        let holds = feature.available_to.iter().all(|audience| profile.is_in(*audience));
        conditions.push(Condition { needs: "available_to".into(), holds });
    }
    for (name, bit) in &feature.integrations {
        let needs = index.source(SourceKind::Integration, name.0, NO_BUNDLE).to_string();
        conditions.push(Condition { needs, holds: profile.is_connected(*bit) });
    }
    for required in &feature.requires {
        let needs = index.source(SourceKind::Feature, required.0.into(), NO_BUNDLE).to_string();
        conditions.push(Condition { needs, holds: view.check_at(*required, at).is_allowed() });
    }
    conditions
}

/// Keeps every grant of the feature that a candidate brings.
struct Listening<'i> {
    index: &'i Index,
    place: FeatureIx,
    at: Timestamp,
    found: Vec<Heard>,
}

struct Heard {
    kind: SourceKind,
    number: u32,
    via: u16,
    give: Give,
    quantity: u32,
    span: Span,
    standing: Option<(Standing, Option<String>)>,
    only: crate::index::AudienceIx,
}

impl Trace for Listening<'_> {
    fn candidate(&mut self, candidate: Candidate, span: Span, outcome: Outcome) {
        match candidate {
            Candidate::Subscription { plan, from } => {
                let index = self.index;
                resolve::plan_chain(index, plan, from, self.at, |plan, _, contents| {
                    self.hear(SourceKind::Plan, plan.0, contents, 1, span, outcome);
                });
            }
            Candidate::AddOn { add_on, quantity } => {
                let Some(entry) = self.index.add_ons.get(add_on.get()) else { return };
                self.hear(SourceKind::AddOn, add_on.0, &entry.contents, quantity, span, outcome);
            }
            Candidate::Promotion(promotion) => {
                let Some(entry) = self.index.promotions.get(promotion.get()) else { return };
                self.hear(SourceKind::Promotion, promotion.0, &entry.contents, 1, span, outcome);
            }
        }
    }
}

impl Listening<'_> {
    fn hear(
        &mut self,
        kind: SourceKind,
        number: u16,
        contents: &Contents,
        quantity: u32,
        span: Span,
        outcome: Outcome,
    ) {
        let own: (SheetIx, u16) = (contents.own, NO_BUNDLE);
        let bundles =
            contents.bundles.iter().map(|bundle| (self.index.bundle_sheet(*bundle), bundle.0));
        let standing = self.standing(outcome);
        for (sheet, via) in std::iter::once(own).chain(bundles) {
            // A bundle counts once for a subscription, also where an inherited plan has it too.
            let again = |heard: &Heard| {
                kind == SourceKind::Plan
                    && via != NO_BUNDLE
                    && heard.via == via
                    && heard.span == span
                    && heard.number != u32::from(number)
            };
            if self.found.iter().any(again) {
                continue;
            }
            for grant in self.index.sheets.grants(sheet, self.place) {
                self.found.push(Heard {
                    kind,
                    number: number.into(),
                    via,
                    give: grant.give,
                    quantity,
                    span,
                    standing: standing.clone(),
                    only: grant.only,
                });
            }
        }
    }

    fn standing(&self, outcome: Outcome) -> Option<(Standing, Option<String>)> {
        let name = |kind, place: u16| self.index.source(kind, place.into(), NO_BUNDLE).to_string();
        let because = match outcome {
            Outcome::GroupTaken(winner) => Some(name(SourceKind::Promotion, winner.0)),
            Outcome::Requires(other) | Outcome::ExcludedBy(other) => {
                Some(name(SourceKind::AddOn, other.0))
            }
            _ => None,
        };
        standing(outcome).map(|standing| (standing, because))
    }

    fn contributions(self, profile: &Profile, facts: Facts<'_>) -> Vec<Contribution> {
        let mut all = self.words(facts);
        let overridden = all
            .iter()
            .any(|word| word.standing == Standing::Won && word.source.starts_with("override:"));
        // What rules 1 to 3 find although something else denies it.
        let found = resolve::granted_by(self.index, profile, self.place);
        let best = found.filter(|_| !overridden);
        let winner = best.and_then(|best| best.source(self.index)).map(|source| source.to_string());
        let mut won = false;
        for heard in &self.found {
            let source = self.index.source(heard.kind, heard.number, heard.via).to_string();
            let (standing, because) = match &heard.standing {
                Some(known) => known.clone(),
                None if !profile.is_in(heard.only) => (Standing::OnlyForOthers, None),
                None if overridden => (Standing::Overridden, None),
                None if matches!(heard.give, Give::Add(_)) => (Standing::Added, None),
                None if !won && winner.as_ref() == Some(&source) && self.is_best(heard, best) => {
                    won = true;
                    (Standing::Won, None)
                }
                None => (Standing::Outranked, winner.clone()),
            };
            all.push(Contribution {
                source,
                amount: self.amount(heard),
                window: window(heard.span),
                standing,
                because,
            });
        }
        all
    }

    /// Whether of several grants of one source this is the one that won.
    fn is_best(&self, heard: &Heard, best: Option<Answer>) -> bool {
        match (heard.give, best) {
            (Give::Level(rank), Some(best)) => best.amount == rank,
            (Give::Config(json), Some(best)) => best.amount == json,
            (Give::Set(amount), Some(best)) if best.shape == Shape::Limit => {
                let same_source = |other: &&Heard| {
                    other.kind == heard.kind
                        && other.number == heard.number
                        && other.via == heard.via
                };
                let larger =
                    |other: &Heard| matches!(other.give, Give::Set(other) if other > amount);
                !self
                    .found
                    .iter()
                    .filter(same_source)
                    .any(|other| other.standing.is_none() && larger(other))
            }
            _ => true,
        }
    }

    fn amount(&self, heard: &Heard) -> String {
        match heard.give {
            Give::On => "on".into(),
            Give::Set(amount) => limit(amount),
            Give::Add(amount) => format!("+{}", amount.saturating_mul(heard.quantity.into())),
            Give::Level(rank) => self.index.level_name(rank).into(),
            Give::Config(json) => self.index.config_text(json).into(),
        }
    }

    /// Overrides and blocks of the feature.
    fn words(&self, facts: Facts<'_>) -> Vec<Contribution> {
        let timely = |span: Span| {
            if span.contains(self.at) {
                Standing::Won
            } else if self.at < span.from {
                Standing::NotStarted
            } else {
                Standing::Ended
            }
        };
        let essential = self.index.feature(self.place).is_some_and(|feature| feature.essential);
        let module = self.index.feature(self.place).map(|feature| feature.module);
        let covers = |block: &crate::facts::BlockFact<'_>| {
            (block.features.is_empty() && block.modules.is_empty() && !essential)
                || block
                    .features
                    .iter()
                    .any(|name| self.index.feature_named(name) == Some(self.place))
                || block.modules.iter().any(|name| {
                    self.index.module_named(name).is_some()
                        && self.index.module_named(name) == module
                })
        };
        let blocks = facts.blocks().filter(covers).map(|block| Contribution {
            source: self.index.source(SourceKind::Block, block.owner.0, NO_BUNDLE).to_string(),
            amount: "denied".into(),
            window: window(block.span),
            standing: timely(block.span),
            because: None,
        });
        let mine = |feature| self.index.feature_named(feature) == Some(self.place);
        let overrides =
            facts.overrides().filter(|word| mine(word.feature)).map(|word| Contribution {
                source: self
                    .index
                    .source(SourceKind::Override, self.place.0.into(), NO_BUNDLE)
                    .to_string(),
                amount: match word.amount {
                    OverrideAmount::Denied => "denied".into(),
                    OverrideAmount::On => "on".into(),
                    OverrideAmount::Limit(amount) => limit(amount),
                    OverrideAmount::Level(name) | OverrideAmount::Config(name) => {
                        self.index.names.text(name).into()
                    }
                },
                window: window(word.span),
                standing: timely(word.span),
                because: None,
            });
        blocks.chain(overrides).collect()
    }
}

/// Why what is not in force is not.
pub(crate) const fn standing(outcome: Outcome) -> Option<Standing> {
    Some(match outcome {
        Outcome::InForce => return None,
        Outcome::NotStarted => Standing::NotStarted,
        Outcome::Ended => Standing::Ended,
        Outcome::NotForTenant => Standing::NotForTenant,
        Outcome::NotEnrolled => Standing::NotEnrolled,
        Outcome::GroupTaken(_) => Standing::GroupTaken,
        Outcome::Requires(_) => Standing::LacksRequirement,
        Outcome::ExcludedBy(_) => Standing::Excluded,
    })
}

fn limit(amount: u64) -> String {
    if amount == UNLIMITED { "unlimited".into() } else { amount.to_string() }
}

pub(crate) fn window(span: Span) -> Window {
    Window::new(
        (span.from != Timestamp::MIN).then_some(span.from),
        (span.until != Timestamp::MAX).then_some(span.until),
    )
}
