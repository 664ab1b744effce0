//! One tenant's facts as a run of 64-bit words.
//!
//! A snapshot of a million tenants cannot afford a million trees of small allocations. Facts lie
//! in one arena per page, hold names as numbers, are copied by `memcpy`, and are read in place.
//!
//! Layout: a head of four words, then lists in the order of [`Facts`]' methods.

use crate::{
    AddOnKey, Amount, AttributeKey, AttributeValue, Block, Country, FeatureKey, IntegrationKey,
    Json, LevelName, Limit, ModuleKey, Override, OwnerKey, PlanKey, PromotionKey, SegmentKey,
    Subscription, Tenant, TenantAddOn, TenantEnrolment, Timestamp, Window,
    decision::UNLIMITED,
    names::{Name, Names},
};

const HEAD: usize = 4;
const SUBSCRIPTION: usize = 3;
const ADD_ON: usize = 4;
const ENROLMENT: usize = 3;
const OVERRIDE: usize = 6;
const ATTRIBUTE: usize = 2;

/// The most entries of one kind that a tenant may have; more are cut off when it is packed.
pub(crate) const ENTRIES_MAX: usize = u16::MAX as usize;

/// A tenant's facts, in place.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    words: &'a [u64],
}

/// A window as two instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
}

impl Span {
    pub(crate) fn contains(self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }

    /// The first of its ends that is after an instant.
    pub(crate) fn edge_after(self, at: Timestamp) -> Timestamp {
        if self.from > at {
            self.from
        } else if self.until > at {
            self.until
        } else {
            Timestamp::MAX
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SubscriptionFact {
    pub(crate) plan: Name,
    pub(crate) trial: bool,
    pub(crate) span: Span,
    zone: Name,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct AddOnFact {
    pub(crate) add_on: Name,
    pub(crate) quantity: u32,
    pub(crate) span: Span,
    zone: Name,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct EnrolmentFact {
    pub(crate) promotion: Name,
    pub(crate) span: Span,
    zone: Name,
}

/// How much an override says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum OverrideAmount {
    Denied,
    On,
    /// [`UNLIMITED`] or a number.
    Limit(u64),
    Level(Name),
    Config(Name),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct OverrideFact {
    pub(crate) feature: Name,
    pub(crate) amount: OverrideAmount,
    pub(crate) force: bool,
    pub(crate) span: Span,
    zone: Name,
    pub(crate) author: Name,
    pub(crate) note: Name,
}

#[derive(Clone, Copy)]
pub(crate) struct BlockFact<'a> {
    pub(crate) owner: Name,
    pub(crate) span: Span,
    pub(crate) features: Packed<'a>,
    pub(crate) modules: Packed<'a>,
    zone: Name,
    pub(crate) note: Name,
}

/// Names, two to a word.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    words: &'a [u64],
    count: usize,
}

impl<'a> Packed<'a> {
    pub(crate) fn iter(self) -> impl Iterator<Item = Name> + use<'a> {
        let both = self.words.iter().flat_map(|word| [low(*word), high(*word)]);
        both.take(self.count).map(Name)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.count == 0
    }

    pub(crate) fn contains(self, name: Name) -> bool {
        self.iter().any(|one| one == name)
    }
}

/// The words between two offsets. Packed facts always hold them; a damaged document has been
/// refused by [`Facts::checked`] before it comes here.
fn cut(words: &[u64], from: usize, count: usize) -> &[u64] {
    words.get(from..from + count).unwrap_or(&[])
}

const fn low(word: u64) -> u32 {
    (word & 0xffff_ffff) as u32
}

const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

const fn instant(word: u64) -> Timestamp {
    Timestamp::from_micros(word.cast_signed())
}

impl<'a> Facts<'a> {
    /// Facts that were packed by [`pack`].
    pub(crate) const fn new(words: &'a [u64]) -> Self {
        Self { words }
    }

    fn word(self, index: usize) -> u64 {
        self.words.get(index).copied().unwrap_or(0)
    }

    fn count(self, field: usize) -> usize {
        let [counts, more] = [self.word(1), self.word(2)];
        let word = if field < 4 { counts } else { more };
        ((word >> (16 * (field % 4))) & 0xffff) as usize
    }

    pub(crate) fn country(self) -> Name {
        Name(low(self.word(0)))
    }

    fn name(self) -> Name {
        Name(high(self.word(0)))
    }

    pub(crate) fn signed_up_at(self) -> Option<Timestamp> {
        let at = instant(self.word(3));
        (at != Timestamp::MIN).then_some(at)
    }

    pub(crate) fn segments(self) -> Packed<'a> {
        let count = self.count(0);
        Packed { words: cut(self.words, HEAD, count.div_ceil(2)), count }
    }

    fn integrations_start(self) -> usize {
        HEAD + self.count(0).div_ceil(2)
    }

    pub(crate) fn integrations(self) -> Packed<'a> {
        let count = self.count(1);
        Packed { words: cut(self.words, self.integrations_start(), count.div_ceil(2)), count }
    }

