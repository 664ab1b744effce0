//! Slack: by an incoming webhook, or by its API with threads and messages that are replaced.
//!
//! Slack answers 200 whatever happens; what counts is `ok` in the body. It knows no message again, so
//! each carries the id of its delivery, and where it is in doubt the channel is read back.

use entitlements_core::Timestamp;
use entitlements_outbound::HttpClient;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Api, Job, Report, escaped};
use crate::workflow::{
    connector::{Follow, Medium, Slack},
    delivery::Outcome,
    notice::Phase,
    task::{External, Task, TaskState},
    template::{cut, escaped as safe},
};

/// The most characters of a header.
const HEADER_CHARS_MAX: usize = 150;
/// The most bytes of a section. Slack counts characters, which are never more.
const SECTION_BYTES_MAX: usize = 3_000;
/// The most sections. All of it together must stay well below what a message may hold.
const SECTIONS_MAX: usize = 4;
/// The most event ids that are named.
const IDS_MAX: usize = 10;

/// Posts a message, or says it where the subject was told of first.
pub(super) async fn send(http: &HttpClient, job: &Job<'_>, slack: &Slack) -> Report {
    let body = message(job);
    if let Some(url) = job.credentials.get("webhook_url") {
        return by_webhook(http, job, url, &body).await;
    }
    let client = client(http, job, slack);
    client.post(job, body).await.unwrap_or_else(|report| report)
}

/// Looks for a message that may have been posted.
pub(super) async fn look(http: &HttpClient, job: &Job<'_>, slack: &Slack) -> Report {
    client(http, job, slack).find(job).await.unwrap_or_else(|report| report)
}

/// The text for notifications, and the blocks that are shown.
fn message(job: &Job<'_>) -> Value {
    let title: String = job.message.title.chars().take(HEADER_CHARS_MAX).collect();
    let mut blocks = vec![json!({
        "type": "header",
        "text": { "type": "plain_text", "text": title, "emoji": false },
    })];
    for text in sections(&job.message.text) {
        blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } }));
    }
    let ids: Vec<&str> =
        job.events.iter().filter_map(|event| event["id"].as_str()).take(IDS_MAX).collect();
    let about = format!(
        "{} · {} · {}",
        job.severity.code(),
        safe(job.subject, Medium::Slack),
        ids.join(", ")
    );
    blocks.push(json!({
        "type": "context",
        "elements": [{ "type": "mrkdwn", "text": cut(&about, SECTION_BYTES_MAX) }],
    }));
    json!({ "text": safe(&job.message.title, Medium::Slack), "blocks": blocks })
}

/// The text in pieces that fit, cut between lines where that can be.
fn sections(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for line in text.trim().lines() {
        let line = cut(line, SECTION_BYTES_MAX);
        match pieces.last_mut() {
            Some(piece) if piece.len() + 1 + line.len() <= SECTION_BYTES_MAX => {
                piece.push('\n');
                piece.push_str(&line);
            }
            _ => pieces.push(line),
        }
    }
    pieces.retain(|piece| !piece.trim().is_empty());
    if pieces.len() > SECTIONS_MAX {
        pieces.truncate(SECTIONS_MAX);
        pieces.push("…".into());
    }
    pieces
}

async fn by_webhook(http: &HttpClient, job: &Job<'_>, url: &str, body: &Value) -> Report {
    // The address is the secret: it is in no message about what went wrong.
    let api = Api { http, base: url, authorization: None, now_s: job.now_s() };
    let answer = match api.exchange(Method::POST, "", Some(body), true).await {
        Ok(answer) => answer,
        Err(report) => return report,
    };
    match answer.status {
        status if status.is_success() => Report::delivered(answer.told()),
        StatusCode::TOO_MANY_REQUESTS => answer.failure(true, job.now_s()),
        status if status.is_server_error() => answer.failure(true, job.now_s()),
        // The channel is archived, or the webhook was taken away.
        StatusCode::GONE | StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => {
            Report::retry(answer.told())
        }
        _ => Report::refused(answer.told()),
    }
}

struct Client<'c> {
    api: Api<'c>,
    slack: &'c Slack,
    channel: &'c str,
}

fn client<'c>(http: &'c HttpClient, job: &Job<'_>, slack: &'c Slack) -> Client<'c> {
    let token = job.credentials.get("token").unwrap_or_default();
    let authorization = Some(format!("Bearer {token}"));
    let api = Api { http, base: &slack.api_url, authorization, now_s: job.now_s() };
    Client { api, slack, channel: slack.channel.as_deref().unwrap_or_default() }
}

