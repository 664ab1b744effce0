//! What is on offer, what tenants ask for, and what they have by it.

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use entitlements_core::{Revision, TenantKey, document::Hash};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    body::{self, BYTES_MAX},
    extract::{Params, Segments, expected},
    problem::{Code, Problem},
    reply::{self, Reply},
};
use crate::{
    app::{
        App, Call, Command, KeptListing, KeptRequest, ListingRecord, NewRequest, Outcome, Shelf,
        StepTold,
    },
    workflow::{
        Kind,
        approval::DelegationSetting,
        holding::Holding,
        listing::{Listing, ListingAct, ListingStage},
        request::{Act, Asks, Link, RequestRecord, Stage, Wants},
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

/// A request as people write it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestWanted {
    /// Whose.
    tenant: TenantKey,
    /// For which listing; that of what one has where it is about that.
    #[serde(default)]
    listing: String,
    /// What is asked: to have it, where absent.
    #[serde(default = "order")]
    asks: Asks,
    /// How much of it, and when.
    #[serde(default = "one")]
    wants: Wants,
    /// How much it matters.
    #[serde(default = "normal")]
    priority: String,
    /// For whom it is, by address, where that is somebody else.
    #[serde(default)]
    beneficiary: Option<String>,
    /// What there is to say about it.
    #[serde(default)]
    note: String,
    /// Whether it is handed in at once.
    #[serde(default = "yes")]
    submit: bool,
}

const fn order() -> Asks {
    Asks::Order {}
}

const fn one() -> Wants {
    Wants { quantity: 1, parameters: Value::Null, start_at: None, until: None }
}

fn normal() -> String {
    "normal".into()
}

const fn yes() -> bool {
    true
}

/// That something was asked for.
#[derive(Serialize, JsonSchema)]
pub(super) struct Made {
    /// The commit.
    revision: Revision,
    id: String,
}

/// Asks for something, for a tenant.
pub(super) async fn create_request(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Reply {
    let wanted: RequestWanted = body::read(request, BYTES_MAX).await?;
    let RequestWanted { tenant, listing, asks, wants, priority, beneficiary, note, submit } =
        wanted;
    let wanted = NewRequest { tenant, listing, asks, wants, priority, beneficiary, note, submit };
    let outcome = app.execute(call, Command::CreateRequest(Box::new(wanted))).await?;
    let id = outcome.id.clone().unwrap_or_default();
    let body = Made { revision: outcome.revision, id: id.clone() };
    let mut response = reply::json(StatusCode::CREATED, outcome.revision, &body)?;
    reply::mark(&mut response, &outcome, true);
    if let Ok(place) = HeaderValue::from_str(&format!("/v1/requests/{id}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// Which requests to show.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RequestFilter {
    /// Of this tenant.
    tenant: String,
    /// For this listing.
    listing: String,
    /// In this stage, such as `pending_approval`.
    stage: String,
    /// Only those that are not over.
    open: bool,
    /// The id that the page before ended with.
    after: String,
    /// How many at most, from 1 to 200.
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
}

impl Default for RequestFilter {
    fn default() -> Self {
        Self {
            tenant: String::new(),
            listing: String::new(),
            stage: String::new(),
            open: false,
            after: String::new(),
            limit: 100,
        }
    }
}

const LIMIT_MAX: u32 = 200;

/// A request.
#[derive(Serialize, JsonSchema)]
pub(super) struct RequestShown {
    id: String,
    revision: Revision,
    #[serde(flatten)]
    record: RequestRecord,
}

impl From<KeptRequest> for RequestShown {
    fn from(kept: KeptRequest) -> Self {
        let KeptRequest { id, record, revision } = kept;
        Self { id, revision, record }
    }
}

/// Requests, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct RequestList {
    requests: Vec<RequestShown>,
    /// What to ask for next, where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Requests, newest first.
pub(super) async fn requests(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Params(filter): Params<RequestFilter>,
) -> Reply {
    let wrong = |why: String| Problem::new(Code::InvalidRequest, why);
    if !(1..=LIMIT_MAX).contains(&filter.limit) {
        return Err(wrong(format!("`limit={}` is not a page: use 1 to {LIMIT_MAX}", filter.limit)));
    }
    if !filter.stage.is_empty() {
        filter.stage.parse::<Stage>().map_err(wrong)?;
    }
    let fits = |kept: &KeptRequest| {
        let record = &kept.record;
        (filter.tenant.is_empty() || record.tenant == filter.tenant)
            && (filter.listing.is_empty() || record.listing == filter.listing)
            && (filter.stage.is_empty() || record.stage == filter.stage)
            && !(filter.open && record.stage().is_over())
    };
    let limit = filter.limit as usize;
    let all = app.requests(&call).await?.into_iter().filter(fits);
    let rest: Vec<KeptRequest> = match filter.after.is_empty() {
        true => all.take(limit + 1).collect(),
        false => all.skip_while(|kept| kept.id != filter.after).skip(1).take(limit + 1).collect(),
    };
    let next = (rest.len() > limit).then(|| rest.get(limit - 1).map(|kept| kept.id.clone()));
    let requests = rest.into_iter().take(limit).map(Into::into).collect();
    let list = RequestList { requests, next: next.flatten() };
    reply::json(StatusCode::OK, app.revision(), &list)
}

/// A request.
pub(super) async fn request(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    let kept = app.request(&call, &id).await?;
    let revision = kept.revision;
    Ok(reply::document(&headers, revision, reply::text(&RequestShown::from(kept))?))
}

/// What a request would do to its tenant.
pub(super) async fn effect(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
) -> Reply {
    let kept = app.request(&call, &id).await?;
    let effect = app.request_effect(&kept.record).await?;
    reply::json(StatusCode::OK, kept.revision, &effect)
}

/// Changes what is asked for.
pub(super) async fn edit_request(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let wants: Box<Wants> = body::read(request, BYTES_MAX).await?;
    let outcome = app.execute(call, Command::EditRequest { id, wants, expected }).await?;
    reply::committed(&outcome, true)
}

async fn act(app: App, call: Call, id: String, headers: &HeaderMap, act: Act) -> Reply {
    let expected = expected(headers)?;
    let outcome: Outcome = app.execute(call, Command::ActOnRequest { id, act, expected }).await?;
    reply::committed(&outcome, true)
}

/// Hands it in.
pub(super) async fn submit(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    act(app, call, id, &headers, Act::Submit).await
}

/// Takes it back.
pub(super) async fn withdraw(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    act(app, call, id, &headers, Act::Withdraw).await
}

/// Tries again to undo it.
pub(super) async fn retry_undo(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Reply {
    act(app, call, id, &headers, Act::RetryUndo).await
}

/// A vote.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Agreement {
    /// The digest of the effect that was looked at.
    digest: String,
    /// What there is to say about it.
    #[serde(default)]
    comment: Option<String>,
}

/// Agrees.
pub(super) async fn approve(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    request: Request,
) -> Reply {
    let headers = request.headers().clone();
    let Agreement { digest, comment } = body::read(request, BYTES_MAX).await?;
    let seen: Hash = digest.parse().map_err(|_| {
        let detail = "`digest` is none: `GET …/effect` says which one";
        Problem::new(Code::InvalidRequest, detail)
    })?;
    act(app, call, id, &headers, Act::Approve { seen, comment }).await
}

/// Some words.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    /// What there is to say.
    text: String,
}

async fn with_words(
    app: App,
    call: Call,
    id: String,
    request: Request,
    to: fn(String) -> Act,
) -> Reply {
    let headers = request.headers().clone();
    let Words { text } = body::read(request, BYTES_MAX).await?;
    act(app, call, id, &headers, to(text)).await
}

macro_rules! with_words {
    ($($(#[$doc:meta])* $name:ident => $act:expr;)*) => {
        $($(#[$doc])*
        pub(super) async fn $name(
            State(app): State<App>,
            Extension(call): Extension<Call>,
            Segments(id): Segments<String>,
            request: Request,
        ) -> Reply {
            with_words(app, call, id, request, $act).await
        })*
    };
}

with_words! {
    /// Does not agree.
    reject => |comment| Act::Reject { comment };
    /// Asks the requester for something.
    ask => |question| Act::AskInfo { question };
    /// Says what was asked for.
    answer => |answer| Act::Answer { answer };
    /// Says that another one asks for the same.
    mark_duplicate => |of| Act::MarkDuplicate { of };
    /// Approves it without the votes that it needs.
    break_glass => |reason| Act::BreakGlass { reason };
    /// Looks at what was approved by breaking the glass.
    review => |comment| Act::Review { comment };
    /// Calls it off.
    cancel => |reason| Act::Cancel { reason };
    /// Says how what could not be undone was put right.
    resolve => |comment| Act::Resolve { comment };
}

/// Something said about a request.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Comment {
    /// What.
    #[serde(default)]
    text: String,
    /// Something elsewhere that belongs to it.
    #[serde(default)]
    link: Option<Link>,
}

/// Says something about a request.
pub(super) async fn comment(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments(id): Segments<String>,
    request: Request,
) -> Reply {
    let Comment { text, link } = body::read(request, BYTES_MAX).await?;
    let outcome = app.execute(call, Command::CommentRequest { id, text, link }).await?;
    reply::committed(&outcome, false)
}

/// What became of a step that a person does.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// Whether it is done.
    done: bool,
    /// What there is to say about it.
    #[serde(default)]
    comment: String,
}

/// Says what became of a step that a person does.
pub(super) async fn tell_step(
    State(app): State<App>,
    Extension(call): Extension<Call>,
    Segments((id, step)): Segments<(String, String)>,
    request: Request,
) -> Reply {
    let expected = expected(request.headers())?;
    let Told { done, comment } = body::read(request, BYTES_MAX).await?;
    let told = StepTold { step, done, comment };
    let outcome = app.execute(call, Command::TellStep { id, told, expected }).await?;
    reply::committed(&outcome, true)
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
