//! The marketplace from one end to the other, with real parts: a check that is denied at a sidecar, a
//! request, two people who agree, a broker that takes its time, an answer that changes for a program
//! with an `OpenFeature` client, a ticket, a mail, and all of it taken back.

use std::time::Duration;

use entitlements_admin::{Admin, Config, workflow::Scope};
use entitlements_outbound::{ClientConfig, HttpClient};
use entitlements_sidecar::Sidecar;
use hyper::{Request, body::Bytes};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    clients::{Language, Program},
    jira_fake::{EMAIL, Jira, TOKEN},
    people::{Browser, person},
    support::{ACME, Client, DEADLINE, World, config},
};

const CATALOG: &str = r#"
    [features]
    reminders = { kind = "switch" }
    messages = { kind = { limit = { unit = "message" } } }
    [plans.pro]
    grants = {}
    [add_ons.reminders]
    grants = { reminders = true, messages = 500 }
"#;

struct Story {
    world: World,
    product: Client,
    jira: Jira,
    broker: Program,
    mail: Program,
    ofrep: Program,
    sidecar: entitlements_sidecar::Running,
}

impl Story {
    async fn new() -> Option<Self> {
        let (broker, partner) = Program::ready(Language::Python, "broker", None).await?;
        let (mail, post) = Program::ready(Language::Python, "smtp", Some(&json!({}))).await?;
        let folder = TempDir::new().unwrap();
        let config = Config {
            allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
            ..config(folder.path())
        };
        let running = Admin::start(config).await.unwrap();
        let admin = Client::new(running.addr(), running.first_key());
        let world = World { running, folder, admin };
        let toml = [("content-type", "application/toml")];
        let put = world.admin.send("PUT", "/v1/catalog", &toml, CATALOG).await;
        assert_eq!(put.status, 200, "{}", put.text());
        assert_eq!(world.admin.put("/v1/tenants/acme", ACME).await.status, 200);
        let product = world.client(Scope::Product).await;
        let jira = Jira::start().await;
        let story_config = entitlements_sidecar::Config {
            listen: ([127, 0, 0, 1], 0).into(),
            name: Some("eu-1".into()),
            ..entitlements_sidecar::Config::new(
                format!("http://{}", world.running.addr()),
                world.running.first_key().unwrap(),
                world.running.trust(),
                world.folder.path().join("sidecar"),
            )
        };
        let sidecar = Sidecar::start(story_config).await.unwrap();
        let url = format!("http://{}", sidecar.addr());
        let argument = json!({ "sidecar": url });
        let (ofrep, _) = Program::ready(Language::Python, "ofrep", Some(&argument)).await?;
        let story = Self { world, product, jira, broker, mail, ofrep, sidecar };
        story.connect(&partner, &post).await;
        Some(story)
    }

