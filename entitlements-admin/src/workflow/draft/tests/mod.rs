//! Drafts by example. `laws` has what holds for every catalog.

mod laws;

use entitlements_core::{Draft, document::Document};
use serde_json::{Value, json};

use super::*;

/// A small catalog, which the examples start from.
const CLINIC: &str = r#"
[features.seats]
name = "Staff seats"
kind = { limit = { unit = "seat" } }
[features.sms]
kind = "switch"
[features.sso]
kind = "switch"
[features.branding]
kind = { config = { schema = { type = "object" } } }

[bundles.basics]
grants = { sso = true }
[bundles.extras]
grants = { sms = true }

[plans.pro]
name = "Pro"
bundles = ["basics"]
grants = { seats = 20 }
versions = [
  { from = 2026-03-01T00:00:00Z, grants = { seats = 25 } },
  { from = 2026-06-01T00:00:00Z, grants = { seats = 30 } },
]

[promotions.spring]
window = { from = 2026-03-01T00:00:00Z, until = 2026-04-01T00:00:00Z }
audience = { plan = ["pro"] }
grants = { seats = "+5" }
"#;

fn catalog(toml: &str) -> Draft {
    Document::parse("test.toml", toml).unwrap().catalog
}

/// The small catalog with some text of it replaced.
fn clinic(replacements: &[(&str, &str)]) -> Draft {
    let replace = |text: String, (from, to): &(&str, &str)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    catalog(&replacements.iter().fold(CLINIC.into(), replace))
}

fn object(text: &str) -> ObjectRef {
    text.parse().unwrap()
}

fn value(catalog: &Draft, name: &str) -> Value {
    object(name).in_catalog(catalog).unwrap()
}

/// What becomes of a draft that makes `draft` of the clinic, once `live` is live.
fn merged(live: &Draft, draft: &Draft) -> Merged {
    merge(live, &diff(&clinic(&[]), draft))
}

#[test]
fn an_object_is_named_by_its_table_and_its_key_which_may_hold_dots() {
    for text in ["plans.pro", "add_ons.more-seats", "features.api.calls", "regions.eu_1"] {
        assert_eq!(object(text).to_string(), text);
    }
    assert_eq!(object("features.api.calls").kind(), ObjectKind::Feature);
    assert_eq!(object("features.api.calls").key(), "api.calls");
}

#[test]
fn a_text_that_names_no_object_is_told_why() {
    let error = |text: &str| text.parse::<ObjectRef>().unwrap_err().to_string();
    assert!(error("pro").contains("write its table and its key, such as `plans.pro`"));
    assert!(error("plan.pro").starts_with("`plan` is no table of a catalog: use one of `modules`"));
    assert!(error("plans.Pro").starts_with("`Pro` is not a plan key: use 1 to 128"));
    assert!(error("plans.").starts_with("`` is not a plan key"));
}

#[test]
fn each_kind_reads_and_writes_its_own_table() {
    for kind in ObjectKind::ALL {
        let name = ObjectRef::new(kind, "one").unwrap();
        let written = match kind {
            ObjectKind::Feature => json!({ "kind": "switch" }),
            ObjectKind::Region => json!({ "countries": ["DE"] }),
            _ => json!({ "name": "One" }),
        };
        let mut edits = Edits::default();
        assert!(edits.put(&Draft::default(), name.clone(), written.clone()));
        let merged = merge(&Draft::default(), &edits);
        assert!(merged.is_clean(), "{merged:?}");
        assert_eq!(name.in_catalog(&merged.draft), Some(written.clone()));
        assert_eq!(serde_json::to_value(&merged.draft).unwrap()[kind.table()]["one"], written);
        edits = Edits::default();
        assert!(edits.retire(&merged.draft, name));
        assert_eq!(merge(&merged.draft, &edits).draft, Draft::default());
    }
}

#[test]
fn an_edit_that_makes_no_difference_vanishes() {
    let live = clinic(&[]);
    let mut edits = Edits::default();
    // The same plan, written another way.
    let mut same = value(&live, "plans.pro");
    same["grants"]["seats"] = json!([{ "amount": 20 }]);
    same["description"] = json!("");
    assert!(!edits.put(&live, object("plans.pro"), same.clone()));
    assert!(edits.is_empty());

    let mut other = same.clone();
    other["name"] = json!("Professional");
    assert!(edits.put(&live, object("plans.pro"), other));
    assert_eq!(edits.len(), 1);
    assert!(!edits.put(&live, object("plans.pro"), same), "back to what it was");
    assert!(edits.is_empty());

    assert!(!edits.retire(&live, object("plans.gone")), "it was not there");
    assert!(edits.put(&live, object("plans.new"), json!({})));
    assert!(!edits.retire(&live, object("plans.new")), "made and retired in the same draft");
    assert!(edits.is_empty());
}

