//! How long requests may take: clocks by a calendar, warnings that come once, what another calendar
//! would do, and reports.

use entitlements_admin::store::NoticeSearch;
use entitlements_core::Revision;
use serde_json::{Value, json};

use crate::marketplace::{Market, listing, order};
use crate::people::person;

/// From nine to five on weekdays, in Berlin: an hour ahead of UTC in March before the 29th.
fn office() -> Value {
    let day = json!([{ "from": "09:00", "until": "17:00" }]);
    let hours = json!({ "mon": day, "tue": day, "wed": day, "thu": day, "fri": day });
    json!({ "name": "Office", "week": { "time_zone": "Europe/Berlin", "hours": hours } })
}

fn goal(metric: &str, minutes: u32) -> Value {
    json!({ "metric": metric, "target": { "minutes": minutes }, "calendar": "office" })
}

impl Market {
    /// One with a listing whose requests are promised something. It is Monday, 11:00 in Berlin.
    async fn with_promises() -> Self {
        let market = Self::new().await;
        market.put("/v1/calendars/office", &office()).await;
        let normal = [goal("first_response", 60), goal("approval", 120), goal("fulfilment", 240)];
        let sla = json!({ "name": "Usual", "goals": { "normal": normal,
            "urgent": [goal("approval", 30)] } });
        market.put("/v1/slas/usual", &sla).await;
        let mut wanted = listing();
        wanted["sla"] = json!("usual");
        wanted["team"] = json!("finance");
        market.offer("seats", &wanted).await;
        market
    }

    async fn promise(&self, id: &str, metric: &str) -> Value {
        let all = self.world.admin.get(&format!("/v1/requests/{id}/promises")).await.json();
        let all = all["promises"].as_array().unwrap().clone();
        all.into_iter().find(|promise| promise["goal"]["metric"] == metric).unwrap()
    }

    /// What people were told of it, oldest first: event, metric, percent, late.
    async fn told(&self, id: &str) -> Vec<(String, String, u64, bool)> {
        let search = NoticeSearch {
            before: (Revision(u64::from(u32::MAX)), 0),
            event_type: String::new(),
            tenant: String::new(),
            subject: format!("request/{id}"),
            unrouted: false,
            limit: 200,
        };
        let all = self.world.running.app().notices(search).await.unwrap();
        let all = all.into_iter().rev().map(|(kept, _)| kept.notice);
        let sla = all.filter(|notice| notice.event_type.code().contains(".sla_"));
        sla.map(|notice| {
            (
                notice.event_type.code().rsplit('.').next().unwrap().into(),
                notice.data["metric"].as_str().unwrap().into(),
                notice.data["percent"].as_u64().unwrap(),
                notice.data["late"].as_bool().unwrap(),
            )
        })
        .collect()
    }

    async fn report(&self, query: &str) -> Vec<Value> {
        let report = self.world.admin.get(&format!("/v1/reports/sla?{query}")).await;
        assert_eq!(report.status, 200, "{}", report.text());
        report.json()["rows"].as_array().unwrap().clone()
    }
}

fn told(event: &str, percent: u64, late: bool) -> (String, String, u64, bool) {
    (event.into(), "approval".into(), percent, late)
}

