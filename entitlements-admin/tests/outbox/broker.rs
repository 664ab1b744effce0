//! A real service broker, from `PyPI`: what is made, changed and removed there, what is cleaned up when
//! it fails, and what never is.

use serde_json::{Value, json};

use crate::{
    clients::{Language, Program},
    desk::Desk,
    steps::{ask, later, offer, order, request, seats, stage},
    support::DEADLINE,
};

struct Partner {
    desk: Desk,
    broker: Program,
}

fn step(service: &str, clean_up: &str) -> Value {
    json!({ "key": "sms", "name": "Reminders", "timeout_s": 600, "waits_s": [10, 10],
        "kind": { "broker": { "connector": "partner", "service_id": service,
            "plan_id": "plan-small", "clean_up": clean_up } } })
}

impl Partner {
    async fn new(service: &str, clean_up: &str) -> Option<Self> {
        let (broker, said) = Program::ready(Language::Python, "broker", None).await?;
        let desk = Desk::with_acme().await;
        let url = format!("http://127.0.0.1:{}", said["port"]);
        let connector = json!({ "name": "Partner", "kind": { "broker": { "url": url } },
            "credentials": { "user": said["user"], "password": said["password"] } });
        desk.put("/v1/connectors/partner", &connector).await;
        offer(&desk, "seats", &json!([step(service, clean_up)])).await;
        Some(Self { desk, broker })
    }

    async fn tell(&mut self, line: &Value) -> Value {
        let said = self.broker.ask(line).await;
        assert!(said["error"].is_null(), "{said}");
        said
    }

    async fn rule(&mut self, rule: Value) {
        self.tell(&json!({ "rule": rule })).await;
    }

    /// What it has or had, one after the other.
    async fn instances(&mut self) -> Vec<Value> {
        let all = self.tell(&json!({ "instances": true })).await;
        all["instances"].as_object().unwrap().values().cloned().collect()
    }

    /// What it was asked: method, last part of the path, answer.
    async fn calls(&mut self) -> Vec<(String, Value)> {
        let all = self.tell(&json!({ "calls": true })).await;
        let calls = all["calls"].as_array().unwrap().clone();
        calls
            .into_iter()
            .map(|call| {
                let is_poll = call["path"].as_str().unwrap().ends_with("last_operation");
                let method = call["method"].as_str().unwrap();
                (if is_poll { "POLL".into() } else { method.to_owned() }, call)
            })
            .collect()
    }

    async fn methods(&mut self) -> Vec<String> {
        self.calls().await.into_iter().map(|(method, _)| method).collect()
    }

    /// Time goes by until a request is somewhere.
    async fn until(&self, id: &str, wanted: &str) {
        for _ in 0..60 {
            if stage(&self.desk, id).await == wanted {
                return;
            }
            later(&self.desk, 30).await;
        }
        let request = request(&self.desk, id).await;
        panic!("never {wanted}: {} {}", request["stage"], request["steps"]);
    }
}

