//! The add-ons that a tenant holds: which are in force, and why the others are not.

use crate::{
    AddOnKey, Standing, TenantView, Timestamp, Window,
    explain::{standing, window},
    facts::{Facts, Span},
    index::Index,
    resolve::{Candidate, Outcome, Trace, Workspace},
};

/// An add-on that a tenant holds, and whether it is in force at an instant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "document", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HeldAddOn {
    /// Which add-on.
    pub add_on: AddOnKey,
    /// How many of it.
    pub quantity: u32,
    /// When the tenant has it.
    pub window: Window,
    /// Why it is not in force. Absent: it is.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
    pub standing: Option<Standing>,
    /// The add-on that it lacks, or that excludes it.
    #[cfg_attr(feature = "document", serde(default, skip_serializing_if = "Option::is_none"))]
    pub because: Option<AddOnKey>,
}

impl HeldAddOn {
    /// Whether it is in force.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        self.standing.is_none()
    }

    /// Whether it would be in force by its window, but is not. It comes back by itself.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.standing.is_some_and(is_suspension)
    }
}

impl TenantView<'_> {
    /// Every add-on that it holds, by key, and whether it is in force at an instant.
    #[must_use]
    pub fn add_ons(self, at: Timestamp) -> Vec<HeldAddOn> {
        let mut found = Vec::new();
        let mut work = Workspace::default();
        find(&mut work, &self.snapshot.index, self.facts(), at, &mut found);
        let mut all: Vec<_> = found.iter().filter_map(Held::named).collect();
        all.sort_unstable();
        all
    }
}

/// An add-on that a tenant holds, with names that are borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held<'i> {
    pub(crate) add_on: &'i str,
    quantity: u32,
    span: Span,
    /// Why it is not in force, and what it lacks or lost to.
    pub(crate) out: Option<(Standing, Option<&'i str>)>,
}

impl Held<'_> {
    fn named(&self) -> Option<HeldAddOn> {
        let because = self.out.and_then(|(_, because)| because);
        Some(HeldAddOn {
            add_on: AddOnKey::new(self.add_on).ok()?,
            quantity: self.quantity,
            window: window(self.span),
            standing: self.out.map(|(standing, _)| standing),
            because: because.and_then(|key| AddOnKey::new(key).ok()),
        })
    }
}

pub(crate) const fn is_suspension(standing: Standing) -> bool {
    !matches!(standing, Standing::NotStarted | Standing::Ended)
}

/// Finds all that a tenant holds.
pub(crate) fn find<'i>(
    work: &mut Workspace,
    index: &'i Index,
    facts: Facts<'_>,
    at: Timestamp,
    found: &mut Vec<Held<'i>>,
) {
    found.clear();
    for fact in facts.add_ons().filter(|fact| index.add_on_named(fact.add_on).is_none()) {
        let standing = if at < fact.span.from {
            Standing::NotStarted
        } else if at < fact.span.until {
            Standing::NotInCatalog
        } else {
            Standing::Ended
        };
        let (add_on, out) = (index.names.text(fact.add_on), Some((standing, None)));
        found.push(Held { add_on, quantity: fact.quantity, span: fact.span, out });
    }
    work.add_ons_of(index, facts, at, &mut Listening { index, found });
}

struct Listening<'i, 'f> {
    index: &'i Index,
    found: &'f mut Vec<Held<'i>>,
}

impl Trace for Listening<'_, '_> {
    fn candidate(&mut self, candidate: Candidate, span: Span, outcome: Outcome) {
        let Candidate::AddOn { add_on, quantity } = candidate else { return };
        let because = match outcome {
            Outcome::Requires(other) | Outcome::ExcludedBy(other) => {
                Some(self.index.add_on_key(other.0.into()))
            }
            _ => None,
        };
        let out = standing(outcome).map(|standing| (standing, because));
        let add_on = self.index.add_on_key(add_on.0.into());
        self.found.push(Held { add_on, quantity, span, out });
    }
}
