//! What the sidecar answers over HTTP. It changes nothing: every path only reads.

mod asking;
pub(crate) mod authzen;
mod events;
mod flags;
mod guard;
mod native;
mod ofrep;
mod pace;
mod relay;
mod reply;
mod serve;
mod status;
mod view;

use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Incoming,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, HeaderName, HeaderValue, VARY,
    },
};

pub(crate) use self::serve::{Listener, Server};
use self::{
    asking::Asking,
    guard::{Denial, Door},
    reply::{Problem, Reply, reply},
};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Check,
    Batch,
    Explain,
    TenantEntitlements,
    OfrepFlag,
    OfrepFlags,
    OfrepEvents,
    Healthz,
    Readyz,
    Metrics,
    AuthzenEvaluation,
    AuthzenEvaluations,
    AuthzenSearchSubject,
    AuthzenSearchResource,
    AuthzenSearchAction,
    AuthzenMetadata,
    FlagdFlags,
    FlagContext,
    Sinks,
    SyncKeys,
    SyncSnapshot,
    SyncChanges,
    SyncEvents,
    SyncStatus,
    Other,
}

impl Route {
    pub(crate) const ALL: [Self; 25] = [
        Self::OfrepFlag,
        Self::Check,
        Self::Batch,
        Self::OfrepFlags,
        Self::Explain,
        Self::TenantEntitlements,
        Self::OfrepEvents,
        Self::Healthz,
        Self::Readyz,
        Self::Metrics,
        Self::AuthzenEvaluation,
        Self::AuthzenEvaluations,
        Self::AuthzenSearchSubject,
        Self::AuthzenSearchResource,
        Self::AuthzenSearchAction,
        Self::AuthzenMetadata,
        Self::FlagdFlags,
        Self::FlagContext,
        Self::Sinks,
        Self::SyncKeys,
        Self::SyncSnapshot,
        Self::SyncChanges,
        Self::SyncEvents,
        Self::SyncStatus,
        Self::Other,
    ];

    /// The word for it in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Batch => "check_batch",
            Self::Explain => "explain",
            Self::TenantEntitlements => "tenant_entitlements",
            Self::OfrepFlag => "ofrep_flag",
            Self::OfrepFlags => "ofrep_flags",
            Self::OfrepEvents => "ofrep_events",
            Self::Healthz => "healthz",
            Self::Readyz => "readyz",
            Self::Metrics => "metrics",
            Self::AuthzenEvaluation => "authzen_evaluation",
            Self::AuthzenEvaluations => "authzen_evaluations",
            Self::AuthzenSearchSubject => "authzen_search_subject",
            Self::AuthzenSearchResource => "authzen_search_resource",
            Self::AuthzenSearchAction => "authzen_search_action",
            Self::AuthzenMetadata => "authzen_metadata",
            Self::FlagdFlags => "flagd_flags",
            Self::FlagContext => "flag_context",
            Self::Sinks => "sinks",
            Self::SyncKeys => "sync_keys",
            Self::SyncSnapshot => "sync_snapshot",
            Self::SyncChanges => "sync_changes",
            Self::SyncEvents => "sync_events",
            Self::SyncStatus => "sync_status",
            Self::Other => "other",
        }
    }

    /// What stands at a path, with the part of it that varies.
    fn at(path: &str) -> (Self, &str) {
        let route = match path {
            "/v1/check" => Self::Check,
            "/v1/check/batch" => Self::Batch,
            "/v1/explain" => Self::Explain,
            "/ofrep/v1/evaluate/flags" => Self::OfrepFlags,
            "/ofrep/v1/events" => Self::OfrepEvents,
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            "/metrics" => Self::Metrics,
            "/access/v1/evaluation" => Self::AuthzenEvaluation,
            "/access/v1/evaluations" => Self::AuthzenEvaluations,
            "/access/v1/search/subject" => Self::AuthzenSearchSubject,
            "/access/v1/search/resource" => Self::AuthzenSearchResource,
            "/access/v1/search/action" => Self::AuthzenSearchAction,
            "/.well-known/authzen-configuration" => Self::AuthzenMetadata,
            "/flagd/v1/flags.json" => Self::FlagdFlags,
            "/v1/sinks" => Self::Sinks,
            "/sync/v1/keys" => Self::SyncKeys,
            "/sync/v1/snapshot" => Self::SyncSnapshot,
            "/sync/v1/changes" => Self::SyncChanges,
            "/sync/v1/events" => Self::SyncEvents,
            "/sync/v1/status" => Self::SyncStatus,
            _ => return Self::at_varying(path),
        };
        (route, "")
    }

    fn at_varying(path: &str) -> (Self, &str) {
        if let Some(flag) = path.strip_prefix("/ofrep/v1/evaluate/flags/") {
            // Some clients do not escape a `/` in a key, so the rest is the key, whatever it holds.
            return (Self::OfrepFlag, flag);
        }
        let tenant = path.strip_prefix("/v1/tenants/").and_then(|rest| rest.split_once('/'));
        match tenant.filter(|(tenant, _)| !tenant.is_empty()) {
            Some((tenant, "entitlements")) => (Self::TenantEntitlements, tenant),
            Some((tenant, "flag-context")) => (Self::FlagContext, tenant),
            _ => (Self::Other, ""),
        }
    }

    const fn method(self) -> &'static str {
        match self {
            Self::Check
            | Self::Batch
            | Self::Explain
            | Self::OfrepFlag
            | Self::OfrepFlags
            | Self::SyncStatus
            | Self::AuthzenEvaluation
            | Self::AuthzenEvaluations
            | Self::AuthzenSearchSubject
            | Self::AuthzenSearchResource
            | Self::AuthzenSearchAction => "POST",
            _ => "GET",
        }
    }

    /// Whether it is one of `AuthZEN`'s.
    const fn is_authzen(self) -> bool {
        matches!(
            self,
            Self::AuthzenEvaluation
                | Self::AuthzenEvaluations
                | Self::AuthzenSearchSubject
                | Self::AuthzenSearchResource
                | Self::AuthzenSearchAction
                | Self::AuthzenMetadata
        )
    }

    /// Whether a path is for sidecars below this one.
    fn is_for_relays(path: &str) -> bool {
        path.starts_with("/sync/")
    }

    /// Whether it is for sidecars below this one.
    const fn is_relayed(self) -> bool {
        matches!(
            self,
            Self::SyncKeys
                | Self::SyncSnapshot
                | Self::SyncChanges
                | Self::SyncEvents
                | Self::SyncStatus
        )
    }

    /// Whether it tells nothing of any tenant, so that a probe needs no token.
    const fn is_open(self) -> bool {
        matches!(self, Self::Healthz | Self::Readyz)
    }
}