    fn attributes_start(self) -> usize {
        self.integrations_start() + self.count(1).div_ceil(2)
    }

    /// Words that decide which audiences a tenant is in, but for its plans and its age.
    pub(crate) fn traits(self) -> (Name, &'a [u64], &'a [u64]) {
        let start = self.attributes_start();
        let attributes = cut(self.words, start, self.count(2) * ATTRIBUTE);
        (self.country(), cut(self.words, HEAD, self.count(0).div_ceil(2)), attributes)
    }

    pub(crate) fn attributes(self) -> impl Iterator<Item = (Name, AttributeFact)> + use<'a> {
        let start = self.attributes_start();
        cut(self.words, start, self.count(2) * ATTRIBUTE).as_chunks::<ATTRIBUTE>().0.iter().map(
            |[key, value]| (Name(low(*key)), AttributeFact { kind: high(*key), value: *value }),
        )
    }

    fn subscriptions_start(self) -> usize {
        self.attributes_start() + self.count(2) * ATTRIBUTE
    }

    pub(crate) fn subscriptions(self) -> impl Iterator<Item = SubscriptionFact> + use<'a> {
        let words = cut(self.words, self.subscriptions_start(), self.count(3) * SUBSCRIPTION);
        words.as_chunks::<SUBSCRIPTION>().0.iter().map(|[head, from, until]| SubscriptionFact {
            plan: Name(low(*head)),
            trial: high(*head) & 1 == 1,
            zone: Name(high(*head) >> 1),
            span: Span { from: instant(*from), until: instant(*until) },
        })
    }

    fn add_ons_start(self) -> usize {
        self.subscriptions_start() + self.count(3) * SUBSCRIPTION
    }

    pub(crate) fn add_ons(self) -> impl Iterator<Item = AddOnFact> + use<'a> {
        let words = cut(self.words, self.add_ons_start(), self.count(4) * ADD_ON);
        words.as_chunks::<ADD_ON>().0.iter().map(|[head, quantity, from, until]| AddOnFact {
            add_on: Name(low(*head)),
            quantity: low(*quantity),
            zone: Name(high(*head)),
            span: Span { from: instant(*from), until: instant(*until) },
        })
    }

    fn enrolments_start(self) -> usize {
        self.add_ons_start() + self.count(4) * ADD_ON
    }

    pub(crate) fn enrolments(self) -> impl Iterator<Item = EnrolmentFact> + use<'a> {
        let words = cut(self.words, self.enrolments_start(), self.count(5) * ENROLMENT);
        words.as_chunks::<ENROLMENT>().0.iter().map(|[head, from, until]| EnrolmentFact {
            promotion: Name(low(*head)),
            zone: Name(high(*head)),
            span: Span { from: instant(*from), until: instant(*until) },
        })
    }

    fn overrides_start(self) -> usize {
        self.enrolments_start() + self.count(5) * ENROLMENT
    }

    pub(crate) fn overrides(self) -> impl Iterator<Item = OverrideFact> + use<'a> {
        let words = cut(self.words, self.overrides_start(), self.count(6) * OVERRIDE);
        words.as_chunks::<OVERRIDE>().0.iter().map(|[head, kind, amount, from, until, people]| {
            OverrideFact {
                feature: Name(low(*head)),
                zone: Name(high(*head)),
                amount: match low(*kind) {
                    1 => OverrideAmount::On,
                    2 => OverrideAmount::Limit(*amount),
                    3 => OverrideAmount::Level(Name(low(*amount))),
                    4 => OverrideAmount::Config(Name(low(*amount))),
                    _ => OverrideAmount::Denied,
                },
                force: high(*kind) == 1,
                span: Span { from: instant(*from), until: instant(*until) },
                author: Name(low(*people)),
                note: Name(high(*people)),
            }
        })
    }

    fn blocks_start(self) -> usize {
        self.overrides_start() + self.count(6) * OVERRIDE
    }

    pub(crate) fn blocks(self) -> impl Iterator<Item = BlockFact<'a>> + use<'a> {
        let mut words = self.words.get(self.blocks_start()..).unwrap_or(&[]);
        (0..self.count(7)).map_while(move |_| {
            let (block, rest) = block(words)?;
            words = rest;
            Some(block)
        })
    }

    pub(crate) fn has_blocks(self) -> bool {
        self.count(7) > 0
    }

    /// The words, for storing.
    pub(crate) fn words(self) -> &'a [u64] {
        self.words
    }

    /// Facts from a document: refused unless every list fits and every name is known.
    pub(crate) fn checked(words: &'a [u64], names: usize) -> Option<Self> {
        let facts = Self { words };
        if words.len() < HEAD || words.len() < facts.blocks_start() {
            return None;
        }
        let mut rest = words.get(facts.blocks_start()..)?;
        for _ in 0..facts.count(7) {
            rest = block(rest)?.1;
        }
        let known = |name: Name| (name.0 as usize) < names;
        let all_known = known(facts.country())
            && known(facts.name())
            && facts.segments().iter().all(known)
            && facts.integrations().iter().all(known)
            && facts.attributes().all(|(key, value)| known(key) && value.names().is_none_or(known))
            && facts.subscriptions().all(|s| known(s.plan) && known(s.zone))
            && facts.add_ons().all(|a| known(a.add_on) && known(a.zone))
            && facts.enrolments().all(|e| known(e.promotion) && known(e.zone))
            && facts.overrides().all(|o| {
                let amount = match o.amount {
                    OverrideAmount::Level(name) | OverrideAmount::Config(name) => known(name),
                    OverrideAmount::Denied | OverrideAmount::On | OverrideAmount::Limit(_) => true,
                };
                amount && known(o.feature) && known(o.zone) && known(o.author) && known(o.note)
            })
            && facts.blocks().all(|b| {
                known(b.owner)
                    && known(b.zone)
                    && known(b.note)
                    && b.features.iter().all(known)
                    && b.modules.iter().all(known)
            });
        (rest.is_empty() && all_known).then_some(facts)
    }

    /// The facts as people write them.
    pub(crate) fn tenant(self, names: &Names) -> Tenant {
        Unpack { names }.tenant(self)
    }
}

