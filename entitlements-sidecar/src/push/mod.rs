//! Pushing on what is served: to tenant caches, flag services and webhooks.
//!
//! For each sink a [machine](machine) says what to do and when, and the sink does it: carry one state
//! of the world, whole or not at all, and read back what is there. What came of it is kept as a
//! receipt until the admin has taken note of it.

mod config;
mod flagd_file;
mod machine;
mod redis;
mod settle;
mod sinks;
mod unleash;
mod webhook;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use entitlements_core::{Snapshot, Timestamp};

use self::machine::{Checked, Machine, Pushed, Todo, Want};
use self::settle::Settling;
pub(crate) use self::{
    config::{SinkConfig, read_sinks},
    machine::Health,
    sinks::{Known, Sinks},
};
use crate::{
    clock,
    flags::keeper::{Flags, Kept},
    serving::Serving,
    standing::State,
    stop::Stop,
};

/// One state of the world.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) epoch: u64,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) at: Timestamp,
}

impl World {
    fn want(&self) -> Want {
        Want { epoch: self.epoch, revision: self.snapshot.revision(), at: self.at }
    }
}

/// What a sink is to hold, and what it was given before by this process.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) world: World,
    pub(crate) before: Option<World>,
    /// For sinks of flags: the flags of it.
    pub(crate) flags: Option<Kept>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Done {
    /// How many things in the sink changed.
    pub(crate) changed: u64,
    /// What there is to say about it.
    pub(crate) detail: Option<String>,
}

/// Why a sink does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SinkError {
    /// It may work later.
    #[error("{why}")]
    Retry { why: String, after: Option<Duration>, progressed: bool },
    /// It will not work, however often it is tried.
    #[error("{0}")]
    Refused(String),
}

impl SinkError {
    pub(crate) fn retry(why: impl fmt::Display) -> Self {
        Self::Retry { why: why.to_string(), after: None, progressed: false }
    }
}

/// What a look at a sink showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// What it was given.
    InStep,
    /// Something else, and what.
    Drifted(String),
    /// It cannot be asked.
    Unknown,
}

/// Something that is under way.
pub(crate) type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, SinkError>> + Send + 'a>>;

/// Something that holds what others read.
pub(crate) trait Sink: fmt::Debug + Send {
    /// Has it hold a state of the world, and sees to it that it does.
    fn push<'a>(&'a mut self, job: &'a Job) -> Doing<'a, Done>;

    /// Looks whether it still does. After a drift the next push repairs all of it.
    fn check<'a>(&'a mut self, job: &'a Job) -> Doing<'a, Seen>;
}

/// Keeps one sink in step with what is served.
#[derive(Debug)]
pub(crate) struct Pusher {
    name: String,
    sink: Box<dyn Sink>,
    machine: Machine,
    serving: Arc<Serving>,
    /// For sinks of flags: where these are, and since when the sink holds which.
    flags: Option<(Flags, Settling)>,
    current: Option<World>,
    applied: Option<World>,
    /// When the answers of the present world change by themselves.
    edge: Option<Timestamp>,
}

impl Pusher {
    /// For a sink as it was configured.
    pub(crate) fn new(
        serving: Arc<Serving>,
        config: &SinkConfig,
        flags: Flags,
        environment: &str,
    ) -> Self {
        let name = config.name.clone();
        let flags = config.kind.settles_in().map(|after| (flags, Settling::new(after)));
        serving.sinks.add(&name, config.kind.code(), config.kind.is_read_back());
        Self {
            name,
            sink: config.open(environment),
            machine: Machine::new(config.check_every),
            serving,
            flags,
            current: None,
            applied: None,
            edge: None,
        }
    }

    /// Works until it is told to stop.
    pub(crate) async fn run(mut self, mut stop: Stop) {
        let mut pulses = self.serving.pulses();
        let mut flags = self.flags.as_ref().map(|(flags, _)| flags.watch());
        loop {
            pulses.mark_unchanged();
            flags.iter_mut().for_each(tokio::sync::watch::Receiver::mark_unchanged);
            self.look();
            if let Some(todo) = self.machine.next(self.serving.clock.now().up) {
                tokio::select! {
                    () = self.work(todo) => continue,
                    () = stop.told() => return,
                }
            }
            self.tell();
            tokio::select! {
                () = tokio::time::sleep(self.pause()) => {}
                _ = pulses.changed() => {}
                () = changed(&mut flags) => {}
                () = stop.told() => return,
            }
        }
    }

    /// Takes up what is served now, and what time has made of it.
    fn look(&mut self) {
        let (serving, now) = (&self.serving, self.serving.clock.now());
        if serving.state() == State::Cold {
            return;
        }
        let (epoch, snapshot) = (serving.standing().epoch(), serving.entitlements().snapshot());
        if let Some((flags, _)) = &self.flags {
            // Their flags say what is wanted; they follow what is served by themselves.
            let Some(kept) = flags.now() else { return };
            let world = World { epoch: kept.epoch, snapshot: kept.snapshot.clone(), at: kept.at };
            self.machine.desire(world.want());
            self.current = Some(world);
            return;
        }
        let is_known = self.current.as_ref().is_some_and(|current| {
            (current.epoch, current.snapshot.revision()) == (epoch, snapshot.revision())
        });
        if is_known && self.edge.is_none_or(|edge| edge > now.at) {
            return;
        }
        self.edge = snapshot.next_change(now.at);
        let world = World { epoch, snapshot, at: now.at };
        self.machine.desire(world.want());
        self.current = Some(world);
    }

