//! One destination that is dead and one that is slow delay nobody else.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use entitlements_admin::workflow::{
    delivery::{Doubt, Outcome, Progress, Schedule, Stage},
    lane::Lane,
};
use entitlements_core::Timestamp;
use serde_json::json;

use crate::{
    desk::{Desk, SECRET, at, local},
    receiver::{Receiver, Reply},
    skip::tell,
};

const DESTINATIONS: usize = 50;
const NOTICES: usize = 10_000;
/// As the outbox has it.
const UNDER_WAY_MAX: usize = 256;

/// How long a destination takes, in microseconds, and what comes of it. The first is dead, the second
/// slow.
fn behaves(destination: usize) -> (i64, Outcome) {
    match destination {
        0 => (15_000_000, Outcome::Ambiguous),
        1 => (10_000_000, Outcome::Delivered),
        _ => (20_000, Outcome::Delivered),
    }
}

/// The delays of all deliveries to destinations that are well, in microseconds, where 10,000 notices
/// come evenly within 5 seconds. `has_lanes` is whether each destination has a lane of its own.
fn simulated(has_lanes: bool) -> Vec<i64> {
    let schedule = Schedule::default();
    let mut waiting: Vec<Vec<(i64, Progress)>> = vec![Vec::new(); DESTINATIONS];
    for number in 0..NOTICES {
        let at = 5_000_000 * i64::try_from(number).unwrap() / i64::try_from(NOTICES).unwrap();
        waiting[number % DESTINATIONS].push((at, Progress::starting(Timestamp::from_micros(at))));
    }
    let mut lanes = vec![Lane::default(); DESTINATIONS];
    let mut under_way: Vec<usize> = vec![0; DESTINATIONS];
    let mut ends: BTreeMap<(i64, usize), (usize, i64, Progress)> = BTreeMap::new();
    let (mut now, mut number, mut delays) = (0_i64, 0_usize, Vec::new());
    while now < 600_000_000 {
        let at = Timestamp::from_micros(now);
        for (destination, queue) in waiting.iter_mut().enumerate() {
            let room = match has_lanes {
                true => lanes[destination].room(under_way[destination], at),
                false => UNDER_WAY_MAX,
            };
            for _ in 0..room.min(UNDER_WAY_MAX - under_way.iter().sum::<usize>()) {
                let due =
                    |(_, progress): &(i64, Progress)| progress.due_at.is_some_and(|due| due <= at);
                let Some(place) = queue.iter().position(due) else { break };
                let (born, progress) = queue.remove(place);
                under_way[destination] += 1;
                number += 1;
                ends.insert((now + behaves(destination).0, number), (destination, born, progress));
            }
        }
        // On to the next end, or the next that is due.
        let next_due = waiting.iter().flatten().filter_map(|(_, progress)| progress.due_at);
        let next_due = next_due.map(Timestamp::as_micros).filter(|due| *due > now).min();
        let next_end = ends.first_key_value().map(|(key, _)| key.0);
        let Some(next) = next_due.into_iter().chain(next_end).min() else { break };
        now = next;
        while let Some(entry) = ends.first_entry().filter(|entry| entry.key().0 <= now) {
            let (destination, born, progress) = entry.remove();
            under_way[destination] -= 1;
            let (outcome, at) = (behaves(destination).1, Timestamp::from_micros(now));
            lanes[destination] = lanes[destination].after(outcome, at);
            let after = progress.after(outcome, Doubt::Repeat, &schedule, at, 0.0);
            match after.stage {
                Stage::Delivered if destination > 1 => delays.push(now - born),
                stage if stage.is_open() => waiting[destination].push((born, after)),
                _ => {}
            }
        }
    }
    delays.sort_unstable();
    delays
}

#[test]
fn ten_thousand_notices_pass_one_that_is_dead_and_one_that_is_slow() {
    let delays = simulated(true);
    assert_eq!(delays.len(), NOTICES * (DESTINATIONS - 2) / DESTINATIONS);
    let p99 = delays[delays.len() * 99 / 100];
    tell(&format!("10,000 notices to 50 destinations on the test clock: p99 {} ms", p99 / 1_000));
    assert!(p99 < 1_000_000, "{p99} µs");
    // Without lanes of their own the dead and the slow take all the room there is.
    let shared = simulated(false);
    let p99 = shared.get(NOTICES * (DESTINATIONS - 2) / DESTINATIONS * 99 / 100);
    assert!(p99.is_none_or(|p99| *p99 >= 1_000_000), "the guard is of no use: {p99:?}");
}

/// The real thing: real listeners, real time. Figures are told; what is asserted is that all arrive
/// while one destination never answers.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_real_destinations_are_told_while_one_is_dead() {
    let desk = Desk::with(local).await;
    desk.prepare().await;
    desk.work().await;
    let slow = |after| move |_: &crate::receiver::Asked| Reply { after, ..Reply::status(200) };
    let mut receivers = Vec::new();
    desk.put("/v1/teams/ops", &json!({ "name": "Ops" })).await;
    for number in 0..DESTINATIONS {
        let receiver = match number {
            0 => Receiver::start(slow(Duration::from_secs(600))).await,
            1 => Receiver::start(slow(Duration::from_secs(1))).await,
            _ => Receiver::answering(200).await,
        };
        let kind = json!({ "webhook": { "url": receiver.url(), "handshake": false } });
        let connector = json!({ "name": "x", "kind": kind, "credentials": { "secret": SECRET } });
        desk.put(&format!("/v1/connectors/c{number}"), &connector).await;
        let route =
            json!({ "events": ["trial.*"], "team": "ops", "connector": format!("c{number}") });
        desk.put(&format!("/v1/routes/r{number}"), &route).await;
        receivers.push(receiver);
    }
    let trials = 20;
    for number in 0..trials {
        let tenant = json!({ "subscriptions": [{ "plan": "pro", "trial": true,
            "window": { "until": "2026-03-09T10:00:01Z" } }] });
        desk.put(&format!("/v1/tenants/t{number}"), &tenant).await;
    }
    entitlements_admin::jobs::run(&desk.app, "test").await.unwrap();
    desk.clock.advance(at("2026-03-02T10:00:01Z"));
    entitlements_admin::jobs::run(&desk.app, "test").await.unwrap();
    let begun = std::sync::Arc::new(Mutex::new(tokio::time::Instant::now()));
    let done = Arc::new(AtomicU64::new(0));
    let all = async {
        for receiver in &receivers[2..] {
            receiver.until_asked(trials).await;
        }
        let took = begun.lock().unwrap().elapsed();
        done.store(u64::try_from(took.as_millis()).unwrap(), Ordering::SeqCst);
    };
    tokio::select! {
        () = all => {}
        _ = entitlements_admin::jobs::deliver(&desk.app, "test") => panic!("one never answers"),
    }
    tell(&format!(
        "{} real deliveries to 48 destinations beside a dead and a slow one: {} ms",
        trials * (DESTINATIONS - 2),
        done.load(Ordering::SeqCst)
    ));
    assert!(receivers[0].asked().len() <= 4, "the dead one has its lane and no more");
}
