//! `ServiceNow`: one record for each subject, straight into a table or by an import set.
//!
//! A record is found again by its `correlation_id`. A query with a field that the instance does not
//! know is answered with other records, so what comes back is compared.

use std::time::Duration;

use entitlements_outbound::HttpClient;
use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{Answer, Api, Job, Report, basic, escaped};
use crate::workflow::{
    connector::{ServiceNow, ServiceNowMode},
    delivery::Outcome,
    notice::Severity,
    task::{Action, External, Task, TaskState, action},
    template::cut,
};

/// The longest short description, in bytes.
const TITLE_BYTES_MAX: usize = 160;
/// The longest description, in bytes.
const TEXT_BYTES_MAX: usize = 4_000;

struct Client<'c> {
    api: Api<'c>,
    service: &'c ServiceNow,
}

fn client<'c>(http: &'c HttpClient, job: &Job<'_>, service: &'c ServiceNow) -> Client<'c> {
    let get = |name| job.credentials.get(name).unwrap_or_default();
    let authorization = match job.credentials.get("token") {
        Some(token) => format!("Bearer {token}"),
        None => basic(get("user"), get("password")),
    };
    let authorization = Some(authorization);
    let api = Api { http, base: &service.url, authorization, now_s: job.now_s() };
    Client { api, service }
}

/// Makes a record, or says more in the one that there is.
pub(super) async fn send(http: &HttpClient, job: &Job<'_>, service: &ServiceNow) -> Report {
    let client = client(http, job, service);
    // A record that was resolved stays so: the next one is another.
    let todo = action(job.task, job.phase, job.delivery, Duration::ZERO, job.now);
    let done = match (todo, job.task) {
        (Action::Nothing, _) => Ok(Report::delivered("there is no open record for it")),
        (Action::Finish, Some(task)) => Ok(Report::delivered(format!("made {}", task.external.id))),
        (Action::Close, Some(task)) => client.change(job, task, TaskState::Closed).await,
        (Action::Comment | Action::Reopen, Some(task)) => {
            client.change(job, task, TaskState::Open).await
        }
        _ => client.open(job).await,
    };
    done.unwrap_or_else(|report| report)
}

/// Looks for a record that may have been made.
pub(super) async fn look(http: &HttpClient, job: &Job<'_>, service: &ServiceNow) -> Report {
    let client = client(http, job, service);
    client.find(job).await.unwrap_or_else(|report| report)
}

