//! Every route over real sockets: what it is for, and what it says to wrong input.

use std::collections::BTreeMap;

use entitlements_admin::app::{Actor, Command};
use entitlements_core::{Tenant, TenantKey, document::Document};
use serde_json::json;

use crate::support::{ACME, CATALOG, World};

#[tokio::test]
async fn a_catalog_is_imported_read_and_replaced() {
    let world = World::new().await;
    let empty = world.admin.get("/v1/catalog").await;
    assert_eq!((empty.status, empty.text().as_str(), empty.header("etag")), (200, "{}", "\"0\""));

    let toml = [("content-type", "application/toml; charset=utf-8")];
    let put = world.admin.send("PUT", "/v1/catalog", &toml, CATALOG).await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(put.json()["revision"], put.revision());
    assert_eq!(put.header("etag"), format!("\"{}\"", put.revision()));

    let read = world.admin.get("/v1/catalog").await;
    assert_eq!(read.header("etag"), put.header("etag"));
    assert_eq!(read.json()["plans"]["pro"]["extends"], "basic");
    let unchanged = [("if-none-match", read.header("etag"))];
    assert_eq!(world.admin.send("GET", "/v1/catalog", &unchanged, "").await.status, 304);

    // What is read can be sent back as it is, once.
    let json = [("content-type", "application/json"), ("if-match", read.header("etag"))];
    let second = world.admin.send("PUT", "/v1/catalog", &json, &read.text()).await;
    assert_eq!((second.status, second.revision()), (200, put.revision() + 1));
    let stale = world.admin.send("PUT", "/v1/catalog", &json, "{}").await;
    let problem = stale.is_problem(409, "conflict");
    assert_eq!(problem["present"]["revision"], second.revision());
    assert_eq!(problem["present"]["value"], read.json());
}

#[tokio::test]
async fn a_wrong_catalog_is_refused_with_all_its_problems() {
    let world = World::with_acme().await;
    let before = world.admin.get("/v1/catalog").await;
    let wrong = r#"{"features":{"sso":{"kind":"switch","requires":["nothing"]}},
        "plans":{"pro":{"extends":"gold","grants":{"sms":3}}}}"#;
    let problem = world.admin.put("/v1/catalog", wrong).await.is_problem(422, "invalid_catalog");
    let paths: Vec<&str> = problem["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths.len(), 3, "{paths:?}");
    for path in ["features.sso.requires", "plans.pro.extends", "plans.pro.grants.sms"] {
        assert!(paths.iter().any(|found| found.starts_with(path)), "{path} in {paths:?}");
    }
    assert_eq!(world.admin.get("/v1/catalog").await.text(), before.text());
}

#[tokio::test]
async fn a_catalog_that_leaves_tenants_behind_is_imported_with_warnings() {
    let world = World::with_acme().await;
    world.admin.without_approval().await;
    let smaller =
        r#"{"features":{"sso":{"kind":"switch"}},"plans":{"basic":{"grants":{"sso":true}}}}"#;
    let answer = world.admin.put("/v1/catalog", smaller).await;
    assert_eq!(answer.status, 200);
    let warnings = answer.json()["warnings"].clone();
    assert_eq!(warnings.as_array().unwrap().len(), 1, "{warnings}");
    assert!(warnings[0]["path"].as_str().unwrap().starts_with("tenants.acme.subscriptions[0]"));
    let check = world.admin.get("/v1/tenants/acme/features/sso").await.json();
    assert_eq!((&check["allowed"], &check["reason"]), (&json!(false), &json!("not_included")));
}

