//! `PagerDuty`: an incident is triggered and resolved by its key.

use serde_json::json;

use crate::{
    desk::Desk,
    receiver::{Receiver, Reply},
};

#[tokio::test]
async fn an_incident_is_triggered_and_resolved_by_one_key() {
    let desk = Desk::with_acme().await;
    desk.work().await;
    let receiver = Receiver::start(|asked| {
        let body = asked.json();
        let severity = body["payload"]["severity"].as_str().unwrap_or_default();
        if body["routing_key"] != "pd-hush"
            || !["critical", "error", "warning", "info"].contains(&severity)
        {
            return Reply::json(400, &json!({ "status": "invalid event", "errors": [] }));
        }
        Reply::json(202, &json!({ "status": "success", "dedup_key": body["dedup_key"] }))
    })
    .await;
    let kind = json!({ "pagerduty": { "url": receiver.url() } });
    desk.connect("pager", kind, json!({ "routing_key": "pd-hush" })).await;
    let draft = desk.submit("Spring").await;
    desk.work().await;
    desk.withdraw(&draft).await;
    desk.work().await;
    let asked = receiver.asked();
    let bodies: Vec<_> = asked.iter().map(crate::receiver::Asked::json).collect();
    assert_eq!(asked[0].path, "/v2/enqueue");
    assert_eq!(
        (&bodies[0]["event_action"], &bodies[1]["event_action"]),
        (&"trigger".into(), &"resolve".into())
    );
    assert_eq!(bodies[0]["dedup_key"], bodies[1]["dedup_key"]);
    assert_eq!(desk.get("/v1/tasks").await["tasks"][0]["state"], "closed");

    // Wrong once, it is refused for good; busy, it is tried again with the same key.
    receiver.answer(|_| Reply::status(500));
    desk.submit("Two").await;
    desk.work().await;
    receiver.answer(|_| Reply::status(400));
    desk.pass(10);
    desk.work().await;
    let asked = receiver.asked();
    assert_eq!(asked[2].json()["dedup_key"], asked[3].json()["dedup_key"]);
    assert_eq!(desk.deliveries("stage=refused").await.len(), 1);
}
