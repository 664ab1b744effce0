//! Who may ask at all.
//!
//! That a port is on localhost keeps no web page away from it: any page that a browser on the same
//! host shows can send requests there, and with a trick of DNS it can read the answers too. So a
//! request that names another host, or that a page sent, is turned away.

use std::net::IpAddr;

use hyper::{
    HeaderMap, Uri,
    header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN},
};

use crate::config::Config;

/// What a request must satisfy.
#[derive(Debug)]
pub(crate) struct Guard {
    token: Option<blake3::Hash>,
    origins: Vec<String>,
    own: IpAddr,
}

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    /// It names a host that this is not.
    Host,
    /// A web page sent it that may not.
    Origin,
    /// It lacks the token.
    Token,
}

/// How the request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Over TCP.
    Tcp,
    /// Over the unix socket, which no browser can reach.
    Unix,
}

impl Guard {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            token: config.local_token.as_ref().map(|token| blake3::hash(token.as_bytes())),
            origins: config.allow_origins.clone(),
            own: config.listen.ip(),
        }
    }

    /// Whether the host and the origin are right. Gives the origin to name in the answer.
    pub(crate) fn page<'h>(
        &self,
        door: Door,
        uri: &Uri,
        headers: &'h HeaderMap,
    ) -> Result<Option<&'h HeaderValue>, Denial> {
        if door == Door::Tcp && !self.is_own_host(uri, headers) {
            return Err(Denial::Host);
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) if sent_by_a_page(headers) => Err(Denial::Origin),
            (None, _) => Ok(None),
            (Some(origin), None) if self.allows(origin) => Ok(Some(origin)),
            _ => Err(Denial::Origin),
        }
    }

    /// Whether the token is right, where one is asked for.
    pub(crate) fn token(&self, headers: &HeaderMap) -> Result<(), Denial> {
        let Some(expected) = self.token else { return Ok(()) };
        let bearer = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim().as_bytes());
        let key = headers.get("x-api-key").map(HeaderValue::as_bytes);
        // Hashes are compared, in a time that tells nothing.
        let given = bearer.or(key).map(blake3::hash);
        if given == Some(expected) { Ok(()) } else { Err(Denial::Token) }
    }

    /// Whether any page may ask, so that answers differ by origin.
    pub(crate) fn has_origins(&self) -> bool {
        !self.origins.is_empty()
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.origins
            .iter()
            .any(|allowed| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes()))
    }

    fn is_own_host(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        if !self.own.is_loopback() {
            // Reachable by names that are not known here; the token stands guard instead.
            return true;
        }
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        host.to_str().is_ok_and(is_loopback) && uri.host().is_none_or(is_loopback)
    }
}

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A browser says so where a page sends a request without naming its origin.
fn sent_by_a_page(headers: &HeaderMap) -> bool {
    headers
        .get(&SEC_FETCH_SITE)
        .is_some_and(|site| !matches!(site.as_bytes(), b"none" | b"same-origin"))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(origins: &[&str], token: Option<&str>) -> Guard {
        Guard {
            token: token.map(|token| blake3::hash(token.as_bytes())),
            origins: origins.iter().map(|&origin| origin.into()).collect(),
            own: IpAddr::from([127, 0, 0, 1]),
        }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (hyper::header::HeaderName::from_static(name), value.parse().unwrap())
            })
            .collect()
    }

    fn page(guard: &Guard, uri: &str, lines: &[(&'static str, &str)]) -> Result<bool, Denial> {
        let headers = headers(lines);
        guard.page(Door::Tcp, &uri.parse().unwrap(), &headers).map(|origin| origin.is_some())
    }

    #[test]
    fn only_names_of_this_host_are_answered() {
        let guard = guard(&[], None);
        for host in ["127.0.0.1:7401", "localhost", "LOCALHOST:1", "[::1]:7401", "127.9.9.9"] {
            assert_eq!(page(&guard, "/x", &[("host", host)]), Ok(false), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:7401",
            "10.0.0.1",
            "",
            "[::2]",
            "127.0.0.1.evil.example",
        ] {
            assert_eq!(page(&guard, "/x", &[("host", host)]), Err(Denial::Host), "{host}");
        }
        assert_eq!(page(&guard, "/x", &[]), Err(Denial::Host));
        let twice = [("host", "localhost"), ("host", "localhost")];
        let mut two = HeaderMap::new();
        for (name, value) in twice {
            two.append(name, value.parse().unwrap());
        }
        assert_eq!(guard.page(Door::Tcp, &"/x".parse().unwrap(), &two), Err(Denial::Host));
        let absolute = page(&guard, "http://evil.example/x", &[("host", "localhost")]);
        assert_eq!(absolute, Err(Denial::Host));
        assert!(
            guard.page(Door::Unix, &"/x".parse().unwrap(), &headers(&[("host", "any")])).is_ok()
        );
    }

    #[test]
    fn only_pages_that_were_named_are_answered() {
        let guard = guard(&["https://app.example"], None);
        let with = |name, value| page(&guard, "/x", &[("host", "localhost"), (name, value)]);
        assert_eq!(with("origin", "https://app.example"), Ok(true));
        assert_eq!(with("origin", "https://app.example.evil"), Err(Denial::Origin));
        assert_eq!(with("origin", "null"), Err(Denial::Origin));
        assert_eq!(with("sec-fetch-site", "cross-site"), Err(Denial::Origin));
        assert_eq!(with("sec-fetch-site", "none"), Ok(false));
    }

    #[test]
    fn a_token_is_asked_for_where_there_is_one() {
        let open = guard(&[], None);
        assert_eq!(open.token(&headers(&[])), Ok(()));
        let shut = guard(&[], Some("secret-secret-secret"));
        for (lines, result) in [
            (vec![("authorization", "Bearer secret-secret-secret")], Ok(())),
            (vec![("authorization", "bearer secret-secret-secret")], Ok(())),
            (vec![("x-api-key", "secret-secret-secret")], Ok(())),
            (vec![("authorization", "Bearer secret-secret-secre")], Err(Denial::Token)),
            (vec![("authorization", "Basic secret-secret-secret")], Err(Denial::Token)),
            (vec![], Err(Denial::Token)),
        ] {
            assert_eq!(shut.token(&headers(&lines)), result, "{lines:?}");
        }
    }
}
