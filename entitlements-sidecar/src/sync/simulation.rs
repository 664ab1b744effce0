//! An admin and five sidecars in virtual time, with a network that loses, delays, repeats and forges,
//! disks that fail, clocks that jump, and processes that die. Every seed is one story.
//!
//! What must hold in each: a sidecar never serves something older than it served before, never
//! something that the admin did not publish, never calls itself fresh without having heard, never
//! calls itself fresh on the old side of a switch, and in the end everybody has the same.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use entitlements_core::{
    Catalog, Revision, Snapshot, Timestamp,
    document::{Delta, Document, Hash},
    signed::{
        Basis, Header, SigningKey, Tidings, bundle, seal_candidate, seal_delta, seal_heartbeat,
        seal_keys, seal_snapshot,
    },
};

use super::{
    Disk, Fetched, Gate, Machine, Opened, Reply, Wanted, boot, files::Files, machine::Ask, open_on,
    take,
};
use crate::{
    clock::Clock,
    random::Random,
    serving::Serving,
    standing::{Moment, State},
};

const START: i64 = 1_800_000_000_000_000;
const SIDECARS: usize = 5;
/// How long a story is, and how long it may take to end well after everything is mended.
const STORY: Duration = Duration::from_secs(150);
const MENDING: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(100);
const SILENCE_MS: u32 = 2_000;

/// Files in memory that can fail, and that outlive the process.
#[derive(Debug, Clone, Default)]
struct Platter(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<String, Vec<u8>>,
    /// After so many more calls everything fails, the last one in the middle.
    fails_after: Option<u32>,
}

impl Platter {
    /// `None` where the call does not happen, `Some(false)` where it happens by half.
    fn call(inner: &mut Inner) -> Option<bool> {
        match &mut inner.fails_after {
            None => Some(true),
            Some(0) => None,
            Some(left) => {
                *left -= 1;
                Some(*left > 0)
            }
        }
    }
}

fn broken() -> io::Error {
    io::Error::other("the disk is broken")
}

impl Files for Platter {
    fn read(&self, name: &str, most: usize) -> io::Result<Option<Vec<u8>>> {
        let inner = self.0.lock().unwrap();
        Ok(inner.files.get(name).map(|bytes| bytes[..bytes.len().min(most + 1)].to_vec()))
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        // A rename happens or does not.
        if Self::call(&mut inner) != Some(true) {
            return Err(broken());
        }
        inner.files.insert(name.into(), bytes.into());
        Ok(())
    }

    fn append(&mut self, name: &str, length: usize, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let whole = Self::call(&mut inner).ok_or_else(broken)?;
        let file = inner.files.get_mut(name).ok_or_else(broken)?;
        file.truncate(length);
        file.extend_from_slice(if whole { bytes } else { &bytes[..bytes.len() / 2] });
        if whole { Ok(()) } else { Err(broken()) }
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        if Self::call(&mut inner) != Some(true) {
            return Err(broken());
        }
        inner.files.remove(name);
        Ok(())
    }
}

/// The admin: what it published, and what is current.
struct Admin {
    epoch: u64,
    world: Snapshot,
    publisher: u8,
    keys_version: u64,
    /// Everything that was ever published, and when something newer came to count.
    published: Vec<(Basis, Option<Duration>)>,
    activate_at: Option<Duration>,
    /// What the last barrier published.
    switches_to: Revision,
    candidate: Option<(String, Snapshot)>,
    candidates: u64,
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes([byte; 32])
}

fn world(revision: u64, seats: u64) -> Snapshot {
    let text = format!(
        "[features.seats]\nkind = {{ limit = {{ unit = \"seat\" }} }}\n[plans.pro]\ngrants = {{ \
         seats = {seats} }}\n[tenants.acme]\nsubscriptions = [{{ plan = \"pro\" }}]\n"
    );
    let document = Document::parse("s.toml", &text).unwrap();
    let catalog = Catalog::new(document.catalog).unwrap();
    Snapshot::compile(Revision(revision), catalog.into(), &document.tenants, instant(STEP))
}

fn instant(true_time: Duration) -> Timestamp {
    Timestamp::from_micros(START).plus(true_time)
}