fn with(parameters: Value) -> Value {
    let mut body = order(2);
    body["wants"]["parameters"] = parameters;
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_made_changed_and_removed_and_polled_in_between() {
    let Some(mut partner) = Partner::new("svc-reminders", "immediate").await else { return };
    let test = partner.desk.client.post("/v1/connectors/partner/test", "").await.json();
    assert_eq!(test["outcome"], "delivered", "{test}");
    partner.tell(&json!({ "clear": true })).await;

    let id = ask(&partner.desk, &with(json!({ "sender": "Acme", "polls": 2 }))).await;
    later(&partner.desk, 1).await;
    assert_eq!(seats(&partner.desk).await, 20, "it is not there yet");
    partner.until(&id, "fulfilled").await;
    assert_eq!(seats(&partner.desk).await, 40);
    let calls = partner.calls().await;
    let methods: Vec<&str> = calls.iter().map(|(method, _)| method.as_str()).collect();
    assert_eq!(methods, ["PUT", "POLL", "POLL", "POLL"]);
    let (_, made) = &calls[0];
    assert_eq!(made["query"], "accepts_incomplete=true");
    let body = &made["body"];
    for (name, value) in [
        ("service_id", json!("svc-reminders")),
        ("plan_id", json!("plan-small")),
        ("organization_guid", json!("acme")),
        ("space_guid", json!("seats")),
        ("parameters", json!({ "sender": "Acme", "polls": 2 })),
    ] {
        assert_eq!(body[name], value, "{name}: {body}");
    }
    assert_eq!(
        (&body["context"]["tenant"], &body["context"]["quantity"]),
        (&json!("acme"), &json!(2))
    );
    let headers = &made["headers"];
    assert_eq!(headers["x-broker-api-version"], "2.17");
    assert!(
        headers["x-broker-api-originating-identity"].as_str().unwrap().starts_with("entitlements ")
    );
    assert_eq!(headers["x-broker-api-request-identity"], format!("{id}.sms.0.make"));
    let poll = calls[1].1["query"].as_str().unwrap();
    assert!(poll.contains("operation=make") && poll.contains("service_id=svc-reminders"), "{poll}");

    // A change is one of the same instance.
    let holding = request(&partner.desk, &id).await["holding"].clone();
    let mut more = with(json!({ "sender": "Acme 2" }));
    more["asks"] = json!({ "change": { "holding": holding } });
    more["wants"]["quantity"] = json!(3);
    let change = ask(&partner.desk, &more).await;
    partner.until(&change, "fulfilled").await;
    assert_eq!(seats(&partner.desk).await, 50);
    let all = partner.instances().await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(
        (&all[0]["updated"], &all[0]["parameters"]["sender"]),
        (&json!(1), &json!("Acme 2"))
    );

    // One that the broker refuses leaves everything as it was.
    let mut worse = with(json!({ "fail": true }));
    worse["asks"] = json!({ "change": { "holding": holding } });
    worse["wants"]["quantity"] = json!(9);
    let failed = ask(&partner.desk, &worse).await;
    partner.until(&failed, "failed").await;
    assert_eq!(seats(&partner.desk).await, 50);
    let deletes = partner.methods().await.into_iter().filter(|method| method == "DELETE");
    assert_eq!(deletes.count(), 0, "a change that fails never removes anything");

    let back = json!({ "tenant": "acme", "asks": { "cancel": { "holding": holding } },
        "wants": { "parameters": {} } });
    let cancel = ask(&partner.desk, &back).await;
    assert_eq!(seats(&partner.desk).await, 20);
    partner.until(&cancel, "fulfilled").await;
    let all = partner.instances().await;
    assert_eq!((&all[0]["state"], &all[0]["deleted"]), (&json!("gone"), &json!(1)));
}

/// What goes wrong while something is made or removed, and what must come of it.
struct Row {
    name: &'static str,
    rule: Value,
    parameters: Value,
    /// What the request ends as.
    ends: &'static str,
    /// How many instances were begun in all.
    created: usize,
    /// How many deletions were asked for before the request ended, at least.
    cleans: bool,
}

fn row(name: &'static str, rule: Value, ends: &'static str, created: usize, cleans: bool) -> Row {
    Row { name, rule, parameters: json!({}), ends, created, cleans }
}

/// The specification's table of orphans, against the real broker. Whatever happens, nothing is left
/// there that no tenant has, and nothing is in force that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_left_at_a_broker_is_removed_and_nothing_else_is() {
    let put = |what: Value| {
        let mut rule = json!({ "method": "PUT", "reaches": true });
        rule.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        rule
    };
    let always = |what: Value| {
        let mut rule = put(what);
        rule["times"] = json!(-1);
        rule
    };
    let rows = [
        // Making it: once something odd, and the next try succeeds.
        row("201, malformed", put(json!({ "status": 201, "body": "{" })), "fulfilled", 2, true),
        row("202, malformed", put(json!({ "status": 202, "body": "[" })), "fulfilled", 2, true),
        row("204", put(json!({ "status": 204 })), "fulfilled", 2, true),
        row("206", put(json!({ "status": 206, "body": "{}" })), "fulfilled", 2, true),
        row("500", put(json!({ "status": 500 })), "fulfilled", 2, true),
        row("503", put(json!({ "status": 503, "body": "{}" })), "fulfilled", 2, true),
        row("no answer", put(json!({ "drop": true })), "fulfilled", 2, true),
        row("no answer, not done", json!({ "method": "PUT", "drop": true }), "fulfilled", 1, true),
        // Making it: what it says is that nothing was done.
        row(
            "200, malformed",
            json!({ "method": "PUT", "status": 200, "body": "{" }),
            "failed",
            0,
            false,
        ),
        row("400", json!({ "method": "PUT", "status": 400, "body": "{}" }), "failed", 0, false),
        row("408", json!({ "method": "PUT", "status": 408 }), "fulfilled", 1, false),
        row("409", json!({ "method": "PUT", "status": 409, "body": "{}" }), "failed", 0, false),
        row(
            "422, busy",
            json!({ "method": "PUT", "status": 422, "body": "{\"error\":\"ConcurrencyError\"}" }),
            "fulfilled",
            1,
            false,
        ),
        row(
            "429",
            json!({ "method": "PUT", "status": 429, "headers": { "Retry-After": "20" } }),
            "fulfilled",
            1,
            false,
        ),
        row("401", json!({ "method": "PUT", "status": 401 }), "fulfilled", 1, false),
        // Making it: always.
        row("500 for ever", always(json!({ "status": 500 })), "failed", 3, true),
        // Asking how far it is: whatever is odd means asking again.
        row(
            "poll: 500",
            json!({ "method": "GET", "path": "last_operation", "status": 500 }),
            "fulfilled",
            1,
            false,
        ),
        row(
            "poll: no answer",
            json!({ "method": "GET", "path": "last_operation", "drop": true }),
            "fulfilled",
            1,
            false,
        ),
        row(
            "poll: 410",
            json!({ "method": "GET", "path": "last_operation", "status": 410, "body": "{\"state\":\"succeeded\"}" }),
            "fulfilled",
            1,
            false,
        ),
        row(
            "poll: 404",
            json!({ "method": "GET", "path": "last_operation", "status": 404 }),
            "fulfilled",
            1,
            false,
        ),
        Row {
            parameters: json!({ "fail": true }),
            ..row("poll: failed", json!({ "method": "NONE" }), "failed", 1, true)
        },
        Row {
            parameters: json!({ "polls": 1_000 }),
            ..row("poll: never", json!({ "method": "NONE" }), "failed", 1, true)
        },
        // Removing what it may have left: until it is gone.
        Row {
            parameters: json!({ "fail": true }),
            ..row(
                "remove: 500",
                json!({ "method": "DELETE", "times": 3, "status": 500 }),
                "failed",
                1,
                true,
            )
        },
        Row {
            parameters: json!({ "fail": true }),
            ..row(
                "remove: no answer",
                json!({ "method": "DELETE", "times": 2, "drop": true }),
                "failed",
                1,
                true,
            )
        },
        Row {
            parameters: json!({ "fail": true }),
            ..row("remove: 204", json!({ "method": "DELETE", "status": 204 }), "failed", 1, true)
        },
    ];
    for row in rows {
        let Some(mut partner) = Partner::new("svc-reminders", "immediate").await else { return };
        partner.rule(row.rule.clone()).await;
        let id = ask(&partner.desk, &with(row.parameters.clone())).await;
        partner.until(&id, row.ends).await;
        let name = row.name;
        // What is being removed goes on after that.
        partner.tell(&json!({ "clear": true })).await;
        let all = partner.instances().await;
        let created: u64 = all.iter().map(|it| it["created"].as_u64().unwrap()).sum();
        assert_eq!(created, row.created as u64, "{name}: {all:?}");
        let deleted: u64 = all.iter().map(|it| it["deleted"].as_u64().unwrap()).sum();
        let kept =
            all.iter().filter(|it| it["state"] != "gone" && it["state"] != "deleting").count();
        let (in_force, there) = match row.ends {
            "fulfilled" => (40, 1),
            _ => (20, 0),
        };
        assert_eq!((seats(&partner.desk).await, kept), (json!(in_force), there), "{name}: {all:?}");
        assert_eq!(deleted as usize, row.created - there, "{name}: each is removed once: {all:?}");
        assert_eq!(
            row.cleans,
            row.created > there || name.contains("not done"),
            "{name}: the table"
        );
    }
}

