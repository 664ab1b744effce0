//! The `AuthZEN` API: the certification scenario in all its levels, and what it leaves open.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{CATALOG, Pair, web::Answer};

/// Alice is a member and Bob an administrator; records are active or archived.
const FIXTURE: &str = r#"
    [features]
    record-read-active = { kind = "switch" }
    record-read-archived = { kind = "switch" }
    record-write-active = { kind = "switch" }
    record-write-archived = { kind = "switch" }
    record-delete-true = { kind = "switch" }
    record-delete-false = { kind = "switch" }
    [plans.member]
    grants = { record-read-active = true, record-write-active = true, record-delete-true = true }
    [plans.admin]
    grants = { record-read-active = true, record-read-archived = true, record-write-archived = true }
    [tenants.member]
    subscriptions = [{ plan = "member" }]
    [tenants.admin]
    subscriptions = [{ plan = "admin" }]
"#;

const MAPPING: &str = r#"
    [subjects.user]
    tenant = "{properties.role}"
    known.alice = { role = "member" }
    known.bob = { role = "admin" }
    [resources.record]
    feature = "record-{action.name}-{properties.status}"
    action.delete = "record-delete-{action.properties.soft}"
    actions = ["read", "write", "delete"]
    known.record-1 = { status = "active" }
    known.record-2 = { status = "archived" }
"#;

async fn pdp() -> Pair {
    let mapping = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&mapping, MAPPING).unwrap();
    let path = mapping.path().to_owned();
    let pair = Pair::ready_with(FIXTURE, |config| config.authzen = Some(path)).await;
    drop(mapping);
    pair
}

async fn ask(pair: &Pair, path: &str, body: &Value) -> Answer {
    let json = [("content-type", "application/json")];
    pair.web.ask(Method::POST, path, &json, &body.to_string()).await
}

fn user(id: &str) -> Value {
    json!({ "type": "user", "id": id })
}

fn record(id: &str) -> Value {
    json!({ "type": "record", "id": id })
}

#[expect(clippy::needless_pass_by_value, reason = "the cases read better")]
fn question(subject: Value, action: Value, resource: Value) -> Value {
    json!({ "subject": subject, "action": action, "resource": resource })
}

/// The eight decisions of the scenario, each a question and its answer.
fn decisions() -> Vec<(Value, bool)> {
    let (read, write) = (json!({ "name": "read" }), json!({ "name": "write" }));
    let archived =
        json!({ "type": "record", "id": "record-1", "properties": { "status": "archived" } });
    let admin = json!({ "type": "user", "id": "alice", "properties": { "role": "admin" } });
    let delete = |soft: bool| json!({ "name": "delete", "properties": { "soft": soft } });
    vec![
        (question(user("alice"), read.clone(), record("record-1")), true),
        (question(user("alice"), write.clone(), record("record-1")), true),
        (question(user("bob"), read, record("record-1")), true),
        (question(user("bob"), write.clone(), record("record-1")), false),
        (question(user("alice"), write.clone(), archived.clone()), false),
        (question(admin, write, archived), true),
        (question(user("alice"), delete(true), record("record-1")), true),
        (question(user("alice"), delete(false), record("record-1")), false),
    ]
}

const ONE: &str = "/access/v1/evaluation";
const MANY: &str = "/access/v1/evaluations";

#[tokio::test]
async fn the_eight_decisions_come_out_one_by_one_and_again() {
    let pair = pdp().await;
    for _ in 0..2 {
        for (number, (question, decision)) in decisions().into_iter().enumerate() {
            let answer = ask(&pair, ONE, &question).await;
            assert_eq!(answer.status, 200, "{question}");
            let said = answer.json();
            assert_eq!(said["decision"], decision, "number {}: {said}", number + 1);
            assert_eq!(said["context"]["revision"], 1, "{said}");
        }
    }
}

