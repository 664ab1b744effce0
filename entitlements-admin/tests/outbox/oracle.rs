//! The clocks of promises against a stranger's: a script in Python that looks at every minute, with the
//! same version of the zone database.

use std::{collections::BTreeMap, time::Duration};

use entitlements_admin::workflow::{
    civil::zones_version,
    sla::{
        Calendar, Goal, Mark, MarkKind, Metric, PastWeek, Target, WorkTime, WorkWeek, clock,
        crossings, spans,
    },
};
use entitlements_core::Timestamp;
use serde_json::{Value, json};

use crate::{
    clients::{Language, Program},
    random::Random,
    skip::{tell, variable},
};

/// How many cases are tried; `ENTITLEMENTS_SLA_CASES` says another number.
const CASES: usize = 1_000;

/// Zones, each with an instant near which something happens to its clock.
const ZONES: [(&str, &str); 22] = [
    ("America/New_York", "2027-03-14T06:00:00Z"),
    ("America/New_York", "2027-11-07T05:00:00Z"),
    ("Europe/Berlin", "2026-03-29T00:00:00Z"),
    ("Europe/Berlin", "2026-10-25T00:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("Pacific/Apia", "2011-12-29T10:00:00Z"),
    ("Africa/Casablanca", "2026-02-15T02:00:00Z"),
    ("Africa/Casablanca", "2026-03-22T02:00:00Z"),
    ("America/Vancouver", "2026-11-01T09:00:00Z"),
    ("Asia/Kathmandu", "2026-05-01T00:00:00Z"),
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),
    ("Africa/Cairo", "2026-04-23T22:00:00Z"),
    ("Africa/Cairo", "2026-10-29T21:00:00Z"),
    ("Atlantic/Azores", "2026-03-29T01:00:00Z"),
    ("Asia/Gaza", "2026-10-23T23:00:00Z"),
    ("Pacific/Chatham", "2026-04-04T14:00:00Z"),
    ("America/Havana", "2026-03-08T05:00:00Z"),
    ("America/St_Johns", "2026-11-01T04:30:00Z"),
    ("Asia/Tehran", "2022-03-21T20:30:00Z"),
    ("UTC", "2028-02-28T12:00:00Z"),
    ("Europe/Dublin", "2026-10-25T01:00:00Z"),
];

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

fn minute(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(60_000_000)
}

fn at_minute(minute: i64) -> Timestamp {
    Timestamp::from_micros(minute * 60_000_000)
}

/// Hours of one day, apart from each other, on quarters and odd minutes.
fn hours(random: &mut Random) -> Value {
    let edge = |random: &mut Random| match random.below(4) {
        0 => random.below(1_440),
        1 => 60 * random.below(24),
        // Where clocks change.
        2 => 15 * (2 + random.below(14)),
        _ => 15 * random.below(96),
    };
    let mut edges: Vec<usize> = (0..2 * (1 + random.below(3))).map(|_| edge(random)).collect();
    edges.sort_unstable();
    edges.dedup();
    if edges.len() % 2 == 1 {
        edges.push(1_440);
    }
    let text = |minute: usize| format!("{:02}:{:02}", minute / 60, minute % 60);
    let pairs = edges.chunks(2).filter(|pair| pair[0] < pair[1]);
    pairs.map(|pair| json!({ "from": text(pair[0]), "until": text(pair[1]) })).collect()
}

fn week(random: &mut Random, zone: &str, near: Timestamp) -> Value {
    let mut days = BTreeMap::new();
    let only = random.below(7);
    let kind = random.below(4);
    for (number, day) in DAYS.iter().enumerate() {
        let works = match kind {
            0 => number == only,
            1 => number < 5,
            _ => random.coin() || number == only,
        };
        if works {
            days.insert(*day, hours(random));
        }
    }
    let mut exceptions = BTreeMap::new();
    for _ in 0..random.below(4) {
        let date = near.plus(Duration::from_secs(86_400 * random.below(20) as u64)).to_string();
        let day = if random.coin() { json!([]) } else { hours(random) };
        exceptions.insert(date[..10].to_owned(), day);
    }
    json!({ "time_zone": zone, "hours": days, "exceptions": exceptions })
}

/// A random calendar, goal and course of events.
fn case(random: &mut Random) -> Value {
    let (zone, near) = ZONES[random.below(ZONES.len())];
    let near = Timestamp::parse(near).unwrap();
    let mut at = minute(near) - 4_000 + random.below(5_000) as i64;
    let start = at;
    let mut marks = vec![(at, "starts")];
    for _ in 0..random.below(7) {
        // Often at the same minute.
        at += [0, 1, random.below(60), random.below(3_000)][random.below(4)] as i64;
        let kinds = ["pauses", "resumes", "pauses", "resumes", "stops", "cancels", "starts"];
        marks.push((at, kinds[random.below(kinds.len())]));
    }
    let now = at + [0, random.below(60), random.below(5_000)][random.below(3)] as i64;
    let past: Vec<Value> = (0..random.below(3))
        .scan(start - 1_000, |until, _| {
            *until += random.below(3_000) as i64;
            let zone = ZONES[random.below(ZONES.len())].0;
            let week = week(random, zone, near);
            Some(json!({ "until": at_minute(*until), "week": week }))
        })
        .collect();
    let calendar = match random.below(12) {
        0 => Value::Null,
        _ => json!({ "past": past, "week": week(random, zone, near) }),
    };
    let by_day = !calendar.is_null() && random.below(3) == 0;
    let (target, percent) = match by_day {
        true => (json!({ "end_of_day": random.below(3) }), json!([100])),
        // Their parts are whole minutes.
        false => (json!({ "minutes": 4 * (1 + random.below(100)) }), json!([50, 75, 100, 150])),
    };
    let marks: Vec<Value> = marks.iter().map(|(at, kind)| json!([at_minute(*at), kind])).collect();
    json!({ "calendar": calendar, "target": target, "percent": percent,
        "pauses": random.below(5) > 0, "marks": marks, "now": at_minute(now) })
}

