//! The control plane is killed between the moment that a receiver has a message and the moment that
//! this is recorded, again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Lines, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    skip::{tell, variable},
    support::{CATALOG, DEADLINE},
};

/// How often it is killed; `ENTITLEMENTS_OUTBOX_KILLS` says another number.
const KILLS: usize = 200;
/// How many messages may arrive between two kills.
const BETWEEN: usize = 3;

/// How often something is asked until it must have happened.
const TRIES_MAX: usize = 2_000;

/// The program, started on a folder.
pub(crate) struct Program {
    pub(crate) child: Arc<Mutex<Child>>,
    pub(crate) addr: String,
    pub(crate) token: Option<String>,
    /// What else it prints, which must have somewhere to go.
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub(crate) fn start(folder: &Path, first: bool) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_entitlements-admin"))
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "error"])
            .args(["--allow-network", "127.0.0.0/8", "--data"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addr = lines.next().unwrap().unwrap().split_once("http://").unwrap().1.to_owned();
        let token = first.then(|| {
            let line = lines.by_ref().find(|line| line.as_ref().unwrap().starts_with("admin key"));
            line.unwrap().unwrap().split_once(": ").unwrap().1.to_owned()
        });
        Self { child: Arc::new(Mutex::new(child)), addr, token, _lines: lines }
    }
}

pub(crate) fn kill(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

pub(crate) fn ask(
    addr: &str,
    token: &str,
    method: &str,
    path: &str,
    body: &str,
) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(addr).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    let kind = if body.starts_with('{') { "application/json" } else { "application/toml" };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-type: {kind}\r\n\
         authorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

/// Takes messages, and kills whoever sent them before it answers: each so-manieth.
fn receive(
    listener: &TcpListener,
    seen: &Mutex<BTreeMap<String, usize>>,
    child: &Mutex<Option<Arc<Mutex<Child>>>>,
    killed: &mpsc::Sender<()>,
) {
    let mut count = 0_usize;
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // One request for each connection: it says so.
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut id, mut length, mut line) = (None, 0, String::new());
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            let (name, value) = line.trim().split_once(": ").unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "webhook-id" => id = Some(value.to_owned()),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
            line.clear();
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            continue;
        }
        let Some(id) = id else { continue };
        *seen.lock().unwrap().entry(id).or_default() += 1;
        count += 1;
        let victim = child.lock().unwrap().clone().filter(|_| count.is_multiple_of(BETWEEN));
        if let Some(victim) = victim {
            *child.lock().unwrap() = None;
            kill(&victim);
            killed.send(()).unwrap();
        }
        // It may be gone.
        drop(
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
        );
    }
}

/// What is wrong: events that never arrived, and what arrived that never happened.
fn faults(told: &BTreeSet<String>, seen: &BTreeMap<String, usize>) -> (Vec<String>, Vec<String>) {
    let lost = told.iter().filter(|id| !seen.contains_key(*id)).cloned().collect();
    let invented = seen.keys().filter(|id| !told.contains(*id)).cloned().collect();
    (lost, invented)
}

