//! Slack: by an incoming webhook and by its API, against a Slack of our own and the checks of others.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::{
    clients::{Language, Program},
    desk::Desk,
    receiver::{Asked, Receiver, Reply},
};

const TOKEN: &str = "xoxb-slack-hush";

/// The channel, as Slack keeps it.
#[derive(Debug, Default)]
struct Channel {
    messages: Vec<Value>,
    /// What it says instead of posting.
    refuses: Option<&'static str>,
    /// It posts and says nothing.
    hangs_up: bool,
}

async fn slack() -> (Receiver, Arc<Mutex<Channel>>) {
    let channel: Arc<Mutex<Channel>> = Arc::default();
    let own = channel.clone();
    let receiver = Receiver::start(move |asked| answer(&mut own.lock().unwrap(), asked)).await;
    (receiver, channel)
}

fn answer(channel: &mut Channel, asked: &Asked) -> Reply {
    if asked.path.starts_with("/services/") {
        return match channel.refuses {
            None => Reply { body: "ok".into(), ..Reply::status(200) },
            Some(error) => Reply { body: error.into(), ..Reply::status(400) },
        };
    }
    let no = |error: &str| Reply::json(200, &json!({ "ok": false, "error": error }));
    if asked.header("authorization") != format!("Bearer {TOKEN}") {
        return no("invalid_auth");
    }
    let body = asked.json();
    if asked.method == "POST"
        && let Some(error) = channel.refuses
    {
        return no(error);
    }
    let (path, _) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let reply = match path {
        "/chat.postMessage" => {
            let ts = format!("1700000000.{:06}", channel.messages.len() + 1);
            let mut message = body;
            message["ts"] = ts.as_str().into();
            channel.messages.push(message);
            Reply::json(200, &json!({ "ok": true, "ts": ts }))
        }
        "/chat.update" => {
            let ts = body["ts"].clone();
            match channel.messages.iter_mut().find(|message| message["ts"] == ts) {
                None => return no("message_not_found"),
                Some(message) => *message = body,
            }
            Reply::json(200, &json!({ "ok": true, "ts": ts }))
        }
        "/conversations.history" | "/conversations.replies" => {
            Reply::json(200, &json!({ "ok": true, "messages": channel.messages }))
        }
        _ => no("unknown_method"),
    };
    if std::mem::take(&mut channel.hangs_up) { Reply::hang_up() } else { reply }
}

async fn by_api(follow: &str) -> (Desk, Receiver, Arc<Mutex<Channel>>) {
    let (desk, (receiver, channel)) = (Desk::with_acme().await, slack().await);
    desk.work().await;
    let kind = json!({ "slack": { "channel": "C1", "follow": follow, "api_url": receiver.url() } });
    desk.connect("chat", kind, json!({ "token": TOKEN })).await;
    (desk, receiver, channel)
}

#[tokio::test]
async fn news_of_a_subject_go_into_its_thread_or_replace_its_message() {
    for (follow, count) in [("thread", 2), ("update", 1), ("new", 2)] {
        let (desk, _receiver, channel) = by_api(follow).await;
        let draft = desk.submit("Spring <!channel> & co").await;
        desk.work().await;
        desk.withdraw(&draft).await;
        desk.work().await;
        let messages = channel.lock().unwrap().messages.clone();
        assert_eq!(messages.len(), count, "{follow}");
        let last = messages.last().unwrap();
        let thread = if follow == "thread" { messages[0]["ts"].clone() } else { Value::Null };
        assert_eq!(last["thread_ts"], thread, "{follow}");
        assert_eq!(
            last["blocks"][0]["text"]["text"],
            "Spring <!channel> & co does not wait any more"
        );
        assert_eq!(last["text"], "Spring &lt;!channel&gt; &amp; co does not wait any more");
        // Once it is over, the next one is another matter.
        desk.client.post(&format!("/v1/drafts/{draft}/submit"), "").await;
        desk.work().await;
        let messages = channel.lock().unwrap().messages.clone();
        assert_eq!((messages.len(), &messages[count]["thread_ts"]), (count + 1, &Value::Null));
        assert_eq!(desk.get("/v1/tasks").await["tasks"], json!([]), "a thread is no follow-up");
    }
}

