//! The `AuthZEN` Authorization API 1.0: may this subject do this to that resource?
//!
//! A tenant is a subject, a feature a resource, and `use` the action; a [`Mapping`] says how other
//! types read. A denial is an answer, and so is what maps to nothing: the decision is `false`, with
//! a reason, and never an error. A page of a search names its revision, and the next one is answered
//! from the same.

mod mapping;
mod request;
mod search;

use hyper::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, HOST, HeaderName},
};
use serde_json::{Map, Value};

use entitlements_core::{Limit, Verdict};

pub(crate) use self::mapping::Mapping;
use self::request::{Parts, Question};
use super::{
    Route,
    asking::Asking,
    reply::{Problem, Reply, json, reply},
    view::View,
};
use crate::answer::{Answer, push, push_string};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The most questions of one batch.
const BATCH_MAX: usize = 1_000;

/// What the routes need beside the snapshot.
#[derive(Debug, Default)]
pub(crate) struct Authzen {
    pub(crate) mapping: Mapping,
    /// The base under which others reach this sidecar, where it was given.
    pub(crate) base: Option<String>,
}

/// Answers any of the routes.
pub(super) async fn answer(
    authzen: &Authzen,
    asking: Result<Asking<'_>, Problem>,
    route: Route,
    headers: &HeaderMap,
    body: &[u8],
) -> Reply {
    let mut reply = match route {
        Route::AuthzenMetadata => metadata(authzen, headers),
        _ => match asked(authzen, asking, route, headers, body).await {
            Ok(reply) => reply,
            Err(fault) => fault.reply(),
        },
    };
    if let Some(id) = headers.get(&REQUEST_ID) {
        reply.headers_mut().insert(REQUEST_ID, id.clone());
    }
    reply
}

/// What went wrong: a status and a sentence, which the API wants as a string.
struct Fault(StatusCode, String);

impl Fault {
    fn bad(why: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, why.into())
    }

    fn reply(&self) -> Reply {
        let mut out = Vec::new();
        push_string(&mut out, &self.1);
        reply(self.0, "application/json", out)
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self(problem.status(), problem.detail())
    }
}

async fn asked(
    authzen: &Authzen,
    asking: Result<Asking<'_>, Problem>,
    route: Route,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Reply, Fault> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Fault::bad("send the request as `application/json`"));
    }
    let object: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|error| Fault::bad(format!("the body is no JSON object: {error}")))?;
    let asking = asking?;
    if let Route::AuthzenEvaluation | Route::AuthzenEvaluations = route {
        let view = View::new(&asking)?;
        let out = match object.get("evaluations").filter(|_| route == Route::AuthzenEvaluations) {
            Some(list) => batch(authzen, &asking, &view, &object, list)?,
            None => {
                let question = Parts::of(&object, &Parts::default()).question();
                let mut out = Vec::with_capacity(256);
                decide(authzen, &asking, &view, &question.map_err(Fault::bad)?, &mut out);
                out
            }
        };
        return Ok(view.stamp(json(out)));
    }
    search::search(authzen, &asking, route, &object).await
}