impl Admin {
    fn new() -> Self {
        let mut admin = Self {
            epoch: 1,
            world: world(1, 1),
            publisher: 2,
            keys_version: 1,
            published: Vec::new(),
            activate_at: None,
            switches_to: Revision(0),
            candidate: None,
            candidates: 0,
        };
        admin.published.push((admin.basis(), None));
        admin
    }

    fn basis(&self) -> Basis {
        let (revision, hash) = (self.world.revision(), self.world.content_hash());
        Basis { epoch: self.epoch, revision, hash }
    }

    fn header(&self, now: Duration) -> Header {
        Header {
            environment: "default".into(),
            epoch: self.epoch,
            revision: self.world.revision(),
            issued_at: instant(now),
            max_age_s: Some(300),
            activate_at: self.activate_at.filter(|at| *at > now).map(instant),
        }
    }

    /// Makes a world the current one; it counts from an instant on.
    fn publish(&mut self, world: Snapshot, counts_from: Duration) {
        self.world = world;
        if let Some((_, until)) = self.published.last_mut() {
            *until = Some(counts_from);
        }
        self.published.push((self.basis(), None));
    }

    fn keys(&self) -> Vec<u8> {
        // During a rotation both keys count.
        let publishers: Vec<_> = [self.publisher - 1, self.publisher]
            .iter()
            .filter(|it| **it >= 2)
            .map(|it| key(*it).public())
            .collect();
        seal_keys(&key(1), "default", self.keys_version, &publishers, instant(STEP))
    }

    /// What a sidecar is told; `None` where it is to wait.
    fn answer(&self, ask: &Ask, now: Duration, is_late: bool) -> Option<Fetched> {
        let Ask::Changes { basis, candidate, .. } = ask else {
            return Some(Fetched::Keys(self.keys().into()));
        };
        let signer = key(self.publisher);
        let (header, current) = (self.header(now), self.basis());
        let bundled = |envelope: Vec<u8>| Some(Fetched::Bundle(bundle([&*envelope]).into()));
        match basis {
            Some(basis) if *basis == current => {}
            Some(basis) if basis.epoch == self.epoch && basis.revision < current.revision => {
                let delta =
                    Delta { catalog: Some(self.world.catalog().clone()), ..Delta::default() };
                let delta = delta.encode();
                return bundled(seal_delta(&signer, &header, basis, &current.hash, &delta));
            }
            _ => {
                let document = self.world.encode();
                return bundled(seal_snapshot(&signer, &header, &current.hash, &document));
            }
        }
        let offered = self.candidate.as_ref().map(|(id, _)| id);
        if let (Some((id, next)), true) = (&self.candidate, offered != candidate.as_ref()) {
            let delta =
                Delta { catalog: Some(next.catalog().clone()), ..Delta::default() }.encode();
            let (hash, what) = (next.content_hash(), (id.as_str(), SILENCE_MS));
            return bundled(seal_candidate(&signer, &header, &current, &hash, what, &delta));
        }
        (is_late || offered != candidate.as_ref()).then(|| {
            let tidings = Tidings { candidate: offered.cloned(), ..Tidings::default() };
            let envelope = seal_heartbeat(&signer, &header, &current.hash, &tidings);
            Fetched::Bundle(bundle([&*envelope]).into())
        })
    }
}

/// A sidecar as a process, and what of it outlives one.
struct Sidecar {
    platter: Platter,
    moment: Arc<Mutex<Moment>>,
    /// How far its wall clock is off, in seconds.
    clock_off_s: i64,
    process: Option<Process>,
    /// Cut off from the admin until then.
    cut_off_until: Duration,
    down_until: Duration,
    disk_broken_until: Duration,
    /// Whether it switched when its disk took nothing: nobody then knows after a restart, with a
    /// clock that is behind, that the instant has passed.
    may_go_back: bool,
    /// The newest that was ever served.
    highest: Option<(u64, Revision)>,
}

struct Process {
    started: Duration,
    serving: Serving,
    gate: Gate,
    machine: Machine,
    /// The question that is under way: since when, and for how long.
    asked: Option<(Ask, Duration, Duration)>,
}

