//! Connectors: kept with their credentials sealed, verified, tried out, switched off.

use std::collections::BTreeMap;

use entitlements_core::Timestamp;
use entitlements_outbound::webhook::Secret;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::{App, Call, Command, Error, Expected, book::owner, execute::Decided, parsed};
use crate::{
    connectors::{self, Job, Report},
    ids,
    store::{Note, Stored},
    workflow::{
        Kind, Notice, ObjectId, Origin, Record, Write,
        connector::{Connector, ConnectorKind, Credentials, Disabled},
        delivery::{Outcome as Sent, Stage},
        notice::{ConnectorTrouble, Event, EventType, KeptNotice, Test},
        task::TaskState,
    },
};

/// A connector as people write it.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectorInput {
    /// What people call it.
    pub name: String,
    /// What it is, and where.
    pub kind: ConnectorKind,
    /// Whether it is to be used.
    pub enabled: bool,
    /// What it takes to get in there; as it was where absent.
    pub credentials: Option<BTreeMap<String, String>>,
}

impl std::fmt::Debug for ConnectorInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ConnectorInput({:?})", self.name)
    }
}

/// What becomes of a connector by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectorNews {
    /// Its receiver wants to hear from us.
    Verified,
    /// Its receiver wants nothing more.
    Disabled {
        /// Why we think so.
        why: String,
    },
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tested {
    /// `delivered`, `retry`, `refused` or `ambiguous`.
    pub outcome: &'static str,
    /// What there is to say about it.
    pub detail: String,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// For how long an old secret signs as well after a rotation, in seconds, at the most: a week.
const OVERLAP_S_MAX: u64 = 7 * 86_400;
/// What tells a drawn pair of keys from a drawn secret in an answer's id.
const PAIR: &str = "pair";
/// For how long a message of Jira's is known again.
const INBOUND: &str = "inbound";

impl App {
    /// A connector, without its credentials.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn connector(&self, key: &str) -> Result<(Connector, Stored), Error> {
        let stored = self.stored_connector(key, Expected::Any).await?;
        let connector = parsed("connector", key, &stored.json)?;
        Ok((connector, Stored { secret: None, ..stored }))
    }

    async fn stored_connector(&self, key: &str, expected: Expected) -> Result<Stored, Error> {
        let found = self.present(ObjectId::new(Kind::Connector, key), expected).await?;
        found.ok_or_else(|| Error::NotFound(format!("there is no connector `{key}`")))
    }

    pub(super) async fn decide_connector(
        &self,
        call: &Call,
        origin: Origin,
        key: &str,
        input: &ConnectorInput,
        expected: Expected,
    ) -> Result<Decided, Error> {
        super::routing::check_key(key)?;
        let present = self.present(ObjectId::new(Kind::Connector, key), expected).await?;
        let before: Option<Connector> =
            present.as_ref().map(|row| parsed("connector", key, &row.json)).transpose()?;
        let sealed = present.as_ref().and_then(|row| row.secret.as_deref());
        let kept = sealed.map(|sealed| self.unsealed(key, sealed)).transpose()?;
        let same_kind = before.as_ref().is_some_and(|it| it.kind.code() == input.kind.code());
        let kept = kept.filter(|_| same_kind).unwrap_or_default();
        stays_where_it_was(before.as_ref().filter(|_| same_kind), input)?;
        let given = input.credentials.iter().flat_map(|given| given.keys().cloned());
        input.kind.check_names(given).map_err(Error::InvalidInput)?;
        let mut credentials = match &input.credentials {
            None => kept,
            Some(given) => Credentials(given.clone()).keeping_secret_of(&kept, &input.kind),
        };
        let mut answer_id = None;
        if let ConnectorKind::Webhook(hook) = &input.kind
            && credentials.get("secret").is_none()
        {
            let id = drawn_id(key, hook.asymmetric)?;
            credentials.0.insert("secret".into(), self.drawn_secret(call, &id));
            answer_id = Some(id);
        }
        let name = input.name.trim();
        crate::workflow::connector::check_name(name).map_err(Error::InvalidInput)?;
        input.kind.check(&credentials).map_err(Error::InvalidInput)?;
        // Whoever listens at another address has not said that it wants to.
        let same_place = before.as_ref().filter(|it| it.kind.place() == input.kind.place());
        let connector = Connector {
            name: name.into(),
            kind: input.kind.clone(),
            enabled: input.enabled,
            credentials: credentials.names(),
            verified_at: same_place.and_then(|it| it.verified_at),
            disabled: None,
        };
        let expected = present.map(|row| row.revision);
        let mut decided = self.written(origin, key, &connector, &credentials, expected)?;
        decided.changes.answer.id = answer_id;
        Ok(decided)
    }

    pub(super) async fn decide_rotation(
        &self,
        call: &Call,
        origin: Origin,
        key: &str,
        overlap_s: u64,
    ) -> Result<Decided, Error> {
        if overlap_s > OVERLAP_S_MAX {
            return Err(Error::InvalidInput(format!(
                "`overlap_s = {overlap_s}` is too long: use at most {OVERLAP_S_MAX}, a week"
            )));
        }
        let stored = self.stored_connector(key, Expected::Any).await?;
        let connector: Connector = parsed("connector", key, &stored.json)?;
        let ConnectorKind::Webhook(hook) = &connector.kind else {
            return Err(Error::Refused("only a webhook's secret is rotated here".into()));
        };
        let sealed = stored.secret.as_deref().unwrap_or_default();
        let mut credentials = self.unsealed(key, sealed)?;
        let id = drawn_id(key, hook.asymmetric)?;
        let until = origin.at.plus(std::time::Duration::from_secs(overlap_s));
        credentials.rotate(self.drawn_secret(call, &id), until);
        let mut decided =
            self.written(origin, key, &connector, &credentials, Some(stored.revision))?;
        decided.changes.answer.id = Some(id);
        Ok(decided)
    }

    pub(super) async fn decide_connector_news(
        &self,
        origin: Origin,
        key: &str,
        news: &ConnectorNews,
    ) -> Result<Decided, Error> {
        let stored = self.stored_connector(key, Expected::Any).await?;
        let mut connector: Connector = parsed("connector", key, &stored.json)?;
        let mut changes = origin.changeset(format!("connector {key}"));
        let at = changes.origin.at;
        match news {
            ConnectorNews::Verified => connector.verified_at = Some(at),
            ConnectorNews::Disabled { .. } if connector.disabled.is_some() => {
                return Err(Error::Refused(format!("connector `{key}` is off already")));
            }
            ConnectorNews::Disabled { why } => {
                connector.disabled = Some(Disabled { at, why: why.clone() });
                changes.origin.reason = Some(why.clone());
                let trouble = ConnectorTrouble { connector: key.into(), why: why.clone() };
                let event = Event::ConnectorDisabled(trouble);
                changes.notices.push(notice(format!("connector/{key}"), at, &event)?);
            }
        }
        let record =
            Record::of(&connector).map_err(|error| Error::Unavailable(error.to_string()))?;
        let after = Some(Record { secret: stored.secret, ..record });
        let write = Write { expected: Some(stored.revision), after };
        changes.writes.insert(ObjectId::new(Kind::Connector, key), write);
        Ok(changes.into())
    }

    fn written(
        &self,
        origin: Origin,
        key: &str,
        connector: &Connector,
        credentials: &Credentials,
        expected: Option<entitlements_core::Revision>,
    ) -> Result<Decided, Error> {
        let failed = |error: serde_json::Error| Error::Unavailable(error.to_string());
        let text = serde_json::to_string(credentials).map_err(failed)?;
        let sealed = self.0.vault.seal(&owner(key), &text, ids::nonce()?);
        let secret = Some(sealed.map_err(Error::Unavailable)?);
        let record = Record { secret, ..Record::of(connector).map_err(failed)? };
        let mut changes = origin.changeset(format!("connector {key}"));
        let write = Write { expected, after: Some(record) };
        changes.writes.insert(ObjectId::new(Kind::Connector, key), write);
        Ok(changes.into())
    }

    /// A signing secret that this request draws; the same one where the same request comes again.
    fn drawn_secret(&self, call: &Call, id: &str) -> String {
        let seed = blake3::hash(self.secret_of(call, id).as_bytes()).into();
        match id.contains(PAIR_MARK) {
            true => Secret::asymmetric_text(&seed),
            false => Secret::symmetric_text(&seed),
        }
    }

    /// What the receiver of a webhook verifies with, where this request drew it.
    pub(super) fn drawn_for_receiver(&self, call: &Call, id: &str) -> Option<String> {
        let text = self.drawn_secret(call, id);
        Secret::parse(&text).ok()?.public_text().or(Some(text))
    }

    /// What receivers verify with who were given a pair of keys: `whpk_…`.
    ///
    /// # Errors
    /// Where there is no such connector.
    pub async fn public_key_of(&self, key: &str) -> Result<Option<String>, Error> {
        let known = self.open_book().await?;
        known.connector(key)?;
        let credentials = self.credentials(&known, key)?;
        let secret = credentials.get("secret").and_then(|text| Secret::parse(text).ok());
        Ok(secret.and_then(|secret| secret.public_text()))
    }

    /// Asks a webhook's receiver whether it wants to hear from us, and notes that it does.
    ///
    /// # Errors
    /// Where it does not. The text says why.
    pub async fn verify_connector(&self, call: Call, key: &str) -> Result<super::Outcome, Error> {
        call.actor.may(crate::workflow::Permission::ManageConnectors)?;
        let known = self.open_book().await?;
        let connector = known.connector(key)?;
        let credentials = self.credentials(&known, key)?;
        let origin = self.public_url().and_then(|url| url.split_once("://"));
        let origin = origin.map_or("entitlements", |(_, host)| host).to_owned();
        connectors::handshake(self.clients(), connector, &credentials, &origin)
            .await
            .map_err(Error::Refused)?;
        let news = ConnectorNews::Verified;
        self.execute(call, Command::NoteConnector { key: key.into(), news }).await
    }

    /// Sends a test by a connector, to the members of a team where it writes to those.
    ///
    /// # Errors
    /// Where there is no such connector or team. That the test did not arrive is an answer.
    pub async fn test_connector(
        &self,
        call: &Call,
        key: &str,
        team: Option<&str>,
    ) -> Result<Tested, Error> {
        call.actor.may(crate::workflow::Permission::ManageConnectors)?;
        let known = self.open_book().await?;
        let connector = known.connector(key)?;
        let credentials = self.credentials(&known, key)?;
        let members: Vec<String> = match team {
            None => Vec::new(),
            Some(team) => {
                let found = known.book.teams.get(team);
                let none = || Error::NotFound(format!("there is no team `{team}`"));
                found.ok_or_else(none)?.members.iter().cloned().collect()
            }
        };
        let event = Event::ConnectorTest(Test { by: call.actor.name().into() });
        let (id, now) = (ids::delivery_id()?, self.now());
        let notice = notice(format!("connector/{key}"), now, &event)?;
        let kept = KeptNotice { notice, revision: self.revision(), place: 0 };
        let envelope = self.envelope(&kept);
        let words = |medium| {
            let events = [(EventType::ConnectorTest, envelope.clone())];
            crate::workflow::template::render_plainly(&events, medium).map_err(Error::Unavailable)
        };
        let message = words(connector.kind.medium())?;
        let plain = words(crate::workflow::connector::Medium::Text)?;
        let job = Job {
            delivery: &id,
            is_repeat: false,
            created_at: now,
            key,
            connector,
            credentials: &credentials,
            message: &message,
            plain: &plain,
            is_templated: false,
            events: std::slice::from_ref(&envelope),
            subject: &kept.notice.subject,
            phase: EventType::ConnectorTest.phase(),
            severity: EventType::ConnectorTest.severity(),
            members: &members,
            task: None,
            task_id: &id,
            tasks_url: None,
            now,
        };
        let begun = self.clock().mark();
        let Report { outcome, detail, .. } =
            connectors::attempt(self.clients(), &job, Stage::Pending).await;
        let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(Tested { outcome: word(outcome), detail, took_us })
    }

    /// Takes a message of Jira's that an issue changed: a hint to look whether it is done. It closes a
    /// follow-up, and nothing else.
    ///
    /// # Errors
    /// Where it is not signed with the connector's secret.
    pub async fn hear_jira(
        &self,
        key: &str,
        signature: &str,
        identifier: &str,
        body: &[u8],
    ) -> Result<(), Error> {
        let known = self.open_book().await?;
        // Whoever cannot sign is not told which connectors there are.
        let connector = known.book.connectors.get(key).ok_or(Error::Unauthenticated)?;
        let credentials = self.credentials(&known, key)?;
        let secret = credentials.get("webhook_secret").ok_or(Error::Unauthenticated)?;
        if !is_signed(secret, signature, body) {
            return Err(Error::Unauthenticated);
        }
        let name = format!("{key}/{}", blake3::hash(identifier.as_bytes()).to_hex());
        let wanted = name.clone();
        let seen = self.store().read(move |store| store.note(INBOUND, &wanted)).await?;
        if seen.is_some() {
            return Ok(());
        }
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| Error::InvalidInput(format!("the body is no JSON: {error}")))?;
        if let Some(issue) = connectors::reports_done(&body) {
            self.close_if_done(key, connector, &credentials, issue).await?;
        }
        // Last, so that what could not be looked into is taken when Jira says it again.
        if identifier.is_empty() {
            return Ok(());
        }
        let at = self.now();
        self.keep_notes(vec![Note::Seen { topic: INBOUND, key: name, at }]).await?;
        Ok(())
    }

    /// Closes the follow-up of an issue that is done.
    async fn close_if_done(
        &self,
        key: &str,
        connector: &Connector,
        credentials: &Credentials,
        issue: &str,
    ) -> Result<(), Error> {
        let (own, wanted) = (key.to_owned(), issue.to_owned());
        let task = self.store().read(move |store| store.task_of_external(&own, &wanted)).await?;
        let Some(mut task) = task.filter(|task| task.state == TaskState::Open) else {
            return Ok(());
        };
        let done = connectors::is_done(self.clients(), connector, credentials, issue).await;
        if done.map_err(Error::Unavailable)? {
            let now = self.now();
            (task.state, task.changed_at, task.closed_at) = (TaskState::Closed, now, Some(now));
            self.store().put_task(task).await?;
        }
        Ok(())
    }
}