#[test]
fn an_object_edited_again_keeps_what_it_was_first_compared_with() {
    let base = clinic(&[]);
    let live = clinic(&[("seats = 20", "seats = 25")]);
    let wanted = |seats: u64| {
        let mut plan = value(&base, "plans.pro");
        plan["grants"]["seats"] = json!(seats);
        plan
    };
    let mut edits = Edits::default();
    edits.put(&base, object("plans.pro"), wanted(30));
    edits.put(&live, object("plans.pro"), wanted(40));
    assert_eq!(edits.get(&object("plans.pro")).unwrap().before, Some(value(&base, "plans.pro")));
    assert_eq!(merge(&live, &edits).conflicts.len(), 1);

    edits.resolve(&live, object("plans.pro"), Some(wanted(40)));
    let merged = merge(&live, &edits);
    assert!(merged.is_clean(), "{:?}", merged.conflicts);
    assert_eq!(value(&merged.draft, "plans.pro")["grants"]["seats"], 40);

    assert!(!edits.resolve(&live, object("plans.pro"), Some(wanted(25))), "live is right");
    assert!(edits.is_empty());
}

#[test]
fn reverting_drops_the_edit() {
    let live = clinic(&[]);
    let mut edits = Edits::default();
    edits.retire(&live, object("promotions.spring"));
    assert!(edits.revert(&object("promotions.spring")));
    assert!(!edits.revert(&object("promotions.spring")));
    assert_eq!(merge(&live, &edits).draft, live);
}

#[test]
fn edits_are_kept_by_the_name_of_their_object() {
    let edits = diff(&clinic(&[]), &clinic(&[("[features.sms]", "[features.\"text.messages\"]")]));
    let kept = serde_json::to_value(&edits).unwrap();
    assert_eq!(
        kept,
        json!({
            "features.sms": { "before": { "kind": "switch" } },
            "features.text.messages": { "after": { "kind": "switch" } },
        })
    );
    assert_eq!(serde_json::from_value::<Edits>(kept).unwrap(), edits);
    let error = serde_json::from_value::<Edits>(json!({ "plan.pro": {} })).unwrap_err();
    assert!(error.to_string().contains("`plan` is no table"), "{error}");
}

#[test]
fn what_both_sides_change_differently_is_a_conflict_that_names_both() {
    let live = clinic(&[("seats = 20", "seats = 25"), ("name = \"Pro\"", "name = \"Plus\"")]);
    let draft = clinic(&[("seats = 20", "seats = 30"), ("sms = true", "sms = true, seats = 1")]);
    let merged = merged(&live, &draft);
    let conflict = Conflict {
        path: "plans.pro.grants.seats".into(),
        base: Some(json!(20)),
        live: Some(json!(25)),
        draft: Some(json!(30)),
    };
    assert_eq!(
        conflict.to_string(),
        "plans.pro.grants.seats: it was `20` when the draft was made, is `25` in the live catalog \
         by now, and the draft says `30`; choose one"
    );
    assert_eq!(merged.conflicts, [conflict]);
    assert!(!merged.is_clean());
    // What is live stays in a conflict, and validation goes on.
    assert_eq!(value(&merged.draft, "plans.pro")["grants"]["seats"], 25);
    assert_eq!(value(&merged.draft, "plans.pro")["name"], "Plus");
    assert_eq!(value(&merged.draft, "bundles.extras")["grants"]["seats"], 1);
    assert!(merged.catalog.is_some());
}

#[test]
fn the_same_change_on_both_sides_is_no_conflict() {
    let both = clinic(&[("seats = 20", "seats = 25")]);
    let merged = merged(&both, &both);
    assert!(merged.is_clean());
    assert_eq!(merged.draft, both);
}

