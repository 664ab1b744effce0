//! Publishing is one step and never goes back; following a file keeps the last good one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use entitlements_core::{
    Catalog, Entitlements, FeatureHandle, Revision, Snapshot, TenantHandle, Timestamp,
    document::Document,
};

const AT: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// A world in which both features are on, or neither.
fn snapshot(revision: u64) -> Snapshot {
    let amount = if revision.is_multiple_of(2) { "a = true, b = true" } else { "" };
    let text = format!(
        "[features.a]\nkind = \"switch\"\n[features.b]\nkind = \"switch\"\n[plans.p]\ngrants = {{ {amount} }}\n[tenants.t]\nsubscriptions = [{{ plan = \"p\" }}]"
    );
    let document = Document::parse("w.toml", &text).unwrap();
    let catalog: Arc<Catalog> = Arc::new(document.check().unwrap());
    Snapshot::compile(Revision(revision), catalog, &document.tenants, AT)
}

#[test]
fn an_older_revision_is_refused_and_the_same_one_replaces() {
    let live = Entitlements::new(snapshot(5));
    let error = live.publish(snapshot(4)).unwrap_err();
    assert_eq!((error.offered, error.current), (Revision(4), Revision(5)));
    assert_eq!(live.pin().revision(), Revision(5));
    live.publish(snapshot(5)).unwrap();
    live.publish(snapshot(6)).unwrap();
    assert_eq!(live.pin().revision(), Revision(6));
}

#[test]
fn checks_under_one_view_agree_while_others_publish() {
    let live = Entitlements::new(snapshot(0));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut rounds = 0_u64;
            let mut last = Revision(0);
            while !done.load(Ordering::Relaxed) || rounds < 1_000 {
                let pin = live.pin();
                let (a, b) = (pin.check("t", "a", AT), pin.check("t", "b", AT));
                assert_eq!(a.is_allowed(), b.is_allowed());
                assert_eq!(a.is_allowed(), pin.revision().0.is_multiple_of(2));
                assert!(pin.revision() >= last, "went back from {last} to {}", pin.revision());
                last = pin.revision();
                rounds += 1;
            }
        });
        let worlds: Vec<_> = (1..300).map(snapshot).collect();
        worlds.into_iter().for_each(|next| live.publish(next).unwrap());
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert_eq!(live.pin().revision(), Revision(299));
}

#[test]
fn of_many_publishers_the_highest_revision_stays() {
    let live = Entitlements::new(snapshot(0));
    thread::scope(|scope| {
        for start in 0..4 {
            let live = &live;
            scope.spawn(move || (0..50).for_each(|i| _ = live.publish(snapshot(start + i * 4))));
        }
    });
    assert_eq!(live.pin().revision(), Revision(199));
}

#[test]
fn a_handle_follows_what_it_names_when_places_move() {
    let text = |extra: &str| {
        format!(
            "{extra}[features.m]\nkind = \"switch\"\n[features.z]\nkind = \"switch\"\n[plans.p]\ngrants = {{ m = true }}\n[tenants.t]\nsubscriptions = [{{ plan = \"p\" }}]\n[tenants.u]"
        )
    };
    let world = |extra: &str, revision| {
        let document = Document::parse("w.toml", &text(extra)).unwrap();
        Snapshot::compile(
            Revision(revision),
            Arc::new(document.check().unwrap()),
            &document.tenants,
            AT,
        )
    };
    let (tenant, feature) = (TenantHandle::new("t"), FeatureHandle::new("m"));
    let first = world("", 1);
    assert!(first.check(&tenant, &feature, AT).is_allowed());
    // Another feature moves `m` to the place where `z` was.
    let second = world("[features.a]\nkind = \"switch\"\n", 2);
    assert!(second.check(&tenant, &feature, AT).is_allowed());
    assert!(first.check(&tenant, &feature, AT).is_allowed());
    // Another tenant takes the place of `t`.
    let key = entitlements_core::TenantKey::new("t").unwrap();
    let third = second.with_tenants(Revision(3), [(&key, None)], AT);
    assert_eq!(third.check(&tenant, &feature, AT).reason().code(), "unknown_tenant");
    assert_eq!(
        third.check(&tenant, &FeatureHandle::new("nothing"), AT).reason().code(),
        "unknown_tenant"
    );
}

#[test]
fn many_tenants_come_and_go_one_by_one() {
    let mut current = snapshot(0);
    let tenant = current.tenant("t").unwrap().tenant();
    let key = |i: u64| entitlements_core::TenantKey::new(&format!("many-{i}")).unwrap();
    for i in 0..3_000 {
        current = current.with_tenants(Revision(i), [(&key(i), Some(&tenant))], AT);
        if i % 3 == 0 {
            current = current.with_tenants(Revision(i), [(&key(i / 2), None)], AT);
        }
    }
    let gone = |i: u64| (0..3_000).step_by(3).any(|step| step / 2 == i);
    for i in 0..3_000 {
        assert_eq!(current.check(key(i).as_str(), "a", AT).is_allowed(), !gone(i), "{i}");
    }
    let left = (0..3_000).filter(|i| !gone(*i)).count();
    assert_eq!(current.tenant_count(), left + 1);
    assert_eq!(current.tenants().count(), left + 1);
}

