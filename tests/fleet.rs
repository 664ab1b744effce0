//! An admin and several sidecars: what changes arrives everywhere, and can be made to arrive at one
//! instant.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use entitlements_admin::{
    Admin,
    app::{Actor, Command, DraftEdit, Expected, StartsWith},
    workflow::{barrier::Stage, publication::Act, settings::ApprovalSetting},
};
use entitlements_core::{Revision, Timestamp, document::Document};
use entitlements_outbound::{ClientConfig, HttpClient};
use entitlements_sidecar::{Config, Running, Sidecar, State};
use hyper::Request;
use serde_json::json;

const CATALOG: &str = r#"
    [features]
    sso = { kind = "switch" }
    seats = { kind = { limit = { unit = "seat" } } }

    [plans.pro]
    grants = { sso = true, seats = 15 }

    [tenants.acme]
    subscriptions = [{ plan = "pro" }]
"#;

const PATIENCE: Duration = Duration::from_secs(20);

/// An admin with a catalog in force.
struct World {
    folder: tempfile::TempDir,
    admin: entitlements_admin::Running,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = entitlements_admin::Config {
            listen: ([127, 0, 0, 1], 0).into(),
            data: folder.path().join("admin"),
            ..Default::default()
        };
        let admin = Admin::start(config).await.unwrap();
        let world = Self { folder, admin };
        let document = Document::parse("fleet.toml", CATALOG).unwrap();
        let draft = Box::new(document.catalog);
        world.execute(Command::ImportAll { draft, tenants: document.tenants }).await;
        let setting = ApprovalSetting { four_eyes: false, approvals: 1, threshold: u64::MAX };
        world.execute(Command::SetApproval { setting, expected: Expected::Any }).await;
        world
    }

    async fn execute(&self, command: Command) -> entitlements_admin::app::Outcome {
        self.admin.app().execute(&Actor::local("test"), command).await.unwrap()
    }

    fn config(&self, name: &str, admin: &str) -> Config {
        let key = self.admin.first_key().unwrap();
        let folder = self.folder.path().join(name);
        Config {
            listen: ([127, 0, 0, 1], 0).into(),
            name: Some(name.into()),
            ..Config::new(admin, key, self.admin.trust(), folder)
        }
    }

    async fn sidecar(&self, name: &str) -> Running {
        let url = format!("http://{}", self.admin.addr());
        let sidecar = Sidecar::start(self.config(name, &url)).await.unwrap();
        sidecar.wait_revision(self.admin.app().revision(), PATIENCE).await.unwrap();
        sidecar
    }

    /// Sidecars `s0`, `s1` and so on, known to the admin.
    async fn sidecars(&self, count: usize) -> Vec<Running> {
        let mut all = Vec::new();
        for number in 0..count {
            all.push(self.sidecar(&format!("s{number}")).await);
        }
        self.until(|fleet| fleet.members.len() == count).await;
        all
    }

    async fn until(&self, is_so: impl Fn(&entitlements_admin::app::FleetState) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !is_so(&self.admin.app().fleet_state().await.unwrap()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        waited.await.unwrap();
    }

    /// A draft with another number of seats in the plan, ready to be published.
    async fn draft(&self, seats: u64) -> String {
        let (name, description) = ("seats".to_owned(), String::new());
        let starts_with = StartsWith::Nothing;
        let made = self.execute(Command::CreateDraft { name, description, starts_with }).await;
        let id = made.id.unwrap();
        let value = json!({ "grants": { "sso": true, "seats": seats } });
        let object = "plans.pro".parse().unwrap();
        let edit = DraftEdit::Put { object, value, resolves: false };
        self.execute(Command::EditDraft { id: id.clone(), edit, expected: Expected::Any }).await;
        let act = Act::Submit;
        self.execute(Command::ActOnDraft { id: id.clone(), act, expected: Expected::Any }).await;
        id
    }

    /// Starts a barrier and waits until it is over.
    async fn barrier(
        &self,
        draft: String,
        quorum_percent: u8,
        deadline_s: u64,
    ) -> (Revision, Stage) {
        let expected = Expected::Any;
        self.execute(Command::StartBarrier { draft, expected, quorum_percent, deadline_s }).await;
        let over = async {
            loop {
                let state = self.admin.app().barrier().unwrap();
                if state.barrier.stage != (Stage::Preparing {}) {
                    return (state.revision, state.barrier.stage.clone());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, over).await.unwrap()
    }
}

/// Waits until a sidecar serves a revision and calls itself fresh.
async fn is_fresh_at(sidecar: &Running, revision: Revision) {
    sidecar.wait_revision(revision, PATIENCE).await.unwrap();
    let fresh = async {
        while sidecar.state() != State::Fresh {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, fresh).await.unwrap();
}

fn seats(sidecar: &Running) -> String {
    let pin = sidecar.entitlements().pin();
    pin.check("acme", "seats", now()).verdict().to_string()
}

#[expect(clippy::disallowed_methods, reason = "the tests' one clock")]
fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

#[expect(clippy::disallowed_methods, reason = "the tests' one clock")]
fn started() -> Instant {
    Instant::now()
}

/// Watches a sidecar until it answers with another number of seats. Says when.
fn switched(sidecar: &Running, from: &str) -> std::thread::JoinHandle<Timestamp> {
    let (entitlements, from, start) = (sidecar.entitlements(), from.to_owned(), started());
    std::thread::spawn(move || {
        while start.elapsed() < PATIENCE {
            let at = now();
            if entitlements.pin().check("acme", "seats", at).verdict().to_string() != from {
                return at;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Timestamp::MAX
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_barrier_five_sidecars_switch_within_a_hundred_milliseconds() {
    let world = World::start().await;
    let sidecars = world.sidecars(5).await;
    let draft = world.draft(20).await;
    let watched: Vec<_> = sidecars.iter().map(|sidecar| switched(sidecar, "15")).collect();
    let (revision, stage) = world.barrier(draft, 100, 30).await;
    let Stage::Committed { activate_at } = stage else { panic!("{stage:?}") };
    let instants: Vec<Timestamp> = watched.into_iter().map(|it| it.join().unwrap()).collect();
    let (first, last) = (*instants.iter().min().unwrap(), *instants.iter().max().unwrap());
    assert!(first >= activate_at, "{first} is before {activate_at}");
    let spread = last.since(activate_at);
    println!("five sidecars switched within {spread:?} after the instant");
    assert!(spread < Duration::from_millis(100), "{spread:?}");
    for sidecar in &sidecars {
        is_fresh_at(sidecar, revision).await;
        assert_eq!(seats(sidecar), "20");
    }
    // All of them say so, and the watermark with them.
    world.until(|fleet| fleet.tidings.watermark >= Some(revision)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_barrier_and_one_that_rejects_nobody_switches() {
    let world = World::start().await;
    let sidecars = world.sidecars(5).await;
    // Its disk takes no candidate.
    std::fs::create_dir(world.folder.path().join("s3/candidate.tmp")).unwrap();
    let draft = world.draft(20).await;
    let (_, stage) = world.barrier(draft.clone(), 100, 30).await;
    let Stage::Aborted { reason } = stage else { panic!("{stage:?}") };
    assert!(reason.contains("`s3` cannot serve it") && reason.contains("disk"), "{reason}");
    // Whatever comes next reaches all of them, and it is not what was prepared.
    let key = "beta".parse().unwrap();
    let put = Command::PutTenant { key, tenant: Box::default(), expected: Expected::Any };
    let later = world.execute(put).await.revision;
    for sidecar in &sidecars {
        is_fresh_at(sidecar, later).await;
        assert_eq!(seats(sidecar), "15");
    }
    // Once the disk is mended, it works.
    std::fs::remove_dir(world.folder.path().join("s3/candidate.tmp")).unwrap();
    let (revision, stage) = world.barrier(draft, 100, 30).await;
    assert!(matches!(stage, Stage::Committed { .. }), "{stage:?}");
    for sidecar in &sidecars {
        sidecar.wait_revision(revision, PATIENCE).await.unwrap();
        assert_eq!(seats(sidecar), "20");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_sidecar_holds_everybody_up_or_knows_that_it_is_stale() {
    let world = World::start().await;
    let sidecars = world.sidecars(2).await;
    // One that reported and is gone without a word still has its lease.
    let report = serde_json::from_value(json!({
        "sidecar": "gone", "boot": "b", "version": "0", "epoch": 1, "revision": 1,
        "state": "FRESH", "age_ms": 0, "fresh_for_ms": 1_000,
    }));
    let call = entitlements_admin::app::Call::from(&Actor::local("test"));
    world.admin.app().note_status(&call, report.unwrap()).await.unwrap();
    let draft = world.draft(20).await;
    let (_, stage) = world.barrier(draft.clone(), 100, 1).await;
    let Stage::Aborted { reason } = stage else { panic!("{stage:?}") };
    assert!(reason.contains("2 of 3") && reason.contains("`gone`"), "{reason}");
    // A share is enough where one says so.
    let (revision, stage) = world.barrier(draft, 60, 1).await;
    assert!(matches!(stage, Stage::Committed { .. }), "{stage:?}");
    for sidecar in &sidecars {
        sidecar.wait_revision(revision, PATIENCE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_hands_on_what_it_cannot_forge() {
    let world = World::start().await;
    let url = format!("http://{}", world.admin.addr());
    let relay = Config { relay: true, ..world.config("relay", &url) };
    let relay = Sidecar::start(relay).await.unwrap();
    let below = format!("http://{}", relay.addr());
    let sidecar = Sidecar::start(world.config("below", &below)).await.unwrap();
    sidecar.wait_ready(PATIENCE).await.unwrap();
    assert_eq!(seats(&sidecar), "15");
    // The admin knows both, and a barrier reaches both.
    world.until(|fleet| fleet.members.len() == 2).await;
    let (revision, stage) = world.barrier(world.draft(20).await, 100, 30).await;
    let Stage::Committed { activate_at } = stage else { panic!("{stage:?}") };
    assert!(now() < activate_at, "there is time to hand it on");
    for sidecar in [&relay, &sidecar] {
        is_fresh_at(sidecar, revision).await;
        assert_eq!(seats(sidecar), "20");
    }
    // Changes of tenants go the same way.
    for number in 0..5 {
        let key = format!("t{number}").parse().unwrap();
        let put = Command::PutTenant { key, tenant: Box::default(), expected: Expected::Any };
        let revision = world.execute(put).await.revision;
        sidecar.wait_revision(revision, PATIENCE).await.unwrap();
    }
    // A sidecar that starts when the admin is gone gets all of it from the relay.
    let World { folder, admin } = world;
    let (key, trust) = (admin.first_key().unwrap().to_owned(), admin.trust());
    admin.stop().await;
    let late = Config::new(&below, key, trust, folder.path().join("late"));
    let late = Sidecar::start(Config { listen: ([127, 0, 0, 1], 0).into(), ..late }).await.unwrap();
    late.wait_revision(sidecar.entitlements().pin().revision(), PATIENCE).await.unwrap();
    assert_eq!(seats(&late), "20");
    assert!(Path::new(&folder.path().join("late/snapshot.a")).exists());
}

/// Stops the admin, does something to its folder, and starts it again where it was.
async fn meanwhile(world: World, change: impl FnOnce(&entitlements_admin::Config)) -> World {
    let World { folder, admin } = world;
    let (listen, data) = (admin.addr(), folder.path().join("admin"));
    admin.stop().await;
    let config = entitlements_admin::Config { listen, data, ..Default::default() };
    change(&config);
    let admin = Admin::start(config).await.unwrap();
    World { folder, admin }
}

async fn change_a_tenant(world: &World) -> Revision {
    let key = "beta".parse().unwrap();
    let put = Command::PutTenant { key, tenant: Box::default(), expected: Expected::Any };
    world.execute(put).await.revision
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_follow_through_a_change_of_keys() {
    let world = World::start().await;
    let sidecar = world.sidecar("s0").await;
    let world = meanwhile(world, |config| {
        assert_eq!(Admin::rotate_signing_key(config).unwrap(), 2);
    });
    let world = world.await;
    sidecar.wait_revision(change_a_tenant(&world).await, PATIENCE).await.unwrap();
    let world = meanwhile(world, |config| {
        assert_eq!(Admin::retire_signing_key(config).unwrap(), 3);
        assert!(Admin::retire_signing_key(config).is_err(), "there is none left to retire");
    });
    let world = world.await;
    is_fresh_at(&sidecar, change_a_tenant(&world).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_follow_an_admin_that_was_restored_from_an_older_backup() {
    let world = World::start().await;
    let sidecar = world.sidecar("s0").await;
    let copy = world.folder.path().join("backup.db");
    let database = world.folder.path().join("admin/entitlements.db");
    entitlements_admin::store::back_up(&database, &copy).unwrap();
    let draft = world.draft(99).await;
    let (newest, _) = world.barrier(draft, 100, 30).await;
    sidecar.wait_revision(newest, PATIENCE).await.unwrap();
    assert_eq!(seats(&sidecar), "99");
    let world = meanwhile(world, |_| {
        assert_eq!(entitlements_admin::store::restore(&copy, &database, now()).unwrap(), 2);
    });
    let world = world.await;
    assert!(world.admin.app().revision() < newest, "it is the older state");
    let back = async {
        while seats(&sidecar) != "15" || sidecar.state() != State::Fresh {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, back).await.unwrap();
    // It goes on from there.
    sidecar.wait_revision(change_a_tenant(&world).await, PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_and_what_was_denied_is_known_to_the_admin() {
    let world = World::start().await;
    let sinks = world.folder.path().join("sinks.toml");
    let flags = world.folder.path().join("flags.json");
    let text = format!("[sinks.flags]\nkind = \"flagd-file\"\npath = \"{}\"\n", flags.display());
    std::fs::write(&sinks, text).unwrap();
    let url = format!("http://{}", world.admin.addr());
    let config = Config { sinks: Some(sinks), ..world.config("pusher", &url) };
    let sidecar = Sidecar::start(config).await.unwrap();
    sidecar.wait_revision(world.admin.app().revision(), PATIENCE).await.unwrap();
    let client = HttpClient::new(ClientConfig::default()).unwrap();
    let question = json!({ "tenant": "nobody", "feature": "sso" }).to_string();
    for _ in 0..3 {
        let check = Request::post(format!("http://{}/v1/check", sidecar.addr()));
        let answer = client.send(check.body(question.clone()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let actor = Actor::local("test");
    let known = async {
        loop {
            let app = world.admin.app();
            let rows = app.audit_lines(Revision(0), 100).await.unwrap();
            let receipt = rows.iter().any(|row| {
                row.entry.command == "note_receipts" && format!("{row:?}").contains("applied")
            });
            let denied = app.denials(&actor, Timestamp::MIN, String::new(), 10).await.unwrap();
            let counted = denied.iter().any(|row| row.tenant == "nobody" && row.count == 3);
            if receipt && counted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, known).await.unwrap();
    // The sink is where the sidecar is.
    let in_step = world.until(|fleet| {
        let sinks = fleet.members.iter().flat_map(|member| &member.report.sinks);
        sinks.into_iter().any(|sink| sink.state == "in_step")
    });
    in_step.await;
    let sinks = client.send(
        Request::get(format!("http://{}/v1/sinks", sidecar.addr())).body(String::new()).unwrap(),
    );
    let said: serde_json::Value = serde_json::from_slice(sinks.await.unwrap().body()).unwrap();
    assert_eq!(said["sinks"][0]["state"], "in_step", "{said}");
    assert!(flags.is_file());
}
