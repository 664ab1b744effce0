//! What a sidecar tells the admin about itself, and what it denied.

use entitlements_core::document::{Denials, StatusReport};

use crate::support::{CATALOG, PATIENCE, Pair, catalog_with_seats};

/// Waits until a report is as it should be.
async fn reported(pair: &Pair, is_so: impl Fn(&StatusReport) -> bool) -> StatusReport {
    let found = async {
        loop {
            let last = pair.upstream.world().reports.last().cloned();
            match last.filter(&is_so) {
                Some(report) => return report,
                None => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap()
}

#[tokio::test]
async fn it_says_what_it_serves_and_keeps_its_name() {
    let pair = Pair::ready(CATALOG).await;
    let first = reported(&pair, |report| report.revision.0 == 1).await;
    assert_eq!((first.state.as_str(), first.epoch, first.fresh_for_ms), ("FRESH", 1, 30_000));
    pair.upstream.publish(2, &catalog_with_seats(20));
    let second = reported(&pair, |report| report.revision.0 == 2).await;
    assert_eq!(second.held.iter().map(|revision| revision.0).collect::<Vec<_>>(), [2, 1]);
    assert_eq!((&second.sidecar, &second.boot), (&first.sidecar, &first.boot));
    let Pair { upstream, sidecar, folder, .. } = pair;
    sidecar.stop().await;
    let config = crate::support::config(folder.path(), &upstream.url());
    let again = entitlements_sidecar::Sidecar::start(config).await.unwrap();
    again.wait_ready(PATIENCE).await.unwrap();
    let web = crate::support::Web::new(again.addr());
    let pair = Pair { upstream, sidecar: again, web, folder };
    let third = reported(&pair, |report| report.boot != first.boot).await;
    assert_eq!(third.sidecar, first.sidecar, "a name outlives a restart");
}

#[tokio::test]
async fn it_says_what_it_refused_and_why_until_it_takes_something() {
    let pair = Pair::ready(CATALOG).await;
    pair.upstream.change(|world| {
        let older = crate::support::upstream::World { revision: 0, ..world.clone() };
        world.forged_heartbeat = Some(older.heartbeat());
    });
    let report = reported(&pair, |report| report.rejected.is_some()).await;
    let rejected = report.rejected.unwrap();
    assert_eq!(rejected.cause, "rollback");
    assert!(rejected.detail.contains("older one"), "{}", rejected.detail);
    pair.upstream.change(|world| world.forged_heartbeat = None);
    pair.upstream.publish(2, &catalog_with_seats(20));
    reported(&pair, |report| report.revision.0 == 2 && report.rejected.is_none()).await;
}

#[tokio::test]
async fn denials_arrive_once_whatever_is_lost_on_the_way() {
    let pair = Pair::ready(CATALOG).await;
    reported(&pair, |report| report.revision.0 == 1).await;
    pair.upstream.change(|world| world.replies_lost = 3);
    for (tenant, feature, times) in [("tiny", "sso", 3), ("tiny", "sms", 2), ("acme", "sso", 4)] {
        for _ in 0..times {
            let check = format!(r#"{{"tenant":"{tenant}","feature":"{feature}"}}"#);
            pair.web.post("/v1/check", &check).await;
        }
    }
    // What an admin makes of it: each batch counts once.
    let total = |reports: &[StatusReport]| {
        let mut seen = std::collections::BTreeMap::new();
        for denials in reports.iter().filter_map(|report| report.denials.clone()) {
            let batch = denials.batch;
            let known: &mut Denials = seen.entry(batch).or_insert(denials.clone());
            assert_eq!(*known, denials, "a batch stays what it is");
        }
        let counts = seen.into_values().flat_map(|batch| batch.counts);
        counts
            .map(|denied| {
                (format!("{} {} {}", denied.tenant, denied.feature, denied.reason), denied.count)
            })
            .fold(
                std::collections::BTreeMap::new(),
                |mut sum: std::collections::BTreeMap<String, u64>, (what, count)| {
                    *sum.entry(what).or_default() += count;
                    sum
                },
            )
    };
    let expected = [("tiny sms not_included", 2), ("tiny sso not_included", 3)];
    let expected = expected.map(|(what, count)| (what.to_owned(), count)).into();
    let arrived = async {
        while total(&pair.upstream.world().reports) != expected {
            pair.upstream.change(|_| {});
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), arrived).await.unwrap();
}
