//! What the documents say is so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let folders = ["", "docs", "entitlements-core", "entitlements-admin", "entitlements-sidecar"];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The first block of Rust.
fn example(text: &str) -> &str {
    text.split("```rust\n").nth(1).unwrap().split("```").next().unwrap()
}

#[test]
fn the_readme_example_is_the_one_that_is_compiled() {
    // Core's README is its crate documentation, so its examples are doctests.
    assert_eq!(example(&read("README.md")), example(&read("entitlements-core/README.md")));
}

#[test]
fn every_path_that_a_document_names_exists() {
    let folders =
        ["entitlements-", "docs/", "examples/", "scenarios/", "benches/", "tests/", "xtask/"];
    let mut seen = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path = folders.iter().any(|folder| quoted.starts_with(folder))
                && quoted.contains('/')
                && !quoted.contains([' ', '*', '{', '\n']);
            if is_path {
                assert!(root().join(quoted).exists(), "{}: `{quoted}`", document.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "{seen} paths");
}

#[test]
fn the_readme_names_commands_that_there_are() {
    let (readme, xtask) = (read("README.md"), read("xtask/src/main.rs"));
    let commands: Vec<_> = readme
        .split("cargo xtask ")
        .skip(1)
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    assert!(commands.len() >= 2);
    for command in commands {
        assert!(xtask.contains(&format!("\"{command}\"")), "cargo xtask {command}");
    }
}

#[test]
fn every_route_in_the_api_document_is_in_the_code() {
    let routes = read("entitlements-admin/src/http/routes.rs");
    let document = read("docs/api.md");
    let (admin, _) = document.split_once("## The sidecar").unwrap();
    let mut seen = 0;
    for line in admin.lines().filter(|line| line.starts_with("| `")) {
        let route = line.split('`').nth(1).unwrap();
        // Roles and scopes stand in a table too.
        if !route.contains(' ') {
            continue;
        }
        let path = route.split_whitespace().nth(1).unwrap().split('?').next().unwrap();
        assert!(routes.contains(&format!("\"{path}\"")), "{path} is not in the routes");
        seen += 1;
    }
    assert!(seen > 15, "{seen} routes");
}
