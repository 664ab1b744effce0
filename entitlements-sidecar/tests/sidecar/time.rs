//! Windows begin and end at their instant, with or without the admin.

use std::time::Duration;

use entitlements_core::{Revision, Timestamp};
use hyper::Method;
use serde_json::json;

use crate::support::{
    CATALOG, PATIENCE, Pair, catalog_with_promotion_from, catalog_with_promotion_until,
    catalog_with_seats, now,
};

const BULK: &str = "/ofrep/v1/evaluate/flags";
const ACME: &str = r#"{"context":{"targetingKey":"acme"}}"#;

#[tokio::test]
async fn a_promotion_ends_to_the_microsecond_while_the_admin_is_gone() {
    let until = now().plus(Duration::from_secs(3_600));
    let pair = Pair::ready(&catalog_with_promotion_until(until)).await;
    pair.upstream.kill().await;
    let last = until.minus(Duration::from_micros(1));
    for (at, amount) in [(last, 20), (until, 15)] {
        let body = json!({ "tenant": "acme", "feature": "seats", "at": at.to_string() });
        let answer = pair.web.post("/v1/check", &body.to_string()).await.json();
        assert_eq!(answer["amount"], amount, "at {at}");
        let path = format!("/v1/tenants/acme/entitlements?at={at}");
        let set = pair.web.get(&path).await.json();
        let seats = set["entitlements"].as_array().unwrap().iter();
        let seats = seats.clone().find(|answer| answer["feature"] == "seats").unwrap();
        assert_eq!(seats["amount"], amount, "at {at}");
    }
    let answer = pair.web.check("acme", "seats").await;
    assert_eq!(answer["valid_until"], until.to_string());
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn a_promotion_starts_to_the_microsecond_while_the_admin_is_gone() {
    let from = now().plus(Duration::from_secs(3_600));
    let pair = Pair::ready(&catalog_with_promotion_from(from)).await;
    pair.upstream.kill().await;
    for (at, amount) in [(from.minus(Duration::from_micros(1)), 15), (from, 20)] {
        let body = json!({ "tenant": "acme", "feature": "seats", "at": at.to_string() });
        let answer = pair.web.post("/v1/check", &body.to_string()).await.json();
        assert_eq!(answer["amount"], amount, "at {at}");
    }
    let answer = pair.web.check("acme", "seats").await;
    assert_eq!(answer["valid_until"], from.to_string());
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn a_promotion_that_ends_reaches_whoever_listens_and_whoever_asks_again() {
    let until = now().plus(Duration::from_millis(1_500));
    let pair = Pair::ready(&catalog_with_promotion_until(until)).await;
    pair.upstream.kill().await;
    let mut events = pair.web.events("acme").await;
    let on_connect = events.next().await;
    assert_eq!(on_connect["type"], "refetchEvaluation");

    let before = pair.web.post(BULK, ACME).await;
    let tag = before.header("etag").to_owned();
    assert_eq!(on_connect["etag"], tag.as_str(), "the event names the tag of the result");
    let same = pair.web.ask(Method::POST, BULK, &[("if-none-match", &tag)], ACME).await;
    assert_eq!((same.status.as_u16(), same.body.len()), (304, 0));
    assert!(now() < until, "the machine is too slow for this test");

    let at_the_end = events.next().await;
    assert!(now() >= until, "told before it was true");
    assert_ne!(at_the_end["etag"], tag.as_str());
    let after = pair.web.ask(Method::POST, BULK, &[("if-none-match", &tag)], ACME).await;
    assert_eq!(after.status, 200, "the same revision, but not the same result");
    assert_eq!(after.header("entitlements-revision"), before.header("entitlements-revision"));
    assert_eq!(at_the_end["etag"], after.header("etag"));
    assert_eq!(pair.web.amount("acme", "seats").await, 15);
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn a_publication_is_told_to_those_whom_it_concerns() {
    let pair = Pair::ready(CATALOG).await;
    let (mut acme, mut tiny) = (pair.web.events("acme").await, pair.web.events("tiny").await);
    let (first, first_of_tiny) = (acme.next().await, tiny.next().await);
    let tiny_body = r#"{"context":{"targetingKey":"tiny"}}"#;

    pair.upstream.publish(2, &catalog_with_seats(20));
    let second = acme.next().await;
    assert_ne!(first["etag"], second["etag"]);
    let same = [("if-none-match", first_of_tiny["etag"].as_str().unwrap())];
    let unchanged = pair.web.ask(Method::POST, BULK, &same, tiny_body).await;
    assert_eq!(unchanged.status, 304, "a revision that changes nothing for a tenant");
    assert_eq!(unchanged.header("entitlements-revision"), "2");

    let both = catalog_with_seats(20).replace("seats = 1 ", "seats = 2 ");
    pair.upstream.publish(3, &both);
    pair.sidecar.wait_revision(Revision(3), PATIENCE).await.unwrap();
    let next_of_tiny = tiny.next().await;
    let now_of_tiny = pair.web.post(BULK, tiny_body).await;
    assert_eq!(next_of_tiny["etag"], now_of_tiny.header("etag"), "revision 2 made no event");
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn an_at_that_is_no_instant_is_refused() {
    let pair = Pair::ready(CATALOG).await;
    let body = r#"{"tenant":"acme","feature":"seats","at":"soon"}"#;
    assert_eq!(pair.web.post("/v1/check", body).await.status, 400);
    let answer = pair.web.get("/v1/tenants/acme/entitlements?at=soon").await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["detail"].as_str().unwrap().contains("`soon`"));
    assert!(Timestamp::parse("soon").is_err());
    pair.sidecar.stop().await;
}
