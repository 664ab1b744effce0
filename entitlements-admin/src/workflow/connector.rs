//! Where messages go: one configured destination, and what it takes to get in there.
//!
//! What is secret is kept apart from what is shown, by names that each kind of connector knows.

use std::collections::{BTreeMap, BTreeSet};

use entitlements_core::Timestamp;
use entitlements_outbound::webhook::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{delivery::Doubt, people::email_of};

/// A destination as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connector {
    /// What people call it.
    pub name: String,
    /// What it is, and where.
    pub kind: ConnectorKind,
    /// Whether people want it to be used.
    pub enabled: bool,
    /// The names of the credentials that are kept for it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub credentials: BTreeSet<String>,
    /// When a webhook's receiver said that it wants to hear from us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Timestamp>,
    /// Why it was switched off by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Disabled>,
}

/// That a connector was switched off by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disabled {
    /// When.
    pub at: Timestamp,
    /// Why, in a sentence.
    pub why: String,
}

/// A kind of destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorKind {
    /// An HTTP endpoint that takes `CloudEvents`, signed by Standard Webhooks.
    Webhook(Webhook),
    /// A Jira project.
    Jira(Jira),
    /// A table of `ServiceNow`.
    Servicenow(ServiceNow),
    /// A Slack channel.
    Slack(Slack),
    /// A mail server, and whom to write to.
    Email(Email),
    /// A service of `PagerDuty`.
    Pagerduty(PagerDuty),
    /// A service broker. It takes no messages: steps of listings name it.
    Broker(Broker),
}

/// An HTTP endpoint. Credentials: `secret` (`whsec_…` or `whsk_…`; drawn where absent),
/// `authorization` (a header, where the endpoint asks for one).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where it is.
    pub url: String,
    /// Whether the endpoint must say first that it wants to hear from us, by the handshake of the
    /// `CloudEvents` webhook specification.
    #[serde(default = "yes")]
    pub handshake: bool,
    /// Whether a drawn secret is a pair of keys (`v1a`) instead of a shared one (`v1`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asymmetric: bool,
}

/// Which Jira.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JiraFlavor {
    /// Atlassian's own, by version 3 of its API.
    Cloud,
    /// One's own, by version 2.
    DataCenter,
}

/// A Jira project. Credentials: `email` and `token` (Cloud), `token` (Data Center),
/// `webhook_secret` (where Jira is to tell us that an issue was closed).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jira {
    /// Where it is, such as `https://example.atlassian.net`.
    pub url: String,
    /// Which Jira.
    pub flavor: JiraFlavor,
    /// The key of the project, such as `ENT`.
    pub project: String,
    /// What issues are made as.
    #[serde(default = "task")]
    pub issue_type: String,
    /// Labels that every issue gets beside our own.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<String>,
    /// For how many days a closed issue is opened again instead of making another one.
    #[serde(default = "reopen_days")]
    pub reopen_days: u32,
    /// The transition that closes an issue; absent: any that leads to a status that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_transition: Option<String>,
    /// The transition that opens one again; absent: any that leads to a status that is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopen_transition: Option<String>,
    /// Issues closed with this resolution stay closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_resolution: Option<String>,
}

/// How records come into `ServiceNow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ServiceNowMode {
    /// Straight into the table.
    Table {},
    /// By an import set whose transform map coalesces on `correlation_id`.
    ImportSet {
        /// The staging table.
        staging_table: String,
        /// What its columns are called by before the names of the fields.
        #[serde(default = "own_column")]
        column_prefix: String,
    },
}

/// A table of `ServiceNow`. Credentials: `user` and `password`, or `token`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceNow {
    /// Where it is, such as `https://example.service-now.com`.
    pub url: String,
    /// How records come in.
    #[serde(default = "table")]
    pub mode: ServiceNowMode,
    /// Which table.
    #[serde(default = "incident")]
    pub table: String,
    /// Fields that every record gets, such as `assignment_group`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// Fields that a record gets once there is nothing more to do.
    #[serde(default = "resolved")]
    pub resolved_fields: BTreeMap<String, String>,
}