impl Server {
    /// Answers one request.
    async fn answer(&self, door: Door, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let (route, varying) = Route::at(head.uri.path());
        let origin = match self.guard.page(door, &head.uri, &head.headers) {
            Ok(origin) => origin,
            Err(denial) => return self.counted(route, Problem::Denied(denial).reply()),
        };
        let mut reply = if head.method == Method::OPTIONS && origin.is_some() {
            preflight(&head.headers)
        } else {
            let asked = Asked { route, varying, method: &head.method, headers: &head.headers };
            self.dispatch(asked, head.uri.query().unwrap_or_default(), body).await
        };
        if let Some(origin) = origin {
            reply.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            reply::expose(&mut reply);
        }
        if self.guard.has_origins() {
            reply.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
        }
        self.counted(route, reply)
    }

    async fn dispatch(&self, asked: Asked<'_>, query: &str, body: Incoming) -> Reply {
        let Asked { route, varying, method, headers } = asked;
        let is_there = route != Route::Other && (!route.is_relayed() || self.relay.is_some());
        let problem = if !is_there {
            Some(Problem::NoSuchPath)
        } else if !route.is_open() && self.guard.token(headers).is_err() {
            Some(Problem::Denied(Denial::Token))
        } else {
            let wanted = route.method();
            let fits = method.as_str() == wanted || (wanted == "GET" && method == Method::HEAD);
            (!fits).then_some(Problem::Method(wanted))
        };
        if let Some(problem) = problem {
            return problem.reply();
        }
        let most = match route {
            Route::SyncStatus => relay::REPORT_BYTES_MAX,
            _ => self.limits.body_bytes,
        };
        let body = match reply::read(body, most).await {
            Ok(body) => body,
            Err(problem) => return problem.reply(),
        };
        if let (true, Some(relay)) = (route.is_relayed(), &self.relay) {
            return relay::answer(self, relay, route, query, body).await;
        }
        let asking = Asking::of(&self.serving, headers).await;
        if route.is_authzen() {
            return authzen::answer(&self.authzen, asking, route, headers, &body).await;
        }
        let asking = match asking {
            Ok(asking) => asking,
            Err(problem) if matches!(route, Route::OfrepFlag | Route::OfrepFlags) => {
                return ofrep::unable(&problem);
            }
            Err(problem) => return problem.reply(),
        };
        match route {
            Route::OfrepFlag => ofrep::flag(&asking, varying, &body),
            Route::OfrepFlags => ofrep::flags(&asking, headers, &body),
            Route::OfrepEvents => events::open(self, query),
            Route::Check => native::check(&asking, &body),
            Route::Batch => native::batch(&asking, &body),
            Route::Explain => native::explain(&asking, &body),
            Route::TenantEntitlements => native::tenant(&asking, varying, query, headers),
            Route::FlagdFlags => match &self.flags {
                Some(flags) => flags::definition(flags, headers),
                None => flags::not_served(),
            },
            Route::FlagContext => flags::context(&asking, varying),
            Route::Sinks => status::sinks(&self.serving),
            Route::Healthz => status::alive(),
            Route::Readyz => status::ready(&self.serving),
            Route::Metrics => status::metrics(&self.serving),
            _ => Problem::NoSuchPath.reply(),
        }
    }