#[tokio::test]
async fn the_eight_decisions_come_out_in_a_batch() {
    let pair = pdp().await;
    let (questions, expected): (Vec<Value>, Vec<bool>) = decisions().into_iter().unzip();
    let answer = ask(&pair, MANY, &json!({ "evaluations": questions })).await.json();
    let said: Vec<bool> = answer["evaluations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["decision"].as_bool().unwrap())
        .collect();
    assert_eq!(said, expected);
}

fn decided(answer: &Answer) -> Vec<bool> {
    let answer = answer.json();
    let list = answer["evaluations"].as_array().unwrap();
    list.iter().map(|one| one["decision"].as_bool().unwrap()).collect()
}

#[tokio::test]
async fn a_batch_has_defaults_semantics_and_bears_a_bad_question() {
    let pair = pdp().await;
    let with = |semantic: &str, evaluations: Value| {
        json!({
            "subject": user("alice"),
            "action": { "name": "write" },
            "resource": record("record-1"),
            "options": { "evaluations_semantic": semantic },
            "evaluations": evaluations,
        })
    };
    let list = json!([{}, { "subject": user("bob") }, { "action": { "name": "read" } }]);
    for (semantic, expected) in [
        ("execute_all", vec![true, false, true]),
        ("deny_on_first_deny", vec![true, false]),
        ("permit_on_first_permit", vec![true]),
    ] {
        assert_eq!(decided(&ask(&pair, MANY, &with(semantic, list.clone())).await), expected);
    }
    // A part replaces the default as a whole: without a type it is no subject.
    let bad = json!([{ "subject": { "id": "bob" } }, "nonsense", {}]);
    let answer = ask(&pair, MANY, &with("execute_all", bad)).await;
    assert_eq!((answer.status.as_u16(), decided(&answer)), (200, vec![false, false, true]));
    // Without questions it is one question.
    for none in [json!([]), Value::Null] {
        let mut body = with("execute_all", none.clone());
        if none.is_null() {
            body.as_object_mut().unwrap().remove("evaluations");
        }
        assert_eq!(ask(&pair, MANY, &body).await.json()["decision"], true);
    }
    for (body, said) in [
        (with("whatever", json!([{}])), "no semantic"),
        (json!({ "evaluations": {} }), "must be a list"),
        (json!({ "options": 5, "evaluations": [{}] }), "`options`"),
    ] {
        let answer = ask(&pair, MANY, &body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json().as_str().unwrap().contains(said), "{}", answer.text());
    }
}

#[tokio::test]
async fn what_is_malformed_is_refused_and_what_is_unknown_is_ignored() {
    let pair = pdp().await;
    let good = question(user("alice"), json!({ "name": "read" }), record("record-1"));
    let without = |path: &[&str]| {
        let mut body = good.clone();
        let (last, parents) = path.split_last().unwrap();
        let mut at = &mut body;
        for parent in parents {
            at = &mut at[*parent];
        }
        at.as_object_mut().unwrap().remove(*last);
        body
    };
    let mut refused: Vec<Value> = [
        &["subject"][..],
        &["action"],
        &["resource"],
        &["subject", "type"],
        &["subject", "id"],
        &["action", "name"],
        &["resource", "type"],
        &["resource", "id"],
    ]
    .map(without)
    .into();
    let with = |path: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(path).unwrap() = value;
        body
    };
    refused.push(with("/subject", json!("alice")));
    refused.push(with("/action/name", json!(5)));
    refused.push(with("/resource", json!(["record"])));
    for body in &refused {
        let answer = ask(&pair, ONE, body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json().is_string(), "{}", answer.text());
    }
    let json = [("content-type", "application/json")];
    for body in ["", "{", "[]", "nope"] {
        let answer = pair.web.ask(Method::POST, ONE, &json, body).await;
        assert_eq!(answer.status, 400, "{body}");
    }
    let text = [("content-type", "text/plain")];
    assert_eq!(pair.web.ask(Method::POST, ONE, &text, &good.to_string()).await.status, 400);
    let mut more = good.clone();
    more["context"] = json!({ "time": "now", "nested": { "a": [1] } });
    more["extra"] = json!(1);
    more["subject"]["properties"] = json!({ "department": "sales" });
    let answer = ask(&pair, ONE, &more).await;
    assert_eq!((answer.status.as_u16(), answer.json()["decision"].clone()), (200, json!(true)));
}