/// What is taken out, to see that it is missed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    None,
    Mark,
    Signature,
}

impl Sidecar {
    fn new() -> Self {
        let moment = {
            let at = instant(Duration::ZERO);
            Moment { at, wall: at, up: Duration::ZERO }
        };
        Self {
            platter: Platter::default(),
            moment: Arc::new(Mutex::new(moment)),
            clock_off_s: 0,
            process: None,
            cut_off_until: Duration::ZERO,
            down_until: Duration::ZERO,
            disk_broken_until: Duration::ZERO,
            may_go_back: false,
            highest: None,
        }
    }

    fn set_clock(&self, now: Duration) {
        let off = self.clock_off_s * 1_000_000;
        let at = Timestamp::from_micros(instant(now).as_micros() + off);
        let up = self.process.as_ref().map_or(Duration::ZERO, |it| now - it.started);
        *self.moment.lock().unwrap() = Moment { at, wall: at, up };
    }

    fn start(&mut self, now: Duration, sabotage: Sabotage) {
        self.set_clock(now);
        let disk = Disk::new(self.platter.clone(), 1 << 20);
        let root = key(1).public();
        let wanted =
            Wanted { root, environment: "default", bytes_max: 1 << 20, fresh_name: "sidecar" };
        // A disk that cannot even keep a name keeps it from starting.
        let Ok(Opened { mut gate, floor, damaged_mark, .. }) = open_on(disk, &wanted) else {
            return;
        };
        gate.guards.mark = sabotage != Sabotage::Mark;
        let clock = Clock::set(floor, self.moment.clone());
        let nothing = Snapshot::compile(
            Revision(0),
            Arc::new(Catalog::new(entitlements_core::Draft::default()).unwrap()),
            [],
            floor,
        );
        let serving = Serving::new(clock, nothing, 10);
        boot(&serving, &mut gate, damaged_mark);
        let machine = Machine::new(10, gate.basis());
        self.process = Some(Process { started: now, serving, gate, machine, asked: None });
        self.set_clock(now);
    }
}

struct Story {
    seed: u64,
    random: Random,
    now: Duration,
    admin: Admin,
    sidecars: Vec<Sidecar>,
    /// What passed over the network, for those who repeat it.
    overheard: Vec<Fetched>,
    sabotage: Sabotage,
    is_mending: bool,
    told: u64,
    /// What befell each sidecar last.
    events: Vec<VecDeque<String>>,
}

impl Story {
    fn new(seed: u64, sabotage: Sabotage) -> Self {
        let random = Random::new(seed);
        Self {
            seed,
            random,
            now: Duration::ZERO,
            admin: Admin::new(),
            sidecars: (0..SIDECARS).map(|_| Sidecar::new()).collect(),
            overheard: Vec::new(),
            sabotage,
            is_mending: false,
            told: 0,
            events: vec![VecDeque::new(); SIDECARS],
        }
    }

    /// Tells it to its end, and says what went wrong.
    fn tell(mut self) -> Result<u64, String> {
        while self.now < STORY + MENDING {
            self.now += STEP;
            self.is_mending = self.now >= STORY;
            self.admin_acts();
            for place in 0..SIDECARS {
                self.fate(place);
                self.sidecar_acts(place);
                self.holds(place)?;
            }
        }
        let current = self.admin.basis();
        for (place, sidecar) in self.sidecars.iter().enumerate() {
            let process = sidecar.process.as_ref().ok_or("one is still down")?;
            let (served, state) = (process.gate.basis(), process.serving.state());
            if served != Some(current) || state != State::Fresh {
                return Err(self.wrong(place, &format!("it did not converge: {served:?} {state}")));
            }
        }
        Ok(self.told)
    }

    fn wrong(&self, place: usize, what: &str) -> String {
        let events: Vec<&str> = self.events[place].iter().map(String::as_str).collect();
        let events = events.join("\n    ");
        format!("seed {}, {:?}, sidecar {place}: {what}\n    {events}", self.seed, self.now)
    }

    fn note(&mut self, place: usize, what: &str) {
        let events = &mut self.events[place];
        if events.len() == 12 {
            events.pop_front();
        }
        events.push_back(format!("{:?} {what}", self.now));
    }

