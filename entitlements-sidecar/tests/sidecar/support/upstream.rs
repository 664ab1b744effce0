//! An admin's sync API that can go silent, replay, forge and withhold.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use entitlements_core::{
    Revision, Snapshot,
    document::{Document, Hash, StatusReply, StatusReport},
    signed::{
        Basis, Header, SigningKey, Tidings, bundle, seal_heartbeat, seal_keys, seal_snapshot,
    },
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::{now, root};

/// What it publishes and how it behaves.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) environment: String,
    pub(crate) epoch: u64,
    pub(crate) revision: u64,
    pub(crate) document: Vec<u8>,
    pub(crate) content: Hash,
    pub(crate) publisher: [u8; 32],
    pub(crate) keys_version: u64,
    pub(crate) max_age_s: Option<u32>,
    /// Sends this as a snapshot, whatever the basis.
    pub(crate) forged_snapshot: Option<Vec<u8>>,
    /// Sends this as a heartbeat, whatever the basis.
    pub(crate) forged_heartbeat: Option<Vec<u8>>,
    /// How often it was asked for changes.
    pub(crate) changes_asked: u64,
    /// Takes questions for changes and never answers, after this many.
    pub(crate) changes_answered_max: u64,
    /// Takes questions and never answers.
    pub(crate) silent: bool,
    /// Answers every question with 500.
    pub(crate) failing: bool,
    /// What the sidecar said of itself.
    pub(crate) reports: Vec<StatusReport>,
    /// Takes so many more reports and does not say so.
    pub(crate) replies_lost: u32,
    /// Sends this for changes, byte by byte, whatever the basis.
    pub(crate) forged_answer: Option<Forged>,
    /// Sends this for keys.
    pub(crate) forged_keys: Option<Vec<u8>>,
}

/// An answer that nothing was made of by rule.
#[derive(Clone, Default)]
pub(crate) struct Forged {
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Upstream {
    addr: SocketAddr,
    world: Arc<Mutex<World>>,
    changed: watch::Sender<u64>,
    server: JoinHandle<()>,
}

impl World {
    pub(crate) fn new(revision: u64, document: &str) -> Self {
        let world = compiled(revision, document);
        Self {
            environment: "default".into(),
            epoch: 1,
            revision,
            document: world.encode(),
            content: world.content_hash(),
            publisher: [2; 32],
            keys_version: 1,
            max_age_s: Some(300),
            forged_snapshot: None,
            forged_heartbeat: None,
            changes_asked: 0,
            changes_answered_max: u64::MAX,
            silent: false,
            failing: false,
            reports: Vec::new(),
            replies_lost: 0,
            forged_answer: None,
            forged_keys: None,
        }
    }

    /// Has a catalog and its tenants, compiled as this revision.
    pub(crate) fn holds(&mut self, revision: u64, document: &str) {
        let next = compiled(revision, document);
        (self.document, self.content) = (next.encode(), next.content_hash());
    }

    fn signer(&self) -> SigningKey {
        SigningKey::from_bytes(self.publisher)
    }

    pub(crate) fn header(&self) -> Header {
        Header {
            environment: self.environment.clone(),
            epoch: self.epoch,
            revision: Revision(self.revision),
            issued_at: now(),
            max_age_s: self.max_age_s,
            activate_at: None,
        }
    }

    pub(crate) fn keys(&self) -> Vec<u8> {
        let publishers = [SigningKey::from_bytes([2; 32]).public(), self.signer().public()];
        // A publisher that is not the usual one counts only once the keys say so.
        let publishers = &publishers[..usize::try_from(self.keys_version).unwrap().min(2)];
        seal_keys(&root(), &self.environment, self.keys_version, publishers, now())
    }

    pub(crate) fn snapshot(&self) -> Vec<u8> {
        seal_snapshot(&self.signer(), &self.header(), &self.content, &self.document)
    }

    pub(crate) fn heartbeat(&self) -> Vec<u8> {
        seal_heartbeat(&self.signer(), &self.header(), &self.content, &Tidings::default())
    }

    fn basis(&self) -> String {
        let (epoch, revision, hash) = (self.epoch, Revision(self.revision), self.content);
        Basis { epoch, revision, hash }.to_string()
    }
}

fn compiled(revision: u64, document: &str) -> Snapshot {
    let document = Document::parse("test.toml", document).unwrap();
    let catalog = entitlements_core::Catalog::new(document.catalog).unwrap();
    Snapshot::compile(Revision(revision), Arc::new(catalog), &document.tenants, now())
}

impl Upstream {
    pub(crate) async fn start(revision: u64, document: &str) -> Self {
        Self::start_as(World::new(revision, document)).await
    }

