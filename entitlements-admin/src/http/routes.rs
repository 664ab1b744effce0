//! Every route. Router and `OpenAPI` document are made from this table, so that no route can be
//! without a line that says what it does and who may use it.

use std::time::Duration;

use axum::{
    Router,
    http::{Method, Uri},
    middleware::from_fn_with_state,
};
use entitlements_core::{
    Draft, Tenant,
    document::{StatusReply, StatusReport},
};
use serde_json::Value;

use super::{
    audit, catalog, connectors, decisions, drafts,
    endpoint::{Endpoint, Route, Verb, endpoint},
    extract::{Instant, Page},
    fleet, guard, history, keys, marketplace, notices, openapi, ops,
    problem::{Code, Problem},
    promises,
    reply::Committed,
    requests, requests_csv, routing, schema, session, settings, sync, tenants, usage, users,
};
use crate::{
    app::{Access, App, Effect, InForce, Previewed, StepHeard},
    audit_export::Line,
    workflow::{
        Permission,
        approval::DelegationSetting,
        listing::Listing,
        request::Wants,
        routing::{Route as RouteRule, Team},
        settings::{ApprovalSetting, OutboxSetting, RetentionSetting},
        sla::{Calendar, Sla},
        template::Template,
    },
};

/// What the sync is made of.
const BYTES: &str = "application/octet-stream";
/// How long a test of a connector may take: what sending may, and some more.
const PATIENCE_TEST: Duration = Duration::from_secs(75);
/// How long a long poll may take: what it may wait, and some more.
const PATIENCE_POLL: Duration = Duration::from_secs(sync::WAIT_S_MAX + 15);

/// Every route.
#[must_use]
pub fn routes() -> Vec<Route> {
    table().into_iter().map(|endpoint| endpoint.route).collect()
}

/// The router over all of them.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for Endpoint { route, handler, .. } in table() {
        let gate = guard::Gate { app: app.clone(), route };
        let guarded = handler.route_layer(from_fn_with_state(gate, guard::guard));
        router = router.route(route.path, guarded);
    }
    router.fallback(unknown).method_not_allowed_fallback(wrong_method).with_state(app)
}

use Access::{Anyone, Needs, Public};
use Permission as P;
use Verb::{Delete, Get, Patch, Post, Put};