    fn admin_acts(&mut self) {
        let (now, random) = (self.now, &mut self.random);
        if !self.is_mending && random.once_in(40) {
            let next = self.admin.world.revision().0 + 1 + random.below(2);
            match random.below(8) {
                // Restored from an older backup: fewer revisions, a higher epoch.
                0 => {
                    self.admin.epoch += 1;
                    (self.admin.candidate, self.admin.activate_at) = (None, None);
                    let older = next.saturating_sub(1 + random.below(5)).max(1);
                    self.admin.publish(world(older, 1_000 + next), now);
                }
                1 if self.admin.candidate.is_none() => {
                    self.admin.candidates += 1;
                    let id = format!("c{}", self.admin.candidates);
                    self.admin.candidate = Some((id, world(next, 5_000 + next)));
                }
                2 if self.admin.publisher < 6 => {
                    self.admin.publisher += 1;
                    self.admin.keys_version += 1;
                }
                _ if self.admin.candidate.is_none() => {
                    let counts = self.admin.activate_at.filter(|at| *at > now).unwrap_or(now);
                    self.admin.publish(world(next, next), counts);
                }
                _ => {}
            }
        }
        self.decide();
    }

    /// Commits a candidate once all who are up have prepared it; gives it up now and then.
    fn decide(&mut self) {
        let Some((id, next)) = &self.admin.candidate else { return };
        let prepared = self.sidecars.iter().all(|sidecar| match &sidecar.process {
            // One that is down or was never heard has no lease, and is stale by itself.
            None => true,
            Some(process) => {
                process.serving.candidate().is_some_and(|it| it.id == *id && it.rejected.is_none())
            }
        });
        let is_down = self.sidecars.iter().any(|sidecar| sidecar.process.is_none());
        if prepared && !is_down {
            let at = self.now + Duration::from_millis(u64::from(SILENCE_MS) + 500);
            let revision = Revision(self.admin.world.revision().0 + 1);
            let next = next.with_tenants(revision, [], instant(STEP));
            self.admin.activate_at = Some(at);
            self.admin.switches_to = revision;
            self.admin.publish(next, at);
            self.admin.candidate = None;
        } else if self.is_mending || self.random.once_in(100) {
            self.admin.candidate = None;
        }
    }

    /// What befalls a sidecar.
    fn fate(&mut self, place: usize) {
        let (now, is_mending) = (self.now, self.is_mending);
        let random = &mut self.random;
        let sidecar = &mut self.sidecars[place];
        if is_mending {
            sidecar.cut_off_until = now;
            sidecar.down_until = sidecar.down_until.min(now);
            sidecar.disk_broken_until = sidecar.disk_broken_until.min(now);
            sidecar.clock_off_s = 0;
        } else {
            let some = Duration::from_millis(random.below(40_000));
            match random.below(900) {
                0..6 => sidecar.cut_off_until = now + some,
                6..10 => (sidecar.process, sidecar.down_until) = (None, now + some / 4),
                10..13 => {
                    sidecar.disk_broken_until = now + some / 2;
                    let calls = u32::try_from(random.below(4)).unwrap();
                    sidecar.platter.0.lock().unwrap().fails_after = Some(calls);
                }
                13..16 => sidecar.clock_off_s = i64::try_from(random.below(7_200)).unwrap() - 3_600,
                _ => {}
            }
        }
        if sidecar.disk_broken_until <= now {
            sidecar.platter.0.lock().unwrap().fails_after = None;
        }
        if sidecar.process.is_none() && sidecar.down_until <= now {
            sidecar.start(now, self.sabotage);
            let (off, broken) = (sidecar.clock_off_s, sidecar.disk_broken_until > now);
            // A start may make a switch, too.
            sidecar.may_go_back |= broken;
            self.note(place, &format!("started, clock off {off} s, disk broken: {broken}"));
        }
    }