/// What we say. Nothing where the calendar is none.
fn ours(case: &Value) -> Option<Value> {
    let week = |value: &Value| serde_json::from_value::<WorkWeek>(value.clone()).unwrap();
    let work = match &case["calendar"] {
        Value::Null => WorkTime::always(),
        calendar => {
            let past = calendar["past"].as_array().unwrap().iter().map(|past| PastWeek {
                until: Timestamp::parse(past["until"].as_str().unwrap()).unwrap(),
                week: week(&past["week"]),
            });
            let past = past.collect();
            let calendar = Calendar { name: "x".into(), week: week(&calendar["week"]), past };
            calendar.open().ok()?
        }
    };
    let goal = Goal {
        metric: Metric::Approval,
        target: serde_json::from_value::<Target>(case["target"].clone()).unwrap(),
        calendar: None,
        pauses: case["pauses"] == true,
        warn_percent: serde_json::from_value(case["percent"].clone()).unwrap(),
    };
    let kind = |text: &str| match text {
        "starts" => MarkKind::Starts,
        "pauses" => MarkKind::Pauses,
        "resumes" => MarkKind::Resumes,
        "stops" => MarkKind::Stops,
        _ => MarkKind::Cancels,
    };
    let marks: Vec<Mark> = case["marks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mark| Mark {
            at: Timestamp::parse(mark[0].as_str().unwrap()).unwrap(),
            kind: kind(mark[1].as_str().unwrap()),
        })
        .collect();
    let now = Timestamp::parse(case["now"].as_str().unwrap()).unwrap();
    let found = clock(&goal, &work, &marks, now)?;
    let minutes = |length: Duration| length.as_secs() / 60;
    let when = |at: Option<Timestamp>| at.map(minute);
    let crossed: BTreeMap<u16, Timestamp> =
        crossings(&goal, &work, &marks, now).into_iter().collect();
    let crossings: Vec<Value> = goal
        .warn_percent
        .iter()
        .map(|percent| json!([percent, crossed.get(percent).map(|at| minute(*at))]))
        .collect();
    let spans: Vec<Value> = spans(&goal, &work, &marks, now)
        .iter()
        .map(|span| json!([minute(span.from), minute(span.until), span.why]))
        .collect();
    Some(json!({
        "state": found.state,
        "started": minute(found.started_at),
        "ended": when(found.ended_at),
        "target": minutes(found.target),
        "used": minutes(found.used),
        "due": when(found.due_at),
        "breached": when(found.breached_at),
        "open": found.is_open,
        "crossings": crossings,
        "spans": spans,
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_clock_is_the_one_that_counting_minutes_gives() {
    let cases = variable("ENTITLEMENTS_SLA_CASES").map_or(CASES, |text| text.parse().unwrap());
    let Some(mut oracle) = Program::start(Language::Python, "sla", None).await else { return };
    let zones = oracle.said().await["zones"].as_str().unwrap().to_owned();
    assert_eq!(zones, zones_version(), "both count with the same zones");
    assert_eq!(oracle.said().await["ready"], true);
    let seed = variable("ENTITLEMENTS_SLA_SEED").map_or(7, |text| text.parse().unwrap());
    let mut random = Random(seed);
    let (mut compared, mut seen_wrong) = (0, 0);
    while compared < cases {
        let case = case(&mut random);
        let Some(ours) = ours(&case) else { continue };
        let theirs = oracle.ask(&case).await;
        // It looks some months ahead at the most, which is told apart from an answer.
        if theirs["error"].as_str().is_some_and(|why| why.contains("too far ahead")) {
            continue;
        }
        assert_eq!(ours, theirs, "{case}");
        compared += 1;
        // The comparison sees a clock that does not stand still, and one of another place.
        if compared % 100 == 0 {
            let mut other = case.clone();
            other["pauses"] = json!(case["pauses"] != true);
            other["calendar"]["week"]["time_zone"] = json!("Asia/Tokyo");
            other["calendar"]["past"] = json!([]);
            seen_wrong += usize::from(
                case["calendar"].is_object() && crate::oracle::ours(&other) != Some(theirs),
            );
        }
    }
    tell(&format!("{compared} clocks by zones {zones}: 0 differences to counting minutes"));
    assert!(seen_wrong * 200 >= cases, "{seen_wrong}: the comparison sees differences");
}
