//! A control plane to test.

use entitlements_admin::{
    Admin, Running,
    app::{Actor, Command, NewKey},
    workflow::Scope,
};
use tempfile::TempDir;

pub(crate) use crate::client::{ACME, Answer, CATALOG, Client, DEADLINE, config};

/// A control plane on a free port, with a folder that goes with it.
pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) folder: TempDir,
    pub(crate) admin: Client,
}

impl World {
    /// Fresh: no catalog, no tenants, one admin token.
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let running = Admin::start(config(folder.path())).await.unwrap();
        let admin = Client::new(running.addr(), running.first_key());
        Self { running, folder, admin }
    }

    /// With the catalog and the tenant `acme`.
    pub(crate) async fn with_acme() -> Self {
        let world = Self::new().await;
        let toml = [("content-type", "application/toml")];
        let answer = world.admin.send("PUT", "/v1/catalog", &toml, CATALOG).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = world.admin.put("/v1/tenants/acme", ACME).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        world
    }

    pub(crate) async fn client(&self, scope: Scope) -> Client {
        let command = Command::CreateKey(NewKey::new(scope, "test"));
        let outcome = self.running.app().execute(&Actor::local("test"), command).await.unwrap();
        Client::new(self.running.addr(), outcome.secret.as_deref())
    }

    /// Returns once so many long polls wait.
    pub(crate) async fn polls_wait(&self, count: usize) {
        let line = format!("entitlements_admin_sync_waiting {count}\n");
        let waited = async { while !self.admin.get("/metrics").await.text().contains(&line) {} };
        tokio::time::timeout(DEADLINE, waited).await.expect("the polls wait");
    }

    /// Stops it and starts another on the same folder, with the same token.
    pub(crate) async fn restarted(self) -> Self {
        let Self { running, folder, admin } = self;
        running.stop().await;
        let running = Admin::start(config(folder.path())).await.unwrap();
        let admin = Client { addr: running.addr(), ..admin };
        Self { running, folder, admin }
    }
}
