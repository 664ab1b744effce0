//! Nobody can hold a connection or memory for ever.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{DEADLINE, World};

/// Sends bytes and reads until the other end closes.
async fn until_closed(world: &World, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.running.addr()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A reset is a close, too.
    drop(timeout(DEADLINE, read).await.expect("the server closes"));
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_headers_are_closed() {
    let world = World::new().await;
    let started = tokio::time::Instant::now();
    let slow = "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ";
    let (headers, idle) =
        tokio::join!(until_closed(&world, slow.as_bytes()), until_closed(&world, b""));
    assert!(!headers.contains(" 200 ") && !idle.contains(" 200 "), "{headers}{idle}");
    let took = started.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(9)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn too_large_a_body_is_refused_before_it_is_read() {
    let world = World::new().await;
    let token = world.admin.token.clone().unwrap();
    let head = |method: &str, path: &str, length: usize| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )
    };
    let api = until_closed(&world, head("PUT", "/v1/tenants/a", 64 * 1024 + 1).as_bytes()).await;
    assert!(api.starts_with("HTTP/1.1 413 "), "{api}");
    assert!(api.contains("/problems/body_too_large") && api.contains("65536 bytes"), "{api}");
    for path in ["/v1/catalog", "/v1/tenants/bulk"] {
        let method = if path.ends_with("bulk") { "POST" } else { "PUT" };
        let import =
            until_closed(&world, head(method, path, 16 * 1024 * 1024 + 1).as_bytes()).await;
        assert!(import.starts_with("HTTP/1.1 413 "), "{import}");
    }
}

#[tokio::test]
async fn too_large_a_body_of_unknown_length_is_refused_as_well() {
    let world = World::new().await;
    let token = world.admin.token.clone().unwrap();
    let mut text = format!(
        "PUT /v1/tenants/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    for _ in 0..17 {
        text += &format!("1000\r\n{}\r\n", " ".repeat(4096));
    }
    let answer = until_closed(&world, text.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_large_import_is_taken() {
    let world = World::with_acme().await;
    let name = "x".repeat(100_000);
    let body = format!(r#"{{"tenants":{{"big":{{"name":"{name}"}}}}}}"#);
    let answer = world.admin.post("/v1/tenants/bulk", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    world
        .admin
        .put("/v1/tenants/big", &format!(r#"{{"name":"{name}"}}"#))
        .await
        .is_problem(413, "body_too_large");
}

#[tokio::test]
async fn stopping_answers_what_was_asked_and_then_closes() {
    let world = World::with_acme().await;
    let tag =
        world.admin.get("/sync/v1/snapshot").await.header("etag").trim_matches('"').to_owned();
    let client = world.admin.clone();
    let poll =
        tokio::spawn(
            async move { client.get(&format!("/sync/v1/changes?basis={tag}&wait=60")).await },
        );
    world.polls_wait(1).await;
    let addr = world.running.addr();
    timeout(Duration::from_secs(8), world.running.stop()).await.expect("it drains");
    let answer = poll.await.unwrap();
    assert_eq!((answer.status, answer.header("entitlements-intent")), (200, "none"));
    assert!(TcpStream::connect(addr).await.is_err(), "the port is given back");
}
