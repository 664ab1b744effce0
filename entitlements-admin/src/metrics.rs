//! The figures that `/metrics` shows.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: String,
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Commit {
    command: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    outcome: &'static str,
}

/// Every figure, once.
pub(crate) struct Metrics {
    registry: Registry,
    revision: Gauge<u64, AtomicU64>,
    tenants: Gauge<u64, AtomicU64>,
    snapshot_bytes: Gauge<u64, AtomicU64>,
    waiting: Gauge,
    commits: Family<Commit, Counter>,
    requests: Family<Request, Counter>,
    attempts: Family<Attempt, Counter>,
    owed: Gauge<u64, AtomicU64>,
    owed_age_s: Gauge<u64, AtomicU64>,
    dead: Gauge<u64, AtomicU64>,
}

/// One that waits. It counts until it is dropped.
pub(crate) struct Waiting(Gauge);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("entitlements_admin"),
            revision: Gauge::default(),
            tenants: Gauge::default(),
            snapshot_bytes: Gauge::default(),
            waiting: Gauge::default(),
            commits: Family::default(),
            requests: Family::default(),
            attempts: Family::default(),
            owed: Gauge::default(),
            owed_age_s: Gauge::default(),
            dead: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("revision", "The last commit", metrics.revision.clone());
        registry.register("tenants", "Tenants in the live snapshot", metrics.tenants.clone());
        let text = "Size of the snapshot document that was published last";
        registry.register("snapshot_bytes", text, metrics.snapshot_bytes.clone());
        let text = "Long polls that wait for a commit";
        registry.register("sync_waiting", text, metrics.waiting.clone());
        registry.register("commits", "Commits by command", metrics.commits.clone());
        let text = "Answered requests by route and status";
        registry.register("http_requests", text, metrics.requests.clone());
        let text = "Attempts to send a message, by what came of them";
        registry.register("delivery_attempts", text, metrics.attempts.clone());
        let text = "Messages that are owed";
        registry.register("deliveries_owed", text, metrics.owed.clone());
        let text = "Seconds since the oldest message that is owed was due";
        registry.register("deliveries_owed_age_seconds", text, metrics.owed_age_s.clone());
        let text = "Messages that were given up";
        registry.register("deliveries_dead", text, metrics.dead.clone());
        metrics
    }

    /// Counts an attempt.
    pub(crate) fn attempted(&self, outcome: &'static str) {
        self.attempts.get_or_create(&Attempt { outcome }).inc();
    }

    /// How much is owed, since how many seconds, and how much was given up.
    pub(crate) fn owes(&self, owed: u64, age_s: u64, dead: u64) {
        self.owed.set(owed);
        self.owed_age_s.set(age_s);
        self.dead.set(dead);
    }

    pub(crate) fn committed(&self, command: &'static str) {
        self.commits.get_or_create(&Commit { command }).inc();
    }

    pub(crate) fn encoded(&self, bytes: usize) {
        self.snapshot_bytes.set(bytes as u64);
    }

    /// Counts somebody as waiting.
    pub(crate) fn waiting(&self) -> Waiting {
        self.waiting.inc();
        Waiting(self.waiting.clone())
    }

    pub(crate) fn answered(&self, method: String, route: &'static str, status: u16) {
        self.requests.get_or_create(&Request { method, route, status }).inc();
    }

    /// All of it in the text format of Prometheus.
    pub(crate) fn text(&self, revision: u64, tenants: usize) -> Result<String, std::fmt::Error> {
        self.revision.set(revision);
        self.tenants.set(tenants as u64);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