fn block(words: &[u64]) -> Option<(BlockFact<'_>, &[u64])> {
    let [head, people, from, until, counts, rest @ ..] = words else { return None };
    let (features, modules) = (low(*counts) as usize, high(*counts) as usize);
    let (feature_words, rest) = rest.split_at_checked(features.div_ceil(2))?;
    let (module_words, rest) = rest.split_at_checked(modules.div_ceil(2))?;
    let block = BlockFact {
        owner: Name(low(*head)),
        zone: Name(high(*head)),
        note: Name(low(*people)),
        span: Span { from: instant(*from), until: instant(*until) },
        features: Packed { words: feature_words, count: features },
        modules: Packed { words: module_words, count: modules },
    };
    Some((block, rest))
}

/// A custom attribute's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AttributeFact {
    kind: u32,
    value: u64,
}

impl AttributeFact {
    pub(crate) fn pack(value: &AttributeValue, names: &Names) -> Self {
        match value {
            AttributeValue::Text(text) => Self { kind: 0, value: names.intern(text).0.into() },
            AttributeValue::Number(number) => Self { kind: 1, value: number.cast_unsigned() },
            AttributeValue::Flag(flag) => Self { kind: 2, value: (*flag).into() },
        }
    }

    fn unpack(self, names: &Names) -> AttributeValue {
        match self.kind {
            0 => AttributeValue::Text(names.text(Name(low(self.value))).into()),
            1 => AttributeValue::Number(self.value.cast_signed()),
            _ => AttributeValue::Flag(self.value != 0),
        }
    }

