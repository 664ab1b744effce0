//! The file that says what to push to.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper::Uri;
use serde::Deserialize;

use super::{Sink, flagd_file, redis, unleash, webhook};
use crate::config::{ConfigError, read_text};

/// One sink as it was configured.
#[derive(Debug, Clone)]
pub(crate) struct SinkConfig {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// How often to look whether it still holds what it was given.
    pub(crate) check_every: Duration,
}

/// What it is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Redis(redis::RedisConfig),
    Webhook(webhook::WebhookConfig),
    FlagdFile { path: PathBuf, settles_in: Duration },
    Unleash { config: unleash::UnleashConfig, settles_in: Duration },
}

impl Kind {
    /// The stable word for it.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Redis(_) => "redis",
            Self::Webhook(_) => "webhook",
            Self::FlagdFile { .. } => "flagd-file",
            Self::Unleash { .. } => "unleash",
        }
    }

    /// Whether it can be asked what it holds.
    pub(super) const fn is_read_back(&self) -> bool {
        !matches!(self, Self::Webhook(_))
    }

    /// For sinks of flags: how long their clients take to hear of something.
    pub(super) const fn settles_in(&self) -> Option<Duration> {
        match self {
            Self::FlagdFile { settles_in, .. } | Self::Unleash { settles_in, .. } => {
                Some(*settles_in)
            }
            Self::Redis(_) | Self::Webhook(_) => None,
        }
    }
}

impl SinkConfig {
    /// Whether it carries flags.
    pub(crate) const fn is_of_flags(&self) -> bool {
        self.kind.settles_in().is_some()
    }

