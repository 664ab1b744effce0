//! What sidecars report is told to people: that one is stale, is back, refused something, and that a
//! sink drifted and was repaired.

use serde_json::{Value, json};

use crate::{desk::Desk, receiver::Receiver};

fn report(change: impl FnOnce(&mut Value)) -> String {
    let mut report = json!({ "sidecar": "eu-1", "boot": "b", "version": "0", "epoch": 1,
        "revision": 1, "state": "FRESH", "age_ms": 0, "fresh_for_ms": 30_000, "held": [] });
    change(&mut report);
    report.to_string()
}

#[tokio::test]
async fn what_sidecars_report_is_told_once() {
    let desk = Desk::with_acme().await;
    desk.work().await;
    let receiver = Receiver::answering(200).await;
    desk.hook("hook", &receiver).await;
    let route = json!({ "events": ["*"], "team": "ops", "connector": "hook", "ordered": true });
    desk.put("/v1/routes/to-hook", &route).await;
    let say = async |body: String| {
        let answer = desk.client.post("/sync/v1/status", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        desk.work().await;
        desk.work().await;
    };
    say(report(|_| {})).await;
    let sink =
        json!({ "name": "cache", "kind": "redis", "state": "drifted", "desired": 1, "applied": 1 });
    let receipt = |id: u64, outcome: &str| {
        json!({ "id": id, "sink": "cache", "revision": 1, "at": "2026-03-02T10:00:00Z",
            "outcome": outcome, "changed": 2 })
    };
    let pushed =
        |receipts: Value| report(|it| (it["sinks"], it["receipts"]) = (json!([sink]), receipts));
    say(pushed(json!([receipt(1, "applied"), receipt(2, "drifted"), receipt(3, "repaired")])))
        .await;
    say(pushed(json!([receipt(2, "drifted"), receipt(3, "repaired")]))).await;
    let rejected = json!({ "cause": "signature", "detail": "no", "at": "2026-03-02T10:00:00Z" });
    for _ in 0..2 {
        let rejected = rejected.clone();
        say(report(|it| it["rejected"] = rejected)).await;
    }
    desk.pass(34);
    desk.work().await;
    desk.pass(1);
    desk.work().await;
    desk.work().await;
    say(report(|_| {})).await;
    let told: Vec<String> = receiver
        .asked()
        .iter()
        .map(|asked| {
            let event = asked.json();
            let (kind, subject) =
                (event["type"].as_str().unwrap(), event["subject"].as_str().unwrap());
            format!("{} {subject}", kind.trim_start_matches("entitlements."))
        })
        .collect();
    assert_eq!(
        told,
        [
            "sink.drifted sink/eu-1/cache",
            "sink.repaired sink/eu-1/cache",
            "sidecar.rejected sidecar/eu-1",
            "sidecar.stale sidecar/eu-1",
            "sidecar.recovered sidecar/eu-1",
        ]
    );
}
