//! Which features a difference between two catalogs can reach.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    AddOn, AddOnKey, Audience, BundleKey, Draft, Feature, FeatureKey, Grant, Grants, GroupKey,
    Plan, PlanKey, Promotion, RegionKey, SegmentKey, Timestamp,
};

/// The features whose answers may differ between two catalogs. Rather one too many than one too
/// few.
pub(super) struct Reach<'c> {
    drafts: [&'c Draft; 2],
    features: BTreeSet<&'c FeatureKey>,
    regions: BTreeSet<&'c RegionKey>,
    segments: BTreeSet<&'c SegmentKey>,
    /// Exclusive groups of promotions that are reached: each of the group may push them aside.
    groups: BTreeSet<&'c GroupKey>,
}

impl<'c> Reach<'c> {
    pub(super) fn new(before: &'c Draft, after: &'c Draft) -> Self {
        let mut reach = Self {
            drafts: [before, after],
            features: BTreeSet::new(),
            regions: differing(&before.regions, &after.regions, |a, b| a.countries == b.countries),
            segments: BTreeSet::new(),
            groups: BTreeSet::new(),
        };
        reach.segments();
        reach.features();
        reach.bundles();
        reach.plans();
        reach.add_ons();
        reach.promotions();
        reach.grants_for_some();
        while reach.follow() {}
        while reach.precede() {}
        reach.rivals();
        reach
    }

    /// Whether a promotion, or one that may count in its place, grants any of them.
    pub(super) fn promotion(&self, draft: &'c Draft, promotion: &'c Promotion) -> bool {
        let group = promotion.exclusive_group.as_ref();
        group.is_some_and(|group| self.groups.contains(group))
            || self.reaches(&contents(draft, &promotion.bundles, &promotion.grants))
    }

    /// Whether any version of a plan, or of one that it extends, grants any of them.
    pub(super) fn plan(&self, draft: &'c Draft, plan: &'c Plan) -> bool {
        self.reaches(&plan_features(draft, plan))
    }

    fn reaches(&self, features: &BTreeSet<&FeatureKey>) -> bool {
        !self.features.is_disjoint(features)
    }

    /// Whether somebody may be in an audience under one catalog and not under the other.
    fn shifts(&self, audience: &Audience) -> bool {
        let mut found = false;
        audience.walk("", &mut |_, part| {
            found |= part.segment.iter().any(|key| self.segments.contains(key))
                || part.region.iter().any(|key| self.regions.contains(key));
        });
        found
    }

    fn segments(&mut self) {
        let [before, after] = self.drafts;
        self.segments =
            differing(&before.segments, &after.segments, |a, b| a.audience == b.audience);
        loop {
            let shift = |(_, segment): &(_, &'c crate::Segment)| {
                segment.audience.as_ref().is_some_and(|audience| self.shifts(audience))
            };
            let more: Vec<_> = self.drafts.iter().flat_map(|draft| &draft.segments).collect();
            let more: Vec<_> = more.into_iter().filter(shift).map(|(key, _)| key).collect();
            let known = self.segments.len();
            self.segments.extend(more);
            if self.segments.len() == known {
                return;
            }
        }
    }

    fn features(&mut self) {
        let [before, after] = self.drafts;
        let modules = differing(&before.modules, &after.modules, |a, b| {
            (&a.requires, &a.integrations, &a.available_to)
                == (&b.requires, &b.integrations, &b.available_to)
        });
        let mut found = differing(&before.features, &after.features, |a, b| {
            (&a.kind, &a.module, a.essential) == (&b.kind, &b.module, b.essential)
                && (&a.requires, &a.integrations, &a.available_to)
                    == (&b.requires, &b.integrations, &b.available_to)
        });
        for draft in self.drafts {
            for (key, feature) in &draft.features {
                let module = feature.module.as_ref();
                let moved = module.is_some_and(|module| modules.contains(module))
                    || module
                        .and_then(|module| draft.modules.get(module))
                        .is_some_and(|module| self.shifts(&module.available_to))
                    || self.shifts(&feature.available_to);
                if moved {
                    found.insert(key);
                }
            }
        }
        self.features.append(&mut found);
    }