    fn sidecar_acts(&mut self, place: usize) {
        let now = self.now;
        self.sidecars[place].set_clock(now);
        let is_cut_off = self.sidecars[place].cut_off_until > now;
        let Some(process) = &mut self.sidecars[place].process else { return };
        let was_armed = process.serving.armed_for().is_some();
        super::upkeep::switch_now(&process.serving, &mut process.gate);
        let is_broken = self.sidecars[place].platter.0.lock().unwrap().fails_after.is_some();
        let Some(process) = &mut self.sidecars[place].process else { return };
        let has_switched = was_armed && process.serving.armed_for().is_none();
        self.sidecars[place].may_go_back |= has_switched && is_broken;
        let Some(process) = &mut self.sidecars[place].process else { return };
        let up = now - process.started;
        let Some((ask, since, patience)) = process.asked.take() else {
            if process.machine.next_wake() <= up {
                let ask = process.machine.ask(up);
                let wait = match &ask {
                    Ask::Changes { wait_s, .. } => Duration::from_secs((*wait_s).into()),
                    Ask::Keys => Duration::ZERO,
                };
                process.asked = Some((ask, now, wait));
            }
            return;
        };
        let answer =
            if is_cut_off { None } else { self.admin.answer(&ask, now, now >= since + patience) };
        let Some(honest) = answer else {
            let is_given_up = now > since + patience + Duration::from_secs(10);
            if is_given_up {
                process.machine.on_reply(up, Reply::Failed, self.random.unit());
            } else {
                process.asked = Some((ask, since, patience));
            }
            return;
        };
        let answer = self.on_the_way(honest);
        let Some(process) = &mut self.sidecars[place].process else { return };
        let reply = take(&process.serving, &mut process.gate, &answer);
        self.told += 1;
        let served = process.serving.pin().revision();
        let what = match &reply {
            Reply::Admitted(basis) => format!("admitted {}.{}", basis.epoch, basis.revision),
            other => format!("{other:?}"),
        };
        let told = format!("{what}; serves {served} {}", process.serving.state());
        let place_of = place;
        let (gate_reply, told) = (reply, told);
        let random = self.random.unit();
        process.machine.on_reply(up, gate_reply, random);
        self.note(place_of, &told);
    }

    /// What the network makes of an answer.
    fn on_the_way(&mut self, honest: Fetched) -> Fetched {
        let copy = |fetched: &Fetched| match fetched {
            Fetched::Keys(bytes) => Fetched::Keys(bytes.clone()),
            Fetched::Bundle(bytes) => Fetched::Bundle(bytes.clone()),
        };
        if self.overheard.len() < 400 {
            self.overheard.push(copy(&honest));
        }
        if self.is_mending {
            return honest;
        }
        match self.random.below(40) {
            // Something that was said before.
            0..3 => {
                let place = self.random.below(self.overheard.len() as u64) as usize;
                copy(&self.overheard[place])
            }
            // A bit of it turned over.
            3 => {
                let turn = |bytes: &[u8], place: u64| {
                    let mut bytes = bytes.to_vec();
                    let place = place as usize % (bytes.len() * 8);
                    bytes[place / 8] ^= 1 << (place % 8);
                    bytes.into()
                };
                let place = self.random.next();
                match &honest {
                    Fetched::Keys(bytes) => Fetched::Keys(turn(bytes, place)),
                    Fetched::Bundle(bytes) => Fetched::Bundle(turn(bytes, place)),
                }
            }
            // Somebody else's word; where signatures are not checked, that is as good as one of ours.
            4 => {
                let signer =
                    if self.sabotage == Sabotage::Signature { self.admin.publisher } else { 99 };
                let forged = world(self.admin.world.revision().0 + 1, 999_999);
                let header = Header { revision: forged.revision(), ..self.admin.header(self.now) };
                let (hash, document) = (forged.content_hash(), forged.encode());
                let envelope = seal_snapshot(&key(signer), &header, &hash, &document);
                Fetched::Bundle(bundle([&*envelope]).into())
            }
            _ => honest,
        }
    }

