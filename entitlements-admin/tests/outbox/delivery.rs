//! What happened reaches whoever is to be told of it: once, in order where that is asked for, and
//! again where it failed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    desk::{Desk, SECRET, at},
    receiver::{Asked, Receiver, Reply},
    support::CATALOG,
};

/// What webhooks were told: types of events.
fn types(asked: &[Asked]) -> Vec<String> {
    asked.iter().map(|asked| asked.json()["type"].as_str().unwrap_or_default().into()).collect()
}

#[tokio::test]
async fn what_happens_is_told_once_signed_and_recorded() {
    let desk = Desk::with_acme().await;
    let receiver = Receiver::answering(204).await;
    desk.work().await;
    desk.hook("hook", &receiver).await;
    let draft = desk.submit("Spring").await;
    assert_eq!(desk.work().await, 1);
    assert_eq!(desk.work().await, 0, "it is told once");
    let asked = receiver.asked();
    assert_eq!(types(&asked), ["entitlements.publication.submitted"]);
    let [one] = asked.as_slice() else { panic!("{asked:?}") };
    let body = one.json();
    assert_eq!(one.header("content-type"), "application/cloudevents+json");
    assert_eq!(one.header("webhook-id"), body["id"].as_str().unwrap());
    assert_eq!(one.header("webhook-timestamp"), "1772445600");
    let signed = entitlements_outbound::webhook::Secret::parse(SECRET).unwrap().sign(
        one.header("webhook-id"),
        1_772_445_600,
        &one.body,
    );
    assert_eq!(one.header("webhook-signature"), signed);
    assert_eq!(body["subject"], format!("draft/{draft}"));
    assert_eq!(body["dataschema"], "http://admin.example/schema/publication.submitted.json");
    assert_eq!(body["data"]["name"], "Spring");

    let list = desk.deliveries("").await;
    assert_eq!(list.len(), 1);
    let whole = desk.get(&format!("/v1/deliveries/{}", list[0]["id"].as_str().unwrap())).await;
    assert_eq!((&whole["stage"], &whole["attempts"]), (&"delivered".into(), &1.into()));
    assert_eq!(whole["attempt_log"][0]["outcome"], "delivered");
    assert!(whole["attempt_log"][0]["took_ms"].is_u64());
    let notice = whole["notices"][0]["id"].as_str().unwrap();
    let notice = desk.get(&format!("/v1/notices/{notice}")).await;
    assert_eq!(notice["envelope"], body);
    assert_eq!(notice["deliveries"][0]["id"], list[0]["id"]);
}

#[tokio::test]
async fn what_fails_is_tried_by_the_schedule_and_then_given_up_and_sent_again_by_hand() {
    let desk = Desk::with_acme().await;
    desk.work().await;
    let receiver = Receiver::answering(500).await;
    desk.hook("hook", &receiver).await;
    let setting = json!({ "waits_s": [0, 5, 60, 600], "jitter_percent": 0 });
    desk.put("/v1/settings/outbox", &setting).await;
    desk.submit("Spring").await;
    for (wait, attempts) in [(0, 1), (4, 0), (1, 1), (59, 0), (1, 1), (600, 1), (100_000, 0)] {
        desk.pass(wait);
        assert_eq!(desk.work().await, attempts, "after {wait} s");
    }
    let dead = desk.deliveries("stage=dead").await;
    assert_eq!(dead.len(), 1);
    assert_eq!(desk.get("/v1/deliveries").await["dead"], 1);
    let metrics = desk.client.get("/metrics").await.text();
    assert!(metrics.contains("entitlements_admin_deliveries_dead 1\n"), "{metrics}");
    let id = dead[0]["id"].as_str().unwrap().to_owned();
    let first = receiver.asked()[0].header("webhook-id").to_owned();

    receiver.answer(|_| Reply::status(200));
    let again = desk.client.post(&format!("/v1/deliveries/{id}/redrive"), "").await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert!(again.revision() > 0, "it is a commit");
    assert_eq!(desk.work().await, 1);
    assert_eq!(receiver.asked().last().unwrap().header("webhook-id"), first, "the same event");
    let whole = desk.get(&format!("/v1/deliveries/{id}")).await;
    assert_eq!((&whole["stage"], &whole["attempts"]), (&"delivered".into(), &5.into()));
    let audit = desk.get("/v1/audit?command=redrive").await;
    assert_eq!(audit["entries"].as_array().unwrap().len(), 1, "{audit}");
}