/// What becomes of further news about one subject in Slack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Follow {
    /// An answer in the thread of the first message.
    #[default]
    Thread,
    /// The first message is replaced by it.
    Update,
    /// A message of its own.
    New,
}

/// A Slack channel. Credentials: `webhook_url` (an incoming webhook), or `token` (a bot's, with
/// `channel`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    /// The id of the channel, such as `C0123456789`. For a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// What becomes of further news about one subject. For a token.
    #[serde(default)]
    pub follow: Follow,
    /// Where the API is.
    #[serde(default = "slack_api")]
    pub api_url: String,
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailSecurity {
    /// TLS after `STARTTLS`, or not at all.
    #[default]
    Starttls,
    /// TLS from the start.
    Tls,
    /// No TLS: only for this machine.
    Plain,
}

/// A mail server. Credentials: `user` and `password`, where it asks for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// Its host.
    pub host: String,
    /// Its port; absent: 587, 465 or 25, by how it is spoken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How it is spoken to.
    #[serde(default)]
    pub security: MailSecurity,
    /// From whom, such as `Entitlements <entitlements@example.com>`.
    pub from: String,
    /// To whom; the members of the team where nobody is named.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub to: BTreeSet<String>,
}

/// A service of `PagerDuty`. Credentials: `routing_key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagerDuty {
    /// Where its events go.
    #[serde(default = "pagerduty_url")]
    pub url: String,
}

/// A service broker, by version 2.17 of the Open Service Broker API. Credentials: `user` and `password`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Where it is: what `/v2/catalog` comes after.
    pub url: String,
}

const fn yes() -> bool {
    true
}

fn task() -> String {
    "Task".into()
}

const fn reopen_days() -> u32 {
    14
}

/// What `ServiceNow` puts before the names of columns that people add.
fn own_column() -> String {
    "u_".into()
}

const fn table() -> ServiceNowMode {
    ServiceNowMode::Table {}
}

fn incident() -> String {
    "incident".into()
}

fn resolved() -> BTreeMap<String, String> {
    let fields = [
        ("state", "6"),
        ("close_code", "Resolved by request"),
        ("close_notes", "Resolved in Entitlements"),
    ];
    fields.map(|(name, value)| (name.into(), value.into())).into()
}

fn slack_api() -> String {
    "https://slack.com/api".into()
}

fn pagerduty_url() -> String {
    "https://events.pagerduty.com".into()
}

/// What a message is written in.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Medium {
    /// Text, as in mails, records and issues of Jira Cloud.
    Text,
    /// Slack's `mrkdwn`.
    Slack,
    /// The markup of Jira Data Center.
    Wiki,
    /// JSON: the body of a webhook.
    Json,
}

