//! Tenant caches in Redis: what each tenant may use, in a form that any language reads.
//!
//! Keys, for the prefix `ent`, the environment `default` and the schema `s1`:
//!
//! ```text
//! ent:default:s1:{g}:rev            the version that counts, such as 1.42.1780000000000000
//! ent:default:s1:{<tenant>}:cur     "<newest version> <the one before>" of a tenant
//! ent:default:s1:{<tenant>}:v:<version>   a hash: feature -> answer as JSON, and _valid_until, _hash
//! ent:default:s1:changed            a channel: which tenants changed, after it counts
//! ```
//!
//! A reader asks for the version that counts and for the tenant's two, takes the newest of them that
//! is not newer than the one that counts, and then the hash. So one tenant is never torn, and all
//! tenants switch at once when the one key is set. Each tenant's keys have one hash tag, so that all
//! of it works on a cluster. A version is a number of fixed width: epoch, revision and instant, so
//! that texts compare as they follow one another.

use std::{collections::HashMap, fmt, time::Duration};

use entitlements_core::{Snapshot, Timestamp};
use futures_util::{StreamExt, TryStreamExt, stream};
use redis::{
    Client, Cmd, FromRedisValue, RedisError,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
};

use super::{Doing, Done, Job, Seen, Sink, SinkError, World};
use crate::answer::{Answer, push};

/// The schema of keys and values. Readers of another one find nothing rather than something wrong.
const SCHEMA: &str = "s1";
/// How many commands are under way at one time.
const UNDER_WAY: usize = 64;
/// How long a version stays that no reader looks for any more, in seconds.
const GRACE_S: u64 = 30;
const TIME_MAX: Duration = Duration::from_secs(10);

/// Where it is.
#[derive(Clone)]
pub(crate) struct RedisConfig {
    info: redis::ConnectionInfo,
    cluster: bool,
    prefix: String,
}

impl fmt::Debug for RedisConfig {
    // There may be a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisConfig({}, cluster: {})", self.info.addr(), self.cluster)
    }
}

impl RedisConfig {
    /// From a URL such as `redis://127.0.0.1:6379`.
    pub(super) fn new(
        url: &str,
        password: Option<String>,
        cluster: bool,
        prefix: String,
    ) -> Result<Self, String> {
        use redis::IntoConnectionInfo;
        let wrong = |why: &dyn fmt::Display| {
            let shown = url.rsplit_once('@').map_or(url, |(_, host)| host);
            format!("`{shown}` is no address of a Redis ({why}): write `redis://127.0.0.1:6379`")
        };
        let mut info = url.into_connection_info().map_err(|error| wrong(&error))?;
        if let Some(password) = password {
            let settings = info.redis_settings().clone().set_password(password);
            info = info.set_redis_settings(settings);
        }
        if prefix.is_empty() || prefix.contains(['{', '}', ' ']) {
            return Err(format!("`{prefix}` is no prefix: leave out braces and spaces"));
        }
        Ok(Self { info, cluster, prefix })
    }
}

