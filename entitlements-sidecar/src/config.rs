//! What a sidecar is told at start, and whether that makes sense.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use entitlements_core::signed::PublicKey;
use hyper::Uri;

use crate::{
    http::authzen::Mapping,
    push::{SinkConfig, read_sinks},
};

/// What a sidecar is told at start.
#[derive(Clone)]
pub struct Config {
    /// Where to listen. Port 0 is any free one.
    pub listen: SocketAddr,
    /// A unix socket to listen on as well.
    pub socket: Option<PathBuf>,
    /// The base address of the admin, such as `http://127.0.0.1:7400`.
    pub admin: String,
    /// A file of certificates (PEM) that are trusted for the admin and for sinks, beside those that
    /// this machine trusts.
    pub extra_ca: Option<PathBuf>,
    /// The admin's key for this sidecar (scope: sync).
    pub key: String,
    /// The public root key, 64 hex digits. Nothing is believed that it does not vouch for.
    pub trust: String,
    /// Which environment's snapshots to take.
    pub environment: String,
    /// The folder that keeps the last good snapshot.
    pub data: PathBuf,
    /// What the admin calls this sidecar. Where absent, a name is drawn and kept in the folder.
    pub name: Option<String>,
    /// The largest snapshot that is taken, in bytes.
    pub snapshot_bytes_max: usize,
    /// Whether to hand the sync API on to sidecars below this one.
    pub relay: bool,
    /// Whether to serve features as flags for flagd, at `/flagd/v1/flags.json`.
    pub flagd: bool,
    /// Where to serve them over gRPC as well, as flagd asks for them. Port 0 is any free one.
    pub flagd_grpc: Option<SocketAddr>,
    /// A file that says what to push to.
    pub sinks: Option<PathBuf>,
    /// A file that says how `AuthZEN` subjects and resources become tenants and features.
    pub authzen: Option<PathBuf>,
    /// The base under which `AuthZEN` clients reach this sidecar, where it is not what they ask for.
    pub authzen_base: Option<String>,
    /// For how many seconds the admin may hold a question for changes.
    pub poll_wait_s: u32,
    /// The web pages, by origin, that may ask from a browser.
    pub allow_origins: Vec<String>,
    /// The bearer token that callers of this sidecar must show.
    pub local_token: Option<String>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("socket", &self.socket)
            .field("admin", &self.admin)
            .field("environment", &self.environment)
            .field("data", &self.data)
            .field("name", &self.name)
            .field("relay", &self.relay)
            .field("poll_wait_s", &self.poll_wait_s)
            .field("allow_origins", &self.allow_origins)
            .finish_non_exhaustive()
    }
}

/// How long and how much a caller may take. The defaults suit a neighbour on the same host.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From the first byte of a request to the end of its head.
    pub header: Duration,
    /// For a whole request and its answer, where the answer is no stream of events.
    pub request: Duration,
    /// Between two requests, and between two bytes that an event stream gets rid of.
    pub idle: Duration,
    /// Between two signs of life on an event stream.
    pub keep_alive: Duration,
    /// For requests under way when the sidecar stops.
    pub drain: Duration,
    /// Connections at one time.
    pub connections: usize,
    /// Bytes of one request body.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(5),
            request: Duration::from_secs(2),
            idle: Duration::from_secs(60),
            keep_alive: Duration::from_secs(15),
            drain: Duration::from_secs(5),
            connections: 1_024,
            body_bytes: 64 * 1_024,
        }
    }
}

/// What is wrong with a [`Config`], in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    pub(crate) fn key() -> Self {
        Self(
            "the admin's key is missing or holds characters that no key has: give --key or \
             --key-file"
                .into(),
        )
    }
}

/// A configuration that makes sense, its parts read.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) root: PublicKey,
    pub(crate) admin: Uri,
    pub(crate) mapping: Mapping,
    pub(crate) sinks: Vec<SinkConfig>,
}