impl ConnectorKind {
    /// The stable word for it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Jira(_) => "jira",
            Self::Servicenow(_) => "servicenow",
            Self::Slack(_) => "slack",
            Self::Email(_) => "email",
            Self::Pagerduty(_) => "pagerduty",
            Self::Broker(_) => "broker",
        }
    }

    /// What its messages are written in.
    #[must_use]
    pub const fn medium(&self) -> Medium {
        match self {
            Self::Webhook(_) => Medium::Json,
            Self::Slack(_) => Medium::Slack,
            Self::Jira(Jira { flavor: JiraFlavor::DataCenter, .. }) => Medium::Wiki,
            Self::Jira(_)
            | Self::Servicenow(_)
            | Self::Email(_)
            | Self::Pagerduty(_)
            | Self::Broker(_) => Medium::Text,
        }
    }

    /// Whether rules may send messages there.
    #[must_use]
    pub const fn takes_messages(&self) -> bool {
        !matches!(self, Self::Broker(_))
    }

    /// Whether it opens a follow-up for a subject and closes it: events of one subject go there one
    /// after the other.
    #[must_use]
    pub const fn tracks(&self) -> bool {
        matches!(self, Self::Jira(_) | Self::Servicenow(_) | Self::Pagerduty(_))
    }

    /// Whether several events may go there in one message.
    #[must_use]
    pub const fn gathers(&self) -> bool {
        matches!(self, Self::Slack(_) | Self::Email(_))
    }

    /// What it does about a message that may have arrived. `credentials` are the names of those that
    /// it has.
    #[must_use]
    pub fn doubt(&self, credentials: &BTreeSet<String>) -> Doubt {
        match self {
            Self::Jira(_) => Doubt::Search,
            Self::Servicenow(table) if table.mode == (ServiceNowMode::Table {}) => Doubt::Search,
            Self::Slack(_) if credentials.contains("token") => Doubt::Search,
            _ => Doubt::Repeat,
        }
    }

    /// Where it leads, and so its credentials.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Webhook(hook) => hook.url.clone(),
            Self::Jira(jira) => jira.url.clone(),
            Self::Servicenow(service) => service.url.clone(),
            Self::Slack(slack) => slack.api_url.clone(),
            Self::Email(mail) => format!("{} {:?}", mail.host, mail.port),
            Self::Pagerduty(service) => service.url.clone(),
            Self::Broker(broker) => broker.url.clone(),
        }
    }

    /// The names of credentials that it knows.
    #[must_use]
    pub const fn credential_names(&self) -> &'static [&'static str] {
        match self {
            Self::Webhook(_) => &["secret", "authorization"],
            Self::Jira(_) => &["email", "token", "webhook_secret"],
            Self::Servicenow(_) => &["user", "password", "token"],
            Self::Slack(_) => &["webhook_url", "token"],
            Self::Email(_) | Self::Broker(_) => &["user", "password"],
            Self::Pagerduty(_) => &["routing_key"],
        }
    }

    /// Goes on where it knows credentials of these names.
    ///
    /// # Errors
    /// Which it does not.
    pub fn check_names(&self, names: impl IntoIterator<Item = String>) -> Result<(), String> {
        let known = self.credential_names();
        let unknown = names.into_iter().find(|name| !known.contains(&name.as_str()));
        let Some(name) = unknown else { return Ok(()) };
        let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        Err(format!(
            "`credentials.{name}` means nothing to this kind of connector: it knows {}",
            known.join(", ")
        ))
    }

    /// What is wrong with it and its credentials first, in a sentence that repeats no credential.
    ///
    /// # Errors
    /// Where something is.
    pub fn check(&self, credentials: &Credentials) -> Result<(), String> {
        self.check_names(credentials.names())?;
        for (name, value) in &credentials.0 {
            let fits = !value.trim().is_empty() && value.len() <= CREDENTIAL_BYTES_MAX;
            if !fits || value.chars().any(char::is_control) {
                return Err(format!(
                    "`credentials.{name}` takes 1 to {CREDENTIAL_BYTES_MAX} bytes on one line"
                ));
            }
        }
        match self {
            Self::Webhook(hook) => {
                url("kind.webhook.url", &hook.url)?;
                let secret = credentials.get("secret").unwrap_or_default();
                Secret::parse(secret)
                    .map(drop)
                    .map_err(|why| format!("`credentials.secret`: {why}"))
            }
            Self::Jira(jira) => {
                url("kind.jira.url", &jira.url)?;
                word("kind.jira.project", &jira.project)?;
                line("kind.jira.issue_type", &jira.issue_type)?;
                for label in &jira.labels {
                    let fits = !label.is_empty() && !label.chars().any(char::is_whitespace);
                    fits.then_some(()).ok_or_else(|| {
                        format!("`kind.jira.labels`: `{label}` has spaces: Jira takes none")
                    })?;
                }
                match jira.flavor {
                    JiraFlavor::Cloud => credentials.has_all(&["email", "token"]),
                    JiraFlavor::DataCenter => credentials.has_all(&["token"]),
                }
            }
            Self::Servicenow(service) => {
                url("kind.servicenow.url", &service.url)?;
                word("kind.servicenow.table", &service.table)?;
                if let ServiceNowMode::ImportSet { staging_table, column_prefix } = &service.mode {
                    word("kind.servicenow.mode.import_set.staging_table", staging_table)?;
                    let column = format!("{column_prefix}correlation_id");
                    word("kind.servicenow.mode.import_set.column_prefix", &column)?;
                }
                for name in service.fields.keys().chain(service.resolved_fields.keys()) {
                    word("kind.servicenow.fields", name)?;
                }
                if credentials.get("token").is_some() {
                    return Ok(());
                }
                credentials.has_all(&["user", "password"])
            }
            Self::Slack(slack) => {
                url("kind.slack.api_url", &slack.api_url)?;
                match (credentials.get("webhook_url"), credentials.get("token")) {
                    (Some(hook), None) => url("credentials.webhook_url", hook),
                    (None, Some(_)) => {
                        word("kind.slack.channel", slack.channel.as_deref().unwrap_or_default())
                    }
                    _ => Err("give `credentials.webhook_url` or `credentials.token`, one of the \
                              two"
                    .into()),
                }
            }
            Self::Email(mail) => {
                let host = mail.host.as_str();
                let letters = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
                if host.is_empty() || !host.bytes().all(letters) {
                    return Err(format!("`kind.email.host = {host}` is not a host"));
                }
                if mail.security == MailSecurity::Plain && !entitlements_outbound::is_loopback(host)
                {
                    return Err(format!(
                        "`kind.email.security = plain` would send mail to `{host}` for all to \
                         read: use `starttls` or `tls`"
                    ));
                }
                address("kind.email.from", &mail.from)?;
                mail.to.iter().try_for_each(|to| address("kind.email.to", to))?;
                match credentials.get("user").is_some() == credentials.get("password").is_some() {
                    true => Ok(()),
                    false => {
                        Err("`credentials.user` and `credentials.password` go together".into())
                    }
                }
            }
            Self::Pagerduty(service) => {
                url("kind.pagerduty.url", &service.url)?;
                credentials.has_all(&["routing_key"])
            }
            Self::Broker(broker) => {
                url("kind.broker.url", &broker.url)?;
                credentials.has_all(&["user", "password"])
            }
        }
    }
}

