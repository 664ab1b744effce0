//! Tenant caches in Redis: what each tenant may use, in a form that any language reads.
//!
//! Keys, for the prefix `ent`, the environment `default` and the schema `s1`:
//!
//! ```text
//! ent:default:s1:{g}:rev            the version that counts
//! ent:default:s1:{<tenant>}:cur     a tenant's versions that may count, the newest first
//! ent:default:s1:{<tenant>}:v:<version>   a hash: feature -> answer as JSON, and _valid_until, _hash
//! ent:default:s1:{g}:tenants        a set of all tenants here, so that none is left behind
//! ent:default:s1:changed            a channel: which tenants changed, after it counts
//! ```
//!
//! A reader asks for the version that counts and for the tenant's, takes the newest of them that is
//! not newer than the one that counts, and then the hash. So one tenant is never torn, and all
//! tenants switch at once when the one key is set. Each tenant's keys have one hash tag, so that all
//! of it works on a cluster. A version is a number of fixed width: epoch, revision and instant, so
//! that texts compare as they follow one another.
//!
//! Several sidecars may push to one Redis. None relies on what another has prepared and not yet
//! switched to; who is behind takes back what it prepared. What slips through is seen by the check.

mod connection;
mod form;
mod scripts;

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};

pub(crate) use self::connection::RedisConfig;
use self::{
    connection::Connection,
    form::{
        Entry, GONE, Keys, NOTHING, is_same_revision, is_version, message, newest, stored_digest,
        version,
    },
};
use super::{Doing, Done, Job, Seen, Sink, SinkError, World};

/// How many commands are under way at one time.
const UNDER_WAY: usize = 64;
/// How many tenants one command enters into the register.
const AT_ONCE: usize = 1_000;
/// How long a version stays that no reader looks for any more, in seconds.
const GRACE_S: u64 = 30;

/// It names no version: the same trouble is the same sentence, so that it is told once.
const NEWER: &str = "something newer counts there: this sidecar is behind, or the cache is another \
                     control plane's; then give this sink another `prefix`";

/// Caches in Redis.
#[derive(Debug)]
pub(crate) struct Redis {
    config: RedisConfig,
    keys: Keys,
    connection: Option<Connection>,
    /// The digest of what each tenant was given; absent where that is to be read back.
    known: HashMap<String, [u8; 16]>,
    /// The version that counts, as it was last set or read.
    version: String,
    /// Whether what is there was read back, and nothing was unclear since.
    is_read: bool,
    /// What a push prepared, until it is known what became of it.
    prepared: Option<Prepared>,
}

/// A version of some tenants that does not count yet, as far as is known.
#[derive(Debug)]
struct Prepared {
    version: String,
    tenants: Vec<String>,
    /// Whether the switch to it was asked for.
    is_asked: bool,
}

/// What is written for a tenant; nothing where it is gone.
type Change = (String, Option<Entry>);

/// What a push goes by.
struct Ground {
    /// The version that counts.
    counts: String,
    /// Tenants whose answers may be others than what is there.
    tenants: Vec<String>,
    /// Tenants that the register does not know yet.
    unlisted: Vec<String>,
}

impl Redis {
    pub(crate) fn new(config: RedisConfig, environment: &str) -> Self {
        let keys = Keys::new(&config.prefix, environment);
        Self {
            config,
            keys,
            connection: None,
            known: HashMap::new(),
            version: NOTHING.into(),
            is_read: false,
            prepared: None,
        }
    }

