//! What is wrong is found, all of it at once, with its place.

use entitlements_core::{Catalog, document::Document};

/// Twenty lines that are wrong, each marked with the code that is expected.
const MISTAKES: &str = r#"
[modules.team]
requires = ["nothing"]                                   # unknown_feature

[features.sso]
kind = "switch"
module = "missing"                                       # unknown_module
requires = ["users"]                                     # circle
available_to = { region = ["atlantis"] }                 # unknown_region
[features.users]
kind = "switch"
requires = ["sso"]
[features.seats]
kind = { limit = { unit = "" } }                         # no_unit
[features.support]
kind = { level = { levels = ["low", "low", "none"] } }   # duplicate_level # reserved_level
[features.look]
kind = { config = { schema = { type = "object", properties = { color = { type = "string" } } } } }
[features.odd]
kind = { config = { schema = { type = "nonsense" } } }   # bad_schema

[bundles.one]
bundles = ["one"]                                        # circle
grants = { sso = 5 }                                     # wrong_kind
[bundles.two]
grants = { nothing = true, support = "gold", look = { color = 5 } } # unknown_feature # unknown_level # bad_config

[plans.pro]
extends = "basic"                                        # unknown_plan
bundles = ["three"]                                      # unknown_bundle
versions = [{ from = 2026-02-01T00:00:00Z, existing_from = 2026-01-01T00:00:00Z }, { from = 2026-02-01T00:00:00Z }] # version_order # duplicate_version

[add_ons.sms]
requires = ["voice"]                                     # unknown_add_on
excludes = ["sms"]                                       # excludes_itself
max_quantity = 0                                         # no_quantity

[promotions.spring]
priority = 5                                             # idle_priority
enrolment = { by_request = { cap = 0 } }                 # no_quantity
audience = { age = { days_min = 9, days_below = 9 } }    # empty_age

[segments.dental]
audience = { segment = ["dental"] }                      # circle

[regions.dach]
countries = []                                           # no_countries
"#;

fn expected() -> Vec<&'static str> {
    let mut codes: Vec<_> =
        MISTAKES.lines().flat_map(|line| line.split("# ").skip(1)).map(str::trim).collect();
    codes.sort_unstable();
    codes
}

#[test]
fn a_catalog_with_many_mistakes_has_as_many_findings() {
    let document = Document::parse("bad.toml", MISTAKES).unwrap();
    let problems = Catalog::new(document.catalog).unwrap_err().0;
    let mut codes: Vec<_> = problems.iter().map(|problem| &*problem.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, expected(), "{problems:#?}");
    assert!(codes.len() >= 20, "{} mistakes", codes.len());
}

#[test]
fn each_finding_names_the_file_the_line_and_the_path() {
    let document = Document::parse("bad.toml", MISTAKES).unwrap();
    let text = document.check().unwrap_err().to_string();
    let line = |part: &str| MISTAKES.lines().position(|line| line.contains(part)).unwrap() + 1;
    for (part, path) in [
        (
            "grants = { sso = 5 }",
            "bundles.one.grants.sso: `5` does not fit: `sso` is a switch; write `true`",
        ),
        ("extends = \"basic\"", "plans.pro.extends: there is no plan `basic`"),
        ("countries = []", "regions.dach.countries: a region needs at least one country"),
    ] {
        let expected = format!("bad.toml:{}: {path}", line(part));
        assert!(text.lines().any(|line| line == expected), "expected `{expected}` in\n{text}");
    }
}