async fn results(pair: &Pair, what: &str, body: &Value) -> Vec<String> {
    let answer = ask(pair, &format!("/access/v1/search/{what}"), body).await;
    assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    let said = answer.json();
    assert_eq!(said["page"]["next_token"], "");
    let name =
        |one: &Value| one.get("id").or(one.get("name")).unwrap().as_str().unwrap().to_owned();
    said["results"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn searches_find_what_evaluations_permit() {
    let pair = pdp().await;
    let (users, records) = (json!({ "type": "user" }), json!({ "type": "record" }));
    let name = |name: &str| json!({ "name": name });
    let body = question(users.clone(), name("read"), record("record-1"));
    assert_eq!(results(&pair, "subject", &body).await, ["alice", "bob"]);
    let body = question(user("alice"), name("read"), records.clone());
    assert_eq!(results(&pair, "resource", &body).await, ["record-1"]);
    let body = json!({ "subject": user("alice"), "resource": record("record-1") });
    assert_eq!(results(&pair, "action", &body).await, ["read", "write"]);
    // The same with properties.
    let archived =
        json!({ "type": "record", "id": "record-1", "properties": { "status": "archived" } });
    let body = question(users, name("write"), archived.clone());
    assert_eq!(results(&pair, "subject", &body).await, ["bob"]);
    let admin = json!({ "type": "user", "id": "alice", "properties": { "role": "admin" } });
    let body = question(admin.clone(), name("write"), records.clone());
    assert_eq!(results(&pair, "resource", &body).await, ["record-2"]);
    let body = json!({ "subject": admin, "resource": archived });
    assert_eq!(results(&pair, "action", &body).await, ["read", "write"]);
    // An id where only the type counts is ignored; a type that is not known has nobody.
    let body = question(user("nobody"), name("read"), record("record-1"));
    assert_eq!(results(&pair, "subject", &body).await, ["alice", "bob"]);
    let body = question(json!({ "type": "robot" }), name("read"), record("record-1"));
    assert!(results(&pair, "subject", &body).await.is_empty());
    for (what, body) in [
        ("subject", question(json!({ "type": "user" }), name("read"), records.clone())),
        ("resource", question(json!({ "type": "user" }), name("read"), records)),
        ("action", json!({ "subject": user("alice"), "resource": { "type": "record" } })),
        ("action", question(user("alice"), name("read"), record("record-1"))),
    ] {
        let answer = ask(&pair, &format!("/access/v1/search/{what}"), &body).await;
        assert_eq!(answer.status, 400, "{what} {body}");
    }
}

#[tokio::test]
async fn it_says_where_everything_stands_and_whose_answer_it_is() {
    let pair = pdp().await;
    let base = format!("http://{}", pair.web.addr);
    let answer = pair.web.get("/.well-known/authzen-configuration").await;
    let said = answer.json();
    assert_eq!(said["policy_decision_point"], base);
    for (name, path) in [
        ("access_evaluation_endpoint", ONE),
        ("access_evaluations_endpoint", MANY),
        ("search_subject_endpoint", "/access/v1/search/subject"),
        ("search_resource_endpoint", "/access/v1/search/resource"),
        ("search_action_endpoint", "/access/v1/search/action"),
    ] {
        assert_eq!(said[name], format!("{base}{path}"));
    }
    let id = [("x-request-id", "r-7"), ("content-type", "application/json")];
    for body in ["{}", &decisions()[0].0.to_string()] {
        let answer = pair.web.ask(Method::POST, ONE, &id, body).await;
        assert_eq!(answer.header("x-request-id"), "r-7", "{}", answer.text());
    }
    let told = Pair::ready_with(FIXTURE, |config| {
        config.authzen_base = Some("https://pdp.example/".into());
    })
    .await;
    let said = told.web.get("/.well-known/authzen-configuration").await.json();
    assert_eq!(said["access_evaluation_endpoint"], "https://pdp.example/access/v1/evaluation");
}

#[tokio::test]
async fn tenants_use_features_where_nothing_else_is_said() {
    let pair = Pair::ready(CATALOG).await;
    let tenant = |id: &str| json!({ "type": "tenant", "id": id });
    let feature = |id: &str| json!({ "type": "feature", "id": id });
    let using =
        |id: &str, what: &str| question(tenant(id), json!({ "name": "use" }), feature(what));
    let seats = |quantity: Value| {
        let mut body = using("acme", "seats");
        body["context"] = json!({ "quantity": quantity });
        body
    };
    for (body, decision, code) in [
        (using("acme", "sso"), true, "plan"),
        (using("tiny", "sso"), false, "not_included"),
        (using("nobody", "sso"), false, "unknown_tenant"),
        (using("acme", "nothing"), false, "unknown_feature"),
        (seats(json!(15)), true, "plan"),
        (seats(json!(16)), false, "quantity"),
        (question(user("acme"), json!({ "name": "use" }), feature("sso")), false, "not_mapped"),
        (
            question(tenant("acme"), json!({ "name": "delete" }), feature("sso")),
            false,
            "not_mapped",
        ),
    ] {
        let said = ask(&pair, ONE, &body).await.json();
        assert_eq!(
            (&said["decision"], &said["context"]["reason_code"]),
            (&json!(decision), &json!(code)),
            "{body}"
        );
    }
    assert_eq!(ask(&pair, ONE, &seats(json!(-1))).await.status, 400);
    let limit = ask(&pair, ONE, &using("acme", "seats")).await.json();
    assert_eq!(limit["context"]["limit"], 15);
    assert_eq!(
        ask(&pair, ONE, &using("acme", "sms")).await.json()["context"]["limit"],
        "unlimited"
    );
    let body = question(tenant("acme"), json!({ "name": "use" }), json!({ "type": "feature" }));
    assert_eq!(
        results(&pair, "resource", &body).await,
        ["portal", "seats", "sms", "sso", "support", "theme", "vault"]
            .into_iter()
            .filter(|it| *it != "portal")
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn pages_stay_with_the_revision_they_began_at() {
    let with = |tenants: std::ops::Range<u32>, grant: bool| {
        let tenants: String = tenants
            .map(|n| format!("[tenants.t{n:03}]\nsubscriptions = [{{ plan = \"pro\" }}]\n"))
            .collect();
        format!(
            "[features]\nsso = {{ kind = \"switch\" }}\n[plans.pro]\ngrants = {{ sso = {grant} }}\n{tenants}"
        )
    };
    let pair = Pair::ready(&with(0..25, true)).await;
    let body = |token: &str| {
        json!({
            "subject": { "type": "tenant" },
            "action": { "name": "use" },
            "resource": { "type": "feature", "id": "sso" },
            "page": { "limit": 10, "token": token },
        })
    };
    let path = "/access/v1/search/subject";
    let (mut found, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let said = ask(&pair, path, &body(&token)).await.json();
        let ids = said["results"].as_array().unwrap().iter();
        found.extend(ids.map(|one| one["id"].as_str().unwrap().to_owned()));
        token = said["page"]["next_token"].as_str().unwrap().to_owned();
        pages += 1;
        if token.is_empty() {
            break;
        }
        // Half of them go in the middle of it.
        pair.upstream.publish(1 + pages, &with(0..12, true));
        pair.sidecar
            .wait_revision(entitlements_core::Revision(1 + pages), crate::support::PATIENCE)
            .await
            .unwrap();
    }
    let all: Vec<String> = (0..25).map(|n| format!("t{n:03}")).collect();
    assert_eq!((found, pages), (all, 3));
    for (token, said) in [("999~t001", "held no more"), ("nonsense", "none that was given")] {
        let answer = ask(&pair, path, &body(token)).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(said), "{}", answer.text());
    }
}
