//! How a checked catalog becomes numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::BuildHasher,
    sync::Arc,
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{
    AddOnEntry, AddOnIx, BundleIx, Contents, FeatureEntry, FeatureIx, Index, KindEntry, Meaning,
    PlanEntry, PlanIx, PromotionEntry, SheetIx, VersionEntry,
    audience::AudienceBuilder,
    sheet::{Give, SheetGrant, Sheets},
};
use crate::{
    Amount, BundleKey, Catalog, Draft, Enrolment, Feature, FeatureKey, FeatureKind, Grants,
    IntegrationKey, Limit, Plan, PlanKey, Timestamp,
    decision::UNLIMITED,
    facts::Span,
    handle::Stamp,
    names::{Name, Names},
};

impl Index {
    pub(crate) fn new(catalog: &Catalog, names: Arc<Names>) -> Self {
        let draft = catalog.draft();
        let mut build = Build::new(draft, &names);
        let features = build.features();
        build.bundles();
        let plans = draft.plans.iter().map(|(key, plan)| build.plan(key, plan)).collect();
        let add_ons = build.add_ons();
        let promotions = build.promotions();
        let meanings = build.meanings();
        let Build { sheets, audiences, levels, integrations, .. } = build;
        let integrations = integrations.len();
        let audiences = audiences.finish();

        let hasher = RandomState::default();
        let feature_keys: Vec<FeatureKey> = draft.features.keys().cloned().collect();
        let mut feature_places = HashTable::with_capacity(feature_keys.len());
        for (place, key) in feature_keys.iter().enumerate() {
            let rehash = |place: &u16| {
                feature_keys.get(usize::from(*place)).map_or(0, |key| hasher.hash_one(key.as_str()))
            };
            feature_places.insert_unique(
                hasher.hash_one(key.as_str()),
                FeatureIx::at(place).0,
                rehash,
            );
        }
        let order = order(&features);
        Self {
            names,
            stamp: Stamp::fresh(),
            integrations,
            feature_places,
            hasher,
            order,
            features,
            levels,
            plans,
            add_ons,
            promotions,
            bundle_keys: draft.bundles.keys().cloned().collect(),
            sheets,
            audiences,
            meanings,
            feature_keys,
        }
    }
}

/// Features, each after what it requires.
fn order(features: &[FeatureEntry]) -> Vec<FeatureIx> {
    let mut order = Vec::with_capacity(features.len());
    let mut done = vec![false; features.len()];
    for start in 0..features.len() {
        // A checked catalog has no circle, so this ends.
        let mut path = vec![start];
        while let Some(top) = path.last().copied() {
            let requires = features.get(top).map_or(&[][..], |feature| &feature.requires);
            let is_done = |place: usize| done.get(place).copied().unwrap_or(true);
            let open =
                requires.iter().map(|required| required.get()).find(|place| !is_done(*place));
            match open {
                Some(place) => path.push(place),
                None => {
                    path.pop();
                    if !is_done(top) {
                        order.push(FeatureIx::at(top));
                        if let Some(done) = done.get_mut(top) {
                            *done = true;
                        }
                    }
                }
            }
        }
    }
    order
}

struct Build<'d> {
    draft: &'d Draft,
    names: &'d Names,
    feature_places: BTreeMap<&'d FeatureKey, usize>,
    bundle_places: BTreeMap<&'d BundleKey, usize>,
    integrations: BTreeMap<&'d IntegrationKey, u16>,
    sheets: Sheets,
    audiences: AudienceBuilder<'d>,
    levels: Vec<Name>,
    kinds: Vec<KindEntry>,
}

impl<'d> Build<'d> {
    fn new(draft: &'d Draft, names: &'d Names) -> Self {
        let modules = draft.modules.values().flat_map(|module| &module.integrations);
        let features = draft.features.values().flat_map(|feature| &feature.integrations);
        let integrations: BTreeSet<_> = features.chain(modules).collect();
        Self {
            draft,
            names,
            feature_places: draft.features.keys().zip(0..).collect(),
            bundle_places: draft.bundles.keys().zip(0..).collect(),
            integrations: integrations.into_iter().zip(0..).collect(),
            sheets: Sheets::default(),
            audiences: AudienceBuilder::new(draft, names),
            levels: Vec::new(),
            kinds: Vec::new(),
        }
    }

    fn features(&mut self) -> Vec<FeatureEntry> {
        self.kinds = self.draft.features.values().map(|feature| self.kind(feature)).collect();
        self.draft.features.values().map(|feature| self.feature(feature)).collect()
    }

