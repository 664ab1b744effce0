//! How a message gets to its destination: one file for each kind.
//!
//! Each makes requests of a message and reads what comes back into an [`Outcome`]. When to try again,
//! and when it is over, is decided elsewhere, in `workflow/delivery.rs`.

mod adf;
mod broker;
mod email;
mod jira;
mod pagerduty;
mod servicenow;
mod slack;
mod step;
mod webhook;

use std::{path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use entitlements_core::Timestamp;
use entitlements_outbound::{
    ClientConfig, ClientError, HttpClient, guard::Guard, webhook::retry_after,
};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde_json::Value;

pub(crate) use self::{
    jira::reports_done,
    step::{Errand, carry_out, state_of},
};
use crate::workflow::{
    connector::{Connector, ConnectorKind, Credentials},
    delivery::{Outcome, Stage},
    notice::{Phase, Severity},
    task::{External, Task, TaskState},
    template::{Message, cut},
};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1_024 * 1_024;
/// How much of an answer is told of, in bytes.
const TOLD_BYTES_MAX: usize = 300;
/// How long one exchange may take.
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(15);
/// How long all that a message takes may take.
pub(crate) const SEND_TIME_MAX: Duration = Duration::from_secs(60);

/// What connectors send with.
#[derive(Debug)]
pub(crate) struct Clients {
    http: HttpClient,
    guard: Guard,
    extra_ca: Option<PathBuf>,
    mail: email::Transports,
}

impl Clients {
    /// Clients that reach the open internet and what the guard allows beside it.
    ///
    /// # Errors
    /// Where the extra certificates cannot be read.
    pub(crate) fn new(guard: Guard, extra_ca: Option<PathBuf>) -> Result<Self, ClientError> {
        let http = HttpClient::new(ClientConfig {
            exchange_time_max: EXCHANGE_TIME_MAX,
            body_bytes_max: ANSWER_BYTES_MAX,
            extra_ca: extra_ca.clone(),
            guard: Some(guard.clone()),
            ..ClientConfig::default()
        })?;
        Ok(Self { http, guard, extra_ca, mail: email::Transports::default() })
    }
}

/// A message, and all that it takes to send it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'j> {
    /// The id of the delivery. It is the same for each attempt.
    pub(crate) delivery: &'j str,
    /// Whether it was tried before.
    pub(crate) is_repeat: bool,
    /// When the delivery was made.
    pub(crate) created_at: Timestamp,
    /// The key of the connector.
    pub(crate) key: &'j str,
    pub(crate) connector: &'j Connector,
    pub(crate) credentials: &'j Credentials,
    pub(crate) message: &'j Message,
    /// The message as plain text, where the medium is another.
    pub(crate) plain: &'j Message,
    /// Whether the words are those of a template of people.
    pub(crate) is_templated: bool,
    /// The envelopes of what it tells of, oldest first. There is at least one.
    pub(crate) events: &'j [Value],
    pub(crate) subject: &'j str,
    pub(crate) phase: Phase,
    pub(crate) severity: Severity,
    /// The addresses of the team.
    pub(crate) members: &'j [String],
    /// What was opened last for the subject.
    pub(crate) task: Option<&'j Task>,
    /// The id for a follow-up, where one is opened.
    pub(crate) task_id: &'j str,
    /// Where people see follow-ups.
    pub(crate) tasks_url: Option<&'j str>,
    pub(crate) now: Timestamp,
}

