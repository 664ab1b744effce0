//! Every route, and what it takes. The router is made from this table, so that no route can be
//! without a line that says who may use it.

use std::time::Duration;

use axum::{
    Router,
    handler::Handler,
    http::{Method, Uri},
    middleware::from_fn_with_state,
    routing::{MethodFilter, MethodRouter, on},
};

use super::{
    audit, catalog, decisions, guard, keys, ops,
    problem::{Code, Problem},
    schema, sync, tenants,
};
use crate::{
    app::{Access, App},
    workflow::Permission,
};

/// The methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reads.
    Get,
    /// Makes or replaces.
    Put,
    /// Makes, or does many at once.
    Post,
    /// Removes.
    Delete,
}

impl Verb {
    /// As HTTP has it.
    #[must_use]
    pub fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Put => Method::PUT,
            Self::Post => Method::POST,
            Self::Delete => Method::DELETE,
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Put => MethodFilter::PUT,
            Self::Post => MethodFilter::POST,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// One route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Its method.
    pub verb: Verb,
    /// Its path, with the names of its parameters.
    pub path: &'static str,
    /// What it takes.
    pub access: Access,
    /// How long an answer may take.
    pub patience: Duration,
}

impl Route {
    /// Whether its path names a tenant.
    #[must_use]
    pub fn is_about_a_tenant(self) -> bool {
        self.path.starts_with("/v1/tenants/{key}")
    }
}

/// How long a request may take from its last header to its answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same for imports, which are large.
const PATIENCE_IMPORT: Duration = Duration::from_secs(60);
/// The same for a long poll: what it may wait, and some more.
const PATIENCE_POLL: Duration = Duration::from_secs(sync::WAIT_S_MAX + 15);

/// Every route.
#[must_use]
pub fn routes() -> Vec<Route> {
    table().into_iter().map(|(route, _)| route).collect()
}

/// The router over all of them.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for (route, handler) in table() {
        let gate = guard::Gate { app: app.clone(), route };
        router =
            router.route(route.path, handler.route_layer(from_fn_with_state(gate, guard::guard)));
    }
    router.fallback(unknown).method_not_allowed_fallback(wrong_method).with_state(app)
}

fn table() -> Vec<(Route, MethodRouter<App>)> {
    use Access::{Needs, Public};
    use Permission as P;
    use Verb::{Delete, Get, Post, Put};
    let tenant = "/v1/tenants/{key}";
    let feature = "/v1/tenants/{key}/features/{feature}";
    vec![
        route(Get, "/v1/catalog", Needs(P::ReadCatalog), PATIENCE, catalog::get),
        route(Put, "/v1/catalog", Needs(P::PublishCatalog), PATIENCE_IMPORT, catalog::put),
        route(Get, "/v1/tenants", Needs(P::ReadTenants), PATIENCE, tenants::list),
        route(Post, "/v1/tenants/bulk", Needs(P::WriteTenants), PATIENCE_IMPORT, tenants::bulk),
        route(Get, tenant, Needs(P::ReadTenants), PATIENCE, tenants::get),
        route(Put, tenant, Needs(P::WriteTenants), PATIENCE, tenants::put),
        route(Delete, tenant, Needs(P::WriteTenants), PATIENCE, tenants::delete),
        route(Get, "/v1/tenants/{key}/features", Needs(P::ReadTenants), PATIENCE, decisions::all),
        route(Get, feature, Needs(P::ReadTenants), PATIENCE, decisions::check),
        route(
            Get,
            "/v1/tenants/{key}/features/{feature}/explain",
            Needs(P::ReadTenants),
            PATIENCE,
            decisions::explain,
        ),
        route(Get, "/v1/audit", Needs(P::ReadAudit), PATIENCE, audit::list),
        route(Get, "/v1/audit/{revision}", Needs(P::ReadAudit), PATIENCE, audit::get),
        route(Get, "/v1/keys", Needs(P::ManageKeys), PATIENCE, keys::list),
        route(Post, "/v1/keys", Needs(P::ManageKeys), PATIENCE, keys::create),
        route(Delete, "/v1/keys/{id}", Needs(P::ManageKeys), PATIENCE, keys::revoke),
        route(Get, "/sync/v1/keys", Needs(P::FollowSync), PATIENCE, sync::keys),
        route(Get, "/sync/v1/snapshot", Needs(P::FollowSync), PATIENCE_IMPORT, sync::snapshot),
        route(Get, "/sync/v1/changes", Needs(P::FollowSync), PATIENCE_POLL, sync::changes),
        route(Get, "/schema/{file}", Public, PATIENCE, schema::get),
        route(Get, "/healthz", Public, PATIENCE, ops::health),
        route(Get, "/readyz", Public, PATIENCE, ops::ready),
        route(Get, "/metrics", Needs(P::ReadMetrics), PATIENCE, ops::metrics),
    ]
}

fn route<H: Handler<T, App>, T: 'static>(
    verb: Verb,
    path: &'static str,
    access: Access,
    patience: Duration,
    handler: H,
) -> (Route, MethodRouter<App>) {
    (Route { verb, path, access, patience }, on(verb.filter(), handler))
}

async fn unknown(uri: Uri) -> Problem {
    Problem::new(Code::NotFound, format!("there is nothing at `{}`", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail =
        format!("`{}` does not take {method}: the `Allow` header says what it takes", uri.path());
    Problem::new(Code::MethodNotAllowed, detail)
}
