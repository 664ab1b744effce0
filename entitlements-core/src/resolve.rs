//! THE RULES. Every answer goes through here: checks, rows of a snapshot, explanations, impact.
//!
//! Two steps. [`Workspace::profile`] finds what is in force for a tenant at an instant (rule 2, and
//! which overrides and blocks hold). [`answer`] decides one feature from that (rules 1 and 3 to 6).
//! Everything is pure; a workspace only keeps its buffers, so that no check allocates.

use crate::{
    AMOUNT_MAX, Reason, Status, Timestamp,
    decision::{Answer, NO_BUNDLE, Shape, UNLIMITED},
    facts::{AddOnFact, Facts, OverrideAmount, Span, SubscriptionFact},
    index::{
        AddOnIx, AudienceIx, AudienceMemo, Bits, BundleIx, Contents, FeatureEntry, FeatureIx, Give,
        Index, KindEntry, PlanIx, PromotionIx, SheetGrant, SheetIx, Who,
    },
    names::Name,
};

/// Everything about a tenant that decides its answers at one instant.
///
/// Tenants with equal profiles have equal answers, so each distinct one is resolved once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Profile {
    /// Lists of grants in force, in the order in which ties are settled.
    in_force: Vec<InForce>,
    audiences: Bits,
    integrations: Bits,
    overrides: Vec<OverrideInForce>,
    /// Owner, and the feature; no feature means all but the essential ones. By owner.
    blocks: Vec<(Name, Option<FeatureIx>)>,
}

/// One list of grants in force, and who brought it. The order of its members settles ties: plan
/// before inherited plan before add-on before promotion; own grants before bundles; smaller key;
/// newer version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct InForce {
    owner: Rank,
    /// Which plan, add-on or promotion.
    place: u16,
    /// 0 for its own grants, else one more than the bundle.
    via: u16,
    sheet: SheetIx,
    quantity: u32,
}

/// What brings grants. A plan counts its distance along `extends`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Rank {
    Plan { distance: u8, through_bundle: bool },
    AddOn,
    Promotion,
}

impl InForce {
    fn reason(self) -> Reason {
        match self.owner {
            Rank::Plan { .. } => Reason::Plan,
            Rank::AddOn => Reason::AddOn,
            Rank::Promotion => Reason::Promotion,
        }
    }

    /// For configs, what is nearest to the occasion wins: promotion over add-on over plan.
    fn config_order(self) -> (u8, Self) {
        let layer = match self.owner {
            Rank::Promotion => 0,
            Rank::AddOn => 1,
            Rank::Plan { .. } => 2,
        };
        (layer, self)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct OverrideInForce {
    feature: FeatureIx,
    amount: OverrideAmount,
    force: bool,
}

// ---------------------------------------------------------------------------------------------
// Rules 1 and 3 to 6: one feature.
// ---------------------------------------------------------------------------------------------

/// Decides one feature. `is_allowed` says whether a feature that it requires is allowed.
///
/// Where several things stand in the way, the first in this order is named: it is the one that has
/// to change before the next one matters.
fn answer<'p>(
    index: &Index,
    profile: &Profile,
    place: FeatureIx,
    grants: impl Iterator<Item = Granted<'p>>,
    is_allowed: &mut impl FnMut(FeatureIx) -> bool,
) -> Answer {
    let Some(feature) = index.feature(place) else {
        return Answer::denied(Reason::UnknownFeature, 0);
    };
    // Rule 1. Nothing lifts a block.
    if let Some(owner) = profile.blocked_by(place, feature) {
        return Answer::denied(Reason::Blocked, owner.0);
    }
    // Rule 4 stands in for rule 3.
    let word = profile.override_of(place);
    let force = word.is_some_and(|word| word.force);
    let granted = match word {
        Some(word) if word.amount == OverrideAmount::Denied => {
            return Answer::denied(Reason::DeniedByOverride, place.0.into());
        }
        Some(word) => overridden(index, feature, *word),
        None => combined(profile, grants, &feature.kind),
    };
    // Rule 5, where it may be sold.
    if !force && !feature.available_to.iter().all(|audience| profile.audiences.has(*audience)) {
        return Answer::denied(Reason::NotAvailable, 0);
    }
    // Rule 6: nothing, and nothing left, are not the same.
    let Some(granted) = granted else { return Answer::denied(Reason::NotIncluded, 0) };
    if force || !granted.is_allowed() {
        return granted;
    }
    // Rule 5, what it needs.
    let connected = |bit: u16| profile.integrations.get(bit.into());
    if let Some((missing, _)) = feature.integrations.iter().find(|(_, bit)| !connected(*bit)) {
        return Answer::denied(Reason::MissingIntegration, missing.0);
    }
    if let Some(missing) = feature.requires.iter().find(|required| !is_allowed(**required)) {
        return Answer::denied(Reason::MissingPrerequisite, missing.0.into());
    }
    granted
}

impl Profile {
    fn blocked_by(&self, place: FeatureIx, feature: &FeatureEntry) -> Option<Name> {
        let covers =
            |target: Option<FeatureIx>| target.map_or(!feature.essential, |one| one == place);
        self.blocks.iter().find(|(_, target)| covers(*target)).map(|(owner, _)| *owner)
    }

