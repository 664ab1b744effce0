//! The marketplace over HTTP: listings, requests, agreement, steps, what comes into force and what is
//! taken back.

use std::time::Duration;

use entitlements_admin::{
    Admin,
    app::{Actor, Command, NewKey},
    clock::Clock,
    jobs,
    workflow::Scope,
};
use entitlements_core::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    people::{Browser, invite, person},
    support::{ACME, Answer, CATALOG, Client, World, config},
};

/// A control plane whose time stands still, with somebody of each kind: Ada may do everything, Ben and
/// Bea approve, Fay is in finance, Olaf operates; and the product asks by its key.
pub(crate) struct Market {
    pub(crate) world: World,
    pub(crate) clock: Clock,
    pub(crate) ada: Browser,
    pub(crate) ben: Browser,
    pub(crate) bea: Browser,
    pub(crate) fay: Browser,
    pub(crate) olaf: Browser,
    pub(crate) product: Client,
}

pub(crate) fn listing() -> Value {
    json!({
        "title": "More seats",
        "description": "Ten seats each",
        "terms": "Thirty days",
        "price_note": "10 EUR a month",
        "price": { "amount": 1000, "currency": "EUR", "per": "month" },
        "offer": { "add_on": "more-seats" },
    })
}

impl Market {
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Clock::manual(Timestamp::parse("2026-03-02T10:00:00Z").unwrap());
        let running = Admin::start_with(config(folder.path()), clock.clone()).await.unwrap();
        let admin = Client::new(running.addr(), running.first_key());
        let world = World { running, folder, admin };
        let toml = [("content-type", "application/toml")];
        assert_eq!(world.admin.send("PUT", "/v1/catalog", &toml, CATALOG).await.status, 200);
        assert_eq!(world.admin.put("/v1/tenants/acme", ACME).await.status, 200);
        let ada = person(&world, "ada", &["super_admin"]).await;
        let ben = person(&world, "ben", &["approver"]).await;
        let bea = person(&world, "bea", &["approver"]).await;
        let fay = person(&world, "fay", &["analyst"]).await;
        let olaf = person(&world, "olaf", &["operator"]).await;
        let team = json!({ "name": "Finance", "members": ["fay@example.com", "ben@example.com"] });
        assert_eq!(world.admin.put("/v1/teams/finance", &team.to_string()).await.status, 200);
        let product = world.client(Scope::Product).await;
        Self { world, clock, ada, ben, bea, fay, olaf, product }
    }

    /// Time goes by, and what is due is done: longer than a lease holds, so that it is we who do it.
    /// Says how many requests were looked at.
    pub(crate) async fn pass(&self, seconds: u64) -> usize {
        assert!(seconds > 90, "the lease of the control plane itself is not over");
        self.clock.advance(self.clock.now().plus(Duration::from_secs(seconds)));
        let app = self.world.running.app();
        jobs::run(app, "test").await.unwrap();
        jobs::advance(app).await.unwrap()
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) {
        let answer = self.world.admin.put(path, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }

    /// A listing that tenants see.
    pub(crate) async fn offer(&self, key: &str, listing: &Value) {
        let path = format!("/v1/listings/{key}");
        self.put(&path, listing).await;
        let submitted = self.world.admin.post(&format!("{path}/submit"), "").await;
        assert_eq!(submitted.status, 200, "{}", submitted.text());
        let published = self.ada.post(&format!("{path}/publish"), "").await;
        assert_eq!(published.status, 200, "{}", published.text());
    }

    pub(crate) async fn ask(&self, body: &Value) -> String {
        let made = self.product.post("/v1/requests", &body.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["id"].as_str().unwrap().into()
    }

    pub(crate) async fn request(&self, id: &str) -> Value {
        self.world.admin.get(&format!("/v1/requests/{id}")).await.json()
    }

    pub(crate) async fn stage(&self, id: &str) -> String {
        self.request(id).await["stage"].as_str().unwrap().into()
    }

    pub(crate) async fn digest(&self, id: &str) -> String {
        let effect = self.world.admin.get(&format!("/v1/requests/{id}/effect")).await;
        assert_eq!(effect.status, 200, "{}", effect.text());
        effect.json()["digest"].as_str().unwrap().into()
    }

    pub(crate) async fn approve(&self, who: &Browser, id: &str) -> Answer {
        let body = json!({ "digest": self.digest(id).await }).to_string();
        who.post(&format!("/v1/requests/{id}/approve"), &body).await
    }

    pub(crate) async fn seats(&self) -> Value {
        let answer = self.world.admin.get("/v1/tenants/acme/features/seats").await;
        answer.json()["amount"].clone()
    }

    pub(crate) async fn act(&self, who: &Browser, id: &str, act: &str, text: &str) -> Answer {
        let body = json!({ "text": text }).to_string();
        who.post(&format!("/v1/requests/{id}/{act}"), &body).await
    }
}

pub(crate) fn order() -> Value {
    json!({ "tenant": "acme", "listing": "seats" })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_agreed_to_set_up_in_force_changed_and_taken_back() {
    let market = Market::new().await;
    let mut wanted = listing();
    wanted["approval"] = json!({ "stages": [
        { "name": "Sales", "of": { "role": "approver" }, "count": 1 },
        { "name": "Finance", "of": { "team": "finance" }, "above_amount": 1500 },
    ] });
    wanted["parameters"] = json!({ "type": "object", "required": ["site"],
        "properties": { "site": { "type": "string" } } });
    wanted["provisioning"] = json!([
        { "key": "desks", "name": "Set up desks", "kind": { "manual": {
            "instructions": "Put ten desks there", "undo_instructions": "Take them away" } } },
        { "key": "rest", "name": "Let the paint dry", "kind": { "wait": { "seconds": 60 } } },
    ]);
    market.offer("seats", &wanted).await;

    let shop = market.product.get("/v1/tenants/acme/marketplace").await.json();
    assert_eq!(shop["offers"][0]["may_ask"], true, "{shop}");
    // What the listing asks for is asked for.
    let without = market.product.post("/v1/requests", &order().to_string()).await;
    without.is_problem(400, "invalid_request");
    let mut body = order();
    body["wants"] = json!({ "quantity": 2, "parameters": { "site": "Bonn" } });
    let id = market.ask(&body).await;
    assert_eq!(market.stage(&id).await, "pending_approval");
    let effect = market.world.admin.get(&format!("/v1/requests/{id}/effect")).await.json();
    assert_eq!(
        effect["features"],
        json!([{ "feature": "seats", "before": "20", "after": "40", "reason": "plan" }]),
        "{effect}"
    );
    assert_eq!(market.approve(&market.bea, &id).await.status, 200);
    assert_eq!(market.stage(&id).await, "pending_approval", "finance is asked too");
    assert_eq!(market.approve(&market.fay, &id).await.status, 200);
    assert_eq!(market.stage(&id).await, "provisioning");
    assert_eq!(market.seats().await, 20, "nothing is in force before its steps are done");

    let step = format!("/v1/requests/{id}/steps/desks");
    let told = market.olaf.post(&step, r#"{"done":true}"#).await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(market.seats().await, 20);
    market.pass(120).await;
    let request = market.request(&id).await;
    assert_eq!(request["stage"], "fulfilled", "{request}");
    assert_eq!(market.seats().await, 40);
    let holding = request["holding"].as_str().unwrap();
    let shop = market.product.get("/v1/tenants/acme/marketplace").await.json();
    assert_eq!(shop["holdings"][0]["id"], holding);
    assert!(shop["offers"][0]["why"].as_str().unwrap().contains("already"), "{shop}");

    // The commit of the grant is the tenant's, the request's and the holding's.
    let history = market.world.admin.get("/v1/history/tenant/acme").await.json();
    let revision = &history["versions"][0]["revision"];
    let row = market.world.admin.get(&format!("/v1/audit/{revision}")).await.text();
    for object in [format!("request:{id}"), format!("holding:{holding}"), "tenant:acme".into()] {
        assert!(row.contains(&object), "{object}: {row}");
    }

    let mut more = order();
    more["asks"] = json!({ "change": { "holding": holding } });
    more["wants"] = json!({ "quantity": 1, "parameters": { "site": "Bonn" } });
    let change = market.ask(&more).await;
    assert_eq!(market.approve(&market.ben, &change).await.status, 200);
    // Whoever set up the desks takes some away.
    assert_eq!(
        (market.stage(&change).await, market.seats().await),
        ("provisioning".into(), json!(40))
    );
    let step = format!("/v1/requests/{change}/steps/desks");
    assert_eq!(market.olaf.post(&step, r#"{"done":true}"#).await.status, 200);
    assert_eq!(
        (market.stage(&change).await, market.seats().await),
        ("fulfilled".into(), json!(30))
    );

    let mut back = order();
    back["asks"] = json!({ "cancel": { "holding": holding } });
    back["wants"] = json!({ "parameters": { "site": "Bonn" } });
    let cancel = market.ask(&back).await;
    // It is in force no more before anything is undone.
    assert_eq!(
        (market.stage(&cancel).await, market.seats().await),
        ("provisioning".into(), json!(20))
    );
    let told = market
        .olaf
        .post(&format!("/v1/requests/{cancel}/steps/desks"), r#"{"done":true,"comment":"gone"}"#)
        .await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(market.stage(&cancel).await, "fulfilled");
    let log = market.request(&cancel).await["log"].clone();
    let what: Vec<&str> =
        log.as_array().unwrap().iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["create", "submit", "evaluate", "begin", "revoke", "step", "finish"]);
}

/// Ways around the eyes of somebody else. None of them leads through.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_agrees_to_their_own_request_whatever_they_try() {
    let market = Market::new().await;
    market.offer("seats", &listing()).await;
    let two = json!({ "stages": [{ "name": "Two", "of": { "role": "approver" }, "count": 2 }] });
    let mut twice = listing();
    twice["approval"] = two;
    market.offer("twice", &twice).await;
    let asked_by = async |who: &Browser, body: Value| -> String {
        let made = who.post("/v1/requests", &body.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["id"].as_str().unwrap().to_owned()
    };
    let refused = |answer: Answer, said: &str| {
        assert!(matches!(answer.status, 403 | 404 | 409), "{} {}", answer.status, answer.text());
        assert!(answer.text().contains(said), "{said}: {}", answer.text());
    };
    // Who asks, though they may do everything.
    let own = asked_by(&market.ada, order()).await;
    refused(market.approve(&market.ada, &own).await, "you asked for it");
    for act in ["reject", "ask", "duplicate"] {
        refused(market.act(&market.ada, &own, act, "because").await, "you asked for it");
    }
    // A key of theirs, and the product.
    let digest = json!({ "digest": market.digest(&own).await }).to_string();
    for key in [&market.world.admin, &market.product] {
        let answer = key.post(&format!("/v1/requests/{own}/approve"), &digest).await;
        refused(answer, "this takes the role `super_admin`");
    }
    // Who has no part in it, who is not asked.
    refused(market.approve(&market.olaf, &own).await, "asks for somebody with the role `approver`");
    refused(market.act(&market.fay, &own, "reject", "because").await, "does not ask you");
    // Who stands in for whoever asked.
    let window = json!({ "until": "2026-04-01T00:00:00Z" });
    let delegate = |from: &str, to: &str| {
        json!({ "delegations": [{ "from": format!("{from}@example.com"),
            "to": format!("{to}@example.com"), "window": window }] })
    };
    market.put("/v1/settings/delegations", &delegate("ada", "ben")).await;
    refused(market.approve(&market.ben, &own).await, "you stand in for");
    // Who gains from it.
    let mut gift = order();
    gift["beneficiary"] = json!("Bea@example.com");
    let gift = asked_by(&market.olaf, gift).await;
    refused(market.approve(&market.bea, &gift).await, "you gain from it");
    // Who edited it last.
    let wants = json!({ "quantity": 3 }).to_string();
    let edit = format!("/v1/requests/{gift}/wants");
    assert_eq!(market.ada.send("PUT", &edit, &wants).await.status, 200);
    assert_eq!(market.ada.post(&format!("/v1/requests/{gift}/submit"), "").await.status, 200);
    refused(market.approve(&market.ada, &gift).await, "you edited it last");
    // A vote for something else than what stands there: made up, old, of another one.
    let id = market.ask(&order()).await;
    for digest in ["00".repeat(32), market.digest(&gift).await] {
        let body = json!({ "digest": digest }).to_string();
        let answer = market.bea.post(&format!("/v1/requests/{id}/approve"), &body).await;
        refused(answer, "not what would be granted now");
    }
    let old = json!({ "digest": market.digest(&id).await }).to_string();
    let mut dearer = listing();
    dearer["price_note"] = json!("20 EUR a month");
    market.put("/v1/listings/seats", &dearer).await;
    let answer = market.bea.post(&format!("/v1/requests/{id}/approve"), &old).await;
    refused(answer, "not what would be granted now");
    let effect = market.world.admin.get(&format!("/v1/requests/{id}/effect")).await.json();
    assert_eq!(effect["listing_changes"], json!(["price_note"]));
    // Twice, and with the right of somebody who has voted.
    let body = json!({ "tenant": "acme", "listing": "twice" });
    let both = market.ask(&body).await;
    assert_eq!(market.approve(&market.bea, &both).await.status, 200);
    refused(market.approve(&market.bea, &both).await, "you have approved it already");
    market.put("/v1/settings/delegations", &delegate("bea", "fay")).await;
    refused(market.approve(&market.fay, &both).await, "has approved it already");
    // A vote before an edit.
    let wants = json!({ "quantity": 2 }).to_string();
    let edit = format!("/v1/requests/{both}/wants");
    assert_eq!(market.product.put(&edit, &wants).await.status, 200);
    assert_eq!(market.product.post(&format!("/v1/requests/{both}/submit"), "").await.status, 200);
    assert_eq!(market.request(&both).await["votes"], Value::Null, "they are void");
    assert_eq!(market.approve(&market.ben, &both).await.status, 200);
    assert_eq!(market.stage(&both).await, "pending_approval");
    // Who is shut out has no vote, and one that they gave counts no more.
    let users = market.world.admin.get("/v1/users").await.json();
    let ben = users["users"].as_array().unwrap().iter().find(|user| user["name"] == "ben").unwrap();
    let path = format!("/v1/users/{}", ben["id"].as_str().unwrap());
    let disabled = market.world.admin.send("PATCH", &path, &[], r#"{"disabled":true}"#).await;
    assert_eq!(disabled.status, 200, "{}", disabled.text());
    assert_eq!(market.ben.post(&format!("/v1/requests/{both}/approve"), "{}").await.status, 401);
    // Without a word of why it cannot wait, and by who may not.
    for (who, text, said) in [
        (&market.ada, "now", "say in 10 characters"),
        (&market.bea, "the clinic opens at eight", "this takes the role"),
    ] {
        refused(market.act(who, &both, "break-glass", text).await, said);
    }
    let path = format!("/v1/requests/{both}/break-glass");
    let key = market.world.admin.post(&path, r#"{"text":"the clinic opens at eight"}"#);
    refused(key.await, "only people approve");
    more_ways(&market).await;
    assert_eq!(market.seats().await, 20, "nothing of all that is in force");
}

/// The same by other doors: in bulk, too late, by hand, by a step, by a browser of somebody else.
async fn more_ways(market: &Market) {
    let refused = |answer: Answer, said: &str| {
        let status = answer.status;
        assert!(matches!(status, 400 | 401 | 403 | 404 | 409), "{status} {}", answer.text());
        assert!(answer.text().contains(said), "{said}: {}", answer.text());
    };
    // In bulk: what a table asks for is agreed to by others all the same.
    let csv = [("content-type", "text/csv")];
    let table = "tenant,listing,quantity,note\nacme,seats,1,by a table\nacme,seats,0,\n";
    let rows = market.product.send("POST", "/v1/requests/import", &csv, table).await;
    assert_eq!(rows.status, 200, "{}", rows.text());
    let rows = rows.json();
    assert_eq!(
        (&rows["refused"][0]["line"], rows["made"][0]["line"].clone()),
        (&json!(3), json!(2))
    );
    let bulk = rows["made"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(market.stage(&bulk).await, "pending_approval");
    // A table that says itself that it is approved, or who asked.
    for column in ["stage", "requester", "votes", "approved"] {
        let table = format!("tenant,listing,{column}\nacme,seats,approved\n");
        let rows = market.product.send("POST", "/v1/requests/import", &csv, &table).await.json();
        assert!(rows["made"].as_array().unwrap().is_empty(), "{column}: {rows}");
    }
    // A request that says it of itself.
    for (name, value) in [
        ("stage", json!("approved")),
        ("requester", json!({ "user": "somebody" })),
        ("votes", json!([])),
        ("approval", json!({ "automatic": {} })),
    ] {
        let mut body = order();
        body[name] = value;
        let answer = market.product.post("/v1/requests", &body.to_string()).await;
        refused(answer, name);
    }
    // Without a digest, or with one that is none.
    let path = format!("/v1/requests/{bulk}/approve");
    refused(market.bea.post(&path, "{}").await, "digest");
    refused(market.bea.post(&path, r#"{"digest":"abc"}"#).await, "`digest` is none");
    // Without the browser's token.
    let digest = json!({ "digest": market.digest(&bulk).await }).to_string();
    let nobody = Client::new(market.world.running.addr(), None);
    refused(nobody.post(&path, &digest).await, "");
    // A step of something that nobody has agreed to.
    let step = format!("/v1/requests/{bulk}/steps/desks");
    refused(market.olaf.post(&step, r#"{"done":true}"#).await, "");
    // A review of what nobody broke, a cancellation of what nobody has.
    refused(market.act(&market.bea, &bulk, "review", "fine").await, "");
    let cancel = json!({ "tenant": "acme", "asks": { "cancel": { "holding": bulk } } });
    refused(market.product.post("/v1/requests", &cancel.to_string()).await, "there is no holding");
    // A deputy whose time is over.
    let window = json!({ "until": "2026-01-01T00:00:00Z" });
    let old = json!({ "delegations": [{ "from": "bea@example.com", "to": "olaf@example.com",
        "window": window }] });
    market.put("/v1/settings/delegations", &old).await;
    refused(market.approve(&market.olaf, &bulk).await, "asks for somebody");
    // Once it is withdrawn.
    let withdrawn = market.product.post(&format!("/v1/requests/{bulk}/withdraw"), "").await;
    assert_eq!(withdrawn.status, 200, "{}", withdrawn.text());
    refused(market.bea.post(&path, &digest).await, "");
    // The vote of then, for the same asked for again.
    let again = market.ask(&order()).await;
    assert_eq!(market.stage(&again).await, "pending_approval");
}

/// What others have for a tenant is not left behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_open_requests_or_things_elsewhere_stays() {
    let market = Market::new().await;
    let mut stepped = listing();
    stepped["approval"] = json!({ "automatic": {} });
    stepped["provisioning"] = json!([{ "key": "one", "name": "One", "kind": { "manual": {
        "instructions": "do it", "undo_instructions": "undo it" } } }]);
    market.offer("seats", &stepped).await;
    let gone = async || market.world.admin.send("DELETE", "/v1/tenants/acme", &[], "").await;
    let told = async |id: &str| {
        let path = format!("/v1/requests/{id}/steps/one");
        assert_eq!(market.olaf.post(&path, r#"{"done":true}"#).await.status, 200);
    };
    let id = market.ask(&order()).await;
    assert!(gone().await.is_problem(409, "refused")["detail"].to_string().contains("still open"));
    told(&id).await;
    assert!(gone().await.is_problem(409, "refused")["detail"].to_string().contains("set up"));
    let holding = market.request(&id).await["holding"].clone();
    let back = json!({ "tenant": "acme", "asks": { "cancel": { "holding": holding } } });
    let cancel = market.ask(&back).await;
    told(&cancel).await;
    assert_eq!(market.stage(&cancel).await, "fulfilled");
    assert_eq!(gone().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_breaks_the_glass_leaves_something_to_look_at() {
    let market = Market::new().await;
    market.offer("seats", &listing()).await;
    let made = market.ada.post("/v1/requests", &order().to_string()).await.json();
    let id = made["id"].as_str().unwrap();
    let broken = market.act(&market.ada, id, "break-glass", "the clinic opens at eight").await;
    assert_eq!(broken.status, 200, "{}", broken.text());
    assert_eq!((market.stage(id).await, market.seats().await), ("fulfilled".into(), json!(30)));
    assert!(market.request(id).await["review"].is_object());
    assert_eq!(market.act(&market.ada, id, "review", "fine").await.status, 409);
    assert_eq!(market.act(&market.bea, id, "review", "fine").await.status, 200);
    assert_eq!(market.request(id).await["review"], Value::Null);
    let audit = market.world.admin.get("/v1/audit?command=approve_request_breaking_glass").await;
    assert_eq!(audit.json()["entries"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_decides_what_people_do_not() {
    let market = Market::new().await;
    let mut timed = listing();
    timed["approval"] =
        json!({ "deadline_hours": 2, "on_deadline": { "escalate": { "team": "finance" } } });
    market.offer("seats", &timed).await;
    let id = market.ask(&order()).await;
    assert_eq!(market.approve(&market.fay, &id).await.status, 409, "she is not asked yet");
    market.pass(2 * 3_600).await;
    assert_eq!(market.request(&id).await["escalated_to"], "finance");
    let asked = market.act(&market.fay, &id, "ask", "which site?").await;
    assert_eq!(asked.status, 200, "{}", asked.text());
    assert_eq!(market.stage(&id).await, "needs_info");
    let answered =
        market.product.post(&format!("/v1/requests/{id}/answer"), r#"{"text":"Bonn"}"#).await;
    assert_eq!(answered.status, 200, "{}", answered.text());
    market.pass(2 * 3_600).await;
    assert_eq!(market.stage(&id).await, "expired");

    // It begins and ends when that was asked for, to the microsecond and without anybody.
    let mut later = order();
    later["wants"] = json!({ "start_at": "2026-03-03T00:00:00Z", "until": "2026-03-04T00:00:00Z" });
    let id = market.ask(&later).await;
    assert_eq!(market.approve(&market.ben, &id).await.status, 200);
    assert_eq!((market.stage(&id).await, market.seats().await), ("scheduled".into(), json!(20)));
    market.pass(10 * 3_600).await;
    assert_eq!((market.stage(&id).await, market.seats().await), ("fulfilled".into(), json!(30)));
    let at = async |at: &str| {
        let path = format!("/v1/tenants/acme/features/seats?at={at}");
        market.world.admin.get(&path).await.json()["amount"].clone()
    };
    assert_eq!(at("2026-03-03T23:59:59.999999Z").await, 30);
    assert_eq!(at("2026-03-04T00:00:00Z").await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_undone_and_what_cannot_be_waits_for_somebody() {
    let market = Market::new().await;
    let mut stepped = listing();
    let manual = |key: &str, undo: Value| {
        json!({ "key": key, "name": key, "kind": { "manual": { "instructions": "do it",
            "undo_instructions": undo } } })
    };
    stepped["approval"] =
        json!({ "automatic": { "audience": { "plan": ["pro"] }, "amount_max": 1000 } });
    stepped["provisioning"] = json!([
        manual("one", json!("undo it")),
        manual("two", Value::Null),
        { "key": "link", "name": "Connect", "required": false, "timeout_s": 60,
          "kind": { "integration": { "integration": "calendar" } } },
    ]);
    market.offer("seats", &stepped).await;
    let tell = async |id: &str, step: &str, done: bool| {
        let body = json!({ "done": done, "comment": "so it is" }).to_string();
        market.olaf.post(&format!("/v1/requests/{id}/steps/{step}"), &body).await
    };
    // Two of them cost more than goes by itself.
    let mut two = order();
    two["wants"] = json!({ "quantity": 2 });
    let dear = market.ask(&two).await;
    assert_eq!(market.stage(&dear).await, "pending_approval");
    let id = market.ask(&order()).await;
    assert_eq!(market.stage(&id).await, "provisioning");
    tell(&id, "two", true).await.is_problem(409, "refused");
    assert_eq!(tell(&id, "one", true).await.status, 200);
    assert_eq!(tell(&id, "two", false).await.status, 200);
    assert_eq!(market.stage(&id).await, "compensating");
    assert_eq!(tell(&id, "one", false).await.status, 200);
    assert_eq!(market.stage(&id).await, "compensation_failed");
    let again = market.olaf.post(&format!("/v1/requests/{id}/retry-undo"), "").await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert_eq!(tell(&id, "one", false).await.status, 200);
    let resolved = market.act(&market.olaf, &id, "resolve", "the desks are gone").await;
    assert_eq!(resolved.status, 200, "{}", resolved.text());
    assert_eq!((market.stage(&id).await, market.seats().await), ("failed".into(), json!(20)));

    // What is optional is given up without harm: it is in force before.
    let id = market.ask(&order()).await;
    tell(&id, "one", true).await;
    tell(&id, "two", true).await;
    assert_eq!((market.stage(&id).await, market.seats().await), ("provisioning".into(), json!(30)));
    market.pass(120).await;
    assert_eq!(market.stage(&id).await, "fulfilled");
    assert_eq!(market.request(&id).await["steps"][2]["run"]["stage"], "skipped");

    // Called off in the middle it is taken back first.
    let tenant = market.world.admin.put("/v1/tenants/acme", ACME).await;
    assert_eq!(tenant.status, 200);
    let id = market.ask(&order()).await;
    tell(&id, "one", true).await;
    tell(&id, "two", true).await;
    assert_eq!(market.seats().await, 30);
    let cancelled = market.act(&market.olaf, &id, "cancel", "not needed").await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
    assert_eq!((market.stage(&id).await, market.seats().await), ("compensating".into(), json!(20)));
    assert_eq!(tell(&id, "one", true).await.status, 200);
    assert_eq!(market.stage(&id).await, "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_sees_its_own_and_nothing_else() {
    let market = Market::new().await;
    let app = market.world.running.app();
    let key = async |partner: Option<&str>| {
        let partner = partner.map(Into::into);
        let command = Command::CreateKey(NewKey { partner, ..NewKey::new(Scope::Partner, "p") });
        let secret = app.execute(&Actor::local("test"), command).await.unwrap().secret;
        Client::new(market.world.running.addr(), secret.as_deref())
    };
    let (theirs, others, nobody) = (key(Some("fab")), key(Some("other")), key(None));
    let (theirs, others, nobody) = (theirs.await, others.await, nobody.await);
    let mut wanted = listing();
    wanted["partner"] = json!("fab");
    wanted["provisioning"] = json!([{ "key": "ship", "name": "Ship", "kind": { "manual": {
        "instructions": "ship it" } } }]);
    wanted["approval"] = json!({ "automatic": {} });
    market.offer("seats", &wanted).await;
    let mut own = listing();
    own["approval"] = json!({ "automatic": {} });
    market.offer("own", &own).await;
    let id = market.ask(&order()).await;
    for (client, count) in [(&theirs, 1), (&others, 0), (&nobody, 0)] {
        let listings = client.get("/v1/listings").await.json();
        assert_eq!(listings["listings"].as_array().unwrap().len(), count, "{listings}");
        let requests = client.get("/v1/requests").await.json();
        assert_eq!(requests["requests"].as_array().unwrap().len(), count, "{requests}");
        let status = if count == 1 { 200 } else { 404 };
        for path in [format!("/v1/requests/{id}"), "/v1/listings/seats".into()] {
            assert_eq!(client.get(&path).await.status, status, "{path}");
        }
        assert_eq!(client.get("/v1/listings/own").await.status, 404);
    }
    let step = format!("/v1/requests/{id}/steps/ship");
    others.post(&step, r#"{"done":true}"#).await.is_problem(404, "not_found");
    assert_eq!(theirs.post(&step, r#"{"done":true}"#).await.status, 200);
    assert_eq!(market.stage(&id).await, "fulfilled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_in_words() {
    let market = Market::new().await;
    let with = |path: &str, value: Value| {
        let mut wanted = listing();
        wanted[path] = value;
        wanted
    };
    for (path, body, said) in [
        (
            "listings/x",
            with("offer", json!({ "add_on": "none" })),
            "the catalog has no add-on `none`",
        ),
        ("listings/x", with("offer", json!({ "add_ons": ["more-seats"] })), "takes at least two"),
        ("listings/x", with("offer", json!({ "promotion": "none" })), "no promotion `none`"),
        ("listings/x", with("eligibility", json!({ "plan": ["none"] })), "`eligibility`"),
        ("listings/x", with("images", json!(["http://x.example/a.png"])), "`images`"),
        (
            "listings/x",
            with("price", json!({ "amount": 1, "currency": "euro", "per": "once" })),
            "write it as `EUR`",
        ),
        ("listings/x", with("parameters", json!({ "type": "nothing" })), "no JSON Schema"),
        ("listings/x", with("sla", json!("none")), "there is no `none`"),
        ("listings/x", with("team", json!("none")), "there is no team `none`"),
        ("listings/UP", listing(), "`UP` is no key"),
        (
            "listings/x",
            with(
                "approval",
                json!({ "stages": [{ "name": "x", "of": { "people": ["a@b.example"] }, "count": 2 }] }),
            ),
            "could never be filled",
        ),
        (
            "listings/x",
            with(
                "provisioning",
                json!([{ "key": "a", "name": "a", "kind": { "webhook": { "connector": "none" } } }]),
            ),
            "there is no connector `none`",
        ),
        (
            "calendars/x",
            json!({ "name": "x", "week": { "time_zone": "UTC", "hours": {} } }),
            "nothing would ever be due",
        ),
        ("slas/x", json!({ "name": "x", "goals": {} }), "`goals.normal` is missing"),
        (
            "settings/delegations",
            json!({ "delegations": [{ "from": "a@b.example", "to": "A@b.example" }] }),
            "cannot stand in for themselves",
        ),
    ] {
        let answer = market.world.admin.put(&format!("/v1/{path}"), &body.to_string()).await;
        assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text());
        assert!(answer.text().contains(said), "{said}: {}", answer.text());
    }
    // Nobody publishes what they wrote themselves, nor does a key.
    market.put("/v1/listings/seats", &listing()).await;
    let act =
        async |act: &str| market.world.admin.post(&format!("/v1/listings/seats/{act}"), "").await;
    act("publish").await.is_problem(409, "refused");
    assert_eq!(act("submit").await.status, 200);
    act("publish").await.is_problem(409, "refused");
    act("dance").await.is_problem(404, "not_found");
    // What is not on offer cannot be asked for.
    let asks = async |body: Value| market.product.post("/v1/requests", &body.to_string()).await;
    asks(order()).await.is_problem(409, "refused");
    assert_eq!(market.ada.post("/v1/listings/seats/publish", "").await.status, 200);
    for (change, status) in [
        (json!({ "tenant": "nobody", "listing": "seats" }), 404),
        (json!({ "tenant": "acme", "listing": "none" }), 404),
        (json!({ "tenant": "acme", "listing": "seats", "wants": { "quantity": 0 } }), 400),
        (
            json!({ "tenant": "acme", "listing": "seats", "wants": { "parameters": { "a": 1 } } }),
            400,
        ),
        (
            json!({ "tenant": "acme", "listing": "seats", "asks": { "cancel": { "holding": "none" } } }),
            404,
        ),
        (
            json!({ "tenant": "acme", "listing": "seats", "wants": { "until": "2026-01-01T00:00:00Z" } }),
            400,
        ),
        (json!({ "tenant": "acme", "listing": "seats", "beneficiary": "nobody" }), 400),
    ] {
        let answer = asks(change.clone()).await;
        assert_eq!(answer.status, status, "{change}: {}", answer.text());
    }
    // A retired listing never breaks what tenants have.
    let id = market.ask(&order()).await;
    assert_eq!(market.approve(&market.ben, &id).await.status, 200);
    assert_eq!(act("retire").await.status, 200);
    assert_eq!(market.seats().await, 30);
    asks(order()).await.is_problem(409, "refused");
    let holding = market.request(&id).await["holding"].clone();
    let back = json!({ "tenant": "acme", "asks": { "cancel": { "holding": holding } } });
    market.ask(&back).await;
    assert_eq!(market.seats().await, 20, "what one has can be given back");
    // A calendar that is used stays.
    let week =
        json!({ "time_zone": "UTC", "hours": { "mon": [{ "from": "09:00", "until": "17:00" }] } });
    market.put("/v1/calendars/office", &json!({ "name": "Office", "week": week })).await;
    let goal = json!({ "metric": "approval", "target": { "minutes": 60 }, "calendar": "office" });
    market.put("/v1/slas/usual", &json!({ "name": "Usual", "goals": { "normal": [goal] } })).await;
    let gone = market.world.admin.send("DELETE", "/v1/calendars/office", &[], "").await;
    gone.is_problem(409, "refused");
    for path in ["/v1/slas/usual", "/v1/calendars/office"] {
        assert_eq!(market.world.admin.send("DELETE", path, &[], "").await.status, 200, "{path}");
    }
    invite(&market.world, "zoe", &["approver"]).await;
}