    fn names(self) -> Option<Name> {
        (self.kind == 0).then_some(Name(low(self.value)))
    }
}

/// Appends a tenant's facts to an arena. The order in which lists were written does not matter:
/// they are put in an order of their own.
pub(crate) fn pack(tenant: &Tenant, names: &Names, words: &mut Vec<u64>) {
    let start = words.len();
    Pack { names, words }.tenant(tenant);
    debug_assert!(
        words.get(start..).and_then(|words| Facts::checked(words, names.len())).is_some(),
        "packed facts must be readable"
    );
}

struct Pack<'a> {
    names: &'a Names,
    words: &'a mut Vec<u64>,
}

impl Pack<'_> {
    fn tenant(&mut self, tenant: &Tenant) {
        let count = |len: usize| len.min(ENTRIES_MAX) as u64;
        let country = self.optional(tenant.country.as_ref().map(Country::as_str));
        let name = self.optional(tenant.name.as_deref());
        self.words.push(pair(country.0, name.0));
        self.words.push(
            count(tenant.segments.len())
                | count(tenant.integrations.len()) << 16
                | count(tenant.attributes.len()) << 32
                | count(tenant.subscriptions.len()) << 48,
        );
        self.words.push(
            count(tenant.add_ons.len())
                | count(tenant.enrolments.len()) << 16
                | count(tenant.overrides.len()) << 32
                | count(tenant.blocks.len()) << 48,
        );
        self.instant(tenant.signed_up_at.unwrap_or(Timestamp::MIN));
        self.packed(tenant.segments.iter().map(SegmentKey::as_str));
        self.packed(tenant.integrations.iter().map(IntegrationKey::as_str));
        for (key, value) in tenant.attributes.iter().take(ENTRIES_MAX) {
            let value = AttributeFact::pack(value, self.names);
            let key = self.names.intern(key.as_str());
            self.words.extend([pair(key.0, value.kind), value.value]);
        }
        for entry in in_order(&tenant.subscriptions) {
            let zone = self.zone(&entry.window);
            let plan = self.names.intern(entry.plan.as_str());
            self.words.push(pair(plan.0, zone.0 << 1 | u32::from(entry.trial)));
            self.window(&entry.window);
        }
        for entry in in_order(&tenant.add_ons) {
            let zone = self.zone(&entry.window);
            let add_on = self.names.intern(entry.add_on.as_str());
            self.words.extend([pair(add_on.0, zone.0), entry.quantity.into()]);
            self.window(&entry.window);
        }
        for entry in in_order(&tenant.enrolments) {
            let zone = self.zone(&entry.window);
            let promotion = self.names.intern(entry.promotion.as_str());
            self.words.push(pair(promotion.0, zone.0));
            self.window(&entry.window);
        }
        in_order(&tenant.overrides).for_each(|entry| self.override_(entry));
        in_order(&tenant.blocks).for_each(|entry| self.block(entry));
    }

    fn override_(&mut self, entry: &Override) {
        let zone = self.zone(&entry.window);
        let feature = self.names.intern(entry.feature.as_str());
        let (kind, amount) = match &entry.amount {
            None => (0, 0),
            Some(Amount::On) => (1, 0),
            Some(Amount::Set(Limit::AtMost(amount)) | Amount::Add(amount)) => (2, *amount),
            Some(Amount::Set(Limit::Unlimited)) => (2, UNLIMITED),
            Some(Amount::Level(level)) => (3, self.names.intern(level.as_str()).0.into()),
            Some(Amount::Config(json)) => (4, self.names.intern(json.as_str()).0.into()),
        };
        self.words.extend([pair(feature.0, zone.0), pair(kind, entry.force.into()), amount]);
        self.window(&entry.window);
        let author = self.optional(entry.author.as_deref());
        let note = self.optional(entry.note.as_deref());
        self.words.push(pair(author.0, note.0));
    }

    fn block(&mut self, entry: &Block) {
        let zone = self.zone(&entry.window);
        let owner = self.names.intern(entry.owner.as_str());
        let note = self.optional(entry.note.as_deref());
        self.words.extend([pair(owner.0, zone.0), note.0.into()]);
        self.window(&entry.window);
        let count = |len: usize| u32::try_from(len.min(ENTRIES_MAX)).unwrap_or(0);
        self.words.push(pair(count(entry.features.len()), count(entry.modules.len())));
        self.packed(entry.features.iter().map(FeatureKey::as_str));
        self.packed(entry.modules.iter().map(ModuleKey::as_str));
    }

    fn optional(&mut self, text: Option<&str>) -> Name {
        text.map_or(Name::NONE, |text| self.names.intern(text))
    }

    fn zone(&mut self, window: &Window) -> Name {
        self.optional(window.zone.as_deref())
    }

    fn window(&mut self, window: &Window) {
        self.instant(window.start());
        self.instant(window.end());
    }

    fn instant(&mut self, at: Timestamp) {
        self.words.push(at.as_micros().cast_unsigned());
    }

    fn packed<'t>(&mut self, texts: impl Iterator<Item = &'t str>) {
        let mut first = None;
        for text in texts.take(ENTRIES_MAX) {
            let name = self.names.intern(text);
            match first.take() {
                None => first = Some(name),
                Some(before) => self.words.push(pair(before.0, name.0)),
            }
        }
        self.words.extend(first.map(|name| pair(name.0, 0)));
    }
}

