//! Jira, in the cloud and in one's own data centre: one issue for each subject.
//!
//! Jira knows no request again, so each issue gets a label of its own. Where it is in doubt whether an
//! issue was made, that label is searched for, and as the search lags behind, more than once.

use entitlements_outbound::HttpClient;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Api, Job, Report, adf, basic, escaped};
use crate::workflow::{
    connector::{Credentials, Jira, JiraFlavor},
    delivery::Outcome,
    task::{Action, External, Task, TaskState, action},
    template::cut,
};

/// The longest summary, in characters.
const SUMMARY_CHARS_MAX: usize = 255;
/// The longest description, in characters.
const TEXT_CHARS_MAX: usize = 32_767;
const DAY_S: u64 = 86_400;

/// One Jira, as its flavor has it.
struct Client<'c> {
    api: Api<'c>,
    jira: &'c Jira,
}

fn client<'c>(
    http: &'c HttpClient,
    jira: &'c Jira,
    credentials: &Credentials,
    now_s: i64,
) -> Client<'c> {
    let token = credentials.get("token").unwrap_or_default();
    let authorization = match jira.flavor {
        JiraFlavor::Cloud => basic(credentials.get("email").unwrap_or_default(), token),
        JiraFlavor::DataCenter => format!("Bearer {token}"),
    };
    let api = Api { http, base: &jira.url, authorization: Some(authorization), now_s };
    Client { api, jira }
}

/// Makes an issue, or says more in the one that there is.
pub(super) async fn send(http: &HttpClient, job: &Job<'_>, jira: &Jira) -> Report {
    let client = client(http, jira, job.credentials, job.now_s());
    let reopens = std::time::Duration::from_secs(u64::from(jira.reopen_days) * DAY_S);
    let todo = action(job.task, job.phase, job.delivery, reopens, job.now);
    let done = match (todo, job.task) {
        (Action::Nothing, _) => Ok(Report::delivered("there is no open issue for it")),
        (Action::Finish, Some(task)) => client.link(job, task).await,
        (Action::Comment, Some(task)) => client.comment_on(job, task).await,
        (Action::Close, Some(task)) => client.close(job, task).await,
        (Action::Reopen, Some(task)) => client.reopen(job, task).await,
        _ => client.open(job).await,
    };
    done.unwrap_or_else(|report| report)
}

/// Looks for what may have been made.
pub(super) async fn look(http: &HttpClient, job: &Job<'_>, jira: &Jira) -> Report {
    let client = client(http, jira, job.credentials, job.now_s());
    let looked = match job.task.filter(|task| task.state == TaskState::Open) {
        // It was to be said in an issue that there was already.
        Some(task) if task.opened_by != job.delivery => client.look_for_comment(job, task).await,
        _ => client.look_for_issue(job).await,
    };
    looked.unwrap_or_else(|report| report)
}

/// Whether an issue is done.
pub(super) async fn is_done(
    http: &HttpClient,
    jira: &Jira,
    credentials: &Credentials,
    key: &str,
) -> Result<bool, String> {
    let client = client(http, jira, credentials, 0);
    client.status(key).await.map(|(is_done, _)| is_done).map_err(|report| report.detail)
}

/// The key of the issue that a message of Jira's is about.
pub(crate) fn reports_done(body: &Value) -> Option<&str> {
    body["issue"]["key"].as_str()
}