impl Job<'_> {
    /// What is put into what is made elsewhere, so that it is found again.
    fn marker(&self) -> String {
        format!("entl-{}", self.delivery)
    }

    /// The id of the first event.
    fn event_id(&self) -> &str {
        self.events.first().and_then(|event| event["id"].as_str()).unwrap_or(self.delivery)
    }

    fn now_s(&self) -> i64 {
        self.now.as_micros().div_euclid(1_000_000)
    }

    /// A follow-up that this message opens.
    fn opened(&self, external: External, is_shown: bool) -> Task {
        Task {
            id: self.task_id.into(),
            connector: self.key.into(),
            subject: self.subject.into(),
            state: TaskState::Open,
            opened_by: self.delivery.into(),
            external,
            opened_at: self.now,
            changed_at: self.now,
            closed_at: None,
            is_shown,
        }
    }

    /// A follow-up after this message.
    fn changed(&self, task: &Task, state: TaskState) -> Task {
        let closed_at = match (state, task.closed_at) {
            (TaskState::Open, _) => None,
            (TaskState::Closed, at) => at.or(Some(self.now)),
        };
        Task { state, closed_at, changed_at: self.now, ..task.clone() }
    }

    /// Where people see this follow-up.
    fn task_url(&self, id: &str) -> Option<String> {
        self.tasks_url.map(|base| format!("{base}/{id}"))
    }
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) outcome: Outcome,
    /// What there is to say about it. It holds nothing that is secret.
    pub(crate) detail: String,
    /// The follow-up as it is now, where it changed.
    pub(crate) task: Option<Box<Task>>,
    /// Why the connector is to be switched off, where its receiver wants nothing more.
    pub(crate) disables: Option<String>,
}

impl Report {
    fn new(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self { outcome, detail: detail.into(), task: None, disables: None }
    }

    /// That nothing was sent, and whether it may be later.
    pub(crate) fn unsent(later: bool, detail: String) -> Self {
        if later { Self::retry(detail) } else { Self::refused(detail) }
    }

    fn delivered(detail: impl Into<String>) -> Self {
        Self::new(Outcome::Delivered, detail)
    }

    fn retry(detail: impl Into<String>) -> Self {
        Self::new(Outcome::Retry { after: None }, detail)
    }

    fn refused(detail: impl Into<String>) -> Self {
        Self::new(Outcome::Refused, detail)
    }

    fn with(self, task: Task) -> Self {
        Self { task: Some(Box::new(task)), ..self }
    }
}

/// Sends a message, or looks whether it is there where that is in doubt.
pub(crate) async fn attempt(clients: &Clients, job: &Job<'_>, stage: Stage) -> Report {
    let work = async {
        match &job.connector.kind {
            ConnectorKind::Webhook(hook) => webhook::send(&clients.http, job, hook).await,
            ConnectorKind::Pagerduty(service) => pagerduty::send(&clients.http, job, service).await,
            ConnectorKind::Email(mail) => email::send(clients, job, mail).await,
            ConnectorKind::Jira(jira) if stage == Stage::Reconciling => {
                jira::look(&clients.http, job, jira).await
            }
            ConnectorKind::Jira(jira) => jira::send(&clients.http, job, jira).await,
            ConnectorKind::Servicenow(service) if stage == Stage::Reconciling => {
                servicenow::look(&clients.http, job, service).await
            }
            ConnectorKind::Servicenow(service) => {
                servicenow::send(&clients.http, job, service).await
            }
            ConnectorKind::Slack(slack) if stage == Stage::Reconciling => {
                slack::look(&clients.http, job, slack).await
            }
            ConnectorKind::Slack(slack) => slack::send(&clients.http, job, slack).await,
            // Only a test comes here: rules name no broker.
            ConnectorKind::Broker(broker) => {
                broker::look(&clients.http, broker, job.credentials).await
            }
        }
    };
    let report = match tokio::time::timeout(SEND_TIME_MAX, work).await {
        Ok(report) => report,
        Err(_) => Report::new(
            Outcome::Ambiguous,
            format!("it took longer than {} s", SEND_TIME_MAX.as_secs()),
        ),
    };
    Report { detail: redacted(&report.detail, job.credentials), ..report }
}

