//! Tenant caches in a real Redis: no reader sees a torn state, and what is lost is repaired.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use entitlements_core::Revision;
use redis::{Commands, Connection, ConnectionLike};
use serde_json::Value;

use crate::support::{
    CATALOG, PATIENCE, Pair, catalog_with_promotion_until, catalog_with_seats, now,
    redis_server::RedisServer,
};

/// A sidecar that pushes to a Redis, and the file that says so.
pub(crate) async fn pushing(
    document: &str,
    url: &str,
    more: &str,
) -> (Pair, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("[sinks.cache]\nkind = \"redis\"\nurl = \"{url}\"\n{more}\n");
    std::fs::write(&file, text).unwrap();
    let path = file.path().to_owned();
    let pair = Pair::ready_with(document, |config| config.sinks = Some(path)).await;
    (pair, file)
}

pub(crate) async fn until_sink(pair: &Pair, is_so: impl Fn(&Value) -> bool) -> Value {
    let waited = async {
        loop {
            let sink = pair.web.get("/v1/sinks").await.json()["sinks"][0].clone();
            if is_so(&sink) {
                return sink;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap()
}

/// What a reader makes of the cache, by the rule that stands in `examples/redis-reader`.
pub(crate) fn read(
    redis: &mut impl ConnectionLike,
    tenant: &str,
) -> Option<BTreeMap<String, String>> {
    for _ in 0..5 {
        let counts: Option<String> = redis.get("ent:default:s1:{g}:rev").unwrap();
        let key = format!("ent:default:s1:{{{tenant}}}");
        let pointer: Option<String> = redis.get(format!("{key}:cur")).unwrap();
        let (counts, pointer) = (counts?, pointer?);
        let version = pointer.split(' ').find(|it| !it.is_empty() && **it <= *counts);
        let Some(version) = version else { continue };
        let fields: BTreeMap<String, String> = redis.hgetall(format!("{key}:v:{version}")).unwrap();
        if fields.contains_key("_gone") {
            return None;
        }
        if !fields.is_empty() {
            return Some(fields);
        }
    }
    None
}

pub(crate) fn amount(redis: &mut Connection, tenant: &str) -> Option<u64> {
    let answer: Value = serde_json::from_str(read(redis, tenant)?.get("seats")?).unwrap();
    Some(answer["amount"].as_u64().unwrap_or(0))
}

pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_read_as_they_are_answered() {
    let Some(server) = RedisServer::start("redis: answers") else { return };
    let (pair, _file) = pushing(CATALOG, &server.url(), "").await;
    let mut redis = server.connect().unwrap();
    until(|| read(&mut redis, "tiny").is_some()).await;
    for tenant in ["acme", "tiny"] {
        let set = pair.web.get(&format!("/v1/tenants/{tenant}/entitlements")).await.json();
        let cached = read(&mut redis, tenant).unwrap();
        for answer in set["entitlements"].as_array().unwrap() {
            let feature = answer["feature"].as_str().unwrap();
            let mut cached: Value = serde_json::from_str(&cached[feature]).unwrap();
            cached["feature"] = feature.into();
            assert_eq!(cached, *answer, "{tenant} {feature}");
        }
    }
    assert_eq!(read(&mut redis, "nobody"), None);
    // A reader of another schema finds nothing, rather than something that it would misread.
    let other: Option<String> = redis.get("ent:default:s2:{acme}:cur").unwrap();
    assert_eq!(other, None);
    // A tenant that goes is gone for its readers, and its keys do not stay.
    pair.upstream.publish(2, &CATALOG.replace("[tenants.tiny]", "[tenants.other]"));
    until(|| read(&mut redis, "tiny").is_none() && read(&mut redis, "other").is_some()).await;
    until(|| (1..=30).contains(&redis.ttl::<_, i64>("ent:default:s1:{tiny}:cur").unwrap())).await;
    let sink = until_sink(&pair, |sink| sink["applied"] == 2).await;
    let shown = ["state", "is_read_back", "desired", "applied"].map(|name| sink[name].clone());
    assert_eq!(serde_json::json!(shown), serde_json::json!(["in_step", true, 2, 2]), "{sink}");
    assert!(sink["applied_at"].is_string() && sink["outcomes"]["applied"].as_u64() >= Some(2));
    for line in [
        "entitlements_sidecar_sink_state{sink=\"cache\",state=\"in_step\"} 1",
        "entitlements_sidecar_sink_state{sink=\"cache\",state=\"failing\"} 0",
        "entitlements_sidecar_sink_revision{sink=\"cache\",which=\"applied\"} 2",
        "entitlements_sidecar_sink_outcomes_total{sink=\"cache\",outcome=\"refused\"} 0",
    ] {
        let metrics = pair.web.get("/metrics").await.text();
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

/// Two features that always have the same amount: a reader that sees two amounts saw a torn state.
pub(crate) fn twins(amount: u64) -> String {
    let features: String = (0..50)
        .map(|n| format!("f{n} = {{ kind = {{ limit = {{ unit = \"x\" }} }} }}\n"))
        .collect();
    let grants: Vec<String> = (0..50).map(|n| format!("f{n} = {amount}")).collect();
    let tenants: String = (0..20)
        .map(|n| format!("[tenants.t{n}]\nsubscriptions = [{{ plan = \"p\" }}]\n"))
        .collect();
    format!("[features]\n{features}[plans.p]\ngrants = {{ {} }}\n{tenants}", grants.join(", "))
}

fn amounts(fields: &BTreeMap<String, String>) -> Vec<String> {
    let values = fields.iter().filter(|(name, _)| name.starts_with('f')).map(|(_, value)| {
        let value: Value = serde_json::from_str(value).unwrap();
        value["amount"].to_string()
    });
    let mut values: Vec<String> = values.collect();
    values.sort();
    values.dedup();
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reader_sees_a_torn_state() {
    let Some(server) = RedisServer::start("redis: torn reads") else { return };
    let (pair, _file) = pushing(&twins(1), &server.url(), "").await;
    let (stop, reads, torn) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut redis = server.connect().unwrap();
    until(|| read(&mut redis, "t19").is_some()).await;
    let readers: Vec<_> = (0..2)
        .map(|reader| {
            let mut redis = server.connect().unwrap();
            let (stop, reads, torn) = (stop.clone(), reads.clone(), torn.clone());
            std::thread::spawn(move || {
                let mut tenant = reader;
                while !stop.load(Ordering::Relaxed) {
                    tenant = (tenant + 7) % 20;
                    let fields = read(&mut redis, &format!("t{tenant}")).expect("it is there");
                    let whole = amounts(&fields).len() == 1 && fields.len() == 52;
                    torn.fetch_add(u64::from(!whole), Ordering::Relaxed);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut revision = 1;
    while reads.load(Ordering::Relaxed) < 10_000 {
        revision += 1;
        pair.upstream.publish(revision, &twins(revision));
        pair.sidecar.wait_revision(Revision(revision), PATIENCE).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.store(true, Ordering::Relaxed);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    let (reads, torn) = (reads.load(Ordering::Relaxed), torn.load(Ordering::Relaxed));
    println!("{reads} reads over {revision} revisions, {torn} of them torn");
    assert_eq!(torn, 0);
    until(|| amounts(&read(&mut redis, "t3").unwrap()) == [revision.to_string()]).await;
}

/// The same readers, with the guard taken out: fields are written one by one in place.
#[tokio::test(flavor = "multi_thread")]
async fn without_versions_readers_would_see_torn_states() {
    let Some(server) = RedisServer::start("redis: the guard") else { return };
    let mut writer = server.connect().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let halt = stop.clone();
    let writing = std::thread::spawn(move || {
        let mut amount = 0;
        while !halt.load(Ordering::Relaxed) {
            amount += 1;
            for field in 0..50 {
                let value = format!("{{\"amount\":{amount}}}");
                let _: () = writer.hset("t", format!("f{field}"), value).unwrap();
            }
        }
    });
    let mut redis = server.connect().unwrap();
    let mut torn = 0;
    for _ in 0..2_000 {
        let fields: BTreeMap<String, String> = redis.hgetall("t").unwrap();
        torn += u32::from(amounts(&fields).len() > 1);
    }
    stop.store(true, Ordering::Relaxed);
    writing.join().unwrap();
    println!("2,000 reads without versions, {torn} of them torn");
    assert!(torn > 0, "the guard would not be needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_does_not_come_back() {
    let Some(server) = RedisServer::start("redis: stale writer") else { return };
    let (ahead, _one) = pushing(CATALOG, &server.url(), "").await;
    ahead.upstream.publish(5, &catalog_with_seats(50));
    let mut redis = server.connect().unwrap();
    until(|| amount(&mut redis, "acme") == Some(50)).await;
    // Another sidecar starts with what was current long ago.
    let (behind, _two) = pushing(CATALOG, &server.url(), "").await;
    let sink = until_sink(&behind, |sink| sink["state"] == "refused").await;
    assert!(sink["trouble"].to_string().contains("newer"), "{sink}");
    assert_eq!(amount(&mut redis, "acme"), Some(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_or_changed_there_is_noticed_and_repaired() {
    let Some(mut server) = RedisServer::start("redis: repair") else { return };
    let (pair, _file) = pushing(CATALOG, &server.url(), "check_every_s = 1").await;
    let mut redis = server.connect().unwrap();
    until(|| amount(&mut redis, "acme") == Some(15)).await;
    // Everything is gone.
    let _: () = redis::cmd("FLUSHALL").query(&mut redis).unwrap();
    until(|| amount(&mut redis, "acme") == Some(15)).await;
    // Somebody changed one value.
    let counts: String = redis.get("ent:default:s1:{g}:rev").unwrap();
    let key = format!("ent:default:s1:{{acme}}:v:{counts}");
    let _: () = redis.hset(&key, "seats", r#"{"amount":99}"#).unwrap();
    assert_eq!(amount(&mut redis, "acme"), Some(99));
    until(|| amount(&mut redis, "acme") == Some(15)).await;
    // The server is killed, and comes back empty.
    server.kill();
    pair.upstream.publish(2, &catalog_with_seats(20));
    server.up();
    let mut redis = server.connect().unwrap();
    until(|| amount(&mut redis, "acme") == Some(20)).await;
    // The admin hears of all of it.
    let heard = async {
        loop {
            let reports = pair.upstream.world().reports;
            let outcomes: std::collections::BTreeSet<String> = reports
                .iter()
                .flat_map(|report| &report.receipts)
                .map(|receipt| receipt.outcome.clone())
                .collect();
            if ["applied", "drifted", "repaired"].iter().all(|it| outcomes.contains(*it)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_promotion_is_pushed_without_a_new_revision() {
    let Some(server) = RedisServer::start("redis: time") else { return };
    let until_at = now().plus(Duration::from_secs(3));
    let (pair, _file) = pushing(&catalog_with_promotion_until(until_at), &server.url(), "").await;
    let mut redis = server.connect().unwrap();
    until(|| amount(&mut redis, "acme") == Some(20)).await;
    let fields = read(&mut redis, "acme").unwrap();
    assert_eq!(fields["_valid_until"], until_at.to_string());
    until(|| amount(&mut redis, "acme") == Some(15)).await;
    let late = now().since(until_at);
    assert!(now() >= until_at && late < Duration::from_secs(1), "{late:?}");
    assert_eq!(pair.sidecar.entitlements().pin().revision(), Revision(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_works_on_a_cluster() {
    let nodes: Option<Vec<RedisServer>> = (0..3)
        .map(|_| RedisServer::start_with("redis: cluster", &["--cluster-enabled", "yes"]))
        .collect();
    let Some(nodes) = nodes else { return };
    let addresses: Vec<String> = nodes.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect();
    let made = std::process::Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .arg("--cluster-yes")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    for node in &nodes {
        let mut redis = node.connect().unwrap();
        until(|| {
            let info: String = redis::cmd("CLUSTER").arg("INFO").query(&mut redis).unwrap();
            info.contains("cluster_state:ok")
        })
        .await;
    }
    let (pair, _file) = pushing(&twins(1), &nodes[0].url(), "cluster = true").await;
    let client = redis::cluster::ClusterClient::new(nodes.iter().map(RedisServer::url)).unwrap();
    let mut redis = client.get_connection().unwrap();
    until(|| (0..20).all(|n| read(&mut redis, &format!("t{n}")).is_some())).await;
    pair.upstream.publish(2, &twins(2));
    until(|| {
        (0..20).all(|n| read(&mut redis, &format!("t{n}")).is_some_and(|it| amounts(&it) == ["2"]))
    })
    .await;
}
