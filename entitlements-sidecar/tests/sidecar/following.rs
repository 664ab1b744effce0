//! Keeping in step: what is believed, what is not, and what survives.

use std::{fs, path::Path};

use entitlements_core::{
    Revision,
    signed::{Tidings, seal_heartbeat, seal_snapshot},
};
use entitlements_sidecar::{Running, Sidecar, State};
use serde_json::json;

use crate::support::{
    CATALOG, PATIENCE, Pair, Upstream, Web, catalog_with_promotion_until, catalog_with_seats,
    config, now, upstream::World,
};

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1";

async fn restart(folder: &Path, admin: &str) -> (Running, Web) {
    let sidecar = Sidecar::start(config(folder, admin)).await.unwrap();
    let web = Web::new(sidecar.addr());
    (sidecar, web)
}

#[tokio::test]
async fn a_publication_arrives() {
    let pair = Pair::ready(CATALOG).await;
    assert_eq!(pair.web.amount("acme", "seats").await, 15);
    pair.upstream.publish(2, &catalog_with_seats(20));
    pair.sidecar.wait_revision(Revision(2), PATIENCE).await.unwrap();
    let answer = pair.web.post("/v1/check", r#"{"tenant":"acme","feature":"seats"}"#).await;
    assert_eq!(answer.json()["amount"], 20);
    assert_eq!(answer.header("entitlements-revision"), "2");
    assert_eq!(answer.header("entitlements-state"), "FRESH");
    assert!(answer.header("entitlements-age-ms").parse::<u64>().unwrap() < 10_000);
    let handle = pair.sidecar.entitlements();
    assert_eq!(handle.pin().revision(), Revision(2));
    assert_eq!(pair.web.count("entitlements_sidecar_activations_total").await, 2);
    pair.sidecar.stop().await;
}

/// A way to send something that must not be believed, and the cause that is counted for it.
type Misdeed = (&'static str, fn(&mut World), &'static str);

const MISDEEDS: [Misdeed; 11] = [
    (
        "a changed bit",
        |w| {
            let mut envelope = w.snapshot();
            let position = envelope.len() - 9;
            envelope[position] ^= 1;
            w.forged_snapshot = Some(envelope);
        },
        "untrusted",
    ),
    (
        "half of it",
        |w| {
            let envelope = w.snapshot();
            w.forged_snapshot = Some(envelope[..envelope.len() / 2].to_vec());
        },
        "untrusted",
    ),
    (
        "a wrong key",
        |w| {
            let stranger = World { publisher: [9; 32], revision: 9, ..w.clone() };
            w.forged_snapshot = Some(stranger.snapshot());
        },
        "untrusted",
    ),
    (
        "a wrong environment",
        |w| {
            let elsewhere = World { environment: "staging".into(), revision: 9, ..w.clone() };
            w.forged_snapshot = Some(elsewhere.snapshot());
        },
        "untrusted",
    ),
    (
        "an older revision",
        |w| {
            w.forged_snapshot = Some(World { revision: 4, ..w.clone() }.snapshot());
        },
        "rollback",
    ),
    (
        "an older epoch",
        |w| {
            w.forged_snapshot = Some(World { epoch: 0, revision: 99, ..w.clone() }.snapshot());
        },
        "rollback",
    ),
    (
        "the same revision with other content",
        |w| {
            let other = World { epoch: w.epoch, ..World::new(5, &catalog_with_seats(99)) };
            w.forged_snapshot = Some(other.snapshot());
        },
        "equivocation",
    ),
    (
        "signed nonsense",
        |w| {
            let header = World { revision: 6, ..w.clone() }.header();
            let publisher = entitlements_core::signed::SigningKey::from_bytes(w.publisher);
            w.forged_snapshot = Some(seal_snapshot(&publisher, &header, &w.content, b"nonsense"));
        },
        "document",
    ),
    (
        "a stranger's heartbeat",
        |w| {
            w.forged_heartbeat = Some(World { publisher: [9; 32], ..w.clone() }.heartbeat());
        },
        "untrusted",
    ),
    (
        "an older heartbeat",
        |w| {
            w.forged_heartbeat = Some(World { revision: 4, ..w.clone() }.heartbeat());
        },
        "rollback",
    ),
    (
        "a heartbeat for what was never sent",
        |w| {
            let header = World { revision: 6, ..w.clone() }.header();
            let publisher = entitlements_core::signed::SigningKey::from_bytes(w.publisher);
            w.forged_heartbeat =
                Some(seal_heartbeat(&publisher, &header, &w.content, &Tidings::default()));
        },
        "withheld",
    ),
];

#[tokio::test]
async fn what_must_not_be_believed_is_refused_and_changes_nothing() {
    let mut tests = tokio::task::JoinSet::new();
    for misdeed in MISDEEDS {
        tests.spawn(is_refused(misdeed));
    }
    while let Some(done) = tests.join_next().await {
        done.unwrap();
    }
}

async fn is_refused((name, misdeed, cause): Misdeed) {
    let upstream = Upstream::start(5, CATALOG).await;
    let folder = tempfile::tempdir().unwrap();
    let (sidecar, web) = restart(folder.path(), &upstream.url()).await;
    sidecar.wait_revision(Revision(5), PATIENCE).await.unwrap();
    let counter = format!("entitlements_sidecar_refusals_total{{cause=\"{cause}\"}}");
    assert_eq!(web.count(&counter).await, 0, "{name}");

    upstream.change(misdeed);
    web.counted(&counter, 1).await;
    let answer = web.check("acme", "seats").await;
    assert_eq!((&answer["revision"], &answer["amount"]), (&json!(5), &json!(15)), "{name}");
    assert_eq!(web.count("entitlements_sidecar_activations_total").await, 1, "{name}");
    let ready = web.get("/readyz").await.json();
    assert!(ready["last_error"].as_str().unwrap().contains("refused"), "{name}: {ready}");

    upstream.change(|world| {
        (world.forged_snapshot, world.forged_heartbeat) = (None, None);
        world.revision = 7;
        world.holds(7, &catalog_with_seats(30));
    });
    sidecar.wait_revision(Revision(7), PATIENCE).await.unwrap();
    assert_eq!(web.amount("acme", "seats").await, 30, "{name}: it must recover");
    sidecar.stop().await;
}

#[tokio::test]
async fn what_was_refused_is_told_until_something_good_is_heard() {
    let mut world = World::new(5, CATALOG);
    world.forged_snapshot = Some(World { publisher: [9; 32], ..world.clone() }.snapshot());
    world.changes_answered_max = 1;
    let upstream = Upstream::start_as(world).await;
    let folder = tempfile::tempdir().unwrap();
    let (sidecar, web) = restart(folder.path(), &upstream.url()).await;
    // Keys, a forgery, keys again, and then a question that stays open.
    upstream.asked(2).await;
    let ready = web.get("/readyz").await.json();
    assert!(ready["last_error"].as_str().is_some_and(|error| error.contains("refused")), "{ready}");
    sidecar.stop().await;
}

#[tokio::test]
async fn it_starts_from_disk_while_the_admin_is_gone() {
    let pair = Pair::ready(CATALOG).await;
    pair.sidecar.stop().await;
    pair.upstream.kill().await;
    let (sidecar, web) = restart(pair.folder.path(), NOWHERE).await;
    assert_eq!(sidecar.state(), State::Fresh, "it serves before it has asked anybody");
    assert_eq!(web.amount("acme", "seats").await, 15);
    web.counted("entitlements_sidecar_sync_errors_total{cause=\"unreachable\"}", 1).await;
    let ready = web.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.json()["last_error"].as_str().unwrap().contains("cannot reach"));
    sidecar.stop().await;
}

