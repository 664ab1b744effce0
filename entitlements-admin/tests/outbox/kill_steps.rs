//! The control plane is killed at the boundaries of steps, again and again: before a receiver hears of
//! one, after it has done it and before it says so, and right after it has said so.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::Child,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    kill::{Program, ask, kill},
    skip::{tell, variable},
    support::{CATALOG, DEADLINE},
};

/// How often it is killed; `ENTITLEMENTS_STEP_KILLS` says another number.
const KILLS: usize = 100;
/// How many messages may arrive between two kills.
const BETWEEN: usize = 2;
/// How often something is asked until it must have happened.
const TRIES_MAX: usize = 2_000;

/// What the receiver has done, each thing once: it knows what it was told by its id.
#[derive(Debug, Default, Clone)]
struct Done {
    ids: BTreeSet<String>,
    /// How often each thing was made and removed.
    things: BTreeMap<String, (usize, usize)>,
    repeats: usize,
    doubles: Vec<String>,
}

impl Done {
    /// Does what it is told, unless it has. Says what it answers.
    fn hear(&mut self, message: &Value) -> u16 {
        let (id, data) = (message["id"].as_str().unwrap().to_owned(), &message["data"]);
        let thing = data["instance"].as_str().unwrap().to_owned();
        let number: usize = data["tenant"].as_str().unwrap()[1..].parse().unwrap();
        let makes = data["action"] == "make";
        // The second step of each third tenant never works, and leaves nothing.
        if makes && data["step"] == "two" && number.is_multiple_of(3) {
            return 422;
        }
        if !self.ids.insert(id.clone()) {
            self.repeats += 1;
            return 200;
        }
        let (made, removed) = self.things.entry(thing).or_default();
        if makes {
            *made += 1;
        } else if made > removed {
            *removed += 1;
        }
        if *made > 1 {
            self.doubles.push(id);
        }
        200
    }
}

type Victim = Arc<Mutex<Option<Arc<Mutex<Child>>>>>;

fn receive(listener: &TcpListener, done: &Mutex<Done>, victim: &Victim, killed: &mpsc::Sender<()>) {
    let mut count = 0_usize;
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut length, mut line) = (0, String::new());
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            let (name, value) = line.trim().split_once(": ").unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().unwrap();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        let Ok(()) = reader.read_exact(&mut body) else { continue };
        let Ok(message) = serde_json::from_slice::<Value>(&body) else { continue };
        count += 1;
        let shoot = || {
            let found = victim.lock().unwrap().take();
            if let Some(child) = found {
                kill(&child);
                killed.send(()).unwrap();
            }
        };
        let turn = (count / BETWEEN) % 3;
        let is_due = count.is_multiple_of(BETWEEN);
        if is_due && turn == 0 {
            // It has not heard of it.
            shoot();
            continue;
        }
        let status = done.lock().unwrap().hear(&message);
        if is_due && turn == 1 {
            shoot();
        }
        let answer =
            format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        // Whoever asked may be gone.
        drop(stream.write_all(answer.as_bytes()));
        if is_due && turn == 2 {
            shoot();
        }
    }
}

/// What is wrong with what there is in the end: things that a tenant has and that are not there, things
/// that are there and nobody has, and requests that have not ended.
fn faults(requests: &[Value], done: &Done, has: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for request in requests {
        let (id, tenant) = (request["id"].as_str().unwrap(), request["tenant"].as_str().unwrap());
        let stage = request["stage"].as_str().unwrap();
        let number: usize = tenant[1..].parse().unwrap();
        let expected = if number.is_multiple_of(3) { "failed" } else { "fulfilled" };
        if request["listing"] == "guarded" {
            if stage != "pending_approval" || has.contains(tenant) {
                wrong.push(format!("{id}: nobody agreed to it, and it is {stage}"));
            }
            continue;
        }
        if stage != expected {
            wrong.push(format!("{id} of {tenant} is {stage}"));
        }
        if has.contains(tenant) != (stage == "fulfilled") {
            wrong.push(format!("{id}: {tenant} has it: {}", has.contains(tenant)));
        }
        for step in request["steps"].as_array().into_iter().flatten() {
            let Some(thing) = step["run"]["instance"].as_str() else { continue };
            let (made, removed) = done.things.get(thing).copied().unwrap_or_default();
            let there = made - removed;
            if (there == 1) != (stage == "fulfilled") {
                wrong.push(format!("{id} is {stage}, and there are {there} of {thing}"));
            }
        }
    }
    wrong.extend(done.doubles.iter().map(|id| format!("{id} was done twice")));
    wrong
}

