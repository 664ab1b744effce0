//! Two snapshots side by side: the same tenants, the same features, and where answers differ.

use std::collections::BTreeMap;

use super::{Change, Direction};
use crate::{
    FeatureKey, Snapshot, TenantView, Timestamp, Verdict,
    decision::{Answer, Shape},
    index::FeatureIx,
    rows::RowId,
    snapshot::Prepare,
};

/// How many rows, or pairs of rows, are remembered before all of them are forgotten, so that memory
/// does not grow with the number of tenants.
pub(super) const REMEMBERED_MAX: usize = 1 << 16;

/// A tenant in both snapshots; in one of them it may be missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Both<T> {
    pub(super) before: Option<T>,
    pub(super) after: Option<T>,
}

impl<'s> Both<TenantView<'s>> {
    pub(super) fn key(self) -> &'s str {
        self.before.or(self.after).map_or("", TenantView::key)
    }
}

/// The rows of a tenant in both snapshots.
pub(super) type RowPair = (Option<RowId>, Option<RowId>);

/// One feature whose answers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Difference {
    /// Its place in [`Comparison::feature`].
    pub(super) feature: u32,
    pub(super) direction: Direction,
}

/// Two snapshots at one instant.
pub(super) struct Comparison<'s> {
    before: Side<'s>,
    after: Side<'s>,
    /// The features of both catalogs, by key.
    features: Vec<FeaturePlaces<'s>>,
}

struct FeaturePlaces<'s> {
    key: &'s FeatureKey,
    places: Both<FeatureIx>,
}

/// One of the two, and rows for its tenants that are not prepared at the instant.
struct Side<'s> {
    snapshot: &'s Snapshot,
    at: Timestamp,
    prepare: Prepare<'s>,
}

impl<'s> Side<'s> {
    fn new(snapshot: &'s Snapshot, at: Timestamp) -> Self {
        Self { snapshot, at, prepare: Prepare::on(snapshot, at) }
    }

    fn row(&mut self, view: TenantView<'s>) -> RowId {
        view.prepared_row(self.at).unwrap_or_else(|| self.prepare.row(view.facts()))
    }

    fn answer(&self, row: Option<RowId>, place: Option<FeatureIx>) -> Option<Answer> {
        self.prepare.rows.answer(row?, place?)
    }

    fn verdict(&self, answer: Option<Answer>) -> Verdict<'s> {
        answer.map_or(Verdict::Denied, |answer| answer.verdict(&self.snapshot.index))
    }
}

impl<'s> Comparison<'s> {
    pub(super) fn new(before: &'s Snapshot, after: &'s Snapshot, at: Timestamp) -> Self {
        let mut features = BTreeMap::new();
        let nowhere = Both { before: None, after: None };
        for (place, key) in before.index.feature_keys().iter().enumerate() {
            features.entry(key).or_insert(nowhere).before = Some(FeatureIx::at(place));
        }
        for (place, key) in after.index.feature_keys().iter().enumerate() {
            features.entry(key).or_insert(nowhere).after = Some(FeatureIx::at(place));
        }
        let features =
            features.into_iter().map(|(key, places)| FeaturePlaces { key, places }).collect();
        Self { before: Side::new(before, at), after: Side::new(after, at), features }
    }

    /// All tenants that either has, in no particular order.
    pub(super) fn tenants(&self) -> impl Iterator<Item = Both<TenantView<'s>>> + use<'s> {
        let (before, after) = (self.before.snapshot, self.after.snapshot);
        let kept = before
            .tenants()
            .map(|view| Both { before: Some(view), after: after.tenant(view.key()) });
        let added = after
            .tenants()
            .filter(|view| before.tenant(view.key()).is_none())
            .map(|view| Both { before: None, after: Some(view) });
        kept.chain(added)
    }

    /// A tenant by its key.
    pub(super) fn tenant(&self, key: &str) -> Both<TenantView<'s>> {
        let (before, after) = (self.before.snapshot, self.after.snapshot);
        Both { before: before.tenant(key), after: after.tenant(key) }
    }

    /// The rows with a tenant's answers. They are good until [`Comparison::forget`].
    pub(super) fn rows(&mut self, tenant: Both<TenantView<'s>>) -> RowPair {
        (
            tenant.before.map(|view| self.before.row(view)),
            tenant.after.map(|view| self.after.row(view)),
        )
    }

    /// How many features the two have together.
    pub(super) fn feature_count(&self) -> usize {
        self.features.len()
    }

    /// A feature by its place.
    pub(super) fn feature(&self, place: u32) -> Option<&'s FeatureKey> {
        self.features.get(place as usize).map(|feature| feature.key)
    }

    /// What a tenant with these rows has of a feature.
    pub(super) fn change(&self, tenant: &'s str, rows: RowPair, place: u32) -> Option<Change<'s>> {
        let feature = self.features.get(place as usize)?;
        let (before, after) = self.answers(rows, feature);
        let (before, after) = (self.before.verdict(before), self.after.verdict(after));
        Some(Change { tenant, feature: feature.key, before, after })
    }

    /// The features whose answers differ between two rows.
    pub(super) fn differences(&self, rows: RowPair, found: &mut Vec<Difference>) {
        found.clear();
        for (place, feature) in (0..).zip(&self.features) {
            let (before, after) = self.answers(rows, feature);
            if !self.differ(before, after) {
                continue;
            }
            if let Some(change) = self.change("", rows, place) {
                let direction = change.direction(self.after.snapshot);
                found.push(Difference { feature: place, direction });
            }
        }
    }

    fn answers(
        &self,
        rows: RowPair,
        feature: &FeaturePlaces<'_>,
    ) -> (Option<Answer>, Option<Answer>) {
        let Both { before, after } = feature.places;
        (self.before.answer(rows.0, before), self.after.answer(rows.1, after))
    }

    /// Whether the verdicts are others. Most are alike, and need not be put into words to tell.
    fn differ(&self, before: Option<Answer>, after: Option<Answer>) -> bool {
        let shape = |answer: Option<Answer>| answer.map_or(Shape::Denied, |answer| answer.shape);
        let amount = |answer: Option<Answer>| answer.map(|answer| answer.amount);
        match (shape(before), shape(after)) {
            (Shape::Denied, Shape::Denied) | (Shape::Allowed, Shape::Allowed) => false,
            (Shape::Limit, Shape::Limit) => amount(before) != amount(after),
            _ => self.before.verdict(before) != self.after.verdict(after),
        }
    }

    /// How many profiles had to be resolved because nothing was prepared for them.
    pub(super) fn profiles(&self) -> usize {
        self.before.prepare.profiles() + self.after.prepare.profiles()
    }

    /// Gives up the rows of what was not prepared.
    pub(super) fn forget(&mut self) {
        for side in [&mut self.before, &mut self.after] {
            *side = Side::new(side.snapshot, side.at);
        }
    }
}