    fn override_of(&self, place: FeatureIx) -> Option<&OverrideInForce> {
        self.overrides.iter().find(|word| word.feature == place)
    }

    pub(crate) fn is_connected(&self, bit: u16) -> bool {
        self.integrations.get(bit.into())
    }

    pub(crate) fn is_in(&self, audience: AudienceIx) -> bool {
        self.audiences.has(audience)
    }
}

/// Rule 4: what an override says. One that does not fit the feature has been left out before.
fn overridden(index: &Index, feature: &FeatureEntry, word: OverrideInForce) -> Option<Answer> {
    let (shape, amount) = match word.amount {
        OverrideAmount::Denied => (Shape::Denied, 0),
        OverrideAmount::On => (Shape::Allowed, 0),
        OverrideAmount::Limit(amount) => (Shape::Limit, amount),
        OverrideAmount::Level(name) => (Shape::Level, index.level_named(feature, name)?),
        OverrideAmount::Config(name) => (Shape::Config, name.0.into()),
    };
    let source = word.feature.0.into();
    Some(granted(Answer { amount, source, via: NO_BUNDLE, reason: Reason::Override, shape }))
}

/// One grant of the feature in question, and what brings it in force.
type Granted<'p> = (&'p InForce, &'p SheetGrant);

/// The grants of a feature in force, in the order in which ties are settled.
fn grants_of<'p>(
    index: &'p Index,
    profile: &'p Profile,
    place: FeatureIx,
) -> impl Iterator<Item = Granted<'p>> {
    profile.in_force.iter().flat_map(move |source| {
        index.sheets.grants(source.sheet, place).iter().map(move |grant| (source, grant))
    })
}

/// Rule 3: all that is granted, together. `None` where nothing grants it.
fn combined<'p>(
    profile: &Profile,
    grants: impl Iterator<Item = Granted<'p>>,
    kind: &KindEntry,
) -> Option<Answer> {
    let mut best: Option<(InForce, u64)> = None;
    let mut added = 0_u64;
    let mut first_added = None;
    for (source, grant) in grants.filter(|(_, grant)| profile.audiences.has(grant.only)) {
        let better = |amount: u64| best.is_none_or(|(_, before)| amount > before);
        let nearer =
            || best.is_none_or(|(before, _)| source.config_order() < before.config_order());
        match grant.give {
            Give::On if best.is_none() => best = Some((*source, 0)),
            Give::Set(amount) | Give::Level(amount) if better(amount) => {
                best = Some((*source, amount))
            }
            Give::Config(json) if nearer() => best = Some((*source, json)),
            Give::Add(amount) => {
                added = added.saturating_add(amount.saturating_mul(source.quantity.into()));
                first_added.get_or_insert(*source);
            }
            Give::On | Give::Set(_) | Give::Level(_) | Give::Config(_) => {}
        }
    }
    let (source, amount) = best.or(first_added.map(|source| (source, 0)))?;
    let (shape, amount) = match kind {
        KindEntry::Switch => (Shape::Allowed, 0),
        KindEntry::Limit if amount == UNLIMITED => (Shape::Limit, UNLIMITED),
        KindEntry::Limit => (Shape::Limit, amount.saturating_add(added).min(AMOUNT_MAX)),
        KindEntry::Level { .. } => (Shape::Level, amount),
        KindEntry::Config => (Shape::Config, amount),
    };
    let via = source.via.checked_sub(1).unwrap_or(NO_BUNDLE);
    let reason = source.reason();
    Some(granted(Answer { amount, source: source.place.into(), via, reason, shape }))
}