pub(super) fn table() -> Vec<Endpoint> {
    [
        catalog_routes(),
        draft_routes(),
        tenant_routes(),
        user_routes(),
        session_routes(),
        admin_routes(),
        fleet_routes(),
        notice_routes(),
        marketplace_routes(),
        request_routes(),
        routing_routes(),
        other_routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn catalog_routes() -> Vec<Endpoint> {
    let read = Needs(P::ReadCatalog);
    vec![
        endpoint(Get, "/v1/catalog", read, "The catalog in force, now or then", catalog::get)
            .query::<Instant>()
            .answers::<Draft>()
            .versioned(),
        endpoint(
            Put,
            "/v1/catalog",
            Needs(P::PublishCatalog),
            "Make a catalog the one in force, where no approval is needed",
            catalog::put,
        )
        .query::<catalog::BreakGlass>()
        .document::<Draft>()
        .answers::<Committed<'_>>()
        .versioned()
        .large(),
        endpoint(
            Post,
            "/v1/catalog/plan",
            read,
            "Compare a catalog with the one in force, and change nothing",
            catalog::plan,
        )
        .document::<Draft>()
        .answers::<catalog::Plan>()
        .large(),
        endpoint(
            Post,
            "/v1/catalog/rollback",
            Needs(P::EditDrafts),
            "Make a draft that brings a past catalog back",
            catalog::roll_back,
        )
        .body::<catalog::RollBack>()
        .makes::<drafts::Made>(),
        endpoint(
            Get,
            "/v1/history/{kind}/{key}",
            read,
            "The versions of a tenant, a draft, a setting or the catalog (`catalog/live`)",
            history::list,
        )
        .query::<history::Query>()
        .answers::<history::List>(),
    ]
}

fn draft_routes() -> Vec<Endpoint> {
    let (read, edit) = (Needs(P::ReadCatalog), Needs(P::EditDrafts));
    let (vote, publish) = (Needs(P::ApproveDrafts), Needs(P::PublishCatalog));
    let object = "/v1/drafts/{id}/objects/{object}";
    let mut all = vec![
        endpoint(Get, "/v1/drafts", read, "Every draft of the catalog", drafts::list)
            .query::<drafts::Filter>()
            .answers::<drafts::List>(),
        endpoint(Post, "/v1/drafts", edit, "Make a draft", drafts::create)
            .body::<drafts::Wanted>()
            .makes::<drafts::Made>()
            .large(),
        endpoint(Get, "/v1/drafts/{id}", read, "A draft, laid over what is live", drafts::get)
            .answers::<drafts::Shown>()
            .versioned(),
        endpoint(Patch, "/v1/drafts/{id}", edit, "Change a draft as a whole", drafts::patch)
            .body::<drafts::Described>()
            .answers::<Committed<'_>>()
            .versioned()
            .large(),
        endpoint(
            Put,
            object,
            edit,
            "Make or replace an object, such as `plans.pro`",
            drafts::put_object,
        )
        .query::<drafts::Resolving>()
        .body::<Value>()
        .answers::<Committed<'_>>()
        .versioned(),
        endpoint(
            Delete,
            object,
            edit,
            "Retire an object, or drop what the draft does to it",
            drafts::delete_object,
        )
        .query::<drafts::Leaving>()
        .answers::<Committed<'_>>()
        .versioned(),
        endpoint(
            Get,
            "/v1/drafts/{id}/catalog",
            read,
            "The catalog as the draft would make it",
            drafts::catalog,
        )
        .answers::<Draft>(),
        endpoint(
            Get,
            "/v1/drafts/{id}/preview",
            read,
            "What the draft would do to every tenant",
            drafts::preview,
        )
        .answers::<drafts::ShownPreview>()
        .large(),
        endpoint(
            Get,
            "/v1/drafts/{id}/preview.csv",
            read,
            "Every tenant and feature that would change",
            drafts::preview_csv,
        )
        .query::<drafts::Then>()
        .answers_with(&["text/csv"])
        .large(),
    ];
    let act = |endpoint: Endpoint| endpoint.answers::<Committed<'_>>().versioned().large();
    all.extend(
        [
            endpoint(
                Post,
                "/v1/drafts/{id}/submit",
                edit,
                "Ask others to look at it",
                drafts::submit,
            ),
            endpoint(
                Post,
                "/v1/drafts/{id}/withdraw",
                edit,
                "Take it back to work on it",
                drafts::withdraw,
            ),
            endpoint(Post, "/v1/drafts/{id}/discard", edit, "Give it up", drafts::discard),
            endpoint(Post, "/v1/drafts/{id}/approve", vote, "Vote for it", drafts::approve)
                .body::<drafts::Approval>(),
            endpoint(Post, "/v1/drafts/{id}/reject", vote, "Ask for changes", drafts::reject)
                .body::<drafts::Rejection>(),
            endpoint(
                Post,
                "/v1/drafts/{id}/publish",
                publish,
                "Make it the catalog, at once or with a barrier",
                drafts::publish,
            )
            .query::<drafts::Together>(),
            endpoint(
                Post,
                "/v1/drafts/{id}/schedule",
                publish,
                "Have it published later",
                drafts::schedule,
            )
            .body::<drafts::Schedule>(),
            endpoint(
                Post,
                "/v1/drafts/{id}/unschedule",
                publish,
                "Have it no longer published later",
                drafts::unschedule,
            ),
            endpoint(
                Post,
                "/v1/drafts/{id}/break-glass",
                Needs(P::BreakGlass),
                "Make it the catalog without the approvals that are asked for",
                drafts::break_glass,
            )
            .body::<drafts::BreakGlass>(),
        ]
        .map(act),
    );
    all
}

fn tenant_routes() -> Vec<Endpoint> {
    let (read, write) = (Needs(P::ReadTenants), Needs(P::WriteTenants));
    let tenant = "/v1/tenants/{key}";
    vec![
        endpoint(Get, "/v1/tenants", read, "Tenants, by key", tenants::list)
            .query::<Page>()
            .answers::<tenants::List>(),
        endpoint(Post, "/v1/tenants/bulk", write, "Make or replace many, or none", tenants::bulk)
            .document::<tenants::Bulk>()
            .answers::<Committed<'_>>()
            .large(),
        endpoint(Get, tenant, read, "A tenant", tenants::get).answers::<Tenant>().versioned(),
        endpoint(Put, tenant, write, "Make or replace a tenant", tenants::put)
            .document::<Tenant>()
            .answers::<Committed<'_>>()
            .versioned(),
        endpoint(Delete, tenant, write, "Remove a tenant", tenants::delete)
            .answers::<Committed<'_>>()
            .versioned(),
        endpoint(
            Get,
            "/v1/tenants/{key}/features",
            read,
            "What a tenant may use, now or then",
            decisions::all,
        )
        .query::<Instant>()
        .answers::<decisions::All>(),
        endpoint(
            Get,
            "/v1/tenants/{key}/features/{feature}",
            read,
            "May a tenant use a feature, how much of it, and why?",
            decisions::check,
        )
        .query::<Instant>()
        .answers::<decisions::Checked>(),
        endpoint(
            Get,
            "/v1/tenants/{key}/features/{feature}/explain",
            read,
            "The same with everything that was weighed",
            decisions::explain,
        )
        .query::<Instant>()
        .answers::<decisions::Explained>(),
        endpoint(
            Post,
            "/v1/tenants/{key}/what-if",
            read,
            "What would become of a tenant if it, the catalog or the date were another",
            decisions::what_if,
        )
        .body::<decisions::Supposed>()
        .answers::<decisions::Would>(),
        endpoint(Get, "/v1/tenants/{key}/usage", read, "What a tenant used last", usage::get)
            .answers::<usage::List>(),
        endpoint(
            Post,
            "/v1/usage",
            Needs(P::WriteUsage),
            "Say how much of their limits tenants used",
            usage::put,
        )
        .body::<usage::Batch>()
        .answers::<usage::Taken>()
        .large(),
    ]
}

fn user_routes() -> Vec<Endpoint> {
    let users = Needs(P::ManageUsers);
    let user = "/v1/users/{id}";
    vec![
        endpoint(Get, "/v1/users", users, "People who sign in", users::list)
            .answers::<users::List>(),
        endpoint(Post, "/v1/users", users, "Add somebody", users::create)
            .body::<users::Wanted>()
            .makes::<users::Link>(),
        endpoint(Get, user, users, "Somebody who signs in", users::get)
            .answers::<users::Item>()
            .versioned(),
        endpoint(Patch, user, users, "Change somebody: name, roles, disabled", users::patch)
            .body::<users::Changed>()
            .answers::<Committed<'_>>()
            .versioned(),
        endpoint(Delete, user, users, "Remove somebody", users::delete)
            .answers::<Committed<'_>>()
            .versioned(),
        endpoint(
            Post,
            "/v1/users/{id}/reset",
            users,
            "Give somebody a new link to set a password",
            users::reset,
        )
        .answers::<users::Link>(),
        endpoint(
            Delete,
            "/v1/users/{id}/sessions",
            users,
            "Sign somebody out everywhere",
            users::sign_out,
        )
        .answers::<Committed<'_>>(),
    ]
}

fn session_routes() -> Vec<Endpoint> {
    let (one, all) = ("/v1/session", "/v1/sessions");
    vec![
        endpoint(Get, one, Anyone, "Who am I, and what may I do?", session::get)
            .answers::<session::Who>(),
        endpoint(Post, one, Public, "Sign in with a browser", session::create)
            .body::<session::Credentials>()
            .answers::<session::Who>(),
        endpoint(Delete, one, Anyone, "Sign this browser out", session::delete)
            .answers::<Committed<'_>>(),
        endpoint(Get, all, Anyone, "My signed-in browsers", session::list)
            .answers::<session::List>(),
        endpoint(Delete, all, Anyone, "Sign me out everywhere", session::delete_all)
            .answers::<Committed<'_>>(),
        endpoint(
            Get,
            "/v1/session/oidc",
            Public,
            "Go to the identity provider to sign in",
            session::leave,
        )
        .query::<session::Return>()
        .redirects(),
        endpoint(
            Get,
            "/v1/session/oidc/callback",
            Public,
            "Come back from the identity provider",
            session::come_back,
        )
        .redirects(),
        endpoint(Post, "/v1/password", Public, "Set a password by a link", session::set_password)
            .body::<session::NewPassword>()
            .answers::<Committed<'_>>(),
        endpoint(Put, "/v1/password", Anyone, "Change my password", session::change_password)
            .body::<session::ChangedPassword>()
            .answers::<Committed<'_>>(),
    ]
}

fn admin_routes() -> Vec<Endpoint> {
    let (keys, set) = (Needs(P::ManageKeys), Needs(P::ManageSettings));
    let (read, audit) = (Needs(P::ReadCatalog), Needs(P::ReadAudit));
    let (approval, retention) = ("/v1/settings/approval", "/v1/settings/retention");
    vec![
        endpoint(Get, "/v1/keys", keys, "Service keys, without their secrets", keys::list)
            .answers::<keys::List>(),
        endpoint(Post, "/v1/keys", keys, "Make a service key", keys::create)
            .body::<keys::Wanted>()
            .makes::<keys::Made>(),
        endpoint(Delete, "/v1/keys/{id}", keys, "Make a service key useless", keys::revoke)
            .answers::<Committed<'_>>(),
        endpoint(
            Get,
            approval,
            read,
            "When changes of the catalog need approval",
            settings::approval,
        )
        .answers::<ApprovalSetting>()
        .versioned(),
        endpoint(Put, approval, set, "Say when changes need approval", settings::put_approval)
            .body::<ApprovalSetting>()
            .answers::<Committed<'_>>()
            .versioned(),
        endpoint(Get, retention, read, "How long the past is kept", settings::retention)
            .answers::<RetentionSetting>()
            .versioned(),
        endpoint(Put, retention, set, "Say how long the past is kept", settings::put_retention)
            .body::<RetentionSetting>()
            .answers::<Committed<'_>>()
            .versioned(),
        endpoint(
            Get,
            "/v1/settings/outbox",
            read,
            "How often messages are tried, and how long it is kept what became of them",
            settings::outbox,
        )
        .answers::<OutboxSetting>()
        .versioned(),
        endpoint(
            Put,
            "/v1/settings/outbox",
            set,
            "Say how messages are sent",
            settings::put_outbox,
        )
        .body::<OutboxSetting>()
        .answers::<Committed<'_>>()
        .versioned(),
        endpoint(
            Get,
            "/v1/settings/delegations",
            read,
            "Who stands in for whom",
            settings::delegations,
        )
        .answers::<DelegationSetting>()
        .versioned(),
        endpoint(
            Put,
            "/v1/settings/delegations",
            set,
            "Say who stands in for whom",
            marketplace::put_delegations,
        )
        .body::<DelegationSetting>()
        .answers::<Committed<'_>>()
        .versioned(),
        endpoint(Get, "/v1/audit", audit, "Who did what, newest first", audit::list)
            .query::<audit::Search>()
            .answers::<audit::List>(),
        endpoint(Get, "/v1/audit/export", audit, "All of it, in a file", audit::export)
            .query::<audit::Export>()
            .answers_with(&["application/jsonl", "text/csv"])
            .large(),
        endpoint(
            Get,
            "/v1/audit/verify",
            audit,
            "Walk the hash chain from its start",
            audit::verify,
        )
        .answers::<audit::Verdict>()
        .large(),
        endpoint(
            Get,
            "/v1/audit/{revision}",
            audit,
            "One row, with what was there before and after",
            audit::get,
        )
        .answers::<Line>(),
    ]
}

fn fleet_routes() -> Vec<Endpoint> {
    let (read, set) = (Needs(P::ReadCatalog), Needs(P::ManageSettings));
    vec![
        endpoint(
            Get,
            "/v1/sidecars",
            read,
            "Every sidecar, and what all of them have",
            fleet::list,
        )
        .answers::<fleet::Fleet>(),
        endpoint(
            Delete,
            "/v1/sidecars/{id}",
            set,
            "Show a sidecar no more, until it reports again",
            fleet::forget,
        )
        .answers::<fleet::Forgotten>(),
        endpoint(
            Get,
            "/v1/barrier",
            read,
            "The publication that sidecars prepare, or switched to last",
            fleet::barrier,
        )
        .answers::<fleet::Barrier>(),
        endpoint(
            Delete,
            "/v1/barrier",
            Needs(P::PublishCatalog),
            "Have nobody switch to what is being prepared",
            fleet::abort,
        )
        .answers::<Committed<'_>>(),
        endpoint(
            Get,
            "/v1/denials",
            Needs(P::ReadTenants),
            "What sidecars denied most",
            fleet::denials,
        )
        .query::<fleet::Denied>()
        .answers::<fleet::Denials>(),
    ]
}

fn notice_routes() -> Vec<Endpoint> {
    let (read, again) = (Needs(P::ReadNotices), Needs(P::Redrive));
    vec![
        endpoint(
            Get,
            "/v1/event-types",
            Anyone,
            "Every type of event, with the schema of its data",
            notices::types,
        )
        .answers::<notices::Types>(),
        endpoint(Get, "/v1/notices", read, "What happened, newest first", notices::list)
            .query::<notices::NoticeFilter>()
            .answers::<notices::Notices>(),
        endpoint(
            Get,
            "/v1/notices/{id}",
            read,
            "What happened, as it is sent, and who was told",
            notices::get,
        )
        .answers::<notices::NoticeWhole>(),
        endpoint(
            Get,
            "/v1/deliveries",
            read,
            "Messages, newest first; with `stage=dead`, those that were given up",
            notices::deliveries,
        )
        .query::<notices::DeliveryFilter>()
        .answers::<notices::Deliveries>(),
        endpoint(
            Get,
            "/v1/deliveries/{id}",
            read,
            "A message, with every attempt",
            notices::delivery,
        )
        .answers::<notices::DeliveryWhole>(),
        endpoint(
            Post,
            "/v1/deliveries/redrive",
            again,
            "Send again what failed, or what is missing",
            notices::redrive,
        )
        .body::<notices::Range>()
        .answers::<Committed<'_>>(),
        endpoint(
            Post,
            "/v1/deliveries/{id}/redrive",
            again,
            "Send a message again",
            notices::redrive_one,
        )
        .answers::<Committed<'_>>(),
        endpoint(Get, "/v1/tasks", read, "What is followed up elsewhere", notices::tasks)
            .query::<notices::TaskFilter>()
            .answers::<notices::Tasks>(),
        endpoint(Get, "/v1/tasks/{id}", read, "One follow-up", notices::task)
            .answers::<notices::TaskWhole>(),
    ]
}

fn marketplace_routes() -> Vec<Endpoint> {
    let (read, set) = (Needs(P::ReadMarketplace), Needs(P::ManageListings));
    let written = |endpoint: Endpoint| endpoint.answers::<Committed<'_>>().versioned();
    let (calendar, sla) = ("/v1/calendars/{key}", "/v1/slas/{key}");
    let listing = "/v1/listings/{key}";
    use marketplace as m;
    vec![
        endpoint(Get, "/v1/listings", read, "What is on offer, by key", m::listings)
            .query::<m::ListingFilter>()
            .answers::<m::ListingList>(),
        endpoint(Get, listing, read, "A listing", m::listing)
            .answers::<m::ListingShown>()
            .versioned(),
        written(
            endpoint(Put, listing, set, "Make or replace a listing", m::put_listing)
                .body::<Listing>(),
        ),
        written(endpoint(
            Post,
            "/v1/listings/{key}/{act}",
            set,
            "`submit`, `return`, `publish`, `pause`, `resume`, `deprecate` or `retire` it",
            m::act_on_listing,
        )),
        endpoint(Get, "/v1/calendars", read, "Calendars, by key", routing::calendars)
            .query::<Page>()
            .answers::<routing::Calendars>(),
        endpoint(Get, calendar, read, "A calendar", routing::calendar)
            .answers::<Calendar>()
            .versioned(),
        written(
            endpoint(Put, calendar, set, "Make or replace a calendar", m::put_calendar)
                .body::<m::CalendarWanted>(),
        ),
        written(endpoint(Delete, calendar, set, "Remove a calendar", m::delete_calendar)),
        endpoint(
            Post,
            "/v1/calendars/{key}/preview",
            read,
            "Say what other hours would do to what is promised now",
            promises::preview_calendar,
        )
        .body::<promises::Trial>()
        .answers::<promises::CalendarPreview>(),
        endpoint(Get, "/v1/slas", read, "What is promised, by key", routing::slas)
            .query::<Page>()
            .answers::<routing::Slas>(),
        endpoint(Get, sla, read, "What is promised", routing::sla).answers::<Sla>().versioned(),
        written(endpoint(Put, sla, set, "Promise something", m::put_sla).body::<Sla>()),
        written(endpoint(Delete, sla, set, "Promise it no more", m::delete_sla)),
        endpoint(
            Get,
            "/v1/tenants/{key}/features/{feature}/offers",
            read,
            "What a tenant may ask for that would give it a feature, or more of it",
            m::lifts,
        )
        .answers::<m::Lifts>(),
        endpoint(
            Get,
            "/v1/tenants/{key}/marketplace",
            read,
            "What a tenant may ask for, has asked for, and has",
            m::shop,
        )
        .answers::<m::Shop>(),
    ]
}

fn request_routes() -> Vec<Endpoint> {
    let (read, make) = (Needs(P::ReadMarketplace), Needs(P::MakeRequests));
    let (decide, operate) = (Needs(P::DecideRequests), Needs(P::OperateRequests));
    let written = |endpoint: Endpoint| endpoint.answers::<Committed<'_>>().versioned();
    let words = |endpoint: Endpoint| {
        endpoint.body::<requests::Words>().answers::<Committed<'_>>().versioned()
    };
    use requests as m;
    vec![
        endpoint(Get, "/v1/requests", read, "What tenants ask for, newest first", m::requests)
            .query::<m::RequestFilter>()
            .answers::<m::RequestList>(),
        endpoint(Post, "/v1/requests", make, "Ask for something, for a tenant", m::create_request)
            .body::<m::RequestWanted>()
            .makes::<m::Made>(),
        endpoint(
            Post,
            "/v1/requests/import",
            make,
            "Ask for something for each row of a table: `tenant`, `listing`, and as one likes `quantity`, `parameters`, `start_at`, `until`, `priority`, `beneficiary`, `note`",
            requests_csv::import,
        )
        .takes(&["text/csv"])
        .answers::<requests_csv::Imported>()
        .large(),
        endpoint(Get, "/v1/requests/counts", read, "How many go on, by stage", m::counts)
            .answers::<m::Counts>(),
        endpoint(
            Get,
            "/v1/requests/{id}/promises",
            read,
            "How long it may take, with every minute of its clocks",
            promises::promises,
        )
        .answers::<promises::Promises>(),
        endpoint(
            Post,
            "/v1/requests/{id}/promises/{metric}/reason",
            operate,
            "Say why a promise was not kept",
            promises::explain_breach,
        )
        .body::<promises::Reason>()
        .answers::<Committed<'_>>(),
        endpoint(
            Get,
            "/v1/requests/{id}/in-force",
            read,
            "On how many sidecars and sinks it has arrived",
            m::in_force,
        )
        .answers::<InForce>(),
        endpoint(
            Post,
            "/v1/inbound/steps/{key}",
            Public,
            "Take a signed message of a webhook's receiver: a step that it was told to do is done, or failed",
            m::hear_step,
        )
        .body::<StepHeard>()
        .answers_with_nothing()
        .large(),
        endpoint(
            Get,
            "/v1/reports/sla",
            read,
            "How promises were kept, by listing, team, partner, priority or month",
            promises::report,
        )
        .query::<promises::ReportQuery>()
        .answers::<promises::Report>(),
        endpoint(
            Get,
            "/v1/reports/sla.csv",
            read,
            "The same, for a spreadsheet",
            promises::report_csv,
        )
        .query::<promises::ReportQuery>()
        .answers_with(&["text/csv"])
        .large(),
        endpoint(Get, "/v1/requests/{id}", read, "A request, with all that happened", m::request)
            .answers::<m::RequestShown>()
            .versioned(),
        endpoint(
            Get,
            "/v1/requests/{id}/effect",
            read,
            "What it would do to its tenant: what a vote is bound to",
            m::effect,
        )
        .answers::<Effect>(),
        written(
            endpoint(
                Put,
                "/v1/requests/{id}/wants",
                make,
                "Change what is asked for; its votes are void then",
                m::edit_request,
            )
            .body::<Wants>(),
        ),
        written(endpoint(Post, "/v1/requests/{id}/submit", make, "Hand it in", m::submit)),
        written(endpoint(Post, "/v1/requests/{id}/withdraw", make, "Take it back", m::withdraw)),
        words(endpoint(
            Post,
            "/v1/requests/{id}/answer",
            make,
            "Say what was asked for",
            m::answer,
        )),
        written(
            endpoint(Post, "/v1/requests/{id}/approve", decide, "Agree to it", m::approve)
                .body::<m::Agreement>(),
        ),
        words(endpoint(Post, "/v1/requests/{id}/reject", decide, "Do not agree to it", m::reject)),
        words(endpoint(
            Post,
            "/v1/requests/{id}/ask",
            decide,
            "Ask the requester for something",
            m::ask,
        )),
        words(endpoint(
            Post,
            "/v1/requests/{id}/duplicate",
            decide,
            "Say that another one asks for the same",
            m::mark_duplicate,
        )),
        words(endpoint(
            Post,
            "/v1/requests/{id}/review",
            decide,
            "Look at what was approved by breaking the glass",
            m::review,
        )),
        words(endpoint(
            Post,
            "/v1/requests/{id}/break-glass",
            Needs(P::BreakGlass),
            "Approve it without the votes that it needs",
            m::break_glass,
        )),
        words(endpoint(Post, "/v1/requests/{id}/cancel", operate, "Call it off", m::cancel)),
        written(endpoint(
            Post,
            "/v1/requests/{id}/retry-undo",
            operate,
            "Try again to undo it",
            m::retry_undo,
        )),
        words(endpoint(
            Post,
            "/v1/requests/{id}/resolve",
            operate,
            "Say how what could not be undone was put right",
            m::resolve,
        )),
        endpoint(Post, "/v1/requests/{id}/comments", read, "Say something about it", m::comment)
            .body::<m::Comment>()
            .answers::<Committed<'_>>(),
        written(
            endpoint(
                Post,
                "/v1/requests/{id}/steps/{step}",
                operate,
                "Say what became of a step that a person does",
                m::tell_step,
            )
            .body::<m::Told>(),
        ),
    ]
}

fn routing_routes() -> Vec<Endpoint> {
    let (read, set) = (Needs(P::ReadNotices), Needs(P::ManageConnectors));
    let (connector, team) = ("/v1/connectors/{key}", "/v1/teams/{key}");
    let (route, template) = ("/v1/routes/{key}", "/v1/templates/{key}");
    let written = |endpoint: Endpoint| endpoint.answers::<Committed<'_>>().versioned();
    vec![
        endpoint(Get, "/v1/connectors", read, "Where messages go, by key", connectors::list)
            .query::<Page>()
            .answers::<connectors::List>(),
        endpoint(Get, connector, read, "A connector, without its credentials", connectors::get)
            .answers::<connectors::Shown>()
            .versioned(),
        endpoint(Put, connector, set, "Make or replace a connector", connectors::put)
            .body::<connectors::Wanted>()
            .answers::<connectors::Written>()
            .versioned(),
        written(endpoint(Delete, connector, set, "Remove a connector", connectors::delete)),
        endpoint(
            Post,
            "/v1/connectors/{key}/rotate",
            set,
            "Sign with a new secret; the one before signs as well for a while",
            connectors::rotate,
        )
        .body::<connectors::Rotation>()
        .answers::<connectors::Written>(),
        endpoint(
            Post,
            "/v1/connectors/{key}/verify",
            set,
            "Ask a webhook's receiver whether it wants to hear from us",
            connectors::verify,
        )
        .answers::<Committed<'_>>()
        .large(),
        endpoint(
            Post,
            "/v1/connectors/{key}/test",
            set,
            "Send a test, and say what came of it",
            connectors::test,
        )
        .query::<connectors::TestTo>()
        .answers::<connectors::TestResult>()
        .patient(PATIENCE_TEST),
        endpoint(
            Post,
            "/v1/inbound/jira/{key}",
            Public,
            "Take a signed message of Jira's: it may close a follow-up, and nothing else",
            connectors::hear_jira,
        )
        .answers_with_nothing()
        .large(),
        endpoint(Get, "/v1/teams", read, "Teams, by key", routing::teams)
            .query::<Page>()
            .answers::<routing::Teams>(),
        endpoint(Get, team, read, "A team", routing::team).answers::<Team>().versioned(),
        written(
            endpoint(Put, team, set, "Make or replace a team", routing::put_team).body::<Team>(),
        ),
        written(endpoint(Delete, team, set, "Remove a team", routing::delete_team)),
        endpoint(Get, "/v1/routes", read, "Who is told of what, by key", routing::routes)
            .query::<Page>()
            .answers::<routing::Routes>(),
        endpoint(Get, route, read, "A rule", routing::route).answers::<RouteRule>().versioned(),
        written(
            endpoint(Put, route, set, "Make or replace a rule", routing::put_route)
                .body::<RouteRule>(),
        ),
        written(endpoint(Delete, route, set, "Remove a rule", routing::delete_route)),
        endpoint(Get, "/v1/templates", read, "The words of messages, by key", routing::templates)
            .query::<Page>()
            .answers::<routing::Templates>(),
        endpoint(
            Post,
            "/v1/templates/preview",
            read,
            "What comes of words for an event",
            routing::preview,
        )
        .body::<routing::Trial>()
        .answers::<Previewed>(),
        endpoint(Get, template, read, "The words of a message", routing::template)
            .answers::<Template>()
            .versioned(),
        written(
            endpoint(Put, template, set, "Make or replace words", routing::put_template)
                .body::<Template>(),
        ),
        written(endpoint(Delete, template, set, "Remove words", routing::delete_template)),
    ]
}

fn other_routes() -> Vec<Endpoint> {
    let follow = Needs(P::FollowSync);
    vec![
        endpoint(Get, "/sync/v1/keys", follow, "Who may publish, signed", sync::keys)
            .answers_with(&[BYTES]),
        endpoint(
            Get,
            "/sync/v1/snapshot",
            follow,
            "The snapshot of the last commit",
            sync::snapshot,
        )
        .answers_with(&[BYTES])
        .versioned()
        .large(),
        endpoint(
            Get,
            "/sync/v1/changes",
            follow,
            "What changed since a basis, as soon as something does",
            sync::changes,
        )
        .query::<sync::Wait>()
        .answers_with(&[BYTES])
        .patient(PATIENCE_POLL),
        endpoint(
            Get,
            "/sync/v1/events",
            follow,
            "A stream that says what is current, at once and after each commit",
            sync::events,
        )
        .answers_with(&["text/event-stream"])
        .large(),
        endpoint(Post, "/sync/v1/status", follow, "How a sidecar is", sync::status)
            .body::<StatusReport>()
            .answers::<StatusReply>(),
        endpoint(
            Get,
            "/schema/{file}",
            Public,
            "A JSON Schema: `catalog.json`, `tenant.json`, `document.json`, or a type of event such as \
             `promotion.started.json`",
            schema::get,
        )
        .answers::<Value>(),
        endpoint(Get, "/openapi.json", Public, "This document", openapi::get).answers::<Value>(),
        endpoint(Get, "/docs", Public, "This document as a page", openapi::page)
            .answers_with(&["text/html"]),
        endpoint(Get, "/healthz", Public, "Is the process alive?", ops::health)
            .answers_with(&["text/plain"]),
        endpoint(Get, "/readyz", Public, "Does the process take changes?", ops::ready)
            .answers_with(&["text/plain"]),
        endpoint(
            Get,
            "/metrics",
            Needs(P::ReadMetrics),
            "The figures of the process",
            ops::metrics,
        )
        .answers_with(&["application/openmetrics-text"]),
    ]
}

async fn unknown(uri: Uri) -> Problem {
    Problem::new(Code::NotFound, format!("there is nothing at `{}`", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail =
        format!("`{}` does not take {method}: the `Allow` header says what it takes", uri.path());
    Problem::new(Code::MethodNotAllowed, detail)
}