    async fn put(&self, path: &str, body: &Value) {
        let answer = self.world.admin.put(path, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }

    /// The broker; the sales team has a ticket for each request, customer success a mail.
    async fn connect(&self, partner: &Value, post: &Value) {
        let url = format!("http://127.0.0.1:{}", partner["port"]);
        self.put(
            "/v1/connectors/partner",
            &json!({ "name": "Partner",
            "kind": { "broker": { "url": url } },
            "credentials": { "user": partner["user"], "password": partner["password"] } }),
        )
        .await;
        self.put(
            "/v1/connectors/jira",
            &json!({ "name": "Jira", "kind": { "jira": {
            "url": self.jira.receiver.url(), "flavor": "cloud", "project": "ENT" } },
            "credentials": { "email": EMAIL, "token": TOKEN } }),
        )
        .await;
        self.put(
            "/v1/connectors/mail",
            &json!({ "name": "Mail", "kind": { "email": {
            "host": "localhost", "port": post["port"], "security": "plain",
            "from": "Entitlements <entitlements@example.com>" } } }),
        )
        .await;
        for (team, member, connector, events) in [
            ("sales", "ben@example.com", "jira", json!(["request.*"])),
            ("success", "fay@example.com", "mail", json!(["request.fulfilled"])),
        ] {
            self.put(&format!("/v1/teams/{team}"), &json!({ "name": team, "members": [member] }))
                .await;
            self.put(
                &format!("/v1/routes/{team}"),
                &json!({ "events": events, "team": team, "connector": connector }),
            )
            .await;
        }
    }

    /// What a program is told about the switch by its `OpenFeature` client.
    async fn sees(&mut self) -> Value {
        let asked = json!({ "tenant": "acme", "feature": "reminders" });
        self.ofrep.ask(&asked).await["value"].clone()
    }

    async fn until_sees(&mut self, wanted: bool) {
        for _ in 0..400 {
            if self.sees().await == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never becomes {wanted}");
    }

    async fn request(&self, id: &str) -> Value {
        self.world.admin.get(&format!("/v1/requests/{id}")).await.json()
    }

    async fn until(&self, id: &str, wanted: &str) -> Value {
        let waited = async {
            loop {
                let request = self.request(id).await;
                if request["stage"] == wanted {
                    return request;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(3 * DEADLINE, waited).await {
            Ok(request) => request,
            Err(_) => panic!("never {wanted}: {}", self.request(id).await),
        }
    }

    async fn approve(&self, who: &Browser, id: &str) {
        let effect = who.get(&format!("/v1/requests/{id}/effect")).await.json();
        assert_eq!(effect["features"].as_array().unwrap().len(), 2, "{effect}");
        let body = json!({ "digest": effect["digest"], "comment": "as agreed" }).to_string();
        let approved = who.post(&format!("/v1/requests/{id}/approve"), &body).await;
        assert_eq!(approved.status, 200, "{}", approved.text());
    }

    /// What the sidecar answers natively.
    async fn denied_check(&self) -> Value {
        let http = HttpClient::new(ClientConfig::default()).unwrap();
        let body = r#"{"tenant":"acme","feature":"reminders"}"#;
        let request = Request::post(format!("http://{}/v1/check", self.sidecar.addr()));
        let request = request.header("content-type", "application/json");
        let answer =
            http.send(request.body(Bytes::from_static(body.as_bytes())).unwrap()).await.unwrap();
        serde_json::from_slice(answer.body()).unwrap()
    }

    /// The commits of the audit that touched an object.
    async fn commits(&self, object: &str) -> Vec<(u64, String)> {
        let path = format!("/v1/audit?object={object}&limit=100");
        let rows = self.world.admin.get(&path).await.json();
        let rows = rows["entries"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| {
                (row["revision"].as_u64().unwrap(), row["command"].as_str().unwrap().to_owned())
            })
            .collect()
    }
}

fn listing() -> Value {
    json!({
        "title": "Text reminders",
        "description": "Five hundred messages a month",
        "terms": "Thirty days",
        "price": { "amount": 4900, "currency": "EUR", "per": "month" },
        "offer": { "add_on": "reminders" },
        "team": "sales",
        "approval": { "stages": [
            { "name": "Sales", "of": { "role": "approver" } },
            { "name": "Success", "of": { "team": "success" } } ] },
        "provisioning": [{ "key": "sms", "name": "Reserve a sender", "kind": { "broker": {
            "connector": "partner", "service_id": "svc-reminders", "plan_id": "plan-small" } } }],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_denied_check_to_the_answer_and_back() {
    let Some(mut story) = Story::new().await else { return };
    let ada = person(&story.world, "ada", &["super_admin"]).await;
    let ben = person(&story.world, "ben", &["approver"]).await;
    let fay = person(&story.world, "fay", &["analyst"]).await;
    story.put("/v1/listings/sms", &listing()).await;
    let submitted = story.world.admin.post("/v1/listings/sms/submit", "").await;
    assert_eq!(submitted.status, 200, "{}", submitted.text());
    let published = ada.post("/v1/listings/sms/publish", "").await;
    assert_eq!(published.status, 200, "{}", published.text());

    // The product is told no, and where it stands what would make it a yes.
    let revision = story.world.running.app().revision();
    story.sidecar.wait_revision(revision, DEADLINE).await.unwrap();
    assert_eq!(story.sees().await, false);
    let denied = story.denied_check().await;
    assert_eq!(denied["allowed"], false, "{denied}");
    let offers = story.product.get(denied["offers"].as_str().unwrap()).await.json();
    let offer = &offers["offers"][0];
    assert_eq!((&offer["listing"], &offer["may_ask"]), (&json!("sms"), &json!(true)), "{offers}");
    let explained = story.product.get("/v1/tenants/acme/features/reminders/explain").await.json();
    assert_eq!(explained["offers"], denied["offers"], "{explained}");

    let asked = json!({ "tenant": "acme", "listing": offer["listing"],
        "wants": { "quantity": 1 }, "note": "for the clinic in Bonn" });
    let made = story.product.post("/v1/requests", &asked.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    story.approve(&ben, &id).await;
    assert_eq!(story.request(&id).await["stage"], "pending_approval");
    story.approve(&fay, &id).await;
    story.until(&id, "provisioning").await;
    assert_eq!(story.sees().await, false, "the broker is still at it");
    let request = story.until(&id, "fulfilled").await;
    story.until_sees(true).await;

    // It is in force on every sidecar, at the revision of the grant.
    let force = async || story.world.admin.get(&format!("/v1/requests/{id}/in-force")).await.json();
    let waited = async {
        loop {
            let force = force().await;
            if force["sidecars"] == 1 {
                return force;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let force = tokio::time::timeout(DEADLINE, waited).await.expect("it is told of");
    assert_eq!((&force["of_sidecars"], &force["missing"]), (&json!(1), &json!([])), "{force}");
    let granted = force["revision"].as_u64().unwrap();
    let instance = &story.broker.ask(&json!({ "instances": true })).await["instances"];
    let instance = instance.as_object().unwrap().values().next().unwrap().clone();
    assert_eq!((&instance["state"], &instance["created"]), (&json!("ready"), &json!(1)));
    assert_eq!(instance["context"]["request"], id);

    // The right people were told: a ticket that is closed again, and a mail.
    let mail = story.mail.said().await;
    assert_eq!(mail["to"], json!(["fay@example.com"]), "{mail}");
    assert!(mail["subject"].as_str().unwrap().contains("Text reminders for Acme Clinic"), "{mail}");
    let waited = async {
        loop {
            let issues = story.jira.issues();
            if issues.iter().any(|issue| issue.done) {
                return issues;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let issues = tokio::time::timeout(2 * DEADLINE, waited).await.expect("it is closed");
    assert_eq!(issues.len(), 1, "one ticket for one request");
    let tasks = story.world.admin.get(&format!("/v1/tasks?subject=request/{id}")).await.json();
    assert_eq!(tasks["tasks"][0]["external_id"], issues[0].key, "{tasks}");

    // One commit put it in force: the tenant's, the request's and the holding's.
    let holding = request["holding"].as_str().unwrap();
    let commits = story.commits(&format!("request:{id}")).await;
    let commands: Vec<&str> = commits.iter().rev().map(|(_, command)| command.as_str()).collect();
    assert_eq!(
        commands,
        [
            "create_request",
            "approve_request",
            "approve_request",
            "begin_step",
            "note_step",
            "note_step"
        ],
        "each commit says something"
    );
    for object in [format!("holding:{holding}"), "tenant:acme".into()] {
        let known = story.commits(&object).await;
        assert!(known.iter().any(|(revision, _)| *revision == granted), "{object}: {known:?}");
    }
    assert!(commits.iter().any(|(revision, _)| *revision == granted), "{commits:?}");

    // And back: it is in force no more at once, and then gone at the partner.
    let back = json!({ "tenant": "acme", "asks": { "cancel": { "holding": holding } } });
    let made = story.product.post("/v1/requests", &back.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let cancel = made.json()["id"].as_str().unwrap().to_owned();
    story.until_sees(false).await;
    story.until(&cancel, "fulfilled").await;
    let instances = story.broker.ask(&json!({ "instances": true })).await["instances"].clone();
    let instance = instances.as_object().unwrap().values().next().unwrap();
    assert_eq!((&instance["state"], &instance["deleted"]), (&json!("gone"), &json!(1)));
    let verified = story.world.admin.get("/v1/audit/verify").await.json();
    assert_eq!(verified["whole"], true, "{verified}");
}
