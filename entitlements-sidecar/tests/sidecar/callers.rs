//! The native API, and callers who mean no good.

use std::time::Duration;

use entitlements_sidecar::{Limits, Sidecar};
use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{CATALOG, PATIENCE, Pair, Upstream, Web, config};

#[tokio::test]
async fn checks_one_many_and_the_whole_set_agree() {
    let pair = Pair::ready(CATALOG).await;
    let one = pair.web.check("acme", "seats").await;
    assert_eq!(one["state"], "FRESH");
    assert!(one["age_ms"].is_u64());
    let mut plain = one.clone();
    plain.as_object_mut().unwrap().retain(|key, _| key != "age_ms" && key != "state");
    assert_eq!(
        plain,
        json!({
            "tenant": "acme", "feature": "seats", "allowed": true, "verdict": "limit",
            "amount": 15, "reason": "plan", "source": "plan:pro", "revision": 1,
        })
    );
    let body = json!({ "checks": [
        { "tenant": "acme", "feature": "seats" },
        { "tenant": "a\"b", "feature": "sso" },
        { "tenant": "acme", "feature": "no such" },
    ] });
    let many = pair.web.post("/v1/check/batch", &body.to_string()).await.json();
    assert_eq!((&many["revision"], &many["state"]), (&json!(1), &json!("FRESH")));
    assert_eq!(many["results"][0], plain);
    assert_eq!(many["results"][1]["tenant"], "a\"b");
    assert_eq!(many["results"][1]["reason"], "unknown_tenant");
    assert_eq!(many["results"][2]["reason"], "unknown_feature");

    let answer = pair.web.get("/v1/tenants/acme/entitlements").await;
    let set = answer.json();
    assert_eq!((&set["tenant"], &set["revision"]), (&json!("acme"), &json!(1)));
    let answers = set["entitlements"].as_array().unwrap();
    assert_eq!(answers.len(), 7);
    let seats = answers.iter().find(|answer| answer["feature"] == "seats").unwrap();
    assert_eq!(
        seats,
        &json!({
            "feature": "seats", "allowed": true, "verdict": "limit", "amount": 15, "reason": "plan",
            "source": "plan:pro",
        })
    );
    let tag = answer.header("etag");
    let same = [("if-none-match", tag)];
    let again = pair.web.ask(Method::GET, "/v1/tenants/acme/entitlements", &same, "").await;
    assert_eq!(again.status, 304);
    let other = pair.web.ask(Method::GET, "/v1/tenants/tiny/entitlements", &same, "").await;
    assert_eq!(other.status, 200);
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn an_explanation_names_what_won() {
    let pair = Pair::ready(CATALOG).await;
    let body = json!({ "tenant": "acme", "feature": "seats" }).to_string();
    let told = pair.web.post("/v1/explain", &body).await.json();
    assert_eq!((&told["answer"], &told["source"]), (&json!("15"), &json!("plan:pro")));
    assert_eq!(told["contributions"][0]["source"], "plan:pro");
    assert_eq!(told["state"], "FRESH");
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn what_is_asked_wrongly_is_answered_with_a_problem() {
    let pair = Pair::ready(CATALOG).await;
    let rows = [
        (Method::POST, "/v1/check", "", 400, "malformed"),
        (Method::POST, "/v1/check", "{\"tenant\":\"acme\"}", 400, "malformed"),
        (
            Method::POST,
            "/v1/check",
            "{\"tenant\":\"acme\",\"feature\":\"sso\",\"x\":1}",
            400,
            "malformed",
        ),
        (Method::GET, "/v1/check", "", 405, "method"),
        (Method::PUT, "/metrics", "", 405, "method"),
        (Method::DELETE, "/v1/tenants/acme/entitlements", "", 405, "method"),
        (Method::GET, "/nothing", "", 404, "no_such_path"),
        (Method::GET, "/ofrep/v1/events", "", 400, "malformed"),
    ];
    for (method, path, body, status, code) in rows {
        let answer = pair.web.ask(method.clone(), path, &[], body).await;
        let problem = answer.json();
        let case = format!("{method} {path} {body}: {problem}");
        assert_eq!(answer.status.as_u16(), status, "{case}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{case}");
        assert_eq!(problem["type"], format!("urn:entitlements:problem:{code}"), "{case}");
        assert_eq!(problem["status"], status, "{case}");
        assert!(problem["detail"].as_str().unwrap().len() > 10, "{case}");
    }
    assert_eq!(pair.web.ask(Method::HEAD, "/healthz", &[], "").await.status, 200);
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn a_body_has_a_limit_whether_or_not_it_says_how_long_it_is() {
    let pair = Pair::ready(CATALOG).await;
    let long = "x".repeat(64 * 1_024 + 1);
    let answer = pair.web.post("/v1/check", &long).await;
    assert_eq!(answer.status, 413);
    let head = "POST /v1/check HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut stream = pair.web.raw(head.as_bytes()).await;
    let chunk = format!("2000\r\n{}\r\n", "x".repeat(0x2000));
    for _ in 0..9 {
        // It may be cut off in the middle, which is the point.
        let _ = stream.write_all(chunk.as_bytes()).await;
    }
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn pages_and_foreign_names_are_turned_away() {
    let page = "https://app.example";
    let pair = Pair::ready_with(CATALOG, |config| config.allow_origins = vec![page.into()]).await;
    let body = r#"{"tenant":"acme","feature":"sso"}"#;
    let ask = async |headers: &[(&str, &str)]| {
        pair.web.ask(Method::POST, "/v1/check", headers, body).await
    };
    assert_eq!(ask(&[("host", "evil.example")]).await.status, 421);
    assert_eq!(ask(&[("origin", "https://evil.example")]).await.status, 403);
    assert_eq!(ask(&[("sec-fetch-site", "cross-site")]).await.status, 403);
    let allowed = ask(&[("origin", page)]).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), page);
    assert!(allowed.header("access-control-expose-headers").contains("ETag"));
    assert_eq!(allowed.header("vary"), "Origin");
    assert_eq!(ask(&[]).await.header("access-control-allow-origin"), "");

    let preflight = [("origin", page), ("access-control-request-method", "POST")];
    let answer = pair.web.ask(Method::OPTIONS, "/v1/check", &preflight, "").await;
    assert_eq!(answer.status, 204);
    assert!(answer.header("access-control-allow-headers").contains("If-None-Match"));
    let foreign = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    let answer = pair.web.ask(Method::OPTIONS, "/v1/check", &foreign, "").await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-headers")), (403, ""));
    assert_eq!(pair.web.ask(Method::OPTIONS, "/v1/check", &[], "").await.status, 405);
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn a_sidecar_with_a_token_answers_nobody_without_it() {
    let token = "a-token-of-this-host";
    let pair = Pair::ready_with(CATALOG, |config| config.local_token = Some(token.into())).await;
    for path in ["/metrics", "/v1/tenants/acme/entitlements", "/ofrep/v1/events?tenant=acme"] {
        let answer = pair.web.get(path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(pair.web.get(path).await.status, 200, "probes carry no token");
    }
    let bearer = format!("Bearer {token}");
    for header in [("authorization", bearer.as_str()), ("x-api-key", token)] {
        let answer =
            pair.web.ask(Method::GET, "/v1/tenants/acme/entitlements", &[header], "").await;
        assert_eq!(answer.status, 200);
    }
    pair.sidecar.stop().await;
}

/// A sidecar with little patience and little room.
async fn impatient(change: impl FnOnce(&mut Limits)) -> (Pair, Web) {
    let upstream = Upstream::start(1, CATALOG).await;
    let folder = tempfile::tempdir().unwrap();
    let mut limits = Limits::default();
    change(&mut limits);
    let config = config(folder.path(), &upstream.url());
    let sidecar = Sidecar::start_with(config, limits).await.unwrap();
    sidecar.wait_ready(PATIENCE).await.unwrap();
    let web = Web::new(sidecar.addr());
    let other = Web::new(sidecar.addr());
    (Pair { upstream, sidecar, web, folder }, other)
}

const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let (pair, web) = impatient(|limits| limits.header = SHORT).await;
    let stream = web.raw(b"POST /v1/check HTTP/1.1\r\nHost: loc").await;
    assert_eq!(Web::to_the_end(stream).await, "", "closed without a word");
    let waiting = web.raw(b"").await;
    assert_eq!(web.get("/healthz").await.status, 200);
    drop(waiting);
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn a_slow_body_and_an_idle_connection_are_cut_off() {
    let (pair, web) = impatient(|limits| (limits.request, limits.idle) = (SHORT, 3 * SHORT)).await;
    let head = "POST /v1/check HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n{\"ten";
    let stream = web.raw(head.as_bytes()).await;
    assert_eq!(Web::to_the_end(stream).await, "");
    let idle = web.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answered = Web::to_the_end(idle).await;
    assert!(answered.starts_with("HTTP/1.1 200"), "answered first, then closed: {answered}");
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn a_stream_lives_as_long_as_it_gets_rid_of_its_signs_of_life() {
    let (pair, web) =
        impatient(|limits| (limits.keep_alive, limits.idle) = (SHORT / 2, 4 * SHORT)).await;
    let mut events = web.events("acme").await;
    events.next().await;
    let mut signs = 0;
    while signs < 20 {
        let line = events.line().await;
        assert!(!line.is_empty(), "closed after {signs} signs of life");
        signs += u32::from(line.starts_with(": keep-alive"));
    }
    assert_eq!(web.count("entitlements_sidecar_event_streams").await, 1);
    drop(events);
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn connections_over_the_limit_are_turned_away_and_room_comes_back() {
    let (pair, web) = impatient(|limits| limits.connections = 4).await;
    assert_eq!(web.get("/healthz").await.status, 200, "this one connection is kept");
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(web.raw(b"").await);
    }
    for stream in held.split_off(3) {
        let answer = Web::to_the_end(stream).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
    assert_eq!(web.count("entitlements_sidecar_connections_turned_away_total").await, 5);
    drop(held);
    let room = tokio::time::timeout(PATIENCE, async {
        let ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        while !Web::to_the_end(web.raw(ask).await).await.starts_with("HTTP/1.1 200") {}
    });
    room.await.unwrap();
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn event_streams_leave_room_for_questions() {
    let (pair, web) = impatient(|limits| limits.connections = 4).await;
    let streams = (web.events("acme").await, web.events("acme").await);
    let answer = web.get("/ofrep/v1/events?tenant=acme").await;
    assert_eq!(answer.status, 503);
    assert_eq!(web.check("acme", "seats").await["amount"], 15);
    drop(streams);
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_it_stops() {
    let (pair, web) = impatient(|_| {}).await;
    let mut events = web.events("acme").await;
    events.next().await;
    let body = r#"{"tenant":"acme","feature":"seats"}"#;
    let head = format!(
        "POST /v1/check HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}",
        body.len(),
        &body[..10]
    );
    let mut stream = web.raw(head.as_bytes()).await;
    web.counted("entitlements_sidecar_http_requests_total{route=\"metrics\",status=\"2xx\"}", 1)
        .await;
    let mut stopping = tokio::spawn(pair.sidecar.stop());
    while !events.line().await.is_empty() {}
    let early = tokio::time::timeout(2 * SHORT, &mut stopping).await;
    assert!(early.is_err(), "it stopped although a request was under way");
    stream.write_all(&body.as_bytes()[10..]).await.unwrap();
    let answer = Web::to_the_end(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"amount\":15"), "{answer}");
    stopping.await.unwrap();
    let refused = tokio::net::TcpStream::connect(web.addr).await;
    assert!(refused.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_unix_socket_answers_too_and_is_removed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sidecar.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let pair = Pair::ready_with(CATALOG, |config| config.socket = Some(path.clone())).await;
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let request = "GET /readyz HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("FRESH"), "{answer}");
    pair.sidecar.stop().await;
    assert!(!path.exists());
}