    fn pause(&self) -> Duration {
        let now = self.serving.clock.now();
        let wake = self.machine.next_wake().map(|wake| wake.saturating_sub(now.up));
        let edge = self.edge.map(|edge| edge.since(now.at));
        // A clock may be set, so nobody sleeps for long.
        [wake, edge].into_iter().flatten().fold(LOOK_EVERY, Ord::min).max(LOOK_FIRST)
    }

    async fn work(&mut self, todo: Todo) {
        let Some(world) = self.current.clone() else { return };
        let flags = self.flags.as_ref().and_then(|(flags, _)| flags.now());
        let flags = flags.filter(|kept| kept.at == world.at);
        let job = Job { world, before: self.applied.clone(), flags };
        let outcome = match todo {
            Todo::Push(_) => Outcome::Pushed(self.sink.push(&job).await),
            Todo::Check(_) => Outcome::Seen(self.sink.check(&job).await),
        };
        let (now, sinks) = (self.serving.clock.now(), &self.serving.sinks);
        match outcome {
            Outcome::Pushed(Ok(done)) => {
                let done_before = done.changed == 0;
                let was_drifted = self.machine.health() == Health::Drifted;
                self.machine.on_pushed(now.up, Pushed::Applied, 0.0);
                let what = if was_drifted { "repaired" } else { "applied" };
                sinks.count(&self.name, what);
                if done.changed > 0 || was_drifted {
                    sinks.receipt(&self.name, &job.world, now.at, what, done);
                }
                if let (Some((_, settling)), Some(kept)) = (&mut self.flags, &job.flags) {
                    settling.applied(&kept.gated, kept.revision, now.up, done_before);
                }
                self.applied = Some(job.world);
                sinks.trouble(&self.name, None);
            }
            Outcome::Pushed(Err(error)) => {
                let why = error.to_string();
                let is_refused = matches!(error, SinkError::Refused(_));
                sinks.count(&self.name, if is_refused { "refused" } else { "failed" });
                let pushed = match error {
                    SinkError::Retry { after, progressed, .. } => {
                        Pushed::Failed { after, progressed }
                    }
                    // A receipt makes a revision at the admin, and that another push: what is known
                    // already must not make one again.
                    SinkError::Refused(_) if !sinks.is_news(&self.name, &why) => Pushed::Refused,
                    SinkError::Refused(_) => {
                        let done = Done { changed: 0, detail: Some(why.clone()) };
                        sinks.receipt(&self.name, &job.world, now.at, "refused", done);
                        Pushed::Refused
                    }
                };
                self.machine.on_pushed(now.up, pushed, clock::random());
                // Nobody knows what of it arrived: the next push goes by what is read back.
                self.applied = None;
                tracing::warn!(sink = self.name, "a push did not work: {why}");
                sinks.trouble(&self.name, Some(why));
            }
            Outcome::Seen(Ok(Seen::Drifted(what))) => {
                self.machine.on_checked(now.up, Checked::Drifted);
                sinks.count(&self.name, "drifted");
                // The repair is a later state of the same revision, so that it counts for newer.
                (self.applied, self.current) = (None, None);
                tracing::warn!(sink = self.name, "it holds something else: {what}");
                let done = Done { changed: 0, detail: Some(what) };
                sinks.receipt(&self.name, &job.world, now.at, "drifted", done);
            }
            Outcome::Seen(Ok(_)) => {
                self.machine.on_checked(now.up, Checked::InStep);
                sinks.trouble(&self.name, None);
            }
            Outcome::Seen(Err(error)) => {
                self.machine.on_checked(now.up, Checked::Failed);
                sinks.count(&self.name, "failed");
                sinks.trouble(&self.name, Some(error.to_string()));
            }
        }
    }

    fn tell(&self) {
        if let Some((_, settling)) = &self.flags {
            let settled = settling.settled(self.serving.clock.now().up);
            if self.serving.sinks.settle(&self.name, settled) {
                self.serving.sinks_changed();
            }
        }
        let (desired, applied) = (self.machine.desired(), self.machine.applied());
        if self.serving.sinks.tell(&self.name, desired, applied, self.machine.health()) {
            self.serving.sinks_changed();
        }
    }
}

async fn changed(flags: &mut Option<tokio::sync::watch::Receiver<Option<Kept>>>) {
    match flags {
        Some(flags) => drop(flags.changed().await),
        None => std::future::pending().await,
    }
}

enum Outcome {
    Pushed(Result<Done, SinkError>),
    Seen(Result<Seen, SinkError>),
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_FIRST: Duration = Duration::from_millis(1);
