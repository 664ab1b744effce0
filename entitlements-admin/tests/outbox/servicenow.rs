//! `ServiceNow`: one record for each subject, straight into a table and by an import set.

use serde_json::{Value, json};

use crate::{
    desk::Desk,
    servicenow_fake::{Fault, PASSWORD, ServiceNow, USER},
};

async fn with_servicenow(imports: bool) -> (Desk, ServiceNow) {
    let (desk, service) = (Desk::with_acme().await, ServiceNow::start().await);
    desk.work().await;
    let mode = match imports {
        true => json!({ "import_set": { "staging_table": "u_events" } }),
        false => json!({ "table": {} }),
    };
    let kind = json!({ "servicenow": { "url": service.receiver.url(), "mode": mode,
        "fields": { "assignment_group": "ops" } } });
    desk.connect("snow", kind, json!({ "user": USER, "password": PASSWORD })).await;
    (desk, service)
}

async fn task(desk: &Desk) -> Value {
    desk.get("/v1/tasks").await["tasks"][0].clone()
}

#[tokio::test]
async fn a_record_is_made_said_in_and_resolved() {
    for imports in [false, true] {
        let (desk, service) = with_servicenow(imports).await;
        let draft = desk.submit("Spring").await;
        desk.work().await;
        let [row] = service.rows().try_into().unwrap();
        assert_eq!(row["short_description"], "Spring waits for approval");
        assert_eq!((row["assignment_group"].as_str(), row["urgency"].as_str()), ("ops", "3"));
        assert!(row["correlation_id"].starts_with("entl-"), "{row:?}");
        let made = task(&desk).await;
        assert_eq!((&made["external_id"], &made["state"]), (&"INC0000001".into(), &"open".into()));

        desk.withdraw(&draft).await;
        desk.work().await;
        let [row] = service.rows().try_into().unwrap();
        assert_eq!(row["state"], "6", "resolved: {row:?}");
        assert!(row["work_notes"].contains("does not wait any more"), "{row:?}");
        assert_eq!(task(&desk).await["state"], "closed");
        // What is resolved stays so: the next one is another.
        desk.client.post(&format!("/v1/drafts/{draft}/submit"), "").await;
        desk.work().await;
        assert_eq!(service.rows().len(), 2, "imports: {imports}");
    }
}

#[tokio::test]
async fn a_record_that_may_have_been_made_is_found_by_its_correlation_id() {
    for empty_is_404 in [false, true] {
        let (desk, service) = with_servicenow(false).await;
        service.change(|state| (state.empty_is_404, state.search_lag) = (empty_is_404, 1));
        service.fail(Fault::HangsUpAfter);
        desk.submit("Spring").await;
        desk.work().await;
        assert_eq!(desk.deliveries("stage=reconciling").await.len(), 1);
        for wait in [120, 240] {
            desk.pass(wait);
            desk.work().await;
        }
        assert_eq!(service.rows().len(), 1);
        assert_eq!(task(&desk).await["external_id"], "INC0000001");
    }
}

#[tokio::test]
async fn records_of_others_are_not_taken_for_our_own() {
    let (desk, service) = with_servicenow(false).await;
    service.change(|state| {
        state.ignores_query = true;
        state.rows.push(
            [("sys_id", "f00"), ("number", "INC9"), ("state", "1"), ("correlation_id", "theirs")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        );
        state.rows.push(state.rows[0].clone());
    });
    service.fail(Fault::HangsUpAfter);
    desk.submit("Spring").await;
    desk.work().await;
    desk.pass(120);
    desk.work().await;
    let delivery = &desk.deliveries("").await[0];
    assert_eq!(delivery["stage"], "reconciling");
    let detail = delivery["detail"].as_str().unwrap();
    assert!(detail.contains("records that were not asked for"), "{detail}");
    assert_eq!(desk.get("/v1/tasks").await["tasks"], json!([]));
}

#[tokio::test]
async fn an_import_that_may_have_happened_is_done_again_and_makes_no_twin() {
    let (desk, service) = with_servicenow(true).await;
    service.fail(Fault::HangsUpAfter);
    desk.submit("Spring").await;
    desk.work().await;
    desk.pass(10);
    desk.work().await;
    assert_eq!(service.rows().len(), 1);
    assert_eq!(task(&desk).await["external_id"], "INC0000001");
}

#[tokio::test]
async fn a_created_answer_with_a_failed_row_is_a_failure() {
    let (desk, service) = with_servicenow(true).await;
    service.fail(Fault::ErrorRow);
    desk.submit("Spring").await;
    desk.work().await;
    let refused = desk.deliveries("stage=refused").await;
    let detail = refused[0]["detail"].as_str().unwrap();
    assert!(detail.contains("`error`: the transform script failed"), "{detail}");
    assert_eq!(desk.get("/v1/tasks").await["tasks"], json!([]));
}

#[tokio::test]
async fn an_hour_that_it_asks_for_holds_for_all_that_goes_there() {
    let (desk, service) = with_servicenow(false).await;
    service.fail(Fault::Limited);
    desk.submit("One").await;
    desk.work().await;
    desk.submit("Two").await;
    desk.pass(3_599);
    assert_eq!(desk.work().await, 0);
    desk.pass(1);
    assert_eq!(desk.work().await, 2);
    assert_eq!(service.rows().len(), 2);
}
