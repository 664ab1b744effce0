//! The store, the same on both databases: all or nothing, no gaps, and no change to the audit that
//! goes unseen.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use entitlements_admin::{
    store::{
        AuditEntry, AuditFault, Chain, CommitError, Committed, Database, Note, Store, Verified,
        back_up, copy, restore,
    },
    workflow::{
        Changeset, IdempotencyKey, Key, Kind, ObjectId, Origin, Record, Scope, Write, key,
        notice::{Event, Notice, Test},
    },
};
use entitlements_core::{Revision, Timestamp};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::postgres;

/// An empty database of one kind or the other.
struct Place {
    database: Database,
    _folder: Option<TempDir>,
}

impl Place {
    fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let database = Database::Sqlite(folder.path().join("test.db"));
        Self { database, _folder: Some(folder) }
    }

    async fn open(&self) -> Store {
        self.open_and(|_| {}).await
    }

    /// With somebody who is told each revision that is seen.
    async fn open_and(&self, seen: impl Fn(u64) + Send + Sync + 'static) -> Store {
        let database = self.database.clone();
        let open = move || {
            Store::open(database, at(1), move |store| {
                seen(store.revision()?.0);
                Ok(())
            })
        };
        tokio::task::spawn_blocking(open).await.unwrap().unwrap()
    }

    /// Something is done behind the store's back.
    fn behind_its_back(&self, sql: &str) {
        match &self.database {
            Database::Sqlite(path) => {
                let file = Connection::open(path).unwrap();
                let drop = "DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete;";
                file.execute_batch(drop).unwrap();
                file.execute_batch(sql).unwrap();
                file.close().unwrap();
            }
            Database::Postgres(url) => {
                postgres::psql(url, &format!("DROP TRIGGER audit_no_change ON audit; {sql}"));
            }
        }
    }
}

/// Does the same on `SQLite` and, where it is installed, on `PostgreSQL`.
async fn on_both(test: impl AsyncFn(Place)) {
    test(Place::sqlite()).await;
    let database = tokio::task::spawn_blocking(postgres::database).await.unwrap();
    if let Some(url) = database {
        test(Place { database: Database::Postgres(url), _folder: None }).await;
    }
}

fn at(number: i64) -> Timestamp {
    Timestamp::from_micros(number)
}

fn named(name: &str) -> Option<Record> {
    Some(Record { json: format!("{{\"name\":\"{name}\"}}"), ..Record::default() })
}

fn changes(tenants: &[(&str, Option<u64>, Option<Record>)]) -> Changeset {
    let mut changes = Origin::local("test", "put_tenant", at(7)).changeset("tenants");
    changes.writes = tenants
        .iter()
        .map(|(name, expected, after)| {
            let write = Write { expected: expected.map(Revision), after: after.clone() };
            (ObjectId::tenant(*name), write)
        })
        .collect();
    changes
}

async fn tenants(store: &Store) -> BTreeMap<String, (String, u64)> {
    let rows = store.read(|store| store.objects(Kind::Tenant, "", 1_000)).await.unwrap();
    rows.into_iter().map(|row| (row.key, (row.stored.json, row.stored.revision.0))).collect()
}

async fn verify(store: &Store) -> Result<Verified, AuditFault> {
    store.read(|store| store.audit_verify(Revision(0))).await.unwrap()
}

async fn committed(store: &Store, changes: Changeset) -> u64 {
    store.commit(changes).await.unwrap().revision.0
}

