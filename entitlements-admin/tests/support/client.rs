//! A small client for a control plane to test.

use std::{net::SocketAddr, path::Path, time::Duration};

use entitlements_admin::Config;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, body::Bytes};
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// No test waits longer than this for something that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const CATALOG: &str = r#"
[modules.clinic]
name = "Clinic"
[features.sso]
kind = "switch"
module = "clinic"
[features.seats]
kind = { limit = { unit = "seat" } }
[plans.basic]
grants = { seats = 5 }
[plans.pro]
extends = "basic"
grants = { sso = true, seats = 20 }
[add_ons.more-seats]
grants = { seats = "+10" }
"#;

pub(crate) const ACME: &str = r#"{"name":"Acme Clinic","subscriptions":[{"plan":"pro"}]}"#;

pub(crate) fn config(folder: &Path) -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data: folder.into(),
        ..Config::default()
    }
}

/// Sends requests, each on a connection of its own.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) addr: SocketAddr,
    pub(crate) token: Option<String>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn revision(&self) -> u64 {
        self.header("entitlements-revision").parse().unwrap()
    }

    /// That it is a problem of a kind, told the standard way.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body = self.json();
        assert_eq!(body["type"], format!("/problems/{code}"), "{body}");
        assert_eq!(body["status"], status);
        assert!(
            body["title"].is_string() && body["detail"].as_str().is_some_and(|d| !d.is_empty())
        );
        body
    }
}

impl Client {
    pub(crate) fn new(addr: SocketAddr, token: Option<&str>) -> Self {
        Self { addr, token: token.map(Into::into) }
    }

    /// Has nobody else look at changes of the catalog.
    pub(crate) async fn without_approval(&self) {
        let off = r#"{"four_eyes":false,"threshold":1000000}"#;
        assert_eq!(self.put("/v1/settings/approval", off).await.status, 200);
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn put(&self, path: &str, json: &str) -> Answer {
        self.send("PUT", path, &[("content-type", "application/json")], json).await
    }

    pub(crate) async fn post(&self, path: &str, json: &str) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], json).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "").await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method.parse::<Method>().unwrap())
            .uri(path)
            .header("host", self.addr.to_string());
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        tokio::time::timeout(DEADLINE, self.exchange(request)).await.expect("an answer in time")
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Answer {
        let stream = tokio::net::TcpStream::connect(self.addr).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.unwrap();
        let (parts, mut body) = response.into_parts();
        let is_stream =
            parts.headers.get("content-type").is_some_and(|it| it == "text/event-stream");
        let body = match is_stream {
            // It does not end; the first event is there at once.
            true => body.frame().await.unwrap().unwrap().into_data().unwrap(),
            false => body.collect().await.unwrap().to_bytes(),
        };
        drop(sender);
        if !is_stream {
            drop(connection.await);
        }
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}
