//! A Jira that keeps issues, as far as connectors use it, with what makes the real one hard: its
//! search lags behind, it takes what it is asked and hangs up, it limits, and it knows no request
//! again. Clients of others drive it as well, to show that it is one.

use std::sync::{Arc, Mutex};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::receiver::{Asked, Receiver, Reply};

pub(crate) const EMAIL: &str = "bot@example.com";
pub(crate) const TOKEN: &str = "jira-token-hush";

/// What goes wrong with the next request that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is done, and nothing is answered.
    HangsUpAfter,
    /// It is not done, and nothing is answered.
    HangsUpBefore,
    /// Too many requests, with or without a word of how long to wait.
    Limited(Option<u64>),
    /// A server error, and nothing is done.
    Unavailable,
}

/// An issue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Issue {
    pub(crate) key: String,
    pub(crate) summary: String,
    pub(crate) description: Value,
    pub(crate) labels: Vec<String>,
    pub(crate) done: bool,
    pub(crate) resolution: Option<String>,
    pub(crate) comments: Vec<Value>,
    pub(crate) links: Vec<(String, Value)>,
    project: String,
    issue_type: String,
    /// How many searches still do not find it.
    hidden: usize,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) issues: Vec<Issue>,
    pub(crate) faults: Vec<Fault>,
    /// Whether nothing can be asked of it.
    pub(crate) is_down: bool,
    /// How many searches do not find an issue that was just made.
    pub(crate) search_lag: usize,
    /// How often it was searched.
    pub(crate) searches: usize,
}

/// The server.
pub(crate) struct Jira {
    pub(crate) receiver: Receiver,
    pub(crate) state: Arc<Mutex<State>>,
}

impl Jira {
    pub(crate) async fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let own = state.clone();
        let receiver = Receiver::start(move |asked| own.lock().unwrap().answer(asked)).await;
        Self { receiver, state }
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push(fault);
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        self.state.lock().unwrap().issues.clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }
}

fn problem(status: u16, field: &str, message: &str) -> Reply {
    Reply::json(status, &json!({ "errorMessages": [], "errors": { field: message } }))
}

impl State {
    pub(crate) fn answer(&mut self, asked: &Asked) -> Reply {
        let basic = format!("Basic {}", STANDARD.encode(format!("{EMAIL}:{TOKEN}")));
        let given = asked.header("authorization");
        if given != basic && given != format!("Bearer {TOKEN}") {
            return Reply::json(401, &json!({ "message": "Client must be authenticated" }));
        }
        if self.is_down {
            return Reply::status(503);
        }
        let changes = asked.method != "GET" && !asked.path.contains("/search");
        let fault = if changes { self.faults.first().copied() } else { None };
        if fault.is_some() {
            self.faults.remove(0);
        }
        match fault {
            Some(Fault::HangsUpBefore) => return Reply::hang_up(),
            Some(Fault::Unavailable) => return Reply::status(503),
            Some(Fault::Limited(after)) => {
                let reply = Reply::json(429, &json!({ "errorMessages": ["Rate limit exceeded."] }));
                return match after {
                    Some(after) => reply.with("retry-after", after.to_string()),
                    None => reply,
                };
            }
            _ => {}
        }
        let reply = self.route(asked);
        if fault == Some(Fault::HangsUpAfter) { Reply::hang_up() } else { reply }
    }

    fn route(&mut self, asked: &Asked) -> Reply {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        // Asked for by the client from PyPI.
        match path {
            "/rest/applinks/latest/listApplicationlinks" => {
                return Reply::json(200, &json!({ "list": [] }));
            }
            "/rest/api/2/field" => {
                let field = json!({ "id": "summary", "key": "summary", "name": "Summary",
                    "custom": false, "orderable": true, "navigable": true, "searchable": true,
                    "clauseNames": ["summary"] });
                return Reply::json(200, &json!([field]));
            }
            _ => {}
        }
        let Some((version, rest)) =
            path.strip_prefix("/rest/api/").and_then(|it| it.split_once('/'))
        else {
            return Reply::status(404);
        };
        let parts: Vec<&str> = rest.split('/').collect();
        match (asked.method.as_str(), version, parts.as_slice()) {
            ("POST", _, ["issue"]) => self.create(&asked.json(), version),
            // It was taken away in the cloud.
            (_, "3", ["search"]) => Reply::status(410),
            ("GET", "3", ["search", "jql"]) | ("GET", "2", ["search"]) => {
                let jql = query.split('&').find_map(|pair| pair.strip_prefix("jql="));
                self.search(&decoded(jql.unwrap_or_default()))
            }
            ("POST", "3", ["search", "jql"]) | ("POST", "2", ["search"]) => {
                self.search(asked.json()["jql"].as_str().unwrap_or_default())
            }
            (method, _, ["issue", key, what @ ..]) => {
                let Some(place) = self.issues.iter().position(|issue| issue.key == *key) else {
                    return problem(404, "issue", "Issue does not exist");
                };
                self.about(place, method, what, &asked.json(), version)
            }
            _ => Reply::status(404),
        }
    }

