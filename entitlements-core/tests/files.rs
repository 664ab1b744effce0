//! Several files read as one document, and a catalog written as files.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "support/world.rs"]
#[expect(dead_code, reason = "the oracle uses the rest")]
mod world;

use std::{fs, path::Path};

use entitlements_core::{
    Amount, Audience, Bundle, BundleKey, Catalog, Draft, FeatureKey, FeatureKind, Grant, Json,
    LevelName, Module, ModuleKey, Promotion, PromotionKey, Timestamp, WhenStale, Window,
    document::{CatalogFile, Document, DocumentError, FILE_NAMES},
};
use world::{Random, World};

fn read(files: &[CatalogFile]) -> Draft {
    let files = files.iter().map(|file| (file.name, &*file.text));
    Document::parse_all(files).unwrap_or_else(|error| panic!("{error}")).catalog
}

/// Writes a catalog, reads it, and writes it again.
#[track_caller]
fn survives(catalog: &Draft) -> Vec<CatalogFile> {
    let files = catalog.to_files().unwrap_or_else(|error| panic!("{error}"));
    let again = read(&files);
    assert_eq!(again, *catalog);
    assert_eq!(again.to_files().unwrap(), files);
    assert_eq!(again.content_hash().unwrap(), catalog.content_hash().unwrap());
    files
}

fn text<'f>(files: &'f [CatalogFile], name: &str) -> &'f str {
    &files.iter().find(|file| file.name == name).unwrap_or_else(|| panic!("no {name}")).text
}

const WORDS: [&str; 12] = [
    "",
    "Plain",
    "with \"quotes\" and \\ and 'others'",
    "two\nlines",
    "\nfirst\r\nlast\n",
    "\"\"\"",
    "\t\u{1}\u{7f}\u{85}\u{2028}",
    "# no comment",
    "Zahnärzte ☎",
    "[x]\n[y]",
    "a = 1",
    "ends in \\\n",
];

const CONFIGS: [&str; 9] = [
    r#"{}"#,
    r#"{"a":{"b":[{"c":[]},{}]}}"#,
    r#"{"a b":1,"":2,"ä":3,"\n":4,"\"":5,"a.b":6}"#,
    r#"{"n":-0.0,"m":1e300,"o":1.5e-7,"p":0.1,"q":1.0,"r":-9223372036854775808}"#,
    r#"{"versions":[],"window":{"from":"2026-01-01"},"from":"2026-01-01T00:00:00Z"}"#,
    r#"{"versions":[{"from":1},{}],"name":true}"#,
    r#"{"null":null}"#,
    r#"{"large":18446744073709551615}"#,
    r#"{"long":["0123456789012345678901234567890123456789","0123456789012345678901234567890123456789",{"a":"0123456789012345678901234567890123456789"}],"deep":{"0123456789012345678901234567890123456789":{"0123456789012345678901234567890123456789":[1,2,3]}}}"#,
];

/// Puts what people and programs write, and the worlds of the rules do without.
fn adorn(draft: &mut Draft, random: &mut Random) {
    let mut word = || (*random.pick(&WORDS)).to_owned();
    draft.modules.values_mut().for_each(|it| (it.name, it.description) = (word(), word()));
    draft.features.values_mut().for_each(|it| (it.name, it.description) = (word(), word()));
    draft.bundles.values_mut().for_each(|it| (it.name, it.description) = (word(), word()));
    draft.plans.values_mut().for_each(|it| (it.name, it.description) = (word(), word()));
    draft.add_ons.values_mut().for_each(|it| (it.name, it.description) = (word(), word()));
    draft.promotions.values_mut().for_each(|it| (it.name, it.description) = (word(), word()));
    draft.segments.values_mut().for_each(|it| it.name = word());
    draft.regions.values_mut().for_each(|it| it.name = word());
    for promotion in draft.promotions.values_mut() {
        let zone = *random.pick(&["Europe/Berlin", "America/St_Johns", "UTC", "Asia/Kathmandu"]);
        let has_zone = !promotion.window.is_always() && random.chance(50);
        promotion.window.zone = has_zone.then(|| zone.into());
    }
    let config = |random: &mut Random| Json::parse(random.pick::<&str>(&CONFIGS)).unwrap();
    for bundle in draft.bundles.values_mut() {
        let mut grants: Vec<Grant> = bundle.grants.iter().cloned().collect();
        for grant in &mut grants {
            if matches!(grant.amount, Amount::Config(_)) {
                grant.amount = Amount::Config(config(random));
            }
        }
        bundle.grants = grants.into_iter().collect();
    }
    for feature in draft.features.values_mut() {
        feature.when_stale =
            *random.pick(&[WhenStale::LastKnown, WhenStale::Deny, WhenStale::Allow]);
        if let FeatureKind::Config { schema } = &mut feature.kind
            && random.chance(50)
        {
            *schema = config(random);
        }
    }
}

