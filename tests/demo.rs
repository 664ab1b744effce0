//! The demo, as people run it, and the clinics in it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use entitlements_core::{
    Catalog, FeatureKind, Revision, Snapshot, Tenant, TenantKey, Timestamp, document::Document,
};
use serde_json::{Value, json};

#[path = "../examples/demo/tenants.rs"]
mod tenants;

/// Nothing here should take longer.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn it_starts_answers_follows_changes_and_finds_its_data_again() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    let [check, explain, all, change, again] = [1, 2, 3, 4, 5].map(|number| demo.command(number));
    assert_eq!(check, again, "the last command is the first one again");

    let answer = post(&url(&check), &body(&check));
    assert_eq!(answer["reason"], "override");
    let before = answer["amount"].as_u64().unwrap();

    let explained = post(&url(&explain), &body(&explain));
    assert_eq!(explained["source"], "add_on:insurance-api/insurance-desk");
    assert!(explained["contributions"].to_string().contains("insurance-lite"), "{explained}");

    let set = get(&url(&all), "");
    assert_eq!(set["entitlements"].as_array().unwrap().len(), 60);

    let mut acme = get(&url(&change), &demo.key);
    acme["overrides"][0]["amount"] = json!(before + 50);
    assert!(change.contains(&format!("\"amount\":{}", before + 50)), "{change}");
    let changed = put(&url(&change), &demo.key, &acme);
    let arrived = until(|| {
        let answer = post(&url(&again), &body(&again));
        (answer["amount"] == before + 50).then_some(answer)
    });
    assert_eq!(arrived["revision"], changed["revision"]);

    let (key, serving) = (demo.key.clone(), demo.serving());
    demo.stop();
    let second = Demo::start(folder.path());
    assert_eq!(second.key, key, "the key is kept");
    assert_eq!(second.serving().0, serving.0, "the tenants are kept");
    assert!(second.serving().1 > serving.1, "and so is the change");
    let check = second.command(1);
    assert_eq!(post(&url(&check), &body(&check))["amount"], before + 50);
    second.stop();
}

#[test]
fn its_commands_work_as_they_are_printed() {
    if Command::new("curl").arg("--version").output().is_err() {
        // Not `eprintln!`: that would be hidden, because the test passes.
        let line = b"skipped: the demo's printed commands: `curl` is not installed\n";
        return std::io::stderr().write_all(line).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    let shell = |number| {
        let ran = Command::new("sh").args(["-c", &demo.command(number)]).output().unwrap();
        assert!(ran.status.success(), "command {number}: {ran:?}");
        serde_json::from_slice::<Value>(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"))
    };
    let before = shell(1)["amount"].as_u64().unwrap();
    assert!(shell(2)["contributions"].is_array());
    assert!(shell(3)["entitlements"].is_array());
    let revision = shell(4)["revision"].as_u64().unwrap();
    let after = until(|| Some(shell(5)).filter(|answer| answer["revision"] == revision));
    assert_eq!(after["amount"], before + 50);
    demo.stop();
}

#[cfg(unix)]
#[test]
fn its_secrets_are_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    Demo::start(folder.path()).stop();
    for name in ["demo/admin.key", "demo/sync.key"] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn what_stands_in_its_way_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = listener.local_addr().unwrap().to_string();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let data = data.to_str().unwrap();
    let below_a_file = file.join("data");
    let below_a_file = below_a_file.to_str().unwrap();
    let free = "127.0.0.1:0";
    let rows: [([&str; 6], i32, &str); 6] = [
        (["--admin", &busy, "--sidecar", free, "--data", data], 1, "--admin"),
        (["--admin", free, "--sidecar", &busy, "--data", data], 1, "--sidecar"),
        (["--admin", free, "--sidecar", free, "--data", below_a_file], 1, "data"),
        (["--admin", free, "--sidecar", free, "--what", data], 64, "--what"),
        (["--admin", "nonsense", "--sidecar", free, "--data", data], 64, "nonsense"),
        (["--admin", free, "--sidecar", "0.0.0.0:0", "--data", data], 64, "0.0.0.0:0"),
    ];
    for (arguments, code, named) in rows {
        refused(Command::new(program()).args(arguments).output().unwrap(), code, named);
        assert!(!Path::new(data).exists(), "{arguments:?} left something behind");
    }
}

#[test]
fn a_second_one_keeps_out_of_the_folder_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = Demo::start(folder.path());
    let second = Command::new(program()).args(FREE).arg("--data").arg(folder.path()).output();
    refused(second.unwrap(), 1, "another process uses it");
    first.stop();
}

#[test]
fn the_catalog_is_as_varied_as_the_real_thing() {
    let catalog = catalog();
    let draft = catalog.draft();
    assert_eq!((draft.modules.len(), draft.features.len()), (12, 60));
    assert_eq!((draft.plans.len(), draft.bundles.len()), (4, 8));
    assert_eq!((draft.add_ons.len(), draft.promotions.len()), (10, 6));
    let kinds: BTreeSet<_> = draft
        .features
        .values()
        .map(|feature| match feature.kind {
            FeatureKind::Switch => "switch",
            FeatureKind::Limit { .. } => "limit",
            FeatureKind::Level { .. } => "level",
            FeatureKind::Config { .. } => "config",
        })
        .collect();
    assert_eq!(kinds.len(), 4);
}

#[test]
fn the_clinics_are_the_same_every_time_and_fit_the_catalog() {
    let clinics: BTreeMap<_, _> = tenants::tenants(2_000, now()).collect();
    assert_eq!(clinics.len(), 2_000);
    assert!(tenants::tenants(3_000, now()).take(2_000).eq(tenants::tenants(2_000, now())));
    let catalog = catalog();
    for (key, clinic) in &clinics {
        assert_eq!(catalog.check_tenant(clinic), [], "{key}");
    }
    assert!(clinics.contains_key(tenants::ACME));
}