/// What rule 3 alone finds, whatever else stands in the way. For explanations.
pub(crate) fn granted_by(index: &Index, profile: &Profile, place: FeatureIx) -> Option<Answer> {
    combined(profile, grants_of(index, profile, place), &index.feature(place)?.kind)
}

/// Rule 6: a limit of 0 is granted, and denied.
fn granted(answer: Answer) -> Answer {
    if answer.shape != Shape::Limit || answer.amount > 0 {
        return answer;
    }
    let source_kind = match answer.reason {
        Reason::AddOn => 1,
        Reason::Promotion => 2,
        Reason::Override => 3,
        _ => 0,
    };
    Answer { amount: source_kind, reason: Reason::Exhausted, shape: Shape::Denied, ..answer }
}

/// Decides every feature of one profile after another.
#[derive(Debug, Default)]
pub(crate) struct RowMaker {
    row: Vec<Answer>,
    /// For each feature, which sources in force grant it and what, in their order.
    grants: Vec<Vec<(u16, SheetGrant)>>,
}

impl RowMaker {
    /// The answers of a profile, by feature.
    pub(crate) fn row(&mut self, index: &Index, profile: &Profile) -> &[Answer] {
        self.sort_grants(index, profile);
        let Self { row, grants } = self;
        row.clear();
        row.resize(index.feature_count(), Answer::denied(Reason::NotIncluded, 0));
        for place in &index.order {
            let own = grants.get(place.get()).into_iter().flatten();
            let own = own.filter_map(|(source, grant)| {
                Some((profile.in_force.get(usize::from(*source))?, grant))
            });
            // What it requires comes earlier in the order, so it stands in the row already.
            let decided = answer(index, profile, *place, own, &mut |required| {
                row.get(required.get()).is_some_and(|answer| answer.is_allowed())
            });
            if let Some(cell) = row.get_mut(place.get()) {
                *cell = decided;
            }
        }
        row
    }

    fn sort_grants(&mut self, index: &Index, profile: &Profile) {
        self.grants.resize_with(index.feature_count(), Vec::new);
        self.grants.iter_mut().for_each(Vec::clear);
        for (number, source) in (0..).zip(&profile.in_force) {
            for grant in index.sheets.all(source.sheet) {
                if let Some(of_feature) = self.grants.get_mut(grant.feature.get()) {
                    of_feature.push((number, *grant));
                }
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Rule 2: what is in force.
// ---------------------------------------------------------------------------------------------

/// A plan, add-on or promotion that a tenant might have something from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate {
    Subscription { plan: PlanIx, from: Timestamp },
    AddOn { add_on: AddOnIx, quantity: u32 },
    Promotion(PromotionIx),
}

/// Whether it is in force, and if not, why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    InForce,
    NotStarted,
    Ended,
    /// The tenant is outside the audience.
    NotForTenant,
    NotEnrolled,
    /// Another promotion of the group counts.
    GroupTaken(PromotionIx),
    /// Suspended: this add-on, which it requires, is not in force.
    Requires(AddOnIx),
    /// Suspended: this add-on, which excludes it, is in force.
    ExcludedBy(AddOnIx),
}

/// Told about each candidate; an explanation listens, a check does not.
pub(crate) trait Trace {
    fn candidate(&mut self, candidate: Candidate, span: Span, outcome: Outcome);
}

/// Listens to nothing.
pub(crate) struct Silent;

impl Trace for Silent {
    fn candidate(&mut self, _: Candidate, _: Span, _: Outcome) {}
}

/// Buffers that are used again and again.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    profile: Profile,
    plans: Vec<PlanIx>,
    /// All audiences that the tenant is in, those included that decide no answer by themselves.
    audiences: Bits,
    add_ons: Vec<AddOnCandidate>,
    promotions: Vec<PromotionIx>,
    known: Vec<Option<bool>>,
    memo: Option<AudienceMemo>,
}

#[derive(Debug, Clone, Copy)]
struct AddOnCandidate {
    add_on: AddOnIx,
    fact: AddOnFact,
    outcome: Outcome,
}

impl Workspace {
    /// One that remembers audiences, for many tenants under one catalog.
    pub(crate) fn for_many() -> Self {
        Self { memo: Some(AudienceMemo::default()), ..Self::default() }
    }

