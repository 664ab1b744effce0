//! What is asked of others about a step of a request: of a webhook's receiver, or of a broker.

use std::time::Duration;

use bytes::Bytes;
use entitlements_core::Timestamp;
use entitlements_outbound::HttpClient;
use hyper::{
    Method, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION},
};
use serde_json::{Value, json};

use super::{Answer, Clients, answer, broker, redacted, secret_header};
use crate::workflow::{
    connector::{Connector, ConnectorKind, Credentials, Webhook},
    provisioning::{AT_IT, Action, Doing, Outcome, StepKind, StepRun},
};

/// How long one question may take. It is less than a claim holds.
const ERRAND_TIME_MAX: Duration = Duration::from_secs(60);

/// What is asked of others about a step.
#[derive(Debug, Clone)]
pub(crate) struct Errand {
    /// The request that it is for.
    pub(crate) request: String,
    /// The key of the step.
    pub(crate) step: String,
    pub(crate) kind: StepKind,
    pub(crate) run: StepRun,
    pub(crate) doing: Doing,
    pub(crate) action: Action,
    pub(crate) tenant: String,
    pub(crate) tenant_name: Option<String>,
    pub(crate) listing: String,
    pub(crate) quantity: u32,
    pub(crate) parameters: Value,
    pub(crate) start_at: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    /// Who asked for it.
    pub(crate) requester: String,
    /// Where this control plane is reached, where it knows.
    pub(crate) public_url: Option<String>,
    /// The key of the connector.
    pub(crate) connector: String,
    pub(crate) environment: String,
    pub(crate) now: Timestamp,
}

impl Errand {
    /// What the receiver knows the question by: the same however often it is asked.
    pub(crate) fn id(&self) -> String {
        let Self { request, step, run, action, .. } = self;
        format!("{request}.{step}.{}.{}", run.generation, action.code())
    }

    /// What others know the thing by.
    pub(super) fn instance(&self) -> &str {
        self.run.instance.as_deref().unwrap_or_default()
    }

    fn now_s(&self) -> i64 {
        self.now.as_micros().div_euclid(1_000_000)
    }
}

/// Asks, and says what came of it. What is said holds nothing that is secret.
pub(crate) async fn carry_out(
    clients: &Clients,
    connector: &Connector,
    credentials: &Credentials,
    errand: &Errand,
) -> Outcome {
    let work = async {
        match &connector.kind {
            ConnectorKind::Webhook(hook) => tell(&clients.http, hook, credentials, errand).await,
            ConnectorKind::Broker(broker) => {
                broker::ask(&clients.http, broker, credentials, errand).await
            }
            _ => Outcome::Refused(format!(
                "connector `{}` is neither a webhook nor a broker",
                errand.connector
            )),
        }
    };
    let outcome = match tokio::time::timeout(ERRAND_TIME_MAX, work).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Doubt {
            why: format!("it took longer than {} s", ERRAND_TIME_MAX.as_secs()),
            after: None,
        },
    };
    outcome.in_words(|text| redacted(&text, credentials))
}

/// Tells a webhook's receiver to do something, or asks where it said how far it is.
async fn tell(
    http: &HttpClient,
    hook: &Webhook,
    credentials: &Credentials,
    errand: &Errand,
) -> Outcome {
    let asks = errand.doing.is_question();
    let (method, uri, body) = match (&errand.run.ask_at, asks) {
        (Some(place), true) => (Method::GET, place.clone(), Bytes::new()),
        // It said that it will tell us.
        (None, true) => {
            let why = "it has not said yet that it is done".into();
            return Outcome::NotYet { why, after: Some(TELLS_US) };
        }
        (_, false) => (Method::POST, hook.url.clone(), Bytes::from(envelope(errand).to_string())),
    };
    let (id, timestamp) = (errand.id(), errand.now_s());
    let secrets = credentials.signing(errand.now);
    let signatures: Vec<String> =
        secrets.iter().map(|secret| secret.sign(&id, timestamp, &body)).collect();
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header(ACCEPT, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signatures.join(" "));
    if !asks {
        request = request.header(CONTENT_TYPE, "application/cloudevents+json");
    }
    if let Some(authorization) = credentials.get("authorization") {
        request = request.header(AUTHORIZATION, secret_header(authorization));
    }
    let request = match request.body(body) {
        Ok(request) => request,
        Err(error) => return Outcome::Refused(format!("the request cannot be made: {error}")),
    };
    match http.send(request).await {
        Ok(response) if asks => progress(&answer(response), errand),
        Ok(response) => heard(&answer(response), hook, errand),
        Err(error) if asks => Outcome::NotYet { why: error.to_string(), after: None },
        Err(error) if error.is_ambiguous() => {
            Outcome::Doubt { why: error.to_string(), after: None }
        }
        Err(error) => Outcome::Retry { why: error.to_string(), after: None },
    }
}