#[test]
fn many_tenants_come_at_once() {
    let first = snapshot(0);
    let tenant = first.tenant("t").unwrap().tenant();
    let key = |i: usize| entitlements_core::TenantKey::new(&format!("many-{i}")).unwrap();
    let keys: Vec<_> = (0..100_000).map(key).collect();
    let gone = entitlements_core::TenantKey::new("t").unwrap();
    let changed =
        keys.iter().map(|key| (key, Some(&tenant))).chain([(&keys[7], None), (&gone, None)]);
    let many = first.with_tenants(Revision(2), changed, AT);
    assert_eq!(many.tenant_count(), 99_999);
    assert!(!many.check("t", "a", AT).is_allowed());
    for (i, key) in keys.iter().enumerate() {
        assert_eq!(many.check(key.as_str(), "a", AT).is_allowed(), i != 7, "{i}");
        assert_eq!(
            many.tenant(key.as_str()).map(|view| view.key().to_owned()),
            (i != 7).then(|| key.to_string())
        );
    }
}

#[test]
fn amounts_of_every_tenant_may_differ() {
    let text = "[features.a]\nkind = { limit = { unit = \"seat\" } }";
    let document = Document::parse("w.toml", text).unwrap();
    let tenant = |amount: u64| entitlements_core::Tenant {
        overrides: vec![entitlements_core::Override {
            feature: entitlements_core::FeatureKey::new("a").unwrap(),
            amount: Some(entitlements_core::Amount::Set(entitlements_core::Limit::AtMost(amount))),
            window: entitlements_core::Window::ALWAYS,
            force: false,
            author: None,
            note: None,
        }],
        ..Default::default()
    };
    let key = |i: u64| entitlements_core::TenantKey::new(&format!("t{i}")).unwrap();
    let tenants: Vec<_> = (1..2_000).map(|i| (key(i), tenant(i))).collect();
    let catalog = Arc::new(document.check().unwrap());
    let mut all = Snapshot::compile(
        Revision(1),
        catalog,
        tenants.iter().map(|(key, tenant)| (key, tenant)),
        AT,
    );
    for i in (1..2_000).step_by(7) {
        all = all.with_tenants(Revision(i), [(&key(i), Some(&tenant(i + 5_000)))], AT);
    }
    for i in 1..2_000 {
        let expected = if i % 7 == 1 { i + 5_000 } else { i };
        assert_eq!(all.check(key(i).as_str(), "a", AT).verdict().to_string(), expected.to_string());
    }
}

#[cfg(feature = "watch")]
mod watch {
    use std::{fs, sync::mpsc, time::Duration};

    use entitlements_core::watch::WatchEvent;

    use super::*;

    const WAIT: Duration = Duration::from_secs(20);

    fn text(amount: u64) -> String {
        format!(
            "[features.a]\nkind = {{ limit = {{ unit = \"seat\" }} }}\n[plans.p]\ngrants = {{ a = {amount} }}\n[tenants.t]\nsubscriptions = [{{ plan = \"p\" }}]"
        )
    }

    #[test]
    fn a_file_is_followed_and_a_bad_one_is_told_of_and_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.toml");
        fs::write(&path, text(1)).unwrap();
        let (sender, events) = mpsc::channel();
        let watch =
            Entitlements::watch(&path, || AT, move |event| sender.send(event).unwrap()).unwrap();
        let live = watch.entitlements().clone();
        let answer = || live.pin().check("t", "a", AT).verdict().to_string();
        assert_eq!(answer(), "1");

        // Replaced by a rename, as careful programs write.
        fs::write(folder.path().join("next"), text(2)).unwrap();
        fs::rename(folder.path().join("next"), &path).unwrap();
        assert!(matches!(events.recv_timeout(WAIT).unwrap(), WatchEvent::Published(Revision(2))));
        assert_eq!(answer(), "2");

        fs::write(folder.path().join("next"), "[plans.p]\nextends = \"gone\"").unwrap();
        fs::rename(folder.path().join("next"), &path).unwrap();
        let WatchEvent::Kept(error) = events.recv_timeout(WAIT).unwrap() else {
            panic!("was used")
        };
        assert!(
            error.to_string().contains("catalog.toml:2: plans.p.extends: there is no plan `gone`"),
            "{error}"
        );
        assert_eq!(answer(), "2");

        // Written in place, as editors do.
        fs::write(&path, text(3)).unwrap();
        loop {
            if let WatchEvent::Published(_) = events.recv_timeout(WAIT).unwrap() {
                break;
            }
        }
        assert_eq!(answer(), "3");
    }

    #[test]
    fn a_snapshot_file_is_followed_and_an_older_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("entitlements.snapshot");
        let put = |snapshot: Snapshot| {
            fs::write(folder.path().join("next"), snapshot.encode()).unwrap();
            fs::rename(folder.path().join("next"), &path).unwrap();
        };
        put(snapshot(4));
        let (sender, events) = mpsc::channel();
        let watch =
            Entitlements::watch(&path, || AT, move |event| sender.send(event).unwrap()).unwrap();
        put(snapshot(3));
        let WatchEvent::Kept(error) = events.recv_timeout(WAIT).unwrap() else {
            panic!("was used")
        };
        assert!(error.to_string().contains("revision 3 is older than 4"), "{error}");
        assert_eq!(watch.entitlements().pin().revision(), Revision(4));
        put(snapshot(6));
        assert!(matches!(events.recv_timeout(WAIT).unwrap(), WatchEvent::Published(Revision(6))));
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_that_names_it() {
        let error = Entitlements::watch("no/such/file.toml", || AT, |_| {}).unwrap_err();
        assert!(error.to_string().contains("no/such"), "{error}");
    }
}
