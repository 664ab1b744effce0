//! Where a Redis is, and a connection to it: one server, or a cluster of them.

use std::{fmt, time::Duration};

use redis::{
    Client, Cmd, FromRedisValue, IntoConnectionInfo, RedisError,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
};

use crate::push::SinkError;

const TIME_MAX: Duration = Duration::from_secs(10);

/// Where it is.
#[derive(Clone)]
pub(crate) struct RedisConfig {
    info: redis::ConnectionInfo,
    cluster: bool,
    pub(super) prefix: String,
}

impl fmt::Debug for RedisConfig {
    // There may be a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisConfig({}, cluster: {})", self.info.addr(), self.cluster)
    }
}

impl RedisConfig {
    /// From a URL such as `redis://127.0.0.1:6379`.
    pub(in crate::push) fn new(
        url: &str,
        password: Option<String>,
        cluster: bool,
        prefix: String,
    ) -> Result<Self, String> {
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

/// A connection. Copies share it.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) async fn open(config: &RedisConfig) -> Result<Self, SinkError> {
        let opened = tokio::time::timeout(TIME_MAX, Self::connect(config)).await;
        let opened = opened.map_err(|_| SinkError::retry("Redis does not answer"))?;
        opened.map_err(|error| failed(&error))
    }

    async fn connect(config: &RedisConfig) -> Result<Self, RedisError> {
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

    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, SinkError> {
        let value = match self.clone() {
            Self::One(mut connection) => connection.req_packed_command(command).await,
            Self::Cluster(mut connection) => connection.req_packed_command(command).await,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let config = RedisConfig::new("redis://u:hush@127.0.0.1", None, false, "ent".into());
        assert!(!format!("{:?}", config.unwrap()).contains("hush"));
        let error = RedisConfig::new("nope://u:hush@host", None, false, "ent".into()).unwrap_err();
        assert!(!error.contains("hush"), "{error}");
    }
}
