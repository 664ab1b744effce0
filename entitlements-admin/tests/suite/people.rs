//! People: invited, signed in, bounded in what they do, and signed out.

use std::time::Duration;

use entitlements_admin::{Admin, Config, clock::Clock, jobs};
use entitlements_core::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Answer, Client, World, config};

const PASSWORD: &str = "seven quiet herons";

/// A signed-in browser.
#[derive(Clone)]
pub(crate) struct Browser {
    client: Client,
    cookie: String,
    csrf: String,
}

impl Browser {
    /// Signs in. The cookie is what the answer sets.
    pub(crate) async fn sign_in(world: &World, email: &str, password: &str) -> Self {
        let client = Client::new(world.running.addr(), None);
        let answer = client.post("/v1/session", &credentials(email, password)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        let csrf = answer.json()["csrf"].as_str().unwrap().to_owned();
        Self { client, cookie, csrf }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.client.send("GET", path, &[("cookie", &self.cookie)], "").await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let headers = [
            ("cookie", &*self.cookie),
            ("x-csrf-token", &*self.csrf),
            ("content-type", "application/json"),
        ];
        self.client.send(method, path, &headers, body).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, body).await
    }
}

fn credentials(email: &str, password: &str) -> String {
    json!({ "email": email, "password": password }).to_string()
}