    fn bundles(&mut self) {
        let keys = keys(self.drafts.map(|draft| &draft.bundles));
        for key in keys {
            let both = self.drafts.map(|draft| {
                let bundle = draft.bundles.get(key);
                Contents { bundles: bundle.map(|b| &b.bundles), grants: bundle.map(|b| &b.grants) }
            });
            self.contents(both);
        }
    }

    fn plans(&mut self) {
        let keys: Vec<&PlanKey> = keys(self.drafts.map(|draft| &draft.plans));
        for key in keys {
            let both = self.drafts.map(|draft| draft.plans.get(key));
            let reaching = both.map(|plan| plan.map(reaching));
            if reaching[0] != reaching[1] {
                // Versions that come, go, or count from another instant on.
                self.add_plan(key);
                continue;
            }
            let starts = reaching.into_iter().flatten().flatten().map(|version| version.0);
            for from in starts.chain([Timestamp::MIN]).collect::<BTreeSet<_>>() {
                let versions = both.map(|plan| plan.map(|plan| version(plan, from)));
                if versions[0].map(|one| one.extends) != versions[1].map(|one| one.extends) {
                    self.add_plan(key);
                }
                self.contents(
                    versions.map(|one| one.map_or_else(Contents::default, |v| v.contents)),
                );
            }
        }
    }

    fn add_plan(&mut self, key: &PlanKey) {
        for draft in self.drafts {
            if let Some(plan) = draft.plans.get(key) {
                self.features.append(&mut plan_features(draft, plan));
            }
        }
    }

    fn add_ons(&mut self) {
        let [before, after] = self.drafts;
        let mut moved: BTreeSet<&AddOnKey> = differing(&before.add_ons, &after.add_ons, |a, b| {
            (&a.available_to, &a.requires, &a.excludes)
                == (&b.available_to, &b.requires, &b.excludes)
        });
        for draft in self.drafts {
            let shift = |add_on: &AddOn| self.shifts(&add_on.available_to);
            moved.extend(draft.add_ons.iter().filter(|(_, one)| shift(one)).map(|(key, _)| key));
        }
        self.entangled(&mut moved);
        for key in keys(self.drafts.map(|draft| &draft.add_ons)) {
            let both = self.drafts.map(|draft| {
                let add_on = draft.add_ons.get(key);
                Contents { bundles: add_on.map(|a| &a.bundles), grants: add_on.map(|a| &a.grants) }
            });
            if moved.contains(key) {
                both.into_iter().zip(self.drafts).for_each(|(all, draft)| self.all_of(draft, all));
            } else {
                self.contents(both);
            }
        }
    }

    /// Add-ons that stand or fall with others.
    fn entangled(&self, moved: &mut BTreeSet<&'c AddOnKey>) {
        loop {
            let known = moved.len();
            for (key, add_on) in self.drafts.iter().flat_map(|draft| &draft.add_ons) {
                let others = || add_on.requires.iter().chain(&add_on.excludes);
                if moved.contains(key) {
                    moved.extend(others());
                } else if others().any(|other| moved.contains(other)) {
                    moved.insert(key);
                }
            }
            if moved.len() == known {
                return;
            }
        }
    }

    fn promotions(&mut self) {
        let [before, after] = self.drafts;
        let mut moved = differing(&before.promotions, &after.promotions, |a, b| {
            (a.window.start(), a.window.end(), &a.audience, a.enrolment.is_automatic())
                == (b.window.start(), b.window.end(), &b.audience, b.enrolment.is_automatic())
                && (a.priority, &a.exclusive_group) == (b.priority, &b.exclusive_group)
        });
        for draft in self.drafts {
            let shift = |one: &Promotion| self.shifts(&one.audience);
            moved.extend(draft.promotions.iter().filter(|(_, one)| shift(one)).map(|(key, _)| key));
        }
        for key in keys(self.drafts.map(|draft| &draft.promotions)) {
            let promotions = self.drafts.map(|draft| draft.promotions.get(key));
            let both = promotions.map(|one| Contents {
                bundles: one.map(|p| &p.bundles),
                grants: one.map(|p| &p.grants),
            });
            if moved.contains(key) {
                let groups = promotions.iter().flatten().filter_map(|p| p.exclusive_group.as_ref());
                self.groups.extend(groups);
                both.into_iter().zip(self.drafts).for_each(|(all, draft)| self.all_of(draft, all));
            } else {
                self.contents(both);
            }
        }
    }

