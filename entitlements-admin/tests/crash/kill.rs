//! The control plane is killed again and again under clients that write.
//!
//! Each client names its requests, and asks again under the same name after a cut connection, until
//! it has an answer. In the end every write must be there once: not lost, not doubled.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    postgres::{
        database,
        skip::{tell, variable},
    },
    program::{Answer, CATALOG, DEADLINE, Place, Program, Told, audit_verify, send},
    random::Random,
};

const SEED: u64 = 11;
const CLIENTS: usize = 4;
const TENANTS_EACH: usize = 5;

/// How often it is killed; `ENTITLEMENTS_KILLS` says another number.
const KILLS: usize = 50;

/// Between two kills, at most so many writes are acknowledged.
const WRITES_BETWEEN_MAX: usize = 40;

/// One start in so many is cut short.
const STARTS_PER_CUT: usize = 8;

#[test]
fn no_acknowledged_write_is_lost_or_doubled_by_kills() {
    let folder = TempDir::new().unwrap();
    survives(Place { data: folder.path(), database: None }, "a file");
}

#[test]
fn the_same_holds_on_postgres() {
    let Some(database) = database() else { return };
    let folder = TempDir::new().unwrap();
    survives(Place { data: folder.path(), database: Some(&database) }, "PostgreSQL");
}

