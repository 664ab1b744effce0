//! Jira: one issue for each subject, whatever goes wrong on the way.

use serde_json::{Value, json};

use crate::{
    clients::{BOTH, Language, Program},
    desk::Desk,
    jira_fake::{EMAIL, Fault, Jira, TOKEN},
};

fn kind(jira: &Jira, flavor: &str) -> Value {
    json!({ "jira": { "url": jira.receiver.url(), "flavor": flavor, "project": "ENT" } })
}

async fn with_jira(flavor: &str) -> (Desk, Jira) {
    let (desk, jira) = (Desk::with_acme().await, Jira::start().await);
    desk.work().await;
    let mut credentials = json!({ "token": TOKEN, "webhook_secret": "inbound-hush" });
    if flavor == "cloud" {
        credentials["email"] = EMAIL.into();
    }
    desk.connect("jira", kind(&jira, flavor), credentials).await;
    (desk, jira)
}

async fn tasks(desk: &Desk) -> Vec<Value> {
    desk.get("/v1/tasks").await["tasks"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_issue_is_made_said_in_closed_and_opened_again() {
    for flavor in ["cloud", "data_center"] {
        let (desk, jira) = with_jira(flavor).await;
        let draft = desk.submit("Spring `prices`").await;
        desk.work().await;
        let [issue] = jira.issues().try_into().unwrap();
        assert_eq!(issue.summary, "Spring `prices` waits for approval");
        assert!(issue.labels[0].starts_with("entl-"), "{issue:?}");
        assert_eq!(issue.description.is_string(), flavor == "data_center");
        let [task] = tasks(&desk).await.try_into().unwrap();
        assert_eq!((&task["state"], &task["external_id"]), (&"open".into(), &"ENT-1".into()));
        assert_eq!(task["subject"], format!("draft/{draft}"));
        assert_eq!(task["url"], format!("{}/browse/ENT-1", jira.receiver.url()));
        // It leads back.
        let back = format!("http://admin.example/v1/tasks/{}", task["id"].as_str().unwrap());
        assert_eq!(issue.links[0].1["url"], back);
        assert!(issue.description.to_string().contains(&back), "{issue:?}");
        let shown = desk.get(&format!("/v1/tasks/{}", task["id"].as_str().unwrap())).await;
        assert_eq!(shown, task);

        desk.withdraw(&draft).await;
        desk.work().await;
        let [issue] = jira.issues().try_into().unwrap();
        assert!(issue.done && issue.comments.len() == 1, "{issue:?}");
        assert_eq!(tasks(&desk).await[0]["state"], "closed");

        let submit = format!("/v1/drafts/{draft}/submit");
        assert_eq!(desk.client.post(&submit, "").await.status, 200);
        desk.work().await;
        let [issue] = jira.issues().try_into().unwrap();
        assert!(!issue.done && issue.comments.len() == 2, "opened again: {issue:?}");
        assert_eq!(tasks(&desk).await[0]["state"], "open");

        desk.withdraw(&draft).await;
        desk.work().await;
        desk.pass(14 * 86_400);
        assert_eq!(desk.client.post(&submit, "").await.status, 200);
        desk.work().await;
        assert_eq!(jira.issues().len(), 2, "after two weeks it is another one");
        let states: Vec<Value> =
            tasks(&desk).await.iter().map(|task| task["state"].clone()).collect();
        assert!(states.contains(&"open".into()) && states.contains(&"closed".into()));
    }
}

#[tokio::test]
async fn an_issue_closed_for_good_stays_closed_and_one_that_is_gone_is_made_anew() {
    let (desk, jira) = with_jira("cloud").await;
    let mut lasting = kind(&jira, "cloud");
    lasting["jira"]["final_resolution"] = "Done".into();
    desk.put("/v1/connectors/jira", &json!({ "name": "x", "kind": lasting })).await;
    let draft = desk.submit("One").await;
    desk.work().await;
    desk.withdraw(&draft).await;
    desk.work().await;
    let submit = format!("/v1/drafts/{draft}/submit");
    desk.client.post(&submit, "").await;
    desk.work().await;
    let [issue] = jira.issues().try_into().unwrap();
    assert!(issue.done && issue.comments.len() == 1, "{issue:?}");
    let detail = desk.deliveries("").await[0]["detail"].clone();
    assert_eq!(detail, "ENT-1 is closed for good");

    let other = desk.submit("Two").await;
    desk.work().await;
    jira.change(|state| state.issues[1].key = "ENT-99".into());
    desk.client.post(&format!("/v1/drafts/{other}/withdraw"), "").await;
    desk.work().await;
    assert_eq!(desk.deliveries("").await[0]["detail"], "ENT-2 is gone");
}

#[tokio::test]
async fn an_issue_that_may_have_been_made_is_searched_for_and_found() {
    let (desk, jira) = with_jira("cloud").await;
    jira.change(|state| state.search_lag = 2);
    jira.fail(Fault::HangsUpAfter);
    desk.submit("Spring").await;
    assert_eq!(desk.work().await, 1);
    assert_eq!(desk.deliveries("stage=reconciling").await.len(), 1);
    for (wait, attempts) in [(119, 0), (1, 1), (239, 0), (1, 1), (240, 1), (100_000, 0)] {
        desk.pass(wait);
        assert_eq!(desk.work().await, attempts, "after {wait} s more");
    }
    assert_eq!(jira.issues().len(), 1);
    assert_eq!(jira.issues()[0].links.len(), 1, "what was left of it is done");
    assert_eq!(tasks(&desk).await[0]["external_id"], "ENT-1");
    let delivery = &desk.deliveries("").await[0];
    assert_eq!(delivery["stage"], "delivered");
    let id = delivery["id"].as_str().unwrap();
    let log = desk.get(&format!("/v1/deliveries/{id}")).await["attempt_log"].clone();
    let outcomes: Vec<&str> =
        log.as_array().unwrap().iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["ambiguous", "missing", "missing", "delivered"]);
}

#[tokio::test]
async fn an_issue_that_was_not_made_is_made_after_ten_minutes_of_looking() {
    for fault in [Fault::HangsUpBefore, Fault::Unavailable] {
        let (desk, jira) = with_jira("cloud").await;
        jira.fail(fault);
        desk.submit("Spring").await;
        desk.work().await;
        for wait in [120, 240] {
            desk.pass(wait);
            desk.work().await;
            assert_eq!(jira.issues().len(), 0, "not yet");
        }
        desk.pass(240);
        desk.work().await;
        desk.work().await;
        assert_eq!(jira.issues().len(), 1);
        assert_eq!(desk.deliveries("stage=delivered").await.len(), 1);
    }
}

/// What the search is good for: where it finds nothing, there is a twin.
#[tokio::test]
async fn without_the_search_there_would_be_two() {
    let (desk, jira) = with_jira("cloud").await;
    jira.change(|state| state.search_lag = usize::MAX);
    jira.fail(Fault::HangsUpAfter);
    desk.submit("Spring").await;
    for wait in [0, 120, 240, 240, 60] {
        desk.pass(wait);
        desk.work().await;
    }
    assert_eq!(jira.issues().len(), 2);
    let issues = jira.issues();
    assert_eq!(issues[0].labels, issues[1].labels, "they can be told by their label");
}

#[tokio::test]
async fn of_twins_the_oldest_is_kept_and_the_other_one_says_so() {
    let (desk, jira) = with_jira("cloud").await;
    jira.fail(Fault::HangsUpAfter);
    desk.submit("Spring").await;
    desk.work().await;
    jira.change(|state| {
        let mut twin = state.issues[0].clone();
        twin.key = "ENT-2".into();
        state.issues.push(twin);
    });
    desk.pass(120);
    desk.work().await;
    assert_eq!(tasks(&desk).await[0]["external_id"], "ENT-1");
    let twin = &jira.issues()[1];
    assert!(twin.comments[0].to_string().contains("The same as ENT-1"), "{twin:?}");
}

#[tokio::test]
async fn a_comment_that_may_have_been_made_is_not_made_twice() {
    let (desk, jira) = with_jira("cloud").await;
    let draft = desk.submit("Spring").await;
    desk.work().await;
    jira.fail(Fault::HangsUpAfter);
    desk.withdraw(&draft).await;
    desk.work().await;
    for wait in [120, 240, 240, 1] {
        desk.pass(wait);
        desk.work().await;
    }
    let [issue] = jira.issues().try_into().unwrap();
    assert_eq!((issue.comments.len(), issue.done), (1, true), "{issue:?}");
    assert_eq!(tasks(&desk).await[0]["state"], "closed");
}

#[tokio::test]
async fn who_went_away_while_sending_leaves_a_doubt_that_is_cleared() {
    let (desk, jira) = with_jira("cloud").await;
    desk.submit("Spring").await;
    // It goes away once Jira has the request.
    let state = jira.state.clone();
    jira.receiver.answer(move |asked| {
        let reply = state_answer(&state, asked);
        crate::receiver::Reply { after: std::time::Duration::from_secs(60), ..reply }
    });
    tokio::select! {
        _ = entitlements_admin::jobs::deliver(&desk.app, "one") => panic!("it does not end"),
        _ = jira.receiver.until_asked(1) => {}
    }
    assert_eq!(jira.issues().len(), 1);
    let state = jira.state.clone();
    jira.receiver.answer(move |asked| state_answer(&state, asked));
    desk.pass(119);
    assert_eq!(desk.work().await, 0, "it is still the other one's");
    desk.pass(1);
    assert_eq!(desk.work().await, 1);
    let delivery = &desk.deliveries("").await[0];
    assert_eq!(
        (&delivery["stage"], &delivery["detail"]),
        (&"reconciling".into(), &"whoever sent it went away".into())
    );
    desk.pass(120);
    desk.work().await;
    assert_eq!(jira.issues().len(), 1, "it is found, not made again");
    assert_eq!(desk.deliveries("stage=delivered").await.len(), 1);
}

fn state_answer(
    state: &std::sync::Mutex<crate::jira_fake::State>,
    asked: &crate::receiver::Asked,
) -> crate::receiver::Reply {
    state.lock().unwrap().answer(asked)
}

#[tokio::test]
async fn limits_are_heeded_and_mistakes_are_not_repeated() {
    let (desk, jira) = with_jira("cloud").await;
    jira.fail(Fault::Limited(Some(600)));
    desk.submit("One").await;
    desk.work().await;
    desk.pass(599);
    assert_eq!(desk.work().await, 0);
    desk.pass(1);
    jira.fail(Fault::Limited(None));
    assert_eq!(desk.work().await, 1);
    desk.pass(400);
    assert_eq!(desk.work().await, 1);
    assert_eq!(jira.issues().len(), 1);

    let mut wrong = kind(&jira, "cloud");
    wrong["jira"]["project"] = "NONE".into();
    desk.put("/v1/connectors/jira", &json!({ "name": "x", "kind": wrong })).await;
    desk.submit("Two").await;
    desk.work().await;
    let refused = desk.deliveries("stage=refused").await;
    let detail = refused[0]["detail"].as_str().unwrap();
    assert!(detail.contains("400") && detail.contains("valid project is required"), "{detail}");

    desk.put(
        "/v1/connectors/jira",
        &json!({ "name": "x", "kind": kind(&jira, "cloud"),
        "credentials": { "email": EMAIL, "token": "wrong" } }),
    )
    .await;
    desk.submit("Three").await;
    desk.work().await;
    let waiting = desk.deliveries("stage=pending").await;
    let detail = waiting[0]["detail"].as_str().unwrap();
    assert!(detail.contains("401"), "who looks after it can put that right: {detail}");
}

#[tokio::test]
async fn what_jira_says_is_a_hint_and_closes_a_follow_up_alone() {
    let (desk, jira) = with_jira("cloud").await;
    let draft = desk.submit("Spring").await;
    desk.work().await;
    let body = json!({ "webhookEvent": "jira:issue_updated", "issue": { "key": "ENT-1",
        "fields": { "status": { "statusCategory": { "key": "done" } } } } })
    .to_string();
    let say = async |secret: &str, identifier: &str| {
        let signature = format!("sha256={}", hmac_hex(secret, &body));
        let headers = [
            ("x-hub-signature", signature.as_str()),
            ("x-atlassian-webhook-identifier", identifier),
            ("content-type", "application/json"),
        ];
        let nobody = crate::support::Client { token: None, ..desk.client.clone() };
        nobody.send("POST", "/v1/inbound/jira/jira", &headers, &body).await
    };
    say("wrong", "a").await.is_problem(401, "unauthenticated");
    let nobody = crate::support::Client { token: None, ..desk.client.clone() };
    nobody.post("/v1/inbound/jira/jira", &body).await.is_problem(401, "unauthenticated");
    nobody.post("/v1/inbound/jira/none", &body).await.is_problem(401, "unauthenticated");
    // It says so, and it is not so.
    assert_eq!(say("inbound-hush", "b").await.status, 204);
    assert_eq!(tasks(&desk).await[0]["state"], "open");
    jira.change(|state| state.issues[0].done = true);
    assert_eq!(say("inbound-hush", "b").await.status, 204, "a repeated one is known");
    assert_eq!(tasks(&desk).await[0]["state"], "open");
    // What it could not be asked about is taken when it says so again.
    jira.change(|state| state.is_down = true);
    say("inbound-hush", "c").await.is_problem(503, "unavailable");
    jira.change(|state| state.is_down = false);
    assert_eq!(say("inbound-hush", "c").await.status, 204);
    assert_eq!(tasks(&desk).await[0]["state"], "closed");
    // It approves nothing.
    assert_eq!(desk.get(&format!("/v1/drafts/{draft}")).await["stage"], "in_review");
}

fn hmac_hex(secret: &str, body: &str) -> String {
    use hmac::{KeyInit, Mac};
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Clients of others find a Jira where ours is.
#[tokio::test]
async fn clients_of_others_take_the_fake_for_a_jira() {
    for language in BOTH {
        let jira = Jira::start().await;
        jira.change(|state| state.search_lag = 2);
        let setup =
            json!({ "url": jira.receiver.url(), "project": "ENT", "email": EMAIL, "token": TOKEN });
        let Some(mut program) = Program::start(language, "jira", Some(&setup)).await else {
            return;
        };
        let said = program.said().await;
        assert_eq!(said, json!({ "ok": true, "key": "ENT-1" }), "{language:?}");
        assert!(program.ended().await);
    }
}

/// Descriptions and comments are what Atlassian's schema of documents takes.
#[tokio::test]
async fn documents_are_what_jira_takes() {
    let (desk, jira) = with_jira("cloud").await;
    for name in ["Plain", "`code` https://x.example/?a=b, and ``", "\u{1f600}", "{curly} *bold*"] {
        let draft = desk.submit(name).await;
        desk.work().await;
        desk.withdraw(&draft).await;
        desk.work().await;
    }
    let issues = jira.issues();
    assert_eq!(issues.len(), 4);
    let Some((mut program, _)) = Program::ready(Language::Node, "adf", None).await else { return };
    for issue in issues {
        let comments = issue.comments.iter().map(|comment| comment["body"].clone());
        for document in std::iter::once(issue.description.clone()).chain(comments) {
            let said = program.ask(&json!({ "doc": document })).await;
            assert_eq!(said["valid"], true, "{said} {document}");
        }
    }
    let empty = json!({ "type": "doc", "version": 1, "content": [{ "type": "paragraph",
        "content": [{ "type": "text", "text": "" }] }] });
    assert_eq!(
        program.ask(&json!({ "doc": empty })).await["valid"],
        false,
        "it sees what is wrong"
    );
}