/// Several questions, all from one snapshot.
fn batch(
    authzen: &Authzen,
    asking: &Asking<'_>,
    view: &View,
    object: &Map<String, Value>,
    list: &Value,
) -> Result<Vec<u8>, Fault> {
    let defaults = Parts::of(object, &Parts::default());
    let list = list.as_array().ok_or_else(|| Fault::bad("`evaluations` must be a list"))?;
    let mut out = Vec::with_capacity(64 + 256 * list.len());
    if list.is_empty() {
        let question = defaults.question().map_err(Fault::bad)?;
        decide(authzen, asking, view, &question, &mut out);
        return Ok(out);
    }
    if list.len() > BATCH_MAX {
        return Err(Fault::bad(format!("`evaluations` takes {BATCH_MAX} questions at the most")));
    }
    let stops_at = semantic(object)?;
    out.extend_from_slice(b"{\"evaluations\":[");
    for (position, item) in list.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        let question = match item.as_object() {
            Some(item) => Parts::of(item, &defaults).question(),
            None => Err("a question must be an object".into()),
        };
        let decision = match question {
            Ok(question) => decide(authzen, asking, view, &question, &mut out),
            Err(why) => {
                out.extend_from_slice(
                    b"{\"decision\":false,\"context\":{\"reason_code\":\"malformed\",\"error\":",
                );
                push_string(&mut out, &why);
                out.extend_from_slice(b"}}");
                false
            }
        };
        if stops_at == Some(decision) {
            break;
        }
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

/// The decision after which nothing more is asked.
fn semantic(object: &Map<String, Value>) -> Result<Option<bool>, Fault> {
    let options = match object.get("options") {
        None => return Ok(None),
        Some(Value::Object(options)) => options,
        Some(_) => return Err(Fault::bad("`options` must be an object")),
    };
    match options.get("evaluations_semantic") {
        None => Ok(None),
        Some(Value::String(text)) => match text.as_str() {
            "execute_all" => Ok(None),
            "deny_on_first_deny" => Ok(Some(false)),
            "permit_on_first_permit" => Ok(Some(true)),
            other => Err(Fault::bad(format!(
                "`{other}` is no semantic: use `execute_all`, `deny_on_first_deny` or \
                 `permit_on_first_permit`"
            ))),
        },
        Some(_) => Err(Fault::bad("`options.evaluations_semantic` must be a text")),
    }
}

/// Writes the decision about one question, and says what it is.
fn decide(
    authzen: &Authzen,
    asking: &Asking<'_>,
    view: &View,
    question: &Question,
    out: &mut Vec<u8>,
) -> bool {
    let Question { subject, action, resource, quantity } = question;
    let mapping = &authzen.mapping;
    let (tenant, feature) = (mapping.tenant(subject), mapping.feature(action, resource));
    let (Some(tenant), Some(feature)) = (tenant, feature) else {
        out.extend_from_slice(b"{\"decision\":false,\"context\":{\"reason_code\":\"not_mapped\"");
        push_world(out, view);
        return false;
    };
    let answer = view.counted(asking.serving, (&tenant, &feature), view.now.at);
    let permitted = permits(&answer, *quantity);
    let code = match answer.verdict {
        Verdict::Limit(_) if !permitted => "quantity",
        _ => answer.reason.code(),
    };
    push(out, format_args!("{{\"decision\":{permitted},\"context\":{{\"reason_code\":\"{code}\""));
    match answer.verdict {
        Verdict::Limit(Limit::AtMost(amount)) => push(out, format_args!(",\"limit\":{amount}")),
        Verdict::Limit(Limit::Unlimited) => out.extend_from_slice(b",\"limit\":\"unlimited\""),
        Verdict::Level(name) => push(out, format_args!(",\"level\":\"{name}\"")),
        Verdict::Config(json) => push(out, format_args!(",\"config\":{json}")),
        Verdict::Denied | Verdict::Allowed => {}
    }
    if let Some(source) = answer.source {
        push(out, format_args!(",\"source\":\"{source}\""));
    }
    if let Some(until) = answer.valid_until {
        push(out, format_args!(",\"valid_until\":\"{until}\""));
    }
    push_world(out, view);
    permitted
}

/// Whether an answer is a yes to so much.
fn permits(answer: &Answer<'_>, quantity: Option<u64>) -> bool {
    match (answer.verdict, quantity) {
        (Verdict::Denied, _) => false,
        (Verdict::Limit(Limit::AtMost(amount)), Some(quantity)) => quantity <= amount,
        _ => true,
    }
}

/// What the answer rests on, and the ends of context and decision.
fn push_world(out: &mut Vec<u8>, view: &View) {
    let (revision, state, age_ms) = (view.revision(), view.state, view.age_ms);
    push(
        out,
        format_args!(",\"revision\":{revision},\"state\":\"{state}\",\"age_ms\":{age_ms}}}}}"),
    );
}

/// `GET /.well-known/authzen-configuration`: where everything stands.
fn metadata(authzen: &Authzen, headers: &HeaderMap) -> Reply {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
    let base = authzen.base.clone().unwrap_or_else(|| format!("http://{host}"));
    let base = base.trim_end_matches('/');
    let text = serde_json::json!({
        "policy_decision_point": base,
        "access_evaluation_endpoint": format!("{base}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{base}/access/v1/evaluations"),
        "search_subject_endpoint": format!("{base}/access/v1/search/subject"),
        "search_resource_endpoint": format!("{base}/access/v1/search/resource"),
        "search_action_endpoint": format!("{base}/access/v1/search/action"),
    });
    json(text.to_string().into_bytes())
}