impl Connector {
    /// Whether messages may go there now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.enabled && self.disabled.is_none() && !self.waits_for_handshake()
    }

    /// Whether its receiver has to say first that it wants to hear from us.
    #[must_use]
    pub fn waits_for_handshake(&self) -> bool {
        match &self.kind {
            ConnectorKind::Webhook(hook) => hook.handshake && self.verified_at.is_none(),
            _ => false,
        }
    }

    /// In a word: `ready`, `off`, `disabled` or `unverified`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        if !self.enabled {
            "off"
        } else if self.disabled.is_some() {
            "disabled"
        } else if self.waits_for_handshake() {
            "unverified"
        } else {
            "ready"
        }
    }

    /// What it does about a message that may have arrived.
    #[must_use]
    pub fn doubt(&self) -> Doubt {
        self.kind.doubt(&self.credentials)
    }
}

/// What it takes to get in somewhere, by name. It is shown nowhere.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credentials(pub BTreeMap<String, String>);

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Credentials {
    /// One of them.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Their names, but for what is kept for the time of a rotation.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.0.keys().filter(|name| !is_kept_for_rotation(name)).cloned().collect()
    }

    /// The same with the signing secret of those that were kept, where none is given: a webhook is not
    /// given another one by the way.
    #[must_use]
    pub fn keeping_secret_of(mut self, kept: &Self, kind: &ConnectorKind) -> Self {
        if matches!(kind, ConnectorKind::Webhook(_)) && self.get("secret").is_none() {
            for name in ["secret", OLD_SECRET, OLD_SECRET_UNTIL] {
                if let Some(value) = kept.get(name) {
                    self.0.insert(name.into(), value.into());
                }
            }
        }
        self
    }

    fn has_all(&self, names: &[&str]) -> Result<(), String> {
        match names.iter().find(|name| self.get(name).is_none()) {
            None => Ok(()),
            Some(name) => Err(format!("`credentials.{name}` is missing")),
        }
    }

    /// Puts a new signing secret in place. The one before signs as well until an instant.
    pub fn rotate(&mut self, secret: String, until: Timestamp) {
        if let Some(old) = self.0.insert("secret".into(), secret) {
            self.0.insert(OLD_SECRET.into(), old);
            self.0.insert(OLD_SECRET_UNTIL.into(), until.to_string());
        }
    }

    /// What to sign with at an instant, the newest first.
    #[must_use]
    pub fn signing(&self, now: Timestamp) -> Vec<Secret> {
        let until = self.get(OLD_SECRET_UNTIL).and_then(|text| Timestamp::parse(text).ok());
        let old = self.get(OLD_SECRET).filter(|_| until.is_some_and(|until| now < until));
        let all = self.get("secret").into_iter().chain(old);
        all.filter_map(|text| Secret::parse(text).ok()).collect()
    }
}

