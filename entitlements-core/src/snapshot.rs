//! A catalog and all tenants, compiled, immutable, numbered.

use std::{cell::RefCell, collections::HashMap, fmt, sync::Arc};

use foldhash::fast::RandomState;

use crate::{
    Catalog, Decision, Explanation, FeatureKey, Revision, Tenant, TenantKey, Timestamp,
    decision::Answer,
    explain,
    facts::{self, Facts},
    handle::{AsFeature, AsTenant},
    index::{FeatureIx, Index},
    names::Names,
    page::{Arriving, Page, Pages, Slot, Words},
    resolve::{Profile, RowMaker, Silent, Workspace},
    rows::{RowId, Rows, RowsBuilder, UNKNOWN_FEATURE, UNKNOWN_TENANT},
};

thread_local! {
    /// Buffers for answers that are not prepared, so that no check allocates.
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// A catalog and all tenants at one revision. Cheap to clone; never changes.
///
/// For each tenant the answers from now to its next change are prepared. Any other instant, past
/// or future, is answered from the facts by the same rules, so an answer is right whether or not
/// somebody has prepared it.
#[derive(Clone)]
pub struct Snapshot {
    revision: Revision,
    catalog: Arc<Catalog>,
    pub(crate) index: Arc<Index>,
    pub(crate) pages: Pages,
    rows: Rows,
    #[cfg(feature = "document")]
    pub(crate) content: crate::content::Content,
}

impl Snapshot {
    /// Compiles tenants under a catalog and prepares their answers from an instant on.
    ///
    /// It cannot fail: what a tenant names that is not in the catalog gives nothing, and
    /// [`Catalog::check_tenant`] tells of it. Of two tenants with one key the later counts.
    #[must_use]
    pub fn compile<'t>(
        revision: Revision,
        catalog: Arc<Catalog>,
        tenants: impl IntoIterator<Item = (&'t TenantKey, &'t Tenant)>,
        at: Timestamp,
    ) -> Self {
        let names = Arc::new(Names::new());
        let (mut words, mut arriving) = (Vec::new(), Vec::new());
        for (key, tenant) in tenants {
            let start = words.len();
            facts::pack(tenant, &names, &mut words);
            arriving.push((key.as_str(), start..words.len()));
        }
        let tenant = |place: usize| {
            let (key, range) = arriving.get(place).cloned().unwrap_or_default();
            Arriving { key, words: Words::Packed(words.get(range).unwrap_or(&[])) }
        };
        Self::lay_out(revision, catalog, names, arriving.len(), tenant, Some(at))
    }

    /// Compiles tenants whose facts are packed already, and prepares them where there is an instant.
    pub(crate) fn lay_out<'a>(
        revision: Revision,
        catalog: Arc<Catalog>,
        names: Arc<Names>,
        count: usize,
        tenant: impl Fn(usize) -> Arriving<'a>,
        at: Option<Timestamp>,
    ) -> Self {
        let index = Arc::new(Index::new(&catalog, names));
        let mut prepare = at.map(|at| Prepare::new(&index, at));
        let pages = Pages::new(count, tenant, |page| {
            prepare.iter_mut().for_each(|prepare| prepare.page(page));
        });
        let rows = prepare.map(Prepare::finish).unwrap_or_default().compiled();
        Self {
            revision,
            catalog,
            index,
            pages,
            rows,
            #[cfg(feature = "document")]
            content: crate::content::Content::default(),
        }
    }

    /// The same with some tenants added, changed or (`None`) removed. Takes microseconds for one,
    /// however many there are.
    #[must_use]
    pub fn with_tenants<'t>(
        &self,
        revision: Revision,
        changed: impl IntoIterator<Item = (&'t TenantKey, Option<&'t Tenant>)>,
        at: Timestamp,
    ) -> Self {
        let changed: Vec<_> = changed.into_iter().collect();
        if !self.pages.has_room_for(changed.len()) {
            return self.with_many(revision, &changed, at);
        }
        let mut next = Self { revision, ..self.clone() };
        let mut prepare = Prepare::on(self, at);
        let mut words = Vec::new();
        for (key, tenant) in changed {
            let key = key.as_str();
            let hash = crate::page::tenant_hash(key);
            words.clear();
            if let Some(tenant) = tenant {
                facts::pack(tenant, &self.index.names, &mut words);
            }
            #[cfg(feature = "document")]
            next.take_from_content(key);
            next.pages.edit(hash, |page| {
                if tenant.is_none() {
                    page.remove(hash, key);
                } else {
                    let place = page.put(hash, key, Words::Packed(&words));
                    prepare.slot(page, place);
                }
            });
            #[cfg(feature = "document")]
            next.add_to_content(key);
        }
        next.rows = prepare.finish();
        if next.rows.is_scattered() { next.laid_out_again(at) } else { next }
    }

    /// The same with more tenants than its pages were made for: all are laid out anew.
    fn with_many(
        &self,
        revision: Revision,
        changed: &[(&TenantKey, Option<&Tenant>)],
        at: Timestamp,
    ) -> Self {
        // Of two words about one key the later counts.
        let last: HashMap<&str, Option<&Tenant>, RandomState> =
            changed.iter().map(|(key, tenant)| (key.as_str(), *tenant)).collect();
        let (mut words, mut arriving) = (Vec::new(), Vec::new());
        for (key, tenant) in &last {
            let start = words.len();
            if let Some(tenant) = tenant {
                facts::pack(tenant, &self.index.names, &mut words);
                arriving.push((*key, start..words.len()));
            }
        }
        let kept: Vec<_> = self.tenants().filter(|view| !last.contains_key(view.key())).collect();
        let tenant =
            |place: usize| match (kept.get(place), arriving.get(place.wrapping_sub(kept.len()))) {
                (Some(view), _) => {
                    Arriving { key: view.key(), words: Words::Packed(view.facts().words()) }
                }
                (None, Some((key, range))) => {
                    Arriving { key, words: Words::Packed(words.get(range.clone()).unwrap_or(&[])) }
                }
                (None, None) => Arriving { key: "", words: Words::Packed(&[]) },
            };
        let count = kept.len() + arriving.len();
        let (catalog, names) = (self.catalog.clone(), self.index.names.clone());
        Self::lay_out(revision, catalog, names, count, tenant, Some(at))
    }

    /// The same tenants under another catalog. Facts stay where they are; each distinct profile is
    /// resolved once.
    #[must_use]
    pub fn with_catalog(&self, revision: Revision, catalog: Arc<Catalog>, at: Timestamp) -> Self {
        let index = Arc::new(Index::new(&catalog, self.index.names.clone()));
        let mut prepare = Prepare::new(&index, at);
        let mut pages = self.pages.clone();
        pages.edit_all(|page| prepare.page(page));
        let rows = prepare.finish().compiled();
        Self {
            revision,
            catalog,
            index,
            pages,
            rows,
            #[cfg(feature = "document")]
            content: self.content.with_catalog(),
        }
    }

    /// The same revision with the answers prepared of those tenants whose next change has come by
    /// now, and of those that were never prepared. `None` where there is none. Answers are the same
    /// without it, only slower.
    #[must_use]
    pub fn refreshed(&self, at: Timestamp) -> Option<Self> {
        let mut prepare = Prepare::on(self, at);
        let mut pages = self.pages.clone();
        let mut changed = false;
        pages.edit_due(at, |page| {
            for place in 0..page.slots().len() {
                if page.slot(place).is_some_and(|slot| slot.until <= at) {
                    prepare.slot(page, place);
                    changed = true;
                }
            }
        });
        let next = Self { pages, rows: prepare.finish(), ..self.clone() };
        changed.then(|| if next.rows.is_scattered() { next.laid_out_again(at) } else { next })
    }

    fn laid_out_again(&self, at: Timestamp) -> Self {
        let slots: Vec<(&Page, &Slot)> = self
            .pages
            .iter()
            .flat_map(|page| page.slots().iter().map(move |slot| (page, slot)))
            .collect();
        let tenant = |place: usize| match slots.get(place) {
            Some((page, slot)) => {
                Arriving { key: page.key(slot), words: Words::Packed(page.facts(slot).words()) }
            }
            None => Arriving { key: "", words: Words::Packed(&[]) },
        };
        let (catalog, names) = (self.catalog.clone(), self.index.names.clone());
        Self {
            #[cfg(feature = "document")]
            content: self.content.clone(),
            ..Self::lay_out(self.revision, catalog, names, slots.len(), tenant, Some(at))
        }
    }

    /// Which revision it is.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Its catalog.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// How many tenants it has.
    #[must_use]
    pub fn tenant_count(&self) -> usize {
        self.pages.tenants()
    }

    /// A tenant, to be asked about several features.
    #[must_use]
    #[inline]
    pub fn tenant(&self, tenant: impl AsTenant) -> Option<TenantView<'_>> {
        let hash = tenant.hash();
        let page = self.pages.page(hash)?;
        let slot = page.slot(tenant.find(hash, page)?)?;
        Some(TenantView { snapshot: self, page, slot })
    }

    /// All tenants, in no particular order.
    pub fn tenants(&self) -> impl Iterator<Item = TenantView<'_>> {
        self.pages.iter().flat_map(move |page| {
            page.slots().iter().map(move |slot| TenantView { snapshot: self, page, slot })
        })
    }

    /// May this tenant use this feature at this instant, how much of it, and why?
    ///
    /// It always has an answer: an unknown tenant or feature is a reason.
    #[must_use]
    #[inline]
    pub fn check(
        &self,
        tenant: impl AsTenant,
        feature: impl AsFeature,
        at: Timestamp,
    ) -> Decision<'_> {
        match self.tenant(tenant) {
            Some(view) => view.check(feature, at),
            None => self.decision(UNKNOWN_TENANT, Timestamp::MAX),
        }
    }

    /// The answer with everything that won or lost.
    #[must_use]
    pub fn explain(&self, tenant: &str, feature: &str, at: Timestamp) -> Explanation {
        explain::explain(self, tenant, feature, at)
    }

    /// The first instant after another at which an answer of any tenant may change. Absent: never.
    #[must_use]
    pub fn next_change(&self, after: Timestamp) -> Option<Timestamp> {
        self.tenants().filter_map(|view| view.next_change(after)).min()
    }

    /// Until when the answers of every tenant are prepared; [`Timestamp::MIN`] where some never were.
    /// From then on [`Snapshot::refreshed`] has something to do.
    #[must_use]
    pub fn prepared_until(&self) -> Timestamp {
        let slots = self.pages.iter().flat_map(Page::slots);
        slots.map(|slot| slot.until).min().unwrap_or(Timestamp::MAX)
    }

    /// How many bytes its tenants and their answers take, without the catalog.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pages.bytes() + self.rows.bytes()
    }

    #[inline]
    fn decision(&self, answer: Answer, valid_until: Timestamp) -> Decision<'_> {
        Decision { answer, snapshot: self, valid_until }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("revision", &self.revision.0)
            .field("tenants", &self.tenant_count())
            .finish_non_exhaustive()
    }
}

