//! An HTTP endpoint: `CloudEvents` in structured mode, signed by Standard Webhooks.

use bytes::Bytes;
use entitlements_outbound::HttpClient;
use hyper::{
    Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};

use super::{Job, Report, answer, secret_header, unanswered};
use crate::workflow::{connector::Webhook, delivery::Outcome};

/// Sends one event. Its id is the same for each attempt, so that the receiver knows it again.
pub(super) async fn send(http: &HttpClient, job: &Job<'_>, hook: &Webhook) -> Report {
    let (id, timestamp) = (job.event_id(), job.now_s());
    let (media_type, body) = match (job.is_templated, job.events.first()) {
        (false, Some(event)) => ("application/cloudevents+json", event.to_string()),
        _ => ("application/json", job.message.text.clone()),
    };
    let secrets = job.credentials.signing(job.now);
    let signatures: Vec<String> =
        secrets.iter().map(|secret| secret.sign(id, timestamp, body.as_bytes())).collect();
    let mut request = Request::post(&hook.url)
        .header(CONTENT_TYPE, media_type)
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signatures.join(" "));
    if let Some(authorization) = job.credentials.get("authorization") {
        request = request.header(AUTHORIZATION, secret_header(authorization));
    }
    let request = match request.body(Bytes::from(body)) {
        Ok(request) => request,
        Err(error) => return Report::refused(format!("the request cannot be made: {error}")),
    };
    let answer = match http.send(request).await {
        Ok(response) => answer(response),
        Err(error) => return unanswered(&error, true),
    };
    match answer.status {
        status if status.is_success() => Report::delivered(format!("it answered {status}")),
        StatusCode::GONE => Report {
            disables: Some("the receiver answered 410 Gone: it wants nothing more".into()),
            ..Report::refused(answer.told())
        },
        // Whatever else it says, it may say something else later.
        _ => {
            let after = answer.retry_after(timestamp);
            Report::new(Outcome::Retry { after }, answer.told())
        }
    }
}

/// Asks an endpoint whether it wants to hear from us, by the abuse protection of the `CloudEvents`
/// webhook specification.
pub(super) async fn handshake(
    http: &HttpClient,
    hook: &Webhook,
    origin: &str,
) -> Result<(), String> {
    let request = Request::builder()
        .method(Method::OPTIONS)
        .uri(&hook.url)
        .header("webhook-request-origin", origin)
        .body(Bytes::new())
        .map_err(|error| format!("the request cannot be made: {error}"))?;
    let response = http.send(request).await.map_err(|error| error.to_string())?;
    let allowed = response.headers().get("webhook-allowed-origin");
    let allowed = allowed.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_allowed = allowed.split(',').map(str::trim).any(|one| one == "*" || one == origin);
    match (response.status(), is_allowed) {
        (status, true) if status.is_success() => Ok(()),
        (status, _) => Err(format!(
            "it answered `OPTIONS` with {status} and `WebHook-Allowed-Origin: {allowed}`: it has to \
             answer 200 and `WebHook-Allowed-Origin: {origin}`, or set `handshake` to false"
        )),
    }
}