/// Credentials stay where they were given for: elsewhere they have to be given again, or whoever may
/// write connectors could send them to a place of their own. A signing secret is not sent.
fn stays_where_it_was(before: Option<&Connector>, input: &ConnectorInput) -> Result<(), Error> {
    let moves = before.filter(|it| it.kind.place() != input.kind.place());
    let is_sent = |name: &String| {
        !matches!((&input.kind, name.as_str()), (ConnectorKind::Webhook(_), "secret"))
    };
    let has_sent = moves.is_some_and(|it| it.credentials.iter().any(is_sent));
    if has_sent && input.credentials.is_none() {
        let why = "`kind` leads to another place than the credentials were given for: give \
                   `credentials` again";
        return Err(Error::InvalidInput(why.into()));
    }
    Ok(())
}

/// A notice of an event, with an id of its own.
pub(super) fn notice(
    subject: impl Into<String>,
    at: Timestamp,
    event: &Event,
) -> Result<Notice, Error> {
    let not_json = |error: serde_json::Error| Error::Unavailable(error.to_string());
    Notice::new(ids::event_id()?, subject, at, event).map_err(not_json)
}

/// What came of an attempt, in a word.
pub(super) const fn word(outcome: Sent) -> &'static str {
    match outcome {
        Sent::Delivered => "delivered",
        Sent::Retry { .. } => "retry",
        Sent::Refused => "refused",
        Sent::Ambiguous => "ambiguous",
        Sent::Missing => "missing",
    }
}