/// One tenant of a snapshot.
#[derive(Clone, Copy)]
pub struct TenantView<'s> {
    pub(crate) snapshot: &'s Snapshot,
    page: &'s Page,
    slot: &'s Slot,
}

impl<'s> TenantView<'s> {
    pub(crate) fn new(snapshot: &'s Snapshot, page: &'s Page, slot: &'s Slot) -> Self {
        Self { snapshot, page, slot }
    }

    /// Its key.
    #[must_use]
    pub fn key(self) -> &'s str {
        self.page.key(self.slot)
    }

    /// Its facts.
    #[must_use]
    pub fn tenant(self) -> Tenant {
        self.facts().tenant(&self.snapshot.index.names)
    }

    pub(crate) fn facts(self) -> Facts<'s> {
        self.page.facts(self.slot)
    }

    /// The row with its answers at an instant, where that has been prepared.
    pub(crate) fn prepared_row(self, at: Timestamp) -> Option<RowId> {
        (self.slot.from <= at && at < self.slot.until).then_some(self.slot.row)
    }

    /// A number that all tenants of this snapshot share that have the same answers until their next
    /// change. Absent where the instant is not prepared. Different numbers say nothing.
    #[must_use]
    pub fn same_answers(self, at: Timestamp) -> Option<u32> {
        self.prepared_row(at).map(RowId::number)
    }

    /// May it use this feature at this instant, how much of it, and why?
    #[must_use]
    #[inline]
    pub fn check(self, feature: impl AsFeature, at: Timestamp) -> Decision<'s> {
        match feature.find(&self.snapshot.index) {
            Some(place) => self.check_at(place, at),
            None => self.snapshot.decision(UNKNOWN_FEATURE, Timestamp::MAX),
        }
    }

    #[inline]
    pub(crate) fn check_at(self, place: FeatureIx, at: Timestamp) -> Decision<'s> {
        if self.slot.from <= at
            && at < self.slot.until
            && let Some(answer) = self.snapshot.rows.answer(self.slot.row, place)
        {
            return self.snapshot.decision(answer, self.slot.until);
        }
        self.resolve(place, at)
    }

    /// The same from the facts, for an instant that is not prepared.
    #[cold]
    fn resolve(self, place: FeatureIx, at: Timestamp) -> Decision<'s> {
        let index = &self.snapshot.index;
        let (answer, edge) = WORKSPACE.with_borrow_mut(|work| {
            let answer = work.answer(index, self.facts(), place, at);
            (answer, work.edge_after(index, self.facts(), at))
        });
        self.snapshot.decision(answer, edge)
    }

    /// Every feature of the catalog, by key, with its decision at an instant.
    pub fn decisions(self, at: Timestamp) -> impl Iterator<Item = (&'s FeatureKey, Decision<'s>)> {
        let keys = self.snapshot.index.feature_keys().iter().enumerate();
        keys.map(move |(place, key)| (key, self.check_at(FeatureIx::at(place), at)))
    }

    /// The first instant after another at which an answer of this tenant may change. Absent: never.
    /// Between two such instants none does.
    #[must_use]
    pub fn next_change(self, after: Timestamp) -> Option<Timestamp> {
        let edge = if self.slot.from <= after && after < self.slot.until {
            self.slot.until
        } else {
            WORKSPACE.with_borrow_mut(|work| {
                work.profile(&self.snapshot.index, self.facts(), after, &mut Silent);
                work.edge_after(&self.snapshot.index, self.facts(), after)
            })
        };
        (edge < Timestamp::MAX).then_some(edge)
    }

    /// The answer with everything that won or lost.
    #[must_use]
    pub fn explain(self, feature: &str, at: Timestamp) -> Explanation {
        self.snapshot.explain(self.key(), feature, at)
    }
}

