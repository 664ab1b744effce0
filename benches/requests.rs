//! Lists of requests and reports of promises over HTTP, with a thousand and with a hundred thousand that
//! are open: what they cost is to be that of a page, not of all there is.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::{collections::BTreeMap, hint::black_box, path::Path, time::Duration};

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use entitlements_admin::{
    Admin, Config, Running,
    store::{Database, Store},
    workflow::{
        Index, Kind, ObjectId, Origin, Record, Write,
        request::{Entry, Promise, RequestRecord, Stage},
        sla::Calendar,
    },
};
use entitlements_core::document::Document;
use entitlements_outbound::{ClientConfig, HttpClient};
use hyper::{Request, body::Bytes};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const CATALOG: &str = r#"
    [features]
    sms = { kind = "switch" }
    [plans.pro]
    grants = {}
    [add_ons.sms]
    grants = { sms = true }
    [tenants.t0]
    subscriptions = [{ plan = "pro" }]
"#;
/// How many are written in one commit.
const BATCH: usize = 1_000;

fn config(folder: &Path) -> Config {
    Config { listen: ([127, 0, 0, 1], 0).into(), data: folder.into(), ..Config::default() }
}

/// Asks, and gives back what is answered.
async fn ask(
    http: &HttpClient,
    admin: &Running,
    key: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", admin.addr()))
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {key}"))
        .body(Bytes::from(body))
        .unwrap();
    let answer = http.send(request).await.unwrap();
    assert!(answer.status().is_success(), "{path}: {:?}", answer.body());
    serde_json::from_slice(answer.body()).unwrap()
}

/// A folder with so many open requests, and the key that opens it.
async fn filled(folder: &Path, count: usize) -> String {
    let admin = Admin::start(config(folder)).await.unwrap();
    let key = admin.first_key().unwrap().to_owned();
    let http = HttpClient::new(ClientConfig::default()).unwrap();
    let put = async |path: &str, body: Value| ask(&http, &admin, &key, "PUT", path, &body).await;
    put("/v1/settings/approval", json!({ "four_eyes": false, "threshold": 1_000_000 })).await;
    let document = Document::parse("bench.toml", CATALOG).unwrap();
    put("/v1/catalog", serde_json::to_value(&document.catalog).unwrap()).await;
    put("/v1/tenants/t0", json!({ "subscriptions": [{ "plan": "pro" }] })).await;
    let day = json!([{ "from": "09:00", "until": "17:00" }]);
    let hours = json!({ "mon": day, "tue": day, "wed": day, "thu": day, "fri": day });
    let week = json!({ "time_zone": "Europe/Berlin", "hours": hours });
    put("/v1/calendars/office", json!({ "name": "Office", "week": week })).await;
    let goal = |metric: &str| json!({ "metric": metric, "target": { "minutes": 960 }, "calendar": "office" });
    let goals = [goal("first_response"), goal("approval"), goal("fulfilment")];
    put("/v1/slas/usual", json!({ "name": "Usual", "goals": { "normal": goals } })).await;
    let listing = json!({ "title": "Text messages", "offer": { "add_on": "sms" }, "sla": "usual" });
    put("/v1/listings/sms", listing).await;
    for act in ["submit", "publish"] {
        ask(&http, &admin, &key, "POST", &format!("/v1/listings/sms/{act}"), &Value::Null).await;
    }
    let order = json!({ "tenant": "t0", "listing": "sms" });
    let made = ask(&http, &admin, &key, "POST", "/v1/requests", &order).await;
    let id = made["id"].as_str().unwrap();
    let mut shown =
        ask(&http, &admin, &key, "GET", &format!("/v1/requests/{id}"), &Value::Null).await;
    for name in ["id", "revision"] {
        shown.as_object_mut().unwrap().remove(name);
    }
    let record: RequestRecord = serde_json::from_value(shown).unwrap();
    let calendar = ask(&http, &admin, &key, "GET", "/v1/calendars/office", &Value::Null).await;
    admin.stop().await;
    let calendar: Calendar = serde_json::from_value(calendar).unwrap();
    fill(folder, &record, &calendar, count).await;
    key
}