    pub(super) fn open(&self, environment: &str) -> Box<dyn Sink> {
        match &self.kind {
            Kind::Redis(config) => Box::new(redis::Redis::new(config.clone(), environment)),
            Kind::FlagdFile { path, .. } => {
                Box::new(flagd_file::FlagdFile::new(path.clone(), environment))
            }
            Kind::Unleash { config, .. } => Box::new(unleash::Unleash::new(config.clone())),
            Kind::Webhook(config) => Box::new(webhook::Webhook::new(config.clone(), environment)),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    sinks: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Written {
    Redis {
        url: String,
        #[serde(default)]
        password_file: Option<PathBuf>,
        #[serde(default)]
        cluster: bool,
        #[serde(default = "prefix")]
        prefix: String,
        #[serde(default = "check_every_s")]
        check_every_s: u64,
    },
    Webhook {
        url: String,
        secret_file: PathBuf,
    },
    FlagdFile {
        path: PathBuf,
        #[serde(default = "flagd_settles_in_s")]
        settles_in_s: u64,
        #[serde(default = "check_every_s")]
        check_every_s: u64,
    },
    Unleash {
        url: String,
        token_file: PathBuf,
        client_token_file: PathBuf,
        #[serde(default = "default")]
        project: String,
        #[serde(default = "development")]
        environment: String,
        #[serde(default = "flag_prefix")]
        prefix: String,
        #[serde(default = "unleash_settles_in_s")]
        settles_in_s: u64,
        #[serde(default = "check_every_s")]
        check_every_s: u64,
    },
}

/// Clients look at a file every five seconds.
const fn flagd_settles_in_s() -> u64 {
    6
}

/// Clients ask every fifteen seconds.
const fn unleash_settles_in_s() -> u64 {
    16
}

fn default() -> String {
    "default".into()
}

fn development() -> String {
    "development".into()
}

fn flag_prefix() -> String {
    "ent.".into()
}

fn prefix() -> String {
    "ent".into()
}

const fn check_every_s() -> u64 {
    60
}

/// Reads a file of sinks.
///
/// # Errors
/// Names all that is wrong with it.
pub(crate) fn read_sinks(
    path: &Path,
    extra_ca: Option<&Path>,
) -> Result<Vec<SinkConfig>, ConfigError> {
    let text = read_text(path)?;
    parse(&text, extra_ca).map_err(|why| ConfigError::new(format!("`{}`: {why}", path.display())))
}

fn parse(text: &str, extra_ca: Option<&Path>) -> Result<Vec<SinkConfig>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let (mut sinks, mut wrong) = (Vec::new(), Vec::new());
    for (name, value) in file.sinks {
        let read = value.try_into::<Written>().map_err(|error| error.to_string());
        match read.and_then(|written| checked(&name, written, extra_ca)) {
            Ok(sink) => sinks.push(sink),
            Err(why) => wrong.push(format!("sinks.{name}: {}", why.trim())),
        }
    }
    if wrong.is_empty() { Ok(sinks) } else { Err(wrong.join("; ")) }
}

fn checked(name: &str, written: Written, extra_ca: Option<&Path>) -> Result<SinkConfig, String> {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !fits {
        return Err("a name takes 1 to 64 letters, digits, `-` and `_`".into());
    }
    let secret = |path: &Path| read_text(path).map_err(|error| error.to_string());
    let (kind, check_every_s) = match written {
        Written::Redis { url, password_file, cluster, prefix, check_every_s } => {
            let password = password_file.as_deref().map(secret).transpose()?;
            let config = redis::RedisConfig::new(&url, password, cluster, prefix)?;
            (Kind::Redis(config), check_every_s)
        }
        Written::Webhook { url, secret_file } => {
            let ca = extra_ca.map(Into::into);
            let config = webhook::WebhookConfig::new(&url, &secret(&secret_file)?, ca)?;
            (Kind::Webhook(config), self::check_every_s())
        }
        Written::FlagdFile { path, settles_in_s, check_every_s } => {
            let settles_in = Duration::from_secs(settles_in_s);
            (Kind::FlagdFile { path, settles_in }, check_every_s)
        }
        Written::Unleash {
            url,
            token_file,
            client_token_file,
            project,
            environment,
            prefix,
            settles_in_s,
            check_every_s,
        } => {
            let parsed: Option<Uri> = url.parse().ok();
            let is_web = |uri: &Uri| {
                matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
            };
            let config = unleash::UnleashConfig {
                url: parsed.filter(is_web).ok_or_else(|| {
                    format!("`{url}` is no address: write one that begins with `https://`")
                })?,
                token: unleash::secret_header(&secret(&token_file)?)?,
                client_token: unleash::secret_header(&secret(&client_token_file)?)?,
                project,
                environment,
                prefix,
                extra_ca: extra_ca.map(Into::into),
            };
            let settles_in = Duration::from_secs(settles_in_s);
            (Kind::Unleash { config, settles_in }, check_every_s)
        }
    };
    if check_every_s == 0 {
        return Err("`check_every_s = 0` never rests: use 1 or more".into());
    }
    Ok(SinkConfig { name: name.into(), kind, check_every: Duration::from_secs(check_every_s) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_is_named_with_its_place() {
        let text = r#"
            [sinks.cache]
            kind = "redis"
            url = "http://nowhere"
            [sinks.other]
            kind = "memcached"
            [sinks."a b"]
            kind = "redis"
            url = "redis://127.0.0.1"
            [sinks.lazy]
            kind = "redis"
            url = "redis://127.0.0.1"
            check_every_s = 0
            [sinks.secret]
            kind = "redis"
            url = "redis://127.0.0.1"
            password_file = "/nowhere/at/all"
        "#;
        let error = parse(text, None).unwrap_err();
        for said in [
            "sinks.cache: `http://nowhere`",
            "sinks.other: unknown variant `memcached`",
            "sinks.a b: a name takes",
            "sinks.lazy: `check_every_s = 0`",
            "sinks.secret: cannot read `/nowhere/at/all`",
        ] {
            assert!(error.contains(said), "{said}: {error}");
        }
        assert!(parse("", None).unwrap().is_empty());
        assert!(parse("[other]\n", None).is_err());
    }
}