    pub(crate) async fn start_as(world: World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let world = Arc::new(Mutex::new(world));
        let changed = watch::Sender::new(0);
        let (shared, changes) = (world.clone(), changed.subscribe());
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (world, changes) = (shared.clone(), changes.clone());
                connections.spawn(async move {
                    let service =
                        service_fn(move |request| answer(world.clone(), changes.clone(), request));
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { addr, world, changed, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Changes the world; whoever waits for a change is told.
    pub(crate) fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.lock().unwrap());
        self.changed.send_modify(|beats| *beats += 1);
    }

    pub(crate) fn publish(&self, revision: u64, document: &str) {
        self.change(|world| {
            world.revision = revision;
            world.holds(revision, document);
        });
    }

    /// Waits until it was asked for changes so often.
    pub(crate) async fn asked(&self, least: u64) {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        let waited = tokio::time::timeout(super::PATIENCE, async {
            while self.world().changes_asked < least {
                look.tick().await;
            }
        });
        waited.await.unwrap();
    }

    pub(crate) fn world(&self) -> World {
        self.world.lock().unwrap().clone()
    }

    /// Gone, as after `kill -9`.
    pub(crate) async fn kill(self) {
        self.server.abort();
        let _ = self.server.await;
    }
}

async fn answer(
    world: Arc<Mutex<World>>,
    mut changes: watch::Receiver<u64>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.headers()["authorization"], "Bearer sync-key");
    if request.uri().path() == "/sync/v1/status" {
        return Ok(noted(&world, request).await);
    }
    let seen = || world.lock().unwrap().clone();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name));
    let wait = Duration::from_secs(value("wait=").unwrap_or("0").parse().unwrap());
    let basis = value("basis=").unwrap_or_default();
    let deadline = tokio::time::Instant::now() + wait;
    if request.uri().path() == "/sync/v1/changes" {
        let asked = {
            let mut world = world.lock().unwrap();
            world.changes_asked += 1;
            world.changes_asked > world.changes_answered_max
        };
        if asked {
            std::future::pending::<()>().await;
        }
    }
    loop {
        changes.mark_unchanged();
        let world = seen();
        if world.silent {
            let _ = changes.changed().await;
            continue;
        }
        if world.failing {
            return Ok(Response::builder().status(500).body(Full::default()).unwrap());
        }
        if request.uri().path() == "/sync/v1/keys" {
            let keys = world.forged_keys.clone().unwrap_or_else(|| world.keys());
            return Ok(Response::new(keys.into()));
        }
        assert_eq!(request.uri().path(), "/sync/v1/changes");
        if let Some(Forged { headers, body }) = world.forged_answer {
            let mut response = Response::builder();
            for (name, value) in headers {
                response = response.header(name, value);
            }
            return Ok(response.body(body.into()).unwrap());
        }
        if let Some(forged) = world.forged_snapshot {
            return Ok(changes_are("full", &forged));
        }
        if let Some(forged) = world.forged_heartbeat {
            return Ok(changes_are("none", &forged));
        }
        if world.basis() != basis {
            return Ok(changes_are("full", &world.snapshot()));
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep_until(deadline) => return Ok(changes_are("none", &seen().heartbeat())),
        }
    }
}

/// Takes a report, as an admin would.
async fn noted(world: &Mutex<World>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let report: StatusReport = serde_json::from_slice(&body).unwrap();
    let reply = StatusReply {
        lease_s: 30,
        receipts_through: report.receipts.last().map_or(0, |receipt| receipt.id),
        denials_through: report.denials.as_ref().map_or(0, |denials| denials.batch),
    };
    let mut world = world.lock().unwrap();
    world.reports.push(report);
    if world.replies_lost > 0 {
        world.replies_lost -= 1;
        return Response::builder().status(500).body(Full::default()).unwrap();
    }
    Response::new(serde_json::to_vec(&reply).unwrap().into())
}

fn changes_are(intent: &str, envelope: &[u8]) -> Response<Full<Bytes>> {
    Response::builder()
        .header("entitlements-intent", intent)
        .body(bundle([envelope]).into())
        .unwrap()
}