    /// Grants that hold for an audience only, where that audience has changed.
    fn grants_for_some(&mut self) {
        let all = self.drafts.into_iter().flat_map(all_grants);
        let shifted: Vec<&FeatureKey> =
            all.filter(|grant| self.shifts(&grant.only)).map(|grant| &grant.feature).collect();
        self.features.extend(shifted);
    }

    /// Adds the groups of promotions that grant what is reached.
    fn rivals(&mut self) {
        for draft in self.drafts {
            for promotion in draft.promotions.values() {
                if self.promotion(draft, promotion) {
                    self.groups.extend(&promotion.exclusive_group);
                }
            }
        }
    }

    /// Adds features that require what is known, or that promotions grant whose rivals have changed;
    /// says whether there was any.
    fn follow(&mut self) -> bool {
        let known = self.features.len();
        for draft in self.drafts {
            for (key, feature) in &draft.features {
                if requires(draft, feature).any(|required| self.features.contains(required)) {
                    self.features.insert(key);
                }
            }
            for promotion in draft.promotions.values() {
                let Some(group) = &promotion.exclusive_group else { continue };
                let mut features = contents(draft, &promotion.bundles, &promotion.grants);
                if self.groups.contains(group) {
                    self.features.append(&mut features);
                }
            }
        }
        known != self.features.len()
    }

    /// Adds features that what is known requires: while one is denied, so is what requires it, and
    /// no difference shows. Says whether there was any.
    fn precede(&mut self) -> bool {
        let known = self.features.len();
        for draft in self.drafts {
            for (key, feature) in &draft.features {
                if self.features.contains(key) {
                    self.features.extend(requires(draft, feature));
                }
            }
        }
        known != self.features.len()
    }

    /// Adds the features of which two lists of grants give something else.
    fn contents(&mut self, [before, after]: [Contents<'c>; 2]) {
        let mut by_feature: BTreeMap<&FeatureKey, [Vec<&Grant>; 2]> = BTreeMap::new();
        for (side, contents) in [before, after].iter().enumerate() {
            for grant in contents.grants.into_iter().flatten() {
                if let Some(grants) = by_feature.entry(&grant.feature).or_default().get_mut(side) {
                    grants.push(grant);
                }
            }
        }
        let other = by_feature.into_iter().filter(|(_, [before, after])| before != after);
        self.features.extend(other.map(|(key, _)| key));
        let has =
            |contents: Contents<'c>, key| contents.bundles.is_some_and(|all| all.contains(key));
        for (one, other, draft) in
            [(before, after, self.drafts[0]), (after, before, self.drafts[1])]
        {
            for key in one.bundles.into_iter().flatten().filter(|key| !has(other, *key)) {
                bundle_features(draft, key, &mut self.features);
            }
        }
    }

    fn all_of(&mut self, draft: &'c Draft, all: Contents<'c>) {
        self.features.extend(all.grants.into_iter().flatten().map(|grant| &grant.feature));
        for key in all.bundles.into_iter().flatten() {
            bundle_features(draft, key, &mut self.features);
        }
    }
}

/// Grants and bundles of whatever has them; nothing where it is missing.
#[derive(Clone, Copy, Default)]
struct Contents<'c> {
    bundles: Option<&'c BTreeSet<BundleKey>>,
    grants: Option<&'c Grants>,
}

/// A version of a plan.
#[derive(Clone, Copy)]
struct Version<'c> {
    extends: Option<&'c PlanKey>,
    contents: Contents<'c>,
}