#[test]
fn nothing_is_lost_or_invented_by_kills_between_sending_and_recording() {
    let kills = variable("ENTITLEMENTS_OUTBOX_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let folder = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let current: Arc<Mutex<Option<Arc<Mutex<Child>>>>> = Arc::default();
    let (killed, kills_seen) = mpsc::channel();
    {
        let (seen, current) = (seen.clone(), current.clone());
        thread::spawn(move || receive(&listener, &seen, &current, &killed));
    }
    let mut program = Program::start(folder.path(), true);
    let token = program.token.clone().unwrap();
    let must = |program: &Program, method: &str, path: &str, body: &str| {
        let (status, said) = ask(&program.addr, &token, method, path, body).expect("an answer");
        assert!(matches!(status, 200 | 201), "{path}: {status} {said}");
        said
    };
    must(&program, "PUT", "/v1/settings/approval", r#"{"four_eyes":false,"threshold":1000000}"#);
    must(&program, "PUT", "/v1/catalog", CATALOG);
    // What was lost is tried again soon, and not given up.
    let waits = json!({ "waits_s": vec![0; 32], "jitter_percent": 0 });
    must(&program, "PUT", "/v1/settings/outbox", &waits.to_string());
    must(&program, "PUT", "/v1/teams/ops", r#"{"name":"Ops"}"#);
    let hook = json!({ "name": "x", "kind": { "webhook": { "url": url, "handshake": false } } });
    must(&program, "PUT", "/v1/connectors/hook", &hook.to_string());
    must(
        &program,
        "PUT",
        "/v1/routes/all",
        r#"{"events":["publication.submitted"],"team":"ops","connector":"hook"}"#,
    );

    let mut made = 0_usize;
    for _ in 0..kills {
        *current.lock().unwrap() = Some(program.child.clone());
        // Changes go on until it is killed under one of them or after it.
        let mut tries = 0;
        while kills_seen.try_recv().is_err() {
            tries += 1;
            assert!(tries < TRIES_MAX, "messages arrive");
            let name = json!({ "name": format!("d{made}"), "description": "" }).to_string();
            let draft = ask(&program.addr, &token, "POST", "/v1/drafts", &name);
            let Some(id) = draft.and_then(|(_, said)| Some(said["id"].as_str()?.to_owned())) else {
                continue;
            };
            let object = format!("/v1/drafts/{id}/objects/plans.p{made}");
            ask(&program.addr, &token, "PUT", &object, r#"{"name":"x"}"#);
            ask(&program.addr, &token, "POST", &format!("/v1/drafts/{id}/submit"), "");
            made += 1;
            thread::park_timeout(Duration::from_millis(5));
        }
        program = Program::start(folder.path(), false);
    }
    // Leases run out two minutes after a kill: whoever looks after it need not wait in this test.
    kill(&program.child);
    let file = folder.path().join("entitlements.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    database
        .execute("UPDATE delivery SET lease_until = 0 WHERE lease_until IS NOT NULL", [])
        .unwrap();
    drop(database);
    let program = Program::start(folder.path(), false);
    let mut tries = 0;
    while must(&program, "GET", "/v1/deliveries?limit=1", "")["owed"] != 0 {
        tries += 1;
        assert!(tries < TRIES_MAX, "nothing is left owing");
        thread::park_timeout(Duration::from_millis(50));
    }
    kill(&program.child);

    // Each draft that was submitted has its notice, and each notice its draft.
    let database = rusqlite::Connection::open(&file).unwrap();
    let column = |sql: &str| -> BTreeSet<String> {
        let mut statement = database.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let submitted = column(
        "SELECT 'draft/' || key FROM object WHERE kind = 'draft' AND json LIKE '%\"stage\":\"in_review\"%'",
    );
    let subjects = column("SELECT subject FROM notice WHERE type = 'publication.submitted'");
    assert_eq!(submitted, subjects, "no change without its notice, no notice without its change");
    let told = column("SELECT id FROM notice WHERE type = 'publication.submitted'");
    let seen = seen.lock().unwrap().clone();
    let (lost, invented) = faults(&told, &seen);
    let twice = seen.values().filter(|count| **count > 1).count();
    let stages = column("SELECT DISTINCT stage FROM delivery");
    tell(&format!(
        "{kills} kills between sending and recording: {} events, {} lost, {} invented, {twice} came \
         more than once with the same id",
        told.len(),
        lost.len(),
        invented.len()
    ));
    assert_eq!((lost, invented), (vec![], vec![]));
    assert_eq!(stages, BTreeSet::from(["delivered".to_owned()]));
    assert!(twice >= kills / 2, "a kill there means that it is sent again: {twice}");
    // The comparison sees what is missing, and what should not be there.
    let mut fewer = seen.clone();
    let gone = fewer.pop_first().unwrap().0;
    assert_eq!(faults(&told, &fewer).0, std::slice::from_ref(&gone));
    assert_eq!(faults(&told.iter().filter(|id| **id != gone).cloned().collect(), &seen).1, [gone]);
}
