//! What is on offer, what tenants ask for, and what they have by it.

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};
use entitlements_core::Revision;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    body::{self, BYTES_MAX},
    extract::{Params, Segments, expected},
    problem::{Code, Problem},
    reply::{self, Reply},
    requests::RequestShown,
};
use crate::{
    app::{App, Call, Command, KeptListing, ListingRecord, Shelf},
    workflow::{
        Kind,
        approval::DelegationSetting,
        holding::Holding,
        listing::{Listing, ListingAct, ListingStage},
        sla::{Sla, WorkWeek},
    },
};

/// Which listings to show.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ListingFilter {
    /// In this stage, such as `published`.
    stage: String,
    /// Of this category.
    category: String,
}

/// A listing.
#[derive(Serialize, JsonSchema)]
pub(super) struct ListingShown {
    key: String,
    revision: Revision,
    #[serde(flatten)]
    record: ListingRecord,
}

impl From<KeptListing> for ListingShown {
    fn from(kept: KeptListing) -> Self {
        let KeptListing { key, record, revision } = kept;
        Self { key, revision, record }
    }
}

/// Listings, by key.
#[derive(Serialize, JsonSchema)]
pub(super) struct ListingList {
    listings: Vec<ListingShown>,
}

/// Listings, by key.
pub(super) async fn listings(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Params(filter): Params<ListingFilter>,
) -> Reply {
    if !filter.stage.is_empty() {
        let wrong = |why: String| Problem::new(Code::InvalidRequest, why);
        filter.stage.parse::<ListingStage>().map_err(wrong)?;
    }
    let fits = |kept: &KeptListing| {
        (filter.stage.is_empty() || kept.record.stage == filter.stage)
            && (filter.category.is_empty() || kept.record.listing.category == filter.category)
    };
    let all = app.listings(&call).await?;
    let listings = all.into_iter().filter(fits).map(Into::into).collect();
    reply::json(StatusCode::OK, app.revision(), &ListingList { listings })
}

/// A listing.
pub(super) async fn listing(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    let kept = app.listing(&call, &key).await?;
    let revision = kept.revision;
    Ok(reply::document(&headers, revision, reply::text(&ListingShown::from(kept))?))
}

/// Makes or replaces a listing.
pub(super) async fn put_listing(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let listing: Box<Listing> = body::read(request, BYTES_MAX).await?;
    let outcome = app.execute(call, Command::PutListing { key, listing, expected }).await?;
    reply::committed(&outcome, true)
}

/// Has a listing go on its way.
pub(super) async fn act_on_listing(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments((key, act)): Segments<(String, String)>,
    headers: HeaderMap,
) -> Reply {
    let expected = expected(&headers)?;
    let all = ListingAct::ALL.into_iter().filter(|act| *act != ListingAct::Edit);
    let act = all.clone().find(|known| known.code() == act).ok_or_else(|| {
        let all: Vec<String> = all.map(|act| format!("`{}`", act.code())).collect();
        Problem::new(Code::NotFound, format!("`{act}` is none of {}", all.join(", ")))
    })?;
    let outcome = app.execute(call, Command::ActOnListing { key, act, expected }).await?;
    reply::committed(&outcome, true)
}

/// A calendar as people write it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CalendarWanted {
    /// What people call it.
    name: String,
    /// The hours that count from now on. What was counted before stays counted.
    week: WorkWeek,
}

/// Makes or replaces a calendar.
pub(super) async fn put_calendar(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let CalendarWanted { name, week } = body::read(request, BYTES_MAX).await?;
    let shelf = Box::new(Shelf::Calendar { name, week });
    let outcome = app.execute(call, Command::PutShelf { key, shelf, expected }).await?;
    reply::committed(&outcome, true)
}

/// Makes or replaces what is promised.
pub(super) async fn put_sla(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let sla: Sla = body::read(request, BYTES_MAX).await?;
    let shelf = Box::new(Shelf::Sla(sla));
    let outcome = app.execute(call, Command::PutShelf { key, shelf, expected }).await?;
    reply::committed(&outcome, true)
}

async fn remove(app: App, call: Call, kind: Kind, key: String, headers: &HeaderMap) -> Reply {
    let expected = expected(headers)?;
    let outcome = app.execute(call, Command::RemoveShelf { kind, key, expected }).await?;
    reply::committed(&outcome, false)
}

/// Removes a calendar.
pub(super) async fn delete_calendar(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    remove(app, call, Kind::Calendar, key, &headers).await
}

/// Removes what is promised.
pub(super) async fn delete_sla(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    remove(app, call, Kind::Sla, key, &headers).await
}

/// Says who stands in for whom.
pub(super) async fn put_delegations(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let setting: Box<DelegationSetting> = body::read(request, BYTES_MAX).await?;
    let outcome = app.execute(call, Command::SetDelegations { setting, expected }).await?;
    reply::committed(&outcome, true)
}

/// Something that would give a tenant more of a feature.
#[derive(Serialize, JsonSchema)]
struct LiftShown {
    /// The key of the listing.
    listing: String,
    title: String,
    /// What the feature would be.
    after: String,
    /// Whether it may be asked for now.
    may_ask: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// What would give a tenant more of a feature.
#[derive(Serialize, JsonSchema)]
pub(super) struct Lifts {
    tenant: String,
    feature: String,
    /// What the feature is now.
    now: String,
    offers: Vec<LiftShown>,
}

/// What a tenant may ask for that would give it a feature, or more of it.
pub(super) async fn lifts(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments((tenant, feature)): Segments<(String, String)>,
) -> Reply {
    let (now, lifts) = app.lifts(&call, &tenant, &feature).await?;
    let offers = lifts.into_iter().map(|lift| LiftShown {
        listing: lift.listing,
        title: lift.title,
        after: lift.after,
        may_ask: lift.why.is_none(),
        why: lift.why,
    });
    let offers = offers.collect();
    reply::json(StatusCode::OK, app.revision(), &Lifts { tenant, feature, now, offers })
}

/// Something on offer, as a tenant sees it.
#[derive(Serialize, JsonSchema)]
struct OfferShown {
    key: String,
    listing: Listing,
    /// Whether it may be asked for now.
    may_ask: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// What a tenant has by a request.
#[derive(Serialize, JsonSchema)]
struct HoldingShown {
    id: String,
    #[serde(flatten)]
    holding: Holding,
}

/// What a tenant may ask for, has asked for, and has.
#[derive(Serialize, JsonSchema)]
pub(super) struct Shop {
    tenant: String,
    offers: Vec<OfferShown>,
    holdings: Vec<HoldingShown>,
    /// Its requests that are not over.
    requests: Vec<RequestShown>,
}

/// What a tenant may ask for, has asked for, and has.
pub(super) async fn shop(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(key): Segments<String>,
) -> Reply {
    let shop = app.shop(&call, &key).await?;
    let offers = shop.offers.into_iter().map(|(kept, why)| OfferShown {
        key: kept.key,
        listing: kept.record.listing,
        may_ask: why.is_none(),
        why,
    });
    let holdings = shop.holdings.into_iter().map(|(id, holding)| HoldingShown { id, holding });
    let shown = Shop {
        tenant: key,
        offers: offers.collect(),
        holdings: holdings.collect(),
        requests: shop.requests.into_iter().map(Into::into).collect(),
    };
    reply::json(StatusCode::OK, app.revision(), &shown)
}
