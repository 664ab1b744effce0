//! The program itself: what it says when it cannot start, and how it ends.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Command, Stdio},
};

use crate::support::{CATALOG, Upstream, root};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entitlements-sidecar"));
    command.env_remove("ENTITLEMENTS_KEY").env_remove("ENTITLEMENTS_TRUST");
    command
}

/// Runs it to its end; gives the exit code and the last line that it wrote for people.
fn failed(arguments: &[&str]) -> (i32, String) {
    let output = program().args(arguments).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 1, "one line, not\n{text}");
    (output.status.code().unwrap(), lines[0].to_owned())
}

#[test]
fn nonsense_is_one_sentence_and_exit_code_64() {
    let trust = root().public().to_string();
    for (arguments, said) in [
        (vec!["--nope"], "--nope"),
        (vec!["--listen", "everywhere"], "everywhere"),
        (vec!["--key", "t"], "root key"),
        (vec!["--key", "t", "--trust", "beef"], "`beef`"),
        (vec!["--trust", &trust], "--key"),
        (vec!["--trust", &trust, "--key", "t", "--listen", "0.0.0.0:0"], "--local-token-file"),
        (vec!["--trust", &trust, "--key", "t", "--admin", "ftp://x"], "http://"),
        (vec!["--trust", &trust, "--key-file", "/no/such/file"], "/no/such/file"),
        (vec!["--trust", &trust, "--key", "t", "--poll-wait", "99"], "`99`"),
    ] {
        let (code, line) = failed(&arguments);
        assert_eq!(code, 64, "{arguments:?}: {line}");
        assert!(line.starts_with("entitlements-sidecar: ") && line.contains(said), "{line}");
    }
}

#[test]
fn a_taken_port_and_an_unusable_folder_are_one_line_and_exit_code_1() {
    let trust = root().public().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let known = ["--trust", &trust, "--key", "t"];
    let (code, line) = failed(&[&known[..], &["--listen", &address, "--data", data]].concat());
    assert_eq!(code, 1);
    assert!(line.contains(&address) && line.contains("in use"), "{line}");

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let data = file.join("data");
    let data = data.to_str().unwrap();
    let (code, line) = failed(&[&known[..], &["--listen", "127.0.0.1:0", "--data", data]].concat());
    assert_eq!(code, 1);
    assert!(line.contains(data), "{line}");
}

#[test]
fn help_teaches_by_example() {
    let output = program().arg("--help").output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["--trust-file", "Examples:", "curl -s localhost:7401/v1/check", "Exit codes"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_announces_itself_and_ends_on_request() {
    let upstream = Upstream::start(1, CATALOG).await;
    let folder = tempfile::tempdir().unwrap();
    let mut child = program()
        .args(["--listen", "127.0.0.1:0", "--admin", &upstream.url()])
        .args(["--trust", &root().public().to_string(), "--key", "sync-key"])
        .args(["--log-format", "json", "--data", folder.path().to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.split("http://").nth(1).unwrap().split(',').next().unwrap();
    let web = crate::support::Web::new(address.parse().unwrap());
    web.state("FRESH").await;
    assert_eq!(web.amount("acme", "seats").await, 15);
    let ended = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(ended.success());
    let status = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let output = tokio::time::timeout(crate::support::PATIENCE, status).await.unwrap().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    let first: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(first["level"], "INFO", "{log}");
    assert!(folder.path().join("mark").exists());
}
