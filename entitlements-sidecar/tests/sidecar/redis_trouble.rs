//! Pushes to Redis that are cut short, and several sidecars that push to one.
//!
//! The sidecars look only once an hour whether all is well, so that no repair hides what is wrong.

use std::collections::BTreeMap;

use entitlements_core::Revision;
use redis::{Commands, Connection};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{
    redis::{amount, pushing, read, until, until_sink},
    support::{CATALOG, PATIENCE, Pair, catalog_with_seats, redis_server::RedisServer},
};

const NO_CHECKS: &str = "check_every_s = 3600";
const SWITCH: &str = "ent:default:s1:{g}:rev";

/// Everything may be read, and tenants' keys may be written: a push comes as far as its last step.
fn forbid_the_switch(redis: &mut Connection) {
    let rule = ["resetkeys", "%R~*", "~ent:default:s1:{acme}:*", "~ent:default:s1:{tiny}:*"];
    let _: () = redis::cmd("ACL").arg("SETUSER").arg("default").arg(&rule).query(redis).unwrap();
}

fn allow_all(redis: &mut Connection) {
    let rule = ["resetkeys", "~*"];
    let _: () = redis::cmd("ACL").arg("SETUSER").arg("default").arg(&rule).query(redis).unwrap();
}

/// A sidecar of which readers have the first revision, and whose push of the second one failed before
/// it counted.
async fn cut_short(server: &RedisServer, redis: &mut Connection) -> (Pair, NamedTempFile) {
    let (pair, file) = pushing(CATALOG, &server.url(), NO_CHECKS).await;
    until(|| amount(redis, "acme") == Some(15)).await;
    forbid_the_switch(redis);
    pair.upstream.publish(2, &catalog_with_seats(50));
    until_sink(&pair, |sink| sink["state"] == "failing").await;
    (pair, file)
}

/// For each key of a tenant: for how many seconds it stays; -1 is for good.
fn stays(redis: &mut Connection, tenant: &str) -> BTreeMap<String, i64> {
    let keys: Vec<String> = redis.keys(format!("ent:default:s1:{{{tenant}}}:*")).unwrap();
    keys.into_iter().map(|key| (key.clone(), redis.ttl(&key).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_prepared_by_a_push_that_failed_stays_when_the_next_one_works() {
    let Some(server) = RedisServer::start("redis: cut short") else { return };
    let mut redis = server.connect().unwrap();
    let (pair, _file) = cut_short(&server, &mut redis).await;
    assert_eq!(amount(&mut redis, "acme"), Some(15), "it does not count yet");
    allow_all(&mut redis);
    until_sink(&pair, |sink| sink["state"] == "in_step").await;
    assert_eq!(amount(&mut redis, "acme"), Some(50));
    let counts: String = redis.get(SWITCH).unwrap();
    for (key, ttl) in stays(&mut redis, "acme") {
        if key.ends_with(&counts) || key.ends_with(":cur") {
            assert_eq!(ttl, -1, "{key} is what readers look for");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_counted_is_never_read() {
    let Some(server) = RedisServer::start("redis: never counted") else { return };
    let mut redis = server.connect().unwrap();
    let (pair, _file) = cut_short(&server, &mut redis).await;
    // It is taken back before it ever counted.
    pair.upstream.publish(3, CATALOG);
    pair.sidecar.wait_revision(Revision(3), PATIENCE).await.unwrap();
    allow_all(&mut redis);
    until_sink(&pair, |sink| sink["applied"] == 3).await;
    assert_eq!(amount(&mut redis, "acme"), Some(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_went_while_nobody_looked_is_gone() {
    let Some(server) = RedisServer::start("redis: gone meanwhile") else { return };
    let (pair, _file) = pushing(CATALOG, &server.url(), NO_CHECKS).await;
    let mut redis = server.connect().unwrap();
    until(|| read(&mut redis, "tiny").is_some()).await;
    pair.sidecar.stop().await;
    let without = CATALOG.replace("[tenants.tiny]", "[tenants.other]");
    let (pair, _other) = pushing(&without, &server.url(), NO_CHECKS).await;
    until_sink(&pair, |sink| sink["state"] == "in_step").await;
    assert!(read(&mut redis, "other").is_some());
    assert_eq!(read(&mut redis, "tiny"), None);
    let left = stays(&mut redis, "tiny");
    assert!(left.values().all(|ttl| (0..=30).contains(ttl)), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_was_behind_writes_over_what_it_did_not_know_of() {
    let Some(server) = RedisServer::start("redis: two writers") else { return };
    let (ahead, _one) = pushing(CATALOG, &server.url(), NO_CHECKS).await;
    ahead.upstream.publish(5, &catalog_with_seats(50));
    let mut redis = server.connect().unwrap();
    until(|| amount(&mut redis, "acme") == Some(50)).await;
    let (behind, _two) = pushing(CATALOG, &server.url(), NO_CHECKS).await;
    until_sink(&behind, |sink| sink["state"] != "behind").await;
    assert_eq!(amount(&mut redis, "acme"), Some(50));
    ahead.sidecar.stop().await;
    // What the other one never had differs in nothing from what it has.
    behind.upstream.publish(6, CATALOG);
    until_sink(&behind, |sink| sink["applied"] == 6).await;
    assert_eq!(amount(&mut redis, "acme"), Some(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_says_nonsense_is_repaired() {
    let Some(server) = RedisServer::start("redis: nonsense") else { return };
    let (pair, _file) = pushing(CATALOG, &server.url(), "check_every_s = 1").await;
    let mut redis = server.connect().unwrap();
    until(|| amount(&mut redis, "acme") == Some(15)).await;
    let _: () = redis.set(SWITCH, "zzz").unwrap();
    until(|| redis.get::<_, String>(SWITCH).unwrap() != "zzz").await;
    until_sink(&pair, |sink| sink["state"] == "in_step").await;
    assert_eq!(amount(&mut redis, "acme"), Some(15));
}

/// Two sidecars hear of revisions in any order, some of them of some only, and push at the same
/// time. Whenever both call themselves in step, readers find what the last revision says.
#[tokio::test(flavor = "multi_thread")]
async fn two_that_push_at_the_same_time_end_with_the_same() {
    let Some(server) = RedisServer::start("redis: a race") else { return };
    let (one, _one) = pushing(CATALOG, &server.url(), NO_CHECKS).await;
    let (other, _other) = pushing(CATALOG, &server.url(), NO_CHECKS).await;
    let mut redis = server.connect().unwrap();
    let (mut state, mut counts) = (11_u64, [0; 3]);
    for revision in 2..=60 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let seats = [15, 20, 50][(state >> 33) as usize % 3];
        let missed_by = (state >> 40) % 4;
        let document = catalog_with_seats(seats);
        if revision == 60 || missed_by != 0 {
            one.upstream.publish(revision, &document);
        }
        if revision == 60 || missed_by != 1 {
            other.upstream.publish(revision, &document);
        }
        if revision % 3 != 0 || missed_by < 2 {
            continue;
        }
        for pair in [&one, &other] {
            let is_there = |sink: &Value| sink["applied"] == revision && sink["state"] == "in_step";
            until_sink(pair, is_there).await;
        }
        assert_eq!(amount(&mut redis, "acme"), Some(seats), "revision {revision}");
        counts[(state >> 33) as usize % 3] += 1;
    }
    println!("{counts:?} times as expected, for each number of seats");
    for pair in [&one, &other] {
        let sink = until_sink(pair, |sink| sink["applied"] == 60).await;
        assert_eq!(sink["outcomes"]["drifted"], 0, "{sink}");
    }
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}
