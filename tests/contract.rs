//! The API is what its OpenAPI document says: the document is the one that is checked in, and a
//! third party's generator of requests finds no answer that does not conform.
//!
//! `cargo xtask test --install` fetches the generator. Where it is missing, the test says so and is
//! skipped; under `CI=true`, and after `--install`, it fails instead.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use entitlements_admin::{
    Admin, Config,
    app::{Actor, App, Command as Change, StartsWith},
    http::openapi,
};
use entitlements_core::document::Document;
use serde_json::Value;
use tokio::runtime::Runtime;

/// How many requests are drawn at random for each operation, beside those that cover its limits.
/// `ENTITLEMENTS_CONTRACT_EXAMPLES` says another number.
const EXAMPLES: &str = "5";

#[test]
fn the_document_is_the_one_that_is_checked_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let text = serde_json::to_string_pretty(&openapi::document()).unwrap() + "\n";
    if variable("UPDATE_EXPECT").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "docs/openapi.json is not up to date: run with UPDATE_EXPECT=1");
}

#[test]
fn the_document_is_sound() {
    let document = openapi::document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut names = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} stands twice");
            let parameters = operation["parameters"].as_array().unwrap();
            let in_path: BTreeSet<String> = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap()))
                .collect();
            let told = format!("{method} {path}");
            assert_eq!(in_path.len(), path.matches('{').count(), "{told}");
            assert!(in_path.iter().all(|name| path.contains(name)), "{told}");
            assert!(!operation["summary"].as_str().unwrap().ends_with('.'), "{told}");
            assert!(operation["responses"]["4XX"].is_object(), "{told}");
        }
    }
    references(&document, &mut |reference| {
        let name = reference.rsplit('/').next().unwrap();
        let known = match reference.starts_with("#/components/responses/") {
            true => document["components"]["responses"][name].is_object(),
            false => schemas.contains_key(name),
        };
        assert!(known, "{reference}");
    });
}

fn references(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                each(reference);
            }
            members.values().for_each(|member| references(member, each));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, each)),
        _ => {}
    }
}

#[test]
fn every_answer_conforms_to_the_document() {
    let Some(program) = fetched() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        data: folder.path().into(),
        ..Config::default()
    };
    let runtime = Runtime::new().unwrap();
    let running = runtime.block_on(Admin::start(config)).unwrap();
    runtime.block_on(fill(running.app()));
    let examples = variable("ENTITLEMENTS_CONTRACT_EXAMPLES").unwrap_or_else(|| EXAMPLES.into());
    let output = Command::new(program)
        .arg("run")
        .arg(format!("http://{}/openapi.json", running.addr()))
        .args(["--header", &format!("Authorization: Bearer {}", running.first_key().unwrap())])
        .args(["--phases", "examples,coverage,fuzzing", "--seed", "1"])
        .args(["--max-examples", &examples, "--continue-on-failure"])
        .args(["--checks", CHECKS])
        // A long poll waits by design, and revoking the key that asks would end the test.
        .args([
            "--exclude-path",
            "/sync/v1/changes",
            "--exclude-path",
            "/sync/v1/events",
            "--exclude-path",
            "/v1/keys/{id}",
        ])
        // Of a whole catalog drawn at random, few are one.
        .args(["--suppress-health-check", "all"])
        .args(["--generation-database", "none", "--request-timeout", "30"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    runtime.block_on(running.stop());
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    let is_summary = |line: &&str| {
        line.trim_start().starts_with(|c: char| c.is_ascii_digit()) && line.contains("generated")
    };
    let summary = told.lines().find(is_summary).unwrap_or_default();
    tell(&format!("schemathesis: {}, no failures", summary.trim()));
}

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";

/// A catalog, a tenant and a draft, so that there is something to find.
async fn fill(app: &App) {
    let clinic = include_str!("../examples/demo/clinic.toml");
    let document = Document::parse("clinic.toml", clinic).unwrap();
    let tenants = [("acme".parse().unwrap(), entitlements_core::Tenant::default())].into();
    let draft = Box::new(document.catalog);
    let actor = Actor::local("test");
    app.execute(&actor, Change::ImportAll { draft, tenants }).await.unwrap();
    let (name, description) = ("Spring".into(), String::new());
    let starts_with = StartsWith::Nothing;
    app.execute(&actor, Change::CreateDraft { name, description, starts_with }).await.unwrap();
}

/// The generator of requests, where it was fetched.
fn fetched() -> Option<PathBuf> {
    let target = env::current_exe().unwrap();
    let target = target.ancestors().nth(3).unwrap();
    let program = target.join("clients/contract/env/bin/schemathesis");
    if program.is_file() {
        return Some(program);
    }
    let wanted = variable("CI").is_some_and(|ci| ci == "true")
        || variable("ENTITLEMENTS_CLIENTS").is_some_and(|clients| clients == "required");
    assert!(!wanted, "schemathesis is missing: run `cargo xtask test --install`");
    tell("skipped: schemathesis over the OpenAPI document: run `cargo xtask test --install`");
    None
}

/// A line that is seen although the test passes.
fn tell(line: &str) {
    io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the environment says how much to test")]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