const OLD_SECRET: &str = "old_secret";
const OLD_SECRET_UNTIL: &str = "old_secret_until";

fn is_kept_for_rotation(name: &str) -> bool {
    matches!(name, OLD_SECRET | OLD_SECRET_UNTIL)
}

/// The longest credential, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 4_096;
/// The longest text of one line, in bytes.
const LINE_BYTES_MAX: usize = 255;

/// Goes on where a text can be a connector's name.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    line("name", name)
}

/// Goes on where a text is an address to send to.
fn url(path: &str, text: &str) -> Result<(), String> {
    let parsed: Option<hyper::Uri> = text.parse().ok();
    let is_one = parsed.as_ref().is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("https" | "http"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    });
    if !is_one || text.len() > CREDENTIAL_BYTES_MAX {
        return Err(format!(
            "`{path}` is not an address: write one that begins with `https://`, without a user"
        ));
    }
    let host =
        parsed.as_ref().filter(|uri| uri.scheme_str() == Some("http")).and_then(|uri| uri.host());
    match host.is_none_or(entitlements_outbound::is_loopback) {
        true => Ok(()),
        false => Err(format!("`{path}` is not protected: use `https://` for other machines")),
    }
}

/// Goes on where a text can stand in a path or a query.
fn word(path: &str, text: &str) -> Result<(), String> {
    let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    match (1..=LINE_BYTES_MAX).contains(&text.len()) && text.bytes().all(letters) {
        true => Ok(()),
        false => Err(format!("`{path} = {text}` takes letters, digits, `_` and `-`")),
    }
}

/// Goes on where a text is one line.
pub(super) fn line(path: &str, text: &str) -> Result<(), String> {
    let fits = !text.trim().is_empty() && text.len() <= LINE_BYTES_MAX;
    match fits && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(format!("`{path}` takes 1 to {LINE_BYTES_MAX} bytes on one line")),
    }
}