/// Asks a webhook's receiver whether it wants to hear from us.
///
/// # Errors
/// Why it does not, in a sentence.
pub(crate) async fn handshake(
    clients: &Clients,
    connector: &Connector,
    credentials: &Credentials,
    origin: &str,
) -> Result<(), String> {
    let ConnectorKind::Webhook(hook) = &connector.kind else {
        return Err("only webhooks are verified".into());
    };
    let asked = webhook::handshake(&clients.http, hook, origin).await;
    asked.map_err(|why| redacted(&why, credentials))
}

/// The state of an issue that a connector made.
///
/// # Errors
/// Why it cannot be told, in a sentence.
pub(crate) async fn is_done(
    clients: &Clients,
    connector: &Connector,
    credentials: &Credentials,
    external: &str,
) -> Result<bool, String> {
    let ConnectorKind::Jira(jira) = &connector.kind else {
        return Err("only Jira tells us of changes".into());
    };
    let done = jira::is_done(&clients.http, jira, credentials, external).await;
    done.map_err(|why| redacted(&why, credentials))
}

/// A text without anything that is secret, also where a receiver says back what it was sent.
fn redacted(text: &str, credentials: &Credentials) -> String {
    let get = |name| credentials.get(name).unwrap_or_default();
    let pairs = [("email", "token"), ("user", "password")]
        .map(|(user, password)| (get(user), get(password)))
        .into_iter()
        .filter(|(_, password)| !password.is_empty())
        .flat_map(|(user, password)| {
            [format!("{user}:{password}"), format!("\0{user}\0{password}")]
        })
        .map(|pair| STANDARD.encode(pair));
    let plain = credentials.0.values().filter(|secret| !secret.is_empty()).cloned();
    pairs.chain(plain).fold(text.to_owned(), |text, secret| without(&text, &secret))
}

/// What is shorter than this may be a part of other words.
const WORD_BYTES_MIN: usize = 8;

/// A text with stars for what is secret in it; for a short secret only where it stands by itself.
fn without(text: &str, secret: &str) -> String {
    let is_part = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
    let (mut safe, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once(secret) {
        let is_inside = is_part(before.chars().next_back()) || is_part(after.chars().next());
        let shows = secret.len() < WORD_BYTES_MIN && is_inside;
        safe.push_str(before);
        safe.push_str(if shows { secret } else { "***" });
        rest = after;
    }
    safe.push_str(rest);
    safe
}

/// How one gets in.
fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// An answer of an API that speaks JSON.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// For how long it asks to be left alone.
    fn retry_after(&self, now_s: i64) -> Option<Duration> {
        retry_after(self.headers.get(RETRY_AFTER)?.to_str().ok()?, now_s)
    }

    /// In a sentence: the status, and the beginning of what it says.
    fn told(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.is_empty() {
            true => format!("it answered {}", self.status),
            false => {
                format!("it answered {}: {}", self.status, cut(&words.join(" "), TOLD_BYTES_MAX))
            }
        }
    }

    /// What an answer without success means. `makes` says whether the request makes something anew
    /// each time it is done.
    fn failure(&self, makes: bool, now_s: i64) -> Report {
        let after = self.retry_after(now_s);
        let outcome = match self.status {
            StatusCode::TOO_MANY_REQUESTS => {
                Outcome::Retry { after: Some(after.unwrap_or(LIMITED_PAUSE)) }
            }
            StatusCode::SERVICE_UNAVAILABLE if after.is_some() => Outcome::Retry { after },
            status if status.is_server_error() && makes => Outcome::Ambiguous,
            status if status.is_server_error() || status.is_redirection() => {
                Outcome::Retry { after: None }
            }
            // Whoever looks after the connector can put that right.
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_EARLY => Outcome::Retry { after: None },
            _ => Outcome::Refused,
        };
        Report::new(outcome, self.told())
    }
}

/// For how long a destination is left alone that asks for it without saying how long.
const LIMITED_PAUSE: Duration = Duration::from_secs(60);