    async fn connection(&mut self) -> Result<Connection, SinkError> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let opened = Connection::open(&self.config).await?;
        Ok(self.connection.insert(opened).clone())
    }

    async fn carry(&mut self, job: &Job) -> Result<Done, SinkError> {
        let connection = self.connection().await?;
        let (version, counts) = (version(&job.world), self.counts(&connection).await?);
        self.tidy(&connection, &version, &counts).await?;
        if counts > version {
            return self.give_way(&connection, job, &version, counts).await;
        }
        let ground = self.survey(&connection, job, counts, &version).await?;
        let changes = self.changes(&job.world, &ground.tenants);
        let changed: Vec<String> = changes.iter().map(|(tenant, _)| tenant.clone()).collect();
        self.enter(&connection, &ground.unlisted).await?;
        let prepared =
            |is_asked| Prepared { version: version.clone(), tenants: changed.clone(), is_asked };
        self.prepared = Some(prepared(false));
        let written = self.write(&connection, &version, &ground.counts, changes).await?;
        self.prepared = Some(prepared(true));
        let counts = self.switch(&connection, &job.world, &version, &changed).await?;
        self.prepared = None;
        if !counts {
            self.take_back(&connection, &version, &changed).await?;
            return Err(SinkError::retry("another sidecar switched to a newer version meanwhile"));
        }
        self.version = version;
        let mut gone = Vec::new();
        for (tenant, digest) in written {
            match digest {
                Some(digest) => _ = self.known.insert(tenant, digest),
                None => {
                    self.known.remove(&tenant);
                    gone.push(tenant);
                }
            }
        }
        self.forget(&connection, &gone).await?;
        Ok(Done { changed: changed.len() as u64, detail: None })
    }

    /// The version that counts there; what is no version counts for nothing.
    async fn counts(&self, connection: &Connection) -> Result<String, SinkError> {
        let found: Option<String> =
            connection.ask(redis::cmd("GET").arg(self.keys.switch())).await?;
        Ok(found.filter(|text| is_version(text)).unwrap_or_else(|| NOTHING.into()))
    }

    /// Takes back what an earlier push prepared, where that has not counted and another version is
    /// wanted now. What may have counted others may rely on.
    async fn tidy(
        &mut self,
        connection: &Connection,
        version: &str,
        counts: &str,
    ) -> Result<(), SinkError> {
        if let Some(Prepared { version: old, tenants, is_asked }) = &self.prepared {
            let never_counted = counts < old.as_str() || (counts > old.as_str() && !is_asked);
            if old != version && never_counted {
                self.take_back(connection, old, tenants).await?;
            }
        }
        self.prepared = None;
        Ok(())
    }

    /// Something newer counts already. Of the same revision it is as good as ours.
    async fn give_way(
        &mut self,
        connection: &Connection,
        job: &Job,
        version: &str,
        counts: String,
    ) -> Result<Done, SinkError> {
        if !is_same_revision(&counts, version) {
            return Err(SinkError::Refused(NEWER.into()));
        }
        let later = counts.clone();
        self.survey(connection, job, counts, &later).await?;
        self.version = later;
        Ok(Done::default())
    }

    /// Finds out what may have to be written, and what is there of it.
    async fn survey(
        &mut self,
        connection: &Connection,
        job: &Job,
        counts: String,
        bound: &str,
    ) -> Result<Ground, SinkError> {
        let World { snapshot, at, .. } = &job.world;
        if let Some(before) = job.before.as_ref().filter(|_| self.is_read) {
            let touched = snapshot.touched_since(&before.snapshot, before.at, *at);
            let tenants: Vec<String> = touched.into_iter().map(ToOwned::to_owned).collect();
            if counts != self.version {
                // Another sidecar was here.
                tenants.iter().for_each(|tenant| _ = self.known.remove(tenant));
                let found = self.digests(connection, tenants.clone(), &counts, bound).await?;
                self.known.extend(found);
            }
            let is_new = |tenant: &&String| !self.known.contains_key(*tenant);
            let unlisted = tenants.iter().filter(is_new).cloned().collect();
            return Ok(Ground { counts, tenants, unlisted });
        }
        let listed: HashSet<String> =
            connection.ask(redis::cmd("SMEMBERS").arg(self.keys.register())).await?;
        let mut tenants: Vec<String> =
            snapshot.tenants().map(|view| view.key().to_owned()).collect();
        let unlisted = tenants.iter().filter(|it| !listed.contains(*it)).cloned().collect();
        tenants.extend(listed.into_iter().filter(|it| snapshot.tenant(it.as_str()).is_none()));
        self.known = self.digests(connection, tenants.clone(), &counts, bound).await?;
        self.is_read = true;
        Ok(Ground { counts, tenants, unlisted })
    }

    /// What has to be written: tenants whose answers are others than what is there. Of one that is
    /// gone nobody knows what became of its keys.
    fn changes(&self, world: &World, tenants: &[String]) -> Vec<Change> {
        let change = |tenant: &String| {
            let entry = Entry::of(&world.snapshot, tenant, world.at);
            let digest = entry.as_ref().map(|entry| entry.digest);
            let is_there = digest.is_some() && digest == self.known.get(tenant).copied();
            (!is_there).then(|| (tenant.clone(), entry))
        };
        tenants.iter().filter_map(change).collect()
    }

    /// Enters tenants into the register, before they have any other key.
    async fn enter(&self, connection: &Connection, tenants: &[String]) -> Result<(), SinkError> {
        for some in tenants.chunks(AT_ONCE) {
            let mut command = redis::cmd("SADD");
            connection.ask::<i64>(command.arg(self.keys.register()).arg(some)).await?;
        }
        Ok(())
    }

    /// Prepares every tenant that changed. Readers go on with what they have until the switch.
    async fn write(
        &self,
        connection: &Connection,
        version: &str,
        counts: &str,
        changes: Vec<Change>,
    ) -> Result<Vec<(String, Option<[u8; 16]>)>, SinkError> {
        let writes = changes.into_iter().map(|(tenant, entry)| async move {
            let versions = self.keys.versions(&tenant);
            let mut command = redis::cmd("EVAL");
            command.arg(scripts::WRITE).arg(2).arg(self.keys.pointer(&tenant));
            command.arg(format!("{versions}{version}"));
            command.arg(version).arg(counts).arg(versions).arg(GRACE_S);
            match &entry {
                Some(entry) => entry.fields.iter().for_each(|(field, value)| {
                    command.arg(field).arg(value.as_slice());
                }),
                None => _ = command.arg(GONE).arg("1"),
            }
            if connection.ask::<i64>(&command).await? == 0 {
                let why = format!("tenant `{tenant}` has a newer version already");
                return Err(SinkError::retry(why));
            }
            Ok((tenant, entry.map(|entry| entry.digest)))
        });
        let writes: Vec<_> = writes.collect();
        stream::iter(writes).buffer_unordered(UNDER_WAY).try_collect().await
    }

    /// Has all readers turn to a version at once. Says whether it counts.
    async fn switch(
        &self,
        connection: &Connection,
        world: &World,
        version: &str,
        changed: &[String],
    ) -> Result<bool, SinkError> {
        let mut command = redis::cmd("EVAL");
        command.arg(scripts::SWITCH).arg(1).arg(self.keys.switch()).arg(version);
        command.arg(self.keys.channel()).arg(message(world, changed));
        Ok(connection.ask::<i64>(&command).await? == 1)
    }

    async fn take_back(
        &self,
        connection: &Connection,
        version: &str,
        tenants: &[String],
    ) -> Result<(), SinkError> {
        self.each(connection, scripts::TAKE_BACK, version, tenants).await.map(drop)
    }

    /// Tenants that are gone leave nothing behind, but for readers that are in the middle.
    async fn forget(&self, connection: &Connection, tenants: &[String]) -> Result<(), SinkError> {
        let forgotten = self.each(connection, scripts::FORGET, &self.version, tenants).await?;
        for some in forgotten.chunks(AT_ONCE) {
            let mut command = redis::cmd("SREM");
            connection.ask::<i64>(command.arg(self.keys.register()).arg(some)).await?;
        }
        Ok(())
    }

    /// Runs a script on each tenant's pointer. Says for which tenants it did something.
    async fn each(
        &self,
        connection: &Connection,
        script: &str,
        version: &str,
        tenants: &[String],
    ) -> Result<Vec<String>, SinkError> {
        let runs = tenants.iter().map(|tenant| async move {
            let mut command = redis::cmd("EVAL");
            command.arg(script).arg(1).arg(self.keys.pointer(tenant)).arg(version);
            command.arg(self.keys.versions(tenant)).arg(GRACE_S);
            let done = connection.ask::<i64>(&command).await? == 1;
            Ok::<_, SinkError>(done.then(|| tenant.clone()))
        });
        let runs: Vec<_> = runs.collect();
        let done: Vec<_> = stream::iter(runs).buffer_unordered(UNDER_WAY).try_collect().await?;
        Ok(done.into_iter().flatten().collect())
    }

    /// The digests of what readers find of some tenants once a version counts, if nothing is written.
    /// What another sidecar has prepared is not relied on: it may be taken back.
    async fn digests(
        &self,
        connection: &Connection,
        tenants: Vec<String>,
        counts: &str,
        bound: &str,
    ) -> Result<HashMap<String, [u8; 16]>, SinkError> {
        let reads = tenants.into_iter().map(|tenant| async move {
            let pointer = self.keys.pointer(&tenant);
            let found: Option<String> = connection.ask(redis::cmd("GET").arg(pointer)).await?;
            let current = found.as_deref().and_then(|pointer| newest(pointer, bound));
            let Some(current) = current.filter(|version| *version <= counts) else {
                return Ok(None);
            };
            let key = format!("{}{current}", self.keys.versions(&tenant));
            let fields = connection.ask(redis::cmd("HGETALL").arg(key)).await?;
            Ok::<_, SinkError>(stored_digest(fields).map(|digest| (tenant, digest)))
        });
        let reads: Vec<_> = reads.collect();
        let found: Vec<_> = stream::iter(reads).buffer_unordered(UNDER_WAY).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Compares what readers find with what was given.
    async fn look(&mut self) -> Result<Seen, SinkError> {
        let connection = self.connection().await?;
        let counts = self.counts(&connection).await?;
        if counts < self.version {
            self.is_read = false;
            return Ok(Seen::Drifted(format!(
                "version `{counts}` counts there, not `{}`",
                self.version
            )));
        }
        if counts != self.version && !is_same_revision(&counts, &self.version) {
            // Another sidecar is ahead, and looks after it.
            self.is_read = false;
            return Ok(Seen::InStep);
        }
        let tenants: Vec<String> = self.known.keys().cloned().collect();
        let found = self.digests(&connection, tenants, &counts, &counts).await?;
        let wrong = self.known.iter().filter(|(tenant, digest)| found.get(*tenant) != Some(digest));
        let mut wrong: Vec<&str> = wrong.map(|(tenant, _)| tenant.as_str()).collect();
        if wrong.is_empty() {
            return Ok(Seen::InStep);
        }
        wrong.sort_unstable();
        let some = wrong.iter().take(3).map(|tenant| format!("`{tenant}`"));
        let some = some.collect::<Vec<_>>().join(", ");
        let what = format!("{} tenants have other answers there, such as {some}", wrong.len());
        self.is_read = false;
        Ok(Seen::Drifted(what))
    }

    /// After a failure nothing is taken for granted.
    fn after<T>(&mut self, result: Result<T, SinkError>) -> Result<T, SinkError> {
        if result.is_err() {
            (self.connection, self.is_read) = (None, false);
        }
        result
    }
}

impl Sink for Redis {
    fn push<'a>(&'a mut self, job: &'a Job) -> Doing<'a, Done> {
        Box::pin(async move {
            let done = self.carry(job).await;
            self.after(done)
        })
    }

    fn check<'a>(&'a mut self, _: &'a Job) -> Doing<'a, Seen> {
        Box::pin(async move {
            let seen = self.look().await;
            self.after(seen)
        })
    }
}
