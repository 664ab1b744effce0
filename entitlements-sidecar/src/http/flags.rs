//! Features as flags: the definition for flagd, and what an application passes with a flag's name.

use hyper::{HeaderMap, StatusCode};

use super::{
    asking::Asking,
    reply::{Problem, Reply, json, reply, tagged},
    unescape,
    view::View,
};
use crate::{
    answer::{push, push_string},
    flags::{Context, keeper::Flags},
};

/// `GET /flagd/v1/flags.json`: what flagd's HTTP source polls. One that flagd could not read is never
/// here; the last good one stays.
pub(super) fn definition(flags: &Flags, headers: &HeaderMap) -> Reply {
    let Some(definition) = flags.definitions().borrow().clone() else {
        return Problem::NoFlags.reply();
    };
    let etag = format!("\"{}\"", blake3::hash(definition.text.as_bytes()).to_hex());
    tagged(definition.text.clone().into_bytes(), &etag, headers)
}

/// `GET /v1/tenants/{tenant}/flag-context`: pass it to the flag service as it is, and pass its
/// `entRev` to this sidecar as `Entitlements-At`. Then flags and checks say the same.
pub(super) fn context(asking: &Asking<'_>, tenant: &str) -> Reply {
    let view = match settled(asking).and_then(|asking| View::new(&asking)) {
        Ok(view) => view,
        Err(problem) => return problem.reply(),
    };
    let tenant = unescape(tenant);
    let context = view.flag_context(&tenant);
    let Context { plan, country } = context;
    let mut out = Vec::with_capacity(192);
    for (name, value) in [
        ("{\"targetingKey\":", &*tenant),
        (",\"tenantId\":", &*tenant),
        (",\"plan\":", &*plan),
        (",\"country\":", &*country),
    ] {
        out.extend_from_slice(name.as_bytes());
        push_string(&mut out, value);
    }
    push(&mut out, format_args!(",\"entRev\":{}}}", view.revision()));
    view.stamp(json(out))
}

/// What the caller asks for, or else the latest revision about which flags and checks agree.
fn settled<'s>(asking: &Asking<'s>) -> Result<Asking<'s>, Problem> {
    let serving = asking.serving;
    if asking.pinned.is_some() {
        return Ok(Asking { serving, pinned: asking.pinned.clone() });
    }
    match serving.settled() {
        None => Ok(Asking::now(serving)),
        Some(settled) => {
            let held = serving.held_at_most(settled);
            let pinned = held.ok_or(Problem::NotSettled { settled: settled.0 })?;
            Ok(Asking { serving, pinned: Some(pinned) })
        }
    }
}

/// Where flags are not served.
pub(super) fn not_served() -> Reply {
    reply(
        StatusCode::NOT_FOUND,
        "application/problem+json",
        "{\"type\":\"urn:entitlements:problem:no_such_path\",\"title\":\"Not Found\",\"status\":404,\
         \"detail\":\"flags are not served here: start the sidecar with --flagd\"}",
    )
}
