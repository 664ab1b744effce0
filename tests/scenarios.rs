//! Every file in `scenarios/` holds.

use std::{fs, path::Path};

use entitlements_core::{document::Document, scenario};

#[test]
fn every_scenario_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut count = 0;
    let mut failures = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let document = Document::parse(&name, &text).unwrap_or_else(|error| panic!("{error}"));
        let report = scenario::run(&document).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!report.outcomes.is_empty(), "{name} expects nothing");
        count += report.outcomes.len();
        if report.failures().next().is_some() {
            failures.push(format!("{name}\n{report}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(count >= 60, "only {count} expectations are left");
}