const PAIR_MARK: &str = ".pair.";

/// The name of a secret that is drawn. What follows the dot is not part of the connector's key.
fn drawn_id(key: &str, asymmetric: bool) -> Result<String, Error> {
    let nonce = ids::key_id()?;
    Ok(if asymmetric { format!("{key}.{PAIR}.{nonce}") } else { format!("{key}.one.{nonce}") })
}

/// Whether a body is signed: `sha256=` and the HMAC of it in hex digits.
fn is_signed(secret: &str, signature: &str, body: &[u8]) -> bool {
    let Some(given) = signature.strip_prefix("sha256=").and_then(hex) else { return false };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(body);
    mac.verify_slice(&given).is_ok()
}

fn hex(text: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(text).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_signed_whole_is_signed() {
        // Made with `openssl dgst -sha256 -hmac hush`.
        let good = "sha256=1a2b";
        assert!(!is_signed("hush", good, b"{}"));
        let mut mac = Hmac::<Sha256>::new_from_slice(b"hush").unwrap();
        mac.update(b"{}");
        let bytes: [u8; 32] = mac.finalize().into_bytes().into();
        let good = format!("sha256={}", blake3::Hash::from_bytes(bytes).to_hex());
        assert!(is_signed("hush", &good, b"{}"));
        for (secret, signature, body) in [
            ("hush", good.as_str(), &b"{} "[..]),
            ("hus", good.as_str(), b"{}"),
            ("hush", &good[..good.len() - 2], b"{}"),
            ("hush", "sha256=", b"{}"),
            ("hush", "", b"{}"),
            ("hush", &good["sha256=".len()..], b"{}"),
        ] {
            assert!(!is_signed(secret, signature, body), "{secret} {signature}");
        }
    }
}