/// How long to wait before looking whether it took too long, where the receiver tells us.
const TELLS_US: Duration = Duration::from_secs(600);

/// What the receiver is told.
fn envelope(errand: &Errand) -> Value {
    let callback = errand
        .public_url
        .as_ref()
        .map(|url| format!("{url}/v1/inbound/steps/{}", errand.connector));
    let mut data = json!({
        "id": errand.id(),
        "action": errand.action.code(),
        "request": errand.request,
        "step": errand.step,
        "instance": errand.instance(),
        "tenant": errand.tenant,
        "tenant_name": errand.tenant_name,
        "listing": errand.listing,
        "quantity": errand.quantity,
        "parameters": errand.parameters,
        "start_at": errand.start_at,
        "until": errand.until,
        "requester": errand.requester,
        "callback": callback,
    });
    if let Some(fields) = data.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    json!({
        "specversion": "1.0",
        "id": errand.id(),
        "type": "entitlements.step",
        "source": format!("/entitlements/{}", errand.environment),
        "subject": format!("request/{}", errand.request),
        "time": errand.now,
        "datacontenttype": "application/json",
        "data": data,
    })
}

/// What the receiver said when it was told to do something.
fn heard(answer: &Answer, hook: &Webhook, errand: &Errand) -> Outcome {
    let after = answer.retry_after(errand.now_s());
    let removes = errand.action == Action::Remove;
    match answer.status {
        StatusCode::ACCEPTED => {
            let place = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            match place.map(|place| same_origin(&hook.url, place)) {
                Some(None) => Outcome::Doubt {
                    why: "it answered 202 with a `Location` of another host: name one of its own"
                        .into(),
                    after,
                },
                place => Outcome::Accepted {
                    operation: None,
                    after: after.or(place.is_none().then_some(TELLS_US)),
                    ask_at: place.flatten(),
                },
            }
        }
        status if status.is_success() => Outcome::Done(format!("it answered {status}")),
        // What is not there is gone.
        StatusCode::NOT_FOUND | StatusCode::GONE if removes => {
            Outcome::Done(format!("it answered {}: there is nothing of it", answer.status))
        }
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_EARLY
        | StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN => Outcome::Retry { why: answer.told(), after },
        status if status.is_client_error() => Outcome::Refused(answer.told()),
        _ => Outcome::Doubt { why: answer.told(), after },
    }
}

/// What the receiver said of how far it is: `{"state": "in progress", "succeeded" or "failed"}`.
fn progress(answer: &Answer, errand: &Errand) -> Outcome {
    let after = answer.retry_after(errand.now_s());
    let said = answer.json();
    let description = said["description"].as_str().unwrap_or_default();
    match (answer.status, said["state"].as_str()) {
        (status, Some(state)) if status.is_success() => match state_of(state, description) {
            Some(outcome) => outcome,
            None => Outcome::NotYet { why: words(description), after },
        },
        _ => Outcome::NotYet { why: answer.told(), after },
    }
}

/// What a state means that ends it.
pub(crate) fn state_of(state: &str, description: &str) -> Option<Outcome> {
    match state {
        "succeeded" => Some(Outcome::Done(match description.is_empty() {
            true => "it succeeded".into(),
            false => description.into(),
        })),
        "failed" => Some(Outcome::Orphan {
            why: match description.is_empty() {
                true => "it failed".into(),
                false => format!("it failed: {description}"),
            },
            retries: false,
        }),
        _ => None,
    }
}

fn words(description: &str) -> String {
    if description.is_empty() { AT_IT.into() } else { description.into() }
}

/// An address beside another one, where it is on the same host.
fn same_origin(base: &str, place: &str) -> Option<String> {
    let base = url::Url::parse(base).ok()?;
    let found = base.join(place).ok()?;
    (found.origin() == base.origin()).then(|| found.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_ask_is_on_the_same_host() {
        let base = "https://example.com/hooks/steps";
        for (place, expected) in [
            ("/jobs/7", Some("https://example.com/jobs/7")),
            ("jobs/7?x=1", Some("https://example.com/hooks/jobs/7?x=1")),
            ("https://example.com/jobs/7", Some("https://example.com/jobs/7")),
            ("https://example.com:444/jobs/7", None),
            ("http://example.com/jobs/7", None),
            ("//evil.example/jobs/7", None),
        ] {
            assert_eq!(same_origin(base, place).as_deref(), expected, "{place}");
        }
    }
}
