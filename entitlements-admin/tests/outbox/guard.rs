//! What people write as an address leads nowhere that it should not.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use entitlements_admin::Config;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    desk::{Desk, SECRET},
    receiver::{Receiver, Reply},
    support::config,
};

/// It listens on this machine, and counts who comes.
struct Canary {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Canary {
    async fn start() -> Self {
        let listener = TcpListener::bind("[::]:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { addr, connections }
    }
}

/// Ways to write this machine, its network, and what leads there.
const FORMS: [&str; 60] = [
    "127.0.0.1",
    "127.0.0.2",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0",
    "0.0.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0177.0.0.1",
    "0177.1",
    "017700000001",
    "localhost",
    "LOCALHOST",
    "LocalHost",
    "localhost.",
    "ip6-localhost",
    "10.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "169.254.0.1",
    "100.64.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[fe80::1]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00::1]",
    "[ff02::1]",
    "[100::1]",
];

/// How many connections come to the canary where each form is tried, by connectors of three kinds.
async fn tried(config: impl FnOnce(&std::path::Path) -> Config) -> (usize, usize) {
    let (desk, canary) = (Desk::with(config).await, Canary::start().await);
    let mut refused = 0;
    for form in FORMS {
        let url = format!("https://{form}:{}", canary.addr.port());
        let bare = form.trim_matches(['[', ']']);
        let kinds = [
            (json!({ "webhook": { "url": url, "handshake": false } }), json!({ "secret": SECRET })),
            (json!({ "slack": {} }), json!({ "webhook_url": url })),
            (
                json!({ "email": { "host": bare, "port": canary.addr.port(), "from": "a@b.c",
                    "to": ["d@e.f"], "security": "starttls" } }),
                json!({}),
            ),
        ];
        for (kind, credentials) in kinds {
            let connector = json!({ "name": "x", "kind": kind, "credentials": credentials });
            let answer = desk.client.put("/v1/connectors/x", &connector.to_string()).await;
            if answer.status != 200 {
                answer.is_problem(400, "invalid_request");
                refused += 1;
                continue;
            }
            let test = desk.client.post("/v1/connectors/x/test", "");
            // With no guard a canary that says nothing is waited for: a moment is enough.
            let waited = tokio::time::timeout(std::time::Duration::from_millis(1_500), test).await;
            if let Ok(answer) = waited {
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert_ne!(answer.json()["outcome"], "delivered", "{form}");
                refused += 1;
            }
        }
    }
    (canary.connections.load(Ordering::SeqCst), refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_of_an_address_leads_inside() {
    let (connections, refused) = tried(config).await;
    assert_eq!((connections, refused), (0, FORMS.len() * 3));
}

/// The same canary is reached where the guard is taken out, for a few of the forms.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_guard_the_canary_is_reached() {
    let open = |folder: &std::path::Path| Config {
        allow_networks: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
        ..config(folder)
    };
    let (desk, canary) = (Desk::with(open).await, Canary::start().await);
    for form in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "017700000001",
        "0",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ] {
        let before = canary.connections.load(Ordering::SeqCst);
        let (bare, port) = (form.trim_matches(['[', ']']), canary.addr.port());
        for kind in [
            json!({ "webhook": { "handshake": false, "url": format!("https://{form}:{port}") } }),
            json!({ "email": { "host": bare, "port": port, "from": "a@b.c", "to": ["d@e.f"] } }),
        ] {
            desk.put("/v1/connectors/x", &json!({ "name": "x", "kind": kind })).await;
            let test = desk.client.post("/v1/connectors/x/test", "");
            drop(tokio::time::timeout(std::time::Duration::from_millis(500), test).await);
        }
        assert!(canary.connections.load(Ordering::SeqCst) > before, "{form}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_a_long_answer_not_read() {
    let desk = Desk::with_acme().await;
    let inside = Receiver::answering(200).await;
    let (url, receiver) = (inside.url(), Receiver::answering(200).await);
    receiver.answer(move |_| Reply::status(307).with("location", url.clone()));
    desk.hook("hook", &receiver).await;
    let test = desk.client.post("/v1/connectors/hook/test", "").await.json();
    assert_eq!((&test["outcome"], inside.asked().len()), (&Value::from("retry"), 0));
    receiver.answer(|_| Reply { body: "x".repeat(2 * 1_024 * 1_024), ..Reply::status(200) });
    let test = desk.client.post("/v1/connectors/hook/test", "").await.json();
    assert!(test["detail"].as_str().unwrap().contains("longer than"), "{test}");
}