#[tokio::test]
async fn failed_and_missing_ones_are_sent_again_by_range() {
    let desk = Desk::with_acme().await;
    let receiver = Receiver::answering(400).await;
    desk.put("/v1/settings/outbox", &json!({ "waits_s": [0] })).await;
    // Nobody is told of what happened so far, and that is to be seen.
    desk.work().await;
    let unrouted = desk.get("/v1/notices?unrouted=true").await;
    let published = &unrouted["notices"].as_array().unwrap()[0];
    assert_eq!(published["event_type"], "publication.published");
    desk.hook("hook", &receiver).await;
    assert_eq!(desk.work().await, 0);

    let since = "2026-03-01T00:00:00Z";
    let redrive = |what: &str| json!({ "what": what, "since": since }).to_string();
    let answer = desk.client.post("/v1/deliveries/redrive", &redrive("missing")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(desk.work().await, 1, "the rule takes it now");
    assert_eq!(desk.get("/v1/notices?unrouted=true").await["notices"], json!([]));
    let dead = desk.deliveries("stage=dead").await;
    assert_eq!(dead.len(), 1);
    desk.client.post("/v1/deliveries/redrive", &redrive("missing")).await;
    assert_eq!(desk.work().await, 0, "nobody is told twice");

    receiver.answer(|_| Reply::status(200));
    desk.pass(10);
    let answer = desk.client.post("/v1/deliveries/redrive", &redrive("failed")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(desk.work().await, 1);
    assert_eq!(desk.deliveries("stage=delivered").await.len(), 1);
    let backwards = json!({ "what": "failed", "since": since, "until": since }).to_string();
    let answer = desk.client.post("/v1/deliveries/redrive", &backwards).await;
    answer.is_problem(400, "invalid_request");
}

#[tokio::test]
async fn a_destination_that_asks_for_time_gets_it_and_others_go_on() {
    let desk = Desk::with_acme().await;
    desk.work().await;
    let (busy, well) = (Receiver::answering(200).await, Receiver::answering(200).await);
    busy.answer(|_| Reply::status(429).with("retry-after", "3600"));
    desk.hook("busy", &busy).await;
    desk.hook("well", &well).await;
    desk.submit("One").await;
    assert_eq!(desk.work().await, 2);
    desk.pass(600);
    desk.submit("Two").await;
    assert_eq!(desk.work().await, 1, "only the other one is told");
    let connector = desk.get("/v1/connectors/busy").await;
    assert_eq!(connector["resting_until"], "2026-03-02T11:00:00Z");
    busy.answer(|_| Reply::status(200));
    desk.pass(3_000);
    assert_eq!(desk.work().await, 2);
    assert_eq!((busy.asked().len(), well.asked().len()), (3, 2));
}

#[tokio::test]
async fn events_of_one_subject_keep_their_order_where_that_is_asked_for() {
    let desk = Desk::with_acme().await;
    desk.work().await;
    let receiver = Receiver::answering(500).await;
    desk.hook("hook", &receiver).await;
    let route = json!({ "events": ["*"], "team": "ops", "connector": "hook", "ordered": true });
    desk.put("/v1/routes/to-hook", &route).await;
    let first = desk.submit("One").await;
    desk.withdraw(&first).await;
    let other = desk.submit("Two").await;
    assert_eq!(desk.work().await, 2, "the second about the first draft waits");
    receiver.answer(|_| Reply::status(200));
    desk.pass(10);
    assert_eq!(desk.work().await, 3);
    let told: Vec<String> = receiver.asked()[2..]
        .iter()
        .filter(|asked| asked.json()["subject"] == format!("draft/{first}"))
        .map(|asked| asked.json()["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, ["entitlements.publication.submitted", "entitlements.publication.returned"]);
    assert_ne!(first, other);
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_switched_off_and_that_is_told() {
    let desk = Desk::with_acme().await;
    desk.work().await;
    let (gone, well) = (Receiver::answering(410).await, Receiver::answering(200).await);
    desk.hook("gone", &gone).await;
    desk.hook("well", &well).await;
    desk.submit("One").await;
    assert_eq!(desk.work().await, 3, "two about the draft, one about the connector");
    assert!(types(&well.asked()).contains(&"entitlements.connector.disabled".into()));
    let connector = desk.get("/v1/connectors/gone").await;
    assert_eq!(connector["state"], "disabled");
    assert!(connector["disabled"]["why"].as_str().unwrap().contains("410"));
    desk.submit("Two").await;
    desk.work().await;
    assert_eq!(gone.asked().len(), 1);
    // Written again it is on again, and gets what it is owed.
    gone.answer(|_| Reply::status(200));
    let kind = json!({ "webhook": { "url": gone.url(), "handshake": false } });
    desk.put("/v1/connectors/gone", &json!({ "name": "gone", "kind": kind })).await;
    desk.work().await;
    assert_eq!(gone.asked().len(), 3, "the disabling itself and the second draft");
}

#[tokio::test]
async fn a_webhook_waits_until_its_receiver_says_that_it_wants_to_hear() {
    let desk = Desk::with_acme().await;
    desk.work().await;
    let receiver = Receiver::answering(200).await;
    let kind = json!({ "webhook": { "url": receiver.url() } });
    desk.connect("hook", kind.clone(), json!({ "secret": SECRET })).await;
    desk.submit("One").await;
    assert_eq!(desk.work().await, 0);
    let refused = desk.client.post("/v1/connectors/hook/verify", "").await;
    let problem = refused.is_problem(409, "refused");
    assert!(problem["detail"].as_str().unwrap().contains("WebHook-Allowed-Origin: admin.example"));
    receiver.answer(|asked| match asked.method.as_str() {
        "OPTIONS" => Reply::status(200)
            .with("webhook-allowed-origin", asked.header("webhook-request-origin")),
        _ => Reply::status(200),
    });
    assert_eq!(desk.client.post("/v1/connectors/hook/verify", "").await.status, 200);
    assert_eq!(desk.work().await, 1, "it gets what it is owed");
    // Another address has not said so.
    let other = json!({ "webhook": { "url": format!("{}/other", receiver.url()) } });
    desk.put("/v1/connectors/hook", &json!({ "name": "hook", "kind": other })).await;
    assert_eq!(desk.get("/v1/connectors/hook").await["state"], "unverified");
}

#[tokio::test]
async fn a_secret_is_drawn_and_rotated_with_two_signatures_for_a_while() {
    let desk = Desk::with_acme().await;
    desk.work().await;
    let receiver = Receiver::answering(200).await;
    let kind = json!({ "webhook": { "url": receiver.url(), "handshake": false } });
    let wanted = json!({ "name": "hook", "kind": kind });
    let made = desk.put("/v1/connectors/hook", &wanted).await;
    let first = made["secret"].as_str().unwrap().to_owned();
    assert!(first.starts_with("whsec_"), "{first}");
    assert_eq!(desk.put("/v1/connectors/hook", &wanted).await["secret"], Value::Null, "it stays");
    desk.put("/v1/teams/ops", &json!({ "name": "Ops" })).await;
    let route = json!({ "events": ["*"], "team": "ops", "connector": "hook" });
    desk.put("/v1/routes/all", &route).await;
    let rotated = desk.client.post("/v1/connectors/hook/rotate", r#"{"overlap_s":3600}"#).await;
    let second = rotated.json()["secret"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    let signatures = |asked: &Asked| -> Vec<String> {
        asked.header("webhook-signature").split(' ').map(Into::into).collect()
    };
    let expected = |secret: &str, asked: &Asked| {
        let secret = entitlements_outbound::webhook::Secret::parse(secret).unwrap();
        let timestamp = asked.header("webhook-timestamp").parse().unwrap();
        secret.sign(asked.header("webhook-id"), timestamp, &asked.body)
    };
    desk.submit("One").await;
    desk.work().await;
    let asked = receiver.asked();
    assert_eq!(signatures(&asked[0]), [expected(&second, &asked[0]), expected(&first, &asked[0])]);
    desk.pass(3_600);
    desk.submit("Two").await;
    desk.work().await;
    let asked = receiver.asked();
    assert_eq!(signatures(&asked[1]), [expected(&second, &asked[1])]);
}

#[tokio::test]
async fn what_begins_and_ends_by_itself_is_told_of_once() {
    let desk = Desk::with_acme().await;
    let catalog = format!(
        "{CATALOG}\n[promotions.spring]\nname = \"Spring\"\ngrants = {{ sso = true }}\n\
         window = {{ from = \"2026-03-02T12:00:00Z\", until = \"2026-03-20T00:00:00Z\" }}\n"
    );
    let toml = [("content-type", "application/toml")];
    desk.work().await;
    assert_eq!(desk.client.send("PUT", "/v1/catalog", &toml, &catalog).await.status, 200);
    let acme = json!({ "name": "Acme", "subscriptions": [{ "plan": "pro", "trial": true,
        "window": { "until": "2026-03-12T00:00:00Z" } }] });
    desk.put("/v1/tenants/acme", &acme).await;
    let receiver = Receiver::answering(200).await;
    desk.hook("hook", &receiver).await;
    let revision = desk.app.revision();
    desk.work().await;
    desk.work().await;
    assert_eq!(desk.app.revision(), revision, "nothing to tell is no commit");
    let mut told = Vec::new();
    for day in 0..25 {
        desk.clock.advance(at("2026-03-02T12:00:00Z").plus(Duration::from_secs(day * 86_400)));
        let before = receiver.asked().len();
        desk.work().await;
        desk.work().await;
        for asked in &receiver.asked()[before..] {
            let event = asked.json();
            told.push(format!(
                "{} {}",
                event["time"].as_str().unwrap(),
                event["type"].as_str().unwrap()
            ));
        }
    }
    told.retain(|row| !row.contains("publication"));
    assert_eq!(
        told,
        [
            "2026-03-02T12:00:00Z entitlements.promotion.started",
            "2026-03-05T00:00:00Z entitlements.trial.ends_soon",
            "2026-03-12T00:00:00Z entitlements.trial.ended",
            "2026-03-13T00:00:00Z entitlements.promotion.ends_soon",
            "2026-03-20T00:00:00Z entitlements.promotion.ended",
        ]
    );
}

#[tokio::test]
async fn a_team_is_told_in_its_hours_and_of_its_tenants_alone() {
    let desk = Desk::with_acme().await;
    desk.work().await;
    let receiver = Receiver::answering(200).await;
    desk.hook("hook", &receiver).await;
    let quiet =
        json!({ "time_zone": "Europe/Berlin", "work_from": "08:00", "work_until": "10:00" });
    desk.put("/v1/teams/ops", &json!({ "name": "Ops", "quiet_hours": quiet })).await;
    let only_de = json!({ "events": ["trial.*", "publication.*"], "team": "ops", "connector": "hook",
        "audience": { "country": ["DE"] } });
    desk.put("/v1/routes/to-hook", &only_de).await;
    for (key, country) in [("de", "DE"), ("fr", "FR")] {
        let tenant = json!({ "country": country, "subscriptions": [{ "plan": "pro", "trial": true,
            "window": { "until": "2026-03-09T10:00:01Z" } }] });
        desk.put(&format!("/v1/tenants/{key}"), &tenant).await;
    }
    desk.submit("Spring").await;
    desk.work().await;
    desk.pass(1);
    assert_eq!(desk.work().await, 0, "it is 11 o'clock in Berlin");
    desk.clock.advance(at("2026-03-03T06:59:59Z"));
    assert_eq!(desk.work().await, 0);
    desk.clock.advance(at("2026-03-03T07:00:00Z"));
    assert_eq!(desk.work().await, 1);
    let asked = receiver.asked();
    assert_eq!(types(&asked), ["entitlements.trial.ends_soon"]);
    assert_eq!(asked[0].json()["tenant"], "de");
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_words() {
    let desk = Desk::with_acme().await;
    desk.put("/v1/teams/ops", &json!({ "name": "Ops" })).await;
    let hook = json!({ "webhook": { "url": "https://x.example" } });
    desk.put("/v1/connectors/hook", &json!({ "name": "x", "kind": hook })).await;
    for (path, body, said) in [
        ("/v1/connectors/UPPER", json!({ "name": "x", "kind": hook }), "`UPPER` is no key"),
        ("/v1/connectors/x", json!({ "name": "", "kind": hook }), "`name`"),
        (
            "/v1/connectors/x",
            json!({ "name": "x", "kind": hook, "credentials": { "token": "hush" } }),
            "`credentials.token` means nothing",
        ),
        (
            "/v1/connectors/x",
            json!({ "name": "x", "kind": hook, "credentials": { "old_secret": SECRET } }),
            "`credentials.old_secret` means nothing",
        ),
        (
            "/v1/routes/x",
            json!({ "events": ["*"], "team": "none", "connector": "hook" }),
            "there is no team `none`",
        ),
        (
            "/v1/routes/x",
            json!({ "events": ["*"], "team": "ops", "connector": "none" }),
            "there is no connector `none`",
        ),
        (
            "/v1/routes/x",
            json!({ "events": ["*"], "team": "ops", "connector": "hook", "template": "none" }),
            "there is no template `none`",
        ),
        (
            "/v1/routes/x",
            json!({ "events": ["*"], "team": "ops", "connector": "hook", "gather": { "hourly": {} } }),
            "takes one event at a time",
        ),
        (
            "/v1/routes/x",
            json!({ "events": ["*"], "team": "ops", "connector": "hook",
                    "audience": { "region": ["nowhere"] } }),
            "nowhere",
        ),
        ("/v1/settings/outbox", json!({ "waits_s": [] }), "`waits_s`"),
    ] {
        let answer = desk.client.put(path, &body.to_string()).await;
        let problem = answer.is_problem(400, "invalid_request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said) && !detail.contains("hush"), "{path}: {detail}");
    }
    // Words must do for what a rule takes.
    let words = json!({ "name": "x", "title": "t", "text": "{\"a\":{{ data.name }}}" });
    desk.put("/v1/templates/words", &words).await;
    let route = |events: &str| json!({ "events": [events], "team": "ops", "connector": "hook", "template": "words" });
    let answer = desk.client.put("/v1/routes/x", &route("trial.ended").to_string()).await;
    let problem = answer.is_problem(400, "invalid_request");
    assert!(problem["detail"].as_str().unwrap().contains("`trial.ended`"), "{problem}");
    desk.put("/v1/routes/x", &route("promotion.*")).await;
    let worse = json!({ "name": "x", "title": "t", "text": "{{ data.plan }}" }).to_string();
    let answer = desk.client.put("/v1/templates/words", &worse).await;
    let problem = answer.is_problem(400, "invalid_request");
    assert!(problem["detail"].as_str().unwrap().contains("route `x` uses it"), "{problem}");
    // What is used stays.
    for path in ["/v1/teams/ops", "/v1/connectors/hook", "/v1/templates/words"] {
        let problem = desk.client.delete(path).await.is_problem(409, "refused");
        assert!(problem["detail"].as_str().unwrap().contains("route `x`"), "{problem}");
    }
    assert_eq!(desk.client.delete("/v1/routes/x").await.status, 200);
    for path in ["/v1/teams/ops", "/v1/connectors/hook", "/v1/templates/words"] {
        assert_eq!(desk.client.delete(path).await.status, 200);
        desk.client.delete(path).await.is_problem(404, "not_found");
    }
}

#[tokio::test]
async fn words_are_tried_out_and_used_and_never_keep_a_message_back() {
    let desk = Desk::with_acme().await;
    desk.work().await;
    let receiver = Receiver::answering(200).await;
    desk.hook("hook", &receiver).await;
    let preview = |text: &str, event: &str| {
        json!({ "template": { "name": "x", "title": "t", "text": text }, "event": event,
                "medium": "json" })
        .to_string()
    };
    let draft = desk.submit("\"Quoted\"").await;
    let text = r#"{"draft":{{ data.draft }},"what":{{ event.type }}}"#;
    let notices = desk.get("/v1/notices?event_type=publication.submitted").await;
    let notice = notices["notices"][0]["id"].as_str().unwrap();
    let answer = desk.client.post("/v1/templates/preview", &preview(text, notice)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let message: Value =
        serde_json::from_str(answer.json()["message"]["text"].as_str().unwrap()).unwrap();
    assert_eq!(message["draft"], draft);
    let answer =
        desk.client.post("/v1/templates/preview", &preview("{{ x }}", "trial.ended")).await;
    let problem = answer.is_problem(400, "invalid_request");
    assert!(problem["detail"].as_str().unwrap().contains("line 1"), "{problem}");
    desk.client
        .post("/v1/templates/preview", &preview("1", "nothing"))
        .await
        .is_problem(404, "not_found");

    desk.put("/v1/templates/words", &json!({ "name": "x", "title": "t", "text": text })).await;
    let route = json!({ "events": ["publication.submitted"], "team": "ops", "connector": "hook",
        "template": "words" });
    desk.put("/v1/routes/to-hook", &route).await;
    desk.work().await;
    let asked = receiver.asked();
    assert_eq!(asked[0].header("content-type"), "application/json");
    assert_eq!(asked[0].json()["draft"], draft);

    // Words that do for the sample may still fail for an event: what is optional may be absent.
    let risky = r#"{"reason":{{ data.reason }}}"#;
    desk.put("/v1/templates/risky", &json!({ "name": "x", "title": "t", "text": risky })).await;
    let route = json!({ "events": ["publication.returned"], "team": "ops", "connector": "hook",
        "template": "risky" });
    desk.put("/v1/routes/to-hook", &route).await;
    desk.withdraw(&draft).await;
    assert_eq!(desk.work().await, 1);
    let asked = receiver.asked();
    assert_eq!(asked[1].json()["type"], "entitlements.publication.returned", "in our own words");
    let list = desk.deliveries("").await;
    let detail = list[0]["detail"].as_str().unwrap();
    assert!(detail.contains("template `risky` failed") && detail.contains("line 1"), "{detail}");
}