    fn kind(&mut self, feature: &Feature) -> KindEntry {
        match &feature.kind {
            FeatureKind::Switch => KindEntry::Switch,
            FeatureKind::Limit { .. } => KindEntry::Limit,
            FeatureKind::Config { .. } => KindEntry::Config,
            FeatureKind::Level { levels } => {
                let first = u32::try_from(self.levels.len()).unwrap_or(u32::MAX);
                self.levels.extend(levels.iter().map(|level| self.names.intern(level.as_str())));
                KindEntry::Level { first, count: u32::try_from(levels.len()).unwrap_or(0) }
            }
        }
    }

    fn feature(&mut self, feature: &'d Feature) -> FeatureEntry {
        let module = feature.module.as_ref().and_then(|key| self.draft.modules.get(key));
        let requires = feature.requires.iter().chain(module.into_iter().flat_map(|m| &m.requires));
        let places = requires.filter_map(|key| self.feature_places.get(key));
        let requires: BTreeSet<FeatureIx> = places.map(|place| FeatureIx::at(*place)).collect();
        let integrations: BTreeSet<&IntegrationKey> = feature
            .integrations
            .iter()
            .chain(module.into_iter().flat_map(|m| &m.integrations))
            .collect();
        let bit = |key| self.integrations.get(key).copied().unwrap_or(u16::MAX);
        let integrations = integrations
            .into_iter()
            .map(|key| (self.names.intern(key.as_str()), bit(key)))
            .collect();
        let mut available_to = vec![self.audiences.add_deciding(&feature.available_to)];
        available_to.extend(module.map(|module| self.audiences.add_deciding(&module.available_to)));
        available_to.retain(|audience| *audience != super::AudienceIx::EVERYONE);
        let module_place = feature
            .module
            .as_ref()
            .and_then(|key| self.draft.modules.keys().position(|module| module == key));
        FeatureEntry {
            kind: self.kinds.get(self.place_of(feature)).cloned().unwrap_or(KindEntry::Switch),
            requires: requires.into_iter().collect(),
            integrations,
            available_to,
            module: module_place
                .map_or(super::NOTHING, |place| u16::try_from(place).unwrap_or(super::NOTHING)),
            essential: feature.essential,
        }
    }

    fn place_of(&self, feature: &Feature) -> usize {
        self.draft.features.values().position(|one| std::ptr::eq(one, feature)).unwrap_or(0)
    }

    fn bundles(&mut self) {
        for bundle in self.draft.bundles.values() {
            self.sheet(&bundle.grants);
        }
    }

    fn contents(&mut self, bundles: &BTreeSet<BundleKey>, grants: &Grants) -> Contents {
        let mut all = BTreeSet::new();
        let mut open: Vec<&BundleKey> = bundles.iter().collect();
        while let Some(key) = open.pop() {
            if let Some(place) = self.bundle_places.get(key)
                && all.insert(BundleIx::at(*place))
            {
                open.extend(
                    self.draft.bundles.get(key).into_iter().flat_map(|bundle| &bundle.bundles),
                );
            }
        }
        Contents { own: self.sheet(grants), bundles: all.into_iter().collect() }
    }

    fn sheet(&mut self, grants: &Grants) -> SheetIx {
        let mut lines: Vec<SheetGrant> = Vec::new();
        for grant in grants {
            let Some(place) = self.feature_places.get(&grant.feature).copied() else { continue };
            let only = self.audiences.add_deciding(&grant.only);
            let give = self.give(place, &grant.amount);
            lines.extend(give.map(|give| SheetGrant { feature: FeatureIx::at(place), give, only }));
        }
        lines.sort_by_key(|line| line.feature);
        self.sheets.push(self.draft.features.len(), lines)
    }

    fn give(&self, feature: usize, amount: &Amount) -> Option<Give> {
        Some(match amount {
            Amount::On => Give::On,
            Amount::Set(Limit::Unlimited) => Give::Set(UNLIMITED),
            Amount::Set(Limit::AtMost(amount)) => Give::Set(*amount),
            Amount::Add(amount) => Give::Add(*amount),
            Amount::Level(level) => {
                let KindEntry::Level { first, count } = *self.kinds.get(feature)? else {
                    return None;
                };
                let own = self.levels.get(first as usize..(first + count) as usize)?;
                let name = self.names.intern(level.as_str());
                let rank = own.iter().position(|one| *one == name)?;
                Give::Level(u64::from(first) + rank as u64)
            }
            Amount::Config(json) => Give::Config(self.names.intern(json.as_str()).0.into()),
        })
    }

    fn plan_place(&self, key: &PlanKey) -> Option<PlanIx> {
        self.draft.plans.keys().position(|plan| plan == key).map(PlanIx::at)
    }

