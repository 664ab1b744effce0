//! OFREP 0.3.0: features as flags, for the `OpenFeature` clients of any language.
//!
//! Clients differ in what they can bear, so an answer always has a key, a value, a reason of the
//! protocol's own list, a variant, and scalar metadata only. A denied feature is an answer with a
//! value (`false`, 0, `"none"`, `{}`), never an absent one and never the reason `DISABLED`, either
//! of which makes some clients use the default in the caller's code instead.

use entitlements_core::{AMOUNT_MAX, FeatureKind, Limit, Reason, Verdict};
use hyper::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::{
    asking::Asking,
    native::Text,
    reply::{Problem, Reply, etag, json, reply, tagged},
    unescape,
    view::View,
};
use crate::{
    answer::{Answer, Word, push, push_string},
    json::{Json, read},
};

/// `POST /ofrep/v1/evaluate/flags/{key}`
pub(super) fn flag(asking: &Asking<'_>, key: &str, body: &[u8]) -> Reply {
    let view = match View::new(asking) {
        Ok(view) => view,
        Err(problem) => return unable(&problem),
    };
    let key = unescape(key);
    let reply = match (tenant_of(body), view.feature(&key)) {
        (Err(fault @ (Fault::Parse(_) | Fault::Context(_))), _) => fault.reply(Some(&key)),
        (_, None) => Fault::NotFound.reply(Some(&key)),
        (Err(fault), Some(_)) => fault.reply(Some(&key)),
        (Ok(tenant), Some(feature)) => {
            let answer = view.counted(asking.serving, (&tenant.0, &key), view.now.at);
            let mut out = Json::with_capacity(384);
            write_flag(&mut out, &key, &feature.kind, &answer);
            write_metadata(&mut out, &answer, &view);
            out.raw(",\"revision\":").number(view.revision());
            out.raw(",\"ageMs\":").number(view.age_ms).raw("}}");
            json(out.into_bytes())
        }
    };
    view.stamp(reply)
}

/// `POST /ofrep/v1/evaluate/flags`
///
/// The tag is over what was evaluated for this tenant. A promotion that ends changes it although no
/// revision does; a revision that changes nothing for the tenant does not.
pub(super) fn flags(asking: &Asking<'_>, headers: &HeaderMap, body: &[u8]) -> Reply {
    let view = match View::new(asking) {
        Ok(view) => view,
        Err(problem) => return unable(&problem),
    };
    let tenant = match tenant_of(body) {
        Ok(tenant) => tenant.0,
        Err(fault) => return view.stamp(fault.reply(None)),
    };
    let flags = evaluated(&view, &tenant);
    let etag = etag(&tenant, &flags);
    let mut out = Vec::with_capacity(flags.len() + 256);
    out.extend_from_slice(b"{\"flags\":[");
    out.extend_from_slice(&flags);
    out.extend_from_slice(
        b"],\"eventStreams\":[{\"type\":\"sse\",\"endpoint\":{\"requestUri\":\"/ofrep/v1/events?tenant=",
    );
    push_escaped(&mut out, &tenant);
    push(
        &mut out,
        format_args!(
            "\"}},\"inactivityDelaySec\":120}}],\"metadata\":{{\"revision\":{},\"stale\":{}}}}}",
            view.revision(),
            view.state.is_stale()
        ),
    );
    view.stamp(tagged(out, &etag, headers))
}

/// The tag that a bulk evaluation would have now.
pub(super) fn tag(view: &View, tenant: &str) -> String {
    etag(tenant, &evaluated(view, tenant))
}

/// All flags of a tenant, without what changes from one moment to the next.
fn evaluated(view: &View, tenant: &str) -> Vec<u8> {
    let mut out = Json::with_capacity(16 * 1_024);
    view.each(tenant, view.now.at, |key, answer| {
        let Some(feature) = view.feature(key.as_str()) else { return };
        if !out.is_empty() {
            out.raw(",");
        }
        write_flag(&mut out, key.as_str(), &feature.kind, &answer);
        write_metadata(&mut out, &answer, view);
        out.raw("}}");
    });
    out.into_bytes()
}

/// The body, as far as it matters here. Everything else in the context is somebody else's.
#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow, default)]
    context: Option<Context<'b>>,
}

#[derive(Deserialize)]
struct Context<'b> {
    #[serde(borrow, default, rename = "targetingKey")]
    targeting_key: Option<Text<'b>>,
}

/// What OFREP calls an evaluation failure.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    Parse(String),
    Context(String),
    NoKey,
    NotFound,
}

impl Fault {
    fn reply(&self, key: Option<&str>) -> Reply {
        let (status, code, details) = match self {
            Self::Parse(why) => (StatusCode::BAD_REQUEST, "PARSE_ERROR", why.as_str()),
            Self::Context(why) => (StatusCode::BAD_REQUEST, "INVALID_CONTEXT", why.as_str()),
            Self::NoKey => (
                StatusCode::BAD_REQUEST,
                "TARGETING_KEY_MISSING",
                "the context has no `targetingKey`; give the tenant's key there",
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "FLAG_NOT_FOUND",
                "the catalog has no feature with this key",
            ),
        };
        let mut out = Vec::new();
        out.push(b'{');
        if let Some(key) = key {
            out.extend_from_slice(b"\"key\":");
            push_string(&mut out, key);
            out.push(b',');
        }
        push(&mut out, format_args!("\"errorCode\":\"{code}\",\"errorDetails\":"));
        push_string(&mut out, details);
        out.push(b'}');
        reply(status, "application/json", out)
    }
}