    /// Finds what is in force for a tenant at an instant.
    pub(crate) fn profile(
        &mut self,
        index: &Index,
        facts: Facts<'_>,
        at: Timestamp,
        trace: &mut impl Trace,
    ) -> &Profile {
        self.profile.in_force.clear();
        let status = self.subscriptions(index, facts, at, trace);
        self.audiences(index, Who { facts, plans: &[], status, at });
        self.add_ons(index, facts, at, trace);
        self.promotions(index, facts, at, trace);
        self.profile.in_force.sort_unstable();
        self.profile.audiences.copy_from(self.audiences.words());
        index.audiences.keep_deciding(&mut self.profile.audiences);
        self.integrations(index, facts);
        self.overrides(index, facts, at);
        self.blocks(index, facts, at);
        &self.profile
    }

    /// What a tenant is to audiences at an instant: its plans in force, its status, its facts.
    pub(crate) fn who<'a>(&'a mut self, index: &Index, facts: Facts<'a>, at: Timestamp) -> Who<'a> {
        self.profile.in_force.clear();
        let status = self.subscriptions(index, facts, at, &mut Silent);
        Who { facts, plans: &self.plans, status, at }
    }

    /// Tells of the add-ons that a tenant holds, and of nothing else.
    pub(crate) fn add_ons_of(
        &mut self,
        index: &Index,
        facts: Facts<'_>,
        at: Timestamp,
        trace: &mut impl Trace,
    ) {
        self.profile.in_force.clear();
        let status = self.subscriptions(index, facts, at, &mut Silent);
        self.audiences(index, Who { facts, plans: &[], status, at });
        self.add_ons(index, facts, at, trace);
    }

    fn subscriptions(
        &mut self,
        index: &Index,
        facts: Facts<'_>,
        at: Timestamp,
        trace: &mut impl Trace,
    ) -> Status {
        self.plans.clear();
        let (mut paid, mut trial, mut started) = (false, false, false);
        for fact in facts.subscriptions() {
            started |= fact.span.from <= at;
            let outcome = timely(fact.span, at);
            if outcome == Outcome::InForce {
                paid |= !fact.trial;
                trial |= fact.trial;
            }
            let Some(plan) = index.plan_named(fact.plan) else { continue };
            trace.candidate(candidate(plan, fact), fact.span, outcome);
            if outcome == Outcome::InForce {
                self.plans.push(plan);
                self.grant_plan(index, plan, fact.span.from, at);
            }
        }
        self.plans.sort_unstable();
        self.plans.dedup();
        match (paid, trial, started) {
            (true, _, _) => Status::Active,
            (false, true, _) => Status::Trial,
            (false, false, true) => Status::Lapsed,
            (false, false, false) => Status::Prospect,
        }
    }

    fn grant_plan(&mut self, index: &Index, plan: PlanIx, from: Timestamp, at: Timestamp) {
        let start = self.profile.in_force.len();
        let in_force = &mut self.profile.in_force;
        plan_chain(index, plan, from, at, |plan, distance, contents| {
            let own = Rank::Plan { distance, through_bundle: false };
            in_force.push(InForce {
                owner: own,
                place: plan.0,
                via: 0,
                sheet: contents.own,
                quantity: 1,
            });
            for bundle in &contents.bundles {
                // A bundle counts once for a subscription, also where an inherited plan has it too.
                let via = bundle.0.saturating_add(1);
                if in_force.iter().skip(start).any(|before| before.via == via) {
                    continue;
                }
                let owner = Rank::Plan { distance, through_bundle: true };
                let sheet = index.bundle_sheet(*bundle);
                in_force.push(InForce { owner, place: plan.0, via, sheet, quantity: 1 });
            }
        });
    }

    fn audiences(&mut self, index: &Index, who: Who<'_>) {
        let who = Who { plans: &self.plans, ..who };
        match &mut self.memo {
            Some(memo) => memo.evaluate(&index.audiences, who, &mut self.audiences),
            None => index.audiences.evaluate(who, &mut self.audiences),
        }
    }

