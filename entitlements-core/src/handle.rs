//! Handles: names that remember where they were found.
//!
//! A product module asks about the same features all its life. A handle looks its name up once and
//! then goes straight to the place, as long as that place holds; after a change that moved it, it
//! looks it up again by itself. It can never point at something else.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    index::{FeatureIx, Index},
    page::{Page, tenant_hash},
};

/// A number that nothing else has, in 48 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    pub(crate) fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A place inside what has a stamp. Both are read and written in one piece.
#[derive(Debug, Default)]
struct Place(AtomicU64);

impl Place {
    #[inline]
    fn get(&self, stamp: Stamp) -> Option<u16> {
        let found = self.0.load(Ordering::Relaxed);
        (found >> 16 == stamp.0).then_some((found & 0xffff) as u16)
    }

    fn set(&self, stamp: Stamp, place: u16) {
        self.0.store(stamp.0 << 16 | u64::from(place), Ordering::Relaxed);
    }
}

/// A feature that is asked about often.
pub struct FeatureHandle {
    key: Box<str>,
    place: Place,
}

impl FeatureHandle {
    /// A handle on the feature with this key, whether or not there is one yet.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self { key: key.into(), place: Place::default() }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// A tenant that is asked about often.
pub struct TenantHandle {
    key: Box<str>,
    hash: u64,
    place: Place,
}

impl TenantHandle {
    /// A handle on the tenant with this key, whether or not there is one yet.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self { key: key.into(), hash: tenant_hash(key), place: Place::default() }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Debug for FeatureHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FeatureHandle(`{}`)", self.key)
    }
}

impl fmt::Debug for TenantHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantHandle(`{}`)", self.key)
    }
}

/// What a feature can be asked for by: its key as text, or a handle.
pub trait AsFeature: sealed::Feature {}
impl AsFeature for &str {}
impl AsFeature for &FeatureHandle {}

/// What a tenant can be asked for by: its key as text, or a handle.
pub trait AsTenant: sealed::Tenant {}
impl AsTenant for &str {}
impl AsTenant for &TenantHandle {}

pub(crate) mod sealed {
    use super::{FeatureHandle, FeatureIx, Index, Page, TenantHandle, tenant_hash};

    pub trait Feature: Copy {
        fn find(self, index: &Index) -> Option<FeatureIx>;
    }

    impl Feature for &str {
        #[inline]
        fn find(self, index: &Index) -> Option<FeatureIx> {
            index.find_feature(self)
        }
    }

    impl Feature for &FeatureHandle {
        #[inline]
        fn find(self, index: &Index) -> Option<FeatureIx> {
            if let Some(place) = self.place.get(index.stamp) {
                return Some(FeatureIx(place));
            }
            let found = index.find_feature(&self.key)?;
            self.place.set(index.stamp, found.0);
            Some(found)
        }
    }

    pub trait Tenant: Copy {
        fn hash(self) -> u64;
        fn find(self, hash: u64, page: &Page) -> Option<usize>;
    }

    impl Tenant for &str {
        #[inline]
        fn hash(self) -> u64 {
            tenant_hash(self)
        }
        #[inline]
        fn find(self, hash: u64, page: &Page) -> Option<usize> {
            page.find(hash, self)
        }
    }

    impl Tenant for &TenantHandle {
        #[inline]
        fn hash(self) -> u64 {
            self.hash
        }
        #[inline]
        fn find(self, hash: u64, page: &Page) -> Option<usize> {
            if let Some(place) = self.place.get(page.stamp()) {
                return Some(place.into());
            }
            let found = page.find(hash, &self.key)?;
            self.place.set(page.stamp(), u16::try_from(found).ok()?);
            Some(found)
        }
    }
}