/// Where nothing can be evaluated at all.
pub(super) fn unable(problem: &Problem) -> Reply {
    let mut out = b"{\"errorDetails\":".to_vec();
    push_string(&mut out, &problem.detail());
    out.push(b'}');
    reply(problem.status(), "application/json", out)
}

fn tenant_of(body: &[u8]) -> Result<Text<'_>, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Fault::NoKey);
    }
    let body: Body<'_> = read(body).map_err(|error: serde_json::Error| {
        let why = format!("the body is not understood: {error}");
        if error.is_data() { Fault::Context(why) } else { Fault::Parse(why) }
    })?;
    body.context
        .and_then(|context| context.targeting_key)
        .filter(|key| !key.0.is_empty())
        .ok_or(Fault::NoKey)
}

/// A flag up to where its metadata would begin.
fn write_flag(json: &mut Json, key: &str, kind: &FeatureKind, answer: &Answer<'_>) {
    json.raw("{\"key\":\"").raw(key).raw("\",\"value\":");
    match answer.verdict {
        Verdict::Allowed => json.raw("true,\"variant\":\"on"),
        Verdict::Limit(Limit::AtMost(amount)) => {
            json.number(amount).raw(",\"variant\":\"").number(amount)
        }
        Verdict::Limit(Limit::Unlimited) => json.number(AMOUNT_MAX).raw(",\"variant\":\"unlimited"),
        Verdict::Level(name) => json.raw("\"").raw(name).raw("\",\"variant\":\"").raw(name),
        Verdict::Config(value) => json.raw(value).raw(",\"variant\":\"config"),
        Verdict::Denied => json.raw(match kind {
            FeatureKind::Switch => "false,\"variant\":\"off",
            FeatureKind::Limit { .. } => "0,\"variant\":\"0",
            FeatureKind::Level { .. } => "\"none\",\"variant\":\"none",
            FeatureKind::Config { .. } => "{},\"variant\":\"none",
        }),
    };
    json.raw("\",\"reason\":\"").raw(protocol_reason(answer.reason)).raw("\"");
}

/// What is evaluated for a tenant is a match of its context. What holds for whoever is not known
/// does not depend on the context.
const fn protocol_reason(word: Word) -> &'static str {
    match word {
        Word::Known(Reason::UnknownTenant) => "STATIC",
        Word::Known(_) | Word::Stale => "TARGETING_MATCH",
    }
}

/// The metadata without what changes from one moment to the next, and without its closing brace.
fn write_metadata(json: &mut Json, answer: &Answer<'_>, view: &View) {
    json.raw(",\"metadata\":{\"reason_code\":\"").raw(answer.reason.code());
    json.raw(if view.state.is_stale() { "\",\"stale\":true" } else { "\",\"stale\":false" });
    if let Some(source) = answer.source {
        json.raw(",\"source\":").source(source);
    }
    if let Some(until) = answer.valid_until {
        json.raw(",\"validUntil\":").instant(until);
    }
    if answer.verdict == Verdict::Limit(Limit::Unlimited) {
        json.raw(",\"unlimited\":true");
    }
}

/// Writes text so that it can stand in a query and in a JSON string.
fn push_escaped(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte);
        } else {
            push(out, format_args!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenant_is_found_and_its_absence_is_told_from_nonsense() {
        let tenant = |body: &str| tenant_of(body.as_bytes()).map(|text| text.0.into_owned());
        assert_eq!(
            tenant(r#"{"context":{"plan":{"x":[1]},"targetingKey":"acme"}}"#),
            Ok("acme".into())
        );
        assert_eq!(tenant(r#"{"context":{"targetingKey":"a\u0063me"}}"#), Ok("acme".into()));
        for missing in [
            "",
            "  \n",
            "{}",
            r#"{"context":null}"#,
            r#"{"context":{}}"#,
            r#"{"context":{"targetingKey":null}}"#,
            r#"{"context":{"targetingKey":""}}"#,
        ] {
            assert_eq!(tenant(missing), Err(Fault::NoKey), "{missing}");
        }
        for (body, parse) in [
            ("{", true),
            ("nope", true),
            ("{}x", true),
            (r#"{"context":5}"#, false),
            (r#"{"context":{"targetingKey":7}}"#, false),
        ] {
            let fault = tenant(body).unwrap_err();
            assert_eq!(matches!(fault, Fault::Parse(_)), parse, "{body}: {fault:?}");
            assert_eq!(matches!(fault, Fault::Context(_)), !parse, "{body}: {fault:?}");
        }
    }

    #[test]
    fn a_tenant_in_an_address_is_escaped() {
        let mut out = Vec::new();
        push_escaped(&mut out, "crm:a\"b/ä");
        assert_eq!(String::from_utf8(out).unwrap(), "crm%3Aa%22b%2F%C3%A4");
    }
}