    /// What must be so at any time.
    fn holds(&mut self, place: usize) -> Result<(), String> {
        self.sidecars[place].set_clock(self.now);
        let Some(process) = &self.sidecars[place].process else { return Ok(()) };
        let (serving, now) = (&process.serving, self.now);
        if serving.state() == State::Cold {
            return Ok(());
        }
        let snapshot = serving.pin();
        let (epoch, revision) =
            (self.served_epoch(place, &snapshot.content_hash()), snapshot.revision());
        let Some((epoch, until)) = epoch.filter(|_| revision.0 > 0) else {
            return Err(self.wrong(place, "it serves what was never published"));
        };
        let served = (epoch, revision);
        if self.sidecars[place].highest.is_some_and(|highest| served < highest) {
            let highest = self.sidecars[place].highest;
            if self.sidecars[place].may_go_back {
                self.sidecars[place].highest = None;
                return Ok(());
            }
            return Err(self.wrong(place, &format!("it went back from {highest:?} to {served:?}")));
        }
        if serving.state() == State::Fresh {
            let fresh_for = serving.standing().fresh_for() + Duration::from_secs(1);
            // Whoever starts with a clock that is behind cannot tell an old word from a new one.
            let is_right = self.sidecars[place].clock_off_s >= 0;
            if is_right && until.is_some_and(|until| now > until + fresh_for) {
                return Err(self.wrong(place, "it calls itself fresh and has not heard for long"));
            }
            // On the old side of a switch nobody is fresh, but for those whose clock is off.
            // What follows the switch and counts from the same instant on is heard of when it is.
            let is_old = revision < self.admin.switches_to;
            let switch = self.admin.activate_at.filter(|at| is_old && Some(*at) == until);
            let is_right = self.sidecars[place].clock_off_s == 0;
            if is_right && switch.is_some_and(|at| now > at + STEP) {
                let armed = serving.armed_for();
                let what = format!(
                    "it calls itself fresh at {served:?} on the old side of a switch at {switch:?}, \
                     armed for {armed:?}"
                );
                return Err(self.wrong(place, &what));
            }
        }
        self.sidecars[place].highest = Some(served);
        Ok(())
    }

    /// The epoch of what is served, and when something newer came to count.
    fn served_epoch(&self, place: usize, hash: &Hash) -> Option<(u64, Option<Duration>)> {
        let process = self.sidecars[place].process.as_ref()?;
        let revision = process.serving.pin().revision();
        // The same content may have had the same number in an earlier epoch.
        let epoch = process.serving.standing().epoch();
        let served = Basis { epoch, revision, hash: *hash };
        let mut found = self.admin.published.iter().rev();
        found.find(|(basis, _)| *basis == served).map(|(_, until)| (epoch, *until))
    }
}

const THREADS: u64 = 2;

/// `ENTITLEMENTS_SIMULATIONS=10000` tells so many stories, `ENTITLEMENTS_SEED=19` that one.
#[expect(clippy::disallowed_methods, reason = "which stories to tell is said in the environment")]
fn seeds() -> std::ops::RangeInclusive<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    match number("ENTITLEMENTS_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("ENTITLEMENTS_SIMULATIONS").unwrap_or(300),
    }
}

#[test]
fn whatever_happens_nobody_is_older_unsigned_or_falsely_fresh_and_all_agree_in_the_end() {
    let (told, wrong) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for remainder in 0..THREADS {
            let (told, wrong) = (&told, &wrong);
            scope.spawn(move || {
                for seed in seeds().filter(|seed| seed % THREADS == remainder) {
                    match Story::new(seed, Sabotage::None).tell() {
                        Ok(answers) => _ = told.fetch_add(answers, Ordering::Relaxed),
                        Err(what) => wrong.lock().unwrap().push(what),
                    }
                }
            });
        }
    });
    let (told, wrong) = (told.into_inner(), wrong.into_inner().unwrap());
    println!("{} stories, {told} answers taken", seeds().count());
    assert!(wrong.is_empty(), "{} stories went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn without_the_mark_somebody_would_go_back() {
    let wrong = (1..=60).filter_map(|seed| Story::new(seed, Sabotage::Mark).tell().err());
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.iter().any(|what| what.contains("went back")), "{wrong:#?}");
}

#[test]
fn without_signatures_somebody_would_serve_what_was_never_published() {
    let wrong = (1..=60).filter_map(|seed| Story::new(seed, Sabotage::Signature).tell().err());
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.iter().any(|what| what.contains("never published")), "{wrong:#?}");
}
