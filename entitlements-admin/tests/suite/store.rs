//! The store: all or nothing, no gaps, and no change to the audit that goes unseen.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use entitlements_admin::{
    store::{AuditFault, CommitError, Store, Subject, Verified},
    workflow::{Changeset, Origin, Scope, TenantChange, Token, TokenChange},
};
use entitlements_core::{Revision, Tenant, TenantKey, Timestamp};
use rusqlite::Connection;
use tempfile::TempDir;

fn at(number: i64) -> Timestamp {
    Timestamp::from_micros(number)
}

fn key(text: &str) -> TenantKey {
    TenantKey::new(text).unwrap()
}

fn named(name: &str) -> Tenant {
    Tenant { name: Some(name.into()), ..Tenant::default() }
}

fn changes(tenants: &[(&str, Option<u64>, Option<Tenant>)]) -> Changeset {
    let origin = Origin { actor: "test".into(), command: "put_tenant", at: at(7) };
    let mut changes = origin.changeset("tenants".into());
    changes.tenants = tenants
        .iter()
        .map(|(name, expected, tenant)| {
            let change = TenantChange { expected: expected.map(Revision), tenant: tenant.clone() };
            (key(name), change)
        })
        .collect();
    changes
}

fn open(folder: &Path) -> Store {
    Store::open(&folder.join("test.db"), at(1), |_, _| {}).unwrap()
}

fn tenants(store: &Store) -> BTreeMap<String, (String, u64)> {
    let rows = store.read_blocking(|store| store.tenants_all()).unwrap();
    rows.into_iter().map(|row| (row.key, (row.stored.json, row.stored.revision.0))).collect()
}

fn verify(store: &Store) -> Result<Verified, AuditFault> {
    store.read_blocking(|store| store.audit_verify()).unwrap()
}

#[tokio::test]
async fn a_changeset_with_one_conflict_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let first = store.commit(changes(&[("acme", None, Some(named("one")))])).await.unwrap();
    assert_eq!(first, Revision(1));
    let before = tenants(&store);

    let mixed = [
        ("aaa", None, Some(named("new"))),
        ("acme", Some(99), Some(named("two"))),
        ("zzz", None, None),
    ];
    let error = store.commit(changes(&mixed)).await.unwrap_err();
    let CommitError::Conflict(conflict) = error else { panic!("{error}") };
    assert_eq!(conflict.subject, Subject::Tenant(key("acme")));
    assert_eq!(conflict.expected, Some(Revision(99)));
    assert_eq!(conflict.present.unwrap().revision, Revision(1));

    assert_eq!(tenants(&store), before);
    assert_eq!(store.read_blocking(|store| store.revision()).unwrap(), Revision(1));
    assert_eq!(store.read_blocking(|store| store.audit(Revision(0), 10, 1000)).unwrap().len(), 1);
    let next = store.commit(changes(&[("acme", Some(1), Some(named("two")))])).await.unwrap();
    assert_eq!(next, Revision(2), "the revision that was drawn for nothing is not lost");
}

#[tokio::test]
async fn what_must_be_absent_or_present_is_checked() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    store.commit(changes(&[("acme", None, Some(named("one")))])).await.unwrap();
    for stale in [None, Some(2)] {
        let error = store.commit(changes(&[("acme", stale, None)])).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict(_)), "{error}");
    }
    let gone = store.commit(changes(&[("zeta", Some(1), None)])).await.unwrap_err();
    let CommitError::Conflict(conflict) = gone else { panic!("{gone}") };
    assert_eq!(conflict.present, None);

    let mut under_another_catalog = changes(&[("acme", Some(1), None)]);
    under_another_catalog.catalog_read = Some(Revision(5));
    let error = store.commit(under_another_catalog).await.unwrap_err();
    assert!(error.to_string().contains("the catalog is gone"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_once_leave_no_gap_and_are_seen_in_order() {
    let folder = TempDir::new().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observer = Arc::clone(&seen);
    let store = Store::open(&folder.path().join("test.db"), at(1), move |revision, _| {
        observer.lock().unwrap().push(revision.0);
    });
    let store = Arc::new(store.unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..60 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            // Every third one is in conflict: it expects what is not there.
            let expected = (number % 3 == 0).then_some(1_000);
            let name = format!("tenant-{number}");
            store.commit(changes(&[(&name, expected, Some(named("x")))])).await.ok()
        });
    }
    let mut drawn: Vec<u64> = tasks.join_all().await.into_iter().flatten().map(|r| r.0).collect();
    drawn.sort_unstable();
    assert_eq!(drawn, (1..=40).collect::<Vec<_>>());
    assert_eq!(*seen.lock().unwrap(), (1..=40).collect::<Vec<_>>());
    assert_eq!(verify(&store).unwrap().rows, 40);
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    for number in 0..5_u64 {
        let name = format!("tenant-{number}");
        store.commit(changes(&[(&name, None, Some(named(&name)))])).await.unwrap();
    }
    let (before, verified) = (tenants(&store), verify(&store).unwrap());
    store.close();
    assert!(!folder.path().join("test.db-wal").exists(), "the log is folded into the file");
    let late = store.commit(changes(&[("late", None, Some(named("x")))])).await.unwrap_err();
    assert!(matches!(late, CommitError::Unavailable(_)), "{late}");

    let store = open(folder.path());
    assert_eq!(tenants(&store), before);
    assert_eq!(verify(&store).unwrap(), verified);
    let next = store.commit(changes(&[("late", None, Some(named("x")))])).await.unwrap();
    assert_eq!(next, Revision(6));
}

