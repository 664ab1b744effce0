//! What a sidecar relies on.

use std::time::Duration;

use entitlements_admin::workflow::Scope;
use entitlements_core::{
    Timestamp,
    signed::{Basis, Hash, PublicKey, Trust, Verified, VerifiedDelta, VerifiedSnapshot, unbundle},
};

use crate::support::{ACME, Answer, Client, World};

/// What a sidecar makes of the data folder's `trust.pub` and the keys that are served.
async fn trust(world: &World, client: &Client) -> Trust {
    let text = std::fs::read_to_string(world.folder.path().join("trust.pub")).unwrap();
    let root: PublicKey = text.trim().parse().unwrap();
    assert_eq!(root.to_string(), world.running.trust());
    let mut trust = Trust::new(root, "default");
    let keys = client.get("/sync/v1/keys").await;
    assert_eq!((keys.status, keys.header("content-type")), (200, "application/octet-stream"));
    trust.accept_keys(&keys.body).unwrap();
    trust
}

fn tag(answer: &Answer) -> String {
    answer.header("etag").trim_matches('"').to_owned()
}

/// The one envelope of an answer, verified.
fn told(trust: &Trust, answer: &Answer) -> Verified {
    let envelopes = unbundle(&answer.body).unwrap();
    assert_eq!(envelopes.len(), 1);
    trust.verify(envelopes[0]).unwrap()
}

fn whole(trust: &Trust, answer: &Answer) -> VerifiedSnapshot {
    match told(trust, answer) {
        Verified::Snapshot(snapshot) => snapshot,
        other => panic!("{other:?}"),
    }
}

fn delta(trust: &Trust, answer: &Answer) -> VerifiedDelta {
    match told(trust, answer) {
        Verified::Delta(delta) => delta,
        other => panic!("{other:?}"),
    }
}

fn now() -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000)
}

#[tokio::test]
async fn a_snapshot_verifies_and_answers_as_the_admin_does() {
    let world = World::with_acme().await;
    let sidecar = world.client(Scope::Sync).await;
    let trust = trust(&world, &sidecar).await;
    let answer = sidecar.get("/sync/v1/snapshot").await;
    assert_eq!(answer.status, 200);
    let verified = whole(&trust, &answer);
    let header = verified.header();
    assert_eq!(tag(&answer), verified.basis().to_string());
    assert_eq!((header.epoch, header.environment.as_str()), (1, "default"));
    assert_eq!((header.revision, header.max_age_s), (world.running.app().revision(), Some(300)));
    let snapshot = verified.decode(now()).unwrap();
    let seats = snapshot.check("acme", "seats", now());
    assert_eq!(seats.verdict().to_string(), "20");
    assert_eq!(seats.revision(), world.running.app().revision());

    let again = [("if-none-match", answer.header("etag"))];
    let unchanged = sidecar.send("GET", "/sync/v1/snapshot", &again, "").await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
}

#[tokio::test]
async fn an_envelope_of_another_control_plane_is_not_trusted() {
    let (world, other) = (World::with_acme().await, World::with_acme().await);
    let trust = trust(&world, &world.admin).await;
    let theirs = other.admin.get("/sync/v1/snapshot").await;
    assert!(trust.verify(unbundle(&theirs.body).unwrap()[0]).is_err());
}

#[tokio::test]
async fn a_long_poll_returns_at_a_commit() {
    let world = World::with_acme().await;
    let sidecar = world.client(Scope::Sync).await;
    let trust = trust(&world, &sidecar).await;
    let first = sidecar.get("/sync/v1/snapshot").await;
    let (basis, base) = (tag(&first), whole(&trust, &first).decode(now()).unwrap());
    let poll = tokio::spawn(async move {
        sidecar.get(&format!("/sync/v1/changes?basis={basis}&wait=60")).await
    });
    world.polls_wait(1).await;
    assert!(!poll.is_finished());
    let committed = world.admin.put("/v1/tenants/beta", ACME).await.revision();
    let answer = poll.await.unwrap();
    assert_eq!((answer.status, answer.header("entitlements-intent")), (200, "delta"));
    assert_eq!(answer.revision(), committed);
    let snapshot = delta(&trust, &answer).apply(&base, now()).unwrap();
    assert!(snapshot.check("beta", "sso", now()).is_allowed());
    world.polls_wait(0).await;
}

#[tokio::test]
async fn without_a_commit_a_heartbeat_says_so() {
    let world = World::with_acme().await;
    let trust = trust(&world, &world.admin).await;
    let first = world.admin.get("/sync/v1/snapshot").await;
    let verified = whole(&trust, &first);
    for wait in [0, 1] {
        let path = format!("/sync/v1/changes?basis={}&wait={wait}", tag(&first));
        let started = tokio::time::Instant::now();
        let answer = world.admin.get(&path).await;
        assert!(started.elapsed() >= Duration::from_secs(wait));
        assert_eq!((answer.status, answer.header("entitlements-intent")), (200, "none"));
        let Verified::Heartbeat(beat) = told(&trust, &answer) else { panic!() };
        assert_eq!(beat.basis(), verified.basis());
        assert!(beat.header.issued_at > verified.header().issued_at);
    }
}

