//! From which revision an answer comes: read your writes, and one revision along a chain.

use std::time::Duration;

use entitlements_core::Revision;
use hyper::Method;

use crate::support::{CATALOG, PATIENCE, Pair, catalog_with_seats, web::Answer};

const CHECK: &str = r#"{"tenant":"acme","feature":"seats"}"#;

async fn check(pair: &Pair, headers: &[(&str, &str)]) -> Answer {
    pair.web.ask(Method::POST, "/v1/check", headers, CHECK).await
}

#[tokio::test]
async fn a_revision_that_is_on_its_way_is_waited_for() {
    let pair = Pair::ready(CATALOG).await;
    let least = [("entitlements-at-least", "2"), ("entitlements-wait-ms", "1000")];
    let (answer, ()) = tokio::join!(check(&pair, &least), async {
        // The question is under way by the time this is published, or finds it there.
        tokio::task::yield_now().await;
        pair.upstream.publish(2, &catalog_with_seats(20));
    });
    assert_eq!((answer.status.as_u16(), &answer.json()["amount"]), (200, &20.into()));
    assert_eq!(answer.header("entitlements-revision"), "2");
}

#[tokio::test]
async fn one_that_does_not_come_is_told_apart_from_any_answer() {
    let pair = Pair::ready(CATALOG).await;
    let started = tokio::time::Instant::now();
    let answer = check(&pair, &[("entitlements-at-least", "9")]).await;
    assert!(started.elapsed() >= Duration::from_millis(50), "it has the usual time");
    assert_eq!(answer.status, 409);
    let problem = answer.json();
    assert_eq!(problem["type"], "urn:entitlements:problem:not_yet");
    assert!(problem["detail"].as_str().unwrap().contains("revision 9 is not here yet, this is 1"));
    // Of a later epoch any revision is newer, of an earlier one none.
    assert_eq!(check(&pair, &[("entitlements-at-least", "0.9")]).await.status, 200);
    assert_eq!(check(&pair, &[("entitlements-at-least", "2.1")]).await.status, 409);
    for odd in ["x", "-1", "1.x", ""] {
        let answer = check(&pair, &[("entitlements-at-least", odd)]).await;
        assert_eq!(answer.status, 400, "{odd}");
    }
    let odd = [("entitlements-at-least", "1"), ("entitlements-wait-ms", "99999")];
    assert_eq!(check(&pair, &[odd[0]]).await.status, 200);
    let waiting = [("entitlements-at-least", "9"), odd[1]];
    assert_eq!(check(&pair, &waiting).await.status, 400);
    // An OpenFeature client gets an error of its own protocol.
    let context = r#"{"context":{"targetingKey":"acme"}}"#;
    let least = [("entitlements-at-least", "9")];
    let flag = "/ofrep/v1/evaluate/flags/seats";
    let answer = pair.web.ask(Method::POST, flag, &least, context).await;
    assert_eq!(answer.status, 409);
    assert!(answer.json()["errorDetails"].as_str().unwrap().contains("not here yet"));
}

#[tokio::test]
async fn a_question_that_was_put_off_is_asked_at_once() {
    let pair = Pair::ready(CATALOG).await;
    // The admin fails, so that the next question is put off further and further.
    pair.upstream.change(|world| world.failing = true);
    pair.counted("entitlements_sidecar_sync_errors_total{cause=\"status\"}", 7).await;
    pair.upstream.change(|world| {
        world.failing = false;
        world.holds(2, &catalog_with_seats(20));
        world.revision = 2;
    });
    let least = [("entitlements-at-least", "2"), ("entitlements-wait-ms", "1000")];
    assert_eq!(check(&pair, &least).await.json()["amount"], 20);
}

#[tokio::test]
async fn the_last_revisions_can_be_pinned_and_answer_as_they_did() {
    let pair = Pair::ready(CATALOG).await;
    for revision in 2..=10 {
        pair.upstream.publish(revision, &catalog_with_seats(15 + revision));
        pair.sidecar.wait_revision(Revision(revision), PATIENCE).await.unwrap();
    }
    for revision in 3..=10 {
        let answer = check(&pair, &[("entitlements-at", &revision.to_string())]).await;
        let said = answer.json();
        assert_eq!(
            (&said["amount"], &said["revision"]),
            (&(15 + revision).into(), &revision.into())
        );
        assert_eq!(answer.header("entitlements-revision"), revision.to_string());
    }
    let gone = check(&pair, &[("entitlements-at", "2")]).await;
    assert_eq!(gone.status, 410);
    let detail = gone.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("revision 2 is not held") && detail.contains("10, 9, 8"), "{detail}");
    assert_eq!(check(&pair, &[("entitlements-at", "11")]).await.status, 409);
    assert_eq!(check(&pair, &[("entitlements-at", "1.7")]).await.json()["amount"], 22);
    // A whole set, a flag and a batch come from the pinned one too.
    let at = [("entitlements-at", "7")];
    let set = pair.web.ask(Method::GET, "/v1/tenants/acme/entitlements", &at, "").await;
    assert_eq!(set.json()["revision"], 7);
    let context = r#"{"context":{"targetingKey":"acme"}}"#;
    let flags = pair.web.ask(Method::POST, "/ofrep/v1/evaluate/flags", &at, context).await;
    assert_eq!(flags.json()["metadata"]["revision"], 7);
}

#[tokio::test]
async fn a_chain_of_services_agrees_through_a_publication() {
    let (first, second) = (Pair::ready(CATALOG).await, Pair::ready(CATALOG).await);
    // The first service is answered, then a publication reaches the second one.
    let answer = check(&first, &[]).await;
    second.upstream.publish(2, &catalog_with_seats(20));
    second.sidecar.wait_revision(Revision(2), PATIENCE).await.unwrap();
    let travels = answer.header("entitlements-revision").to_owned();
    let next = check(&second, &[("entitlements-at", &travels)]).await;
    assert_eq!(next.json()["amount"], answer.json()["amount"]);
    assert_eq!(check(&second, &[]).await.json()["amount"], 20, "which it would not otherwise");
}
