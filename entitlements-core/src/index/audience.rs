//! Audiences in numbers, and who is in them.

use std::collections::{BTreeMap, HashMap};

use super::{AudienceIx, PlanIx};
use crate::{
    Audience, Draft, SegmentKey, Status, Timestamp,
    catalog::days,
    facts::{AttributeFact, Facts},
    names::{Name, Names},
};

/// All conditions of a catalog, in such an order that each comes after those inside it.
#[derive(Debug, Default)]
pub(crate) struct Audiences {
    conditions: Vec<Condition>,
    /// The ages at which some condition changes, in microseconds, from the youngest.
    ages: Vec<i64>,
    /// Conditions that decide answers by themselves, not only by what brings a source in force.
    deciding: Vec<u64>,
}

#[derive(Debug)]
enum Condition {
    Audience(Box<AudienceEntry>),
    /// Tagged, or in the audience.
    Segment {
        tag: Name,
        audience: Option<AudienceIx>,
    },
}

#[derive(Debug, Default)]
struct AudienceEntry {
    all: Vec<AudienceIx>,
    any: Vec<AudienceIx>,
    not: Option<AudienceIx>,
    plans: Vec<PlanIx>,
    countries: Vec<Name>,
    /// The countries of all its regions; `None` where it names no region.
    region_countries: Option<Vec<Name>>,
    segments: Vec<AudienceIx>,
    statuses: Vec<Status>,
    /// At least, and below, in microseconds.
    age: Option<(i64, i64)>,
    attributes: Vec<(Name, Vec<AttributeFact>)>,
}

/// Who is asking, as far as audiences care.
#[derive(Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) facts: Facts<'a>,
    /// The plans of the subscriptions in force.
    pub(crate) plans: &'a [PlanIx],
    pub(crate) status: Status,
    pub(crate) at: Timestamp,
}