    fn create(&mut self, body: &Value, version: &str) -> Reply {
        let fields = &body["fields"];
        let summary = fields["summary"].as_str().unwrap_or_default();
        if summary.is_empty() || summary.chars().count() > 255 || summary.contains(['\n', '\r']) {
            return problem(
                400,
                "summary",
                "The summary must be one line of up to 255 characters.",
            );
        }
        if fields["project"]["key"] != "ENT" {
            return problem(400, "project", "valid project is required");
        }
        if let Err(message) = text_of(&fields["description"], version) {
            return problem(400, "description", message);
        }
        let number = self.issues.len() + 1;
        let labels = fields["labels"].as_array().into_iter().flatten();
        let labels: Vec<String> = labels.filter_map(|it| it.as_str().map(Into::into)).collect();
        if labels.iter().any(|label| label.contains(' ')) {
            return problem(400, "labels", "The label can't contain spaces.");
        }
        let key = format!("ENT-{number}");
        self.issues.push(Issue {
            key: key.clone(),
            summary: summary.into(),
            description: fields["description"].clone(),
            labels,
            project: "ENT".into(),
            issue_type: fields["issuetype"]["name"].as_str().unwrap_or_default().into(),
            hidden: self.search_lag,
            ..Issue::default()
        });
        let id = (10_000 + number).to_string();
        Reply::json(
            201,
            &json!({ "id": id, "key": key, "self": format!("/rest/api/{version}/issue/{id}") }),
        )
    }

    fn search(&mut self, jql: &str) -> Reply {
        self.searches += 1;
        let quoted = |name: &str| {
            let (_, rest) = jql.split_once(&format!("{name} = \""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let (project, label) = (quoted("project"), quoted("labels"));
        let mut found = Vec::new();
        for (place, issue) in self.issues.iter_mut().enumerate() {
            if issue.hidden > 0 {
                issue.hidden -= 1;
                continue;
            }
            let fits = project.as_ref().is_none_or(|project| *project == issue.project)
                && label.as_ref().is_none_or(|label| issue.labels.contains(label));
            if fits {
                found.push(shown(place, issue));
            }
        }
        let total = found.len();
        Reply::json(
            200,
            &json!({ "issues": found, "total": total, "startAt": 0,
            "maxResults": 50, "isLast": true }),
        )
    }

    fn about(
        &mut self,
        place: usize,
        method: &str,
        what: &[&str],
        body: &Value,
        version: &str,
    ) -> Reply {
        let issue = &mut self.issues[place];
        match (method, what) {
            ("GET", []) => Reply::json(200, &shown(place, issue)),
            ("POST", ["comment"]) => {
                if let Err(message) = text_of(&body["body"], version) {
                    return problem(400, "comment", message);
                }
                let id = (issue.comments.len() + 1).to_string();
                let comment = json!({ "id": id, "body": body["body"] });
                issue.comments.push(comment.clone());
                Reply::json(201, &comment)
            }
            ("GET", ["comment"]) => {
                let total = issue.comments.len();
                Reply::json(200, &json!({ "comments": issue.comments, "total": total }))
            }
            ("GET", ["transitions"]) => {
                let transition = |id: &str, name: &str, category: &str| {
                    json!({ "id": id, "name": name,
                        "to": { "name": name, "statusCategory": { "key": category } } })
                };
                let known = [
                    transition("11", "To Do", "new"),
                    transition("21", "In Progress", "indeterminate"),
                    transition("31", "Done", "done"),
                ];
                Reply::json(200, &json!({ "transitions": known }))
            }
            ("POST", ["transitions"]) => {
                // A number from one client, a text from the other.
                match body["transition"]["id"].to_string().trim_matches('"') {
                    "31" => (issue.done, issue.resolution) = (true, Some("Done".into())),
                    "11" | "21" => (issue.done, issue.resolution) = (false, None),
                    _ => return problem(400, "transition", "It is not valid for this issue."),
                }
                Reply::status(204)
            }
            ("POST", ["remotelink"]) => {
                let id = body["globalId"].as_str().unwrap_or_default().to_owned();
                let known = issue.links.iter().position(|(known, _)| *known == id);
                let (number, status) = match known {
                    Some(place) => {
                        issue.links[place].1 = body["object"].clone();
                        (place, 200)
                    }
                    None => {
                        issue.links.push((id, body["object"].clone()));
                        (issue.links.len() - 1, 201)
                    }
                };
                Reply::json(status, &json!({ "id": number + 1, "self": "" }))
            }
            ("GET", ["remotelink"]) => {
                let link = |(number, (id, object)): (usize, &(String, Value))| json!({ "id": number + 1, "globalId": id, "object": object });
                let links: Vec<Value> = issue.links.iter().enumerate().map(link).collect();
                Reply::json(200, &json!(links))
            }
            _ => Reply::status(405),
        }
    }
}

fn shown(place: usize, issue: &Issue) -> Value {
    let category = if issue.done { "done" } else { "new" };
    let resolution = issue.resolution.as_ref().map(|name| json!({ "name": name }));
    json!({
        "id": (10_001 + place).to_string(),
        "key": issue.key,
        "fields": {
            "summary": issue.summary,
            "description": issue.description,
            "labels": issue.labels,
            "issuetype": { "name": issue.issue_type },
            "project": { "key": issue.project },
            "resolution": resolution,
            "status": { "name": category, "statusCategory": { "key": category } },
        },
    })
}

/// Version 2 takes text, version 3 a document without an empty text in it.
fn text_of(value: &Value, version: &str) -> Result<(), &'static str> {
    if version == "2" {
        return value.as_str().map(drop).ok_or("Operation value must be a string");
    }
    let is_document = value["type"] == "doc" && value["version"] == 1;
    if !is_document || has_empty_text(value) {
        return Err("Operation value must be an Atlassian Document");
    }
    Ok(())
}

fn has_empty_text(node: &Value) -> bool {
    (node["type"] == "text" && node["text"].as_str().is_none_or(str::is_empty))
        || node["content"].as_array().is_some_and(|inner| inner.iter().any(has_empty_text))
}

/// What a query says.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&hex, 16).unwrap_or(b'?')
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