/// The entries in their natural order, without copying those that already are.
fn in_order<T: Ord>(entries: &[T]) -> impl Iterator<Item = &T> {
    let mut sorted: Vec<&T> = entries.iter().collect();
    sorted.sort();
    sorted.truncate(ENTRIES_MAX);
    sorted.into_iter()
}

struct Unpack<'a> {
    names: &'a Names,
}

impl Unpack<'_> {
    fn tenant(&self, facts: Facts<'_>) -> Tenant {
        Tenant {
            name: self.optional(facts.name()).map(Into::into),
            country: self.optional(facts.country()).and_then(|text| Country::new(text).ok()),
            signed_up_at: facts.signed_up_at(),
            segments: self.keys(facts.segments(), SegmentKey::new),
            integrations: self.keys(facts.integrations(), IntegrationKey::new),
            attributes: facts
                .attributes()
                .filter_map(|(key, value)| {
                    Some((AttributeKey::new(self.text(key)).ok()?, value.unpack(self.names)))
                })
                .collect(),
            subscriptions: facts
                .subscriptions()
                .filter_map(|entry| {
                    Some(Subscription {
                        plan: PlanKey::new(self.text(entry.plan)).ok()?,
                        window: self.window(entry.span, entry.zone),
                        trial: entry.trial,
                    })
                })
                .collect(),
            add_ons: facts
                .add_ons()
                .filter_map(|entry| {
                    Some(TenantAddOn {
                        add_on: AddOnKey::new(self.text(entry.add_on)).ok()?,
                        quantity: entry.quantity,
                        window: self.window(entry.span, entry.zone),
                    })
                })
                .collect(),
            enrolments: facts
                .enrolments()
                .filter_map(|entry| {
                    Some(TenantEnrolment {
                        promotion: PromotionKey::new(self.text(entry.promotion)).ok()?,
                        window: self.window(entry.span, entry.zone),
                    })
                })
                .collect(),
            overrides: facts.overrides().filter_map(|entry| self.override_(entry)).collect(),
            blocks: facts.blocks().filter_map(|entry| self.block(entry)).collect(),
        }
    }

    fn override_(&self, entry: OverrideFact) -> Option<Override> {
        let amount = match entry.amount {
            OverrideAmount::Denied => None,
            OverrideAmount::On => Some(Amount::On),
            OverrideAmount::Limit(UNLIMITED) => Some(Amount::Set(Limit::Unlimited)),
            OverrideAmount::Limit(amount) => Some(Amount::Set(Limit::AtMost(amount))),
            OverrideAmount::Level(name) => {
                Some(Amount::Level(LevelName::new(self.text(name)).ok()?))
            }
            OverrideAmount::Config(name) => {
                Some(Amount::Config(Json::parse(self.text(name)).ok()?))
            }
        };
        Some(Override {
            feature: FeatureKey::new(self.text(entry.feature)).ok()?,
            amount,
            window: self.window(entry.span, entry.zone),
            force: entry.force,
            author: self.optional(entry.author).map(Into::into),
            note: self.optional(entry.note).map(Into::into),
        })
    }

    fn block(&self, entry: BlockFact<'_>) -> Option<Block> {
        Some(Block {
            owner: OwnerKey::new(self.text(entry.owner)).ok()?,
            features: self.keys(entry.features, FeatureKey::new),
            modules: self.keys(entry.modules, ModuleKey::new),
            window: self.window(entry.span, entry.zone),
            note: self.optional(entry.note).map(Into::into),
        })
    }

    fn keys<K: Ord, E>(
        &self,
        names: Packed<'_>,
        key: impl Fn(&str) -> Result<K, E>,
    ) -> std::collections::BTreeSet<K> {
        names.iter().filter_map(|name| key(self.text(name)).ok()).collect()
    }

    fn window(&self, span: Span, zone: Name) -> Window {
        Window {
            from: (span.from != Timestamp::MIN).then_some(span.from),
            until: (span.until != Timestamp::MAX).then_some(span.until),
            zone: self.optional(zone).map(Into::into),
        }
    }

    fn optional(&self, name: Name) -> Option<&str> {
        name.some().map(|name| self.text(name))
    }

    fn text(&self, name: Name) -> &str {
        self.names.text(name)
    }
}