#[test]
fn random_catalogs_survive_being_written() {
    let (mut json, mut broken_lines) = (0, 0);
    for seed in 0..120 {
        let mut world = World::new(seed, 0);
        survives(&world.draft);
        adorn(&mut world.draft, &mut Random(seed));
        let files = survives(&world.draft);
        json += files.iter().filter(|file| file.name.ends_with(".json")).count();
        broken_lines += files.iter().filter(|file| file.text.contains("\n  ")).count();
    }
    assert!(json > 20 && broken_lines > 20, "{json} {broken_lines}");
}

#[test]
fn the_catalogs_that_people_wrote_survive_and_stay_readable() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let scenarios = fs::read_dir(root.join("scenarios")).unwrap().map(|it| it.unwrap().path());
    let mut count = 0;
    for path in scenarios.chain([root.join("examples/demo/clinic.toml")]) {
        let text = fs::read_to_string(&path).unwrap();
        survives(&Document::parse("a.toml", &text).unwrap().catalog);
        count += 1;
    }
    assert!(count >= 10, "{count} files");

    let clinic = fs::read_to_string(root.join("examples/demo/clinic.toml")).unwrap();
    let files = survives(&Document::parse("a.toml", &clinic).unwrap().catalog);
    // Nobody writes a line longer than the editor, but for one element of a list.
    for file in &files {
        let long =
            file.text.lines().filter(|line| line.chars().count() > 110 && !line.starts_with("  "));
        assert_eq!(long.collect::<Vec<_>>(), [""; 0], "{}", file.name);
    }
    let plans = text(&files, "plans.toml");
    assert!(plans.contains("\n[plans.pro]\nname = \"Pro\"\nextends = \"basic\"\n"), "{plans}");
    assert!(plans.contains("\n[[plans.pro.versions]]\nfrom = 2026-06-01T00:00:00Z\n"), "{plans}");
    assert!(plans.contains("\n[plans.pro.versions.grants]\naccounting-export = "), "{plans}");
    let features = text(&files, "features.toml");
    assert!(features.contains("kind = { limit = { unit = \"seat\" } }\n"), "{features}");
}