/// Speaks JSON with an API.
struct Api<'a> {
    http: &'a HttpClient,
    base: &'a str,
    authorization: Option<String>,
    now_s: i64,
}

impl Api<'_> {
    /// Asks, and gives the answer back where it is a success. `makes` says whether the request makes
    /// something anew each time it is done.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        makes: bool,
    ) -> Result<Answer, Report> {
        let answer = self.exchange(method, path, body, makes).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(answer.failure(makes, self.now_s)) }
    }

    /// Asks, and gives the answer back whatever it says.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        makes: bool,
    ) -> Result<Answer, Report> {
        let uri = format!("{}{path}", self.base.trim_end_matches('/'));
        let mut request = Request::builder().method(method).uri(uri);
        request = request.header(ACCEPT, "application/json");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, secret_header(authorization));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request
            .body(Bytes::from(body))
            .map_err(|error| Report::refused(format!("the request cannot be made: {error}")))?;
        match self.http.send(request).await {
            Ok(response) => Ok(answer(response)),
            Err(error) => Err(unanswered(&error, makes)),
        }
    }
}

fn answer(response: Response<Bytes>) -> Answer {
    let (head, body) = response.into_parts();
    Answer { status: head.status, headers: head.headers, body }
}

/// A header that no log shows.
fn secret_header(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// What it means that there is no answer.
fn unanswered(error: &ClientError, makes: bool) -> Report {
    let outcome = match error.is_ambiguous() && makes {
        true => Outcome::Ambiguous,
        false => Outcome::Retry { after: None },
    };
    Report::new(outcome, error.to_string())
}

/// A text for a query or a path.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            safe.push(char::from(byte));
        } else {
            safe.push_str(&format!("%{byte:02X}"));
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_said_again() {
        let credentials = [("user", "t"), ("password", "hush-hush-hush")];
        let credentials = credentials.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let credentials = Credentials(credentials.into());
        for (text, safe) in [
            ("it answered t", "it answered ***"),
            ("[t] hush-hush-hush, hush-hush-hushed", "[***] ***, ***ed"),
            ("Basic dDpodXNoLWh1c2gtaHVzaA==", "Basic ***"),
            ("AHQAaHVzaC1odXNoLWh1c2g=", "***"),
            ("nothing to tell", "nothing to tell"),
        ] {
            assert_eq!(redacted(text, &credentials), safe);
        }
    }

    #[test]
    fn an_answer_without_success_means_what_it_should() {
        let hour = Some(Duration::from_secs(3_600));
        for (status, header, makes, expected) in [
            (429, Some("3600"), true, Outcome::Retry { after: hour }),
            (429, None, true, Outcome::Retry { after: Some(LIMITED_PAUSE) }),
            (503, Some("3600"), true, Outcome::Retry { after: hour }),
            (503, None, true, Outcome::Ambiguous),
            (503, None, false, Outcome::Retry { after: None }),
            (500, None, true, Outcome::Ambiguous),
            (302, None, true, Outcome::Retry { after: None }),
            (401, None, true, Outcome::Retry { after: None }),
            (400, None, true, Outcome::Refused),
            (404, None, false, Outcome::Refused),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(header));
            }
            let status = StatusCode::from_u16(status).unwrap();
            let answer = Answer { status, headers, body: Bytes::from_static(b"no\n  way") };
            let report = answer.failure(makes, 0);
            assert_eq!(report.outcome, expected, "{status} {header:?} {makes}");
            assert!(report.detail.ends_with(": no way"), "{}", report.detail);
        }
    }

    #[test]
    fn what_is_secret_is_told_to_nobody() {
        let credentials = Credentials([("token".into(), "hush".into())].into());
        assert_eq!(redacted("it said hush and hush", &credentials), "it said *** and ***");
        assert_eq!(escaped("a b/ü\"="), "a%20b%2F%C3%BC%22%3D");
    }
}
