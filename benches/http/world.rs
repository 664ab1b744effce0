//! The demo's clinics behind a real admin, and the questions about them.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use entitlements_admin::{
    Admin, Config, Running,
    app::{Actor, Command},
};
use entitlements_core::{
    Catalog, FeatureKey, PlanKey, Revision, Snapshot, Subscription, Tenant, TenantKey, Timestamp,
    Window, document::Document,
};

use super::{
    SERVER_CORE, demo,
    load::{Request, now, post},
    server::{Server, on_core},
};

const TENANTS: usize = 2_000;
const QUESTIONS: usize = 500;

pub(crate) struct World {
    folder: tempfile::TempDir,
    admin: Running,
    pub(crate) tenants: usize,
    pub(crate) features: Vec<FeatureKey>,
    /// Which plans give a feature: what other engines are told.
    pub(crate) plans: BTreeMap<FeatureKey, Vec<PlanKey>>,
    asked: Vec<(TenantKey, Option<PlanKey>)>,
}

impl World {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listen = ([127, 0, 0, 1], 0).into();
        let config = Config { listen, data: folder.path().join("admin"), ..Default::default() };
        let admin = Admin::start(config).await.unwrap();
        let text = include_str!("../../examples/demo/clinic.toml");
        let document = Document::parse("clinic.toml", text).unwrap();
        let catalog = document.clone().check().unwrap();
        let features: Vec<FeatureKey> = catalog.draft().features.keys().cloned().collect();
        let tenants: BTreeMap<_, _> = demo::tenants(TENANTS, admin.app().now()).collect();
        let plan = |tenant: &entitlements_core::Tenant| {
            tenant.subscriptions.first().map(|subscription| subscription.plan.clone())
        };
        let asked = tenants.iter().map(|(key, tenant)| (key.clone(), plan(tenant))).collect();
        let plans = by_plan(&features, catalog);
        let draft = Box::new(document.catalog);
        let import = Command::ImportAll { draft, tenants };
        admin.app().execute(&Actor::local("bench"), import).await.unwrap();
        Self { folder, admin, tenants: TENANTS, features, plans, asked }
    }

    /// The sidecar as people run it.
    pub(crate) fn sidecar(&self) -> Server {
        self.sidecar_of(&format!("http://{}", self.admin.addr()))
    }

    fn sidecar_of(&self, admin: &str) -> Server {
        let program = release("entitlements-sidecar");
        let mut command = on_core(SERVER_CORE, &program);
        command.args(["--listen", "127.0.0.1:0", "--admin", admin]);
        command.args(["--key", self.admin.first_key().unwrap()]);
        command.args(["--trust", &self.admin.trust()]);
        command.arg("--data").arg(self.folder.path().join("sidecar"));
        Server::announced(&mut command)
    }

    /// Starts a sidecar that has a snapshot and no admin, so often, and says how long each took from
    /// the start of its process to its first answer.
    pub(crate) async fn first_answers(&self, count: usize) -> Vec<Duration> {
        let question = self.single().remove(0);
        let fresh = self.sidecar();
        let taken = async {
            while !std::fs::exists(self.folder.path().join("sidecar/snapshot.a")).unwrap() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), taken).await.unwrap();
        fresh.until_it_answers(&question).await;
        drop(fresh);
        let mut took = Vec::new();
        for _ in 0..count {
            let start = now();
            let sidecar = self.sidecar_of("http://127.0.0.1:9");
            sidecar.until_it_answers(&question).await;
            took.push(start.elapsed());
        }
        took.sort();
        took
    }

    /// Tenants and features in an order that repeats neither soon.
    pub(crate) fn questions(
        &self,
    ) -> impl Iterator<Item = (&TenantKey, Option<&PlanKey>, &FeatureKey)> {
        (0..QUESTIONS).map(|number| {
            let (tenant, plan) = &self.asked[number * 37 % self.asked.len()];
            (tenant, plan.as_ref(), &self.features[number % self.features.len()])
        })
    }

    pub(crate) fn single(&self) -> Vec<Request> {
        let ask = |(tenant, _, feature): (&TenantKey, _, &FeatureKey)| {
            let body = format!(r#"{{"context":{{"targetingKey":"{tenant}"}}}}"#);
            post(&format!("/ofrep/v1/evaluate/flags/{feature}"), &body)
        };
        self.questions().map(ask).collect()
    }

    pub(crate) fn bulk(&self) -> Vec<Request> {
        let ask = |(tenant, ..): (&TenantKey, Option<&PlanKey>, &FeatureKey)| {
            let body = format!(r#"{{"context":{{"targetingKey":"{tenant}"}}}}"#);
            post("/ofrep/v1/evaluate/flags", &body)
        };
        self.questions().map(ask).collect()
    }

    pub(crate) fn check(&self) -> Vec<Request> {
        self.bodies().map(|body| post("/v1/check", &body)).collect()
    }

    pub(crate) fn batch(&self) -> Vec<Request> {
        let bodies: Vec<String> = self.bodies().collect();
        let some = bodies.chunks(100).map(|some| some.join(","));
        some.map(|some| post("/v1/check/batch", &format!(r#"{{"checks":[{some}]}}"#))).collect()
    }

    fn bodies(&self) -> impl Iterator<Item = String> {
        self.questions()
            .map(|(tenant, _, feature)| format!(r#"{{"tenant":"{tenant}","feature":"{feature}"}}"#))
    }

    pub(crate) async fn stop(self) {
        self.admin.stop().await;
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}

/// Which plans give a feature to a tenant that has nothing else.
fn by_plan(features: &[FeatureKey], catalog: Catalog) -> BTreeMap<FeatureKey, Vec<PlanKey>> {
    let now = Timestamp::from_micros(1_781_524_800_000_000);
    let plans: Vec<PlanKey> = catalog.draft().plans.keys().cloned().collect();
    let only = plans.iter().map(|plan| {
        let subscription =
            Subscription { plan: plan.clone(), window: Window::default(), trial: false };
        let tenant = Tenant { subscriptions: vec![subscription], ..Default::default() };
        (plan.as_str().parse::<TenantKey>().unwrap(), tenant)
    });
    let tenants: Vec<_> = only.collect();
    let pairs = tenants.iter().map(|(key, tenant)| (key, tenant));
    let snapshot = Snapshot::compile(Revision(1), Arc::new(catalog), pairs, now);
    let giving = |feature: &FeatureKey| {
        let gives =
            |plan: &&PlanKey| snapshot.check(plan.as_str(), feature.as_str(), now).is_allowed();
        plans.iter().filter(gives).cloned().collect()
    };
    features.iter().map(|feature| (feature.clone(), giving(feature))).collect()
}

/// A program of this workspace as it is released.
fn release(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let program = here.ancestors().nth(2).unwrap().join(name);
    assert!(program.is_file(), "build it first: cargo build --release -p {name}");
    program
}
