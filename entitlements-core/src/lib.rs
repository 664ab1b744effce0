#![doc = include_str!("../README.md")]

pub mod catalog;
#[cfg(feature = "document")]
mod content;
mod decision;
#[cfg(feature = "document")]
pub mod document;
mod explain;
mod facts;
mod handle;
mod held;
mod impact;
mod index;
mod json;
mod key;
mod live;
mod names;
mod page;
mod problem;
mod resolve;
mod rows;
#[cfg(feature = "document")]
pub mod scenario;
#[cfg(feature = "signed")]
pub mod signed;
mod snapshot;
mod tenant;
mod time;
mod touched;
#[cfg(feature = "watch")]
pub mod watch;

pub use catalog::{
    AMOUNT_MAX, AddOn, Age, Amount, AttributeValue, Audience, Bundle, Catalog, CatalogErrors,
    Draft, Enrolment, Feature, FeatureKind, Grant, Grants, Limit, Module, OneOf, Plan, PlanVersion,
    Promotion, Region, Segment, Status, WhenStale,
};
pub use decision::{Decision, Reason, Revision, Source, SourceKind, Verdict};
pub use explain::{Condition, Contribution, Explanation, Standing};
pub use handle::{AsFeature, AsTenant, FeatureHandle, TenantHandle};
pub use held::HeldAddOn;
pub use impact::{
    AboveLimit, AddOnImpact, Change, CohortImpact, Direction, Impact, ImpactOptions, Milestone,
    MilestoneEvent, MilestoneKind, SampledChange, SampledUsage, Tally, Usage,
};
pub use json::{Json, JsonError};
pub use key::{
    AddOnKey, AttributeKey, BundleKey, Country, FeatureKey, GroupKey, IntegrationKey,
    KEY_BYTES_MAX, KeyError, LevelName, ModuleKey, OwnerKey, PlanKey, PromotionKey, RegionKey,
    SegmentKey, TenantKey,
};
pub use live::{Entitlements, Pin, Reader, StaleRevision};
pub use problem::Problem;
pub use snapshot::{Snapshot, TenantView};
pub use tenant::{Block, Override, Subscription, Tenant, TenantAddOn, TenantEnrolment};
pub use time::{Ratchet, TimeError, Timestamp, Window};
