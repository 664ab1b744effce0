//! Every operation of the OpenAPI document, asked by everybody. An operation without a request
//! here, or a permission without a row, fails the test.

use std::collections::{BTreeMap, BTreeSet};

use entitlements_admin::{
    app::{Actor, Command, NewKey},
    http::openapi,
    workflow::{Permission, Scope},
};
use entitlements_core::Timestamp;
use serde_json::Value;

use crate::{
    people::{Browser, person},
    support::{Answer, Client, World},
};

/// Who may do what: written down apart from the code that decides it.
const MAY: [(&str, &[&str]); 22] = [
    (
        "read_catalog",
        &[
            "super_admin",
            "catalog_editor",
            "approver",
            "operator",
            "analyst",
            "auditor",
            "key:admin",
            "key:read",
            "key:product",
        ],
    ),
    ("edit_drafts", &["super_admin", "catalog_editor", "key:admin"]),
    ("approve_drafts", &["super_admin", "approver"]),
    ("publish_catalog", &["super_admin", "catalog_editor", "approver", "key:admin"]),
    ("break_glass", &["super_admin", "key:admin"]),
    (
        "read_tenants",
        &[
            "super_admin",
            "catalog_editor",
            "approver",
            "operator",
            "analyst",
            "auditor",
            "key:admin",
            "key:read",
            "key:product",
            "key:partner",
        ],
    ),
    ("write_tenants", &["super_admin", "operator", "key:admin"]),
    ("write_usage", &["super_admin", "operator", "key:admin", "key:product", "key:ingest"]),
    ("read_audit", &["super_admin", "auditor", "key:admin", "key:read"]),
    ("manage_users", &["super_admin", "key:admin"]),
    ("manage_keys", &["super_admin", "key:admin"]),
    (
        "read_marketplace",
        &[
            "super_admin",
            "catalog_editor",
            "approver",
            "operator",
            "analyst",
            "auditor",
            "key:admin",
            "key:read",
            "key:product",
            "key:partner",
        ],
    ),
    ("manage_listings", &["super_admin", "catalog_editor", "key:admin"]),
    ("make_requests", &["super_admin", "operator", "key:admin", "key:product"]),
    ("decide_requests", &["super_admin", "catalog_editor", "approver", "operator", "analyst"]),
    ("operate_requests", &["super_admin", "operator", "key:admin", "key:partner"]),
    ("read_notices", &["super_admin", "operator", "analyst", "auditor", "key:admin", "key:read"]),
    ("redrive", &["super_admin", "operator", "key:admin"]),
    ("manage_connectors", &["super_admin", "key:admin"]),
    ("manage_settings", &["super_admin", "key:admin"]),
    ("follow_sync", &["key:admin", "key:sync"]),
    ("read_metrics", &["super_admin", "operator", "analyst", "auditor", "key:admin", "key:read"]),
];

/// What needs a signed-in browser, and nothing else.
const OF_BROWSERS: [&str; 4] =
    ["DELETE /v1/session", "GET /v1/sessions", "DELETE /v1/sessions", "PUT /v1/password"];

/// What to put for a name in a path.
fn named(path: &str, name: &str) -> &'static str {
    match (path, name) {
        (_, "key") if path.starts_with("/v1/history") => "acme",
        (_, "key") => "acme",
        (_, "kind") => "tenant",
        (_, "feature") => "seats",
        (_, "object") => "plans.pro",
        (_, "revision") => "1",
        (_, "file") => "catalog.json",
        (_, "act") => "submit",
        (_, "step") => "ship",
        (_, "metric") => "approval",
        // Nothing is there under this name: those who may are told so, the others that they may not.
        (_, "id") => "aaaaaaaa",
        (path, name) => panic!("no value for `{name}` in {path}"),
    }
}

/// A body for an operation that takes one. It need not be right: who may not is told first.
fn body(operation: &Value) -> &'static str {
    if operation["requestBody"].is_object() { "{}" } else { "" }
}

struct Operation {
    method: String,
    path: String,
    request: String,
    body: &'static str,
    permission: Option<String>,
    is_public: bool,
}