/// One of each, with every field set.
const WHOLE: &str = r#"
[modules.messaging]
name = "Messaging"
description = "Words"
requires = ["users"]
integrations = ["idp"]
available_to = { all = [{ plan = ["pro"], any = [{ country = ["DE"] }, { not = { not = {} } }] }], region = ["dach"], segment = ["dental"], status = ["active", "trial"], age = { days_min = 1, days_below = 9 }, attributes = { beds = [1, true, "x"], ward = "y" } }
[features.users]
kind = "switch"
[features.seats]
name = "Seats"
description = "Two\nlines"
kind = { limit = { unit = "seat" } }
module = "messaging"
requires = ["users"]
integrations = ["idp"]
available_to = { country = ["DE"] }
essential = true
when_stale = "deny"
[features.support]
kind = { level = { levels = ["basic", "gold"] } }
[features."look.and-feel"]
kind = { config = { schema = { type = "object", properties = { color = { enum = ["blue", "red"] } } } } }
[bundles.base]
[bundles.team]
name = "Team"
description = "All"
bundles = ["base"]
grants = { users = true, seats = 9007199254740991, support = "gold", "look.and-feel" = { color = "blue" } }
[plans.basic]
[plans.pro]
name = "Pro"
description = "More"
extends = "basic"
bundles = ["team"]
grants = { seats = [{ amount = "unlimited" }, { amount = "+5", only = { region = ["dach"] } }] }
[[plans.pro.versions]]
from = 2026-06-01T00:00:00.000001Z
existing_from = 2027-01-01T00:00:00Z
extends = "basic"
bundles = ["team"]
grants = { seats = 0 }
[[plans.pro.versions]]
from = 2026-01-01T00:00:00Z
[add_ons.api]
[add_ons.old]
[add_ons.sms]
name = "SMS"
description = "More"
bundles = ["base"]
grants = { seats = "+5" }
available_to = { plan = ["pro"] }
requires = ["api"]
excludes = ["old"]
max_quantity = 5
[promotions.spring]
name = "Spring"
description = "Sale"
window = { from = 2026-03-01, until = 2026-04-01, zone = "Europe/Berlin" }
audience = { region = ["dach"] }
enrolment = { by_request = { cap = 100 } }
priority = -10
exclusive_group = "season"
bundles = ["base"]
grants = { seats = "+5" }
[promotions.always]
window = { zone = "Europe/Berlin" }
[promotions.open]
enrolment = { by_request = {} }
window = { until = -000044-03-15T12:00:00Z }
[segments.dental]
name = "Dental"
audience = { attributes = { specialty = "dentist" } }
[segments.all]
audience = {}
[segments.none]
[regions.dach]
name = "DACH"
countries = ["AT", "DE"]
"#;

#[test]
fn every_field_survives() {
    // A year before 0 has no TOML time, so it is a text.
    let whole = WHOLE.replace("-000044-03-15T12:00:00Z", "\"-000044-03-15T12:00:00Z\"");
    let draft = Document::parse("whole.toml", &whole).unwrap().catalog;
    Catalog::new(draft.clone()).unwrap_or_else(|errors| panic!("{errors}"));
    let files = survives(&draft);
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    assert_eq!(names, FILE_NAMES.iter().copied().step_by(2).collect::<Vec<_>>());
    let promotions = text(&files, "promotions.toml");
    assert!(
        promotions.contains(
            "window = { from = 2026-03-01T00:00:00+01:00, until = 2026-04-01T00:00:00+02:00, \
             zone = \"Europe/Berlin\" }"
        ),
        "{promotions}"
    );
    let described = "description = \"\"\"\nTwo\nlines\"\"\"\n";
    assert!(text(&files, "features.toml").contains(described));
}

#[test]
fn what_toml_cannot_say_goes_to_json_beside_it() {
    let source = r#"{"features":
        {"free":{"kind":{"config":{"schema":{"enum":[null,{}]}}}}, "sso":{"kind":"switch"}}}"#;
    let draft = Document::parse("a.json", source).unwrap().catalog;
    let files = survives(&draft);
    assert!(text(&files, "features.json").contains("null"));
    assert_eq!(text(&files, "features.toml"), "[features.sso]\nkind = \"switch\"\n");
}

#[test]
fn a_catalog_that_would_read_differently_is_not_written() {
    let mut draft = Draft::default();
    let window = Window::new(Some(Timestamp::from_micros(i64::MAX - 1)), None);
    let promotion = Promotion { window, ..Promotion::default() };
    draft.promotions.insert(PromotionKey::new("late").unwrap(), promotion);
    let error = draft.to_files().unwrap_err().to_string();
    assert!(error.contains("cannot be written as files that mean the same"), "{error}");

    // A text that is taken for unlimited where a level of that name was meant.
    let mut draft = Draft::default();
    let level = LevelName::new("unlimited").unwrap();
    let grant = Grant {
        feature: FeatureKey::new("support").unwrap(),
        amount: Amount::Level(level),
        only: Audience::EVERYONE,
    };
    let bundle = Bundle { grants: [grant].into_iter().collect(), ..<_>::default() };
    draft.bundles.insert(BundleKey::new("odd").unwrap(), bundle);
    let error = draft.to_files().unwrap_err().to_string();
    assert!(error.contains("something in `bundles` would"), "{error}");
}