fn survives(store: Place<'_>, on: &str) {
    let kills = variable("ENTITLEMENTS_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let (program, told) = first_start(store);
    let door = Door::open(told.clone());
    let (acked, acks) = mpsc::channel();
    let (program, told, done) = thread::scope(|scope| {
        let client = |client| {
            let (door, acked) = (&door, acked.clone());
            scope.spawn(move || work(client, door, &acked))
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        let (program, told) = kill_often(program, &told, store, kills, &door, &acks);
        door.over.store(true, Ordering::Relaxed);
        let done: Vec<Done> =
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        (program, told, done)
    });
    each_answer_is_kept(&told, &done);
    let found = Found::ask(&told);
    program.stop();
    let rows = audit_verify(store).expect("the audit is whole");
    assert_eq!(rows, found.rows, "the audit that was verified is the one that was read");

    let faults = found.compare(&done);
    tell(&format!(
        "kills on {on}: {kills} under {CLIENTS} clients, {} starts cut short; {} acknowledged \
         writes, {} asked for again; {} lost, {} doubled; {rows} rows of audit are whole",
        door.cut_short.load(Ordering::Relaxed),
        done.len(),
        done.iter().filter(|done| done.tries > 1).count(),
        faults.lost.len(),
        faults.doubled.len(),
    ));
    assert_eq!(faults.lost, [""; 0]);
    assert_eq!(faults.doubled, BTreeSet::new());
}

/// Where clients find the program, and learn that it moved.
struct Door {
    /// How often it was opened, and where the program is to be found since then.
    place: Mutex<(u64, Told)>,
    moved: Condvar,
    over: AtomicBool,
    cut_short: AtomicUsize,
}

impl Door {
    fn open(told: Told) -> Self {
        Self {
            place: Mutex::new((1, told)),
            moved: Condvar::new(),
            over: AtomicBool::new(false),
            cut_short: AtomicUsize::new(0),
        }
    }

    fn move_to(&self, told: Told) {
        let mut place = self.place.lock().unwrap();
        *place = (place.0 + 1, told);
        self.moved.notify_all();
    }

    /// Where it is, once it was opened more often than this.
    fn after(&self, seen: u64) -> (u64, Told) {
        let place = self.place.lock().unwrap();
        let (place, late) =
            self.moved.wait_timeout_while(place, DEADLINE, |place| place.0 <= seen).unwrap();
        assert!(!late.timed_out(), "the program comes back");
        place.clone()
    }
}

/// A write that was acknowledged.
struct Done {
    /// The name of the request.
    key: String,
    tenant: String,
    body: String,
    answer: Answer,
    /// How often it was asked for.
    tries: usize,
}

fn first_start(store: Place<'_>) -> (Program, Told) {
    let program = Program::start(store, &[]);
    let told = program.told_token();
    let toml = [("content-type", "application/toml")];
    let answer = send(&told, "PUT", "/v1/catalog", &toml, CATALOG).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    (program, told)
}

/// Kills and starts it so often, at moments that chance chooses.
fn kill_often(
    mut program: Program,
    told: &Told,
    store: Place<'_>,
    kills: usize,
    door: &Door,
    acks: &Receiver<()>,
) -> (Program, Told) {
    let mut random = Random(SEED);
    let (mut told, mut starting) = (told.clone(), false);
    for _ in 0..kills {
        if !starting {
            for _ in 0..random.below(WRITES_BETWEEN_MAX) {
                acks.recv_timeout(DEADLINE).expect("writes are acknowledged");
            }
            // Not always right after an answer: until the next one, or a moment before it.
            let moment = Duration::from_micros(random.below(4000) as u64);
            let _ = acks.recv_timeout(moment);
        }
        program.kill();
        program = Program::start(store, &[]);
        let soon = Duration::from_micros(random.below(40_000) as u64);
        let cut = random.below(STARTS_PER_CUT) == 0;
        let place = program.told(if cut { soon } else { DEADLINE });
        starting = place.is_none();
        match place {
            Some(place) => {
                told = Told { token: told.token, ..place };
                door.move_to(told.clone());
            }
            None => {
                assert!(cut, "it starts in time");
                door.cut_short.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    if starting {
        let place = program.told(DEADLINE).expect("it starts in time");
        told = Told { token: told.token, ..place };
        door.move_to(told.clone());
    }
    (program, told)
}

/// One client: a write after the other, each until it has an answer.
fn work(client: usize, door: &Door, acked: &Sender<()>) -> Vec<Done> {
    let mut random = Random(SEED + 1 + client as u64);
    let mut done = Vec::new();
    while !door.over.load(Ordering::Relaxed) {
        let key = format!("client-{client}-write-{}", done.len());
        let tenant = format!("tenant-{client}-{}", random.below(TENANTS_EACH));
        let body = format!(r#"{{"name":"{key}","subscriptions":[{{"plan":"pro"}}]}}"#);
        let (answer, tries) = until_answered(door, &tenant, &key, &body);
        done.push(Done { key, tenant, body, answer, tries });
        // Nobody counts any more when the last kill is over.
        let _ = acked.send(());
    }
    done
}

fn until_answered(door: &Door, tenant: &str, key: &str, body: &str) -> (Answer, usize) {
    let (mut tries, mut place) = (0, door.after(0));
    loop {
        tries += 1;
        match put(&place.1, tenant, key, body) {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{}", answer.body);
                return (answer, tries);
            }
            // Done or not: nobody can tell. So it is asked for again, under the same name.
            Err(_) => place = door.after(place.0),
        }
    }
}

fn put(to: &Told, tenant: &str, key: &str, body: &str) -> std::io::Result<Answer> {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    send(to, "PUT", &format!("/v1/tenants/{tenant}"), &headers, body)
}

/// Whoever asks again gets the answer of the first time, and nothing is done.
fn each_answer_is_kept(told: &Told, done: &[Done]) {
    for Done { key, tenant, body, answer, .. } in done {
        assert_eq!(put(told, tenant, key, body).unwrap(), *answer, "{key}");
    }
}

/// What the program has in the end.
struct Found {
    rows: u64,
    /// The revisions at which each tenant was written, by the audit.
    writes: BTreeMap<String, BTreeSet<u64>>,
    /// Each tenant's revision and name.
    tenants: BTreeMap<String, (u64, String)>,
}

/// What should not be.
struct Faults {
    lost: Vec<String>,
    /// Writes that nobody asked for, or that were done once more: the tenant and the revision.
    doubled: BTreeSet<(String, u64)>,
}

impl Found {
    fn ask(told: &Told) -> Self {
        let audit = pages(told, "audit", "entries", "before");
        let mut writes: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for entry in audit.iter().filter(|entry| entry["command"] == "put_tenant") {
            let (_, tenant) = entry["subject"].as_str().unwrap().split_once(' ').unwrap();
            writes
                .entry(tenant.to_owned())
                .or_default()
                .insert(entry["revision"].as_u64().unwrap());
        }
        let tenant = |item: Value| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let revision = item["revision"].as_u64().unwrap();
            (text(&item["key"]), (revision, text(&item["tenant"]["name"])))
        };
        let tenants = pages(told, "tenants", "tenants", "after").into_iter().map(tenant).collect();
        Self { rows: audit.len() as u64, writes, tenants }
    }

    fn compare(&self, done: &[Done]) -> Faults {
        let (mut left, mut last, mut lost) = (self.writes.clone(), BTreeMap::new(), Vec::new());
        for Done { key, tenant, answer, .. } in done {
            let revision = answer.revision;
            let was_there = left.get_mut(tenant).is_some_and(|left| left.remove(&revision));
            if !was_there {
                lost.push(format!("`{key}` at revision {revision} is not in the audit once"));
            }
            // A client waits for an answer before it writes again: the last one stands.
            last.insert(tenant, (revision, key));
        }
        for (tenant, (revision, key)) in last {
            let present = self.tenants.get(tenant).map(|(revision, name)| (*revision, name));
            if present != Some((revision, key)) {
                lost.push(format!("`{key}` at {revision} is not in `{tenant}`: {present:?}"));
            }
        }
        let each = |(tenant, left): (String, BTreeSet<u64>)| {
            left.into_iter().map(move |revision| (tenant.clone(), revision))
        };
        Faults { lost, doubled: left.into_iter().flat_map(each).collect() }
    }
}

/// All pages of a list, each but the first asked for by what the one before it told.
fn pages(told: &Told, what: &str, field: &str, cursor: &str) -> Vec<Value> {
    let (mut found, mut place) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/{what}?limit=200{place}");
        let answer = send(told, "GET", &path, &[], "").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let page = answer.json();
        found.extend(page[field].as_array().unwrap().iter().cloned());
        place = match &page["next"] {
            Value::Null => return found,
            Value::String(next) => format!("&{cursor}={next}"),
            next => format!("&{cursor}={next}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(key: &str, tenant: &str, revision: u64) -> Done {
        let answer = Answer { status: 200, revision, body: String::new() };
        Done { key: key.into(), tenant: tenant.into(), body: String::new(), answer, tries: 1 }
    }

    fn faults(writes: &[u64], present: (u64, &str)) -> (usize, Vec<u64>) {
        let found = Found {
            rows: 9,
            writes: [("acme".to_owned(), writes.iter().copied().collect())].into(),
            tenants: [("acme".to_owned(), (present.0, present.1.to_owned()))].into(),
        };
        let faults = found.compare(&[done("one", "acme", 4), done("two", "acme", 6)]);
        let doubled = faults.doubled.into_iter().map(|(_, revision)| revision).collect();
        (faults.lost.len(), doubled)
    }

    #[test]
    fn what_is_lost_or_doubled_is_found() {
        assert_eq!(faults(&[4, 6], (6, "two")), (0, vec![]));
        // A row is missing, the document is an older one, or another's.
        assert_eq!(faults(&[4], (6, "two")), (1, vec![]));
        assert_eq!(faults(&[4, 6], (4, "one")), (1, vec![]));
        assert_eq!(faults(&[4, 6], (6, "one")), (1, vec![]));
        // A write was done once more, before or after the one that was acknowledged.
        assert_eq!(faults(&[4, 5, 6], (6, "two")), (0, vec![5]));
        assert_eq!(faults(&[4, 6, 7], (7, "two")), (1, vec![7]));
    }
}