impl Config {
    /// A sidecar at `127.0.0.1:7401` that follows this admin, with a key of the scope `sync` and the
    /// admin's root key, and keeps what it has in a folder.
    #[must_use]
    pub fn new(
        admin: impl Into<String>,
        key: impl Into<String>,
        trust: impl Into<String>,
        data: impl Into<PathBuf>,
    ) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7401)),
            socket: None,
            admin: admin.into(),
            extra_ca: None,
            key: key.into(),
            trust: trust.into(),
            environment: "default".into(),
            data: data.into(),
            name: None,
            snapshot_bytes_max: SNAPSHOT_BYTES_MAX,
            relay: false,
            flagd: false,
            flagd_grpc: None,
            sinks: None,
            authzen: None,
            authzen_base: None,
            poll_wait_s: 10,
            allow_origins: Vec::new(),
            local_token: None,
        }
    }

    /// Checks it.
    pub(crate) fn check(&self) -> Result<Checked, ConfigError> {
        let open = [Some(self.listen), self.flagd_grpc];
        let open = open.into_iter().flatten().find(|address| !address.ip().is_loopback());
        if let Some(listen) = open.filter(|_| self.local_token.is_none()) {
            return Err(ConfigError(format!(
                "`{}` can be reached from other machines, so callers need a token: give \
                 --local-token-file, or listen on 127.0.0.1",
                listen
            )));
        }
        if self.local_token.as_ref().is_some_and(|token| token.len() < LOCAL_TOKEN_BYTES_MIN) {
            return Err(ConfigError(format!(
                "the token for callers is too short: use {LOCAL_TOKEN_BYTES_MIN} characters or more"
            )));
        }
        if !(1..=POLL_WAIT_S_MAX).contains(&self.poll_wait_s) {
            return Err(ConfigError(format!(
                "`{}` is no time to wait for changes: use 1 to {POLL_WAIT_S_MAX} seconds",
                self.poll_wait_s
            )));
        }
        if self.name.as_ref().is_some_and(|name| !is_name(name)) {
            return Err(ConfigError(format!(
                "`{}` is no name: use 1 to 64 letters, digits, `-`, `_` and `.`",
                self.name.as_deref().unwrap_or_default()
            )));
        }
        if self.snapshot_bytes_max < SNAPSHOT_BYTES_MIN {
            return Err(ConfigError(format!(
                "`{}` bytes are too few for a snapshot: use {SNAPSHOT_BYTES_MIN} or more",
                self.snapshot_bytes_max
            )));
        }
        if self.environment.is_empty() {
            return Err(ConfigError("the environment has no name: give --environment".into()));
        }
        if !is_header_text(&self.key) {
            return Err(ConfigError::key());
        }
        if let Some(origin) = self.allow_origins.iter().find(|origin| !is_origin(origin)) {
            return Err(ConfigError(format!(
                "`{origin}` is no origin: write scheme and host only, such as `https://app.example`"
            )));
        }
        let mapping = self.authzen.as_deref().map(Mapping::read).transpose();
        let mapping = mapping.map_err(ConfigError)?.unwrap_or_default();
        let sinks = self
            .sinks
            .as_deref()
            .map(|path| read_sinks(path, self.extra_ca.as_deref()))
            .transpose()?
            .unwrap_or_default();
        Ok(Checked { root: root_key(&self.trust)?, admin: admin_uri(&self.admin)?, mapping, sinks })
    }
}

/// The largest snapshot that is taken where nobody says, in bytes.
pub const SNAPSHOT_BYTES_MAX: usize = 512 * 1024 * 1024;
const SNAPSHOT_BYTES_MIN: usize = 4 * 1024;
const POLL_WAIT_S_MAX: u32 = 60;
const LOCAL_TOKEN_BYTES_MIN: usize = 16;

fn root_key(trust: &str) -> Result<PublicKey, ConfigError> {
    trust.trim().parse().map_err(|_| {
        ConfigError(format!(
            "`{trust}` is no root key: give the 64 hex digits that the admin prints as its trust \
             root, with --trust or --trust-file"
        ))
    })
}

fn admin_uri(text: &str) -> Result<Uri, ConfigError> {
    let wrong = |why: &str| {
        ConfigError(format!(
            "`{text}` is no address of an admin: {why}, such as `http://127.0.0.1:7400`"
        ))
    };
    let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| wrong("write a URL"))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.authority().is_some() && uri.query().is_none() => Ok(uri),
        _ => Err(wrong("write a URL that starts with `http://` or `https://`")),
    }
}

fn is_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, host)| {
        matches!(scheme, "http" | "https" | "app" | "file" | "capacitor")
            && !host.is_empty()
            && !host.contains(['/', '?', '#', ' ', '*'])
    })
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_header_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Reads a secret or a key from a file, without the line end that editors add.
///
/// # Errors
/// Where the file cannot be read.
pub fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|error| ConfigError(format!("cannot read `{}`: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let trust = entitlements_core::signed::SigningKey::from_bytes([7; 32]).public();
        Config::new("http://127.0.0.1:7400", "t", trust.to_string(), "data")
    }

    #[test]
    fn what_is_wrong_is_said_in_one_sentence() {
        assert!(config().check().is_ok());
        type Change = fn(&mut Config);
        let cases: [(Change, &str); 11] = [
            (|c| c.name = Some("a b".into()), "`a b` is no name"),
            (|c| c.snapshot_bytes_max = 9, "`9` bytes"),
            (|c| c.listen = "0.0.0.0:7401".parse().unwrap(), "give --local-token-file"),
            (|c| c.local_token = Some("short".into()), "too short"),
            (|c| c.poll_wait_s = 0, "1 to 60 seconds"),
            (|c| c.environment = String::new(), "--environment"),
            (|c| c.key = "a\nb".into(), "--key"),
            (|c| c.allow_origins = vec!["https://a.example/x".into()], "no origin"),
            (|c| c.trust = "beef".into(), "64 hex digits"),
            (|c| c.admin = "ftp://admin.example".into(), "`https://`"),
            (|c| c.admin = "admin:7400".into(), "`admin:7400`"),
        ];
        for (change, said) in cases {
            let mut wrong = config();
            change(&mut wrong);
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let mut secret = config();
        secret.key = "hush".into();
        secret.local_token = Some("hush-hush-hush-hush".into());
        assert!(!format!("{secret:?}").contains("hush"));
    }
}