#[test]
fn a_content_has_one_hash_and_another_content_another() {
    let mut draft = Document::parse("whole.toml", "[plans.pro]\n[modules.a]").unwrap().catalog;
    let other =
        Document::parse_all([("b.toml", "[plans.pro]"), ("a.json", r#"{"modules":{"a":{}}}"#)]);
    let hash = draft.content_hash().unwrap();
    assert_eq!(other.unwrap().catalog.content_hash().unwrap(), hash);
    draft.modules.insert(ModuleKey::new("b").unwrap(), Module::default());
    assert_ne!(draft.content_hash().unwrap(), hash);
}

fn wrong(files: &[(&str, &str)]) -> Vec<String> {
    let document = Document::parse_all(files.iter().copied());
    let error = document.and_then(|document| document.check().map(drop)).unwrap_err();
    let DocumentError::Wrong(all) = error else { panic!("{error}") };
    all.iter().map(ToString::to_string).collect()
}

#[test]
fn files_share_what_stands_in_them() {
    let document = Document::parse_all([
        ("c/features.toml", "[features.seats]\nkind = { limit = { unit = \"seat\" } }\n"),
        ("c/plans.json", r#"{"plans": {"pro": {"grants": {"seats": 5}}}}"#),
        ("c/tests/a.toml", "\n[tenants.acme]\nsubscriptions = [{ plan = \"pro\" }]\n"),
        (
            "c/tests/b.toml",
            "# seats\n\n[[expect]]\nat = 2026-01-01T00:00:00Z\ntenant = \"acme\"\nfeature = \"seats\"\n\
             answer = 5\n[[expect]]\nat = 2026-01-01T00:00:00Z\ntenant = \"acme\"\nfeature = \"sso\"\n\
             answer = false\n",
        ),
    ])
    .unwrap();
    document.check().unwrap();
    let places: Vec<_> = document.expectations().map(|(place, _)| place.to_string()).collect();
    assert_eq!(places, ["c/tests/b.toml:3", "c/tests/b.toml:8"]);
    assert!(entitlements_core::scenario::run(&document).unwrap().passed());
}

#[test]
fn an_object_in_two_files_is_found_in_both() {
    let found = wrong(&[
        ("a.toml", "[plans.pro]\n[plans.basic]\n[tenants.acme]\n"),
        ("b.toml", "\n\n[plans.pro]\n[tenants.acme]\n"),
        ("c.json", r#"{"plans":{"basic":{}}}"#),
    ]);
    assert_eq!(
        found,
        [
            "b.toml:3: plans.pro: it stands in `a.toml:1` too; keep one of them",
            "b.toml:4: tenants.acme: it stands in `a.toml:3` too; keep one of them",
            "c.json: plans.basic: it stands in `a.toml:2` too; keep one of them",
        ]
    );
}

#[test]
fn each_finding_keeps_its_file_and_line() {
    let found = wrong(&[
        ("a.toml", "[plans.a]\nextends = \"x\"\n"),
        ("b.toml", "# other\n\n[plans.\"a.b\"]\ngrants = { seats = 5 }\n"),
        ("c.toml", "[tenants.acme]\n\nsubscriptions = [{ plan = \"y\" }]\n"),
    ]);
    let starts = ["a.toml:2: plans.a.extends", "b.toml:4: plans.a.b.grants.seats"];
    for start in starts.into_iter().chain(["c.toml:3: tenants.acme.subscriptions[0]"]) {
        assert!(found.iter().any(|line| line.starts_with(start)), "{start}: {found:#?}");
    }
    assert_eq!(found.len(), 3, "{found:#?}");
}

#[test]
fn every_file_that_cannot_be_read_is_told() {
    let found = wrong(&[
        ("a.toml", "[plans.pro]\n"),
        ("b.toml", "[plans.pro\n"),
        ("c.toml", "\n[plan.pro]\n"),
        ("d.toml", "[plans.pro]\n"),
    ]);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("b.toml:1: "), "{found:#?}");
    assert!(found[1].starts_with("c.toml:2: "), "{found:#?}");
    assert!(found[2].starts_with("d.toml:1: plans.pro: it stands in `a.toml:1`"), "{found:#?}");
}
