//! What can be configured, and what of it is refused.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use entitlements_outbound::guard::Network;

use crate::{oidc::OidcConfig, store::Database, workflow::people::Role};

/// How a control plane is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where it listens. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// The folder that holds its keys, and its database where it has one of its own. Only one
    /// process may use it at a time.
    pub data: PathBuf,
    /// A `PostgreSQL` database, as `postgres://user:password@host/database`, that several control
    /// planes may share. Absent: a file in the data folder.
    pub database: Option<String>,
    /// What its snapshots are for. A sidecar of another environment refuses them.
    pub environment: String,
    /// Whether it may listen where other machines reach it.
    pub allow_remote: bool,
    /// Where people reach it with their browsers, such as `https://entitlements.example.com`. With
    /// `https` its cookies are for TLS only.
    pub public_url: Option<String>,
    /// The identity provider by which people may sign in, beside passwords.
    pub oidc: Option<OidcConfig>,
    /// How old a snapshot may get at a sidecar before it counts as stale, in seconds.
    pub max_age_s: u32,
    /// Networks that connectors may reach beside the open internet, such as one's own.
    pub allow_networks: Vec<Network>,
    /// A file of certificates (PEM) that connectors trust beside those that this machine trusts.
    pub extra_ca: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7400)),
            data: PathBuf::from("./entitlements-data"),
            database: None,
            environment: "default".into(),
            allow_remote: false,
            public_url: None,
            oidc: None,
            max_age_s: 300,
            allow_networks: Vec::new(),
            extra_ca: None,
        }
    }
}

/// What is wrong with a configuration, in one sentence that names the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// The longest name of an environment.
const ENVIRONMENT_BYTES_MAX: usize = 64;

impl Config {
    /// Goes on where nothing is wrong.
    ///
    /// # Errors
    /// What is wrong first.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !self.allow_remote && !self.listen.ip().is_loopback() {
            return Err(ConfigError(format!(
                "`--listen {}` can be reached from other machines: put a proxy that speaks TLS in \
                 front and add `--allow-remote`, or listen on 127.0.0.1",
                self.listen
            )));
        }
        if let Some(url) = &self.database
            && !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme))
        {
            return Err(ConfigError(
                "`--database` is not an address of PostgreSQL: write it as \
                 `postgres://user@host/database`, or leave it out for a file in the data folder"
                    .into(),
            ));
        }
        if let Some(url) = &self.public_url
            && !is_origin(url)
        {
            return Err(ConfigError(format!(
                "`--public-url {url}` is not an address of a site: write it as \
                 `https://entitlements.example.com`, without a path"
            )));
        }
        let environment = &self.environment;
        let letters =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        if environment.is_empty()
            || environment.len() > ENVIRONMENT_BYTES_MAX
            || !environment.bytes().all(letters)
        {
            return Err(ConfigError(format!(
                "`--environment {environment}` is not a name: use 1 to {ENVIRONMENT_BYTES_MAX} of \
                 `a-z`, `0-9`, `.`, `_` and `-`"
            )));
        }
        if self.max_age_s == 0 {
            return Err(ConfigError(
                "`--max-age 0` makes every answer stale: use 1 or more".into(),
            ));
        }
        Ok(())
    }
}

/// Whether a text is a scheme and a host, and a port where need be, as browsers send it in `Origin`.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let letters = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(letters))
}

/// The file in the data folder.
pub const DATABASE_FILE: &str = "entitlements.db";

impl Config {
    /// Where its store is.
    #[must_use]
    pub fn store(&self) -> Database {
        match &self.database {
            None => Database::Sqlite(self.data.join(DATABASE_FILE)),
            Some(url) => Database::Postgres(url.clone()),
        }
    }
}

/// The file that says how people sign in by an identity provider.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct OidcFile {
    issuer: String,
    client_id: String,
    client_secret_file: Option<PathBuf>,
    scopes: Option<Vec<String>>,
    roles_claim: Option<String>,
    roles: BTreeMap<String, Role>,
}

/// Reads how people sign in by an identity provider. `public_url` is where browsers find us.
///
/// # Errors
/// Where the file cannot be read, or says what cannot be.
pub fn oidc(path: &Path, public_url: Option<&str>) -> Result<OidcConfig, ConfigError> {
    let wrong = |path: &Path, why: &dyn std::fmt::Display| {
        ConfigError(format!("`--oidc {}`: {why}", path.display()))
    };
    let public_url = public_url.ok_or_else(|| {
        wrong(path, &"say with `--public-url` where the provider sends browsers back to")
    })?;
    let text = fs::read_to_string(path).map_err(|error| wrong(path, &error))?;
    let file: OidcFile =
        toml::from_str(&text).map_err(|error| wrong(path, &mistake(&text, &error)))?;
    let client_secret = match &file.client_secret_file {
        None => None,
        Some(secret) => {
            // Beside the file, where it is not said otherwise.
            let place = path.parent().unwrap_or(Path::new(".")).join(secret);
            let text = fs::read_to_string(&place).map_err(|error| wrong(&place, &error))?;
            Some(text.trim().to_owned())
        }
    };
    let default = OidcConfig::default();
    let config = OidcConfig {
        issuer: file.issuer,
        client_id: file.client_id,
        client_secret,
        public_url: public_url.into(),
        scopes: file.scopes.unwrap_or(default.scopes),
        roles_claim: file.roles_claim.unwrap_or(default.roles_claim),
        roles: file.roles,
    };
    config.check().map_err(|error| wrong(path, &error))?;
    Ok(config)
}

/// What is wrong in a file, with the line that it is in.
fn mistake(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let place = before.matches('\n').count();
    let line = text.lines().nth(place).unwrap_or_default();
    format!("line {}, `{line}`: {}", place + 1, error.message())
}

/// Reads an address such as `127.0.0.1:7400`.
///
/// # Errors
/// Where the text is none.
pub fn listen(text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| {
        ConfigError(format!(
            "`--listen {text}` is not an address: use one with a port, such as `127.0.0.1:7400`"
        ))
    })
}

/// The service key that commands send to a control plane, from `ENTITLEMENTS_KEY`.
#[must_use]
pub fn key() -> Option<String> {
    variable("ENTITLEMENTS_KEY")
}

/// Whether whoever started it wants no colours: `NO_COLOR` is set.
#[must_use]
pub fn wants_no_colours() -> bool {
    variable("NO_COLOR").is_some()
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_right() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn each_mistake_is_named() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(with(|c| c.listen = "0.0.0.0:1".parse().unwrap()).contains("--allow-remote"));
        assert!(with(|c| c.environment = "a b".into()).contains("--environment a b"));
        assert!(with(|c| c.max_age_s = 0).contains("--max-age"));
        assert!(listen("nonsense").unwrap_err().to_string().contains("`--listen nonsense`"));
    }
}