#[tokio::test]
async fn a_tenant_is_made_read_changed_and_removed() {
    let world = World::with_acme().await;
    let read = world.admin.get("/v1/tenants/acme").await;
    assert_eq!(read.json(), serde_json::from_str::<serde_json::Value>(ACME).unwrap());
    let etag = read.header("etag").to_owned();

    let create = [("if-none-match", "*")];
    let exists = world.admin.send("PUT", "/v1/tenants/acme", &create, ACME).await;
    assert_eq!(exists.is_problem(409, "conflict")["present"]["value"], read.json());
    assert_eq!(world.admin.send("PUT", "/v1/tenants/new", &create, "{}").await.status, 200);

    let match_it = [("if-match", etag.as_str())];
    let changed = world.admin.send("PUT", "/v1/tenants/acme", &match_it, "{}").await;
    assert_eq!(changed.status, 200);
    world.admin.send("PUT", "/v1/tenants/acme", &match_it, "{}").await.is_problem(409, "conflict");
    world.admin.send("DELETE", "/v1/tenants/acme", &match_it, "").await.is_problem(409, "conflict");
    let any = [("if-match", "*")];
    let absent = world.admin.send("PUT", "/v1/tenants/nobody", &any, "{}").await;
    assert!(absent.is_problem(409, "conflict")["present"]["value"].is_null());

    let removed = world.admin.delete("/v1/tenants/acme").await;
    assert_eq!((removed.status, removed.revision()), (200, changed.revision() + 1));
    world.admin.get("/v1/tenants/acme").await.is_problem(404, "not_found");
    world.admin.delete("/v1/tenants/acme").await.is_problem(404, "not_found");
    for bad in ["5", "\"x\"", "W/\"5\"", "\"1\", \"2\""] {
        let headers = [("if-match", bad)];
        let answer = world.admin.send("PUT", "/v1/tenants/acme", &headers, "{}").await;
        answer.is_problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_tenant_that_does_not_fit_the_catalog_is_refused() {
    let world = World::with_acme().await;
    let wrong =
        r#"{"subscriptions":[{"plan":"gold"}],"add_ons":[{"add_on":"nothing","quantity":1}]}"#;
    let problem = world.admin.put("/v1/tenants/x", wrong).await.is_problem(422, "invalid_tenants");
    assert_eq!(problem["problems"].as_array().unwrap().len(), 2, "{problem}");
    assert!(problem["problems"][0]["path"].as_str().unwrap().starts_with("subscriptions[0]"));

    let before = world.running.app().revision();
    let bulk = format!(r#"{{"tenants":{{"good":{ACME},"bad":{wrong}}}}}"#);
    let problem =
        world.admin.post("/v1/tenants/bulk", &bulk).await.is_problem(422, "invalid_tenants");
    let path = problem["problems"][0]["path"].as_str().unwrap();
    assert!(path.starts_with("tenants.bad."), "{path}");
    world.admin.get("/v1/tenants/good").await.is_problem(404, "not_found");
    assert_eq!(world.running.app().revision(), before);
}

#[tokio::test]
async fn many_tenants_are_one_commit_and_a_list_pages_through_them() {
    let world = World::with_acme().await;
    let tenants: BTreeMap<String, serde_json::Value> =
        (0..250).map(|n| (format!("tenant-{n:03}"), serde_json::from_str(ACME).unwrap())).collect();
    let before = world.running.app().revision().0;
    let body = json!({ "tenants": tenants }).to_string();
    let answer = world.admin.post("/v1/tenants/bulk", &body).await;
    assert_eq!((answer.status, answer.revision()), (200, before + 1), "{}", answer.text());
    let toml = [("content-type", "application/toml")];
    let more = "[tenants.zeta]\nname = \"Zeta\"\nsubscriptions = [{ plan = \"basic\" }]\n";
    assert_eq!(world.admin.send("POST", "/v1/tenants/bulk", &toml, more).await.status, 200);

    let (mut keys, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.admin.get(&format!("/v1/tenants?after={after}&limit=100")).await.json();
        for item in page["tenants"].as_array().unwrap() {
            assert!(item["tenant"]["subscriptions"].is_array() && item["revision"].is_u64());
            keys.push(item["key"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => after = next.into(),
            None => break,
        }
    }
    assert_eq!(keys.len(), 252);
    assert!(keys.is_sorted() && keys[0] == "acme" && keys[251] == "zeta");
    for bad in ["limit=0", "limit=201", "limit=x", "page=2"] {
        world.admin.get(&format!("/v1/tenants?{bad}")).await.is_problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_change_is_in_the_next_answer() {
    let world = World::with_acme().await;
    world.admin.without_approval().await;
    let check = async |feature: &str| {
        world.admin.get(&format!("/v1/tenants/acme/features/{feature}")).await.json()
    };
    let seats = check("seats").await;
    assert_eq!((&seats["verdict"], &seats["amount"]), (&json!("limit"), &json!(20)));
    assert_eq!((&seats["reason"], &seats["source"]), (&json!("plan"), &json!("plan:pro")));

    let with_add_on =
        r#"{"subscriptions":[{"plan":"pro"}],"add_ons":[{"add_on":"more-seats","quantity":2}]}"#;
    let put = world.admin.put("/v1/tenants/acme", with_add_on).await;
    let seats = check("seats").await;
    assert_eq!((&seats["amount"], &seats["revision"]), (&json!(40), &json!(put.revision())));

    let catalog = world.admin.get("/v1/catalog").await.text().replace("+10", "+7");
    let put = world.admin.put("/v1/catalog", &catalog).await;
    let seats = check("seats").await;
    assert_eq!((&seats["amount"], &seats["revision"]), (&json!(34), &json!(put.revision())));
    assert_eq!(check("nothing").await["reason"], "unknown_feature");
    let unknown = world.admin.get("/v1/tenants/nobody/features/sso").await;
    assert_eq!((unknown.status, unknown.json()["reason"].clone()), (200, json!("unknown_tenant")));
}

#[tokio::test]
async fn answers_are_given_for_any_instant() {
    let world = World::with_acme().await;
    let tenant = r#"{"subscriptions":[{"plan":"pro","window":{"from":"2026-03-01T00:00:00Z","until":"2026-04-01T00:00:00Z"}}]}"#;
    assert_eq!(world.admin.put("/v1/tenants/march", tenant).await.status, 200);
    let at = async |at: &str| {
        world.admin.get(&format!("/v1/tenants/march/features/sso?at={at}")).await.json()
    };
    assert_eq!(at("2026-02-28T23:59:59.999999Z").await["allowed"], false);
    let first = at("2026-03-01T00:00:00Z").await;
    assert_eq!(
        (&first["allowed"], &first["valid_until"]),
        (&json!(true), &json!("2026-04-01T00:00:00Z"))
    );
    assert_eq!(at("2026-04-01T01:59:59.999999+02:00").await["allowed"], true);
    assert_eq!(at("2026-04-01T00:00:00Z").await["allowed"], false);
    let bad = world.admin.get("/v1/tenants/march/features/sso?at=tomorrow").await;
    let problem = bad.is_problem(400, "invalid_request");
    assert!(problem["detail"].as_str().unwrap().contains("`tomorrow`"), "{problem}");

    let all = world.admin.get("/v1/tenants/march/features?at=2026-03-05T00:00:00Z").await.json();
    let features: Vec<&str> = all["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["feature"].as_str().unwrap())
        .collect();
    assert_eq!(features, ["seats", "sso"]);
    assert_eq!(all["features"][0]["amount"], 20);
    let why =
        world.admin.get("/v1/tenants/march/features/seats/explain?at=2026-03-05T00:00:00Z").await;
    assert_eq!(why.status, 200);
    assert!(why.text().contains("basic"), "the plan that lost is named: {}", why.text());
}

#[tokio::test]
async fn wrong_bodies_are_told_where_they_are_wrong() {
    let world = World::with_acme().await;
    let wrong = [
        ("", "EOF"),
        ("{", "EOF"),
        ("[]", "expected an object"),
        ("null", "expected an object"),
        ("{} x", "trailing"),
        (r#"{"nme":"x"}"#, "nme"),
        (r#"{"subscriptions":[{"plan":"pro","tril":true}]}"#, "subscriptions[0]"),
        (r#"{"subscriptions":[{"plan":"pro"},{"plan":7}]}"#, "subscriptions[1].plan"),
        (r#"{"subscriptions":[{"plan":"Pro Plan"}]}"#, "`Pro Plan` is not a plan key"),
        (r#"{"name":"a","name":"b"}"#, "`name` stands twice"),
        (r#"{"attributes":{"beds":1,"beds":2}}"#, "`beds` stands twice"),
        (r#"{"country":"Germany"}"#, "country"),
        (r#"{"subscriptions":[["pro"]]}"#, "`subscriptions[0]`: invalid type: sequence"),
    ];
    for (body, expected) in wrong {
        let problem = world.admin.put("/v1/tenants/x", body).await.is_problem(400, "invalid_body");
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{body}: {problem}");
        assert_eq!(problem["problems"].as_array().unwrap().len(), 1);
    }
    let deep = format!(r#"{{"name":{}{}}}"#, "[".repeat(2000), "]".repeat(2000));
    let problem = world.admin.put("/v1/tenants/x", &deep).await.is_problem(400, "invalid_body");
    assert!(problem["detail"].as_str().unwrap().contains("32 deep"), "{problem}");

    let toml = [("content-type", "application/toml")];
    let bad = "[features.sso]\nkind = \"switch\"\n[plans.pro]\ngrant = { sso = true }\n";
    let problem =
        world.admin.send("PUT", "/v1/catalog", &toml, bad).await.is_problem(400, "invalid_body");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("plans.pro") && detail.contains("`grant`") && detail.contains("line 4"),
        "{detail}"
    );

    for kind in ["text/plain", "application/xml"] {
        let headers = [("content-type", kind)];
        let answer = world.admin.send("PUT", "/v1/catalog", &headers, "{}").await;
        answer.is_problem(415, "unsupported_media_type");
    }
    let headers = [("content-encoding", "gzip")];
    let answer = world.admin.send("PUT", "/v1/catalog", &headers, "{}").await;
    answer.is_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn no_path_or_query_is_an_accident() {
    let world = World::with_acme().await;
    for path in [
        "/",
        "/v1",
        "/v1/nothing",
        "/v1/tenants/",
        "/v1/tenants/a/b",
        "/schema/x.json",
        "/v1/audit/99",
    ] {
        world.admin.get(path).await.is_problem(404, "not_found");
    }
    let wrong = world.admin.send("PATCH", "/v1/catalog", &[], "").await;
    wrong.is_problem(405, "method_not_allowed");
    assert!(wrong.header("allow").contains("PUT"), "{:?}", wrong.headers);
    world.admin.delete("/healthz").await.is_problem(405, "method_not_allowed");
    for path in ["/v1/tenants/%FF", "/v1/audit/x", "/v1/audit?after=x"] {
        world.admin.get(path).await.is_problem(400, "invalid_request");
    }
    for key in ["a%20b", "%C3%A4", "a%2Fb", "a%00b", &"a".repeat(129)] {
        let answer = world.admin.put(&format!("/v1/tenants/{key}"), "{}").await;
        answer.is_problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn the_audit_tells_who_changed_what() {
    let world = World::with_acme().await;
    let reason = [("entitlements-reason", "a downgrade"), ("x-request-id", "case-7")];
    let body = r#"{"name":"Acme","subscriptions":[{"plan":"basic"}]}"#;
    world.admin.send("PUT", "/v1/tenants/acme", &reason, body).await;
    world.admin.delete("/v1/tenants/acme").await;
    let list = world.admin.get("/v1/audit").await.json();
    let entries = list["entries"].as_array().unwrap();
    let commands: Vec<&str> = entries.iter().map(|e| e["command"].as_str().unwrap()).collect();
    let expected = ["delete_tenant", "put_tenant", "put_tenant", "import_catalog", "create_key"];
    assert_eq!(commands, expected, "newest first");
    let id = world.admin.token.as_ref().unwrap().split('_').nth(1).unwrap();
    let put = &entries[1];
    assert_eq!(put["actor"], format!("key:{id}"));
    assert_eq!((&put["subject"], &put["address"]), (&json!("tenant acme"), &json!("127.0.0.1")));
    assert_eq!((&put["reason"], &put["request_id"]), (&json!("a downgrade"), &json!("case-7")));

    let whole = world.admin.get("/v1/audit/4").await.json();
    assert_eq!(whole["hash"], put["hash"]);
    let acme = &whole["documents"]["tenant:acme"];
    assert_eq!(acme["before"]["subscriptions"][0]["plan"], "pro");
    assert_eq!(acme["after"]["subscriptions"][0]["plan"], "basic");
    assert!(
        world.admin.get("/v1/audit/5").await.json()["documents"]["tenant:acme"]["after"].is_null()
    );
    world.admin.get("/v1/audit/6").await.is_problem(404, "not_found");

    let page = world.admin.get("/v1/audit?before=4&limit=2").await.json();
    assert_eq!((&page["entries"][0]["revision"], &page["next"]), (&json!(3), &json!(2)));
    for (query, count) in [
        ("command=put_tenant", 2),
        ("object=tenant:acme", 3),
        ("object=tenant:acm", 0),
        ("text=DOWNGRADE", 1),
        ("text=%25", 0),
        ("actor=local:first%20start", 1),
        ("since=2100-01-01T00:00:00Z", 0),
        ("until=2100-01-01T00:00:00Z&limit=3", 3),
    ] {
        let found = world.admin.get(&format!("/v1/audit?{query}")).await.json();
        assert_eq!(found["entries"].as_array().unwrap().len(), count, "{query}: {found}");
    }
    let verdict = world.admin.get("/v1/audit/verify").await.json();
    assert_eq!((&verdict["whole"], &verdict["rows"]), (&json!(true), &json!(5)));
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked() {
    let world = World::new().await;
    let made = world.admin.post("/v1/keys", r#"{"scope":"sync","label":"sidecar"}"#).await;
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"));
    let made = made.json();
    assert!(
        made["key"]
            .as_str()
            .unwrap()
            .starts_with(&format!("ent_{}_", made["id"].as_str().unwrap()))
    );
    let list = world.admin.get("/v1/keys").await;
    assert_eq!(list.json()["keys"].as_array().unwrap().len(), 2);
    assert!(!list.text().contains("ent_"), "no secret is ever shown again");

    for bad in [r#"{"scope":"root","label":"x"}"#, r#"{"scope":"read"}"#] {
        world.admin.post("/v1/keys", bad).await.is_problem(400, "invalid_body");
    }
    for label in ["", "  ", "a\\nb", &"x".repeat(101)] {
        let body = format!(r#"{{"scope":"read","label":"{label}"}}"#);
        world.admin.post("/v1/keys", &body).await.is_problem(400, "invalid_request");
    }
    let path = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(world.admin.delete(&path).await.status, 200);
    world.admin.delete(&path).await.is_problem(404, "not_found");
    let own = world.admin.token.as_ref().unwrap().split('_').nth(1).unwrap();
    world.admin.delete(&format!("/v1/keys/{own}")).await.is_problem(409, "refused");
}

#[tokio::test]
async fn operators_see_health_figures_and_schemas() {
    let world = World::with_acme().await;
    assert_eq!(world.admin.get("/healthz").await.text(), "ok\n");
    assert_eq!(world.admin.get("/readyz").await.text(), "ready\n");
    world.admin.get("/sync/v1/snapshot").await;
    world.admin.get("/v1/tenants/nobody").await;
    let figures = world.admin.get("/metrics").await.text();
    for line in [
        "entitlements_admin_revision 3\n",
        "entitlements_admin_tenants 1\n",
        "entitlements_admin_commits_total{command=\"put_tenant\"} 1\n",
        "route=\"/v1/tenants/{key}\",status=\"404\"} 1\n",
    ] {
        assert!(figures.contains(line), "{line} in {figures}");
    }
    assert!(!figures.contains("snapshot_bytes 0\n"), "{figures}");
    for (name, part) in [("catalog", "plans"), ("tenant", "subscriptions"), ("document", "expect")]
    {
        let schema = world.admin.get(&format!("/schema/{name}.json")).await.json();
        assert!(schema["properties"][part].is_object(), "{name}: {schema}");
    }
}

#[tokio::test]
async fn a_document_and_thousands_of_tenants_are_one_commit_in_the_process() {
    let world = World::new().await;
    let app = world.running.app();
    let draft = Box::new(Document::parse("catalog.toml", CATALOG).unwrap().catalog);
    let tenant: Tenant = serde_json::from_str(ACME).unwrap();
    let tenants: BTreeMap<TenantKey, Tenant> = (0..2_000)
        .map(|n| (TenantKey::new(&format!("clinic-{n:04}")).unwrap(), tenant.clone()))
        .collect();
    let command = Command::ImportAll { draft, tenants };
    let outcome = app.execute(&Actor::local("test"), command).await.unwrap();
    assert_eq!(outcome.revision.0, 2);
    assert_eq!(app.pin().tenant_count(), 2_000);
    assert!(app.pin().check("clinic-1999", "sso", app.now()).is_allowed());

    let world = world.restarted().await;
    assert_eq!(world.running.app().pin().tenant_count(), 2_000);
    let check = world.admin.get("/v1/tenants/clinic-0000/features/seats").await.json();
    assert_eq!((&check["amount"], &check["revision"]), (&json!(20), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_without_an_expectation_never_fail_for_being_at_the_same_time() {
    let world = World::with_acme().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..12 {
        let admin = world.admin.clone();
        tasks.spawn(async move {
            let body = format!(r#"{{"name":"{number}","subscriptions":[{{"plan":"pro"}}]}}"#);
            admin.put("/v1/tenants/acme", &body).await.status
        });
    }
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    assert_eq!(world.running.app().revision().0, 3 + 12, "every one is a commit");
}
