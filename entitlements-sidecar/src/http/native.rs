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
use crate::{
    answer::{Answer, Word},
    json::{Json, read},
};

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
        let mut json = Json::with_capacity(384);
        write_answer(&mut json, question, &answer);
        write_offers(&mut json, question, &answer);
        write_age(json.raw(","), view);
        json.raw("}");
        json
    })
}

/// `POST /v1/check/batch`: all from one snapshot, as of one instant.
pub(super) fn batch(asking: &Asking<'_>, body: &[u8]) -> Reply {
    answered(asking, body, BATCH, |view, questions: &Questions<'_>| {
        let mut json = Json::with_capacity(128 + 256 * questions.checks.len());
        write_head(&mut json, view);
        json.raw(",\"results\":[");
        for (position, question) in questions.checks.iter().enumerate() {
            if position > 0 {
                json.raw(",");
            }
            let about = (&*question.tenant.0, &*question.feature.0);
            let answer = view.counted(asking.serving, about, view.at(question));
            write_answer(&mut json, question, &answer);
            json.raw("}");
        }
        json.raw("]}");
        json
    })
}

/// `POST /v1/explain`: what core explains, and beside it what a check says instead where the
/// snapshot is too old.
pub(super) fn explain(asking: &Asking<'_>, body: &[u8]) -> Reply {
    answered(asking, body, CHECK, |view, question: &Question<'_>| {
        let (tenant, feature, at) = (&*question.tenant.0, &*question.feature.0, view.at(question));
        // An explanation has no keys that are not text.
        let text = serde_json::to_string(&view.explain(tenant, feature, at)).unwrap_or_default();
        let mut json = Json::with_capacity(text.len() + 256);
        json.raw(text.strip_suffix('}').unwrap_or("{"));
        let answer = view.check(tenant, feature, at);
        if answer.reason == Word::Stale {
            json.raw(",\"instead\":{");
            answer.write_members(&mut json, false);
            json.raw("}");
        }
        write_offers(&mut json, question, &answer);
        write_age(json.raw(","), view);
        json.raw("}");
        json
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
    let mut answers = Json::with_capacity(16 * 1_024);
    view.each(&tenant, at, |feature, answer| {
        if !answers.is_empty() {
            answers.raw(",");
        }
        answers.raw("{\"feature\":\"").raw(feature.as_str()).raw("\",");
        answer.write_members(&mut answers, false);
        answers.raw("}");
    });
    let answers = answers.into_text();
    let etag = etag(&tenant, answers.as_bytes());
    let mut json = Json::with_capacity(answers.len() + 256);
    write_head(&mut json, &view);
    json.raw(",\"tenant\":").string(&tenant);
    json.raw(",\"entitlements\":[").raw(&answers).raw("]}");
    view.stamp(tagged(json.into_bytes(), &etag, headers))
}

const CHECK: &str = "`{\"tenant\": \"acme\", \"feature\": \"seats\"}`";
const BATCH: &str = "`{\"checks\": [{\"tenant\": \"acme\", \"feature\": \"seats\"}]}`";

/// Reads the question, takes one view, answers from it.
fn answered<'b, Q: Deserialize<'b>>(
    asking: &Asking<'_>,
    body: &'b [u8],
    example: &str,
    answer: impl FnOnce(&View, &Q) -> Json,
) -> Reply {
    let view = match View::new(asking) {
        Ok(view) => view,
        Err(problem) => return problem.reply(),
    };
    let reply = match read(body) {
        Ok(question) => json(answer(&view, &question).into_bytes()),
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
fn write_answer(json: &mut Json, question: &Question<'_>, answer: &Answer<'_>) {
    json.raw("{\"tenant\":").string(&question.tenant.0);
    json.raw(",\"feature\":").string(&question.feature.0).raw(",");
    answer.write_members(json, true);
}

/// Where it stands, at the control plane, what the tenant may ask for that would give another answer.
/// Keys of tenants and features that are known need no escapes.
fn write_offers(json: &mut Json, question: &Question<'_>, answer: &Answer<'_>) {
    if answer.may_be_lifted() {
        json.raw(",\"offers\":\"/v1/tenants/").raw(&question.tenant.0);
        json.raw("/features/").raw(&question.feature.0).raw("/offers\"");
    }
}

fn write_head(json: &mut Json, view: &View) {
    json.raw("{\"revision\":").number(view.revision()).raw(",");
    write_age(json, view);
}

fn write_age(json: &mut Json, view: &View) {
    json.raw("\"age_ms\":").number(view.age_ms);
    json.raw(",\"state\":\"").raw(view.state.code()).raw("\"");
}