/// Goes on where a text is an address, with or without a name before it.
fn address(path: &str, text: &str) -> Result<(), String> {
    line(path, text)?;
    let bare = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or_default(),
        None => text,
    };
    email_of(bare).map(drop).map_err(|why| format!("`{path}`: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(pairs: &[(&str, &str)]) -> Credentials {
        Credentials(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    fn kind(json: &str) -> ConnectorKind {
        serde_json::from_str(json).unwrap()
    }

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn each_kind_says_what_it_takes() {
        for (json, given, wrong) in [
            (r#"{"webhook":{"url":"https://x.example/in"}}"#, vec![("secret", SECRET)], None),
            (r#"{"webhook":{"url":"x.example"}}"#, vec![("secret", SECRET)], Some("webhook.url")),
            (
                r#"{"webhook":{"url":"https://u:hush@x.example"}}"#,
                vec![("secret", SECRET)],
                Some("without a user"),
            ),
            (
                r#"{"webhook":{"url":"https://x.example"}}"#,
                vec![("secret", "hush")],
                Some("credentials.secret"),
            ),
            (
                r#"{"jira":{"url":"https://x.example","flavor":"cloud","project":"ENT"}}"#,
                vec![("email", "a@b.c"), ("token", "t")],
                None,
            ),
            (
                r#"{"jira":{"url":"https://x.example","flavor":"cloud","project":"E\" OR 1=1"}}"#,
                vec![("email", "a@b.c"), ("token", "t")],
                Some("jira.project"),
            ),
            (
                r#"{"jira":{"url":"https://x.example","flavor":"data_center","project":"ENT"}}"#,
                vec![("user", "hush")],
                Some("`credentials.user` means nothing"),
            ),
            (
                r#"{"servicenow":{"url":"https://x.example"}}"#,
                vec![("user", "u")],
                Some("`credentials.password` is missing"),
            ),
            (r#"{"slack":{}}"#, vec![("webhook_url", "https://hooks.example/T/B/hush")], None),
            (r#"{"slack":{}}"#, vec![("webhook_url", "hush")], Some("not an address")),
            (r#"{"slack":{}}"#, vec![("token", "xoxb-hush")], Some("slack.channel")),
            (r#"{"slack":{"channel":"C1"}}"#, vec![("token", "xoxb-hush")], None),
            (r#"{"slack":{}}"#, vec![], Some("one of the two")),
            (r#"{"email":{"host":"m.example","from":"Us <a@b.c>"}}"#, vec![], None),
            (
                r#"{"email":{"host":"m.example","from":"a@b.c","security":"plain"}}"#,
                vec![],
                Some("for all to read"),
            ),
            (
                r#"{"email":{"host":"m.example","from":"a@b.c\r\nBcc: e@v.e"}}"#,
                vec![],
                Some("email.from"),
            ),
            (
                r#"{"email":{"host":"m.example","from":"a@b.c"}}"#,
                vec![("password", "hush")],
                Some("go together"),
            ),
            (r#"{"pagerduty":{}}"#, vec![("routing_key", "hu\nsh")], Some("on one line")),
            (r#"{"pagerduty":{}}"#, vec![("routing_key", "k")], None),
        ] {
            match (kind(json).check(&credentials(&given)), wrong) {
                (Ok(()), None) => {}
                (Err(error), Some(said)) => {
                    assert!(error.contains(said) && !error.contains("hush"), "{json}: {error}");
                }
                (result, _) => panic!("{json}: {result:?}"),
            }
        }
    }

    #[test]
    fn two_secrets_sign_for_a_while() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let mut kept = credentials(&[("secret", SECRET)]);
        assert_eq!(kept.signing(at(0)).len(), 1);
        kept.rotate(Secret::symmetric_text(&[3; 32]), at(60));
        assert_eq!((kept.signing(at(59)).len(), kept.signing(at(60)).len()), (2, 1));
        let newest = kept.signing(at(59)).remove(0).sign("a", 1, b"");
        assert_eq!(
            newest,
            Secret::parse(&Secret::symmetric_text(&[3; 32])).unwrap().sign("a", 1, b"")
        );
        assert_eq!(kept.names(), BTreeSet::from(["secret".to_owned()]));
        assert!(!format!("{kept:?}").contains("whsec_"));
    }

    #[test]
    fn a_connector_is_ready_once_nothing_stands_in_its_way() {
        let hook = r#"{"webhook":{"url":"https://x.example"}}"#;
        let mut connector = Connector {
            name: "x".into(),
            kind: kind(hook),
            enabled: true,
            credentials: BTreeSet::new(),
            verified_at: None,
            disabled: None,
        };
        assert_eq!(connector.state(), "unverified");
        connector.verified_at = Some(Timestamp::from_micros(0));
        assert_eq!((connector.state(), connector.is_ready()), ("ready", true));
        connector.disabled = Some(Disabled { at: Timestamp::from_micros(0), why: "410".into() });
        assert_eq!((connector.state(), connector.is_ready()), ("disabled", false));
    }
}