#[tokio::test]
async fn a_changeset_with_one_conflict_writes_nothing() {
    on_both(async |place| {
        let store = place.open().await;
        assert_eq!(committed(&store, changes(&[("acme", None, named("one"))])).await, 1);
        let before = tenants(&store).await;

        let mixed =
            [("aaa", None, named("new")), ("acme", Some(99), named("two")), ("zzz", None, None)];
        let error = store.commit(changes(&mixed)).await.unwrap_err();
        let CommitError::Conflict(conflict) = error else { panic!("{error}") };
        assert_eq!(conflict.subject, ObjectId::tenant("acme"));
        assert_eq!(conflict.expected, Some(Revision(99)));
        assert_eq!(conflict.present.unwrap().revision, Revision(1));

        assert_eq!(tenants(&store).await, before);
        assert_eq!(store.read(|store| store.revision()).await.unwrap(), Revision(1));
        assert_eq!(store.read(|store| store.audit(Revision(0), 10)).await.unwrap().len(), 1);
        let next = committed(&store, changes(&[("acme", Some(1), named("two"))])).await;
        assert_eq!(next, 2, "the revision that was drawn for nothing is not lost");
    })
    .await;
}

#[tokio::test]
async fn what_must_be_absent_or_present_is_checked() {
    on_both(async |place| {
        let store = place.open().await;
        store.commit(changes(&[("acme", None, named("one"))])).await.unwrap();
        for stale in [None, Some(2)] {
            let error = store.commit(changes(&[("acme", stale, None)])).await.unwrap_err();
            assert!(matches!(error, CommitError::Conflict(_)), "{error}");
        }
        let gone = store.commit(changes(&[("zeta", Some(1), None)])).await.unwrap_err();
        let CommitError::Conflict(conflict) = gone else { panic!("{gone}") };
        assert_eq!(conflict.present, None);

        let mut under_another_catalog = changes(&[("acme", Some(1), None)]);
        under_another_catalog.reads.insert(ObjectId::catalog(), Some(Revision(5)));
        let error = store.commit(under_another_catalog).await.unwrap_err();
        assert!(error.to_string().contains("the catalog is gone"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_once_leave_no_gap_and_are_seen_in_order() {
    on_both(async |place| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let observer = Arc::clone(&seen);
        let store = place.open_and(move |revision| observer.lock().unwrap().push(revision)).await;
        let store = Arc::new(store);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..60 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                // Every third one is in conflict: it expects what is not there.
                let expected = (number % 3 == 0).then_some(1_000);
                let name = format!("tenant-{number}");
                store.commit(changes(&[(&name, expected, named("x"))])).await.ok()
            });
        }
        let done = tasks.join_all().await.into_iter().flatten();
        let mut drawn: Vec<u64> = done.map(|committed| committed.revision.0).collect();
        drawn.sort_unstable();
        assert_eq!(drawn, (1..=40).collect::<Vec<_>>());
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.iter().max(), Some(&40));
        if matches!(place.database, Database::Sqlite(_)) {
            assert!(seen.is_sorted(), "one thread follows, in the order of the commits: {seen:?}");
        }
        assert_eq!(verify(&store).await.unwrap().rows, 40);
    })
    .await;
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    on_both(async |place| {
        let store = place.open().await;
        for number in 0..5_u64 {
            let name = format!("tenant-{number}");
            store.commit(changes(&[(&name, None, named(&name))])).await.unwrap();
        }
        let (before, verified) = (tenants(&store).await, verify(&store).await.unwrap());
        store.close();
        if let Database::Sqlite(path) = &place.database {
            assert!(!path.with_extension("db-wal").exists(), "the log is folded into the file");
        }
        let late = store.commit(changes(&[("late", None, named("x"))])).await.unwrap_err();
        assert!(matches!(late, CommitError::Unavailable(_)), "{late}");

        let store = place.open().await;
        assert_eq!(tenants(&store).await, before);
        assert_eq!(verify(&store).await.unwrap(), verified);
        assert_eq!(committed(&store, changes(&[("late", None, named("x"))])).await, 6);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_database_lose_nothing_and_see_each_other() {
    let Some(url) = tokio::task::spawn_blocking(postgres::database).await.unwrap() else { return };
    let place = Place { database: Database::Postgres(url), _folder: None };
    let (seen, heard) = tokio::sync::watch::channel(0);
    let one = Arc::new(place.open().await);
    let other = place
        .open_and(move |revision| {
            seen.send_replace(revision);
        })
        .await;
    let other = Arc::new(other);
    committed(&one, changes(&[("counter", None, named("0"))])).await;

    // Each adds 1, again and again, to what it last read: a lost update would show in the sum.
    let mut tasks = tokio::task::JoinSet::new();
    for store in [&one, &other] {
        for _ in 0..3 {
            let store = Arc::clone(store);
            tasks.spawn(async move {
                let mut conflicts = 0_u32;
                for _ in 0..10 {
                    while !add_one(&store).await {
                        conflicts += 1;
                    }
                }
                conflicts
            });
        }
    }
    let conflicts: u32 = tasks.join_all().await.into_iter().sum();
    assert!(conflicts > 0, "they were in each other's way");
    assert_eq!(tenants(&one).await["counter"], ("{\"name\":\"60\"}".to_owned(), 61));
    for store in [&one, &other] {
        let verified = verify(store).await.unwrap();
        assert_eq!(verified.rows, 61, "no gap");
    }
    let last = committed(&one, changes(&[("last", None, named("x"))])).await;
    let mut heard = heard;
    let waited = heard.wait_for(|revision| *revision >= last);
    tokio::time::timeout(crate::support::DEADLINE, waited).await.expect("it is told").unwrap();
}

async fn add_one(store: &Store) -> bool {
    let present = store.read(|store| store.object(&ObjectId::tenant("counter"))).await;
    let present = present.unwrap().unwrap();
    let count: u32 = present.json.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    let next = [("counter", Some(present.revision.0), named(&(count + 1).to_string()))];
    match store.commit(changes(&next)).await {
        Ok(_) => true,
        Err(CommitError::Conflict(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn the_last_door_cannot_be_closed() {
    on_both(async |place| {
        let store = place.open().await;
        let key = |scope| Key {
            scope,
            label: "test".into(),
            created_at: at(3),
            created_by: "test".into(),
            principal: None,
            expires_at: None,
            tenants: [].into(),
            partner: None,
        };
        let origin = || Origin::local("test", "create_key", at(7));
        let create = |id: &str, scope| key::create(origin(), id, &key(scope), "secret").unwrap();
        let revoke = |id: &str, at| key::revoke(origin(), id, Revision(at));
        store.commit(create("aaaaaaaa", Scope::Admin)).await.unwrap();
        store.commit(create("bbbbbbbb", Scope::Sync)).await.unwrap();
        let refused = store.commit(revoke("aaaaaaaa", 1)).await.unwrap_err();
        assert!(matches!(refused, CommitError::LastSuperAdmin), "{refused}");
        store.commit(revoke("bbbbbbbb", 2)).await.unwrap();
        store.commit(create("cccccccc", Scope::Admin)).await.unwrap();
        store.commit(revoke("aaaaaaaa", 1)).await.unwrap();
        let left = store.read(|store| store.objects(Kind::Key, "", 10)).await.unwrap();
        assert_eq!(left.iter().map(|row| &*row.key).collect::<Vec<_>>(), ["cccccccc"]);
        assert!(left.iter().all(|row| row.stored.secret.is_none()), "lists hold no secrets");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_done_once_however_often_it_comes() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let named_request = |key: &str, body: u8| {
            let mut changes = changes(&[("acme", None, named("one"))]);
            let fingerprint = [body; 32];
            changes.origin.idempotency = Some(IdempotencyKey { key: key.into(), fingerprint });
            changes.answer.id = Some("made".into());
            changes
        };
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (store, changes) = (Arc::clone(&store), named_request("first", 1));
            tasks.spawn(async move { store.commit(changes).await.unwrap() });
        }
        let all = tasks.join_all().await;
        assert_eq!(all.iter().filter(|done| !done.repeated).count(), 1, "{all:?}");
        assert!(all.iter().all(|done| done.revision.0 == 1 && done.answer.id.is_some()));
        let reused = store.commit(named_request("first", 2)).await.unwrap_err();
        assert!(matches!(reused, CommitError::KeyReused(_)), "{reused}");
        let Committed { revision, .. } =
            store.commit(changes(&[("beta", None, named("x"))])).await.unwrap();
        assert_eq!(revision.0, 2, "repeated requests draw no revision");
        store.note(vec![Note::PruneAnswers { before: at(8) }]).await.unwrap();
        let forgotten = store.commit(named_request("first", 1)).await.unwrap_err();
        assert!(matches!(forgotten, CommitError::Conflict(_)), "{forgotten}");
    })
    .await;
}

#[tokio::test]
async fn every_version_is_kept_until_it_is_let_go() {
    on_both(async |place| {
        let store = place.open().await;
        committed(&store, changes(&[("acme", None, named("one"))])).await;
        committed(&store, changes(&[("beta", None, named("b"))])).await;
        committed(&store, changes(&[("acme", Some(1), named("two"))])).await;
        committed(&store, changes(&[("acme", Some(3), None)])).await;
        committed(&store, changes(&[("acme", None, named("three"))])).await;
        let acme = ObjectId::tenant("acme");
        let as_of = async |revision: u64| {
            let id = acme.clone();
            let version = store.read(move |store| store.as_of(&id, Revision(revision))).await;
            version.unwrap().map(|version| (version.revision.0, version.json))
        };
        let json = |name: &str| named(name).map(|record| record.json);
        assert_eq!(as_of(0).await, None);
        assert_eq!(as_of(2).await, Some((1, json("one"))));
        assert_eq!(as_of(3).await, Some((3, json("two"))));
        assert_eq!(as_of(4).await, Some((4, None)), "it was gone then");
        assert_eq!(as_of(99).await, Some((5, json("three"))));
        let id = acme.clone();
        let history = store.read(move |store| store.history(&id, Revision(99), 10)).await.unwrap();
        let revisions: Vec<u64> = history.iter().map(|past| past.version.revision.0).collect();
        assert_eq!(revisions, [5, 4, 3, 1]);

        store.note(vec![Note::PruneVersions { before: Revision(4) }]).await.unwrap();
        assert_eq!(as_of(3).await, None, "let go");
        assert_eq!(as_of(4).await, Some((4, None)), "what held at the horizon stays");
        let pruned = store.read(|store| store.audit_verify(Revision(4))).await.unwrap();
        assert_eq!(pruned.unwrap().rows, 5, "the chain holds without them");
        let fault = verify(&store).await.unwrap_err();
        assert_eq!(fault.revision, Revision(1), "nothing may be gone that was not let go: {fault}");
    })
    .await;
}

#[tokio::test]
async fn the_audit_never_goes_back_in_time() {
    on_both(async |place| {
        let store = place.open().await;
        for (name, instant) in [("a", 10), ("b", 5), ("c", 12)] {
            let mut changes = changes(&[(name, None, named("x"))]);
            changes.origin.at = at(instant);
            store.commit(changes).await.unwrap();
        }
        let rows = store.read(|store| store.audit(Revision(0), 10)).await.unwrap();
        let instants: Vec<i64> = rows.iter().map(|row| row.at.as_micros()).collect();
        assert_eq!(instants, [10, 10, 12]);
        for (instant, revision) in [(9, 0), (10, 2), (11, 2), (12, 3), (99, 3)] {
            let found = store.read(move |store| store.revision_at(at(instant))).await.unwrap();
            assert_eq!(found, Revision(revision), "{instant}");
        }
    })
    .await;
}

/// A place with ten commits.
async fn ten_commits(place: &Place, prefix: &str) {
    let store = place.open().await;
    for number in 0..10 {
        let name = format!("{prefix}-{number}");
        store.commit(changes(&[(&name, None, named(&name))])).await.unwrap();
    }
    store.close();
}

/// What is found after something was done behind the store's back to ten commits.
async fn tampered(place: &Place, sql: &str) -> Result<Verified, AuditFault> {
    place.behind_its_back(sql);
    verify(&place.open().await).await
}

const TAMPERING: [(&str, u64); 18] = [
    ("UPDATE audit SET actor = 'nobody' WHERE revision = 4", 4),
    ("UPDATE audit SET at = at + 1 WHERE revision = 4", 4),
    ("UPDATE audit SET reason = 'because' WHERE revision = 4", 4),
    ("UPDATE audit SET address = '127.0.0.1' WHERE revision = 4", 4),
    ("UPDATE audit SET principal = '' WHERE revision = 4", 4),
    ("UPDATE audit SET changes = replace(changes, 'tenant-3', 'tenant-x') WHERE revision = 4", 4),
    ("UPDATE audit SET changes = changes || ' ' WHERE revision = 4", 4),
    ("UPDATE audit SET command = 'put_tenan', subject = 't' || subject WHERE revision = 4", 4),
    ("UPDATE audit SET hash = prev_hash WHERE revision = 4", 4),
    ("DELETE FROM audit WHERE revision = 1", 1),
    ("DELETE FROM audit WHERE revision = 5", 5),
    ("DELETE FROM audit WHERE revision = 10", 10),
    ("DELETE FROM audit", 1),
    (
        "UPDATE audit SET revision = -1 WHERE revision = 6;
         UPDATE audit SET revision = 6 WHERE revision = 7;
         UPDATE audit SET revision = 7 WHERE revision = -1;",
        6,
    ),
    ("UPDATE version SET json = '{}' WHERE revision = 3", 3),
    ("DELETE FROM version WHERE revision = 3", 3),
    ("INSERT INTO version VALUES ('tenant', 'made-up', 3, '{}')", 3),
    ("UPDATE object SET json = '{}' WHERE key = 'tenant-6'", 7),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_dropped_or_swapped_behind_our_back_is_found() {
    for (sql, revision) in TAMPERING {
        on_both(async |place| {
            ten_commits(&place, "tenant").await;
            let fault = tampered(&place, sql).await.expect_err(sql);
            assert_eq!(fault.revision, Revision(revision), "{sql}: {fault}");
        })
        .await;
    }
    on_both(async |place| {
        ten_commits(&place, "tenant").await;
        assert_eq!(tampered(&place, "SELECT 1").await.unwrap().rows, 10, "else it is whole");
    })
    .await;
}

#[tokio::test]
async fn a_row_from_another_chain_is_found() {
    // Its own hash is right: only what comes before and after it tells.
    let other = Place::sqlite();
    ten_commits(&other, "other").await;
    let Database::Sqlite(path) = &other.database else { panic!() };
    for (revision, found) in [(4, 4), (1, 2)] {
        let sql = format!(
            "ATTACH '{}' AS other;
             DELETE FROM main.audit WHERE revision = {revision};
             INSERT INTO main.audit SELECT * FROM other.audit WHERE revision = {revision};
             DELETE FROM main.version WHERE revision = {revision};
             INSERT INTO main.version SELECT * FROM other.version WHERE revision = {revision};",
            path.display()
        );
        let place = Place::sqlite();
        ten_commits(&place, "tenant").await;
        let fault = tampered(&place, &sql).await.unwrap_err();
        // The first row follows from nothing, so it is the second that does not fit.
        assert_eq!(fault.revision, Revision(found), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_rows_and_every_kind_of_tampering_with_each() {
    let place = Place::sqlite();
    let store = Arc::new(place.open().await);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..10_000 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let name = format!("tenant-{number:05}");
            let mut changes = changes(&[(&name, None, named(&name))]);
            changes.origin.reason = (number % 2 == 0).then(|| "because".into());
            store.commit(changes).await.unwrap();
        });
    }
    tasks.join_all().await;
    assert_eq!(verify(&store).await.unwrap().rows, 10_000);
    let rows = store.read(|store| store.audit(Revision(0), 20_000)).await.unwrap();
    let (mut chain, mut kinds, mut tried) = (Chain::default(), 0, 0_u32);
    for place in 0..rows.len() {
        let after = &rows[place..rows.len().min(place + 3)];
        let all = tamperings(after);
        kinds = kinds.max(all.len());
        for (kind, tampered) in all {
            tried += 1;
            let ended = place + after.len() == rows.len();
            assert!(is_found(chain.clone(), &tampered, ended), "{kind} at row {}", place + 1);
        }
        // The rest of the rows may be gone, whatever else is right.
        assert!(chain.clone().end(Revision(10_000)).is_err(), "truncated before {place}");
        chain.take(&rows[place]).unwrap();
    }
    assert_eq!(chain.end(Revision(10_000)).unwrap().rows, 10_000);
    println!("{tried} tamperings of {kinds} kinds with 10,000 rows, all found");
}

/// Whether the walk stops over what follows a chain, or at its end.
fn is_found(mut chain: Chain, rows: &[AuditEntry], ended: bool) -> bool {
    let walked = rows.iter().try_for_each(|row| chain.take(row));
    walked.is_err() || (ended && chain.end(Revision(10_000)).is_err())
}

fn tamperings(rows: &[AuditEntry]) -> Vec<(&'static str, Vec<AuditEntry>)> {
    let mut all: Vec<(&str, Vec<AuditEntry>)> = Vec::new();
    let with = |change: &dyn Fn(&mut AuditEntry)| {
        let mut changed = rows.to_vec();
        change(&mut changed[0]);
        changed
    };
    let flip = |hash: &mut String| {
        let first = if hash.starts_with('0') { "1" } else { "0" };
        hash.replace_range(0..1, first);
    };
    let micro = |row: &mut AuditEntry, by: i64| row.at = at(row.at.as_micros() + by);
    all.push(("actor", with(&|row| row.actor.push('x'))));
    all.push(("principal", with(&|row| row.principal = Some("user:x".into()))));
    all.push(("address", with(&|row| row.address = Some("10.0.0.1".into()))));
    all.push(("command", with(&|row| row.command = "delete_tenant".into())));
    all.push(("subject", with(&|row| row.subject.clear())));
    all.push(("reason", with(&|row| row.reason = Some("another".into()))));
    all.push(("no reason", with(&|row| row.reason = row.reason.is_none().then(String::new))));
    all.push(("request", with(&|row| row.request_id = Some(String::new()))));
    all.push(("later", with(&|row| micro(row, 1))));
    all.push(("earlier", with(&|row| micro(row, -1))));
    all.push(("object", with(&|row| row.changes[0].object.push('x'))));
    all.push(("after", with(&|row| flip(row.changes[0].after.as_mut().unwrap()))));
    all.push(("removed", with(&|row| row.changes[0].after = None)));
    all.push(("no change", with(&|row| row.changes.clear())));
    all.push(("two changes", with(&|row| row.changes.push(row.changes[0].clone()))));
    all.push(("hash", with(&|row| flip(&mut row.hash))));
    all.push(("hash before", with(&|row| flip(&mut row.prev_hash))));
    all.push(("revision", with(&|row| row.revision.0 += 1)));
    // With its own hash made right again, the row after it does not follow any more.
    if rows.len() > 1 {
        all.push((
            "actor and hash",
            with(&|row| {
                row.actor.push('x');
                row.hash = row.computed_hash();
            }),
        ));
        let mut swapped = rows.to_vec();
        swapped.swap(0, 1);
        all.push(("swapped", swapped));
    }
    all.push(("dropped", rows[1..].to_vec()));
    all.push(("doubled", [&rows[..1], rows].concat()));
    all
}

#[tokio::test]
async fn the_audit_can_only_grow() {
    let place = Place::sqlite();
    let store = place.open().await;
    store.commit(changes(&[("acme", None, named("one"))])).await.unwrap();
    let Database::Sqlite(path) = &place.database else { panic!() };
    let file = Connection::open(path).unwrap();
    for sql in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"] {
        let error = file.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
}

/// No change without its notice, and no notice without its change.
#[tokio::test]
async fn a_notice_stands_and_falls_with_its_change() {
    on_both(async |place| {
        let store = place.open().await;
        let notice = |id: &str| {
            let event = Event::ConnectorTest(Test { by: "test".into() });
            Notice::new(id.into(), "connector/x", at(7), &event).unwrap()
        };
        let unrouted = async || store.read(|store| store.unrouted(10)).await.unwrap().len();
        let mut good = changes(&[("acme", None, named("Acme"))]);
        good.notices.push(notice("evt_1"));
        committed(&store, good).await;
        assert_eq!(unrouted().await, 1);

        // The notice cannot be kept, so the tenant is not.
        let mut bad = changes(&[("other", None, named("Other"))]);
        bad.notices.extend([notice("evt_2"), notice("evt_1")]);
        store.commit(bad).await.unwrap_err();
        // The tenant is not as it should be, so the notice is not kept.
        let mut bad = changes(&[("acme", None, named("Another"))]);
        bad.notices.push(notice("evt_3"));
        store.commit(bad).await.unwrap_err();
        assert_eq!((tenants(&store).await.len(), unrouted().await), (1, 1));
        assert_eq!(verify(&store).await.unwrap().rows, 1);
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_was_answered_is_in_the_file() {
    let place = Place::sqlite();
    let store = place.open().await;
    store.commit(changes(&[("acme", None, named("one"))])).await.unwrap();
    let Database::Sqlite(path) = &place.database else { panic!() };
    // Another process sees it at once, from the write-ahead log.
    let file = Connection::open(path).unwrap();
    let mode: String = file.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    let count: i64 = file.query_row("SELECT count(*) FROM object", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_store_comes_back_under_a_higher_epoch() {
    let place = Place::sqlite();
    let store = place.open().await;
    committed(&store, changes(&[("acme", None, named("one"))])).await;
    let Database::Sqlite(path) = place.database.clone() else { panic!() };
    let backup = path.with_file_name("backup.db");
    back_up(&path, &backup).unwrap();
    assert!(back_up(&path, &backup).unwrap_err().to_string().contains("exists already"));
    committed(&store, changes(&[("beta", None, named("late"))])).await;
    store.close();

    for epoch in [2, 3] {
        assert_eq!(restore(&backup, &path, at(9)).unwrap(), epoch, "higher than both");
        let store = place.open().await;
        assert_eq!(store.read(|store| store.epoch()).await.unwrap(), epoch);
        assert_eq!(tenants(&store).await.len(), 1, "as it was at the backup");
        assert_eq!(verify(&store).await.unwrap().rows, 1);
        store.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_from_a_file_to_a_server_whole() {
    let Some(url) = tokio::task::spawn_blocking(postgres::database).await.unwrap() else { return };
    let file = Place::sqlite();
    ten_commits(&file, "tenant").await;
    let server = Place { database: Database::Postgres(url), _folder: None };
    let copied = {
        let (from, to) = (file.database.clone(), server.database.clone());
        move || copy(&from, &to, at(5))
    };
    let rows = tokio::task::spawn_blocking(copied.clone()).await.unwrap().unwrap();
    assert!(rows > 30, "{rows}: objects, versions and audit");
    let (from, to) = (file.open().await, server.open().await);
    assert_eq!(tenants(&from).await, tenants(&to).await);
    assert_eq!(verify(&from).await.unwrap(), verify(&to).await.unwrap(), "with the same head");
    assert_eq!(committed(&to, changes(&[("next", None, named("x"))])).await, 11);
    let again = tokio::task::spawn_blocking(copied).await.unwrap().unwrap_err();
    assert!(again.to_string().contains("up to revision 11"), "{again}");
}

#[tokio::test]
async fn only_one_holds_a_lease_at_a_time() {
    on_both(async |place| {
        let store = place.open().await;
        let take = async |holder: &str, now, until| {
            store.lease("publisher", holder.into(), at(now), at(until)).await.unwrap()
        };
        assert!(take("one", 0, 10).await);
        assert!(!take("two", 9, 19).await, "it is held");
        assert!(take("one", 9, 20).await, "its holder keeps it");
        assert!(take("two", 20, 30).await, "it is over");
        assert!(!take("one", 20, 30).await);
    })
    .await;
}