    fn add_ons(&mut self, index: &Index, facts: Facts<'_>, at: Timestamp, trace: &mut impl Trace) {
        self.add_ons.clear();
        for fact in facts.add_ons() {
            let Some(add_on) = index.add_on_named(fact.add_on) else { continue };
            let mut outcome = timely(fact.span, at);
            let for_tenant = || {
                index.add_ons.get(add_on.get()).is_some_and(|a| self.audiences.has(a.available_to))
            };
            if outcome == Outcome::InForce && !for_tenant() {
                outcome = Outcome::NotForTenant;
            }
            self.add_ons.push(AddOnCandidate { add_on, fact, outcome });
        }
        suspend(index, &mut self.add_ons);
        for AddOnCandidate { add_on, fact, outcome } in &self.add_ons {
            let candidate = Candidate::AddOn { add_on: *add_on, quantity: fact.quantity };
            trace.candidate(candidate, fact.span, *outcome);
            let Some(entry) = index.add_ons.get(add_on.get()) else { continue };
            if *outcome == Outcome::InForce {
                let quantity = fact.quantity;
                grant(
                    &mut self.profile.in_force,
                    index,
                    Rank::AddOn,
                    add_on.0,
                    &entry.contents,
                    quantity,
                );
            }
        }
    }

    fn promotions(
        &mut self,
        index: &Index,
        facts: Facts<'_>,
        at: Timestamp,
        trace: &mut impl Trace,
    ) {
        self.promotions.clear();
        for (number, promotion) in index.promotions.iter().enumerate() {
            let place = PromotionIx::at(number);
            let mut outcome = timely(promotion.span, at);
            if outcome == Outcome::InForce {
                if !self.audiences.has(promotion.audience) {
                    outcome = Outcome::NotForTenant;
                } else if promotion.by_request && !is_enrolled(index, facts, place, at) {
                    outcome = Outcome::NotEnrolled;
                } else {
                    self.promotions.push(place);
                    continue;
                }
            }
            trace.candidate(Candidate::Promotion(place), promotion.span, outcome);
        }
        for place in &self.promotions {
            let Some(promotion) = index.promotions.get(place.get()) else { continue };
            let winner =
                promotion.group.and_then(|group| group_winner(index, &self.promotions, group));
            let outcome = match winner {
                Some(winner) if winner != *place => Outcome::GroupTaken(winner),
                _ => Outcome::InForce,
            };
            trace.candidate(Candidate::Promotion(*place), promotion.span, outcome);
            if outcome == Outcome::InForce {
                grant(
                    &mut self.profile.in_force,
                    index,
                    Rank::Promotion,
                    place.0,
                    &promotion.contents,
                    1,
                );
            }
        }
    }

    fn integrations(&mut self, index: &Index, facts: Facts<'_>) {
        self.profile.integrations.clear(index.integration_count());
        for name in facts.integrations().iter() {
            if let Some(bit) = index.integration_named(name) {
                self.profile.integrations.set(bit.into());
            }
        }
    }

    fn overrides(&mut self, index: &Index, facts: Facts<'_>, at: Timestamp) {
        self.profile.overrides.clear();
        for fact in facts.overrides().filter(|fact| fact.span.contains(at)) {
            let Some(place) = index.feature_named(fact.feature) else { continue };
            let fits =
                index.feature(place).is_some_and(|feature| fits(index, feature, fact.amount));
            // Overlapping ones are refused when written. Should there be some all the same, the
            // first in the order of the facts counts.
            if fits && self.profile.override_of(place).is_none() {
                let word =
                    OverrideInForce { feature: place, amount: fact.amount, force: fact.force };
                self.profile.overrides.push(word);
            }
        }
    }