#[test]
fn retiring_what_the_other_side_has_edited_is_a_conflict_at_the_object() {
    let base = clinic(&[]);
    let live = clinic(&[("seats = \"+5\"", "seats = \"+6\"")]);
    let mut edits = Edits::default();
    edits.retire(&base, object("promotions.spring"));
    let retired = merge(&live, &edits);
    assert_eq!(retired.conflicts.len(), 1);
    assert_eq!(retired.conflicts[0].path, "promotions.spring");
    assert_eq!(retired.conflicts[0].draft, None);
    assert_eq!(retired.draft, live, "what is live stays");

    let mut gone = base.clone();
    gone.promotions.clear();
    let edited = merge(&gone, &diff(&base, &live));
    assert_eq!(edited.conflicts[0].path, "promotions.spring");
    assert_eq!(edited.conflicts[0].live, None);
    assert_eq!(edited.draft, gone);

    let both = merge(&gone, &edits);
    assert!(both.is_clean(), "both retired it");
}

#[test]
fn sets_are_merged_by_element_and_grants_by_feature() {
    let live = clinic(&[
        ("bundles = [\"basics\"]", "bundles = [\"basics\", \"extras\"]"),
        ("grants = { seats = 20 }", "grants = { seats = 20, sms = true }"),
    ]);
    let draft = clinic(&[
        ("bundles = [\"basics\"]", "bundles = []"),
        ("grants = { seats = 20 }", "grants = { sso = true }"),
    ]);
    let merged = merged(&live, &draft);
    assert!(merged.is_clean(), "{:?}", merged.conflicts);
    let plan = value(&merged.draft, "plans.pro");
    assert_eq!(plan["bundles"], json!(["extras"]));
    assert_eq!(plan["grants"], json!({ "sms": true, "sso": true }));
}

#[test]
fn the_settings_of_a_config_are_one_value() {
    let live = clinic(&[("seats = 20", "seats = 20, branding = { color = \"red\" }")]);
    let draft = clinic(&[("seats = 20", "seats = 20, branding = { logo = true }")]);
    let merged = merged(&live, &draft);
    assert_eq!(merged.conflicts.len(), 1);
    assert_eq!(merged.conflicts[0].path, "plans.pro.grants.branding");
    assert_eq!(merged.draft, live);
}

#[test]
fn conflicts_are_told_by_path() {
    let change = |seats: u64, name: &str| {
        let name = format!("name = \"{name}\"");
        clinic(&[
            ("name = \"Pro\"", &name),
            ("name = \"Staff seats\"", &name),
            ("[bundles.basics]", &format!("[bundles.basics]\n{name}")),
            ("seats = 20", &format!("seats = {seats}")),
        ])
    };
    let merged = merged(&change(1, "One"), &change(2, "Two"));
    let paths: Vec<_> = merged.conflicts.iter().map(|conflict| &*conflict.path).collect();
    let expected =
        ["bundles.basics.name", "features.seats.name", "plans.pro.grants.seats", "plans.pro.name"];
    assert_eq!(paths, expected);
}

#[test]
fn edits_that_were_kept_in_another_notation_mean_the_same() {
    let live = clinic(&[("seats = 20", "seats = 25")]);
    let mut after = value(&clinic(&[]), "plans.pro");
    let mut before = after.clone();
    before["grants"]["seats"] = json!([{ "amount": 20 }]);
    after["grants"]["sms"] = json!(true);
    let kept = json!({ "plans.pro": { "before": before, "after": after } });
    let merged = merge(&live, &serde_json::from_value(kept).unwrap());
    assert_eq!(merged.conflicts, []);
    assert_eq!(merged.draft, clinic(&[("seats = 20", "seats = 25, sms = true")]));
}

#[test]
fn two_versions_that_start_together_are_not_taken_for_one() {
    let live = clinic(&[("{ seats = 25 }", "{ seats = 26 }")]);
    let draft = clinic(&[("{ from = 2026-06-01", "{ from = 2026-03-01")]);
    let disputed = merged(&live, &draft);
    assert_eq!(disputed.conflicts.len(), 1);
    assert_eq!(disputed.conflicts[0].path, "plans.pro.versions");
    let alone = merged(&clinic(&[]), &draft);
    assert_eq!(alone.draft, draft);
    let codes: Vec<_> = alone.problems.iter().map(|problem| &*problem.code).collect();
    assert_eq!(codes, ["duplicate_version"]);
}

