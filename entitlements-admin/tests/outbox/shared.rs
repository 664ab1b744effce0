//! Several control planes on one `PostgreSQL`: they share the work, and nothing is done twice.

use std::{collections::BTreeSet, path::Path};

use entitlements_admin::{Config, clock::Clock, jobs};
use serde_json::json;

use crate::{
    desk::{Desk, at, local},
    jira_fake::{self, Fault, Jira},
    postgres,
    receiver::{Receiver, Reply},
};

/// Two control planes with one time and one set of keys.
async fn two() -> Option<[Desk; 2]> {
    let url = tokio::task::spawn_blocking(postgres::database).await.unwrap()?;
    let clock = Clock::manual(at("2026-03-02T10:00:00Z"));
    let on = |folder: &Path| Config { database: Some(url.clone()), ..local(folder) };
    let first = Desk::with_clock(on, clock.clone()).await;
    first.prepare().await;
    let keys = first.folder.path().join("keys");
    let with_keys = |folder: &Path| {
        std::fs::create_dir_all(folder.join("keys")).unwrap();
        for name in ["root.key", "publisher.key"] {
            std::fs::copy(keys.join(name), folder.join("keys").join(name)).unwrap();
        }
        on(folder)
    };
    let second = Desk::with_clock(with_keys, clock).await;
    Some([first, second])
}

/// Both do what there is to do, at the same time, until there is nothing more.
async fn work(desks: &[Desk; 2]) -> [usize; 2] {
    let mut all = [0, 0];
    loop {
        let [one, two] = desks;
        let (first, second) =
            tokio::join!(jobs::deliver(&one.app, "one"), jobs::deliver(&two.app, "two"));
        let now = [first.unwrap(), second.unwrap()];
        all = [all[0] + now[0], all[1] + now[1]];
        if now == [0, 0] {
            return all;
        }
    }
}

/// They take turns until there is nothing more to do.
async fn take_turns(desks: &[Desk; 2]) {
    let [one, two] = desks;
    loop {
        let first = jobs::deliver(&one.app, "one").await.unwrap();
        let second = jobs::deliver(&two.app, "two").await.unwrap();
        if first + second == 0 {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_control_planes_share_the_work_and_do_nothing_twice() {
    let Some(desks) = two().await else { return };
    work(&desks).await;
    let receiver = Receiver::answering(200).await;
    desks[0].hook("hook", &receiver).await;
    let mut did = [0, 0];
    for number in 0..60 {
        desks[number % 2].submit(&format!("Draft {number}")).await;
        if number % 10 == 9 {
            let [first, second] = work(&desks).await;
            did = [did[0] + first, did[1] + second];
        }
    }
    let asked = receiver.asked();
    let events: BTreeSet<&str> = asked.iter().map(|asked| asked.header("webhook-id")).collect();
    assert_eq!((events.len(), asked.len()), (60, 60), "every event, and each once");
    assert!(did.iter().all(|count| *count > 0), "both had something to do: {did:?}");
    for delivery in desks[1].deliveries("limit=200").await {
        assert_eq!((&delivery["stage"], &delivery["attempts"]), (&"delivered".into(), &1.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_ups_doubts_and_redrives_work_there_too() {
    let Some(desks) = two().await else { return };
    take_turns(&desks).await;
    let [one, two] = &desks;
    let jira = Jira::start().await;
    let kind =
        json!({ "jira": { "url": jira.receiver.url(), "flavor": "cloud", "project": "ENT" } });
    let credentials = json!({ "email": jira_fake::EMAIL, "token": jira_fake::TOKEN });
    one.connect("jira", kind, credentials).await;
    jira.fail(Fault::HangsUpAfter);
    let draft = two.submit("Spring").await;
    take_turns(&desks).await;
    let all = two.deliveries("").await;
    assert_eq!(two.deliveries("stage=reconciling").await.len(), 1, "{all:?}");
    one.pass(120);
    take_turns(&desks).await;
    assert_eq!(jira.issues().len(), 1, "it was found, not made again");
    let task = two.get("/v1/tasks?state=open").await["tasks"][0].clone();
    assert_eq!(task["external_id"], "ENT-1");
    one.withdraw(&draft).await;
    take_turns(&desks).await;
    assert_eq!(two.get("/v1/tasks").await["tasks"][0]["state"], "closed");

    // What is given up is sent again, by one and by range.
    one.put("/v1/settings/outbox", &json!({ "waits_s": [0], "kept_days": 1 })).await;
    let receiver = Receiver::answering(500).await;
    one.hook("hook", &receiver).await;
    two.submit("Summer").await;
    take_turns(&desks).await;
    let [dead] = two.deliveries("stage=dead").await.try_into().unwrap();
    let id = dead["id"].as_str().unwrap();
    let again = one.client.post(&format!("/v1/deliveries/{id}/redrive"), "").await;
    assert_eq!(again.status, 200, "{}", again.text());
    take_turns(&desks).await;
    receiver.answer(|_| Reply::status(200));
    for what in ["failed", "missing"] {
        let range = json!({ "what": what, "since": "2026-03-01T00:00:00Z" }).to_string();
        let answer = two.client.post("/v1/deliveries/redrive", &range).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        take_turns(&desks).await;
        one.pass(60);
        take_turns(&desks).await;
    }
    assert_eq!(two.deliveries("stage=dead").await, Vec::<serde_json::Value>::new());
    assert_eq!(two.get("/v1/deliveries").await["owed"], 0);

    // What is over is let go in time.
    one.pass(3 * 86_400);
    jobs::run(&two.app, "two").await.unwrap();
    assert_eq!(two.deliveries("").await, Vec::<serde_json::Value>::new());
}