    fn blocks(&mut self, index: &Index, facts: Facts<'_>, at: Timestamp) {
        self.profile.blocks.clear();
        if !facts.has_blocks() {
            return;
        }
        for fact in facts.blocks().filter(|fact| fact.span.contains(at)) {
            let blocks = &mut self.profile.blocks;
            if fact.features.is_empty() && fact.modules.is_empty() {
                blocks.push((fact.owner, None));
            }
            let named = fact.features.iter().filter_map(|name| index.feature_named(name));
            blocks.extend(named.map(|feature| (fact.owner, Some(feature))));
            for module in fact.modules.iter().filter_map(|name| index.module_named(name)) {
                let features = index.features_of_module(module);
                blocks.extend(features.map(|feature| (fact.owner, Some(feature))));
            }
        }
        let text = |name: Name| index.names.text(name);
        self.profile.blocks.sort_unstable_by(|a, b| text(a.0).cmp(text(b.0)).then(a.1.cmp(&b.1)));
        self.profile.blocks.dedup();
    }

    /// Decides one feature at any instant, from the facts.
    pub(crate) fn answer(
        &mut self,
        index: &Index,
        facts: Facts<'_>,
        place: FeatureIx,
        at: Timestamp,
    ) -> Answer {
        self.profile(index, facts, at, &mut Silent);
        self.known.clear();
        if index.feature(place).is_some_and(|feature| !feature.requires.is_empty()) {
            self.known.resize(index.feature_count(), None);
        }
        deep(index, &self.profile, place, &mut self.known)
    }