#[test]
fn versions_of_a_plan_are_merged_by_the_instant_they_start() {
    let live = clinic(&[
        ("{ seats = 25 }", "{ seats = 26 }"),
        ("{ seats = 30 } },", "{ seats = 30 } },\n { from = 2026-09-01T00:00:00Z },"),
    ]);
    let draft = clinic(&[
        ("{ seats = 25 }", "{ seats = 27, sms = true }"),
        ("  { from = 2026-06-01T00:00:00Z", "  { from = 2026-12-01T00:00:00Z"),
    ]);
    let merged = merged(&live, &draft);
    let paths: Vec<_> = merged.conflicts.iter().map(|conflict| &*conflict.path).collect();
    assert_eq!(paths, ["plans.pro.versions[2026-03-01T00:00:00Z].grants.seats"]);
    assert_eq!(
        value(&merged.draft, "plans.pro")["versions"],
        json!([
            { "from": "2026-03-01T00:00:00Z", "grants": { "seats": 26, "sms": true } },
            { "from": "2026-09-01T00:00:00Z" },
            { "from": "2026-12-01T00:00:00Z", "grants": { "seats": 30 } },
        ])
    );
}

#[test]
fn a_version_that_one_side_drops_and_the_other_edits_is_a_conflict() {
    let second = "  { from = 2026-06-01T00:00:00Z, grants = { seats = 30 } },\n";
    let live = clinic(&[(second, "")]);
    let draft = clinic(&[("{ seats = 30 }", "{ seats = 31 }")]);
    let merged = merged(&live, &draft);
    assert_eq!(merged.conflicts.len(), 1);
    assert_eq!(merged.conflicts[0].path, "plans.pro.versions[2026-06-01T00:00:00Z]");
    assert_eq!(merged.draft, live);
}

#[test]
fn the_ends_of_a_window_are_two_fields_and_the_kind_of_a_feature_is_one() {
    let live = clinic(&[
        ("from = 2026-03-01T00:00:00Z, until", "from = 2026-02-01T00:00:00Z, until"),
        ("unit = \"seat\"", "unit = \"chair\""),
    ]);
    let draft = clinic(&[
        ("until = 2026-04-01T00:00:00Z", "until = 2026-05-01T00:00:00Z"),
        ("{ limit = { unit = \"seat\" } }", "{ level = { levels = [\"few\", \"many\"] } }"),
        ("{ seats = 20 }", "{ seats = \"many\" }"),
    ]);
    let merged = merged(&live, &draft);
    let paths: Vec<_> = merged.conflicts.iter().map(|conflict| &*conflict.path).collect();
    assert_eq!(paths, ["features.seats.kind"]);
    assert_eq!(
        value(&merged.draft, "promotions.spring")["window"],
        json!({ "from": "2026-02-01T00:00:00Z", "until": "2026-05-01T00:00:00Z" })
    );
    // With what is live in place of the conflict, the draft's own grant no longer fits.
    let codes: Vec<_> = merged.problems.iter().map(|p| (&*p.path, &*p.code)).collect();
    assert_eq!(codes, [("plans.pro.grants.seats", "wrong_kind")]);
    assert_eq!(merged.catalog, None);
}

#[test]
fn an_audience_that_says_everyone_is_not_one_that_is_absent() {
    // A segment without an audience is nobody's but by tag; with an empty one it is everyone's.
    let base = catalog("[segments.all]\naudience = { country = [\"DE\"] }");
    let everyone = catalog("[segments.all]\naudience = {}");
    let nobody = catalog("[segments.all]");
    let merged = merge(&nobody, &diff(&base, &everyone));
    assert_eq!(merged.conflicts.len(), 1);
    assert_eq!(merged.conflicts[0].path, "segments.all.audience");
    assert_eq!(
        changes(&nobody, &everyone).to_string(),
        "+ segments.all.audience: {}\n",
        "a change without a field in it is told of all the same"
    );
}

#[test]
fn all_that_cannot_be_read_and_all_that_does_not_fit_is_told_at_once() {
    let live = clinic(&[]);
    let mut edits = Edits::default();
    let plan = json!({
        "nmae": "Pro",
        "bundles": ["basics", "Not A Key", "gone", "Nor This"],
        "grants": { "seats": -1, "sms": false, "gone": true, "Bad Key": 1 },
        "versions": [
            { "grants": { "seats": 1 } },
            { "from": "soon" },
            { "from": "2026-03-01T00:00:00Z", "grants": { "seats": true, "sms": "+x" } },
        ],
    });
    edits.put(&live, object("plans.pro"), plan);
    edits.put(&live, object("features.sms"), json!({ "kind": "swich" }));
    edits.put(&live, object("features.new"), json!(5));
    edits.put(&live, object("bundles.extras"), json!({ "grants": { "nothing": true } }));
    let merged = merge(&live, &edits);
    let mut found: Vec<_> =
        merged.problems.iter().map(|p| format!("{} {}", p.path, p.code)).collect();
    found.sort();
    let expected = [
        "bundles.extras.grants.nothing unknown_feature",
        "features.new syntax",
        "features.sms.kind syntax",
        "plans.pro.bundles unknown_bundle",
        "plans.pro.bundles[1] syntax",
        "plans.pro.bundles[3] syntax",
        "plans.pro.grants.Bad Key syntax",
        "plans.pro.grants.gone unknown_feature",
        "plans.pro.grants.seats syntax",
        "plans.pro.grants.sms syntax",
        "plans.pro.nmae syntax",
        "plans.pro.versions[0] syntax",
        "plans.pro.versions[0].grants.seats wrong_kind",
        "plans.pro.versions[1].from syntax",
        "plans.pro.versions[2].grants.sms syntax",
    ];
    assert_eq!(found, expected, "{:#?}", merged.problems);
    assert_eq!(merged.catalog, None);
}