/// A broker that is not asked to clean up by itself is not: somebody has to say so.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_for_an_operator_waits_for_one() {
    let Some(mut partner) = Partner::new("svc-reminders", "hold").await else { return };
    let id = ask(&partner.desk, &with(json!({ "fail": true }))).await;
    for _ in 0..10 {
        later(&partner.desk, 60).await;
    }
    assert!(!partner.methods().await.contains(&"DELETE".to_owned()));
    let held = request(&partner.desk, &id).await;
    assert_eq!(held["steps"][0]["run"]["stage"], "held", "{held}");
    let notices = partner.desk.get("/v1/notices?event_type=request.step_waits").await;
    assert_eq!(notices["notices"].as_array().unwrap().len(), 1, "{notices}");
    let path = format!("/v1/requests/{id}/steps/sms");
    let told = partner.desk.client.post(&path, r#"{"done":true,"comment":"it can go"}"#).await;
    assert_eq!(told.status, 200, "{}", told.text());
    partner.until(&id, "failed").await;
    assert_eq!(partner.instances().await[0]["deleted"], 1);
}

/// One that cannot be removed is never forgotten: it waits in a queue that somebody hears of.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_removed_waits_for_somebody_and_is_told_of() {
    let Some(mut partner) = Partner::new("svc-sync", "immediate").await else { return };
    let id = ask(&partner.desk, &with(json!({}))).await;
    partner.until(&id, "fulfilled").await;
    let holding = request(&partner.desk, &id).await["holding"].clone();
    partner.rule(json!({ "method": "DELETE", "times": -1, "status": 400, "body": "{}" })).await;
    let back = json!({ "tenant": "acme", "asks": { "cancel": { "holding": holding } },
        "wants": { "parameters": {} } });
    let cancel = ask(&partner.desk, &back).await;
    later(&partner.desk, 1).await;
    let stuck = request(&partner.desk, &cancel).await;
    assert_eq!(stuck["steps"][0]["run"]["stage"], "undo_failed", "{stuck}");
    assert_eq!(seats(&partner.desk).await, 20, "it is in force no more all the same");
    let notices = partner.desk.get("/v1/notices?event_type=request.compensation_failed").await;
    assert_eq!(notices["notices"].as_array().unwrap().len(), 1, "{notices}");
    partner.tell(&json!({ "clear": true })).await;
    let again = partner.desk.client.post(&format!("/v1/requests/{cancel}/retry-undo"), "").await;
    assert_eq!(again.status, 200, "{}", again.text());
    tokio::time::timeout(DEADLINE, partner.until(&cancel, "fulfilled")).await.unwrap();
    assert_eq!(partner.instances().await[0]["state"], "gone");
}
