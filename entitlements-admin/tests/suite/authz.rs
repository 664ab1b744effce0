//! Every route, with every kind of token. A route without a line here fails the test.

use std::collections::BTreeSet;

use entitlements_admin::{http, workflow::Scope};

use crate::support::{Client, World};

/// Method, route, a request to it, and who gets in: without a token, `read`, `sync`, `admin`.
const TABLE: &[(&str, &str, &str, &str, [bool; 4])] = &[
    ("GET", "/v1/catalog", "/v1/catalog", "", READ),
    ("PUT", "/v1/catalog", "/v1/catalog", "{}", ADMIN),
    ("GET", "/v1/tenants", "/v1/tenants", "", READ),
    ("POST", "/v1/tenants/bulk", "/v1/tenants/bulk", r#"{"tenants":{}}"#, ADMIN),
    ("GET", "/v1/tenants/{key}", "/v1/tenants/acme", "", READ),
    ("PUT", "/v1/tenants/{key}", "/v1/tenants/acme", "{}", ADMIN),
    ("DELETE", "/v1/tenants/{key}", "/v1/tenants/acme", "", ADMIN),
    ("GET", "/v1/tenants/{key}/features", "/v1/tenants/acme/features", "", READ),
    ("GET", "/v1/tenants/{key}/features/{feature}", "/v1/tenants/acme/features/sso", "", READ),
    (
        "GET",
        "/v1/tenants/{key}/features/{feature}/explain",
        "/v1/tenants/acme/features/sso/explain",
        "",
        READ,
    ),
    ("GET", "/v1/audit", "/v1/audit", "", READ),
    ("GET", "/v1/audit/{revision}", "/v1/audit/1", "", READ),
    ("GET", "/v1/keys", "/v1/keys", "", ADMIN),
    ("POST", "/v1/keys", "/v1/keys", r#"{"scope":"read","label":"x"}"#, ADMIN),
    ("DELETE", "/v1/keys/{id}", "/v1/keys/aaaaaaaa", "", ADMIN),
    ("GET", "/sync/v1/keys", "/sync/v1/keys", "", SYNC),
    ("GET", "/sync/v1/snapshot", "/sync/v1/snapshot", "", SYNC),
    ("GET", "/sync/v1/changes", "/sync/v1/changes", "", SYNC),
    ("GET", "/schema/{file}", "/schema/catalog.json", "", PUBLIC),
    ("GET", "/healthz", "/healthz", "", PUBLIC),
    ("GET", "/readyz", "/readyz", "", PUBLIC),
    ("GET", "/metrics", "/metrics", "", READ),
];

const PUBLIC: [bool; 4] = [true, true, true, true];
const READ: [bool; 4] = [false, true, false, true];
const SYNC: [bool; 4] = [false, false, true, true];
const ADMIN: [bool; 4] = [false, false, false, true];

#[test]
fn every_route_has_a_line() {
    let line = |method: &str, path: &str| format!("{method} {path}");
    let listed: BTreeSet<String> = TABLE.iter().map(|row| line(row.0, row.1)).collect();
    let routed: BTreeSet<String> =
        http::routes().iter().map(|route| line(route.verb.method().as_str(), route.path)).collect();
    assert_eq!(listed, routed);
    assert_eq!(TABLE.len(), listed.len(), "no line stands twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_opens_to_those_who_may_and_to_nobody_else() {
    let world = World::with_acme().await;
    let addr = world.running.addr();
    let clients = [
        ("nobody", Client::new(addr, None)),
        ("read", world.client(Scope::Read).await),
        ("sync", world.client(Scope::Sync).await),
        ("admin", world.client(Scope::Admin).await),
    ];
    for (method, _, path, body, open) in TABLE {
        for ((who, client), open) in clients.iter().zip(open) {
            let answer = client.send(method, path, &[], body).await;
            let told = format!("{method} {path} as {who}: {} {}", answer.status, answer.text());
            match (open, *who) {
                (true, _) => assert!(!matches!(answer.status, 401 | 403 | 405 | 500..), "{told}"),
                (false, "nobody") => {
                    answer.is_problem(401, "unauthenticated");
                    assert!(answer.header("www-authenticate").starts_with("Bearer"), "{told}");
                }
                (false, _) => {
                    answer.is_problem(403, "forbidden");
                }
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
