//! The small API of our own: check one, check many, explain, a tenant's whole set.

use std::borrow::Cow;

use entitlements_core::Timestamp;
use hyper::HeaderMap;
use serde::Deserialize;

use super::{
    asking::Asking,
    parameter,
    reply::{Problem, Reply, etag, json, tagged},
    unescape,
    view::View,
};
use crate::answer::{Answer, Word, push, push_string};

/// A question. `at` asks what the answer would be at another instant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question<'b> {
    #[serde(borrow)]
    tenant: Text<'b>,
    #[serde(borrow)]
    feature: Text<'b>,
    #[serde(default)]
    at: Option<Timestamp>,
}

/// Text that is borrowed from the body where it holds no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'b>(#[serde(borrow)] pub(super) Cow<'b, str>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Questions<'b> {
    #[serde(borrow)]
    checks: Vec<Question<'b>>,
}

/// `POST /v1/check`
pub(super) fn check(asking: &Asking<'_>, body: &[u8]) -> Reply {
    answered(asking, body, CHECK, |view, question: &Question<'_>| {
        let about = (&*question.tenant.0, &*question.feature.0);
        let answer = view.counted(asking.serving, about, view.at(question));
        let mut out = Vec::with_capacity(320);
        push_answer(&mut out, question, &answer);
        push(&mut out, format_args!(",\"age_ms\":{},\"state\":\"{}\"}}", view.age_ms, view.state));
        out
    })
}

/// `POST /v1/check/batch`: all from one snapshot, as of one instant.
pub(super) fn batch(asking: &Asking<'_>, body: &[u8]) -> Reply {
    answered(asking, body, BATCH, |view, questions: &Questions<'_>| {
        let mut out = Vec::with_capacity(128 + 256 * questions.checks.len());
        push_head(&mut out, view);
        out.extend_from_slice(b",\"results\":[");
        for (position, question) in questions.checks.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            let about = (&*question.tenant.0, &*question.feature.0);
            let answer = view.counted(asking.serving, about, view.at(question));
            push_answer(&mut out, question, &answer);
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
        out
    })
}

/// `POST /v1/explain`: what core explains, and beside it what a check says instead where the
/// snapshot is too old.
pub(super) fn explain(asking: &Asking<'_>, body: &[u8]) -> Reply {
    answered(asking, body, CHECK, |view, question: &Question<'_>| {
        let (tenant, feature, at) = (&*question.tenant.0, &*question.feature.0, view.at(question));
        let mut out = Vec::with_capacity(1_024);
        // A `Vec` takes every byte, and an explanation has no keys that are not text.
        let _ = serde_json::to_writer(&mut out, &view.explain(tenant, feature, at));
        if out.last() == Some(&b'}') {
            out.pop();
        }
        let answer = view.check(tenant, feature, at);
        if answer.reason == Word::Stale {
            out.extend_from_slice(b",\"instead\":{");
            answer.push_members(&mut out, false);
            out.push(b'}');
        }
        push(&mut out, format_args!(",\"age_ms\":{},\"state\":\"{}\"}}", view.age_ms, view.state));
        out
    })
}

/// `GET /v1/tenants/{tenant}/entitlements`, with `?at=` for another instant. The tag is over the
/// answers, so it stays the same through publications that change none of them, and does not when
/// a promotion ends.
pub(super) fn tenant(asking: &Asking<'_>, tenant: &str, query: &str, headers: &HeaderMap) -> Reply {
    let view = match View::new(asking) {
        Ok(view) => view,
        Err(problem) => return problem.reply(),
    };
    let tenant = unescape(tenant);
    let at = match parameter(query, "at").map(|text| Timestamp::parse(&text)).transpose() {
        Ok(at) => at.unwrap_or(view.now.at),
        Err(error) => return view.stamp(Problem::Malformed(error.to_string()).reply()),
    };
    let mut answers = Vec::with_capacity(16 * 1_024);
    view.each(&tenant, at, |feature, answer| {
        if !answers.is_empty() {
            answers.push(b',');
        }
        push(&mut answers, format_args!("{{\"feature\":\"{feature}\","));
        answer.push_members(&mut answers, false);
        answers.push(b'}');
    });
    let etag = etag(&tenant, &answers);
    let mut out = Vec::with_capacity(answers.len() + 256);
    push_head(&mut out, &view);
    out.extend_from_slice(b",\"tenant\":");
    push_string(&mut out, &tenant);
    out.extend_from_slice(b",\"entitlements\":[");
    out.append(&mut answers);
    out.extend_from_slice(b"]}");
    view.stamp(tagged(out, &etag, headers))
}

const CHECK: &str = "`{\"tenant\": \"acme\", \"feature\": \"seats\"}`";
const BATCH: &str = "`{\"checks\": [{\"tenant\": \"acme\", \"feature\": \"seats\"}]}`";

/// Reads the question, takes one view, answers from it.
fn answered<'b, Q: Deserialize<'b>>(
    asking: &Asking<'_>,
    body: &'b [u8],
    example: &str,
    answer: impl FnOnce(&View, &Q) -> Vec<u8>,
) -> Reply {
    let view = match View::new(asking) {
        Ok(view) => view,
        Err(problem) => return problem.reply(),
    };
    let reply = match serde_json::from_slice(body) {
        Ok(question) => json(answer(&view, &question)),
        Err(error) => {
            let why = format!("the body is not understood: {error}; send one like {example}");
            Problem::Malformed(why).reply()
        }
    };
    view.stamp(reply)
}

impl View {
    fn at(&self, question: &Question<'_>) -> Timestamp {
        question.at.unwrap_or(self.now.at)
    }
}

/// Core's `DecisionText`, but for the closing brace.
fn push_answer(out: &mut Vec<u8>, question: &Question<'_>, answer: &Answer<'_>) {
    out.extend_from_slice(b"{\"tenant\":");
    push_string(out, &question.tenant.0);
    out.extend_from_slice(b",\"feature\":");
    push_string(out, &question.feature.0);
    out.push(b',');
    answer.push_members(out, true);
}

fn push_head(out: &mut Vec<u8>, view: &View) {
    push(
        out,
        format_args!(
            "{{\"revision\":{},\"age_ms\":{},\"state\":\"{}\"",
            view.revision(),
            view.age_ms,
            view.state
        ),
    );
}