/// Puts copies of a request into the store, of many tenants, listings and stages.
async fn fill(folder: &Path, first: &RequestRecord, calendar: &Calendar, count: usize) {
    let file = folder.join("entitlements.db");
    let now = first.created_at;
    let open = move || Store::open(Database::Sqlite(file), now, |_| Ok(())).unwrap();
    let store = tokio::task::spawn_blocking(open).await.unwrap();
    let hours = BTreeMap::from([("office".to_owned(), calendar.open().unwrap())]);
    let stages =
        [Stage::PendingApproval, Stage::PendingApproval, Stage::NeedsInfo, Stage::Provisioning];
    for batch in 0..count / BATCH {
        let mut changes = Origin::local("bench", "fill", now).changeset("requests");
        for number in batch * BATCH..(batch + 1) * BATCH {
            let stage = stages[number % stages.len()];
            let back = Duration::from_secs(40 * number as u64 % (30 * 86_400));
            let at = now.minus(back);
            let entry = |what: &str, stage: Stage| Entry {
                at,
                by: "bench".into(),
                what: what.into(),
                stage: stage.code().into(),
                text: String::new(),
            };
            let promises: Vec<Promise> = first.promises.clone();
            let mut record = RequestRecord {
                tenant: format!("t{}", number % 5_000),
                listing: format!("listing-{}", number % 20),
                team: Some(format!("team-{}", number % 8)),
                stage: stage.code().into(),
                created_at: at,
                promises,
                log: vec![entry("submit", Stage::Submitted), entry("evaluate", stage)],
                ..first.clone()
            };
            record.steps.clear();
            let row = record.row(&hours, now);
            let due_at =
                record.due_at(&hours, now).map(|due| due.max(now.plus(Duration::from_secs(3_600))));
            let after = Record {
                due_at,
                index: Some(Index::Request(Box::new(row))),
                ..Record::of(&record).unwrap()
            };
            let id = ObjectId::new(Kind::Request, format!("r{number:07}"));
            changes.writes.insert(id, Write { expected: None, after: Some(after) });
        }
        store.commit(changes).await.unwrap();
    }
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
}

fn lists(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("requests");
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    for count in [1_000, 100_000] {
        let folder = tempfile::tempdir().unwrap();
        let key = runtime.block_on(filled(folder.path(), count));
        let admin = runtime.block_on(Admin::start(config(folder.path()))).unwrap();
        let http = HttpClient::new(ClientConfig::default()).unwrap();
        for (name, path) in [
            ("newest", "/v1/requests?open=true&limit=100"),
            ("of a tenant", "/v1/requests?tenant=t7&limit=100"),
            ("of a listing", "/v1/requests?listing=listing-3&limit=100"),
            ("in a stage", "/v1/requests?stage=needs_info&limit=100"),
            ("late", "/v1/requests?due_before=2100-01-01T00:00:00Z&limit=100"),
            ("counts", "/v1/requests/counts"),
            ("report by listing", "/v1/reports/sla?by=listing"),
            ("report by month", "/v1/reports/sla?by=month"),
        ] {
            let read = async || ask(&http, &admin, &key, "GET", path, &Value::Null).await;
            let answer = runtime.block_on(read());
            let rows = answer["requests"].as_array().or(answer["rows"].as_array());
            assert!(rows.is_none_or(|rows| !rows.is_empty()), "{name}: {answer}");
            group.bench_with_input(BenchmarkId::new(name, count), &count, |bencher, _| {
                bencher.iter(|| black_box(runtime.block_on(read())));
            });
        }
        runtime.block_on(admin.stop());
    }
    group.finish();
}

criterion_group!(benches, lists);
criterion_main!(benches);