    fn plan(&mut self, key: &PlanKey, plan: &Plan) -> PlanEntry {
        // Newer versions come first among the sheets, so that they settle what is still a tie.
        let mut newest_first: Vec<_> = plan.versions.iter().collect();
        newest_first.sort_by_key(|version| std::cmp::Reverse(version.from));
        let mut versions = Vec::with_capacity(plan.versions.len() + 1);
        for version in newest_first {
            versions.push(VersionEntry {
                from: version.from,
                existing_from: version.existing_from.unwrap_or(Timestamp::MAX),
                extends: version.extends.as_ref().and_then(|key| self.plan_place(key)),
                contents: self.contents(&version.bundles, &version.grants),
            });
        }
        versions.push(VersionEntry {
            from: Timestamp::MIN,
            existing_from: Timestamp::MIN,
            extends: plan.extends.as_ref().and_then(|key| self.plan_place(key)),
            contents: self.contents(&plan.bundles, &plan.grants),
        });
        PlanEntry { key: key.clone(), versions, edges: self.plan_edges(key) }
    }

    fn plan_edges(&self, key: &PlanKey) -> Vec<Timestamp> {
        let (mut edges, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![key]);
        while let Some(key) = open.pop() {
            let Some(plan) = self.draft.plans.get(key).filter(|_| seen.insert(key)) else {
                continue;
            };
            edges.extend(plan.versions.iter().filter_map(|version| version.existing_from));
            open.extend(&plan.extends);
            open.extend(plan.versions.iter().filter_map(|version| version.extends.as_ref()));
        }
        edges.into_iter().collect()
    }

    fn add_ons(&mut self) -> Vec<AddOnEntry> {
        let draft = self.draft;
        let place = |key| draft.add_ons.keys().position(|add_on| add_on == key).map(AddOnIx::at);
        let excludes = |key| {
            let own = draft.add_ons.get(key).into_iter().flat_map(|add_on| &add_on.excludes);
            let others = draft.add_ons.iter().filter(|(_, other)| other.excludes.contains(key));
            let all: BTreeSet<_> = own.chain(others.map(|(other, _)| other)).collect();
            all.into_iter().filter_map(place).collect()
        };
        let mut entries = Vec::with_capacity(draft.add_ons.len());
        for (key, add_on) in &draft.add_ons {
            entries.push(AddOnEntry {
                key: key.clone(),
                contents: self.contents(&add_on.bundles, &add_on.grants),
                available_to: self.audiences.add(&add_on.available_to),
                requires: add_on.requires.iter().filter_map(place).collect(),
                excludes: excludes(key),
            });
        }
        entries
    }

    fn promotions(&mut self) -> Vec<PromotionEntry> {
        let draft = self.draft;
        let groups: BTreeSet<_> = draft
            .promotions
            .values()
            .filter_map(|promotion| promotion.exclusive_group.as_ref())
            .collect();
        let groups: BTreeMap<_, u16> = groups.into_iter().zip(0..).collect();
        let mut entries = Vec::with_capacity(draft.promotions.len());
        for (key, promotion) in &draft.promotions {
            entries.push(PromotionEntry {
                key: key.clone(),
                contents: self.contents(&promotion.bundles, &promotion.grants),
                span: Span { from: promotion.window.start(), until: promotion.window.end() },
                audience: self.audiences.add(&promotion.audience),
                by_request: matches!(promotion.enrolment, Enrolment::ByRequest { .. }),
                priority: promotion.priority,
                group: promotion
                    .exclusive_group
                    .as_ref()
                    .and_then(|group| groups.get(group).copied()),
            });
        }
        entries
    }

    fn meanings(&self) -> Vec<Meaning> {
        let mut meanings: Vec<Meaning> = Vec::new();
        let mut mean = |text: &str, place: usize, field: fn(&mut Meaning) -> &mut u16| {
            let number = self.names.intern(text).0 as usize;
            if meanings.len() <= number {
                meanings.resize(number + 1, Meaning::NONE);
            }
            if let Some(meaning) = meanings.get_mut(number) {
                *field(meaning) = u16::try_from(place).unwrap_or(super::NOTHING);
            }
        };
        let draft = self.draft;
        draft
            .features
            .keys()
            .enumerate()
            .for_each(|(i, k)| mean(k.as_str(), i, |m| &mut m.feature));
        draft.plans.keys().enumerate().for_each(|(i, k)| mean(k.as_str(), i, |m| &mut m.plan));
        draft.add_ons.keys().enumerate().for_each(|(i, k)| mean(k.as_str(), i, |m| &mut m.add_on));
        draft
            .promotions
            .keys()
            .enumerate()
            .for_each(|(i, k)| mean(k.as_str(), i, |m| &mut m.promotion));
        draft.modules.keys().enumerate().for_each(|(i, k)| mean(k.as_str(), i, |m| &mut m.module));
        self.integrations
            .iter()
            .for_each(|(k, i)| mean(k.as_str(), usize::from(*i), |m| &mut m.integration));
        meanings
    }
}
