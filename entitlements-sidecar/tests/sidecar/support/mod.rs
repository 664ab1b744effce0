//! A small admin that can misbehave, and a small client.

pub(crate) mod redis_server;
pub(crate) mod upstream;
pub(crate) mod web;

use std::{path::Path, time::Duration};

use entitlements_core::{Timestamp, signed::SigningKey};
use entitlements_sidecar::{Config, Running, Sidecar};

pub(crate) use self::{upstream::Upstream, web::Web};

/// What no wait in these tests may exceed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[expect(clippy::disallowed_methods, reason = "the tests' one clock")]
pub(crate) fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

pub(crate) fn root() -> SigningKey {
    SigningKey::from_bytes([1; 32])
}

/// A catalog with one feature of each kind.
pub(crate) const CATALOG: &str = r#"
    [features.sso]
    kind = "switch"
    [features.vault]
    kind = "switch"
    when_stale = "deny"
    [features.portal]
    kind = "switch"
    when_stale = "allow"
    [features.seats]
    kind = { limit = { unit = "seat" } }
    [features.sms]
    kind = { limit = { unit = "message" } }
    [features.support]
    kind = { level = { levels = ["basic", "gold"] } }
    [features.theme]
    kind = { config = { schema = { type = "object" } } }
    [plans.free]
    grants = { seats = 1 }
    [plans.pro]
    grants = { sso = true, vault = true, seats = 15, sms = "unlimited", support = "gold", theme = { color = "blue" } }
    [tenants.acme]
    subscriptions = [{ plan = "pro" }]
    [tenants.tiny]
    subscriptions = [{ plan = "free" }]
"#;

/// The catalog, with another number of seats in the plan.
pub(crate) fn catalog_with_seats(seats: u64) -> String {
    CATALOG.replace("seats = 15", &format!("seats = {seats}"))
}

/// The catalog, with five more seats until an instant.
pub(crate) fn catalog_with_promotion_until(until: Timestamp) -> String {
    format!(
        "{CATALOG}\n[promotions.spring]\nwindow = {{ until = {until} }}\ngrants = {{ seats = \"+5\" }}\n"
    )
}

/// The catalog, with five more seats from an instant on.
pub(crate) fn catalog_with_promotion_from(from: Timestamp) -> String {
    format!(
        "{CATALOG}\n[promotions.spring]\nwindow = {{ from = {from} }}\ngrants = {{ seats = \"+5\" }}\n"
    )
}

pub(crate) fn config(data: &Path, admin: &str) -> Config {
    let trust = root().public().to_string();
    Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::new(admin, "sync-key", trust, data) }
}

/// A sidecar that follows a fake admin, and a client that asks it.
pub(crate) struct Pair {
    pub(crate) upstream: Upstream,
    pub(crate) sidecar: Running,
    pub(crate) web: Web,
    pub(crate) folder: tempfile::TempDir,
}

impl Pair {
    /// Ready at revision 1 of a document.
    pub(crate) async fn ready(document: &str) -> Self {
        Self::ready_with(document, |_| {}).await
    }

    pub(crate) async fn ready_with(document: &str, change: impl FnOnce(&mut Config)) -> Self {
        let upstream = Upstream::start(1, document).await;
        let url = upstream.url();
        Self::ready_between(upstream, &url, change).await
    }

    /// Reaches its admin by way of another address.
    pub(crate) async fn ready_between(
        upstream: Upstream,
        admin: &str,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), admin);
        change(&mut config);
        let sidecar = Sidecar::start(config).await.unwrap();
        sidecar.wait_ready(PATIENCE).await.unwrap();
        let web = Web::new(sidecar.addr());
        Self { upstream, sidecar, web, folder }
    }

    /// Waits until a counter has come this far.
    pub(crate) async fn counted(&self, line: &str, least: u64) {
        self.web.counted(line, least).await;
    }
}