impl Client<'_> {
    async fn open(&self, job: &Job<'_>) -> Result<Report, Report> {
        let marker = job.marker();
        let mut fields = self.fields(&self.service.fields);
        let mut text = job.message.text.clone();
        if let Some(url) = job.task_url(job.task_id) {
            text.push_str(&format!("\n\nFollow-up: {url}"));
        }
        let urgency = match job.severity {
            Severity::Critical | Severity::Error => "1",
            Severity::Warning => "2",
            Severity::Info => "3",
        };
        for (name, value) in [
            ("short_description", cut(&job.message.title, TITLE_BYTES_MAX)),
            ("description", cut(&text, TEXT_BYTES_MAX)),
            ("correlation_id", marker.clone()),
            ("correlation_display", "entitlements".into()),
        ] {
            fields.insert(name.into(), value.into());
        }
        fields.entry("urgency").or_insert_with(|| urgency.into());
        let external = self.put(&marker, None, fields).await?;
        let detail = format!("made {}", external.id);
        Ok(Report::delivered(detail).with(job.opened(external, true)))
    }

    async fn change(&self, job: &Job<'_>, task: &Task, state: TaskState) -> Result<Report, Report> {
        let mut fields = match state {
            TaskState::Closed => self.fields(&self.service.resolved_fields),
            TaskState::Open => Map::new(),
        };
        let note = format!("{}\n\n{}\n\n{}", job.message.title, job.message.text, job.marker());
        fields.insert("work_notes".into(), cut(&note, TEXT_BYTES_MAX).into());
        let handle = task.external.handle.clone().unwrap_or_default();
        let (record, marker) = handle.split_once(' ').unwrap_or((&handle, ""));
        match self.put(marker, Some(record), fields).await {
            Ok(_) => {
                let detail = match state {
                    TaskState::Closed => format!("resolved {}", task.external.id),
                    TaskState::Open => format!("said in {}", task.external.id),
                };
                Ok(Report::delivered(detail).with(job.changed(task, state)))
            }
            Err(report) => Err(report),
        }
    }

    /// Makes a record, or changes one. What it is called, and `sys_id` and correlation id as its
    /// handle.
    async fn put(
        &self,
        marker: &str,
        record: Option<&str>,
        mut fields: Map<String, Value>,
    ) -> Result<External, Report> {
        let table = &self.service.table;
        let shown = "sysparm_fields=sys_id,number,state,correlation_id\
                     &sysparm_exclude_reference_link=true";
        let answer = match (&self.service.mode, record) {
            (ServiceNowMode::Table {}, None) => {
                let path = format!("/api/now/table/{table}?{shown}");
                self.api.ask(Method::POST, &path, Some(&Value::Object(fields)), true).await?
            }
            (ServiceNowMode::Table {}, Some(record)) => {
                let path = format!("/api/now/table/{table}/{}?{shown}", escaped(record));
                self.api.ask(Method::PATCH, &path, Some(&Value::Object(fields)), false).await?
            }
            // The same correlation id makes the same record, however often.
            (ServiceNowMode::ImportSet { staging_table, column_prefix }, _) => {
                fields.insert("correlation_id".into(), marker.into());
                let path = format!("/api/now/import/{staging_table}");
                let column = |name: String| match name.starts_with(column_prefix.as_str()) {
                    true => name,
                    false => format!("{column_prefix}{name}"),
                };
                let fields = fields.into_iter().map(|(name, value)| (column(name), value));
                let body = Value::Object(fields.collect());
                let answer = self.api.ask(Method::POST, &path, Some(&body), false).await?;
                return self.imported(&answer, marker);
            }
        };
        let found = &answer.json()["result"];
        self.external(found["sys_id"].as_str(), found["number"].as_str(), marker)
            .ok_or_else(|| Report::new(Outcome::Ambiguous, answer.told()))
    }

    /// An import answers 201 whatever became of its rows: each row says what.
    fn imported(&self, answer: &Answer, marker: &str) -> Result<External, Report> {
        let body = answer.json();
        let of_table = |row: &&Value| row["table"].as_str() == Some(&self.service.table);
        let rows = body["result"].as_array().map(Vec::as_slice).unwrap_or_default();
        let row = rows.iter().find(of_table).or_else(|| rows.first());
        let Some(row) = row else { return Err(Report::retry(answer.told())) };
        match row["status"].as_str().unwrap_or_default() {
            "inserted" | "updated" | "ignored" => {}
            status => {
                let why = row["error_message"].as_str().or(row["status_message"].as_str());
                let why = why.unwrap_or("the transform map does not say why");
                return Err(Report::refused(format!("its row came out as `{status}`: {why}")));
            }
        }
        self.external(row["sys_id"].as_str(), row["display_value"].as_str(), marker)
            .ok_or_else(|| Report::retry(answer.told()))
    }

    fn external(
        &self,
        record: Option<&str>,
        number: Option<&str>,
        marker: &str,
    ) -> Option<External> {
        let record = record?;
        let id = number.unwrap_or(record).to_owned();
        let base = self.service.url.trim_end_matches('/');
        let url = format!("{base}/{}.do?sys_id={}", self.service.table, escaped(record));
        Some(External { id, handle: Some(format!("{record} {marker}")), url: Some(url) })
    }

    async fn find(&self, job: &Job<'_>) -> Result<Report, Report> {
        let marker = job.marker();
        let query = escaped(&format!("correlation_id={marker}^ORDERBYsys_created_on"));
        let path = format!(
            "/api/now/table/{}?sysparm_query={query}\
             &sysparm_fields=sys_id,number,state,correlation_id&sysparm_limit=2",
            self.service.table
        );
        let answer = self.api.exchange(Method::GET, &path, None, false).await?;
        let missing = || Report::new(Outcome::Missing, "it is not there yet");
        match answer.status {
            // So an older version of the API says that there is none.
            StatusCode::NOT_FOUND => return Ok(missing()),
            status if !status.is_success() => return Err(answer.failure(false, job.now_s())),
            _ => {}
        }
        let body = answer.json();
        let rows = body["result"].as_array().map(Vec::as_slice).unwrap_or_default();
        let Some(row) = rows.iter().find(|row| row["correlation_id"] == marker.as_str()) else {
            return match rows.is_empty() {
                true => Ok(missing()),
                false => Err(Report::retry(
                    "it answered with records that were not asked for: the instance ignores the \
                     query on `correlation_id`, so nothing can be found there",
                )),
            };
        };
        let external = self.external(row["sys_id"].as_str(), row["number"].as_str(), &marker);
        let external = external.ok_or_else(|| Report::retry(answer.told()))?;
        let detail = format!("found {}", external.id);
        Ok(Report::delivered(detail).with(job.opened(external, true)))
    }

    fn fields(&self, given: &std::collections::BTreeMap<String, String>) -> Map<String, Value> {
        given.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
    }
}
