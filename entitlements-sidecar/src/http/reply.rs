//! What goes back to the caller: bodies, headers, and the one place that chooses status codes for
//! what went wrong.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
    header::{
        ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName,
        HeaderValue, IF_NONE_MATCH, WWW_AUTHENTICATE,
    },
};
use tokio::sync::mpsc;

use super::guard::Denial;
use crate::{
    answer::{push, push_string},
    standing::State,
};

/// An answer.
pub(crate) type Reply = Response<Payload>;

/// The body of an answer: known at once, or events as they come.
#[derive(Debug)]
pub(crate) enum Payload {
    Whole(Option<Bytes>),
    Events(mpsc::Receiver<Bytes>),
}

impl Payload {
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Events(_))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty())),
            Self::Events(events) => events.poll_recv(cx),
        };
        data.map(|data| data.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// What went wrong, for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The request says it wrong.
    Malformed(String),
    /// The body is larger than this.
    TooLarge(usize),
    /// Nothing stands at this path.
    NoSuchPath,
    /// Something stands there, but takes only this method.
    Method(&'static str),
    /// It may not ask.
    Denied(Denial),
    /// There is no snapshot to answer from.
    Cold,
    /// There are too many event streams.
    Busy,
    /// The revision that the caller has seen is not here yet.
    NotYet { wanted: u64, served: u64 },
    /// The revision that the caller pinned is not held.
    NotHeld { wanted: u64, held: Vec<u64> },
    /// There are no flags yet.
    NoFlags,
    /// The revision about which flags and checks agree is not held.
    NotSettled { settled: u64 },
    /// The admin did not take what was handed on.
    Upstream(String),
}

impl Problem {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Denied(Denial::Host) => StatusCode::MISDIRECTED_REQUEST,
            Self::Denied(Denial::Origin) => StatusCode::FORBIDDEN,
            Self::Denied(Denial::Token) => StatusCode::UNAUTHORIZED,
            Self::NotYet { .. } => StatusCode::CONFLICT,
            Self::NoFlags | Self::NotSettled { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotHeld { .. } => StatusCode::GONE,
            Self::Upstream(_) => StatusCode::BAD_GATEWAY,
            Self::Cold | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::TooLarge(_) => "too_large",
            Self::NoSuchPath => "no_such_path",
            Self::Method(_) => "method",
            Self::Denied(Denial::Host) => "foreign_host",
            Self::Denied(Denial::Origin) => "foreign_origin",
            Self::Denied(Denial::Token) => "token",
            Self::Cold => "cold",
            Self::Busy => "busy",
            Self::NotYet { .. } => "not_yet",
            Self::NotHeld { .. } => "not_held",
            Self::NoFlags => "no_flags",
            Self::NotSettled { .. } => "not_settled",
            Self::Upstream(_) => "upstream",
        }
    }

    /// What is wrong and what to do, in a sentence.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Malformed(why) => why.clone(),
            Self::TooLarge(most) => format!("the body may be {most} bytes long; ask in parts"),
            Self::NoSuchPath => "nothing stands at this path".into(),
            Self::Method(method) => format!("this path takes {method} only"),
            Self::Denied(Denial::Host) => {
                "the `Host` header names another host; ask for `localhost` or `127.0.0.1`".into()
            }
            Self::Denied(Denial::Origin) => {
                "a web page sent this and its origin is not allowed; start the sidecar with \
                 --allow-origin to let it"
                    .into()
            }
            Self::Denied(Denial::Token) => {
                "the token of this sidecar is missing or wrong; send `Authorization: Bearer …`"
                    .into()
            }
            Self::Cold => {
                "there is no snapshot yet: the admin has not been reached since the first start; \
                 see /readyz"
                    .into()
            }
            Self::Busy => "there are too many event streams; ask again later".into(),
            Self::NotYet { wanted, served } => format!(
                "revision {wanted} is not here yet, this is {served}; ask again, or wait longer with \
                 the header `Entitlements-Wait-Ms`"
            ),
            Self::NotHeld { wanted, held } => format!(
                "revision {wanted} is not held here; these are: {}",
                held.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
            ),
            Self::NoFlags => {
                "there is no flag definition yet, or flagd could not read the one there would be; \
                 see the log"
                    .into()
            }
            Self::NotSettled { settled } => format!(
                "flags and checks agree about revision {settled} at the latest, which is held no \
                 more; see /v1/sinks"
            ),
            Self::Upstream(why) => why.clone(),
        }
    }

    /// As problem+json (RFC 9457).
    pub(crate) fn reply(&self) -> Reply {
        let status = self.status();
        let mut body = Vec::new();
        push(
            &mut body,
            format_args!(
                "{{\"type\":\"urn:entitlements:problem:{}\",\"title\":\"{}\",\"status\":{},\"detail\":",
                self.code(),
                status.canonical_reason().unwrap_or("error"),
                status.as_u16()
            ),
        );
        push_string(&mut body, &self.detail());
        body.push(b'}');
        let mut reply = reply(status, "application/problem+json", body);
        let headers = reply.headers_mut();
        match self {
            Self::Method(method) => {
                headers.insert(ALLOW, HeaderValue::from_static(method));
            }
            Self::Denied(Denial::Token) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        reply
    }
}