#[test]
fn a_tenant_that_does_not_fit_is_told_of_with_its_path() {
    let text = r#"
        [features.seats]
        kind = { limit = { unit = "seat" } }
        [add_ons.more]
        max_quantity = 2
        [tenants.acme]
        subscriptions = [{ plan = "gone" }]
        add_ons = [{ add_on = "more", quantity = 3 }, { add_on = "more" }]
        enrolments = [{ promotion = "gone" }]
        overrides = [
          { feature = "seats", amount = true },
          { feature = "seats", amount = 5 },
          { feature = "seats", force = true, window = { until = 2020-01-01 } },
        ]
        blocks = [{ owner = "billing", features = ["gone"] }]
        segments = ["gone"]
    "#;
    let error = Document::parse("t.toml", text).unwrap().check().unwrap_err();
    let mut found: Vec<_> =
        error.problems().into_iter().map(|p| format!("{} {}", p.path, p.code)).collect();
    found.sort();
    let expected = [
        "tenants.acme.add_ons[0].quantity too_many",
        "tenants.acme.add_ons[1] overlap",
        "tenants.acme.blocks[0].features unknown_feature",
        "tenants.acme.enrolments[0].promotion unknown_promotion",
        "tenants.acme.overrides[0].amount wrong_kind",
        "tenants.acme.overrides[1] overlap",
        "tenants.acme.overrides[2] overlap",
        "tenants.acme.overrides[2].force idle_force",
        "tenants.acme.segments unknown_segment",
        "tenants.acme.subscriptions[0].plan unknown_plan",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_document_that_cannot_be_read_names_the_line_the_path_and_what_was_expected() {
    for (name, text, expected) in [
        (
            "a.toml",
            "[features.a]\nkind = \"swich\"",
            "a.toml:2: features.a.kind: unknown variant `swich`, expected one of",
        ),
        (
            "a.toml",
            "[tenants.a]\nsubscriptions = [[\"p\"]]",
            "a.toml:2: tenants.a.subscriptions[0]: invalid type: sequence, expected a table with",
        ),
        (
            "a.json",
            "{\"tenants\": {\"a\": {\"subscriptions\": [[\"p\"]]}}}",
            "a.json:1: tenants.a.subscriptions[0]: invalid type: sequence, expected a table with",
        ),
        ("a.toml", "[feature.a]", "a.toml:1: feature: unknown field `feature`, expected one of"),
        (
            "a.toml",
            "[plans.p]\ngrants = { a = -1 }",
            "a.toml:2: plans.p.grants.a: `-1` is below zero; an amount is 0 or more",
        ),
        (
            "a.toml",
            "[plans.p]\ngrants = { a = false }",
            "a.toml:2: plans.p.grants.a: a grant cannot take away",
        ),
        (
            "a.toml",
            "[plans.p]\ngrants = { a = \"+x\" }",
            "a.toml:2: plans.p.grants.a: `+x` is no amount to add; write one such as `+5`",
        ),
        ("a.toml", "[plans.\"P p\"]", "`P p` is not a plan key"),
        ("a.toml", "[plans.p]\n[plans.p]", "a.toml:2: duplicate key"),
        (
            "a.toml",
            "[promotions.p]\naudience = { country = [] }",
            "a.toml:2: promotions.p.audience.country: an empty list would hold for nobody",
        ),
        ("a.toml", "x = ", "a.toml:1: "),
        ("a.json", "{\"plans\":{\n\"p\":{},\"p\":{}}}", "a.json:2: plans: `p` stands here twice"),
        ("a.json", "{\"plans\":{}} {}", "a.json:1: there is more after the end of the document"),
        (
            "a.json",
            "{\"tenants\":{\"t\":{\"country\":\"Germany\"}}}",
            "a.json:1: tenants.t.country: `Germany` is not a country key: use the two capital letters",
        ),
    ] {
        let error = Document::parse(name, text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}\n  expected: {expected}\n  got: {error}");
    }
}

#[test]
fn a_chain_that_is_too_deep_is_refused() {
    let mut text = String::from("[features.f0]\nkind = \"switch\"\n");
    for i in 1..100 {
        text += &format!("[features.f{i}]\nkind = \"switch\"\nrequires = [\"f{}\"]\n", i - 1);
    }
    let document = Document::parse("deep.toml", &text).unwrap();
    let problems = Catalog::new(document.catalog).unwrap_err().0;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].code, "too_deep");
}

#[test]
fn toml_and_json_are_one_model() {
    let toml = include_str!("../../examples/demo/clinic.toml");
    let from_toml = Document::parse("clinic.toml", toml).unwrap();
    let json = serde_json::to_string(&from_toml).unwrap();
    let from_json = Document::parse("clinic.json", &json).unwrap();
    assert_eq!(from_json.catalog, from_toml.catalog);
    let again = toml::to_string(&from_json).unwrap();
    assert_eq!(Document::parse("again.toml", &again).unwrap().catalog, from_toml.catalog);
    from_toml.check().unwrap();
}