impl Client<'_> {
    fn path(&self, rest: &str) -> String {
        let version = match self.jira.flavor {
            JiraFlavor::Cloud => 3,
            JiraFlavor::DataCenter => 2,
        };
        format!("/rest/api/{version}{rest}")
    }

    /// A text as this flavor takes it.
    fn text(&self, text: &str) -> Value {
        let text = characters(text, TEXT_CHARS_MAX);
        match self.jira.flavor {
            JiraFlavor::Cloud => adf::document(&text),
            JiraFlavor::DataCenter => text.into(),
        }
    }

    async fn open(&self, job: &Job<'_>) -> Result<Report, Report> {
        let mut labels: Vec<&str> = self.jira.labels.iter().map(String::as_str).collect();
        let marker = job.marker();
        labels.push(&marker);
        let mut text = job.message.text.clone();
        if let Some(url) = job.task_url(job.task_id) {
            text.push_str(&format!("\n\nFollow-up: {url}"));
        }
        let body = json!({
            "fields": {
                "project": { "key": self.jira.project },
                "issuetype": { "name": self.jira.issue_type },
                "summary": characters(&job.message.title, SUMMARY_CHARS_MAX),
                "labels": labels,
                "description": self.text(&text),
            },
        });
        let answer = self.api.ask(Method::POST, &self.path("/issue"), Some(&body), true).await?;
        let Some(key) = answer.json()["key"].as_str().map(str::to_owned) else {
            return Err(Report::new(Outcome::Ambiguous, answer.told()));
        };
        Ok(self.opened(job, &key).await)
    }

    /// The report of an issue that was made, or found. From here on it is not made again.
    async fn opened(&self, job: &Job<'_>, key: &str) -> Report {
        let url = format!("{}/browse/{key}", self.jira.url.trim_end_matches('/'));
        let task = job.opened(External { id: key.into(), handle: None, url: Some(url) }, true);
        let linked = self.link(job, &task).await;
        linked.unwrap_or_else(|report| report).with(task)
    }

    /// Ties the issue to the follow-up. Doing it again changes nothing.
    async fn link(&self, job: &Job<'_>, task: &Task) -> Result<Report, Report> {
        let key = &task.external.id;
        let Some(url) = job.task_url(&task.id) else {
            return Ok(Report::delivered(format!("made {key}")));
        };
        let body = json!({
            "globalId": format!("entitlements-task={}", task.id),
            "object": { "url": url, "title": format!("Entitlements: {}", job.subject) },
        });
        let path = self.path(&format!("/issue/{}/remotelink", escaped(key)));
        match self.api.ask(Method::POST, &path, Some(&body), false).await {
            Ok(_) => Ok(Report::delivered(format!("made {key}"))),
            // The issue itself holds the address as well.
            Err(Report { outcome: Outcome::Refused, detail, .. }) => {
                Ok(Report::delivered(format!("made {key}, without a link: {detail}")))
            }
            Err(report) => Err(report),
        }
    }

    async fn comment_on(&self, job: &Job<'_>, task: &Task) -> Result<Report, Report> {
        match self.comment(job, task).await {
            Ok(()) => {
                let detail = format!("said in {}", task.external.id);
                Ok(Report::delivered(detail).with(job.changed(task, TaskState::Open)))
            }
            Err(report) => self.or_anew(job, report).await,
        }
    }

    async fn close(&self, job: &Job<'_>, task: &Task) -> Result<Report, Report> {
        let key = &task.external.id;
        let closed = job.changed(task, TaskState::Closed);
        match self.comment(job, task).await {
            Ok(()) => {}
            Err(Gone::Gone) => {
                return Ok(Report::delivered(format!("{key} is gone")).with(closed));
            }
            Err(Gone::Other(report)) => return Err(*report),
        }
        let (is_done, _) = self.status(key).await?;
        if !is_done {
            self.transition(key, true, self.jira.done_transition.as_deref()).await?;
        }
        Ok(Report::delivered(format!("closed {key}")).with(closed))
    }

    async fn reopen(&self, job: &Job<'_>, task: &Task) -> Result<Report, Report> {
        let key = &task.external.id;
        let (is_done, resolution) = match self.status(key).await {
            Err(Report { outcome: Outcome::Refused, .. }) => return self.open(job).await,
            found => found?,
        };
        if resolution.is_some() && resolution == self.jira.final_resolution {
            let detail = format!("{key} is closed for good");
            return Ok(Report::delivered(detail));
        }
        if is_done {
            self.transition(key, false, self.jira.reopen_transition.as_deref()).await?;
        }
        match self.comment(job, task).await {
            Ok(()) => {
                let detail = format!("opened {key} again");
                Ok(Report::delivered(detail).with(job.changed(task, TaskState::Open)))
            }
            Err(report) => self.or_anew(job, report).await,
        }
    }

    /// Makes another issue where the one that there was is gone.
    async fn or_anew(&self, job: &Job<'_>, gone: Gone) -> Result<Report, Report> {
        match gone {
            Gone::Gone => self.open(job).await,
            Gone::Other(report) => Err(*report),
        }
    }

    /// Says it in an issue, once.
    async fn comment(&self, job: &Job<'_>, task: &Task) -> Result<(), Gone> {
        if job.is_repeat && self.has_comment(job, task).await? {
            return Ok(());
        }
        let text = format!("{}\n\n{}\n\n{}", job.plain_title(), job.message.text, job.marker());
        let body = json!({ "body": self.text(&text) });
        let path = self.path(&format!("/issue/{}/comment", escaped(&task.external.id)));
        let answer = self.api.exchange(Method::POST, &path, Some(&body), true).await?;
        self.read(&answer, true)
    }

    async fn has_comment(&self, job: &Job<'_>, task: &Task) -> Result<bool, Gone> {
        let key = escaped(&task.external.id);
        let path = self.path(&format!("/issue/{key}/comment?orderBy=-created&maxResults=50"));
        let answer = self.api.exchange(Method::GET, &path, None, false).await?;
        self.read(&answer, false)?;
        let comments = answer.json()["comments"].to_string();
        Ok(comments.contains(&job.marker()))
    }

    fn read(&self, answer: &Answer, makes: bool) -> Result<(), Gone> {
        match answer.status {
            StatusCode::NOT_FOUND => Err(Gone::Gone),
            status if status.is_success() => Ok(()),
            _ => Err(answer.failure(makes, self.api.now_s).into()),
        }
    }

    /// Whether an issue is done, and with which resolution.
    async fn status(&self, key: &str) -> Result<(bool, Option<String>), Report> {
        let path = self.path(&format!("/issue/{}?fields=status,resolution", escaped(key)));
        let fields = &self.api.ask(Method::GET, &path, None, false).await?.json()["fields"];
        let is_done = fields["status"]["statusCategory"]["key"] == "done";
        Ok((is_done, fields["resolution"]["name"].as_str().map(Into::into)))
    }

    /// Moves an issue to a status that is done, or to one that is not.
    async fn transition(&self, key: &str, done: bool, named: Option<&str>) -> Result<(), Report> {
        let path = self.path(&format!("/issue/{}/transitions", escaped(key)));
        let known = self.api.ask(Method::GET, &path, None, false).await?.json();
        let known = known["transitions"].as_array().cloned().unwrap_or_default();
        let fits = |transition: &&Value| match named {
            Some(named) => transition["name"] == named,
            None => (transition["to"]["statusCategory"]["key"] == "done") == done,
        };
        let Some(id) = known.iter().find(fits).map(|transition| transition["id"].clone()) else {
            let names: Vec<&str> = known.iter().filter_map(|it| it["name"].as_str()).collect();
            return Err(Report::refused(format!(
                "{key} has no transition that fits, it has: {}",
                names.join(", ")
            )));
        };
        let body = json!({ "transition": { "id": id } });
        self.api.ask(Method::POST, &path, Some(&body), false).await.map(drop)
    }

    async fn look_for_comment(&self, job: &Job<'_>, task: &Task) -> Result<Report, Report> {
        match self.has_comment(job, task).await {
            // What is left of it is done by trying it again: it is not said twice.
            Ok(_) | Err(Gone::Gone) => Ok(Report::new(Outcome::Missing, "looked for the comment")),
            Err(Gone::Other(report)) => Err(*report),
        }
    }

    async fn look_for_issue(&self, job: &Job<'_>) -> Result<Report, Report> {
        let jql = format!(
            "project = \"{}\" AND labels = \"{}\" ORDER BY created ASC",
            self.jira.project,
            job.marker()
        );
        let fields = json!(["status", "labels"]);
        let answer = match self.jira.flavor {
            JiraFlavor::Cloud => {
                let body = json!({ "jql": jql, "fields": fields, "maxResults": 5 });
                let path = self.path("/search/jql");
                self.api.ask(Method::POST, &path, Some(&body), false).await?
            }
            JiraFlavor::DataCenter => {
                let body = json!({ "jql": jql, "fields": fields, "maxResults": 5 });
                self.api.ask(Method::POST, &self.path("/search"), Some(&body), false).await?
            }
        };
        let found = answer.json();
        let mut keys: Vec<(u64, String)> = found["issues"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|issue| issue["fields"]["labels"].to_string().contains(&job.marker()))
            .filter_map(|issue| {
                let id = issue["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or(u64::MAX);
                Some((id, issue["key"].as_str()?.to_owned()))
            })
            .collect();
        keys.sort();
        let Some((_, oldest)) = keys.first() else {
            return Ok(Report::new(Outcome::Missing, "it is not there yet"));
        };
        for (_, twin) in keys.iter().skip(1) {
            let body = json!({ "body": self.text(&format!("The same as {oldest}.")) });
            let path = self.path(&format!("/issue/{}/comment", escaped(twin)));
            if let Err(report) = self.api.ask(Method::POST, &path, Some(&body), false).await {
                tracing::warn!(detail = report.detail, "a twin of an issue was not marked");
            }
        }
        let report = self.opened(job, oldest).await;
        Ok(Report { detail: format!("found {oldest}; {}", report.detail), ..report })
    }
}

impl Job<'_> {
    fn plain_title(&self) -> &str {
        &self.plain.title
    }
}

/// Why something cannot be said in an issue.
enum Gone {
    /// The issue is not there any more.
    Gone,
    Other(Box<Report>),
}

impl From<Report> for Gone {
    fn from(report: Report) -> Self {
        Self::Other(Box::new(report))
    }
}

/// At most so many characters of a text.
fn characters(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.into(),
        Some((end, _)) => cut(text, end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(characters("äöü", 3), "äöü");
        let cut = characters(&"ä".repeat(300), 255);
        assert!(cut.chars().count() <= 255 && cut.ends_with('…'), "{cut}");
    }
}