impl fmt::Debug for TenantView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantView(`{}` at revision {})", self.key(), self.snapshot.revision)
    }
}

/// Prepares tenants' answers from an instant on, each distinct profile once.
pub(crate) struct Prepare<'i> {
    index: &'i Index,
    at: Timestamp,
    work: Workspace,
    pub(crate) rows: RowsBuilder,
    known: HashMap<Profile, RowId, RandomState>,
    make: RowMaker,
}

impl<'i> Prepare<'i> {
    fn new(index: &'i Index, at: Timestamp) -> Self {
        Self::with(index, at, RowsBuilder::new(index.feature_count()))
    }

    /// On top of the rows of a snapshot.
    pub(crate) fn on(snapshot: &'i Snapshot, at: Timestamp) -> Self {
        let rows = RowsBuilder::on(&snapshot.rows, snapshot.index.feature_count());
        Self::with(&snapshot.index, at, rows)
    }

    fn with(index: &'i Index, at: Timestamp, rows: RowsBuilder) -> Self {
        let (work, known) = (Workspace::for_many(), HashMap::default());
        Self { index, at, work, rows, known, make: RowMaker::default() }
    }

    fn page(&mut self, page: &mut Page) {
        (0..page.slots().len()).for_each(|place| self.slot(page, place));
    }

    fn slot(&mut self, page: &mut Page, place: usize) {
        let Some(slot) = page.slot(place) else { return };
        let facts = page.facts(slot);
        let row = self.row(facts);
        let until = self.work.edge_after(self.index, facts, self.at);
        page.prepare(place, row, self.at, until);
    }

    /// The row with a tenant's answers; a new one where no tenant before had the same profile.
    pub(crate) fn row(&mut self, facts: Facts<'_>) -> RowId {
        let profile = self.work.profile(self.index, facts, self.at, &mut Silent);
        if let Some(row) = self.known.get(profile) {
            return *row;
        }
        let row = self.rows.push(self.make.row(self.index, profile));
        self.known.insert(profile.clone(), row);
        row
    }

    /// How many profiles it has met.
    pub(crate) fn profiles(&self) -> usize {
        self.known.len()
    }

    fn finish(self) -> Rows {
        self.rows.finish()
    }
}