#[tokio::test]
async fn the_last_admin_token_cannot_be_revoked() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let token = |id: &str, scope| Token {
        id: id.into(),
        scope,
        label: "test".into(),
        secret_hash: [7; 32],
        created_at: at(3),
    };
    let with = |tokens: Vec<TokenChange>| Changeset { tokens, ..changes(&[]) };
    let create = |id: &str, scope| with(vec![TokenChange::Create(token(id, scope))]);
    let revoke = |id: &str| with(vec![TokenChange::Revoke(id.into())]);
    store.commit(create("aaaaaaaa", Scope::Admin)).await.unwrap();
    store.commit(create("bbbbbbbb", Scope::Sync)).await.unwrap();
    let refused = store.commit(revoke("aaaaaaaa")).await.unwrap_err();
    assert!(matches!(refused, CommitError::LastAdminToken), "{refused}");
    let unknown = store.commit(revoke("cccccccc")).await.unwrap_err();
    assert!(matches!(unknown, CommitError::UnknownToken(_)), "{unknown}");
    store.commit(revoke("bbbbbbbb")).await.unwrap();
    let left = store.read_blocking(|store| store.tokens()).unwrap();
    assert_eq!(left, [token("aaaaaaaa", Scope::Admin)]);
}

/// A folder with ten commits.
async fn ten_commits(prefix: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    for number in 0..10 {
        let name = format!("{prefix}-{number}");
        store.commit(changes(&[(&name, None, Some(named(&name)))])).await.unwrap();
    }
    store.close();
    folder
}

/// Something is done to a file with ten commits behind the store's back.
async fn tampered(sql: &str) -> Result<Verified, AuditFault> {
    let folder = ten_commits("tenant").await;
    let file = Connection::open(folder.path().join("test.db")).unwrap();
    let drop = "DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete;";
    file.execute_batch(drop).unwrap();
    file.execute_batch(sql).unwrap();
    file.close().unwrap();
    verify(&open(folder.path()))
}

#[tokio::test]
async fn a_row_that_is_changed_dropped_or_swapped_is_found() {
    assert_eq!(tampered("").await.unwrap().rows, 10, "without tampering it is whole");
    let found = [
        ("UPDATE audit SET actor = 'nobody' WHERE revision = 4", 4),
        ("UPDATE audit SET at = at + 1 WHERE revision = 4", 4),
        ("UPDATE audit SET after = replace(after, 'tenant-3', 'tenant-x') WHERE revision = 4", 4),
        ("UPDATE audit SET before = '' WHERE revision = 4", 4),
        ("UPDATE audit SET command = 'put_tenan', subject = 't' || subject WHERE revision = 4", 4),
        ("UPDATE audit SET hash = zeroblob(32) WHERE revision = 4", 4),
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
        (
            "DELETE FROM audit WHERE revision = 5;
             UPDATE audit SET revision = revision - 1 WHERE revision > 5;",
            5,
        ),
    ];
    for (sql, revision) in found {
        let fault = tampered(sql).await.expect_err(sql);
        assert_eq!(fault.revision, Revision(revision), "{sql}: {fault}");
    }
}

#[tokio::test]
async fn a_row_from_another_chain_is_found() {
    // Its own hash is right: only what comes before and after it tells.
    let other = ten_commits("other").await;
    let other = other.path().join("test.db");
    let sql = format!(
        "ATTACH '{}' AS other;
         DELETE FROM main.audit WHERE revision = 4;
         INSERT INTO main.audit SELECT * FROM other.audit WHERE revision = 4;",
        other.display()
    );
    assert_eq!(tampered(&sql).await.unwrap_err().revision, Revision(4));
    // The first row follows from nothing, so it is the second that does not fit.
    let first = sql.replace("revision = 4", "revision = 1");
    assert_eq!(tampered(&first).await.unwrap_err().revision, Revision(2));
}

#[tokio::test]
async fn the_audit_can_only_grow() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    store.commit(changes(&[("acme", None, Some(named("one")))])).await.unwrap();
    let file = Connection::open(folder.path().join("test.db")).unwrap();
    for sql in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"] {
        let error = file.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
}

#[tokio::test]
async fn a_commit_that_was_answered_is_in_the_file() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    store.commit(changes(&[("acme", None, Some(named("one")))])).await.unwrap();
    // Another process sees it at once, from the write-ahead log.
    let file = Connection::open(folder.path().join("test.db")).unwrap();
    let mode: String = file.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    let count: i64 = file.query_row("SELECT count(*) FROM tenant", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}