/// Copies facts with other numbers for their names, as a document needs them.
#[cfg(feature = "document")]
pub(crate) fn renumber(
    facts: Facts<'_>,
    number: &mut impl FnMut(Name) -> Name,
    out: &mut Vec<u64>,
) {
    let start = out.len();
    out.extend_from_slice(facts.words);
    let Some(words) = out.get_mut(start..) else { return };
    let mut both =
        |word: &mut u64| *word = pair(number(Name(low(*word))).0, number(Name(high(*word))).0);
    let mut lists = words.iter_mut();
    lists.next().into_iter().for_each(&mut both);
    let lists = lists.into_slice().get_mut(HEAD - 1..).unwrap_or_default();
    let packed = facts.attributes_start() - HEAD;
    let (names, rest) = lists.split_at_mut(packed.min(lists.len()));
    names.iter_mut().for_each(&mut both);

    let (attributes, rest) = rest.split_at_mut((facts.count(2) * ATTRIBUTE).min(rest.len()));
    for [key, value] in attributes.as_chunks_mut::<ATTRIBUTE>().0 {
        let kind = high(*key);
        *key = pair(number(Name(low(*key))).0, kind);
        if kind == 0 {
            *value = number(Name(low(*value))).0.into();
        }
    }
    let (subscriptions, rest) = rest.split_at_mut((facts.count(3) * SUBSCRIPTION).min(rest.len()));
    for [head, _, _] in subscriptions.as_chunks_mut::<SUBSCRIPTION>().0 {
        let zone = number(Name(high(*head) >> 1)).0;
        *head = pair(number(Name(low(*head))).0, zone << 1 | high(*head) & 1);
    }
    let mut both =
        |word: &mut u64| *word = pair(number(Name(low(*word))).0, number(Name(high(*word))).0);
    let (add_ons, rest) = rest.split_at_mut((facts.count(4) * ADD_ON).min(rest.len()));
    add_ons.as_chunks_mut::<ADD_ON>().0.iter_mut().for_each(|[head, ..]| both(head));
    let (enrolments, rest) = rest.split_at_mut((facts.count(5) * ENROLMENT).min(rest.len()));
    enrolments.as_chunks_mut::<ENROLMENT>().0.iter_mut().for_each(|[head, ..]| both(head));
    let (overrides, mut rest) = rest.split_at_mut((facts.count(6) * OVERRIDE).min(rest.len()));
    for [head, kind, amount, _, _, people] in overrides.as_chunks_mut::<OVERRIDE>().0 {
        both(head);
        both(people);
        if matches!(low(*kind), 3 | 4) {
            both(amount);
        }
    }
    while let [head, note, _, _, counts, tail @ ..] = rest {
        both(head);
        both(note);
        let names = (low(*counts).div_ceil(2) + high(*counts).div_ceil(2)) as usize;
        let (names, tail) = tail.split_at_mut(names.min(tail.len()));
        names.iter_mut().for_each(&mut both);
        rest = tail;
    }
}