#[test]
fn the_clinics_are_the_mix_that_they_are_meant_to_be() {
    let clinics: Vec<(TenantKey, Tenant)> = tenants::tenants(2_000, now()).collect();
    let countries: BTreeSet<_> = clinics.iter().filter_map(|(_, c)| c.country.clone()).collect();
    assert_eq!(countries.len(), 12);
    let per_thousand = |has: fn(&Tenant) -> bool| {
        clinics.iter().filter(|(_, clinic)| has(clinic)).count() / (clinics.len() / 1_000)
    };
    for (what, share, wanted) in [
        ("an override", per_thousand(|c| !c.overrides.is_empty()), 20..40),
        ("a block", per_thousand(|c| !c.blocks.is_empty()), 5..18),
        ("an add-on", per_thousand(|c| !c.add_ons.is_empty()), 250..450),
        ("a trial", per_thousand(|c| c.subscriptions.iter().any(|s| s.trial)), 50..90),
        ("no subscription", per_thousand(|c| c.subscriptions.is_empty()), 15..50),
        ("several subscriptions", per_thousand(|c| c.subscriptions.len() > 1), 120..220),
        ("an integration", per_thousand(|c| !c.integrations.is_empty()), 500..800),
        ("an enrolment", per_thousand(|c| !c.enrolments.is_empty()), 40..120),
    ] {
        assert!(wanted.contains(&share), "{share} in a thousand have {what}, not {wanted:?}");
    }
    let references = clinics.iter().map(|(key, clinic)| (key, clinic));
    let snapshot = Snapshot::compile(Revision(1), catalog().into(), references, now());
    let answers: Vec<bool> = snapshot
        .tenants()
        .flat_map(|view| view.decisions(now()).map(|(_, decision)| decision.is_allowed()))
        .collect();
    let allowed = answers.iter().filter(|allowed| **allowed).count() * 100 / answers.len();
    assert!((25..70).contains(&allowed), "{allowed} in a hundred answers are a yes");
}

fn now() -> Timestamp {
    Timestamp::parse("2026-11-23T12:00:00Z").unwrap()
}

fn catalog() -> Catalog {
    let text = include_str!("../examples/demo/clinic.toml");
    let document = Document::parse("clinic.toml", text).unwrap_or_else(|error| panic!("{error}"));
    Catalog::new(document.catalog).unwrap_or_else(|errors| panic!("{errors}"))
}

const FREE: [&str; 4] = ["--admin", "127.0.0.1:0", "--sidecar", "127.0.0.1:0"];

/// The demo, which `cargo test` builds beside its tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join("demo");
    assert!(program.exists(), "build it first: `cargo build --example demo`");
    program
}

fn refused(ran: Output, code: i32, named: &str) {
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(code), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("demo: ") && said.contains(named), "{said}");
}

/// A demo that runs.
struct Demo {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    key: String,
}

impl Demo {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(program())
            .args(FREE)
            .arg("--data")
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        let mut demo = Self { child, lines, said: Vec::new(), key: String::new() };
        while !demo.said.iter().any(|line| line.starts_with("Ctrl-C")) {
            let line =
                demo.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{:?}", demo.said));
            demo.said.push(line);
        }
        demo.key = demo.word("Key");
        for daemon in ["Admin", "Sidecar"] {
            assert!(demo.word(daemon).starts_with("http://127.0.0.1:"), "{:?}", demo.said);
        }
        demo
    }

    /// What stands behind a word at the start of a line.
    fn word(&self, name: &str) -> String {
        let line = self.said.iter().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().to_owned()
    }

    /// How many tenants it serves, and at which revision.
    fn serving(&self) -> (u64, u64) {
        let words = self.word("Serving");
        let numbers: Vec<u64> = words.split(' ').filter_map(|word| word.parse().ok()).collect();
        (numbers[0], numbers[1])
    }

    /// One of the numbered commands.
    fn command(&self, number: usize) -> String {
        let title = format!("{number}. ");
        let after = self.said.iter().skip_while(|line| !line.starts_with(&title)).skip(1);
        let lines: Vec<_> = after.take_while(|line| line.starts_with("   ")).cloned().collect();
        assert!(!lines.is_empty(), "there is no command {number}: {:?}", self.said);
        lines.join("\n")
    }

    /// Ends it as Ctrl-C does.
    fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        // Its output ends when it does.
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not stop"),
            }
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // After `stop` there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until there is an answer; each question is a request, so this is no busy loop.
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    (0..5_000).find_map(|_| ask()).expect("it never came")
}

/// The last address in a command.
fn url(command: &str) -> String {
    let start = command.rfind("http://").unwrap();
    command[start..].split([' ', '\n']).next().unwrap().to_owned()
}

/// What a command sends.
fn body(command: &str) -> Value {
    let text = command.split("-d '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    serde_json::from_str(text).unwrap()
}

fn get(url: &str, key: &str) -> Value {
    request("GET", url, key, None)
}

fn put(url: &str, key: &str, body: &Value) -> Value {
    request("PUT", url, key, Some(body))
}

fn post(url: &str, body: &Value) -> Value {
    request("POST", url, "", Some(body))
}

/// As little HTTP as it takes.
fn request(method: &str, url: &str, key: &str, body: Option<&Value>) -> Value {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let body = body.map(ToString::to_string).unwrap_or_default();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Authorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{method} {url}: {answer}");
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    serde_json::from_str(body).unwrap()
}
