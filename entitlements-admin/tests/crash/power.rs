//! The power is cut under the control plane: what it had acknowledged is there afterwards.
//!
//! The program runs once, under a recorder. Then, for many moments of that run, the folder is made
//! as a disk may hold it after a power cut, and opened by the program.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use crate::{
    postgres::skip::{skip, tell, variable},
    program::{CATALOG, DEADLINE, Place, Program, Told, audit_verify, send},
    random::Random,
    recording::{Disk, Fate, Image, Op, Recording, commit_syncs},
};

const SEED: u64 = 7;
const DATABASE: &str = "entitlements.db";
const CLIENTS: usize = 3;
const TENANTS_EACH: usize = 8;

/// How many writes each client sends in each life of the program: enough for checkpoints.
const WRITES: [usize; 3] = [50, 120, 30];

/// How many power cuts are tried; `ENTITLEMENTS_IMAGES` says another number.
const IMAGES: usize = 300;

/// How many are tried with commits that are not synced: they must lose some.
const IMAGES_UNSYNCED: usize = 60;

#[test]
fn no_acknowledged_write_is_lost_when_the_power_is_cut() {
    let Some(world) = World::new() else { return };
    let acks = world.run();
    let recording = Recording::read(&fs::read(&world.log).unwrap());
    the_recorder_missed_nothing(&recording, &world.data);
    the_log_began_anew(&recording);

    let images = variable("ENTITLEMENTS_IMAGES").map_or(IMAGES, |text| text.parse().unwrap());
    let synced = cut_often(&recording, &BTreeSet::new(), &acks, images);
    // The guard for the guard: as `synchronous=NORMAL` would have it, the same checks must fail.
    let unsynced = cut_often(&recording, &commit_syncs(&recording.ops), &acks, IMAGES_UNSYNCED);
    tell(&format!(
        "power loss: {} acknowledged writes, {} operations on files; {images} cuts: {synced}; \
         {IMAGES_UNSYNCED} cuts with commits not synced: {unsynced}",
        acks.len(),
        recording.ops.len(),
    ));
    assert_eq!(synced, Damage::default());
    assert!(!unsynced.lost.is_empty(), "power cuts show when commits are not synced");
    assert_eq!(unsynced.unusable, [""; 0]);
}

/// A change that was answered with success when the recorder's log had this length.
#[derive(Debug, Clone)]
struct Ack {
    log_length: u64,
    revision: u64,
    /// The tenant that was written, and the name that it was given.
    tenant: Option<(String, String)>,
}

/// A folder to run in, with the recorder beside it.
struct World {
    data: PathBuf,
    log: PathBuf,
    recorder: PathBuf,
    _folder: TempDir,
}

impl World {
    fn new() -> Option<Self> {
        let name = "power loss";
        if !cfg!(target_os = "linux") {
            skip(name, "the recorder is written for Linux");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let recorder = folder.path().join("recorder.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/recorder.c");
        let mut compile = Command::new("cc");
        compile.args(["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]);
        match compile.arg(&recorder).arg(source).arg("-ldl").status() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                skip(name, "`cc` is not installed");
                return None;
            }
            compiled => assert!(compiled.unwrap().success(), "the recorder can be compiled"),
        }
        let [data, log] = ["data", "log"].map(|name| folder.path().join(name));
        fs::create_dir(&data).unwrap();
        Some(Self { data, log, recorder, _folder: folder })
    }

    /// Lets the program live three times: it ends in order, is killed, and ends in order.
    fn run(&self) -> Vec<Ack> {
        let program = self.start();
        let told = program.told_token();
        let token = told.token.clone();
        let mut acks = vec![self.import(&told)];
        acks.extend(self.write(&told, 0));
        program.stop();

        let program = self.start();
        acks.extend(self.write(&Told { token: token.clone(), ..told_in_time(&program) }, 1));
        program.kill();

        let program = self.start();
        acks.extend(self.write(&Told { token, ..told_in_time(&program) }, 2));
        program.stop();
        acks
    }

    fn start(&self) -> Program {
        let environment = [
            ("LD_PRELOAD", self.recorder.as_path()),
            ("RECORDER_FOLDER", &self.data),
            ("RECORDER_LOG", &self.log),
        ];
        Program::start(Place { data: &self.data, database: None }, &environment)
    }

    fn import(&self, to: &Told) -> Ack {
        let toml = [("content-type", "application/toml")];
        let answer = send(to, "PUT", "/v1/catalog", &toml, CATALOG).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        Ack { log_length: self.log_length(), revision: answer.revision, tenant: None }
    }

    /// Several clients write at once, each to tenants of its own.
    fn write(&self, to: &Told, life: usize) -> Vec<Ack> {
        thread::scope(|scope| {
            let client = |client| scope.spawn(move || self.write_one(to, life, client));
            let clients: Vec<_> = (0..CLIENTS).map(client).collect();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        })
    }

    fn write_one(&self, to: &Told, life: usize, client: usize) -> Vec<Ack> {
        let mut random = Random(SEED + (life * CLIENTS + client) as u64);
        let write = |number| {
            let tenant = format!("tenant-{client}-{}", random.below(TENANTS_EACH));
            let name = format!("write {life} {client} {number}");
            let body = tenant_named(&name);
            let json = [("content-type", "application/json")];
            let answer = send(to, "PUT", &format!("/v1/tenants/{tenant}"), &json, &body).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.body);
            let (log_length, revision) = (self.log_length(), answer.revision);
            Ack { log_length, revision, tenant: Some((tenant, name)) }
        };
        (0..WRITES[life]).map(write).collect()
    }