#[test]
fn each_request_ends_once_and_each_step_is_done_once_through_kills_at_their_boundaries() {
    let kills = variable("ENTITLEMENTS_STEP_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let folder = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (done, victim): (Arc<Mutex<Done>>, Victim) = Default::default();
    let (killed, kills_seen) = mpsc::channel();
    {
        let (done, victim) = (done.clone(), victim.clone());
        thread::spawn(move || receive(&listener, &done, &victim, &killed));
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
    let hook = json!({ "name": "x", "kind": { "webhook": { "url": url, "handshake": false } } });
    must(&program, "PUT", "/v1/connectors/hook", &hook.to_string());
    let step = |key: &str| {
        json!({ "key": key, "name": key, "kind": { "webhook": { "connector": "hook" } },
            "waits_s": vec![0; 31] })
    };
    for (key, approval) in [("free", json!({ "automatic": {} })), ("guarded", json!({}))] {
        let listing = json!({ "title": key, "offer": { "add_on": "more-seats" },
            "approval": approval, "provisioning": [step("one"), step("two")] });
        must(&program, "PUT", &format!("/v1/listings/{key}"), &listing.to_string());
        must(&program, "POST", &format!("/v1/listings/{key}/submit"), "");
        must(&program, "POST", &format!("/v1/listings/{key}/publish"), "");
    }

    let mut tenants = 0_usize;
    for _ in 0..kills {
        *victim.lock().unwrap() = Some(program.child.clone());
        let mut tries = 0;
        while kills_seen.try_recv().is_err() {
            tries += 1;
            assert!(tries < TRIES_MAX, "messages arrive");
            let tenant = format!("t{tenants}");
            let listing = if tenants % 5 == 4 { "guarded" } else { "free" };
            let body = json!({ "tenant": tenant, "listing": listing }).to_string();
            tenants += 1;
            let put = ask(
                &program.addr,
                &token,
                "PUT",
                &format!("/v1/tenants/{tenant}"),
                r#"{"subscriptions":[{"plan":"pro"}]}"#,
            );
            drop(put.and_then(|_| ask(&program.addr, &token, "POST", "/v1/requests", &body)));
            thread::park_timeout(Duration::from_millis(5));
        }
        program = Program::start(folder.path(), false);
    }
    let mut tries = 0;
    loop {
        let counts = must(&program, "GET", "/v1/requests/counts", "");
        let stages = counts["stages"].as_object().unwrap();
        if stages.keys().all(|stage| stage == "pending_approval") {
            break;
        }
        tries += 1;
        assert!(tries < TRIES_MAX, "every request ends: {counts}");
        thread::park_timeout(Duration::from_millis(50));
    }
    let (mut requests, mut after) = (Vec::new(), String::new());
    loop {
        let page = must(&program, "GET", &format!("/v1/requests?limit=200&after={after}"), "");
        requests.extend(page["requests"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        after = next.into();
    }
    let now_has = |tenant: &str| {
        let path = format!("/v1/tenants/{tenant}/features/seats");
        must(&program, "GET", &path, "")["amount"] == 30
    };
    let tenants: BTreeSet<String> =
        requests.iter().map(|it| it["tenant"].as_str().unwrap().to_owned()).collect();
    let has: BTreeSet<String> = tenants.into_iter().filter(|tenant| now_has(tenant)).collect();
    kill(&program.child);
    let done = done.lock().unwrap().clone();
    let wrong = faults(&requests, &done, &has);
    tell(&format!(
        "{kills} kills at the boundaries of steps: {} requests, {} in force, {} things made, {} told \
         again with the same id, {} faults",
        requests.len(),
        has.len(),
        done.things.len(),
        done.repeats,
        wrong.len()
    ));
    assert_eq!(wrong, Vec::<String>::new());
    assert!(done.repeats > 0, "some are told again, as they must be");
    // The comparison sees what is missing, and what should not be there.
    let mut lost = done.clone();
    let thing = lost.things.iter().find(|(_, (made, removed))| made > removed).unwrap().0.clone();
    lost.things.remove(&thing);
    assert!(!faults(&requests, &lost, &has).is_empty());
    let mut fewer = has;
    fewer.pop_first();
    assert!(!faults(&requests, &done, &fewer).is_empty());
}