/// A set of small numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn clear(&mut self, count: usize) {
        self.0.clear();
        self.0.resize(count.div_ceil(64), 0);
    }

    pub(crate) fn set(&mut self, bit: usize) {
        if let Some(word) = self.0.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    pub(crate) fn get(&self, bit: usize) -> bool {
        self.0.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// Whether an audience is among them; everyone always is.
    pub(crate) fn has(&self, audience: AudienceIx) -> bool {
        audience == AudienceIx::EVERYONE || self.get(audience.get())
    }

    pub(crate) fn copy_from(&mut self, words: &[u64]) {
        self.0.clear();
        self.0.extend_from_slice(words);
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.0
    }
}

impl Audiences {
    /// Finds out which audiences a tenant is in.
    pub(crate) fn evaluate(&self, who: Who<'_>, bits: &mut Bits) {
        bits.clear(self.conditions.len());
        for (place, condition) in self.conditions.iter().enumerate() {
            let holds = match condition {
                Condition::Segment { tag, audience } => {
                    who.facts.segments().contains(*tag)
                        || audience.is_some_and(|inner| bits.has(inner))
                }
                Condition::Audience(entry) => entry.holds(who, bits),
            };
            if holds {
                bits.set(place);
            }
        }
    }

    /// Forgets the conditions that decide no answer by themselves.
    pub(crate) fn keep_deciding(&self, bits: &mut Bits) {
        for (word, mask) in bits.0.iter_mut().zip(&self.deciding) {
            *word &= mask;
        }
    }

    /// How many ages at which something changes a tenant has passed. Between two of them no
    /// audience changes by age.
    pub(crate) fn age_bracket(&self, signed_up_at: Option<Timestamp>, at: Timestamp) -> u64 {
        signed_up_at.map_or(u64::MAX, |start| {
            self.ages.partition_point(|age| passed(start, *age, at)) as u64
        })
    }

    /// The next instant after `at` at which an audience changes by age.
    pub(crate) fn age_edge_after(
        &self,
        signed_up_at: Option<Timestamp>,
        at: Timestamp,
    ) -> Timestamp {
        let Some(start) = signed_up_at else { return Timestamp::MAX };
        let next = self.ages.partition_point(|age| passed(start, *age, at));
        self.ages.get(next).map_or(Timestamp::MAX, |age| birthday(start, *age))
    }
}

fn birthday(signed_up_at: Timestamp, age: i64) -> Timestamp {
    Timestamp::from_micros(signed_up_at.as_micros().saturating_add(age))
}

fn passed(signed_up_at: Timestamp, age: i64, at: Timestamp) -> bool {
    birthday(signed_up_at, age) <= at
}

/// Every segment of a catalog, also those that no audience asks for.
#[derive(Debug)]
pub(crate) struct Segments {
    audiences: Audiences,
    /// By the order of their keys.
    places: Vec<AudienceIx>,
    memo: AudienceMemo,
    bits: Bits,
}

impl Segments {
    pub(crate) fn new(draft: &Draft, names: &Names) -> Self {
        let mut build = AudienceBuilder::new(draft, names);
        let places = draft.segments.keys().map(|key| build.segment(key)).collect();
        let (memo, bits) = (AudienceMemo::default(), Bits::default());
        Self { audiences: build.finish(), places, memo, bits }
    }

    /// The places, in the order of keys, of the segments that a tenant is in.
    pub(crate) fn of(&mut self, who: Who<'_>) -> impl Iterator<Item = usize> {
        if !self.places.is_empty() {
            self.memo.evaluate(&self.audiences, who, &mut self.bits);
        }
        let all = self.places.iter().enumerate();
        all.filter(|(_, audience)| self.bits.has(**audience)).map(|(place, _)| place)
    }
}

impl AudienceEntry {
    fn holds(&self, who: Who<'_>, bits: &Bits) -> bool {
        self.all.iter().all(|inner| bits.has(*inner))
            && (self.any.is_empty() || self.any.iter().any(|inner| bits.has(*inner)))
            && self.not.is_none_or(|inner| !bits.has(inner))
            && (self.plans.is_empty() || self.plans.iter().any(|plan| who.plans.contains(plan)))
            && (self.countries.is_empty() || self.countries.contains(&who.facts.country()))
            && self.region_countries.as_ref().is_none_or(|all| all.contains(&who.facts.country()))
            && (self.segments.is_empty() || self.segments.iter().any(|segment| bits.has(*segment)))
            && (self.statuses.is_empty() || self.statuses.contains(&who.status))
            && self.age.is_none_or(|age| self.has_age(age, who))
            && self.attributes.iter().all(|(key, one_of)| {
                who.facts.attributes().any(|(name, value)| name == *key && one_of.contains(&value))
            })
    }

    fn has_age(&self, (min, below): (i64, i64), who: Who<'_>) -> bool {
        who.facts.signed_up_at().is_some_and(|start| {
            start <= who.at && passed(start, min, who.at) && !passed(start, below, who.at)
        })
    }
}

/// How many traits are remembered before all are forgotten: where each tenant has attributes of
/// its own, remembering them helps nobody.
const TRAITS_MAX: usize = 1 << 16;

/// Which audiences tenants with the same traits are in. Most tenants share theirs with many.
#[derive(Debug, Default)]
pub(crate) struct AudienceMemo {
    key: Vec<u64>,
    known: HashMap<Box<[u64]>, Box<[u64]>, foldhash::fast::RandomState>,
}

impl AudienceMemo {
    /// What [`Audiences::evaluate`] finds, remembered. A memo is for the audiences of one catalog.
    pub(crate) fn evaluate(&mut self, audiences: &Audiences, who: Who<'_>, bits: &mut Bits) {
        let (country, segments, attributes) = who.facts.traits();
        self.key.clear();
        self.key
            .push(u64::from(country.0) << 32 | (who.status as u64) << 16 | who.plans.len() as u64);
        self.key.push(
            audiences.age_bracket(who.facts.signed_up_at(), who.at) << 16 | segments.len() as u64,
        );
        self.key.extend(who.plans.iter().map(|plan| u64::from(plan.0)));
        self.key.extend_from_slice(segments);
        self.key.extend_from_slice(attributes);
        if let Some(known) = self.known.get(self.key.as_slice()) {
            return bits.copy_from(known);
        }
        audiences.evaluate(who, bits);
        if self.known.len() >= TRAITS_MAX {
            self.known.clear();
        }
        self.known.insert(self.key.as_slice().into(), bits.words().into());
    }
}

/// Puts audiences into numbers, the same one only once.
pub(super) struct AudienceBuilder<'d> {
    draft: &'d Draft,
    names: &'d Names,
    done: Audiences,
    places: BTreeMap<Audience, AudienceIx>,
    segments: BTreeMap<SegmentKey, AudienceIx>,
}