impl Client<'_> {
    /// The first message about the subject, where there is one to go on from.
    fn first<'t>(&self, job: &Job<'t>) -> Option<&'t Task> {
        let goes_on =
            |task: &&Task| task.state == TaskState::Open && task.opened_by != job.delivery;
        job.task.filter(goes_on).filter(|_| self.slack.follow != Follow::New)
    }

    async fn post(&self, job: &Job<'_>, mut body: Value) -> Result<Report, Report> {
        let first = self.first(job);
        let path = match (self.slack.follow, first) {
            (Follow::Update, Some(task)) => {
                body["ts"] = task.external.id.as_str().into();
                "/chat.update"
            }
            (Follow::Thread, Some(task)) => {
                body["thread_ts"] = task.external.id.as_str().into();
                "/chat.postMessage"
            }
            _ => "/chat.postMessage",
        };
        body["channel"] = self.channel.into();
        body["metadata"] = json!({
            "event_type": "entitlements_delivery",
            "event_payload": { "delivery": job.delivery },
        });
        // Replacing a message twice is the same as once.
        let makes = path != "/chat.update";
        let answer = self.api.ask(Method::POST, path, Some(&body), makes).await?;
        let said = read(&answer, makes)?;
        let posted = said["ts"].as_str().unwrap_or_default();
        Ok(self.posted(job, posted))
    }

    fn posted(&self, job: &Job<'_>, ts: &str) -> Report {
        let report = Report::delivered(format!("posted {ts}"));
        let state = match job.phase {
            Phase::Closes => TaskState::Closed,
            Phase::Opens | Phase::Updates => TaskState::Open,
        };
        let task = match self.first(job) {
            Some(first) => job.changed(first, state),
            None => {
                let external = External { id: ts.into(), handle: None, url: None };
                let opened = job.opened(external, false);
                job.changed(&opened, state)
            }
        };
        report.with(task)
    }

    async fn find(&self, job: &Job<'_>) -> Result<Report, Report> {
        let since = seconds(job.created_at);
        let common =
            format!("channel={}&limit=100&include_all_metadata=true", escaped(self.channel));
        let path = match (self.slack.follow, self.first(job)) {
            (Follow::Thread, Some(task)) => {
                format!("/conversations.replies?{common}&ts={}", escaped(&task.external.id))
            }
            _ => format!("/conversations.history?{common}&oldest={since}"),
        };
        let answer = self.api.ask(Method::GET, &path, None, false).await?;
        let said = answer.json();
        if said["ok"] != true {
            // Without the right to read there is nothing to be found out: the id in the message tells
            // people that it is the same one.
            return match said["error"].as_str() {
                Some("missing_scope") => {
                    Ok(Report::new(Outcome::Missing, "the token may not read"))
                }
                _ => {
                    Err(read(&answer, false).err().unwrap_or_else(|| Report::retry(answer.told())))
                }
            };
        }
        let ours =
            |message: &&Value| message["metadata"]["event_payload"]["delivery"] == job.delivery;
        let messages = said["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        match messages.iter().find(ours).and_then(|message| message["ts"].as_str()) {
            Some(ts) => Ok(self.posted(job, ts)),
            None => Ok(Report::new(Outcome::Missing, "it is not in the channel")),
        }
    }
}

/// What Slack says, where it is a yes.
fn read(answer: &Answer, makes: bool) -> Result<Value, Report> {
    let said = answer.json();
    if said["ok"] == true {
        return Ok(said);
    }
    let error = said["error"].as_str().unwrap_or("no reason").to_owned();
    let detail = format!("Slack says `{error}`");
    let outcome = match error.as_str() {
        "invalid_blocks"
        | "msg_too_long"
        | "msg_blocks_too_long"
        | "no_text"
        | "invalid_arguments"
        | "message_not_found"
        | "cant_update_message" => Outcome::Refused,
        "fatal_error" if makes => Outcome::Ambiguous,
        // The channel or the token can be put right.
        _ => Outcome::Retry { after: None },
    };
    Err(Report::new(outcome, detail))
}

/// An instant as Slack writes it.
fn seconds(at: Timestamp) -> String {
    let micros = at.as_micros();
    format!("{}.{:06}", micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_into_sections_that_fit() {
        assert_eq!(sections("a\n\nb"), ["a\n\nb"]);
        assert_eq!(sections("\n \n"), Vec::<String>::new());
        let long = format!("{}\n{}", "x".repeat(2_000), "y".repeat(2_000));
        assert_eq!(sections(&long).iter().map(String::len).collect::<Vec<_>>(), [2_000, 2_000]);
        let longer = sections(&"é".repeat(20_000));
        assert!(longer.iter().all(|piece| piece.len() <= SECTION_BYTES_MAX));
        let lines =
            sections(&"z".repeat(2_500).lines().cycle().take(9).collect::<Vec<_>>().join("\n"));
        assert_eq!((lines.len(), lines.last().unwrap().as_str()), (5, "…"));
    }
}
