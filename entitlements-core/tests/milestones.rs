//! The instants that are named when two catalogs differ are those at which the difference changes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[expect(dead_code, reason = "nothing is held against the naive answers")]
mod support;

use std::{collections::BTreeSet, sync::Arc};

use entitlements_core::{
    Catalog, Draft, ImpactOptions, Milestone, Revision, Snapshot, Tenant, Timestamp, Window,
    document::Document,
};
use support::{
    change::changed,
    world::{Random, START, World},
};

const WORLDS: u64 = 400;
const HOUR: i64 = 3_600_000_000;

fn worlds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test's own setting")]
    std::env::var("ENTITLEMENTS_WORLDS").ok().and_then(|text| text.parse().ok()).unwrap_or(WORLDS)
}

fn catalog(draft: &Draft) -> Arc<Catalog> {
    Arc::new(Catalog::new(draft.clone()).unwrap_or_else(|errors| panic!("{errors}")))
}

/// Makes a tenant's own time stand still, but for its subscriptions, so that what changes is the
/// catalog's doing. Says when they begin and end.
fn still(tenant: &mut Tenant) -> BTreeSet<Timestamp> {
    tenant.signed_up_at = Some(Timestamp::from_micros(START - 2_400 * HOUR));
    tenant.add_ons.iter_mut().for_each(|entry| entry.window = Window::ALWAYS);
    tenant.enrolments.iter_mut().for_each(|entry| entry.window = Window::ALWAYS);
    tenant.overrides.iter_mut().for_each(|entry| entry.window = Window::ALWAYS);
    tenant.blocks.iter_mut().for_each(|entry| entry.window = Window::ALWAYS);
    let windows = tenant.subscriptions.iter().map(|entry| &entry.window);
    windows.flat_map(|window| [window.start(), window.end()]).collect()
}

#[test]
fn between_two_milestones_the_difference_stays() {
    let (mut turns, mut named, mut instants) = (0, 0, 0);
    for seed in 0..worlds() {
        let world = World::new(seed, 8);
        let draft = changed(&world.draft, &mut Random(seed ^ 0x1234));
        let (before, after) = (catalog(&world.draft), catalog(&draft));
        let milestones: BTreeSet<_> = before.milestones(&after).into_iter().map(|m| m.at).collect();
        for (key, tenant) in &world.tenants {
            let mut tenant = tenant.clone();
            let own = still(&mut tenant);
            // Every instant of these worlds is a full hour, so between two hours nothing happens.
            let hours = (-1..38).map(|hour| Timestamp::from_micros(START + hour * HOUR));
            let now = Timestamp::from_micros(START);
            let old = Snapshot::compile(Revision(1), before.clone(), [(key, &tenant)], now);
            let new = Snapshot::compile(Revision(2), after.clone(), [(key, &tenant)], now);
            let mut last = None;
            for at in hours {
                let changes: Vec<_> = old.changes(&new, at).collect();
                if last.as_ref().is_some_and(|last| *last != changes) && !own.contains(&at) {
                    assert!(milestones.contains(&at), "seed {seed}, {key}, {at}: {milestones:?}");
                    turns += 1;
                }
                last = Some(changes);
            }
        }
        named += milestones.len();
        instants += 37;
    }
    println!("{turns} turns; {named} of {instants} hours are named");
    assert!(turns > worlds(), "{turns}");
}

const NOW: &str = r#"
    [features]
    a = { kind = "switch" }
    b = { kind = { limit = { unit = "seat" } } }
    c = { kind = "switch", requires = ["a"] }
    [plans.basic]
    grants = { b = 3 }
    [[plans.basic.versions]]
    from = 2026-02-01
    existing_from = 2026-03-01
    grants = { b = 5 }
    [promotions.spring]
    window = { from = 2026-04-01, until = 2026-05-01 }
    grants = { a = true }
    [promotions.other]
    window = { from = 2026-06-01, until = 2026-07-01 }
    grants = { b = 7 }
    [promotions.late]
    window = { from = 2026-08-01, until = 2026-09-01 }
    grants = { c = true }
    [tenants.t]
    subscriptions = [{ plan = "basic" }]
"#;

fn named(change: impl Fn(String) -> String) -> Vec<Milestone> {
    let read = |text: &str| Document::parse("c.toml", text).unwrap().check().unwrap();
    read(NOW).milestones(&read(&change(NOW.to_owned())))
}

fn days(milestones: &[Milestone]) -> Vec<String> {
    milestones.iter().map(|milestone| milestone.at.to_string()[5..10].to_owned()).collect()
}

#[test]
fn what_does_not_differ_names_nothing() {
    assert_eq!(named(|text| text), []);
    // Nor do words for people.
    assert_eq!(named(|text| text.replace("[plans.basic]", "[plans.basic]\nname = \"B\"")), []);
}

#[test]
fn a_promotion_names_its_old_and_its_new_window_and_what_requires_its_feature() {
    let found = named(|text| text.replace("until = 2026-05-01", "until = 2026-05-15"));
    // `c` requires `a`, so that the promotion of `c` may show the difference too.
    assert_eq!(days(&found), ["04-01", "05-01", "05-15", "08-01", "09-01"]);
    let events: Vec<_> = found[1].events.iter().map(|e| (&*e.source, e.kind)).collect();
    assert_eq!(events, [("promotion:spring", entitlements_core::MilestoneKind::Ends)]);
}

#[test]
fn a_plan_version_names_when_it_reaches_whom_and_the_promotions_that_hide_it() {
    let found = named(|text| text.replace("grants = { b = 5 }", "grants = { b = 6 }"));
    assert_eq!(days(&found), ["02-01", "03-01", "06-01", "07-01"]);
}

#[test]
fn at_a_milestone_itself_the_new_state_holds() {
    let read = |text: &str| Document::parse("c.toml", text).unwrap();
    let (now, draft) =
        (read(NOW), read(&NOW.replace("grants = { a = true }", "grants = { b = 9 }")));
    let (before, after) = [&now, &draft].map(|d| Arc::new(d.check().unwrap())).into();
    let milestones = before.milestones(&after);
    let at = milestones.iter().find(|m| days(&[(*m).clone()]) == ["04-01"]).unwrap().at;
    let old = Snapshot::compile(Revision(1), before, &now.tenants, at);
    let new = old.with_catalog(Revision(2), after, at);
    let raised = |at: Timestamp| {
        old.impact(&new, at, ImpactOptions::default()).all.features.get("b").map(|b| b.raised)
    };
    assert_eq!(raised(Timestamp::from_micros(at.as_micros() - 1)), None);
    assert_eq!(raised(at), Some(1));
}