impl<'d> AudienceBuilder<'d> {
    pub(super) fn new(draft: &'d Draft, names: &'d Names) -> Self {
        Self {
            draft,
            names,
            done: Audiences::default(),
            places: BTreeMap::new(),
            segments: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, audience: &Audience) -> AudienceIx {
        if audience.is_everyone() {
            return AudienceIx::EVERYONE;
        }
        if let Some(place) = self.places.get(audience) {
            return *place;
        }
        let entry = self.entry(audience);
        let place = self.push(Condition::Audience(Box::new(entry)));
        self.places.insert(audience.clone(), place);
        place
    }

    /// Adds an audience that decides answers by itself.
    pub(super) fn add_deciding(&mut self, audience: &Audience) -> AudienceIx {
        let place = self.add(audience);
        if place != AudienceIx::EVERYONE {
            let word = place.get() / 64;
            if self.done.deciding.len() <= word {
                self.done.deciding.resize(word + 1, 0);
            }
            if let Some(word) = self.done.deciding.get_mut(word) {
                *word |= 1 << (place.get() % 64);
            }
        }
        place
    }

    pub(super) fn finish(mut self) -> Audiences {
        self.done.ages.sort_unstable();
        self.done.ages.dedup();
        self.done.deciding.resize(self.done.conditions.len().div_ceil(64), 0);
        self.done
    }

    fn push(&mut self, condition: Condition) -> AudienceIx {
        self.done.conditions.push(condition);
        AudienceIx::at(self.done.conditions.len() - 1)
    }

    fn entry(&mut self, audience: &Audience) -> AudienceEntry {
        let all = audience.all.iter().map(|inner| self.add(inner)).collect();
        let any = audience.any.iter().map(|inner| self.add(inner)).collect();
        let not = audience.not.as_deref().map(|inner| self.add(inner));
        let segments = audience.segment.iter().map(|key| self.segment(key)).collect();
        let age = audience.age.map(|age| self.age(age));
        let plan = |key| self.draft.plans.keys().position(|plan| plan == key).map(PlanIx::at);
        let country = |country: &crate::Country| self.names.intern(country.as_str());
        let regions = audience.region.iter().filter_map(|key| self.draft.regions.get(key));
        AudienceEntry {
            all,
            any,
            not,
            segments,
            age,
            plans: audience.plan.iter().filter_map(plan).collect(),
            countries: audience.country.iter().map(country).collect(),
            region_countries: (!audience.region.is_empty())
                .then(|| regions.flat_map(|region| &region.countries).map(country).collect()),
            statuses: audience.status.clone(),
            attributes: audience
                .attributes
                .iter()
                .map(|(key, one_of)| {
                    let values =
                        one_of.0.iter().map(|value| AttributeFact::pack(value, self.names));
                    (self.names.intern(key.as_str()), values.collect())
                })
                .collect(),
        }
    }

    fn age(&mut self, age: crate::Age) -> (i64, i64) {
        let micros = |count| i64::try_from(days(count).as_micros()).unwrap_or(i64::MAX);
        // Before it has signed up a tenant has no age: that instant is an edge as well.
        self.done.ages.push(0);
        self.done.ages.extend(age.days_min.map(micros));
        self.done.ages.extend(age.days_below.map(micros));
        (age.days_min.map_or(0, micros), age.days_below.map_or(i64::MAX, micros))
    }

    fn segment(&mut self, key: &SegmentKey) -> AudienceIx {
        if let Some(place) = self.segments.get(key) {
            return *place;
        }
        let inner = self.draft.segments.get(key).and_then(|segment| segment.audience.clone());
        let audience = inner.map(|audience| self.add(&audience));
        let tag = self.names.intern(key.as_str());
        let place = self.push(Condition::Segment { tag, audience });
        self.segments.insert(key.clone(), place);
        place
    }
}