/// A body of this type.
pub(crate) fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Payload::Whole(Some(body.into())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// A JSON body with status 200.
pub(crate) fn json(body: Vec<u8>) -> Reply {
    reply(StatusCode::OK, "application/json", body)
}

/// A body, or 304 where the caller has it already.
pub(crate) fn tagged(body: Vec<u8>, etag: &str, headers: &HeaderMap) -> Reply {
    let known = headers.get_all(IF_NONE_MATCH).iter().any(|value| names(value, etag));
    let mut reply = if known {
        let mut reply = Response::new(Payload::Whole(None));
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        reply
    } else {
        json(body)
    };
    if let Ok(etag) = HeaderValue::from_str(etag) {
        reply.headers_mut().insert(ETAG, etag);
    }
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    reply
}

/// A tag over a result, for one tenant.
pub(crate) fn etag(tenant: &str, result: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(tenant.len() as u64).to_le_bytes()).update(tenant.as_bytes()).update(result);
    let hex = hasher.finalize().to_hex();
    format!("\"{}\"", &hex[..32])
}

fn names(value: &HeaderValue, etag: &str) -> bool {
    value.to_str().is_ok_and(|list| {
        list.split(',')
            .map(str::trim)
            .any(|item| item == "*" || item.strip_prefix("W/").unwrap_or(item) == etag)
    })
}

static REVISION: HeaderName = HeaderName::from_static("entitlements-revision");
static AGE_MS: HeaderName = HeaderName::from_static("entitlements-age-ms");
static STATE: HeaderName = HeaderName::from_static("entitlements-state");

/// Says of what world the answer is and how old that is.
pub(crate) fn stamp(reply: &mut Reply, revision: u64, age_ms: u64, state: State) {
    let headers = reply.headers_mut();
    headers.insert(&REVISION, revision.into());
    headers.insert(&AGE_MS, age_ms.into());
    headers.insert(&STATE, HeaderValue::from_static(state.code()));
}

/// Which headers a page may read.
pub(crate) fn expose(reply: &mut Reply) {
    reply.headers_mut().insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "ETag, Entitlements-Revision, Entitlements-Age-Ms, Entitlements-State",
        ),
    );
}

/// Reads a request's body, no more than it may have. One that came in one piece is not copied.
pub(crate) async fn read(mut body: Incoming, most: usize) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > most as u64 {
        return Err(Problem::TooLarge(most));
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::Malformed("the body broke off".into()))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > most {
            return Err(Problem::TooLarge(most));
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::from(first);
    whole.unsplit(rest);
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_recognised_in_a_list() {
        let etag = etag("acme", b"result");
        assert_ne!(etag, super::etag("other", b"result"));
        assert_ne!(etag, super::etag("acme", b"results"));
        for (value, known) in [
            (etag.clone(), true),
            (format!("W/{etag}"), true),
            (format!("\"x\", {etag}"), true),
            ("*".into(), true),
            ("\"x\"".into(), false),
            (etag.trim_matches('"').into(), false),
        ] {
            assert_eq!(names(&value.parse().unwrap(), &etag), known, "{value}");
        }
    }
}