    fn log_length(&self) -> u64 {
        fs::metadata(&self.log).unwrap().len()
    }
}

fn told_in_time(program: &Program) -> Told {
    program.told(DEADLINE).expect("it starts")
}

/// What was recorded makes the folder that is there, byte for byte.
fn the_recorder_missed_nothing(recording: &Recording, data: &Path) {
    let mut disk = Disk::default();
    recording.ops.iter().for_each(|op| disk.run(op));
    let (recorded, real) = (disk.now(), Image::of(data));
    let names = |image: &Image| image.0.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&recorded), names(&real));
    for (name, content) in &real.0 {
        assert!(recorded.0[name] == *content, "`{name}` is not what was recorded");
    }
}

/// `SQLite` folds a long log into its file and begins the log anew: that must happen in between,
/// not only at the end of a life.
fn the_log_began_anew(recording: &Recording) {
    let (mut log, mut begun) = (None, 0);
    for op in &recording.ops {
        match op {
            Op::Create { file, path, .. } if path.ends_with("-wal") => {
                (log, begun) = (Some(*file), 0)
            }
            Op::Write { file, offset: 0, .. } if log == Some(*file) => begun += 1,
            _ => {}
        }
        if begun > 1 {
            return;
        }
    }
    panic!("the log never began anew: write more in one life");
}

/// What power cuts did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Damage {
    /// Where the program could not go on, and why.
    unusable: Vec<String>,
    /// Where acknowledged writes were missing, and how many.
    lost: Vec<String>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lost a write, {} left no whole store", self.lost.len(), self.unusable.len())
    }
}

/// Cuts the power at so many moments, and looks what is left each time.
fn cut_often(
    recording: &Recording,
    without: &BTreeSet<usize>,
    acks: &[Ack],
    images: usize,
) -> Damage {
    let mut random = Random(SEED);
    let mut moments: Vec<(usize, u64)> =
        (0..images).map(|_| (1 + random.below(recording.ops.len()), random.next())).collect();
    moments.sort_unstable();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let shares = (0..threads).map(|first| moments.iter().skip(first).step_by(threads).copied());
    let mut damage = Damage::default();
    thread::scope(|scope| {
        let cut = |share| scope.spawn(move || cut_each(recording, without, acks, share));
        let cuts: Vec<_> = shares.map(|share| cut(share.collect::<Vec<_>>())).collect();
        for cut in cuts {
            let Damage { unusable, lost } = cut.join().unwrap();
            damage.unusable.extend(unusable);
            damage.lost.extend(lost);
        }
    });
    damage
}

/// Cuts the power after each of these numbers of operations.
fn cut_each(
    recording: &Recording,
    without: &BTreeSet<usize>,
    acks: &[Ack],
    moments: Vec<(usize, u64)>,
) -> Damage {
    let (mut disk, mut damage, mut done) = (Disk::default(), Damage::default(), 0);
    for (moment, seed) in moments {
        for place in (done..moment).filter(|place| !without.contains(place)) {
            disk.run(&recording.ops[place]);
        }
        done = moment;
        let mut random = Random(seed);
        let fate = Fate::EACH[random.below(Fate::EACH.len())];
        let image = disk.cut(fate, &mut random);
        let before = |ack: &&Ack| recording.done_at(ack.log_length) <= moment;
        let acks: Vec<&Ack> = acks.iter().filter(before).collect();
        let when = format!("after {moment} operations, {fate:?} of the rest");
        match missing(&image, &acks) {
            Ok(0) => {}
            Ok(count) => damage.lost.push(format!("{when}: {count} writes")),
            Err(why) => damage.unusable.push(format!("{when}: {why}")),
        }
    }
    damage
}

/// How many acknowledged writes are missing from what the disk holds.
fn missing(image: &Image, acks: &[&Ack]) -> Result<usize, String> {
    let folder = TempDir::new().unwrap();
    image.write(folder.path());
    let rows = audit_verify(Place { data: folder.path(), database: None })?;
    let tenants = tenants(&folder.path().join(DATABASE)).map_err(|e| e.to_string())?;
    let is_there = |ack: &Ack| {
        let tenant = ack.tenant.as_ref().is_none_or(|(tenant, name)| {
            tenants.get(tenant).is_some_and(|(revision, json)| {
                *revision > ack.revision || *revision == ack.revision && *json == tenant_named(name)
            })
        });
        // The chain is whole: its rows are the revisions from 1 on.
        rows >= ack.revision && tenant
    };
    Ok(acks.iter().filter(|ack| !is_there(ack)).count())
}

/// The tenants of a database that is sound, each with its revision and its document.
fn tenants(path: &Path) -> rusqlite::Result<BTreeMap<String, (u64, String)>> {
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let sound: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(sound, "ok");
    let mut statement =
        database.prepare("SELECT key, revision, json FROM object WHERE kind = 'tenant'")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, (row.get::<_, i64>(1)?.unsigned_abs(), row.get(2)?)))
    })?;
    rows.collect()
}

fn tenant_named(name: &str) -> String {
    format!(r#"{{"name":"{name}","subscriptions":[{{"plan":"pro"}}]}}"#)
}