fn operations() -> Vec<Operation> {
    let document = openapi::document();
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let mut request = path.clone();
            for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
                request = request.replace(&format!("{{{name}}}"), named(path, name));
            }
            all.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                request,
                body: body(operation),
                permission: operation["x-permission"].as_str().map(Into::into),
                is_public: operation["security"].as_array().unwrap().is_empty(),
            });
        }
    }
    all
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn is_open_to(&self, who: &str) -> bool {
        match &self.permission {
            Some(permission) => {
                let row = MAY.iter().find(|row| row.0 == permission);
                row.unwrap_or_else(|| panic!("no row for {permission}")).1.contains(&who)
            }
            None => true,
        }
    }
}

/// Somebody who asks.
enum Who {
    Key(Client),
    Browser(Browser),
}

impl Who {
    async fn ask(&self, operation: &Operation, request: &str) -> Answer {
        let (method, body) = (operation.method.as_str(), operation.body);
        match self {
            Self::Key(client) => client.send(method, request, &[], body).await,
            Self::Browser(browser) => browser.send(method, request, body).await,
        }
    }
}

#[test]
fn every_permission_has_a_row_and_none_has_two() {
    let rows: BTreeSet<&str> = MAY.iter().map(|row| row.0).collect();
    assert_eq!(rows, Permission::ALL.iter().map(|permission| permission.code()).collect());
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for operation in operations() {
        *asked.entry(operation.permission.unwrap_or_default()).or_default() += 1;
    }
    for row in rows {
        assert!(asked.contains_key(row), "nothing asks for {row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_opens_to_those_who_may_and_to_nobody_else() {
    let world = World::with_acme().await;
    let nobody = Client::new(world.running.addr(), None);
    let mut all = Vec::new();
    for scope in Scope::ALL {
        all.push((format!("key:{scope}"), Who::Key(world.client(scope).await)));
    }
    for role in ["super_admin", "catalog_editor", "approver", "operator", "analyst", "auditor"] {
        // Signing out everywhere must not end what the next operation is asked with.
        all.push((role.into(), Who::Browser(person(&world, role, &[role]).await)));
    }
    let mut asked = 0;
    for operation in operations() {
        let answer = nobody.send(&operation.method, &operation.request, &[], operation.body).await;
        let told = format!("{} as nobody: {} {}", operation.name(), answer.status, answer.text());
        if operation.is_public {
            assert!(!matches!(answer.status, 403 | 405 | 500..), "{told}");
        } else {
            answer.is_problem(401, "unauthenticated");
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{told}");
        }
        if OF_BROWSERS.contains(&operation.name().as_str()) {
            continue;
        }
        for (who, client) in &all {
            let answer = client.ask(&operation, &operation.request).await;
            let told =
                format!("{} as {who}: {} {}", operation.name(), answer.status, answer.text());
            asked += 1;
            if operation.is_public || operation.is_open_to(who) {
                assert!(!matches!(answer.status, 403 | 405 | 500..), "{told}");
                // Public ones may say that a password is wrong.
                assert!(operation.is_public || answer.status != 401, "{told}");
            } else {
                assert_eq!(answer.status, 403, "{told}");
                answer.is_problem(403, "forbidden");
            }
        }
    }
    println!("{asked} operations asked by keys and people");
    for (who, client) in &all {
        for operation in operations().iter().filter(|o| OF_BROWSERS.contains(&o.name().as_str())) {
            if let Who::Key(_) = client {
                let answer = client.ask(operation, &operation.request).await;
                assert!(matches!(answer.status, 400 | 409), "{} as {who}", operation.name());
            }
        }
    }
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_some_tenants_knows_no_others() {
    let world = World::with_acme().await;
    world.admin.put("/v1/tenants/foreign", "{}").await;
    for scope in [Scope::Product, Scope::Ingest, Scope::Partner] {
        let tenants = ["acme".parse().unwrap()].into();
        let command = Command::CreateKey(NewKey { tenants, ..NewKey::new(scope, "test") });
        let made = world.running.app().execute(&Actor::local("test"), command).await.unwrap();
        let key = Who::Key(Client::new(world.running.addr(), made.secret.as_deref()));
        for operation in operations().iter().filter(|o| o.path.starts_with("/v1/tenants/{key}")) {
            let own = key.ask(operation, &operation.request).await;
            let foreign = operation.request.replace("/acme", "/foreign");
            let foreign = key.ask(operation, &foreign).await;
            let unknown = operation.request.replace("/acme", "/unknown");
            let unknown = key.ask(operation, &unknown).await;
            let told = format!("{} for {scope}: {}", operation.name(), own.text());
            if operation.is_open_to(&format!("key:{scope}")) {
                assert!(!matches!(own.status, 401 | 403 | 404), "{told}");
                let problem = foreign.is_problem(404, "not_found");
                let same = unknown.is_problem(404, "not_found").to_string();
                assert_eq!(problem.to_string().replace("foreign", "unknown"), same, "{told}");
            } else {
                assert_eq!((own.status, foreign.status), (403, 403), "{told}");
            }
        }
        let Who::Key(client) = &key else { return };
        let list = client.get("/v1/tenants").await;
        if scope != Scope::Ingest {
            assert!(list.text().contains("acme") && !list.text().contains("foreign"), "{scope}");
        }
        if scope != Scope::Partner {
            for (tenant, status) in [("acme", 200), ("foreign", 404)] {
                let usage = format!(
                    r#"{{"usage":[{{"tenant":"{tenant}","feature":"seats","amount":1}}]}}"#
                );
                assert_eq!(client.post("/v1/usage", &usage).await.status, status, "{scope}");
            }
        }
    }
    world.running.stop().await;
}

#[tokio::test]
async fn a_wrong_or_revoked_token_opens_nothing() {
    let world = World::new().await;
    let good = world.admin.token.clone().unwrap();
    let (head, tail) = good.split_at(good.len() - 1);
    let other = if tail == "a" { "b" } else { "a" };
    let wrong = [
        String::new(),
        "x".into(),
        head.into(),
        format!("{head}{other}"),
        format!("{good}a"),
        good.to_uppercase(),
        good.replacen("ent_", "ent_x", 1),
    ];
    for token in wrong {
        let client = Client::new(world.running.addr(), Some(&token));
        client.get("/v1/tenants").await.is_problem(401, "unauthenticated");
    }
    let basic = [("authorization", &*format!("Basic {good}"))];
    let nobody = Client::new(world.running.addr(), None);
    nobody.send("GET", "/v1/tenants", &basic, "").await.is_problem(401, "unauthenticated");

    let reader = world.client(Scope::Read).await;
    assert_eq!(reader.get("/v1/tenants").await.status, 200);
    let token = reader.token.clone().unwrap();
    let id = token.split('_').nth(1).unwrap();
    assert_eq!(world.admin.delete(&format!("/v1/keys/{id}")).await.status, 200);
    reader.get("/v1/tenants").await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn secrets_are_nowhere_in_the_data_folder() {
    let world = World::new().await;
    let token = world.admin.token.clone().unwrap();
    let secret = token.rsplit('_').next().unwrap().to_owned();
    let folder = world.folder.path().to_owned();
    world.running.stop().await;
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{path:?}");
            files += 1;
        }
    }
    assert!(files >= 2, "database and trust at least");
}

#[tokio::test]
async fn an_expired_key_opens_nothing() {
    let world = World::new().await;
    let expires_at = Some(Timestamp::from_micros(world.running.app().now().as_micros() + 50_000));
    let command = Command::CreateKey(NewKey { expires_at, ..NewKey::new(Scope::Read, "short") });
    let made = world.running.app().execute(&Actor::local("test"), command).await.unwrap();
    let client = Client::new(world.running.addr(), made.secret.as_deref());
    let expired = async { while client.get("/v1/tenants").await.status == 200 {} };
    tokio::time::timeout(crate::support::DEADLINE, expired).await.expect("it expires");
    let answer = client.get("/v1/tenants").await.is_problem(401, "unauthenticated");
    assert!(answer["detail"].as_str().unwrap().contains("has expired"), "{answer}");
}