#[tokio::test]
async fn a_no_that_comes_with_200_is_a_no() {
    for (error, stage) in [
        ("channel_not_found", "pending"),
        ("invalid_auth", "pending"),
        ("internal_error", "pending"),
        ("ratelimited", "pending"),
        ("invalid_blocks", "refused"),
        ("msg_too_long", "refused"),
        ("fatal_error", "reconciling"),
    ] {
        let (desk, _receiver, channel) = by_api("thread").await;
        channel.lock().unwrap().refuses = Some(error);
        desk.submit("Spring").await;
        desk.work().await;
        let delivery = &desk.deliveries("").await[0];
        assert_eq!(delivery["stage"], stage, "{error}");
        assert!(delivery["detail"].as_str().unwrap().contains(error), "{delivery}");
    }
}

#[tokio::test]
async fn a_message_that_may_have_been_posted_is_looked_for_in_the_channel() {
    let (desk, _receiver, channel) = by_api("thread").await;
    channel.lock().unwrap().hangs_up = true;
    desk.submit("Spring").await;
    desk.work().await;
    assert_eq!(desk.deliveries("stage=reconciling").await.len(), 1);
    desk.pass(120);
    desk.work().await;
    assert_eq!(channel.lock().unwrap().messages.len(), 1);
    assert_eq!(desk.deliveries("stage=delivered").await.len(), 1);
}

#[tokio::test]
async fn an_incoming_webhook_takes_it_or_says_why_not() {
    let (desk, (receiver, channel)) = (Desk::with_acme().await, slack().await);
    desk.work().await;
    let url = format!("{}/services/T/B/webhook-url-hush", receiver.url());
    desk.connect("chat", json!({ "slack": {} }), json!({ "webhook_url": url })).await;
    desk.submit("One").await;
    desk.work().await;
    assert_eq!(receiver.asked()[0].path, "/services/T/B/webhook-url-hush");
    assert_eq!(desk.deliveries("stage=delivered").await.len(), 1);
    channel.lock().unwrap().refuses = Some("invalid_payload");
    desk.submit("Two").await;
    desk.work().await;
    let refused = desk.deliveries("stage=refused").await;
    assert!(refused[0]["detail"].as_str().unwrap().contains("invalid_payload"));
}

#[tokio::test]
async fn what_is_gathered_goes_out_in_one_message() {
    let (desk, _receiver, channel) = by_api("new").await;
    let route =
        json!({ "events": ["*"], "team": "ops", "connector": "chat", "gather": { "hourly": {} } });
    desk.put("/v1/routes/to-chat", &route).await;
    desk.pass(60);
    desk.submit("One").await;
    desk.work().await;
    desk.pass(60);
    desk.submit("Two").await;
    desk.work().await;
    assert_eq!(channel.lock().unwrap().messages.len(), 0);
    desk.clock.advance(crate::desk::at("2026-03-02T11:00:00Z"));
    assert_eq!(desk.work().await, 1);
    let messages = channel.lock().unwrap().messages.clone();
    let text = messages[0]["blocks"].to_string();
    assert!(text.contains("One waits for approval") && text.contains("Two waits for approval"));
    desk.submit("Three").await;
    desk.work().await;
    assert_eq!(channel.lock().unwrap().messages.len(), 1, "it waits for the next hour");
}

/// Every type of event and what is hard about them, as Slack's own types and limits see it.
#[tokio::test]
async fn the_blocks_are_what_slack_takes() {
    let (desk, _receiver, channel) = by_api("new").await;
    let long = "x".repeat(90);
    let words = json!({ "name": "x", "title": "{{ data.name }} {{ data.name }}",
        "text": "{% for n in range(400) %}{{ data.name }}\n\n{% endfor %}" });
    desk.put("/v1/templates/long", &words).await;
    for template in [None, Some("long")] {
        let mut route = json!({ "events": ["publication.*"], "team": "ops", "connector": "chat" });
        route["template"] = json!(template);
        desk.put("/v1/routes/to-chat", &route).await;
        for name in ["Plain", "<!channel> & `code` *bold*", long.as_str(), "\u{1f600} Größe"] {
            desk.submit(name).await;
            desk.work().await;
        }
    }
    let messages = channel.lock().unwrap().messages.clone();
    assert_eq!(messages.len(), 8);
    for language in [Language::Node, Language::Python] {
        let Some((mut program, _)) = Program::ready(language, "slack", None).await else { return };
        for message in &messages {
            let said = program.ask(&json!({ "blocks": message["blocks"] })).await;
            assert_eq!(said["valid"], true, "{language:?}: {said} {message}");
        }
        // The check itself sees what is wrong.
        let odd = json!([{ "type": "header", "text": { "type": "plain_text", "text": "x".repeat(151) } },
            { "type": "nonsense" }]);
        assert_eq!(program.ask(&json!({ "blocks": odd })).await["valid"], false);
    }
}