/// The folder of a sidecar that has seen revisions 1 and 2, and where the newer one lies.
async fn two_generations() -> (tempfile::TempDir, std::path::PathBuf, World) {
    let pair = Pair::ready(CATALOG).await;
    let first = pair.upstream.world();
    pair.upstream.publish(2, &catalog_with_seats(20));
    pair.sidecar.wait_revision(Revision(2), PATIENCE).await.unwrap();
    pair.sidecar.stop().await;
    let mark = fs::read_to_string(pair.folder.path().join("mark")).unwrap();
    let slot = if mark.contains("\"slot\":\"a\"") { "snapshot.a" } else { "snapshot.b" };
    let newest = pair.folder.path().join(slot);
    (pair.folder, newest, first)
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_write_leaves_the_old_file() {
    let (folder, newest, _) = two_generations().await;
    let half = fs::read(&newest).unwrap();
    fs::write(folder.path().join("snapshot.a.tmp"), &half[..half.len() / 2]).unwrap();
    fs::write(folder.path().join("mark.tmp"), b"{\"env").unwrap();
    let (sidecar, web) = restart(folder.path(), NOWHERE).await;
    assert_eq!(sidecar.state(), State::Fresh);
    assert_eq!(web.amount("acme", "seats").await, 20);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_damaged_snapshot_falls_back_to_the_one_before_and_says_so() {
    let (folder, newest, first) = two_generations().await;
    let whole = fs::read(&newest).unwrap();
    fs::write(&newest, &whole[..whole.len() - 1]).unwrap();
    // The admin replays what the sidecar has fallen back to: the mark has not been lowered.
    let envelope = World { revision: 1, ..first.clone() }.snapshot();
    let upstream = Upstream::start_as(World { forged_snapshot: Some(envelope), ..first }).await;
    let (sidecar, web) = restart(folder.path(), &upstream.url()).await;
    assert_eq!(sidecar.state(), State::Stale, "damage is not passed over");
    assert_eq!(web.amount("acme", "seats").await, 15);
    assert!(web.count("entitlements_sidecar_refusals_total{cause=\"untrusted\"}").await >= 1);
    web.counted("entitlements_sidecar_refusals_total{cause=\"rollback\"}", 1).await;
    assert_eq!(sidecar.state(), State::Stale);

    upstream.change(|world| world.forged_snapshot = None);
    upstream.publish(2, &catalog_with_seats(20));
    sidecar.wait_revision(Revision(2), PATIENCE).await.unwrap();
    assert_eq!(sidecar.state(), State::Fresh);
    sidecar.stop().await;
}

#[tokio::test]
async fn the_mark_on_disk_is_what_refuses_an_old_one_after_a_restart() {
    for with_mark in [true, false] {
        let (folder, newest, first) = two_generations().await;
        // Both generations are lost; only the mark remembers.
        fs::remove_file(newest.with_extension("a")).unwrap();
        fs::remove_file(newest.with_extension("b")).unwrap();
        if !with_mark {
            fs::remove_file(folder.path().join("mark")).unwrap();
        }
        let upstream = Upstream::start_as(first).await;
        let (sidecar, web) = restart(folder.path(), &upstream.url()).await;
        if with_mark {
            web.counted("entitlements_sidecar_refusals_total{cause=\"rollback\"}", 1).await;
            assert_eq!(sidecar.state(), State::Cold);
        } else {
            sidecar.wait_revision(Revision(1), PATIENCE).await.unwrap();
        }
        sidecar.stop().await;
    }
}

#[tokio::test]
async fn heartbeats_keep_it_fresh() {
    let pair = Pair::ready_with(CATALOG, |config| config.poll_wait_s = 1).await;
    pair.counted("entitlements_sidecar_confirmations_total", 2).await;
    assert_eq!(pair.web.count("entitlements_sidecar_activations_total").await, 1);
    assert!(pair.web.get("/readyz").await.json()["age_ms"].as_u64().unwrap() < 2_000);
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn an_expired_snapshot_follows_each_features_word() {
    let pair = Pair::ready_with(CATALOG, |config| config.poll_wait_s = 1).await;
    pair.upstream.change(|world| {
        world.max_age_s = Some(1);
        world.revision = 2;
        world.holds(2, CATALOG);
    });
    pair.sidecar.wait_revision(Revision(2), PATIENCE).await.unwrap();
    pair.upstream.change(|world| world.silent = true);
    let ready = pair.web.state("EXPIRED").await;
    assert_eq!(ready["ready"], false);
    assert_eq!(pair.web.get("/readyz").await.status, 503);

    let vault = pair.web.check("acme", "vault").await;
    assert_eq!((&vault["allowed"], &vault["reason"]), (&json!(false), &json!("stale")));
    assert_eq!(vault["state"], "EXPIRED");
    let portal = pair.web.check("acme", "portal").await;
    assert_eq!((&portal["allowed"], &portal["reason"]), (&json!(true), &json!("stale")));
    let seats = pair.web.check("acme", "seats").await;
    assert_eq!((&seats["amount"], &seats["reason"]), (&json!(15), &json!("plan")));
    let body = r#"{"context":{"targetingKey":"acme"}}"#;
    let flag = pair.web.post("/ofrep/v1/evaluate/flags/vault", body).await.json();
    assert_eq!((&flag["value"], &flag["metadata"]["stale"]), (&json!(false), &json!(true)));

    pair.upstream.change(|world| (world.silent, world.max_age_s) = (false, Some(300)));
    pair.web.state("FRESH").await;
    assert_eq!(pair.web.check("acme", "vault").await["allowed"], true);
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn new_publisher_keys_are_fetched_when_an_unknown_one_signs() {
    let pair = Pair::ready(CATALOG).await;
    pair.upstream.change(|world| {
        world.publisher = [3; 32];
        world.keys_version = 2;
        world.revision = 2;
        world.holds(2, &catalog_with_seats(20));
    });
    pair.sidecar.wait_revision(Revision(2), PATIENCE).await.unwrap();
    assert_eq!(
        pair.web.count("entitlements_sidecar_refusals_total{cause=\"untrusted\"}").await,
        1,
        "without the new keys it was refused"
    );
    pair.sidecar.stop().await;
}

#[tokio::test]
async fn an_admin_restored_from_a_backup_starts_again_in_a_higher_epoch() {
    let upstream = Upstream::start(50, CATALOG).await;
    let folder = tempfile::tempdir().unwrap();
    let (sidecar, web) = restart(folder.path(), &upstream.url()).await;
    sidecar.wait_revision(Revision(50), PATIENCE).await.unwrap();
    upstream.change(|world| {
        world.epoch = 2;
        world.revision = 40;
        world.holds(40, &catalog_with_seats(7));
    });
    web.counted("entitlements_sidecar_activations_total", 2).await;
    assert_eq!(web.amount("acme", "seats").await, 7);
    assert_eq!(web.get("/readyz").await.json()["epoch"], 2);
    sidecar.stop().await;
}

#[tokio::test]
async fn without_any_snapshot_it_says_so_and_does_not_guess() {
    let upstream = Upstream::start(1, CATALOG).await;
    upstream.change(|world| world.silent = true);
    let folder = tempfile::tempdir().unwrap();
    let (sidecar, web) = restart(folder.path(), &upstream.url()).await;
    let body = r#"{"tenant":"acme","feature":"sso"}"#;
    for answer in [
        web.post("/v1/check", body).await,
        web.post("/v1/explain", body).await,
        web.post("/v1/check/batch", &format!("{{\"checks\":[{body}]}}")).await,
        web.get("/v1/tenants/acme/entitlements").await,
    ] {
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json()["type"], "urn:entitlements:problem:cold");
    }
    for path in ["/ofrep/v1/evaluate/flags/sso", "/ofrep/v1/evaluate/flags"] {
        let answer = web.post(path, r#"{"context":{"targetingKey":"acme"}}"#).await;
        assert_eq!(answer.status, 503);
        assert!(answer.json()["errorDetails"].is_string());
    }
    assert_eq!(web.get("/healthz").await.status, 200);
    let ready = web.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["state"]), (503, &json!("COLD")));
    assert_eq!(ready.header("entitlements-state"), "COLD");

    // Whoever listens already is told as soon as there is something to ask for.
    let mut events = web.events("acme").await;
    upstream.change(|world| world.silent = false);
    assert_eq!(events.next().await["type"], "refetchEvaluation");
    assert_eq!(web.amount("acme", "seats").await, 15);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_bring_back_an_ended_promotion() {
    let minutes = |minutes: u64| std::time::Duration::from_secs(60 * minutes);
    let until = now().plus(minutes(30));
    let pair = Pair::ready(&catalog_with_promotion_until(until)).await;
    assert_eq!(pair.web.amount("acme", "seats").await, 20);
    pair.sidecar.stop().await;
    // As if the last run had ended in an hour from now, and the clock had then been set back.
    let path = pair.folder.path().join("mark");
    let text = fs::read_to_string(&path).unwrap();
    let mut mark: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    mark["floor"] = json!(now().plus(minutes(60)).as_micros());
    let line = mark.to_string();
    fs::write(&path, format!("{line}\n{}\n", blake3::hash(line.as_bytes()))).unwrap();
    let (sidecar, web) = restart(pair.folder.path(), NOWHERE).await;
    assert_eq!(web.amount("acme", "seats").await, 15);
    sidecar.stop().await;
}

#[tokio::test]
async fn a_folder_of_another_root_or_of_another_sidecar_is_not_touched() {
    let pair = Pair::ready(CATALOG).await;
    let error = Sidecar::start(config(pair.folder.path(), NOWHERE)).await.unwrap_err().to_string();
    assert!(error.contains("another sidecar is using it"), "{error}");
    pair.sidecar.stop().await;
    let mut other = config(pair.folder.path(), NOWHERE);
    other.environment = "staging".into();
    let error = Sidecar::start(other).await.unwrap_err().to_string();
    assert!(error.contains("environment `default`") && error.contains("--data"), "{error}");
}
