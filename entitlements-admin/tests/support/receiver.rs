//! An HTTP server that takes down what it is asked, and answers as it is told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::support::DEADLINE;

/// What it was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// What it answers.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    /// Whether it hangs up instead.
    pub(crate) hangs_up: bool,
    /// How long it takes.
    pub(crate) after: Duration,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        let (headers, body, after) = (Vec::new(), String::new(), Duration::ZERO);
        Self { status, headers, body, hangs_up: false, after }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self { body: body.to_string(), ..Self::status(status) }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// It does what it is asked, and hangs up without a word.
    pub(crate) fn hang_up() -> Self {
        Self { hangs_up: true, ..Self::status(200) }
    }
}

type Answering = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// The server.
pub(crate) struct Receiver {
    pub(crate) addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    answering: Arc<Mutex<Answering>>,
    count: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// One that answers so.
    pub(crate) async fn start(answering: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let answering: Answering = Arc::new(answering);
        let answering = Arc::new(Mutex::new(answering));
        let (counting, count) = watch::channel(0);
        let (log, how) = (asked.clone(), answering.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, how, counting) = (log.clone(), how.clone(), counting.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (log, how, counting) = (log.clone(), how.clone(), counting.clone());
                    async move {
                        let asked = read(request).await;
                        log.lock().unwrap().push(asked.clone());
                        let how = how.lock().unwrap().clone();
                        let reply = how(&asked);
                        counting.send_modify(|count| *count += 1);
                        tokio::time::sleep(reply.after).await;
                        if reply.hangs_up {
                            return Err(std::io::Error::other("hangs up"));
                        }
                        let mut response = Response::builder().status(reply.status);
                        for (name, value) in &reply.headers {
                            response = response.header(*name, value);
                        }
                        Ok(response.body(Full::new(Bytes::from(reply.body))).unwrap())
                    }
                });
                tokio::spawn(async move {
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    drop(connection.await);
                });
            }
        });
        Self { addr, asked, answering, count, task }
    }

    /// One that answers with a status.
    pub(crate) async fn answering(status: u16) -> Self {
        Self::start(move |_| Reply::status(status)).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// From now on it answers otherwise.
    pub(crate) fn answer(&self, answering: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *self.answering.lock().unwrap() = Arc::new(answering);
    }

    /// All that it was asked.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until it was asked so often.
    pub(crate) async fn until_asked(&self, count: usize) -> Vec<Asked> {
        let mut counting = self.count.clone();
        let waited = counting.wait_for(|asked| *asked >= count);
        tokio::time::timeout(DEADLINE, waited).await.expect("it is asked").unwrap();
        self.asked()
    }
}

async fn read(request: Request<Incoming>) -> Asked {
    let (parts, body) = request.into_parts();
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap_or_default().to_owned())
    };
    Asked {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers.iter().map(header).collect(),
        body: body.collect().await.map(|body| body.to_bytes()).unwrap_or_default(),
    }
}
