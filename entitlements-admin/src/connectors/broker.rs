//! A service broker, by version 2.17 of the Open Service Broker API: we are the platform.
//!
//! What has to be cleaned up after an answer, and what must not be, follows the table of the
//! specification's section on orphans.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use entitlements_outbound::{ClientError, HttpClient};
use hyper::{
    Method, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use serde_json::{Value, json};

use super::{Answer, Report, answer, basic, escaped, secret_header, step::Errand, step::state_of};
use crate::workflow::{
    connector::{Broker, Credentials},
    provisioning::{AT_IT, Action, Doing, Outcome, StepKind},
};

/// The version that we speak.
const VERSION: &str = "2.17";
/// How long to wait before asking again where the broker does not say.
const POLL: Duration = Duration::from_secs(5);

/// Sees whether the broker answers, and what it offers.
pub(super) async fn look(http: &HttpClient, broker: &Broker, credentials: &Credentials) -> Report {
    let request = request(broker, credentials, Method::GET, "/v2/catalog", None);
    let found = match request.body(Bytes::new()) {
        Ok(request) => http.send(request).await,
        Err(error) => return Report::refused(format!("the request cannot be made: {error}")),
    };
    let found = match found {
        Ok(response) => answer(response),
        Err(error) => return Report::retry(error.to_string()),
    };
    let catalog = found.json();
    match (found.status, catalog["services"].as_array()) {
        (StatusCode::OK, Some(services)) => {
            let names: Vec<&str> =
                services.iter().filter_map(|service| service["id"].as_str()).collect();
            Report::delivered(format!("it offers the services {}", names.join(", ")))
        }
        _ => Report::refused(found.told()),
    }
}

/// Asks about an instance.
pub(super) async fn ask(
    http: &HttpClient,
    broker: &Broker,
    credentials: &Credentials,
    errand: &Errand,
) -> Outcome {
    let StepKind::Broker { service_id, plan_id, .. } = &errand.kind else {
        return Outcome::Refused("the step is none of a broker".into());
    };
    let instance = format!("/v2/service_instances/{}", escaped(errand.instance()));
    let ids = format!("service_id={}&plan_id={}", escaped(service_id), escaped(plan_id));
    let asks = errand.doing.is_question();
    let (method, path, body) = match (asks, errand.action) {
        (true, _) => {
            let operation = errand.run.operation.as_deref();
            let operation = operation.map(|it| format!("&operation={}", escaped(it)));
            let operation = operation.unwrap_or_default();
            (Method::GET, format!("{instance}/last_operation?{ids}{operation}"), None)
        }
        (false, Action::Remove) => {
            (Method::DELETE, format!("{instance}?{ids}&accepts_incomplete=true"), None)
        }
        (false, action) => {
            let method = if action == Action::Make { Method::PUT } else { Method::PATCH };
            let body = wanted(errand, service_id, plan_id);
            (method, format!("{instance}?accepts_incomplete=true"), Some(body))
        }
    };
    let id = errand.id();
    let who = STANDARD.encode(json!({ "user": errand.requester }).to_string());
    let request = request(broker, credentials, method, &path, body.as_ref())
        .header("X-Broker-API-Request-Identity", id)
        .header("X-Broker-API-Originating-Identity", format!("entitlements {who}"))
        .body(Bytes::from(body.as_ref().map(Value::to_string).unwrap_or_default()));
    let request = match request {
        Ok(request) => request,
        Err(error) => return Outcome::Refused(format!("the request cannot be made: {error}")),
    };
    let now_s = errand.now.as_micros().div_euclid(1_000_000);
    match http.send(request).await {
        Ok(response) => read(&answer(response), errand.doing, errand.action, now_s),
        Err(error) => unheard(&error, errand.doing, errand.action),
    }
}

fn request(
    broker: &Broker,
    credentials: &Credentials,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> hyper::http::request::Builder {
    let get = |name| credentials.get(name).unwrap_or_default();
    let login = secret_header(&basic(get("user"), get("password")));
    let uri = format!("{}{path}", broker.url.trim_end_matches('/'));
    let request = Request::builder().method(method).uri(uri);
    let request = request
        .header(ACCEPT, "application/json")
        .header(AUTHORIZATION, login)
        .header("X-Broker-API-Version", VERSION);
    if body.is_some() { request.header(CONTENT_TYPE, "application/json") } else { request }
}

/// The instance as it is to be.
fn wanted(errand: &Errand, service_id: &str, plan_id: &str) -> Value {
    let context = json!({
        "platform": "entitlements",
        "environment": errand.environment,
        "tenant": errand.tenant,
        "tenant_name": errand.tenant_name,
        "listing": errand.listing,
        "request": errand.request,
        "quantity": errand.quantity,
        "until": errand.until,
    });
    let mut body = json!({ "service_id": service_id, "plan_id": plan_id, "context": context });
    if errand.parameters.is_object() {
        body["parameters"] = errand.parameters.clone();
    }
    if errand.action == Action::Make {
        // They are old, and brokers still refuse to do without.
        body["organization_guid"] = errand.tenant.clone().into();
        body["space_guid"] = errand.listing.clone().into();
    } else {
        body["previous_values"] = json!({ "plan_id": plan_id });
    }
    body
}

/// What an answer means.
fn read(answer: &Answer, doing: Doing, action: Action, now_s: i64) -> Outcome {
    let after = answer.retry_after(now_s);
    match (doing, action) {
        _ if doing.is_question() => polled(answer, action, after),
        (_, Action::Make) => made(answer, after),
        (_, Action::Change | Action::PutBack) => changed(answer, after),
        (_, Action::Remove) => removed(answer, after),
    }
}

/// What it means that there is no answer.
fn unheard(error: &ClientError, doing: Doing, action: Action) -> Outcome {
    let why = error.to_string();
    match (doing, action) {
        // Whether it is done cannot be told now.
        _ if doing.is_question() => Outcome::NotYet { why, after: None },
        // It may be there, and nobody knows how far it is.
        (_, Action::Make) if error.is_ambiguous() => Outcome::Orphan { why, retries: true },
        _ => Outcome::Retry { why, after: None },
    }
}

fn made(answer: &Answer, after: Option<Duration>) -> Outcome {
    let is_read = answer.json().is_object();
    let why = || answer.told();
    match answer.status {
        StatusCode::OK | StatusCode::CREATED if is_read => {
            Outcome::Done(format!("it answered {}", answer.status))
        }
        // There was one like it before we asked: it is not ours to remove.
        StatusCode::OK => Outcome::Refused(format!("{} is no JSON object", why())),
        StatusCode::ACCEPTED if is_read => accepted(answer, after),
        status if status.is_success() => Outcome::Orphan { why: why(), retries: true },
        status if status.is_server_error() => Outcome::Orphan { why: why(), retries: true },
        _ => unchanged(answer, after),
    }
}

fn changed(answer: &Answer, after: Option<Duration>) -> Outcome {
    let said = answer.json();
    match answer.status {
        StatusCode::OK if said.is_object() => Outcome::Done("it answered 200 OK".into()),
        StatusCode::ACCEPTED if said.is_object() => accepted(answer, after),
        // It says that it must not be asked again.
        _ if said["update_repeatable"] == false => Outcome::Refused(answer.told()),
        status if status.is_server_error() || status.is_success() => {
            Outcome::Retry { why: answer.told(), after }
        }
        _ => unchanged(answer, after),
    }
}

fn removed(answer: &Answer, after: Option<Duration>) -> Outcome {
    match answer.status {
        StatusCode::OK | StatusCode::GONE => {
            Outcome::Done(format!("it answered {}", answer.status))
        }
        StatusCode::ACCEPTED if answer.json().is_object() => accepted(answer, after),
        status if status.is_success() || status.is_server_error() => {
            Outcome::Retry { why: answer.told(), after }
        }
        _ => unchanged(answer, after),
    }
}

fn accepted(answer: &Answer, after: Option<Duration>) -> Outcome {
    let operation = answer.json()["operation"].as_str().map(Into::into);
    Outcome::Accepted { operation, after: after.or(Some(POLL)), ask_at: None }
}

/// An answer that says that nothing was done.
fn unchanged(answer: &Answer, after: Option<Duration>) -> Outcome {
    let is_busy = answer.json()["error"] == "ConcurrencyError";
    match answer.status {
        StatusCode::UNPROCESSABLE_ENTITY if is_busy => Outcome::Retry { why: answer.told(), after },
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN => Outcome::Retry { why: answer.told(), after },
        _ => Outcome::Refused(answer.told()),
    }
}

/// How far it is. Whatever cannot be read means that it is to be asked again.
fn polled(answer: &Answer, action: Action, after: Option<Duration>) -> Outcome {
    let after = after.or(Some(POLL));
    let said = answer.json();
    let description = said["description"].as_str().unwrap_or_default();
    match (answer.status, said["state"].as_str()) {
        (StatusCode::GONE, _) if action == Action::Remove => {
            Outcome::Done("it answered 410 Gone".into())
        }
        (StatusCode::OK, Some(state)) => match (state_of(state, description), action) {
            // What failed to go, or to change, is asked again.
            (Some(Outcome::Orphan { why, .. }), Action::Remove | Action::PutBack) => {
                Outcome::Retry { why, after }
            }
            (Some(Outcome::Orphan { why, .. }), Action::Change) => Outcome::Refused(why),
            (Some(outcome), _) => outcome,
            (None, _) => Outcome::NotYet { why: AT_IT.into(), after },
        },
        _ => Outcome::NotYet { why: answer.told(), after },
    }
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn said(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    fn silent() -> ClientError {
        ClientError::Silent { server: "b".into(), time_max: Duration::from_secs(60) }
    }

    fn word(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Done(_) => "done",
            Outcome::Accepted { .. } => "accepted",
            Outcome::NotYet { .. } => "ask again",
            Outcome::Retry { .. } | Outcome::Doubt { .. } => "try again",
            Outcome::Orphan { .. } => "clean up",
            Outcome::Refused(_) => "over",
        }
    }

    /// The rows of the specification, each with what must come of it. No change is ever cleaned up.
    #[test]
    fn what_is_cleaned_up_and_what_is_not() {
        use {Action as A, Doing as D};
        let failed = r#"{"state":"failed"}"#;
        for (doing, action, status, body, expected) in [
            (D::Do, A::Make, 200, "{}", "done"),
            (D::Do, A::Make, 200, "{", "over"),
            (D::Do, A::Make, 201, "{}", "done"),
            (D::Do, A::Make, 201, "{", "clean up"),
            (D::Do, A::Make, 202, "{}", "accepted"),
            (D::Do, A::Make, 202, "[]", "clean up"),
            (D::Do, A::Make, 204, "", "clean up"),
            (D::Do, A::Make, 408, "", "try again"),
            (D::Do, A::Make, 409, "{}", "over"),
            (D::Do, A::Make, 422, r#"{"error":"ConcurrencyError"}"#, "try again"),
            (D::Do, A::Make, 422, r#"{"error":"AsyncRequired"}"#, "over"),
            (D::Do, A::Make, 500, "", "clean up"),
            (D::Ask, A::Make, 200, failed, "clean up"),
            // What says that it succeeded with another status than 200 has not said it.
            (D::Ask, A::Make, 410, r#"{"state":"succeeded"}"#, "ask again"),
            (D::Ask, A::Make, 404, "{}", "ask again"),
            (D::Ask, A::Make, 500, "", "ask again"),
            (D::Ask, A::Make, 200, r#"{"state":"succeeded"}"#, "done"),
            (D::Do, A::Change, 500, "", "try again"),
            (D::Do, A::Change, 500, r#"{"update_repeatable":false}"#, "over"),
            (D::Do, A::Change, 400, "{}", "over"),
            (D::Ask, A::Change, 200, failed, "over"),
            (D::Undo, A::Remove, 200, "{}", "done"),
            (D::Undo, A::Remove, 410, "{}", "done"),
            (D::Undo, A::Remove, 204, "", "try again"),
            (D::Undo, A::Remove, 500, "", "try again"),
            (D::AskUndone, A::Remove, 200, failed, "try again"),
            (D::AskUndone, A::Remove, 410, "", "done"),
        ] {
            let outcome = read(&said(status, body), doing, action, 0);
            assert_eq!(word(&outcome), expected, "{doing:?} {action:?} {status} {body}");
        }
        for (doing, action, expected) in [
            (D::Do, A::Make, "clean up"),
            (D::Ask, A::Make, "ask again"),
            (D::Do, A::Change, "try again"),
            (D::Undo, A::Remove, "try again"),
            (D::AskUndone, A::Remove, "ask again"),
        ] {
            let outcome = unheard(&silent(), doing, action);
            assert_eq!(word(&outcome), expected, "{doing:?} {action:?} without an answer");
        }
        let unreachable = ClientError::Unreachable { server: "b".into(), why: "refused".into() };
        assert_eq!(word(&unheard(&unreachable, D::Do, A::Make)), "try again");
    }
}