#[cfg(test)]
#[cfg(feature = "document")]
mod tests {
    use super::*;

    fn tenant() -> Tenant {
        let read = toml::from_str(
            r#"
            name = "Acme"
            country = "DE"
            signed_up_at = 2026-01-05T00:00:00Z
            segments = ["dental", "large", "new"]
            integrations = ["idp"]
            attributes = { beds = 12, specialty = "dentist", vip = true }
            subscriptions = [
              { plan = "pro", window = { from = 2026-01-05T00:00:00Z } },
              { plan = "basic", window = { until = 2026-01-05, zone = "Europe/Berlin" }, trial = true },
            ]
            add_ons = [{ add_on = "sms", quantity = 3 }]
            enrolments = [{ promotion = "spring", window = { until = 2026-06-01 } }]
            overrides = [
              { feature = "seats", amount = 40, author = "kim", note = "deal" },
              { feature = "sso" },
              { feature = "api", amount = "unlimited", force = true },
              { feature = "support", amount = "gold" },
              { feature = "look", amount = { color = "blue" } },
            ]
            blocks = [
              { owner = "billing", note = "dunning" },
              { owner = "security", features = ["a", "b", "c"], modules = ["m"] },
            ]
            "#,
        );
        read.unwrap_or_else(|error| panic!("{error}"))
    }

    fn sorted(mut tenant: Tenant) -> Tenant {
        tenant.subscriptions.sort();
        tenant.overrides.sort();
        tenant.blocks.sort();
        tenant
    }

    #[test]
    fn packing_loses_nothing() {
        let (names, mut words) = (Names::new(), Vec::new());
        pack(&tenant(), &names, &mut words);
        let facts = Facts::checked(&words, names.len()).unwrap();
        assert_eq!(facts.tenant(&names), sorted(tenant()));
    }

    #[test]
    fn renumbering_keeps_the_meaning() {
        let (old, mut words) = (Names::new(), Vec::new());
        (0..50).for_each(|number| _ = old.intern(&format!("other-{number}")));
        pack(&tenant(), &old, &mut words);
        let (new, mut out) = (Names::new(), Vec::new());
        let mut number =
            |name: Name| if name == Name::NONE { name } else { new.intern(old.text(name)) };
        renumber(Facts::new(&words), &mut number, &mut out);
        assert!(new.len() < 50);
        assert_eq!(Facts::new(&out).tenant(&new), sorted(tenant()));
    }

    #[test]
    fn facts_that_are_cut_off_or_name_the_unknown_are_refused() {
        let (names, mut words) = (Names::new(), Vec::new());
        pack(&tenant(), &names, &mut words);
        for len in 0..words.len() {
            assert!(Facts::checked(&words[..len], names.len()).is_none(), "{len} words");
        }
        assert!(Facts::checked(&words, names.len() - 1).is_none());
    }
}
