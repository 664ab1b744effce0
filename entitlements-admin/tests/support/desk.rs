//! A control plane whose time stands still until it is told to go on, and that sends nothing by
//! itself.

use std::{path::Path, time::Duration};

use entitlements_admin::{
    Admin, Config,
    app::{Actor, App, Command, NewKey},
    clock::Clock,
    http::listen::Server,
    jobs,
    workflow::Scope,
};
use entitlements_core::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::{
    receiver::Receiver,
    support::{ACME, CATALOG, Client, config},
};

pub(crate) const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// The control plane, and a client for it.
pub(crate) struct Desk {
    pub(crate) app: App,
    pub(crate) clock: Clock,
    pub(crate) client: Client,
    _server: Server,
    pub(crate) folder: TempDir,
}

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// With connectors that may reach this machine.
pub(crate) fn local(folder: &Path) -> Config {
    Config {
        allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
        public_url: Some("http://admin.example".into()),
        ..config(folder)
    }
}

impl Desk {
    pub(crate) async fn new() -> Self {
        Self::with(local).await
    }

    pub(crate) async fn with(config: impl FnOnce(&Path) -> Config) -> Self {
        Self::with_clock(config, Clock::manual(at("2026-03-02T10:00:00Z"))).await
    }

    pub(crate) async fn with_clock(config: impl FnOnce(&Path) -> Config, clock: Clock) -> Self {
        let folder = TempDir::new().unwrap();
        let config = config(folder.path());
        let time = clock.clone();
        let open = move || Admin::open_with(&config, time);
        let app = tokio::task::spawn_blocking(open).await.unwrap().unwrap();
        let command = Command::CreateKey(NewKey::new(Scope::Admin, "test"));
        let token = app.execute(&Actor::local("test"), command).await.unwrap().secret;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = Server::start(listener, app.clone());
        let client = Client::new(addr, token.as_deref());
        Self { app, clock, client, _server: server, folder }
    }

    /// With a catalog, a tenant and no need for approval.
    pub(crate) async fn with_acme() -> Self {
        let desk = Self::new().await;
        desk.prepare().await;
        desk
    }

    /// A catalog, a tenant and no need for approval.
    pub(crate) async fn prepare(&self) {
        self.client.without_approval().await;
        let toml = [("content-type", "application/toml")];
        let answer = self.client.send("PUT", "/v1/catalog", &toml, CATALOG).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = self.client.put("/v1/tenants/acme", ACME).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(self.clock.now().plus(Duration::from_secs(seconds)));
    }

    /// Does what is due, and sends what came of it. Says how many attempts that were.
    pub(crate) async fn work(&self) -> usize {
        jobs::run(&self.app, "test").await.unwrap();
        jobs::deliver(&self.app, "test").await.unwrap()
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Value {
        let answer = self.client.put(path, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// A team `ops`, and a connector of this name and kind to which everything goes.
    pub(crate) async fn connect(&self, name: &str, kind: Value, credentials: Value) {
        self.put("/v1/teams/ops", &json!({ "name": "Ops", "members": ["ops@example.com"] })).await;
        let connector = json!({ "name": name, "kind": kind, "credentials": credentials });
        self.put(&format!("/v1/connectors/{name}"), &connector).await;
        let route = json!({ "events": ["*"], "team": "ops", "connector": name });
        self.put(&format!("/v1/routes/to-{name}"), &route).await;
    }

    /// A webhook to which everything goes.
    pub(crate) async fn hook(&self, name: &str, receiver: &Receiver) {
        let kind = json!({ "webhook": { "url": receiver.url(), "handshake": false } });
        self.connect(name, kind, json!({ "secret": SECRET })).await;
    }

    /// Something happens: a draft waits for approval. Its id.
    pub(crate) async fn submit(&self, name: &str) -> String {
        let draft = json!({ "name": name, "description": "" });
        let made = self.client.post("/v1/drafts", &draft.to_string()).await.json();
        let id = made["id"].as_str().unwrap().to_owned();
        let object = format!("/v1/drafts/{id}/objects/plans.pro");
        let plan =
            json!({ "name": name, "extends": "basic", "grants": { "sso": true, "seats": 20 } });
        assert_eq!(self.client.put(&object, &plan.to_string()).await.status, 200);
        let answer = self.client.post(&format!("/v1/drafts/{id}/submit"), "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        id
    }

    pub(crate) async fn withdraw(&self, draft: &str) {
        let answer = self.client.post(&format!("/v1/drafts/{draft}/withdraw"), "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    pub(crate) async fn deliveries(&self, query: &str) -> Vec<Value> {
        let list = self.get(&format!("/v1/deliveries?{query}")).await;
        list["deliveries"].as_array().unwrap().clone()
    }
}