/// Adds somebody, who sets a password by the link. Their id.
pub(crate) async fn invite(world: &World, name: &str, roles: &[&str]) -> String {
    let wanted = json!({ "email": format!("{name}@example.com"), "name": name, "roles": roles });
    let made = world.admin.post("/v1/users", &wanted.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let (made, nobody) = (made.json(), Client::new(world.running.addr(), None));
    let body = json!({ "link": made["link"], "password": PASSWORD }).to_string();
    let set = nobody.post("/v1/password", &body).await;
    assert_eq!(set.status, 200, "{}", set.text());
    nobody.post("/v1/password", &body).await.is_problem(409, "refused");
    made["id"].as_str().unwrap().into()
}

pub(crate) async fn person(world: &World, name: &str, roles: &[&str]) -> Browser {
    invite(world, name, roles).await;
    Browser::sign_in(world, &format!("{name}@example.com"), PASSWORD).await
}

async fn with_clock() -> (World, Clock) {
    let folder = TempDir::new().unwrap();
    let clock = Clock::manual(Timestamp::parse("2026-03-01T12:00:00Z").unwrap());
    let running = Admin::start_with(config(folder.path()), clock.clone()).await.unwrap();
    let admin = Client::new(running.addr(), running.first_key());
    (World { running, folder, admin }, clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn four_eyes_from_a_draft_to_the_catalog() {
    let world = World::with_acme().await;
    let ada = person(&world, "ada", &["super_admin"]).await;
    let ben = person(&world, "ben", &["approver"]).await;
    let eve = person(&world, "eve", &["catalog_editor"]).await;
    let made = eve.post("/v1/drafts", r#"{"name":"more seats"}"#).await;
    let path = format!("/v1/drafts/{}", made.json()["id"].as_str().unwrap());
    let pro = r#"{"extends":"basic","grants":{"sso":true,"seats":15}}"#;
    let put = |who: Browser| {
        let path = format!("{path}/objects/plans.pro");
        async move { who.send("PUT", &path, pro).await }
    };
    assert_eq!(put(eve.clone()).await.status, 200);
    // The Super Admin touches it last, so she cannot approve it.
    let renamed = ada.send("PATCH", &path, r#"{"name":"fewer seats"}"#).await;
    assert_eq!(renamed.status, 200, "{}", renamed.text());
    assert_eq!(eve.post(&format!("{path}/submit"), "").await.status, 200);
    let digest = async || {
        let preview = ben.get(&format!("{path}/preview")).await.json();
        json!({ "digest": preview["digest"] }).to_string()
    };
    let vote = digest().await;
    let own = ada.post(&format!("{path}/approve"), &vote).await;
    assert_eq!(own.is_problem(409, "publication")["problems"][0]["code"], "own_edit");
    eve.post(&format!("{path}/approve"), &vote).await.is_problem(403, "forbidden");
    let wrong = json!({ "digest": "ab".repeat(32) }).to_string();
    let stale = ben.post(&format!("{path}/approve"), &wrong).await;
    assert_eq!(stale.is_problem(409, "publication")["problems"][0]["code"], "other_preview");
    assert_eq!(ben.post(&format!("{path}/approve"), &vote).await.status, 200);

    // An edit voids the vote.
    assert_eq!(put(eve.clone()).await.status, 200);
    let refused = eve.post(&format!("{path}/publish"), "").await;
    assert_eq!(refused.is_problem(409, "publication")["problems"][0]["code"], "needs_votes");
    assert_eq!(eve.post(&format!("{path}/submit"), "").await.status, 200);
    let vote = digest().await;
    assert_eq!(ben.post(&format!("{path}/approve"), &vote).await.status, 200);

    // More tenants would lose than the approver saw: back to review, and the draft says why.
    let more = r#"{"subscriptions":[{"plan":"pro"}]}"#;
    assert_eq!(world.admin.put("/v1/tenants/late", more).await.status, 200);
    let refused = eve.post(&format!("{path}/publish"), "").await;
    assert_eq!(refused.is_problem(409, "publication")["problems"][0]["code"], "larger_effect");
    assert_eq!(eve.get(&path).await.json()["stage"], "in_review");
    let vote = digest().await;
    assert_eq!(ben.post(&format!("{path}/approve"), &vote).await.status, 200);
    let published = eve.post(&format!("{path}/publish"), "").await;
    assert_eq!(published.status, 200, "{}", published.text());
    let row = world.admin.get(&format!("/v1/audit/{}", published.revision())).await.json();
    assert!(row["principal"].is_string() && row["actor"].as_str().unwrap().starts_with("user:"));
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_person_made_is_that_person() {
    let world = World::with_acme().await;
    let ada = person(&world, "ada", &["super_admin"]).await;
    let made = ada.post("/v1/keys", r#"{"scope":"admin","label":"my script"}"#).await.json();
    let script = Client::new(world.running.addr(), made["key"].as_str());
    let draft = script.post("/v1/drafts", r#"{"name":"x"}"#).await.json();
    let path = format!("/v1/drafts/{}", draft["id"].as_str().unwrap());
    let value = r#"{"grants":{"seats":6}}"#;
    assert_eq!(script.put(&format!("{path}/objects/plans.basic"), value).await.status, 200);
    assert_eq!(script.post(&format!("{path}/submit"), "").await.status, 200);
    let digest = ada.get(&format!("{path}/preview")).await.json()["digest"].clone();
    let vote = json!({ "digest": digest }).to_string();
    let own = ada.post(&format!("{path}/approve"), &vote).await;
    assert_eq!(own.is_problem(409, "publication")["problems"][0]["code"], "own_edit");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_opens_what_the_roles_open_until_it_is_over() {
    let (world, clock) = with_clock().await;
    let ada = person(&world, "ada", &["analyst"]).await;
    let who = ada.get("/v1/session").await;
    assert_eq!(who.header("cache-control"), "no-store");
    let who = who.json();
    assert_eq!(who["name"], "ada");
    assert_eq!(
        who["permissions"],
        json!([
            "read_catalog",
            "read_tenants",
            "read_marketplace",
            "decide_requests",
            "read_notices",
            "read_metrics"
        ])
    );
    assert_eq!(ada.get("/v1/tenants").await.status, 200);
    ada.get("/v1/audit").await.is_problem(403, "forbidden");
    ada.get("/v1/users").await.is_problem(403, "forbidden");
    ada.send("PUT", "/v1/tenants/x", "{}").await.is_problem(403, "forbidden");

    let hours = |hour: i64| {
        let start = Timestamp::parse("2026-03-01T12:00:00Z").unwrap().as_micros();
        Timestamp::from_micros(start + hour * 3_600_000_000)
    };
    clock.advance(hours(7));
    assert_eq!(ada.get("/v1/tenants").await.status, 200, "heard of after 7 hours");
    clock.advance(hours(14));
    assert_eq!(ada.get("/v1/tenants").await.status, 200, "and 7 hours later");
    clock.advance(hours(22));
    ada.get("/v1/tenants").await.is_problem(401, "unauthenticated");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_from_another_site_or_without_its_token_is_refused() {
    let world = World::with_acme().await;
    let ada = person(&world, "ada", &["super_admin"]).await;
    let put = async |headers: &[(&str, &str)]| {
        let cookie = [("cookie", &*ada.cookie), ("content-type", "application/json")];
        let all = [&cookie[..], headers].concat();
        ada.client.send("PUT", "/v1/tenants/acme", &all, "{}").await
    };
    put(&[]).await.is_problem(403, "cross_site");
    put(&[("x-csrf-token", "wrong")]).await.is_problem(403, "cross_site");
    let foreign = [("x-csrf-token", &*ada.csrf), ("origin", "https://evil.example")];
    put(&foreign).await.is_problem(403, "cross_site");
    let own = format!("http://{}", world.running.addr());
    let ours = [("x-csrf-token", &*ada.csrf), ("origin", &*own)];
    assert_eq!(put(&ours).await.status, 200);
    let body = credentials("ada@example.com", PASSWORD);
    let nobody = Client::new(world.running.addr(), None);
    let evil = [("origin", "https://evil.example"), ("content-type", "application/json")];
    nobody.send("POST", "/v1/session", &evil, &body).await.is_problem(403, "cross_site");
    let doubled = format!("{}; entitlements=other", ada.cookie);
    let slipped = nobody.send("GET", "/v1/session", &[("cookie", &doubled)], "").await;
    slipped.is_problem(401, "unauthenticated");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_is_for_this_host_alone_and_for_tls_where_there_is_some() {
    for (public_url, expected) in [
        (None, "entitlements=; Path=/; HttpOnly; SameSite=Lax"),
        (
            Some("https://entitlements.example.com"),
            "__Host-entitlements=; Path=/; HttpOnly; SameSite=Lax; Secure",
        ),
    ] {
        let folder = TempDir::new().unwrap();
        let public_url = public_url.map(Into::into);
        let config = Config { public_url, ..config(folder.path()) };
        let running = Admin::start(config).await.unwrap();
        let admin = Client::new(running.addr(), running.first_key());
        let world = World { running, folder, admin };
        invite(&world, "ada", &["analyst"]).await;
        let nobody = Client::new(world.running.addr(), None);
        let body = credentials("ada@example.com", PASSWORD);
        let answer = nobody.post("/v1/session", &body).await;
        let cookie = answer.header("set-cookie");
        let (name, rest) = cookie.split_once('=').unwrap();
        let (secret, rest) = rest.split_once(';').unwrap();
        assert_eq!(format!("{name}=;{rest}"), expected);
        assert!(secret.len() > 50);
        world.running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_and_being_shut_out_hold_from_the_next_request_on() {
    let world = World::with_acme().await;
    let id = invite(&world, "ada", &["analyst"]).await;
    let again = async || Browser::sign_in(&world, "ada@example.com", PASSWORD).await;
    let (one, two) = (again().await, again().await);
    let list = one.get("/v1/sessions").await.json();
    let marks: Vec<&Value> =
        list["sessions"].as_array().unwrap().iter().map(|row| &row["is_this"]).collect();
    assert_eq!(marks, [&json!(true), &json!(false)]);
    let out = one.send("DELETE", "/v1/session", "").await;
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{}", out.text());
    one.get("/v1/session").await.is_problem(401, "unauthenticated");
    assert_eq!(two.get("/v1/session").await.status, 200, "the other stays");

    let three = again().await;
    assert_eq!(two.send("DELETE", "/v1/sessions", "").await.status, 200);
    for gone in [&two, &three] {
        gone.get("/v1/session").await.is_problem(401, "unauthenticated");
    }
    for (change, ends) in [
        (r#"{"name":"Ada L"}"#, false),
        (r#"{"roles":["operator"]}"#, true),
        (r#"{"disabled":true}"#, true),
        (r#"{"disabled":false}"#, false),
    ] {
        if change.contains("false") {
            assert_eq!(patch(&world, &id, change).await.status, 200);
            continue;
        }
        let browser = again().await;
        assert_eq!(patch(&world, &id, change).await.status, 200);
        let open = browser.get("/v1/session").await.status == 200;
        assert_eq!(open, !ends, "{change}");
    }
    let browser = again().await;
    assert_eq!(world.admin.delete(&format!("/v1/users/{id}/sessions")).await.status, 200);
    browser.get("/v1/session").await.is_problem(401, "unauthenticated");
    let browser = again().await;
    assert_eq!(world.admin.delete(&format!("/v1/users/{id}")).await.status, 200);
    browser.get("/v1/session").await.is_problem(401, "unauthenticated");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_that_are_over_are_not_kept_for_ever() {
    let (world, clock) = with_clock().await;
    invite(&world, "ada", &["analyst"]).await;
    let begin = clock.now();
    let rows = || {
        let file = world.folder.path().join("entitlements.db");
        let database = rusqlite::Connection::open(file).unwrap();
        let count = |sql| database.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
        let failed = count("SELECT count(*) FROM note WHERE topic = 'sign_in_failed'");
        (count("SELECT count(*) FROM session"), failed)
    };
    let nobody = Client::new(world.running.addr(), None);
    let sign_in = async || {
        Browser::sign_in(&world, "ada@example.com", PASSWORD).await;
        let wrong = credentials("nobody@example.com", "wrong and long enough");
        nobody.post("/v1/session", &wrong).await.is_problem(401, "wrong_sign_in");
    };
    sign_in().await;
    // Both are as old as they may be, to the microsecond, and a moment older.
    for (hours, more, left) in [(8, 0, (1, 1)), (8, 1, (0, 1)), (24, 0, (0, 1)), (24, 1, (0, 0))] {
        let age = Duration::from_hours(hours) + Duration::from_micros(more);
        clock.advance(begin.plus(age));
        jobs::run(world.running.app(), "test").await.unwrap();
        assert_eq!(rows(), left, "{age:?}");
    }
}

async fn patch(world: &World, id: &str, body: &str) -> Answer {
    let json = [("content-type", "application/json")];
    world.admin.send("PATCH", &format!("/v1/users/{id}"), &json, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_make_the_account_wait_and_never_tell_who_exists() {
    let (world, clock) = with_clock().await;
    invite(&world, "ada", &["analyst"]).await;
    let nobody = Client::new(world.running.addr(), None);
    let sign_in = async |email: &str, password: &str| {
        nobody.post("/v1/session", &credentials(email, password)).await
    };
    let wrong = sign_in("ada@example.com", "wrong password").await;
    let unknown = sign_in("nobody@example.com", "wrong password").await;
    assert_eq!(wrong.is_problem(401, "wrong_sign_in"), unknown.is_problem(401, "wrong_sign_in"));
    for _ in 0..4 {
        sign_in("ADA@example.com ", "wrong password").await.is_problem(401, "wrong_sign_in");
    }
    let waiting = sign_in("ada@example.com", PASSWORD).await;
    waiting.is_problem(429, "too_many_tries");
    assert_eq!(waiting.header("retry-after"), "30", "also with the right one");
    let locked = world.admin.get("/v1/audit?command=lock_sign_in").await.json();
    assert_eq!(locked["entries"].as_array().unwrap().len(), 1, "{locked}");
    clock.advance(Timestamp::parse("2026-03-01T12:00:30Z").unwrap());
    sign_in("ada@example.com", "wrong password").await.is_problem(401, "wrong_sign_in");
    assert_eq!(sign_in("ada@example.com", PASSWORD).await.header("retry-after"), "60");
    clock.advance(Timestamp::parse("2026-03-01T12:01:30Z").unwrap());
    assert_eq!(sign_in("ada@example.com", PASSWORD).await.status, 200);
    sign_in("ada@example.com", "wrong password").await.is_problem(401, "wrong_sign_in");
    assert_eq!(sign_in("ada@example.com", PASSWORD).await.status, 200, "counted anew");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_for_once_and_passwords_must_be_good() {
    let (world, clock) = with_clock().await;
    let wanted = r#"{"email":"Ada@Example.com","name":"Ada","roles":["super_admin"]}"#;
    let named = [("idempotency-key", "invite"), ("content-type", "application/json")];
    let made = world.admin.send("POST", "/v1/users", &named, wanted).await;
    let again = world.admin.send("POST", "/v1/users", &named, wanted).await;
    assert_eq!(made.json(), again.json(), "the same request is answered the same");
    world.admin.post("/v1/users", wanted).await.is_problem(409, "refused");
    for bad in [
        r#"{"email":"ada","name":"A","roles":["analyst"]}"#,
        r#"{"email":"b@example.com","name":"","roles":["analyst"]}"#,
        r#"{"email":"b@example.com","name":"B","roles":[]}"#,
    ] {
        world.admin.post("/v1/users", bad).await.is_problem(400, "invalid_request");
    }
    let (made, nobody) = (made.json(), Client::new(world.running.addr(), None));
    let set = async |link: &Value, password: &str| {
        let body = json!({ "link": link, "password": password }).to_string();
        nobody.post("/v1/password", &body).await
    };
    for weak in ["short", "iloveyou1234", "entitlements1"] {
        let refused = set(&made["link"], weak).await;
        if refused.status == 200 {
            panic!("{weak} was taken");
        }
        refused.is_problem(400, "invalid_request");
    }
    for link in [json!("x"), json!("ent_aaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")] {
        set(&link, PASSWORD).await.is_problem(409, "refused");
    }
    assert_eq!(set(&made["link"], PASSWORD).await.status, 200);
    set(&made["link"], "another good password").await.is_problem(409, "refused");

    let ada = Browser::sign_in(&world, "ada@example.com", PASSWORD).await;
    let other = Browser::sign_in(&world, "ada@example.com", PASSWORD).await;
    let change = |old: &str| json!({ "old": old, "password": "eight loud geese" }).to_string();
    ada.send("PUT", "/v1/password", &change("wrong")).await.is_problem(409, "refused");
    assert_eq!(ada.send("PUT", "/v1/password", &change(PASSWORD)).await.status, 200);
    assert_eq!(ada.get("/v1/session").await.status, 200, "this browser stays signed in");
    other.get("/v1/session").await.is_problem(401, "unauthenticated");

    let id = made["id"].as_str().unwrap();
    let reset = world.admin.post(&format!("/v1/users/{id}/reset"), "").await.json();
    ada.get("/v1/session").await.is_problem(401, "unauthenticated");
    let body = credentials("ada@example.com", "eight loud geese");
    nobody.post("/v1/session", &body).await.is_problem(401, "wrong_sign_in");
    clock.advance(Timestamp::parse("2026-03-08T12:00:00Z").unwrap());
    set(&reset["link"], PASSWORD).await.is_problem(409, "refused");
    let fresh = world.admin.post(&format!("/v1/users/{id}/reset"), "").await.json();
    set(&reset["link"], PASSWORD).await.is_problem(409, "refused");
    assert_eq!(set(&fresh["link"], PASSWORD).await.status, 200);
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_people_are_in_no_answer_no_audit_and_no_export() {
    let world = World::new().await;
    let id = invite(&world, "ada", &["super_admin"]).await;
    for path in [
        "/v1/users".to_owned(),
        format!("/v1/users/{id}"),
        "/v1/audit".into(),
        "/v1/audit/2".into(),
        "/v1/audit/3".into(),
        "/v1/audit/export".into(),
    ] {
        let text = world.admin.get(&path).await.text();
        assert!(!text.contains("argon2") && !text.contains("secret_hash"), "{path}: {text}");
    }
    world.running.stop().await;
}
