//! `PagerDuty`, by version 2 of its events. It knows an incident by its key, so that sending again
//! changes nothing.

use std::time::Duration;

use entitlements_outbound::HttpClient;
use hyper::Method;
use serde_json::json;

use super::{Api, Job, Report};
use crate::workflow::{
    connector::PagerDuty,
    notice::Severity,
    task::{Action, External, TaskState, action},
    template::cut,
};

/// The longest summary, in bytes.
const SUMMARY_BYTES_MAX: usize = 1_024;

/// Triggers an incident, or resolves it.
pub(super) async fn send(http: &HttpClient, job: &Job<'_>, service: &PagerDuty) -> Report {
    let todo = action(job.task, job.phase, job.delivery, Duration::ZERO, job.now);
    let known =
        job.task.filter(|_| matches!(todo, Action::Comment | Action::Close | Action::Finish));
    if todo == Action::Nothing {
        return Report::delivered("there is no open incident for it");
    }
    let key = known.map_or_else(|| job.marker(), |task| task.external.id.clone());
    let resolves = todo == Action::Close;
    let severity = match job.severity {
        Severity::Critical => "critical",
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let links: Vec<_> = job
        .task_url(known.map_or(job.task_id, |task| &task.id))
        .into_iter()
        .map(|url| json!({ "href": url, "text": "Follow-up" }))
        .collect();
    let body = json!({
        "routing_key": job.credentials.get("routing_key"),
        "event_action": if resolves { "resolve" } else { "trigger" },
        "dedup_key": key,
        "payload": {
            "summary": cut(&job.message.title, SUMMARY_BYTES_MAX),
            "source": "entitlements",
            "severity": severity,
            "component": job.subject,
            "class": job.events.first().map(|event| &event["type"]),
            "custom_details": {
                "text": job.message.text,
                "events": job.events.iter().map(|event| &event["id"]).collect::<Vec<_>>(),
            },
        },
        "links": links,
    });
    let api = Api { http, base: &service.url, authorization: None, now_s: job.now_s() };
    if let Err(report) = api.ask(Method::POST, "/v2/enqueue", Some(&body), false).await {
        return report;
    }
    let task = match known {
        Some(task) => job.changed(task, if resolves { TaskState::Closed } else { TaskState::Open }),
        None => job.opened(External { id: key.clone(), handle: None, url: None }, true),
    };
    Report::delivered(format!("{} {key}", if resolves { "resolved" } else { "triggered" }))
        .with(task)
}
