//! Steps that others do: a webhook's receiver at once, later by a signed word, or later when it is
//! asked; and what becomes of a request when they fail, are silent, or say it twice.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use entitlements_admin::jobs;
use entitlements_outbound::webhook::Secret;
use serde_json::{Value, json};

use crate::{
    clients::{Language, Program, verify},
    desk::{Desk, SECRET},
    receiver::{Receiver, Reply},
    support::Answer,
};

/// Something on offer that is approved by itself and has these steps.
pub(crate) async fn offer(desk: &Desk, key: &str, steps: &Value) {
    let listing = json!({
        "title": "More seats",
        "offer": { "add_on": "more-seats" },
        "approval": { "automatic": {} },
        "parameters": { "type": "object" },
        "provisioning": steps,
    });
    desk.put(&format!("/v1/listings/{key}"), &listing).await;
    for act in ["submit", "publish"] {
        let answer = desk.client.post(&format!("/v1/listings/{key}/{act}"), "").await;
        assert_eq!(answer.status, 200, "{act}: {}", answer.text());
    }
}

pub(crate) async fn ask(desk: &Desk, body: &Value) -> String {
    let made = desk.client.post("/v1/requests", &body.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["id"].as_str().unwrap().into()
}

pub(crate) fn order(quantity: u32) -> Value {
    json!({ "tenant": "acme", "listing": "seats",
        "wants": { "quantity": quantity, "parameters": { "site": "Bonn" } } })
}

pub(crate) async fn request(desk: &Desk, id: &str) -> Value {
    desk.get(&format!("/v1/requests/{id}")).await
}

pub(crate) async fn stage(desk: &Desk, id: &str) -> String {
    request(desk, id).await["stage"].as_str().unwrap().into()
}

pub(crate) async fn seats(desk: &Desk) -> Value {
    desk.get("/v1/tenants/acme/features/seats").await["amount"].clone()
}

/// Time goes by, and what is due is done.
pub(crate) async fn later(desk: &Desk, seconds: u64) {
    desk.pass(seconds);
    jobs::advance(&desk.app).await.unwrap();
}

fn step(key: &str) -> Value {
    json!({ "key": key, "name": key, "kind": { "webhook": { "connector": "hook" } },
        "waits_s": [10, 10, 10], "timeout_s": 3_600 })
}

async fn desk_with(receiver: &Receiver, steps: &Value) -> Desk {
    let desk = Desk::with_acme().await;
    let kind = json!({ "webhook": { "url": receiver.url(), "handshake": false } });
    let hook = json!({ "name": "hook", "kind": kind, "credentials": { "secret": SECRET } });
    desk.put("/v1/connectors/hook", &hook).await;
    offer(&desk, "seats", steps).await;
    desk
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_is_signed_names_all_and_comes_into_force_once_it_is_done() {
    let receiver = Receiver::answering(200).await;
    let desk = desk_with(&receiver, &json!([step("one"), step("two")])).await;
    let id = ask(&desk, &order(2)).await;
    assert_eq!((stage(&desk, &id).await, seats(&desk).await), ("provisioning".into(), json!(20)));
    later(&desk, 1).await;
    assert_eq!((stage(&desk, &id).await, seats(&desk).await), ("fulfilled".into(), json!(40)));
    let asked = receiver.asked();
    assert_eq!(asked.len(), 2);
    let body = asked[0].json();
    assert_eq!(asked[0].header("webhook-id"), format!("{id}.one.0.make"));
    assert_eq!(body["type"], "entitlements.step");
    let data = &body["data"];
    for (name, value) in [
        ("action", json!("make")),
        ("tenant", json!("acme")),
        ("tenant_name", json!("Acme Clinic")),
        ("quantity", json!(2)),
        ("parameters", json!({ "site": "Bonn" })),
        ("callback", json!("http://admin.example/v1/inbound/steps/hook")),
    ] {
        assert_eq!(data[name], value, "{name}: {data}");
    }
    if let Some((mut verifier, _)) = Program::ready(Language::Python, "verify", None).await {
        let headers = json!(asked[0].headers);
        let text = String::from_utf8(asked[0].body.to_vec()).unwrap();
        // A real clock: the test's stands still years away.
        let stamp: i64 = asked[0].header("webhook-timestamp").parse().unwrap();
        let said = verify(&mut verifier, SECRET, &headers, &text).await;
        let is_old = |said: &Value| said.to_string().contains("old") || *said == json!(true);
        assert!(stamp > 1_700_000_000 && said.iter().all(is_old), "{said:?}");
    }
    let signature = Secret::parse(SECRET).unwrap().sign(
        asked[0].header("webhook-id"),
        asked[0].header("webhook-timestamp").parse().unwrap(),
        &asked[0].body,
    );
    assert_eq!(asked[0].header("webhook-signature"), signature);

    // It is changed and given back by the same name.
    let holding = request(&desk, &id).await["holding"].clone();
    let mut more = order(3);
    more["asks"] = json!({ "change": { "holding": holding } });
    let change = ask(&desk, &more).await;
    later(&desk, 1).await;
    assert_eq!((stage(&desk, &change).await, seats(&desk).await), ("fulfilled".into(), json!(50)));
    let back = json!({ "tenant": "acme", "asks": { "cancel": { "holding": holding } },
        "wants": { "parameters": {} } });
    let cancel = ask(&desk, &back).await;
    assert_eq!(seats(&desk).await, 20, "it is in force no more before it is undone");
    later(&desk, 1).await;
    assert_eq!(stage(&desk, &cancel).await, "fulfilled");
    let told: Vec<(String, String, Value)> = receiver
        .asked()
        .iter()
        .map(|asked| {
            let data = asked.json()["data"].clone();
            let text = |name: &str| data[name].as_str().unwrap().to_owned();
            (
                format!("{} {}", text("action"), text("step")),
                text("instance"),
                data["quantity"].clone(),
            )
        })
        .collect();
    let what: Vec<&str> = told.iter().map(|(what, ..)| what.as_str()).collect();
    let expected = ["make one", "make two", "change one", "change two", "remove two", "remove one"];
    assert_eq!(what, expected);
    let quantities: Vec<&Value> = told.iter().map(|(_, _, quantity)| quantity).collect();
    assert_eq!(quantities, [2, 2, 3, 3, 3, 3]);
    assert_eq!((&told[0].1, &told[1].1), (&told[5].1, &told[4].1), "the same things");
    assert_eq!(told[0].1, told[2].1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_step_that_failed_is_tried_again_and_by_the_same_name() {
    let receiver = Receiver::answering(200).await;
    let desk = desk_with(&receiver, &json!([step("one"), step("two")])).await;
    let count = Arc::new(AtomicUsize::new(0));
    let own = count.clone();
    receiver.answer(move |asked| match asked.json()["data"]["step"].as_str() {
        Some("two") => match own.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::status(503),
            1 => Reply::hang_up(),
            2 => Reply::status(429).with("retry-after", "40"),
            _ => Reply::status(204),
        },
        _ => Reply::status(200),
    });
    let id = ask(&desk, &order(1)).await;
    later(&desk, 1).await;
    for seconds in [15, 15] {
        assert_eq!(stage(&desk, &id).await, "provisioning");
        later(&desk, seconds).await;
    }
    assert_eq!(count.load(Ordering::Relaxed), 3);
    later(&desk, 15).await;
    assert_eq!(count.load(Ordering::Relaxed), 3, "it asked for more time");
    later(&desk, 30).await;
    assert_eq!((stage(&desk, &id).await, seats(&desk).await), ("fulfilled".into(), json!(30)));
    let ids: Vec<String> =
        receiver.asked().iter().map(|asked| asked.header("webhook-id").to_owned()).collect();
    let two = format!("{id}.two.0.make");
    assert_eq!(ids, [format!("{id}.one.0.make"), two.clone(), two.clone(), two.clone(), two]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_good_is_undone_backwards_and_what_cannot_be_told_of_as_well() {
    for (reply, undone) in [
        // It says no: it left nothing.
        (Reply::status(422), vec!["remove one"]),
        // Nobody can tell whether it was done.
        (Reply::status(500), vec!["remove two", "remove one"]),
        (Reply::hang_up(), vec!["remove two", "remove one"]),
    ] {
        let receiver = Receiver::answering(200).await;
        let desk = desk_with(&receiver, &json!([step("one"), step("two"), step("three")])).await;
        let answer = reply.clone();
        receiver.answer(move |asked| {
            let data = &asked.json()["data"];
            match (data["action"].as_str(), data["step"].as_str()) {
                (Some("make"), Some("two")) => answer.clone(),
                (Some("remove"), _) => Reply::status(404),
                _ => Reply::status(200),
            }
        });
        let id = ask(&desk, &order(1)).await;
        for _ in 0..8 {
            later(&desk, 30).await;
        }
        let request = request(&desk, &id).await;
        assert_eq!(request["stage"], "failed", "{reply:?}: {request}");
        assert_eq!(seats(&desk).await, 20);
        let all = receiver.asked();
        let told = all.iter().map(|asked| {
            let data = asked.json()["data"].clone();
            format!("{} {}", data["action"].as_str().unwrap(), data["step"].as_str().unwrap())
        });
        let removed: Vec<String> = told.filter(|what| what.starts_with("remove")).collect();
        assert_eq!(removed, undone, "{reply:?}");
    }
}

async fn call_back(desk: &Desk, secret: &str, at: i64, body: &Value) -> Answer {
    let text = body.to_string();
    let signature = Secret::parse(secret).unwrap().sign("msg_1", at, text.as_bytes());
    let at = at.to_string();
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", at.as_str()),
        ("webhook-signature", signature.as_str()),
    ];
    desk.client.send("POST", "/v1/inbound/steps/hook", &headers, &text).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_says_later_that_it_is_done_and_nobody_else_can() {
    let receiver = Receiver::answering(202).await;
    let desk = desk_with(&receiver, &json!([step("one")])).await;
    let id = ask(&desk, &order(1)).await;
    later(&desk, 1).await;
    assert_eq!(request(&desk, &id).await["steps"][0]["run"]["stage"], "waiting");
    let now = desk.clock.now().as_micros() / 1_000_000;
    let done = json!({ "id": format!("{id}.one.0.make"), "state": "succeeded" });
    let other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for (secret, at, body, status) in [
        (other, now, done.clone(), 401),
        (SECRET, now - 301, done.clone(), 401),
        (SECRET, now + 301, done.clone(), 401),
        (SECRET, now, json!({ "id": 7 }), 400),
        (SECRET, now, json!({ "id": format!("{id}.one.0.make"), "state": "maybe" }), 400),
        // What nobody waits for is taken, and changes nothing.
        (SECRET, now, json!({ "id": format!("{id}.one.1.make"), "state": "succeeded" }), 204),
        (SECRET, now, json!({ "id": format!("{id}.one.0.remove"), "state": "succeeded" }), 204),
        (SECRET, now, json!({ "id": "nothing", "state": "succeeded" }), 204),
        (SECRET, now, json!({ "id": format!("{id}.one.0.make"), "state": "in progress" }), 204),
    ] {
        let answer = call_back(&desk, secret, at, &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert_eq!(stage(&desk, &id).await, "provisioning", "{body}");
    }
    let text = done.to_string();
    let bare = desk.client.post("/v1/inbound/steps/hook", &text).await;
    bare.is_problem(401, "unauthenticated");
    // Signed for something else.
    let signature = Secret::parse(SECRET).unwrap().sign("msg_1", now, b"{}");
    let at = now.to_string();
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", at.as_str()),
        ("webhook-signature", signature.as_str()),
    ];
    let moved = desk.client.send("POST", "/v1/inbound/steps/hook", &headers, &text).await;
    assert_eq!(moved.status, 401);
    assert_eq!(stage(&desk, &id).await, "provisioning");

    assert_eq!(call_back(&desk, SECRET, now, &done).await.status, 204);
    assert_eq!((stage(&desk, &id).await, seats(&desk).await), ("fulfilled".into(), json!(30)));
    // The same again changes nothing.
    let revision = request(&desk, &id).await["revision"].clone();
    assert_eq!(call_back(&desk, SECRET, now, &done).await.status, 204);
    assert_eq!(request(&desk, &id).await["revision"], revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_says_where_is_asked_and_polls_draw_no_revisions() {
    let receiver = Receiver::answering(202).await;
    let desk = desk_with(&receiver, &json!([step("one")])).await;
    receiver.answer(|asked| match asked.method.as_str() {
        "POST" => Reply::status(202).with("location", "/jobs/7").with("retry-after", "5"),
        _ => Reply::json(200, &json!({ "state": "in progress" })).with("retry-after", "5"),
    });
    let id = ask(&desk, &order(1)).await;
    later(&desk, 1).await;
    later(&desk, 6).await;
    let revision = request(&desk, &id).await["revision"].clone();
    for _ in 0..5 {
        later(&desk, 6).await;
    }
    let asked = receiver.asked();
    assert!(asked.len() >= 7, "{}", asked.len());
    assert!(asked[1..].iter().all(|asked| asked.path == "/jobs/7" && asked.method == "GET"));
    assert_eq!(request(&desk, &id).await["revision"], revision, "nothing was new");
    receiver.answer(|_| Reply::json(200, &json!({ "state": "failed", "description": "no room" })));
    later(&desk, 6).await;
    receiver.answer(|_| Reply::status(200));
    for _ in 0..4 {
        later(&desk, 60).await;
    }
    let request = request(&desk, &id).await;
    assert_eq!(request["stage"], "failed", "{request}");
    assert!(request.to_string().contains("no room"), "{request}");

    // Another host is not asked.
    receiver.answer(|asked| match asked.method.as_str() {
        "POST" => Reply::status(202).with("location", "http://127.0.0.1:9/jobs/7"),
        _ => Reply::status(500),
    });
    let id = ask(&desk, &order(1)).await;
    later(&desk, 1).await;
    let detail = crate::steps::request(&desk, &id).await["steps"][0]["run"]["detail"].to_string();
    assert!(detail.contains("another host"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_at_an_instant_is_undone_then_without_anybody() {
    let receiver = Receiver::answering(200).await;
    let desk = desk_with(&receiver, &json!([step("one")])).await;
    let mut timed = order(1);
    timed["wants"]["until"] = json!("2026-03-02T12:00:00Z");
    let id = ask(&desk, &timed).await;
    later(&desk, 1).await;
    assert_eq!((stage(&desk, &id).await, seats(&desk).await), ("fulfilled".into(), json!(30)));
    later(&desk, 2 * 3_600).await;
    assert_eq!(seats(&desk).await, 20);
    let told: Vec<Value> =
        receiver.asked().iter().map(|asked| asked.json()["data"]["action"].clone()).collect();
    assert_eq!(told, ["make", "remove"]);
    let all = desk.get("/v1/requests?tenant=acme").await;
    let last = &all["requests"][0];
    assert_eq!((&last["stage"], last["asks"]["cancel"].is_object()), (&json!("fulfilled"), true));
    // Renewed in time it goes on.
    let id = ask(
        &desk,
        &json!({ "tenant": "acme", "listing": "seats",
        "wants": { "parameters": {}, "until": "2026-03-03T12:00:00Z" } }),
    )
    .await;
    later(&desk, 1).await;
    let holding = request(&desk, &id).await["holding"].clone();
    let longer = json!({ "tenant": "acme", "asks": { "change": { "holding": holding } },
        "wants": { "parameters": {}, "until": "2026-03-04T12:00:00Z" } });
    let renewal = ask(&desk, &longer).await;
    assert_eq!(stage(&desk, &renewal).await, "fulfilled", "nobody has to do anything for it");
    later(&desk, 24 * 3_600).await;
    assert_eq!(seats(&desk).await, 30);
    later(&desk, 24 * 3_600).await;
    assert_eq!(seats(&desk).await, 20);
    let told = receiver.asked().len();
    assert_eq!(told, 4, "made and removed once more");
}