#[tokio::test]
async fn a_basis_that_is_not_known_gets_all_of_it_at_once() {
    let world = World::with_acme().await;
    let current = tag(&world.admin.get("/sync/v1/snapshot").await);
    let (head, hash) = current.rsplit_once('.').unwrap();
    let other_hash = format!("{head}.{}", Hash::of(b"other"));
    let other_epoch = format!("2.{}", current.split_once('.').unwrap().1);
    let newer = format!("1.999.{hash}");
    for basis in ["", &other_hash, &other_epoch, &newer] {
        let answer = world.admin.get(&format!("/sync/v1/changes?basis={basis}&wait=60")).await;
        assert_eq!(answer.header("entitlements-intent"), "full", "{basis}");
        assert_eq!(tag(&answer), current);
    }
    let missing = world.admin.get("/sync/v1/changes").await;
    assert_eq!(missing.header("entitlements-intent"), "full");
    for bad in ["basis=nonsense", "wait=61", "wait=x", "other=1"] {
        let answer = world.admin.get(&format!("/sync/v1/changes?{bad}")).await;
        answer.is_problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_restart_publishes_the_same_bytes_under_the_same_key() {
    let world = World::with_acme().await;
    // A history that a compile from the store does not have: changes, a removal, a new catalog.
    for tenant in ["zeta", "beta", "gone"] {
        world.admin.put(&format!("/v1/tenants/{tenant}"), ACME).await;
    }
    world.admin.delete("/v1/tenants/gone").await;
    world
        .admin
        .put("/v1/tenants/beta", r#"{"name":"Beta","subscriptions":[{"plan":"basic"}]}"#)
        .await;
    let catalog = world.admin.get("/v1/catalog").await.text();
    world.admin.without_approval().await;
    assert_eq!(world.admin.put("/v1/catalog", &catalog).await.status, 200);
    let (before, root) = (tag(&world.admin.get("/sync/v1/snapshot").await), world.running.trust());
    let world = world.restarted().await;
    assert_eq!(world.running.first_key(), None);
    assert_eq!(world.running.trust(), root);
    assert_eq!(tag(&world.admin.get("/sync/v1/snapshot").await), before);
    trust(&world, &world.admin).await;
}

#[tokio::test]
async fn what_changed_since_any_basis_leads_to_what_is_current() {
    let world = World::with_acme().await;
    let trust = trust(&world, &world.admin).await;
    let mut seen = Vec::new();
    for step in 0..4 {
        let first = world.admin.get("/sync/v1/snapshot").await;
        seen.push((tag(&first), whole(&trust, &first).decode(now()).unwrap()));
        let tenant = format!("/v1/tenants/t{step}");
        world.admin.put(&tenant, ACME).await;
        if step % 2 == 1 {
            world.admin.delete(&tenant).await;
        }
        if step == 2 {
            let catalog = world.admin.get("/v1/catalog").await.text().replace("20", "30");
            world.admin.without_approval().await;
            assert_eq!(world.admin.put("/v1/catalog", &catalog).await.status, 200);
        }
    }
    // What led there is on disk, so a restart makes no difference.
    let world = world.restarted().await;
    let current: Basis = tag(&world.admin.get("/sync/v1/snapshot").await).parse().unwrap();
    for (basis, base) in seen {
        let answer = world.admin.get(&format!("/sync/v1/changes?basis={basis}")).await;
        assert_eq!(answer.header("entitlements-intent"), "delta");
        let delta = delta(&trust, &answer);
        let next = delta.apply(&base, now()).unwrap();
        assert_eq!((delta.basis(), next.content_hash()), (current, current.hash));
    }
}

#[tokio::test]
async fn a_basis_with_a_wrong_hash_gets_a_change_that_does_not_fit() {
    let world = World::with_acme().await;
    let trust = trust(&world, &world.admin).await;
    let first = world.admin.get("/sync/v1/snapshot").await;
    let base = whole(&trust, &first).decode(now()).unwrap();
    world.admin.put("/v1/tenants/beta", ACME).await;
    let current = tag(&first);
    let wrong = format!("{}.{}", current.rsplit_once('.').unwrap().0, Hash::of(b"other"));
    let answer = world.admin.get(&format!("/sync/v1/changes?basis={wrong}")).await;
    assert!(delta(&trust, &answer).apply(&base, now()).is_err());
}

#[tokio::test]
async fn a_snapshot_is_packed_for_those_who_can_unpack_it() {
    use std::io::Read;
    let world = World::with_acme().await;
    let plain = world.admin.get("/sync/v1/snapshot").await;
    let packed =
        world.admin.send("GET", "/sync/v1/snapshot", &[("accept-encoding", "gzip")], "").await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    assert!(packed.body.len() < plain.body.len());
}