    /// The first instant after `at` at which an answer of the tenant may change.
    ///
    /// [`Workspace::profile`] must have been called for `at`: between it and the tenant's own next
    /// edge its audiences stay the same, so a promotion that it is outside of does not count.
    pub(crate) fn edge_after(&self, index: &Index, facts: Facts<'_>, at: Timestamp) -> Timestamp {
        let mut edge = index.audiences.age_edge_after(facts.signed_up_at(), at);
        for fact in facts.subscriptions() {
            edge = edge.min(fact.span.edge_after(at));
            if fact.span.contains(at)
                && let Some(plan) =
                    index.plan_named(fact.plan).and_then(|plan| index.plans.get(plan.get()))
            {
                let next = plan.edges.partition_point(|edge| *edge <= at);
                edge = edge.min(plan.edges.get(next).copied().unwrap_or(Timestamp::MAX));
            }
        }
        let spans = (facts.add_ons().map(|fact| fact.span))
            .chain(facts.enrolments().map(|fact| fact.span))
            .chain(facts.overrides().map(|fact| fact.span))
            .chain(facts.blocks().map(|fact| fact.span));
        edge = spans.fold(edge, |edge, span| edge.min(span.edge_after(at)));
        let concerned = index.promotions.iter().filter(|p| self.audiences.has(p.audience));
        concerned.fold(edge, |edge, promotion| edge.min(promotion.span.edge_after(at)))
    }
}

/// Decides a feature and, before it, what it requires. The catalog bounds how deep that goes.
fn deep(
    index: &Index,
    profile: &Profile,
    place: FeatureIx,
    known: &mut Vec<Option<bool>>,
) -> Answer {
    let grants = grants_of(index, profile, place);
    let decided = answer(index, profile, place, grants, &mut |required| {
        if let Some(Some(allowed)) = known.get(required.get()) {
            return *allowed;
        }
        deep(index, profile, required, known).is_allowed()
    });
    if let Some(cell) = known.get_mut(place.get()) {
        *cell = Some(decided.is_allowed());
    }
    decided
}

fn candidate(plan: PlanIx, fact: SubscriptionFact) -> Candidate {
    Candidate::Subscription { plan, from: fact.span.from }
}

fn timely(span: Span, at: Timestamp) -> Outcome {
    if at < span.from {
        Outcome::NotStarted
    } else if at < span.until {
        Outcome::InForce
    } else {
        Outcome::Ended
    }
}

/// The plan and those it extends, each in the version that counts for a subscription: the newest
/// that the subscription started under, or that reaches existing ones by now.
pub(crate) fn plan_chain<'i>(
    index: &'i Index,
    plan: PlanIx,
    from: Timestamp,
    at: Timestamp,
    mut visit: impl FnMut(PlanIx, u8, &'i Contents),
) {
    let (mut next, mut distance) = (Some(plan), 0_u8);
    while let Some(plan) = next {
        let versions = index.plans.get(plan.get()).map_or(&[][..], |plan| &plan.versions);
        let counts = versions.iter().find(|v| v.from <= from || v.existing_from <= at);
        let Some(version) = counts else { return };
        visit(plan, distance, &version.contents);
        next = version.extends;
        distance = distance.saturating_add(1);
    }
}

fn grant(
    in_force: &mut Vec<InForce>,
    index: &Index,
    owner: Rank,
    place: u16,
    contents: &Contents,
    quantity: u32,
) {
    in_force.push(InForce { owner, place, via: 0, sheet: contents.own, quantity });
    in_force.extend(contents.bundles.iter().map(|bundle: &BundleIx| {
        let sheet = index.bundle_sheet(*bundle);
        InForce { owner, place, via: bundle.0.saturating_add(1), sheet, quantity }
    }));
}

/// Suspends add-ons that lack what they require, or that lose to one that excludes them.
///
/// They are settled one after another: the earlier start first, then the smaller key, and each after
/// what it requires. So each needs to look only at those before it, and what it looks at is final.
fn suspend(index: &Index, candidates: &mut [AddOnCandidate]) {
    candidates.sort_unstable_by_key(|c| (c.fact.span.from, c.add_on, c.fact.span.until));
    for place in 0..candidates.len() {
        let (settled, open) = candidates.split_at_mut(place);
        // Those that are passed over keep their order.
        if let Some(passed) = open.get_mut(..=next_to_settle(index, open)) {
            passed.rotate_right(1);
        }
        let Some(candidate) = open.first_mut().filter(|c| c.outcome == Outcome::InForce) else {
            continue;
        };
        candidate.outcome = settle(index, candidate.add_on, settled);
    }
}

/// The first that requires nothing that is still open. A catalog's requirements form no circle, so
/// there is one.
fn next_to_settle(index: &Index, open: &[AddOnCandidate]) -> usize {
    let is_open = |add_on: &AddOnIx| {
        open.iter().any(|c| c.add_on == *add_on && c.outcome == Outcome::InForce)
    };
    let is_next = |candidate: &AddOnCandidate| {
        let entry = index.add_ons.get(candidate.add_on.get());
        candidate.outcome != Outcome::InForce
            || !entry.is_some_and(|entry| entry.requires.iter().any(is_open))
    };
    open.iter().position(is_next).unwrap_or(0)
}

fn settle(index: &Index, add_on: AddOnIx, settled: &[AddOnCandidate]) -> Outcome {
    let Some(entry) = index.add_ons.get(add_on.get()) else { return Outcome::InForce };
    let mut in_force = settled.iter().filter(|c| c.outcome == Outcome::InForce).map(|c| c.add_on);
    if let Some(missing) =
        entry.requires.iter().find(|required| !in_force.clone().any(|c| c == **required))
    {
        return Outcome::Requires(*missing);
    }
    in_force
        .find(|other| entry.excludes.contains(other))
        .map_or(Outcome::InForce, Outcome::ExcludedBy)
}

fn is_enrolled(index: &Index, facts: Facts<'_>, promotion: PromotionIx, at: Timestamp) -> bool {
    facts.enrolments().any(|enrolment| {
        enrolment.span.contains(at) && index.promotion_named(enrolment.promotion) == Some(promotion)
    })
}

/// The highest priority of a group, then the smaller key: the list is in the order of keys.
fn group_winner(index: &Index, promotions: &[PromotionIx], group: u16) -> Option<PromotionIx> {
    let entry = |place: PromotionIx| index.promotions.get(place.get());
    let members =
        promotions.iter().filter(|place| entry(**place).is_some_and(|p| p.group == Some(group)));
    members.copied().reduce(|best, next| {
        let priority = |place| entry(place).map_or(i32::MIN, |promotion| promotion.priority);
        if priority(next) > priority(best) { next } else { best }
    })
}

/// Whether an override's amount means something for a feature of this kind.
fn fits(index: &Index, feature: &FeatureEntry, amount: OverrideAmount) -> bool {
    match (amount, &feature.kind) {
        (OverrideAmount::Denied, _)
        | (OverrideAmount::On, KindEntry::Switch)
        | (OverrideAmount::Limit(_), KindEntry::Limit)
        | (OverrideAmount::Config(_), KindEntry::Config) => true,
        (OverrideAmount::Level(name), KindEntry::Level { .. }) => {
            index.level_named(feature, name).is_some()
        }
        _ => false,
    }
}