/// The version of a plan that starts at an instant; else its first one.
fn version(plan: &Plan, from: Timestamp) -> Version<'_> {
    let (extends, bundles, grants) = plan
        .versions
        .iter()
        .find(|version| version.from == from)
        .map_or((&plan.extends, &plan.bundles, &plan.grants), |version| {
            (&version.extends, &version.bundles, &version.grants)
        });
    let contents = Contents { bundles: Some(bundles), grants: Some(grants) };
    Version { extends: extends.as_ref(), contents }
}

/// When the versions of a plan reach whom.
fn reaching(plan: &Plan) -> BTreeSet<(Timestamp, Option<Timestamp>)> {
    plan.versions.iter().map(|version| (version.from, version.existing_from)).collect()
}

/// What a feature requires, itself and through its module.
fn requires<'c>(draft: &'c Draft, feature: &'c Feature) -> impl Iterator<Item = &'c FeatureKey> {
    let module = feature.module.as_ref().and_then(|key| draft.modules.get(key));
    feature.requires.iter().chain(module.into_iter().flat_map(|module| &module.requires))
}

/// The keys of what only one of two maps has, or what is not alike in both.
fn differing<'c, K: Ord, V>(
    before: &'c BTreeMap<K, V>,
    after: &'c BTreeMap<K, V>,
    alike: impl Fn(&V, &V) -> bool,
) -> BTreeSet<&'c K> {
    let is_other = |key: &&K| match (before.get(*key), after.get(*key)) {
        (Some(before), Some(after)) => !alike(before, after),
        _ => true,
    };
    before.keys().chain(after.keys()).filter(is_other).collect()
}

fn keys<K: Ord, V>(both: [&BTreeMap<K, V>; 2]) -> Vec<&K> {
    let all: BTreeSet<&K> = both.into_iter().flat_map(BTreeMap::keys).collect();
    all.into_iter().collect()
}

fn all_grants(draft: &Draft) -> impl Iterator<Item = &Grant> {
    let plans = draft.plans.values();
    let versions = plans.clone().flat_map(|plan| &plan.versions);
    let lists = (draft.bundles.values().map(|bundle| &bundle.grants))
        .chain(plans.map(|plan| &plan.grants))
        .chain(versions.map(|version| &version.grants))
        .chain(draft.add_ons.values().map(|add_on| &add_on.grants))
        .chain(draft.promotions.values().map(|promotion| &promotion.grants));
    lists.flatten()
}

fn contents<'c>(
    draft: &'c Draft,
    bundles: &'c BTreeSet<BundleKey>,
    grants: &'c Grants,
) -> BTreeSet<&'c FeatureKey> {
    let mut found = grants.iter().map(|grant| &grant.feature).collect();
    bundles.iter().for_each(|key| bundle_features(draft, key, &mut found));
    found
}

/// A bundle's features, with those of all bundles inside. A checked catalog has no circle.
fn bundle_features<'c>(draft: &'c Draft, key: &BundleKey, found: &mut BTreeSet<&'c FeatureKey>) {
    if let Some(bundle) = draft.bundles.get(key) {
        found.extend(bundle.grants.iter().map(|grant| &grant.feature));
        bundle.bundles.iter().for_each(|key| bundle_features(draft, key, found));
    }
}

/// The features of all versions of a plan, with those of all plans that it extends.
fn plan_features<'c>(draft: &'c Draft, plan: &'c Plan) -> BTreeSet<&'c FeatureKey> {
    let (mut found, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![plan]);
    while let Some(plan) = open.pop() {
        found.append(&mut contents(draft, &plan.bundles, &plan.grants));
        for version in &plan.versions {
            found.append(&mut contents(draft, &version.bundles, &version.grants));
        }
        let extends = plan.versions.iter().filter_map(|version| version.extends.as_ref());
        for key in plan.extends.iter().chain(extends) {
            open.extend(draft.plans.get(key).filter(|_| seen.insert(key)));
        }
    }
    found
}
