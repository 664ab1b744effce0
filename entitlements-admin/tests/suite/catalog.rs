//! The catalog's way through drafts, on both databases: made, seen in its effect, approved,
//! published, taken back, and looked at later.

use entitlements_admin::{
    Admin, Config,
    app::{Actor, Command},
    clock::Clock,
    jobs,
    workflow::Scope,
};
use entitlements_core::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    postgres,
    support::{ACME, CATALOG, Client, DEADLINE, World, config},
};

/// A control plane on each database, with a manual clock.
async fn on_both(test: impl AsyncFn(World, Clock)) {
    let (world, clock) = world(None).await;
    test(world, clock).await;
    let database = tokio::task::spawn_blocking(postgres::database).await.unwrap();
    if let Some(url) = database {
        let (world, clock) = self::world(Some(url)).await;
        test(world, clock).await;
    }
}

async fn world(database: Option<String>) -> (World, Clock) {
    let folder = TempDir::new().unwrap();
    let clock = Clock::manual(Timestamp::parse("2026-03-01T12:00:00Z").unwrap());
    let config = Config { database, ..config(folder.path()) };
    let running = Admin::start_with(config, clock.clone()).await.unwrap();
    let admin = Client::new(running.addr(), running.first_key());
    let world = World { running, folder, admin };
    let toml = [("content-type", "application/toml")];
    let answer = world.admin.send("PUT", "/v1/catalog", &toml, CATALOG).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for tenant in ["acme", "beta"] {
        let answer = world.admin.put(&format!("/v1/tenants/{tenant}"), ACME).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    (world, clock)
}

async fn new_draft(admin: &Client, name: &str) -> String {
    let made = admin.post("/v1/drafts", &json!({ "name": name }).to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/v1/drafts/{id}"));
    id
}

async fn put_object(admin: &Client, draft: &str, object: &str, value: Value) {
    let path = format!("/v1/drafts/{draft}/objects/{object}");
    let answer = admin.put(&path, &value.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn act(admin: &Client, draft: &str, act: &str) -> u64 {
    let answer = admin.post(&format!("/v1/drafts/{draft}/{act}"), "{}").await;
    assert_eq!(answer.status, 200, "{act}: {}", answer.text());
    answer.revision()
}

async fn seats(admin: &Client, query: &str) -> Value {
    let path = format!("/v1/tenants/acme/features/seats/explain{query}");
    let answer = admin.get(&path).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["answer"].clone()
}

fn pro(seats: u64) -> Value {
    json!({ "extends": "basic", "grants": { "sso": true, "seats": seats } })
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_roll_back_and_explain_at_three_past_revisions() {
    on_both(async |world, _| {
        let admin = &world.admin;
        admin.without_approval().await;
        let first = admin.get("/v1/catalog").await.header("etag").trim_matches('"').to_owned();
        let mut published = Vec::new();
        for seats in [25, 15] {
            let draft = new_draft(admin, &format!("{seats} seats")).await;
            put_object(admin, &draft, "plans.pro", pro(seats)).await;
            published.push((act(admin, &draft, "publish").await, draft));
        }
        assert_eq!(seats(admin, "").await, "15");

        let back = admin.post("/v1/catalog/rollback", &format!(r#"{{"revision":{first}}}"#)).await;
        assert_eq!(back.status, 201, "{}", back.text());
        let back = back.json()["id"].as_str().unwrap().to_owned();
        let preview = admin.get(&format!("/v1/drafts/{back}/preview")).await.json();
        let seats_row = &preview["preview"]["instants"][0]["impact"]["all"]["features"]["seats"];
        assert_eq!(seats_row["raised"], 2, "a rollback is previewed like any change: {preview}");
        let restored = act(admin, &back, "publish").await;
        assert_eq!(seats(admin, "").await, "20");
        for (_, draft) in &published {
            let draft = admin.get(&format!("/v1/drafts/{draft}")).await.json();
            assert_eq!(draft["stage"], "rolled_back");
        }

        for (revision, expected) in
            [(first.parse().unwrap(), "denied"), (published[0].0, "25"), (published[1].0, "15")]
        {
            assert_eq!(seats(admin, &format!("?revision={revision}")).await, expected);
        }
        assert_eq!(seats(admin, &format!("?revision={restored}")).await, "20");
        let path = format!("/v1/tenants/acme/features/seats?revision={}", published[1].0);
        let check = admin.get(&path).await.json();
        assert_eq!((&check["amount"], &check["revision"]), (&json!(15), &json!(published[1].0)));
        let past = admin.get(&format!("/v1/catalog?revision={}", published[0].0)).await;
        assert_eq!(past.json()["plans"]["pro"]["grants"]["seats"], 25);
        let later = restored + 1;
        let missing = format!("/v1/tenants/acme/features/seats/explain?revision={later}");
        admin.get(&missing).await.is_problem(404, "not_found");

        let history = admin.get("/v1/history/catalog/live?object=plans.pro").await.json();
        let told: Vec<&Value> = history["versions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|version| &version["changes"][0]["after"])
            .collect();
        assert_eq!(told[..3], [&json!(20), &json!(15), &json!(25)], "{history}");
        let verdict = admin.get("/v1/audit/verify").await.json();
        assert_eq!(verdict["whole"], true, "{verdict}");
        world.running.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_was_acme_refused_at_14_03() {
    on_both(async |world, clock| {
        let admin = &world.admin;
        let at = |text: &str| Timestamp::parse(text).unwrap();
        clock.advance(at("2026-03-01T14:00:00Z"));
        admin.put("/v1/tenants/acme", r#"{"subscriptions":[{"plan":"basic"}]}"#).await;
        clock.advance(at("2026-03-01T15:00:00Z"));
        admin.put("/v1/tenants/acme", ACME).await;
        let asked = admin
            .get("/v1/tenants/acme/features/sso/explain?as_of=2026-03-01T14:03:00Z")
            .await
            .json();
        assert_eq!((&asked["allowed"], &asked["reason"]), (&json!(false), &json!("not_included")));
        assert_eq!(asked["at"], "2026-03-01T14:03:00Z");
        let cause = asked["revision"].as_u64().unwrap();
        let row = admin.get(&format!("/v1/audit/{cause}")).await.json();
        assert_eq!(row["command"], "put_tenant");
        assert_eq!(row["documents"]["tenant:acme"]["before"]["subscriptions"][0]["plan"], "pro");
        for (instant, allowed) in [("13:59:59", true), ("14:00:00", false), ("15:00:00", true)] {
            let path = format!("/v1/tenants/acme/features/sso?as_of=2026-03-01T{instant}Z");
            assert_eq!(admin.get(&path).await.json()["allowed"], allowed, "{instant}");
        }
        let future = "/v1/tenants/acme/features/sso?as_of=2026-03-01T15:00:01Z";
        admin.get(future).await.is_problem(404, "not_found");
        let both = "/v1/tenants/acme/features/sso?as_of=2026-03-01T14:00:00Z&revision=1";
        admin.get(both).await.is_problem(400, "invalid_request");

        let history = admin.get("/v1/history/tenant/acme?limit=2").await.json();
        let versions = history["versions"].as_array().unwrap();
        assert_eq!(versions.len(), 2);
        assert_eq!(history["next"], versions[1]["revision"]);
        assert_eq!(versions[1]["at"], "2026-03-01T14:00:00Z");
        admin.get("/v1/history/tenant/nobody").await.is_problem(404, "not_found");
        admin.get("/v1/history/user/x").await.is_problem(404, "not_found");
        world.running.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drafts_are_rebased_and_conflicts_name_both_sides() {
    on_both(async |world, _| {
        let admin = &world.admin;
        admin.without_approval().await;
        let (one, other) = (new_draft(admin, "one").await, new_draft(admin, "other").await);
        put_object(admin, &one, "plans.pro", pro(30)).await;
        put_object(admin, &one, "plans.free", json!({ "name": "Free" })).await;
        put_object(admin, &other, "plans.pro", pro(40)).await;
        put_object(admin, &other, "plans.basic", json!({ "grants": { "seats": 6 } })).await;
        act(admin, &one, "publish").await;

        let shown = admin.get(&format!("/v1/drafts/{other}")).await;
        let view = shown.json();
        let conflict = &view["conflicts"][0];
        assert_eq!(conflict["path"], "plans.pro.grants.seats");
        assert_eq!(
            (&conflict["base"], &conflict["live"], &conflict["draft"]),
            (&json!(20), &json!(30), &json!(40))
        );
        assert_eq!(view["changes"][0]["path"], "plans.basic.grants.seats", "the rest is rebased");
        let refused = admin.post(&format!("/v1/drafts/{other}/publish"), "{}").await;
        refused.is_problem(409, "publication");

        let path = format!("/v1/drafts/{other}/objects/plans.pro?resolve=true");
        let stale = [("if-match", "\"1\""), ("content-type", "application/json")];
        admin.send("PUT", &path, &stale, &pro(35).to_string()).await.is_problem(409, "conflict");
        let fresh = [("if-match", shown.header("etag")), ("content-type", "application/json")];
        let resolved = admin.send("PUT", &path, &fresh, &pro(35).to_string()).await;
        assert_eq!(resolved.status, 200, "{}", resolved.text());
        act(admin, &other, "publish").await;
        let catalog = admin.get("/v1/catalog").await.json();
        assert_eq!(catalog["plans"]["pro"]["grants"]["seats"], 35);
        assert_eq!(catalog["plans"]["free"]["name"], "Free", "nothing of the other is lost");
        world.running.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_is_complete_and_a_draft_may_be_wrong_but_not_go_on() {
    let (world, _) = world(None).await;
    let admin = &world.admin;
    let draft = new_draft(admin, "broken").await;
    put_object(admin, &draft, "plans.pro", json!({ "grants": { "sms": true, "seats": "many" } }))
        .await;
    put_object(admin, &draft, "plans.gold", json!({ "extends": "silver" })).await;
    let view = admin.get(&format!("/v1/drafts/{draft}")).await.json();
    let paths: Vec<&str> =
        view["problems"].as_array().unwrap().iter().map(|p| p["path"].as_str().unwrap()).collect();
    assert!(paths.iter().any(|path| path.starts_with("plans.gold")), "{paths:?}");
    assert!(paths.iter().any(|path| path.starts_with("plans.pro")), "{paths:?}");
    let refused = admin.post(&format!("/v1/drafts/{draft}/submit"), "{}").await;
    assert_eq!(refused.is_problem(409, "publication")["problems"][0]["code"], "unclean");
    for (path, status, code) in [
        ("/v1/drafts/nothing", 404, "not_found"),
        (&*format!("/v1/drafts/{draft}/objects/plans"), 400, "invalid_request"),
        (&*format!("/v1/drafts/{draft}/objects/pumpkins.x"), 400, "invalid_request"),
    ] {
        let answer = match path.contains("objects") {
            true => admin.put(path, "{}").await,
            false => admin.get(path).await,
        };
        answer.is_problem(status, code);
    }
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_somebody_else_must_approve_and_keys_cannot() {
    let (world, _) = world(None).await;
    let admin = &world.admin;
    let catalog = admin.get("/v1/catalog").await.text().replace("20", "10");
    let around = admin.put("/v1/catalog", &catalog).await;
    around.is_problem(409, "approval_required");
    let draft = new_draft(admin, "less").await;
    put_object(admin, &draft, "plans.pro", pro(10)).await;
    let refused = admin.post(&format!("/v1/drafts/{draft}/publish"), "{}").await;
    assert_eq!(refused.is_problem(409, "publication")["problems"][0]["code"], "needs_votes");
    act(admin, &draft, "submit").await;
    let digest = admin.get(&format!("/v1/drafts/{draft}/preview")).await.json()["digest"].clone();
    let vote = json!({ "digest": digest }).to_string();
    let by_key = admin.post(&format!("/v1/drafts/{draft}/approve"), &vote).await;
    by_key.is_problem(403, "forbidden");

    let short = admin.post(&format!("/v1/drafts/{draft}/break-glass"), r#"{"reason":"x"}"#).await;
    assert_eq!(short.is_problem(409, "publication")["problems"][0]["code"], "short_reason");
    let why = r#"{"reason":"the price list is wrong"}"#;
    let broken = admin.post(&format!("/v1/drafts/{draft}/break-glass"), why).await;
    assert_eq!(broken.status, 200, "{}", broken.text());
    assert_eq!(seats(admin, "").await, "10");
    let row = admin.get(&format!("/v1/audit/{}", broken.revision())).await.json();
    assert_eq!(row["command"], "publish_draft_breaking_glass");
    assert_eq!(row["reason"], "the price list is wrong");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_threshold_approval_is_needed_where_it_is_otherwise_off() {
    let (world, _) = world(None).await;
    let admin = &world.admin;
    let off = r#"{"four_eyes":false,"threshold":1}"#;
    assert_eq!(admin.put("/v1/settings/approval", off).await.status, 200);
    let (less, more) = (new_draft(admin, "less").await, new_draft(admin, "more").await);
    put_object(admin, &less, "plans.pro", pro(10)).await;
    put_object(admin, &more, "plans.pro", pro(30)).await;
    let refused = admin.post(&format!("/v1/drafts/{less}/publish"), "{}").await;
    assert_eq!(refused.is_problem(409, "publication")["problems"][0]["code"], "needs_votes");
    act(admin, &more, "publish").await;
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_draft_is_published_at_its_instant_or_sent_back() {
    on_both(async |world, clock| {
        let admin = &world.admin;
        admin.without_approval().await;
        let app = world.running.app();
        let (good, bad) = (new_draft(admin, "good").await, new_draft(admin, "bad").await);
        put_object(admin, &good, "plans.pro", pro(30)).await;
        put_object(admin, &bad, "plans.pro", pro(40)).await;
        for (draft, hour) in [(&good, 13), (&bad, 14)] {
            let body = format!(r#"{{"at":"2026-03-01T{hour}:00:00Z"}}"#);
            let answer = admin.post(&format!("/v1/drafts/{draft}/schedule"), &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let past = admin
            .post(&format!("/v1/drafts/{good}/schedule"), r#"{"at":"2026-03-01T12:00:00Z"}"#)
            .await;
        assert_eq!(past.is_problem(409, "publication")["problems"][0]["code"], "not_in_future");
        jobs::run(app, "test").await.unwrap();
        assert_eq!(seats(admin, "").await, "20", "not yet");
        clock.advance(Timestamp::parse("2026-03-01T13:00:00Z").unwrap());
        done(admin, &good, "published").await;
        // Answers follow the commit of a reconciler, which nobody waited for.
        let follows = async { while seats(admin, "").await != "30" {} };
        tokio::time::timeout(DEADLINE, follows).await.unwrap();
        clock.advance(Timestamp::parse("2026-03-01T14:00:00Z").unwrap());
        done(admin, &bad, "in_review").await;
        let view = admin.get(&format!("/v1/drafts/{bad}")).await.json();
        assert!(view["note"].as_str().is_some_and(|note| !note.is_empty()), "{view}");
        assert_eq!(seats(admin, "").await, "30");
        world.running.stop().await;
    })
    .await;
}

/// Returns once a draft has come so far: the reconcilers of the program do it.
async fn done(admin: &Client, draft: &str, stage: &str) {
    // A commit wakes them, as the manual clock does not.
    admin.put("/v1/tenants/waker", "{}").await;
    let waited =
        async { while admin.get(&format!("/v1/drafts/{draft}")).await.json()["stage"] != stage {} };
    tokio::time::timeout(DEADLINE, waited).await.expect(stage);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_tells_who_loses_what_where_and_when() {
    let (world, _) = world(None).await;
    let admin = &world.admin;
    let sixteen = json!({ "usage": [
        { "tenant": "acme", "feature": "seats", "amount": 16 },
        { "tenant": "beta", "feature": "seats", "amount": 3 },
    ] });
    let taken = admin.post("/v1/usage", &sixteen.to_string()).await;
    assert_eq!(taken.json()["taken"], 2, "{}", taken.text());
    let draft = new_draft(admin, "spring").await;
    put_object(admin, &draft, "plans.pro", pro(10)).await;
    let spring = json!({
        "window": { "from": "2026-04-01T00:00:00Z", "until": "2026-05-01T00:00:00Z" },
        "grants": { "seats": "+90" },
    });
    put_object(admin, &draft, "promotions.spring", spring).await;
    let preview = admin.get(&format!("/v1/drafts/{draft}/preview")).await.json();
    let instants = preview["preview"]["instants"].as_array().unwrap();
    let at = |place: usize| &instants[place]["impact"];
    assert_eq!(instants.len(), 3, "now, the start and the end: {preview}");
    assert_eq!(at(0)["all"]["features"]["seats"]["lowered"], 2);
    assert_eq!(at(0)["by_plan"]["pro"]["losing"], 2);
    assert_eq!(at(0)["above_limit"][0]["tenants"], 1);
    assert_eq!(at(0)["above_limit"][0]["sample"][0]["tenant"], "acme");
    assert_eq!(instants[1]["events"][0]["source"], "promotion:spring");
    assert_eq!(at(1)["at"], "2026-04-01T00:00:00Z");
    assert_eq!(at(1)["all"]["features"]["seats"]["raised"], 2);
    assert_eq!(at(2)["all"]["features"]["seats"]["lowered"], 2);
    assert_eq!((&preview["losing"], &preview["approvals_needed"]), (&json!(2), &json!(1)));

    let csv = admin.get(&format!("/v1/drafts/{draft}/preview.csv")).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(
        csv.text(),
        "tenant,feature,change,before,after\r\nacme,seats,lowered,20,10\r\n\
         beta,seats,lowered,20,10\r\n"
    );
    let what = json!({ "draft": draft, "at": "2026-04-02T00:00:00Z",
                       "tenant": { "subscriptions": [{ "plan": "basic" }],
                                   "add_ons": [{ "add_on": "more-seats", "quantity": 2 }] } });
    let would = admin.post("/v1/tenants/acme/what-if", &what.to_string()).await.json();
    let seats = would["changes"].as_array().unwrap().iter().find(|c| c["feature"] == "seats");
    assert_eq!(seats.unwrap()["after"]["answer"], "115", "5, twice 10, and 90: {would}");
    assert_eq!(seats.unwrap()["before"]["answer"], "20");
    assert_eq!(self::seats(admin, "").await, "20", "nothing was changed");
    admin
        .post("/v1/tenants/acme/what-if", r#"{"tenant":{"subscriptions":[{"plan":"gold"}]}}"#)
        .await
        .is_problem(422, "invalid_tenants");
    let plan = admin.post("/v1/catalog/plan", "{}").await.json();
    assert_eq!(plan["needs_approval"], true);
    assert!(plan["changes"].as_array().unwrap().len() > 3, "{plan}");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_let_go_when_that_is_asked_for_and_the_chain_holds() {
    on_both(async |world, clock| {
        let admin = &world.admin;
        let early = admin.put("/v1/tenants/acme", r#"{"name":"early"}"#).await.revision();
        clock.advance(Timestamp::parse("2026-03-20T12:00:00Z").unwrap());
        admin.put("/v1/tenants/acme", r#"{"name":"late"}"#).await;
        admin
            .put("/v1/settings/retention", r#"{"history_days":0}"#)
            .await
            .is_problem(400, "invalid_request");
        assert_eq!(admin.put("/v1/settings/retention", r#"{"history_days":30}"#).await.status, 200);
        jobs::run(world.running.app(), "test").await.unwrap();
        assert_eq!(
            admin.get(&format!("/v1/tenants/acme/features/sso?revision={early}")).await.status,
            200
        );
        clock.advance(Timestamp::parse("2026-04-25T12:00:00Z").unwrap());
        let pruned = async {
            loop {
                jobs::run(world.running.app(), "test").await.unwrap();
                let path = format!("/v1/tenants/acme/features/sso?revision={early}");
                if admin.get(&path).await.status == 404 {
                    break;
                }
            }
        };
        tokio::time::timeout(DEADLINE, pruned).await.expect("it is let go");
        let kept = "/v1/tenants/acme/features/sso?as_of=2026-03-27T00:00:00Z";
        assert_eq!(admin.get(kept).await.status, 200, "what held at the horizon is kept");
        let verdict = admin.get("/v1/audit/verify").await.json();
        assert_eq!(verdict["whole"], true, "{verdict}");
        let row = admin.get(&format!("/v1/audit/{early}")).await.json();
        assert_eq!(row["command"], "put_tenant", "the audit itself loses nothing");
        world.running.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_control_planes_on_one_database_agree() {
    let Some(url) = tokio::task::spawn_blocking(postgres::database).await.unwrap() else { return };
    let (world, _) = world(Some(url.clone())).await;
    let keys = world.folder.path().join("keys");
    let folder = TempDir::new().unwrap();
    let second = Config { database: Some(url), ..config(folder.path()) };
    let refused = Admin::start(second.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("copy the folder `keys` from its"), "{refused}");
    for name in ["root.key", "publisher.key"] {
        std::fs::copy(keys.join(name), folder.path().join("keys").join(name)).unwrap();
    }
    let other = Admin::start(second).await.unwrap();
    let token = world.admin.token.clone();
    let clients = [world.admin.clone(), Client::new(other.addr(), token.as_deref())];

    let mut tasks = tokio::task::JoinSet::new();
    for (who, client) in clients.iter().enumerate() {
        for number in 0..25 {
            let client = client.clone();
            tasks.spawn(async move {
                let path = format!("/v1/tenants/clinic-{}", number % 5);
                let body =
                    format!(r#"{{"name":"{who}-{number}","subscriptions":[{{"plan":"pro"}}]}}"#);
                let answer = client.put(&path, &body).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                answer.revision()
            });
        }
    }
    let mut revisions = tasks.join_all().await;
    revisions.sort_unstable();
    let first = revisions[0];
    assert_eq!(revisions, (first..first + 50).collect::<Vec<_>>(), "no gap, none twice");
    let last = clients[0].put("/v1/tenants/last", ACME).await.revision();
    let seen = async {
        while clients[1].get("/v1/tenants/last/features/seats").await.json()["revision"] != last {}
    };
    tokio::time::timeout(DEADLINE, seen).await.expect("the other takes it up");
    for number in 0..5 {
        let path = format!("/v1/tenants/clinic-{number}");
        let [one, two] = [clients[0].get(&path).await.json(), clients[1].get(&path).await.json()];
        assert_eq!(one, two);
    }
    let [one, two] = [
        clients[0].get("/sync/v1/snapshot").await.header("etag").to_owned(),
        clients[1].get("/sync/v1/snapshot").await.header("etag").to_owned(),
    ];
    assert_eq!(one, two, "both publish the same bytes");

    // A key that one of them revokes opens nothing at the other, from the next request on.
    let made = clients[0].post("/v1/keys", r#"{"scope":"read","label":"x"}"#).await.json();
    let reader = Client::new(other.addr(), made["key"].as_str());
    assert_eq!(reader.get("/v1/tenants").await.status, 200);
    clients[0].delete(&format!("/v1/keys/{}", made["id"].as_str().unwrap())).await;
    reader.get("/v1/tenants").await.is_problem(401, "unauthenticated");
    assert_eq!(clients[1].get("/v1/audit/verify").await.json()["whole"], true);
    other.stop().await;
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_the_same_and_done_once() {
    on_both(async |world, _| {
        let admin = &world.admin;
        let named = |name| [("idempotency-key", name), ("content-type", "application/json")];
        let body = r#"{"scope":"sync","label":"sidecar"}"#;
        let first = admin.send("POST", "/v1/keys", &named("one"), body).await;
        let again = admin.send("POST", "/v1/keys", &named("one"), body).await;
        assert_eq!((first.status, again.status), (201, 201));
        assert_eq!(first.json(), again.json(), "with the same secret");
        assert_eq!(again.header("idempotent-replayed"), "true");
        let sidecar = Client::new(world.running.addr(), again.json()["key"].as_str());
        assert_eq!(sidecar.get("/sync/v1/keys").await.status, 200, "and it opens");
        let other = r#"{"scope":"sync","label":"another"}"#;
        let reused = admin.send("POST", "/v1/keys", &named("one"), other).await;
        reused.is_problem(409, "idempotency_key_reused");
        let elsewhere = admin.send("PUT", "/v1/tenants/zeta", &named("one"), ACME).await;
        elsewhere.is_problem(409, "idempotency_key_reused");
        let two = admin.send("POST", "/v1/keys", &named("two"), body).await;
        assert_ne!(two.json()["key"], first.json()["key"]);
        let put = admin.send("PUT", "/v1/tenants/acme", &named("three"), ACME).await;
        admin.put("/v1/tenants/acme", r#"{"name":"changed"}"#).await;
        let late = admin.send("PUT", "/v1/tenants/acme", &named("three"), ACME).await;
        assert_eq!(late.revision(), put.revision());
        let present = admin.get("/v1/tenants/acme").await.json();
        assert_eq!(present["name"], "changed", "it was not done again");
        for bad in ["", &"x".repeat(256)] {
            let answer = admin.send("PUT", "/v1/tenants/acme", &named(bad), ACME).await;
            answer.is_problem(400, "invalid_request");
        }
        world.running.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_audit_is_verified_without_a_control_plane() {
    let (world, _) = world(None).await;
    let auditor = world.client(Scope::Read).await;
    let export = auditor.get("/v1/audit/export").await;
    assert_eq!(export.status, 200, "{}", export.text());
    let (text, root) = (export.text(), world.running.trust().parse().unwrap());
    let verify = |text: &str| entitlements_admin::audit_export::verify(text.as_bytes(), root);
    let whole = verify(&text).unwrap();
    assert_eq!(whole.rows, 5);
    let lines: Vec<&str> = text.lines().collect();
    let without = |gone: usize| {
        let kept = lines.iter().enumerate().filter(|(place, _)| *place != gone);
        kept.map(|(_, line)| *line).collect::<Vec<_>>().join("\n")
    };
    for gone in 0..lines.len() {
        assert!(verify(&without(gone)).is_err(), "line {gone} is gone");
    }
    for (from, to) in [
        ("\"pro\"", "\"gold\""),
        ("first start", "first stop"),
        ("\"command\":\"put_tenant\"", "\"command\":\"del_tenant\""),
        ("\"environment\":\"default\"", "\"environment\":\"other\""),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(verify(&text.replacen(from, to, 1)).is_err(), "{from}");
    }
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    assert!(verify(&swapped.join("\n")).is_err());
    let other = World::new().await;
    let foreign = entitlements_admin::audit_export::verify(
        text.as_bytes(),
        other.running.trust().parse().unwrap(),
    );
    assert!(foreign.unwrap_err().to_string().contains("not trusted"));
    let csv = auditor.get("/v1/audit/export?format=csv").await.text();
    assert_eq!(csv.lines().count(), 6, "{csv}");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_local_command_does_is_in_the_audit_too() {
    let (world, _) = world(None).await;
    let draft = Box::default();
    let command = Command::ImportAll { draft, tenants: Default::default() };
    let done = world.running.app().execute(&Actor::local("test"), command).await.unwrap();
    let row = world.admin.get(&format!("/v1/audit/{}", done.revision)).await.json();
    assert_eq!((&row["actor"], &row["command"]), (&json!("local:test"), &json!("import_all")));
    assert!(!done.warnings.is_empty(), "tenants with plans that are gone are told of");
    world.running.stop().await;
}
