//! Asks a sidecar over plain HTTP.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::PATIENCE;

pub(crate) struct Web {
    pub(crate) addr: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Web {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self { addr, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask(Method::POST, path, &[], body).await
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request =
            Request::builder().method(method).uri(format!("http://{}{path}", self.addr));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let answer = tokio::time::timeout(PATIENCE, async {
            let response = self.client.request(request).await.unwrap();
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Answer { status: head.status, headers: head.headers, body }
        });
        answer.await.unwrap()
    }

    pub(crate) async fn check(&self, tenant: &str, feature: &str) -> Value {
        let body = serde_json::json!({ "tenant": tenant, "feature": feature }).to_string();
        self.post("/v1/check", &body).await.json()
    }

    /// The amount of a limit now.
    pub(crate) async fn amount(&self, tenant: &str, feature: &str) -> Value {
        self.check(tenant, feature).await["amount"].clone()
    }

    pub(crate) async fn count(&self, line: &str) -> u64 {
        let text = self.get("/metrics").await.text();
        let found = text.lines().find_map(|found| found.strip_prefix(line));
        found.unwrap_or_else(|| panic!("no {line} in\n{text}")).trim().parse().unwrap()
    }

    /// Waits until a counter has come this far.
    pub(crate) async fn counted(&self, line: &str, least: u64) {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(10));
        let waited = tokio::time::timeout(PATIENCE, async {
            while self.count(line).await < least {
                look.tick().await;
            }
        });
        if waited.await.is_err() {
            panic!("{line} did not reach {least}:\n{}", self.get("/metrics").await.text());
        }
    }

    /// Waits until a sidecar says of itself what is asked for.
    pub(crate) async fn state(&self, state: &str) -> Value {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(10));
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let ready = self.get("/readyz").await.json();
                if ready["state"] == state {
                    return ready;
                }
                look.tick().await;
            }
        });
        waited.await.unwrap()
    }

    /// A plain connection, for what no decent client would send.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// Everything until the sidecar closes the connection.
    pub(crate) async fn to_the_end(mut stream: TcpStream) -> String {
        let mut text = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await;
        // A reset is an end too.
        let _ = read.expect("the connection is still open");
        String::from_utf8(text).unwrap()
    }

    pub(crate) async fn events(&self, tenant: &str) -> Events {
        let request = format!(
            "GET /ofrep/v1/events?tenant={tenant} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        );
        let mut lines = BufReader::new(self.raw(request.as_bytes()).await);
        let mut status = String::new();
        lines.read_line(&mut status).await.unwrap();
        assert!(status.contains("200"), "{status}");
        Events { lines }
    }
}

/// An open event stream.
pub(crate) struct Events {
    lines: BufReader<TcpStream>,
}

impl Events {
    /// The data of the next event.
    pub(crate) async fn next(&mut self) -> Value {
        tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(data) = self.line().await.strip_prefix("data: ") {
                    return serde_json::from_str(data).unwrap();
                }
            }
        })
        .await
        .expect("no event came")
    }

    /// The next line; empty at the end.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, self.lines.read_line(&mut line)).await.unwrap().unwrap();
        line
    }
}