    fn counted(&self, route: Route, reply: Reply) -> Reply {
        self.serving.metrics.requested(route, reply.status().as_u16());
        reply
    }
}

/// What a request asks for, without its body.
struct Asked<'r> {
    route: Route,
    varying: &'r str,
    method: &'r Method,
    headers: &'r HeaderMap,
}

/// Tells a browser that the page may ask.
fn preflight(headers: &HeaderMap) -> Reply {
    let mut reply = reply(StatusCode::NO_CONTENT, "text/plain", "");
    let answer = reply.headers_mut();
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    answer.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "Authorization, Cache-Control, Content-Type, Entitlements-At, Entitlements-At-Least, \
             Entitlements-Wait-Ms, If-None-Match, Last-Event-ID, X-API-Key",
        ),
    );
    answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if headers.contains_key("access-control-request-private-network") {
        let allow = HeaderName::from_static("access-control-allow-private-network");
        answer.insert(allow, HeaderValue::from_static("true"));
    }
    reply
}

/// Takes `%XX` apart. Text that is not UTF-8 afterwards stays as it was.
fn unescape(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while position < bytes.len() {
        let hex = text
            .get(position + 1..position + 3)
            .filter(|hex| bytes[position] == b'%' && hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                position += 3;
            }
            None => {
                out.push(bytes[position]);
                position += 1;
            }
        }
    }
    String::from_utf8(out).map_or_else(|_| text.into(), Into::into)
}

/// The value of a query parameter.
fn parameter<'q>(query: &'q str, name: &str) -> Option<std::borrow::Cow<'q, str>> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| unescape(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_routes() {
        for (path, route, varying) in [
            ("/v1/check", Route::Check, ""),
            ("/v1/check/batch", Route::Batch, ""),
            ("/v1/check/", Route::Other, ""),
            ("/v1/tenants/acme/entitlements", Route::TenantEntitlements, "acme"),
            ("/v1/tenants/acme/flag-context", Route::FlagContext, "acme"),
            ("/v1/tenants//entitlements", Route::Other, ""),
            ("/v1/tenants/a/b/entitlements", Route::Other, ""),
            ("/ofrep/v1/evaluate/flags", Route::OfrepFlags, ""),
            ("/ofrep/v1/evaluate/flags/sso", Route::OfrepFlag, "sso"),
            ("/ofrep/v1/evaluate/flags/a/b%20c", Route::OfrepFlag, "a/b%20c"),
            ("/ofrep/v1/configuration", Route::Other, ""),
            ("/", Route::Other, ""),
        ] {
            assert_eq!(Route::at(path), (route, varying), "{path}");
        }
    }

    #[test]
    fn escapes_are_taken_apart() {
        for (text, plain) in [
            ("acme", "acme"),
            ("crm%3A12", "crm:12"),
            ("a%2Fb%20c", "a/b c"),
            ("%zz%4", "%zz%4"),
            ("%", "%"),
            ("%ff", "%ff"),
            ("%+1ä", "%+1ä"),
        ] {
            assert_eq!(unescape(text), plain, "{text}");
        }
        assert_eq!(parameter("x=1&tenant=a%3Ab", "tenant").as_deref(), Some("a:b"));
        assert_eq!(parameter("tenants=a", "tenant"), None);
    }
}
