//! A catalog in numbers: what the rules read when they decide.
//!
//! Everything has a place in a list, lists are in the order of keys, and names of the tenants'
//! facts lead straight to those places. No rule stands here.

mod audience;
mod build;
mod sheet;

use std::{fmt, hash::BuildHasher, sync::Arc};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

pub(crate) use self::{
    audience::{AudienceMemo, Bits, Segments, Who},
    sheet::{Give, SheetGrant, SheetIx},
};
use crate::{
    AddOnKey, BundleKey, FeatureKey, PlanKey, PromotionKey, Source, SourceKind, Timestamp,
    decision::{Answer, NO_BUNDLE},
    facts::Span,
    handle::Stamp,
    names::{Name, Names},
};

macro_rules! places {
    ($($(#[$doc:meta])* $vis:vis struct $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis struct $name(pub(crate) u16);

        impl $name {
            pub(crate) fn at(index: usize) -> Self {
                Self(u16::try_from(index).unwrap_or(u16::MAX))
            }
        }
    )*};
}

places! {
    /// The place of a feature.
    pub struct FeatureIx;
    /// The place of a plan.
    pub(crate) struct PlanIx;
    /// The place of an add-on.
    pub(crate) struct AddOnIx;
    /// The place of a promotion.
    pub(crate) struct PromotionIx;
    /// The place of a bundle.
    pub(crate) struct BundleIx;
    /// The place of an audience.
    pub(crate) struct AudienceIx;
}

macro_rules! gets {
    ($($name:ident)*) => {$(impl $name {
        pub(crate) fn get(self) -> usize {
            self.0.into()
        }
    })*};
}

gets! { FeatureIx PlanIx AddOnIx PromotionIx AudienceIx }

impl AudienceIx {
    /// The audience that everybody is in; it stands in no list.
    pub(crate) const EVERYONE: Self = Self(u16::MAX);
}

/// A catalog in numbers, for the facts that share its names.
pub struct Index {
    pub(crate) names: Arc<Names>,
    /// No other index has the same: by it a handle knows whether its place still holds.
    pub(crate) stamp: Stamp,
    feature_keys: Vec<FeatureKey>,
    feature_places: HashTable<u16>,
    hasher: RandomState,
    features: Vec<FeatureEntry>,
    /// Features in such an order that each comes after what it requires.
    pub(crate) order: Vec<FeatureIx>,
    levels: Vec<Name>,
    pub(crate) plans: Vec<PlanEntry>,
    pub(crate) add_ons: Vec<AddOnEntry>,
    pub(crate) promotions: Vec<PromotionEntry>,
    bundle_keys: Vec<BundleKey>,
    pub(crate) sheets: sheet::Sheets,
    pub(crate) audiences: audience::Audiences,
    integrations: usize,
    /// What the names in tenants' facts stand for, by their number.
    meanings: Vec<Meaning>,
}

/// What a name means where it stands for a plan, where it stands for an add-on, and so on.
#[derive(Debug, Clone, Copy)]
struct Meaning {
    feature: u16,
    plan: u16,
    add_on: u16,
    promotion: u16,
    module: u16,
    integration: u16,
}

const NOTHING: u16 = u16::MAX;

impl Meaning {
    const NONE: Self = Self {
        feature: NOTHING,
        plan: NOTHING,
        add_on: NOTHING,
        promotion: NOTHING,
        module: NOTHING,
        integration: NOTHING,
    };
}

#[derive(Debug)]
pub(crate) struct FeatureEntry {
    pub(crate) kind: KindEntry,
    /// Its own and its module's.
    pub(crate) requires: Vec<FeatureIx>,
    /// Its own and its module's: the name, and its bit among the integrations.
    pub(crate) integrations: Vec<(Name, u16)>,
    /// Its own and its module's.
    pub(crate) available_to: Vec<AudienceIx>,
    pub(crate) module: u16,
    pub(crate) essential: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum KindEntry {
    Switch,
    Limit,
    /// The first and the number of its levels among all levels.
    Level {
        first: u32,
        count: u32,
    },
    Config,
}

#[derive(Debug)]
pub(crate) struct PlanEntry {
    pub(crate) key: PlanKey,
    /// From the newest to the oldest; the last one counts for every subscription.
    pub(crate) versions: Vec<VersionEntry>,
    /// The instants at which it, or a plan that it extends, reaches existing subscriptions.
    pub(crate) edges: Vec<Timestamp>,
}

#[derive(Debug)]
pub(crate) struct VersionEntry {
    pub(crate) from: Timestamp,
    pub(crate) existing_from: Timestamp,
    pub(crate) extends: Option<PlanIx>,
    pub(crate) contents: Contents,
}

/// Own grants, and those of all bundles inside, each bundle once.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) own: SheetIx,
    pub(crate) bundles: Vec<BundleIx>,
}

#[derive(Debug)]
pub(crate) struct AddOnEntry {
    pub(crate) key: AddOnKey,
    pub(crate) contents: Contents,
    pub(crate) available_to: AudienceIx,
    pub(crate) requires: Vec<AddOnIx>,
    /// Both ways.
    pub(crate) excludes: Vec<AddOnIx>,
}

#[derive(Debug)]
pub(crate) struct PromotionEntry {
    pub(crate) key: PromotionKey,
    pub(crate) contents: Contents,
    pub(crate) span: Span,
    pub(crate) audience: AudienceIx,
    pub(crate) by_request: bool,
    pub(crate) priority: i32,
    pub(crate) group: Option<u16>,
}

impl Index {
    pub(crate) fn feature_count(&self) -> usize {
        self.features.len()
    }

    pub(crate) fn integration_count(&self) -> usize {
        self.integrations
    }

    #[inline]
    pub(crate) fn find_feature(&self, key: &str) -> Option<FeatureIx> {
        let hash = self.hasher.hash_one(key);
        let same = |place: &u16| {
            self.feature_keys.get(usize::from(*place)).is_some_and(|k| k.as_str() == key)
        };
        self.feature_places.find(hash, same).map(|place| FeatureIx(*place))
    }

    pub(crate) fn feature(&self, feature: FeatureIx) -> Option<&FeatureEntry> {
        self.features.get(feature.get())
    }

    pub(crate) fn feature_keys(&self) -> &[FeatureKey] {
        &self.feature_keys
    }

    /// The features of a module, by its place.
    pub(crate) fn features_of_module(&self, module: u16) -> impl Iterator<Item = FeatureIx> {
        let all = self.features.iter().enumerate();
        all.filter(move |(_, f)| f.module == module).map(|(index, _)| FeatureIx::at(index))
    }

    pub(crate) fn bundle_sheet(&self, bundle: BundleIx) -> SheetIx {
        // The first sheets are those of the bundles, in their order.
        SheetIx(bundle.0.into())
    }

    fn meaning(&self, name: Name) -> Meaning {
        self.meanings.get(name.0 as usize).copied().unwrap_or(Meaning::NONE)
    }

    pub(crate) fn feature_named(&self, name: Name) -> Option<FeatureIx> {
        Some(self.meaning(name).feature).filter(|place| *place != NOTHING).map(FeatureIx)
    }

    pub(crate) fn plan_named(&self, name: Name) -> Option<PlanIx> {
        Some(self.meaning(name).plan).filter(|place| *place != NOTHING).map(PlanIx)
    }

    pub(crate) fn add_on_named(&self, name: Name) -> Option<AddOnIx> {
        Some(self.meaning(name).add_on).filter(|place| *place != NOTHING).map(AddOnIx)
    }

    pub(crate) fn promotion_named(&self, name: Name) -> Option<PromotionIx> {
        Some(self.meaning(name).promotion).filter(|place| *place != NOTHING).map(PromotionIx)
    }

    pub(crate) fn module_named(&self, name: Name) -> Option<u16> {
        Some(self.meaning(name).module).filter(|place| *place != NOTHING)
    }

    /// The bit of an integration that some feature requires.
    pub(crate) fn integration_named(&self, name: Name) -> Option<u16> {
        Some(self.meaning(name).integration).filter(|place| *place != NOTHING)
    }

    /// The rank among all levels of a feature's level.
    pub(crate) fn level_named(&self, feature: &FeatureEntry, name: Name) -> Option<u64> {
        let KindEntry::Level { first, count } = feature.kind else { return None };
        let (first, count) = (first as usize, count as usize);
        let own = self.levels.get(first..first + count)?;
        own.iter().position(|level| *level == name).map(|rank| (first + rank) as u64)
    }

    pub(crate) fn level_name(&self, rank: u64) -> &str {
        let level = usize::try_from(rank).ok().and_then(|rank| self.levels.get(rank));
        level.map_or("", |name| self.names.text(*name))
    }

    pub(crate) fn config_text(&self, name: u64) -> &str {
        u32::try_from(name).map_or("", |name| self.names.text(Name(name)))
    }

    pub(crate) fn plan_key(&self, place: u32) -> &str {
        self.plans.get(place as usize).map_or("", |plan| plan.key.as_str())
    }

    pub(crate) fn add_on_key(&self, place: u32) -> &str {
        self.add_ons.get(place as usize).map_or("", |add_on| add_on.key.as_str())
    }

    pub(crate) fn promotion_key(&self, place: u32) -> &str {
        self.promotions.get(place as usize).map_or("", |promotion| promotion.key.as_str())
    }

    pub(crate) fn feature_key(&self, place: u32) -> &str {
        self.feature_keys.get(place as usize).map_or("", FeatureKey::as_str)
    }

    pub(crate) fn bundle_key(&self, place: u16) -> &str {
        self.bundle_keys.get(usize::from(place)).map_or("", BundleKey::as_str)
    }

    pub(crate) fn name(&self, name: u32) -> &str {
        self.names.text(Name(name))
    }

    /// What a source's number and kind stand for.
    pub(crate) fn source(&self, kind: SourceKind, place: u32, via: u16) -> Source<'_> {
        let key = match kind {
            SourceKind::Plan => self.plan_key(place),
            SourceKind::AddOn => self.add_on_key(place),
            SourceKind::Promotion => self.promotion_key(place),
            SourceKind::Override | SourceKind::Feature => self.feature_key(place),
            SourceKind::Block | SourceKind::Integration => self.name(place),
        };
        Source { kind, key, via: (via != NO_BUNDLE).then(|| self.bundle_key(via)) }
    }

    /// What gave an amount of 0: such an answer keeps the kind of its source as its amount.
    pub(crate) fn exhausted_by(&self, answer: Answer) -> Option<Source<'_>> {
        let kind = match answer.amount {
            0 => SourceKind::Plan,
            1 => SourceKind::AddOn,
            2 => SourceKind::Promotion,
            _ => SourceKind::Override,
        };
        Some(self.source(kind, answer.source, answer.via))
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index({} features, {} plans)", self.features.len(), self.plans.len())
    }
}
