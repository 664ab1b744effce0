//! Credentials are nowhere to be seen once they are set.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    desk::Desk,
    receiver::{Receiver, Reply},
};

/// Takes down what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_secret_is_in_no_log_audit_export_error_answer_or_file() {
    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || sink.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let desk = Desk::with_acme().await;
    desk.work().await;
    // It says back whatever it is sent, as some do.
    let receiver = Receiver::start(|asked| {
        let said = format!("{:?} {}", asked.headers, String::from_utf8_lossy(&asked.body));
        Reply { body: said, ..Reply::status(500) }
    })
    .await;
    let url = receiver.url();
    let fresh = entitlements_outbound::webhook::Secret::symmetric_text(&[5; 32]);
    let connectors: Vec<(&str, Value, Value)> = vec![
        (
            "hook",
            json!({ "webhook": { "url": url, "handshake": false } }),
            json!({ "secret": fresh, "authorization": "Bearer hush-authorization" }),
        ),
        (
            "jira",
            json!({ "jira": { "url": url, "flavor": "cloud", "project": "ENT" } }),
            json!({ "email": "hush@example.com", "token": "hush-jira-token",
                "webhook_secret": "hush-jira-inbound" }),
        ),
        (
            "snow",
            json!({ "servicenow": { "url": url } }),
            json!({ "user": "hush-user", "password": "hush-servicenow-password" }),
        ),
        (
            "chat",
            json!({ "slack": {} }),
            json!({ "webhook_url": format!("{url}/hush-slack-path") }),
        ),
        (
            "bot",
            json!({ "slack": { "channel": "C1", "api_url": url } }),
            json!({ "token": "hush-slack-token" }),
        ),
        (
            "mail",
            json!({ "email": { "host": "127.0.0.1", "port": 9, "from": "a@b.c" } }),
            json!({ "user": "hush-mail-user", "password": "hush-mail-password" }),
        ),
        (
            "pager",
            json!({ "pagerduty": { "url": url } }),
            json!({ "routing_key": "hush-routing-key" }),
        ),
    ];
    let mut secrets = Vec::new();
    for (name, kind, credentials) in &connectors {
        desk.connect(name, kind.clone(), credentials.clone()).await;
        let values = credentials.as_object().unwrap().values();
        secrets.extend(values.map(|value| value.as_str().unwrap().to_owned()));
    }
    let rotated = desk.client.post("/v1/connectors/hook/rotate", "{}").await;
    secrets.push(rotated.json()["secret"].as_str().unwrap().to_owned());
    desk.submit("Spring").await;
    let mut seen = String::new();
    for wait in [0, 10, 300] {
        desk.pass(wait);
        desk.work().await;
    }
    // What is wrong is said without repeating it.
    for (name, kind, credentials) in &connectors {
        let test = desk.client.post(&format!("/v1/connectors/{name}/test?team=ops"), "").await;
        assert_eq!(test.status, 200, "{}", test.text());
        seen += &test.text();
        let mut wrong = credentials.clone();
        for value in wrong.as_object_mut().unwrap().values_mut() {
            *value = format!("{}\u{7}", value.as_str().unwrap()).into();
        }
        let body = json!({ "name": "x", "kind": kind, "credentials": wrong });
        let answer = desk.client.put(&format!("/v1/connectors/{name}"), &body.to_string()).await;
        answer.is_problem(400, "invalid_request");
        seen += &answer.text();
    }
    for path in [
        "/v1/connectors",
        "/v1/connectors/hook",
        "/v1/connectors/jira",
        "/v1/deliveries",
        "/v1/notices",
        "/v1/audit",
        "/v1/audit/export?format=jsonl",
        "/v1/history/connector/hook",
        "/v1/tasks",
        "/metrics",
    ] {
        seen += &desk.client.get(path).await.text();
    }
    for delivery in desk.deliveries("").await {
        let id = delivery["id"].as_str().unwrap();
        seen += &desk.client.get(&format!("/v1/deliveries/{id}")).await.text();
    }
    drop(guard);
    let mut places = vec![("what is answered", seen.into_bytes())];
    places.push(("the log", log.0.lock().unwrap().clone()));
    for entry in std::fs::read_dir(desk.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            places.push(("a file", std::fs::read(&path).unwrap()));
        }
    }
    let found = |text: &str| {
        let holds =
            |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        places.iter().filter(|(_, bytes)| holds(bytes)).map(|(name, _)| *name).collect::<Vec<_>>()
    };
    assert_eq!(secrets.len(), 13);
    // As they are sent.
    for pair in [
        "hush@example.com:hush-jira-token",
        "hush-user:hush-servicenow-password",
        "\0hush-mail-user\0hush-mail-password",
    ] {
        secrets.push(STANDARD.encode(pair));
    }
    for secret in &secrets {
        assert_eq!(found(secret), [""; 0], "{secret}");
        assert_eq!(found(secret.trim_start_matches("whsec_")), [""; 0], "{secret}");
    }
    // The search sees what is there: the keys of connectors are no secret.
    for place in ["what is answered", "the log", "a file"] {
        assert!(found("draft").contains(&place), "{place}");
    }
}

/// Whoever may write connectors, and does not know what opens the door, cannot have it sent elsewhere.
#[tokio::test]
async fn credentials_are_not_led_elsewhere() {
    let desk = Desk::with_acme().await;
    let own = Receiver::start(|_| Reply::status(200)).await;
    let theirs = Receiver::start(|_| Reply::status(200)).await;
    let kinds = |url: String, port: u16| {
        [
            (
                json!({ "webhook": { "url": url, "handshake": false } }),
                json!({ "authorization": "Bearer hush" }),
            ),
            (
                json!({ "jira": { "url": url, "flavor": "data_center", "project": "ENT" } }),
                json!({ "token": "hush" }),
            ),
            (json!({ "servicenow": { "url": url } }), json!({ "token": "hush" })),
            (json!({ "slack": { "channel": "C1", "api_url": url } }), json!({ "token": "hush" })),
            (
                json!({ "email": { "host": "127.0.0.1", "port": port, "security": "plain",
                    "from": "a@b.example", "to": ["c@d.example"] } }),
                json!({ "user": "hush", "password": "hush" }),
            ),
            (json!({ "pagerduty": { "url": url } }), json!({ "routing_key": "hush" })),
        ]
    };
    let (here, there) = (kinds(own.url(), 1025), kinds(theirs.url(), 1026));
    for (number, ((kind, credentials), (moved, _))) in here.iter().zip(&there).enumerate() {
        let path = format!("/v1/connectors/c{number}");
        desk.put(&path, &json!({ "name": "c", "kind": kind, "credentials": credentials })).await;
        desk.put(&path, &json!({ "name": "another name", "kind": kind })).await;
        let moved = json!({ "name": "c", "kind": moved }).to_string();
        let refused = desk.client.put(&path, &moved).await;
        assert!(refused.text().contains("give `credentials` again"), "{}", refused.text());
        assert_eq!(refused.status, 400);
        desk.client.post(&format!("{path}/test"), "").await;
    }
    assert!(theirs.asked().is_empty(), "{:?}", theirs.asked());
    // A signing secret is not sent: it may stay.
    let hook = |url: String| json!({ "webhook": { "url": url, "handshake": false } });
    desk.put("/v1/connectors/plain", &json!({ "name": "x", "kind": hook(own.url()) })).await;
    desk.put("/v1/connectors/plain", &json!({ "name": "x", "kind": hook(theirs.url()) })).await;
}
