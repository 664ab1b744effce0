//! What changed, told to a webhook: signed, in order, and nothing of it lost.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use entitlements_core::Revision;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Response, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{CATALOG, PATIENCE, Pair, catalog_with_seats};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver that answers as it is told, and keeps what it took.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Received>>);

#[derive(Default)]
struct Received {
    /// What to answer next; 204 where there is nothing left.
    answers: Vec<(u16, Option<u64>)>,
    taken: Vec<Value>,
    asked: u64,
    /// Signatures that a verifier of somebody else did not accept.
    bad: u64,
}

impl Receiver {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let receiver = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let receiver = receiver.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| receiver.clone().answer(request));
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        url
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut received = self.0.lock().unwrap();
        received.asked += 1;
        let (status, after) = received.answers.pop().unwrap_or((204, None));
        if (200..300).contains(&status) {
            received.bad += u64::from(!verified(&head.headers, &body));
            let event: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(event["id"], head.headers["webhook-id"].to_str().unwrap());
            received.taken.push(event);
        }
        let mut response = Response::builder().status(status);
        if let Some(after) = after {
            response = response.header("retry-after", after);
        }
        Ok(response.body(Full::default()).unwrap())
    }

    fn with<T>(&self, look: impl FnOnce(&mut Received) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    async fn until(&self, is_so: impl Fn(&mut Received) -> bool) {
        let waited = async {
            while !self.with(&is_so) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waited).await.unwrap();
    }
}

/// By a library that is not ours.
fn verified(headers: &HeaderMap, body: &[u8]) -> bool {
    standardwebhooks::Webhook::new(SECRET).unwrap().verify(body, headers).is_ok()
}

async fn pushing(document: &str, receiver: &Receiver) -> Pair {
    let url = receiver.start().await;
    let folder = tempfile::tempdir().unwrap();
    let (secret, file) = (folder.path().join("secret"), folder.path().join("sinks.toml"));
    std::fs::write(&secret, SECRET).unwrap();
    let text = format!(
        "[sinks.hook]\nkind = \"webhook\"\nurl = \"{url}\"\nsecret_file = \"{}\"\n",
        secret.display()
    );
    std::fs::write(&file, text).unwrap();
    let pair = Pair::ready_with(document, |config| config.sinks = Some(file)).await;
    receiver.until(|received| received.taken.len() == 1).await;
    pair
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_says_what_changed_and_a_stranger_verifies_it() {
    let receiver = Receiver::default();
    let pair = pushing(CATALOG, &receiver).await;
    let first = receiver.with(|received| received.taken[0].clone());
    assert_eq!(first["type"], "entitlements.world.changed", "nobody knows what it knew before");
    pair.upstream.publish(2, &catalog_with_seats(20));
    receiver.until(|received| received.taken.len() == 2).await;
    let event = receiver.with(|received| received.taken[1].clone());
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(
        (&event["type"], &event["subject"]),
        (&json!("entitlements.tenant.changed"), &json!("acme"))
    );
    assert_eq!(event["data"]["revision"], 2);
    let before = json!({ "allowed": true, "verdict": "limit", "amount": 15, "reason": "plan", "source": "plan:pro" });
    let mut after = before.clone();
    after["amount"] = json!(20);
    let changes = json!([{ "feature": "seats", "before": before, "after": after }]);
    assert_eq!(event["data"]["changes"], changes, "and nothing else");
    assert_eq!(receiver.with(|received| received.bad), 0);
    // A revision that changes nothing for anybody says nothing to anybody.
    pair.upstream.publish(3, &catalog_with_seats(20));
    pair.upstream.publish(4, &catalog_with_seats(30));
    receiver.until(|received| received.taken.len() == 3).await;
    assert_eq!(receiver.with(|received| received.taken[2]["data"]["revision"].clone()), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_misses_nothing_and_gets_all_in_order() {
    let receiver = Receiver::default();
    let world = |revision: u64| {
        let tenants: String = (0..12)
            .map(|n| format!("[tenants.t{n}]\nsubscriptions = [{{ plan = \"p{}\" }}]\n", n % 3))
            .collect();
        let plans: String = (0..3)
            .map(|n| format!("[plans.p{n}]\ngrants = {{ seats = {} }}\n", revision / (n + 1)))
            .collect();
        format!(
            "[features]\nseats = {{ kind = {{ limit = {{ unit = \"s\" }} }} }}\n{plans}{tenants}"
        )
    };
    let pair = pushing(&world(1), &receiver).await;
    let mut state = 7_u64;
    for revision in 2..=12 {
        receiver.with(|received| {
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                received.answers.push(if state >> 63 == 0 { (204, None) } else { (500, None) });
            }
        });
        pair.upstream.publish(revision, &world(revision));
        pair.sidecar.wait_revision(Revision(revision), PATIENCE).await.unwrap();
    }
    // What each tenant's events lead to, each one starting where the one before ended.
    let last = |received: &mut Received| {
        let mut amounts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for event in received.taken.iter().filter(|event| event["subject"].is_string()) {
            let tenant = event["subject"].as_str().unwrap().to_owned();
            let change = &event["data"]["changes"][0];
            let amount = |side: &str| change[side]["amount"].as_u64().unwrap_or(0);
            let revision = event["data"]["revision"].as_u64().unwrap();
            if let Some((known, at)) = amounts.get(&tenant) {
                assert_eq!(*known, amount("before"), "{event}");
                assert!(*at < revision, "{event}");
            }
            amounts.insert(tenant, (amount("after"), revision));
        }
        (0..12).all(|n| {
            let expected = 12 / (n % 3 + 1);
            amounts.get(&format!("t{n}")).is_some_and(|(amount, _)| *amount == expected)
        })
    };
    let waited = async {
        while !receiver.with(last) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.unwrap();
    // An event that came again is the same one.
    let ids = receiver.with(|received| {
        received.taken.iter().map(|event| event["id"].to_string()).collect::<Vec<_>>()
    });
    let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!((distinct.len(), receiver.with(|received| received.bad)), (ids.len(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_is_heeded_when_it_asks_for_time_or_wants_no_more() {
    let receiver = Receiver::default();
    let pair = pushing(CATALOG, &receiver).await;
    receiver.with(|received| received.answers = vec![(429, Some(2))]);
    let started = tokio::time::Instant::now();
    pair.upstream.publish(2, &catalog_with_seats(20));
    receiver.until(|received| received.taken.len() == 2).await;
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
    receiver.with(|received| received.answers = vec![(410, None)]);
    pair.upstream.publish(3, &catalog_with_seats(30));
    let off = async {
        loop {
            let sink = pair.web.get("/v1/sinks").await.json()["sinks"][0].clone();
            if sink["state"] == "refused" {
                return sink["trouble"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let trouble = tokio::time::timeout(PATIENCE, off).await.unwrap();
    assert!(trouble.contains("410"), "{trouble}");
    let asked = receiver.with(|received| received.asked);
    pair.upstream.publish(4, &catalog_with_seats(40));
    pair.sidecar.wait_revision(Revision(4), PATIENCE).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(receiver.with(|received| received.asked), asked, "it is left alone");
}