/// A connection to one server or to several.
#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    async fn open(config: &RedisConfig) -> Result<Self, RedisError> {
        if config.cluster {
            let client = ClusterClient::builder([config.info.clone()])
                .connection_timeout(TIME_MAX)
                .response_timeout(TIME_MAX)
                .build()?;
            return client.get_async_connection().await.map(Self::Cluster);
        }
        let client = Client::open(config.info.clone())?;
        let settings = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIME_MAX))
            .set_response_timeout(Some(TIME_MAX));
        client.get_multiplexed_async_connection_with_config(&settings).await.map(Self::One)
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, SinkError> {
        let value = match self {
            Self::One(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        };
        let value = value.map_err(|error| failed(&error))?;
        redis::from_redis_value(value).map_err(SinkError::retry)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

fn failed(error: &RedisError) -> SinkError {
    SinkError::retry(format!("Redis: {error}"))
}

/// Caches in Redis.
#[derive(Debug)]
pub(crate) struct Redis {
    config: RedisConfig,
    /// What all keys begin with.
    start: String,
    connection: Option<Connection>,
    /// The digest of what each tenant was given; absent where that is to be read back.
    known: HashMap<String, [u8; 16]>,
    /// The version that counts, as it was last set or read.
    version: String,
    /// Whether what is there was read back since the connection was opened.
    is_read: bool,
}

/// Switches a tenant to a version, unless it has that one or a newer one. Gives back the versions
/// that no reader looks for any more.
const WRITE: &str = r#"
local cur = redis.call('GET', KEYS[1])
local newest, before = '', ''
if cur then
  newest, before = string.match(cur, '^(%S+) ?(%S*)$')
  if newest >= ARGV[1] then return {0, newest} end
end
local kept = newest
if newest > ARGV[2] then kept = before end
redis.call('DEL', KEYS[2])
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. kept)
local dropped = before
if newest > ARGV[2] then dropped = newest end
if dropped == kept then dropped = '' end
return {1, dropped}
"#;

/// Makes a version the one that counts, unless it counts already or a newer one does.
const SWITCH: &str = r#"
local cur = redis.call('GET', KEYS[1])
if cur and cur >= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
"#;

/// A tenant's answers, ready to be written.
struct Entry {
    digest: [u8; 16],
    fields: Vec<(String, Vec<u8>)>,
}

/// The most tenants that one message names; beyond that it says that any may have changed.
const NAMED_MAX: usize = 100;
const NOTHING: &str = "0";
const GONE: &str = "_gone";
const HASH: &str = "_hash";

impl Redis {
    pub(crate) fn new(config: RedisConfig, environment: &str) -> Self {
        let start = format!("{}:{environment}:{SCHEMA}", config.prefix);
        Self {
            config,
            start,
            connection: None,
            known: HashMap::new(),
            version: NOTHING.into(),
            is_read: false,
        }
    }

    fn switch_key(&self) -> String {
        format!("{}:{{g}}:rev", self.start)
    }

    fn pointer_key(&self, tenant: &str) -> String {
        format!("{}:{{{tenant}}}:cur", self.start)
    }

    fn version_key(&self, tenant: &str, version: &str) -> String {
        format!("{}:{{{tenant}}}:v:{version}", self.start)
    }

    async fn connection(&mut self) -> Result<Connection, SinkError> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let opened = tokio::time::timeout(TIME_MAX, Connection::open(&self.config)).await;
        let opened = opened.map_err(|_| SinkError::retry("Redis does not answer"))?;
        let opened = opened.map_err(|error| failed(&error))?;
        self.connection = Some(opened.clone());
        Ok(opened)
    }

    async fn carry(&mut self, job: &Job) -> Result<Done, SinkError> {
        let mut connection = self.connection().await?;
        if !self.is_read || job.before.is_none() {
            self.read_back(&mut connection, &job.world).await?;
        }
        let version = version(&job.world);
        if self.version > version {
            let detail = format!("another sidecar has pushed {} already", self.version);
            return Ok(Done { changed: 0, detail: Some(detail) });
        }
        let changes = self.changes(job);
        let changed: Vec<String> = changes.iter().map(|(tenant, _)| tenant.clone()).collect();
        let dropped = self.write(&connection, &version, changes).await?;
        let mut command = redis::cmd("EVAL");
        command.arg(SWITCH).arg(1).arg(self.switch_key()).arg(&version);
        command.arg(format!("{}:changed", self.start)).arg(message(&job.world, &changed));
        let switched: i64 = connection.ask(&command).await?;
        if switched == 0 && self.version < version {
            self.is_read = false;
            return Err(SinkError::retry("another sidecar switched to a newer version meanwhile"));
        }
        self.version = version;
        self.let_go(&connection, dropped).await?;
        Ok(Done { changed: changed.len() as u64, detail: None })
    }

    /// What has to be written: tenants whose answers are others than what is there.
    fn changes(&self, job: &Job) -> Vec<(String, Option<Entry>)> {
        let World { snapshot, at, .. } = &job.world;
        let touched: Vec<&str> = match &job.before {
            Some(before) => snapshot.touched_since(&before.snapshot, before.at, *at),
            None => {
                let gone = self.known.keys().map(String::as_str);
                let gone = gone.filter(|tenant| snapshot.tenant(*tenant).is_none());
                snapshot.tenants().map(|view| view.key()).chain(gone).collect()
            }
        };
        let mut changes = Vec::new();
        for tenant in touched {
            let entry = entry(snapshot, tenant, *at);
            if entry.as_ref().map(|entry| entry.digest) != self.known.get(tenant).copied() {
                changes.push((tenant.to_owned(), entry));
            }
        }
        changes
    }

    /// Prepares every tenant that changed. Readers go on with what they have until the switch. Says
    /// which keys no reader looks for after it.
    async fn write(
        &mut self,
        connection: &Connection,
        version: &str,
        changes: Vec<(String, Option<Entry>)>,
    ) -> Result<Vec<String>, SinkError> {
        let counts = self.version.clone();
        let writes = changes.into_iter().map(|(tenant, entry)| {
            let mut command = redis::cmd("EVAL");
            command.arg(WRITE).arg(2).arg(self.pointer_key(&tenant));
            command.arg(self.version_key(&tenant, version)).arg(version).arg(&counts);
            match &entry {
                Some(entry) => entry.fields.iter().for_each(|(field, value)| {
                    command.arg(field).arg(value.as_slice());
                }),
                None => _ = command.arg(GONE).arg("1"),
            }
            let mut connection = connection.clone();
            async move {
                let (written, text): (i64, String) = connection.ask(&command).await?;
                if written == 0 && text != version {
                    let why = format!("tenant `{tenant}` is at {text} already");
                    return Err(SinkError::retry(why));
                }
                Ok((tenant, entry.map(|entry| entry.digest), text))
            }
        });
        let writes: Vec<_> = writes.collect();
        let written: Vec<_> =
            stream::iter(writes).buffer_unordered(UNDER_WAY).try_collect().await?;
        let mut dropped = Vec::new();
        for (tenant, digest, old) in written {
            if !old.is_empty() {
                dropped.push(self.version_key(&tenant, &old));
            }
            match digest {
                Some(digest) => _ = self.known.insert(tenant, digest),
                None => {
                    // Its readers find that it is gone, for as long as any could look.
                    dropped.push(self.version_key(&tenant, version));
                    dropped.push(self.pointer_key(&tenant));
                    self.known.remove(&tenant);
                }
            }
        }
        Ok(dropped)
    }

    /// Versions that nobody looks for any more stay a while, for readers that are in the middle.
    async fn let_go(&self, connection: &Connection, dropped: Vec<String>) -> Result<(), SinkError> {
        let expiries = dropped.into_iter().map(|key| {
            let mut connection = connection.clone();
            async move {
                let mut command = redis::cmd("EXPIRE");
                connection.ask::<i64>(command.arg(key).arg(GRACE_S)).await.map(drop)
            }
        });
        let expiries: Vec<_> = expiries.collect();
        stream::iter(expiries).buffer_unordered(UNDER_WAY).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    /// What counts, and what each tenant of a world has there.
    async fn read_back(
        &mut self,
        connection: &mut Connection,
        world: &World,
    ) -> Result<(), SinkError> {
        let version: Option<String> =
            connection.ask(redis::cmd("GET").arg(self.switch_key())).await?;
        self.version = version.unwrap_or_else(|| NOTHING.into());
        let tenants = world.snapshot.tenants().map(|view| view.key().to_owned());
        let gone =
            self.known.keys().filter(|it| world.snapshot.tenant(it.as_str()).is_none()).cloned();
        let tenants: Vec<String> = tenants.chain(gone).collect();
        self.known = self.digests(connection, tenants).await?;
        self.is_read = true;
        Ok(())
    }

    /// The digests of what readers find of some tenants.
    async fn digests(
        &self,
        connection: &Connection,
        tenants: Vec<String>,
    ) -> Result<HashMap<String, [u8; 16]>, SinkError> {
        let counts = &self.version;
        let reads: Vec<_> = tenants
            .into_iter()
            .map(|tenant| {
                let (mut connection, pointer) = (connection.clone(), self.pointer_key(&tenant));
                async move {
                    let found: Option<String> =
                        connection.ask(redis::cmd("GET").arg(pointer)).await?;
                    let Some(current) = found.as_deref().and_then(|it| readable(it, counts)) else {
                        return Ok(None);
                    };
                    let key = self.version_key(&tenant, current);
                    let mut command = redis::cmd("HGETALL");
                    let fields: Vec<(String, Vec<u8>)> = connection.ask(command.arg(key)).await?;
                    // The digest is over what is there, so that a changed value is seen.
                    Ok::<_, SinkError>(stored_digest(fields).map(|digest| (tenant, digest)))
                }
            })
            .collect();
        let found: Vec<_> = stream::iter(reads).buffer_unordered(UNDER_WAY).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Compares what readers find with what was given.
    async fn look(&mut self, job: &Job) -> Result<Seen, SinkError> {
        let mut connection = self.connection().await?;
        let version: Option<String> =
            connection.ask(redis::cmd("GET").arg(self.switch_key())).await?;
        if version.as_deref().unwrap_or(NOTHING) < self.version.as_str() {
            self.is_read = false;
            return Ok(Seen::Drifted(format!(
                "version {} counts there, not {}",
                version.as_deref().unwrap_or("none"),
                self.version
            )));
        }
        let tenants: Vec<String> = self.known.keys().cloned().collect();
        let found = self.digests(&connection, tenants).await?;
        let wrong = self.known.iter().filter(|(tenant, digest)| found.get(*tenant) != Some(digest));
        let mut wrong: Vec<&str> = wrong.map(|(tenant, _)| tenant.as_str()).collect();
        if wrong.is_empty() {
            return Ok(Seen::InStep);
        }
        wrong.sort_unstable();
        let some = wrong.iter().take(3).map(|tenant| format!("`{tenant}`"));
        let some = some.collect::<Vec<_>>().join(", ");
        let what = format!("{} tenants have other answers there, such as {some}", wrong.len());
        let _ = job;
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

    fn check<'a>(&'a mut self, job: &'a Job) -> Doing<'a, Seen> {
        Box::pin(async move {
            let seen = self.look(job).await;
            self.after(seen)
        })
    }
}

/// Of a tenant's two versions the newest that is not newer than what counts.
fn readable<'c>(pointer: &'c str, counts: &str) -> Option<&'c str> {
    pointer.split(' ').find(|version| !version.is_empty() && *version <= counts)
}

/// A version as text: later ones are greater.
fn version(world: &World) -> String {
    let (epoch, revision) = (world.epoch, world.snapshot.revision().0);
    format!("{epoch:06}.{revision:012}.{:017}", world.at.as_micros().max(0))
}

/// What subscribers are told.
fn message(world: &World, changed: &[String]) -> String {
    let tenants = (changed.len() <= NAMED_MAX).then_some(changed);
    serde_json::json!({ "revision": world.snapshot.revision(), "tenants": tenants }).to_string()
}

/// A tenant's answers at an instant; absent where there is no such tenant.
fn entry(snapshot: &Snapshot, tenant: &str, at: Timestamp) -> Option<Entry> {
    let view = snapshot.tenant(tenant)?;
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    for (feature, decision) in view.decisions(at) {
        let answer =
            Answer::new(&decision, snapshot.catalog(), feature.as_str(), crate::State::Fresh);
        let mut value = vec![b'{'];
        answer.push_members(&mut value, false);
        value.push(b'}');
        fields.push((feature.to_string(), value));
    }
    let mut until = Vec::new();
    if let Some(edge) = view.next_change(at) {
        push(&mut until, format_args!("{edge}"));
    }
    fields.push(("_valid_until".into(), until));
    let digest = digest(&mut fields);
    let text = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    fields.push((HASH.into(), text.into_bytes()));
    Some(Entry { digest, fields })
}

/// Over all fields in the order of their names.
fn digest(fields: &mut [(String, Vec<u8>)]) -> [u8; 16] {
    fields.sort();
    let mut hasher = blake3::Hasher::new();
    for (field, value) in fields.iter() {
        hasher.update(&(field.len() as u64).to_le_bytes()).update(field.as_bytes());
        hasher.update(&(value.len() as u64).to_le_bytes()).update(value);
    }
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    digest
}

/// The digest of what is stored; absent where that is nothing, or no tenant any more.
fn stored_digest(fields: Vec<(String, Vec<u8>)>) -> Option<[u8; 16]> {
    let mut fields: Vec<_> = fields.into_iter().filter(|(field, _)| field != HASH).collect();
    let is_gone = fields.is_empty() || fields.iter().any(|(field, _)| field == GONE);
    (!is_gone).then(|| digest(&mut fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_counts_is_read() {
        for (pointer, counts, expected) in [
            ("3 2", "3", Some("3")),
            ("3 2", "2", Some("2")),
            ("3 ", "2", None),
            ("3 2", "1", None),
            ("3", "4", Some("3")),
        ] {
            assert_eq!(readable(pointer, counts), expected, "{pointer} at {counts}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let config = RedisConfig::new("redis://u:hush@127.0.0.1", None, false, "ent".into());
        assert!(!format!("{:?}", config.unwrap()).contains("hush"));
        let error = RedisConfig::new("nope://u:hush@host", None, false, "ent".into()).unwrap_err();
        assert!(!error.contains("hush"), "{error}");
    }
}