#[test]
fn what_cannot_be_read_is_kept_as_it_was_written_and_read_again_once_it_is_right() {
    let live = clinic(&[]);
    let mut edits = Edits::default();
    edits.put(&live, object("features.sms"), json!({ "kind": "swich" }));
    assert_eq!(edits.get(&object("features.sms")).unwrap().after, Some(json!({ "kind": "swich" })));
    let merged = merge(&live, &edits);
    assert_eq!(merged.problems.len(), 1);
    assert_eq!(merged.catalog, None, "what is left makes sense, but is not what was meant");
    edits.put(&live, object("features.sms"), json!({ "kind": "switch", "name": "SMS" }));
    assert!(merge(&live, &edits).is_clean());
}

#[test]
fn an_object_with_more_mistakes_than_anybody_reads_is_not_read_for_ever() {
    let live = clinic(&[]);
    let mut edits = Edits::default();
    let bad: Vec<_> = (0..5_000).map(|i| format!("Bad {i}")).collect();
    edits.put(&live, object("bundles.basics"), json!({ "bundles": bad }));
    let merged = merge(&live, &edits);
    assert_eq!(merged.problems.len(), 100);
    assert_eq!(merged.draft, live);
}

#[test]
fn the_difference_of_two_catalogs_reads_as_a_line_for_each_field() {
    let to = clinic(&[
        ("seats = 20", "seats = 25, sms = true"),
        ("bundles = [\"basics\"]", "bundles = [\"extras\"]"),
        ("name = \"Staff seats\"\n", ""),
        ("[features.sso]", "[features.sso]\navailable_to = { country = [\"DE\"] }"),
        ("[bundles.extras]", "[bundles.more]\n[bundles.extras]"),
        ("{ seats = 30 }", "{ seats = 30 }, existing_from = 2027-01-01T00:00:00Z"),
        ("[promotions.spring]", "[promotions.summer]"),
        ("[features.branding]", "[features.look]"),
    ]);
    let expected = r#"+ bundles.more
- features.branding
+ features.look
- features.seats.name: "Staff seats"
+ features.sso.available_to.country: ["DE"]
- plans.pro.bundles: "basics"
+ plans.pro.bundles: "extras"
~ plans.pro.grants.seats: 20 -> 25
+ plans.pro.grants.sms: true
+ plans.pro.versions[2026-06-01T00:00:00Z].existing_from: "2027-01-01T00:00:00Z"
- promotions.spring
+ promotions.summer
"#;
    assert_eq!(changes(&clinic(&[]), &to).to_string(), expected);
}

#[test]
fn versions_in_another_order_are_a_change_of_the_list() {
    let one = catalog(
        "[plans.a]\nversions = [{ from = 2026-01-01T00:00:00Z }, { from = 2027-01-01T00:00:00Z }]",
    );
    let mut other = one.clone();
    other.plans.values_mut().for_each(|plan| plan.versions.reverse());
    let changes = changes(&one, &other);
    assert_eq!(changes.0.len(), 1);
    assert_eq!(changes.0[0].path, "plans.a.versions");
}

#[test]
fn a_digest_is_of_the_catalog_and_of_the_preview() {
    let (one, other) = (clinic(&[]), clinic(&[("seats = 20", "seats = 21")]));
    assert_eq!(digest(&one, b"preview"), digest(&one.clone(), b"preview"));
    assert_ne!(digest(&one, b"preview"), digest(&other, b"preview"));
    assert_ne!(digest(&one, b"preview"), digest(&one, b"previeW"));
    assert_ne!(digest(&one, b""), digest(&one, b"\0"));
}