#[tokio::test(flavor = "multi_thread")]
async fn people_hear_of_each_part_of_the_time_once_also_after_a_downtime() {
    let market = Market::with_promises().await;
    let mut urgent = order();
    urgent["priority"] = json!("urgent");
    let id = market.ask(&urgent).await;
    let clock = market.promise(&id, "approval").await["clock"].clone();
    assert_eq!(
        (&clock["state"], &clock["due_at"], &clock["target_s"]),
        (&json!("running"), &json!("2026-03-02T10:30:00Z"), &json!(1_800))
    );
    market.pass(16 * 60).await;
    assert_eq!(market.told(&id).await, [told("sla_warning", 50, false)]);
    market.pass(120).await;
    assert_eq!(market.told(&id).await.len(), 1, "once");
    market.pass(5 * 60).await;
    assert_eq!(market.told(&id).await[1..], [told("sla_warning", 75, false)]);

    // Nothing ran for a day: what was missed is told late, the highest last, and once.
    market.pass(24 * 3_600).await;
    let missed = [told("sla_breached", 100, true), told("sla_escalated", 150, true)];
    assert_eq!(market.told(&id).await[2..], missed);
    market.pass(3_600).await;
    assert_eq!(market.told(&id).await.len(), 4);
    let promise = market.promise(&id, "approval").await;
    assert_eq!(promise["clock"]["breached_at"], "2026-03-02T10:30:00Z");
    assert_eq!(promise["told"].as_object().unwrap().len(), 4);
    assert!(promise["zones"].as_str().unwrap().starts_with("20"), "{promise}");

    let path = format!("/v1/requests/{id}/promises/approval/reason");
    let otto = person(&market.world, "otto", &["operator"]).await;
    let why = otto.post(&path, r#"{"reason":"nobody was in"}"#).await;
    assert_eq!(why.status, 200, "{}", why.text());
    assert_eq!(market.promise(&id, "approval").await["reason"], "nobody was in");
    let none = format!("/v1/requests/{id}/promises/fulfilment/reason");
    otto.post(&none, r#"{"reason":"x"}"#).await.is_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_stands_still_while_the_requester_is_asked_and_explains_every_minute() {
    let market = Market::with_promises().await;
    let id = market.ask(&order()).await;
    market.pass(30 * 60).await;
    assert_eq!(market.act(&market.ben, &id, "ask", "for which site?").await.status, 200);
    // The first word was heard half an hour after the submission.
    let first = market.promise(&id, "first_response").await["clock"].clone();
    assert_eq!((&first["state"], &first["used_s"]), (&json!("stopped"), &json!(1_800)));
    market.pass(26 * 3_600).await;
    let paused = market.promise(&id, "approval").await["clock"].clone();
    assert_eq!((&paused["is_paused"], &paused["used_s"]), (&json!(true), &json!(1_800)));
    assert_eq!(paused["due_at"], Value::Null);
    let answer = format!("/v1/requests/{id}/answer");
    assert_eq!(market.product.post(&answer, r#"{"text":"Bonn"}"#).await.status, 200);
    // Tuesday 13:30 in Berlin. An hour and a half are left.
    let running = market.promise(&id, "approval").await["clock"].clone();
    assert_eq!(running["due_at"], "2026-03-03T14:00:00Z", "{running}");
    market.pass(20 * 3_600).await;
    let bob = person(&market.world, "rob", &["approver"]).await;
    assert_eq!(market.approve(&bob, &id).await.status, 200);
    let promise = market.promise(&id, "approval").await;
    let why: Vec<String> = promise["minutes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|span| {
            let time = |name: &str| span[name].as_str().unwrap()[8..16].to_owned();
            format!("{} {} {}", time("from"), time("until"), span["why"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        why,
        [
            "02T10:00 02T10:30 work",
            "02T10:30 02T16:00 paused",
            "02T16:00 03T08:00 paused_outside_hours",
            "03T08:00 03T12:30 paused",
            "03T12:30 03T16:00 work",
            "03T16:00 04T08:00 outside_hours",
            "04T08:00 04T08:30 work",
        ]
    );
    assert_eq!(promise["clock"]["breached_at"], "2026-03-03T14:00:00Z");
    assert_eq!(market.stage(&id).await, "fulfilled");

    // It is counted, each promise once, by all that it can be counted by.
    let rows = market.report("by=listing").await;
    let row = |metric: &str| rows.iter().find(|row| row["metric"] == metric).unwrap();
    assert_eq!((&row("approval")["missed"], &row("approval")["met"]), (&json!(1), &json!(0)));
    assert_eq!(row("first_response")["attained_percent"], 100.0);
    assert_eq!(row("fulfilment")["met"], 1);
    for (by, group) in [
        ("listing", "seats"),
        ("team", "finance"),
        ("partner", ""),
        ("priority", "normal"),
        ("month", "2026-03"),
    ] {
        let rows = market.report(&format!("by={by}&from=2026-03&until=2026-03")).await;
        assert!(rows.len() == 3 && rows.iter().all(|row| row["group"] == group), "{by}: {rows:?}");
    }
    assert_eq!(market.report("from=2026-04").await.len(), 0);
    let csv = market.world.admin.get("/v1/reports/sla.csv?by=team").await.text();
    assert!(
        csv.starts_with("group,metric,met,missed,") && csv.contains("finance,approval,0,1,0"),
        "{csv}"
    );
    let wrong = market.world.admin.get("/v1/reports/sla?from=march").await;
    wrong.is_problem(400, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_calendar_is_tried_out_first_and_moves_what_is_left() {
    let market = Market::with_promises().await;
    let id = market.ask(&order()).await;
    // Two hours from Monday 11:00 are over at 13:00; by a calendar of the afternoon at 16:00.
    let day = json!([{ "from": "14:00", "until": "18:00" }]);
    let week = json!({ "time_zone": "Europe/Berlin", "hours": { "mon": day, "tue": day } });
    let preview = market
        .world
        .admin
        .post("/v1/calendars/office/preview", &json!({ "week": week }).to_string())
        .await;
    assert_eq!(preview.status, 200, "{}", preview.text());
    let preview = preview.json();
    assert_eq!((&preview["moved"], &preview["late_then"]), (&json!(2), &json!(0)), "{preview}");
    let approval =
        preview["sample"].as_array().unwrap().iter().find(|it| it["metric"] == "approval").unwrap();
    assert_eq!(
        (&approval["due_at"], &approval["would_be"]),
        (&json!("2026-03-02T12:00:00Z"), &json!("2026-03-02T15:00:00Z"))
    );
    assert_eq!(market.promise(&id, "approval").await["clock"]["due_at"], "2026-03-02T12:00:00Z");

    market.pass(65 * 60).await;
    assert_eq!(market.told(&id).await.len(), 4, "half of it, and all of the first response");
    let late = market.world.admin.get("/v1/requests?due_before=2026-03-02T12:30:00Z").await.json();
    assert_eq!(late["requests"][0]["id"], id);
    market.put("/v1/calendars/office", &json!({ "name": "Office", "week": week })).await;
    market.pass(100).await;
    // What was used stays used; what is left counts by the new hours.
    let clock = market.promise(&id, "approval").await["clock"].clone();
    assert_eq!(
        (&clock["used_s"], &clock["due_at"]),
        (&json!(3_900), &json!("2026-03-02T13:55:00Z"))
    );
    let late = market.world.admin.get("/v1/requests?due_before=2026-03-02T12:30:00Z").await.json();
    let rows = late["requests"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "the first response is late, and it is there once: {late}");
    market.pass(9_000).await;
    assert_eq!(
        market.told(&id).await.len(),
        6,
        "150 % of one and 75 % of the other: {:?}",
        market.told(&id).await
    );
    market
        .world
        .admin
        .post("/v1/calendars/none/preview", &json!({ "week": week }).to_string())
        .await
        .is_problem(404, "not_found");
}

/// What the clock looks at is what is due, however many others wait.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_due_is_looked_at() {
    let market = Market::with_promises().await;
    for _ in 0..40 {
        market.ask(&order()).await;
    }
    let mut urgent = order();
    urgent["priority"] = json!("urgent");
    for _ in 0..2 {
        market.ask(&urgent).await;
    }
    let counts = market.world.admin.get("/v1/requests/counts").await.json();
    assert_eq!(counts["stages"], json!({ "pending_approval": 42 }));
    // Half of the half hour of the urgent ones.
    assert_eq!(market.pass(16 * 60).await, 2);
    assert_eq!(market.pass(100).await, 0, "nothing is due");
    // Three quarters of theirs, and half of the first response of all others.
    assert_eq!(market.pass(14 * 60).await, 42);
}
