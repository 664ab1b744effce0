//! What changed for each tenant, told to a webhook: signed by Standard Webhooks, as `CloudEvents`.
//!
//! One event per tenant, with only what changed for it. Events about one tenant follow one another:
//! the next is sent after the one before was taken. An event's id is made from what it is about, so
//! that a receiver knows one that comes again. A webhook cannot be read back, and remembers nothing
//! for us: after a start the first event says that any tenant may have changed.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use entitlements_core::Timestamp;
use entitlements_outbound::{
    ClientConfig, HttpClient,
    webhook::{Secret, retry_after},
};
use futures_util::{StreamExt, stream};
use hyper::{
    Request, StatusCode, Uri,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::Value;

use super::{Doing, Done, Job, Seen, Sink, SinkError, World};
use crate::{State, answer::Answer, clock::Clock, json::Json};

/// How many events are on their way at one time.
const UNDER_WAY: usize = 16;

/// Where to send, and with which secret.
#[derive(Clone)]
pub(crate) struct WebhookConfig {
    url: Uri,
    secret: Secret,
    extra_ca: Option<PathBuf>,
}

impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The path may hold a token.
        write!(f, "WebhookConfig({:?})", self.url.host())
    }
}

impl WebhookConfig {
    /// `secret` is `whsec_` and base64, as Standard Webhooks writes it.
    pub(super) fn new(url: &str, secret: &str, extra_ca: Option<PathBuf>) -> Result<Self, String> {
        let parsed: Option<Uri> = url.parse().ok();
        let url = parsed.filter(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
        });
        let url = url.ok_or("its `url` is no address: write one that begins with `https://`")?;
        let secret = Secret::parse(secret).map_err(|why| format!("its secret: {why}"))?;
        Ok(Self { url, secret, extra_ca })
    }
}

/// Tells a webhook.
#[derive(Debug)]
pub(crate) struct Webhook {
    config: WebhookConfig,
    environment: String,
    client: Option<HttpClient>,
    /// The world that every tenant was told of.
    base: Option<World>,
    /// Tenants that were told of a later one.
    ahead: HashMap<String, World>,
    /// Whether the receiver wants nothing more.
    is_off: bool,
}

/// What became of one event.
enum Told {
    Taken,
    Off,
    Failed(String, Option<Duration>),
}

impl Webhook {
    pub(crate) fn new(config: WebhookConfig, environment: &str) -> Self {
        Self {
            config,
            environment: environment.into(),
            client: None,
            base: None,
            ahead: HashMap::new(),
            is_off: false,
        }
    }

    fn client(&mut self) -> Result<HttpClient, SinkError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let extra_ca = self.config.extra_ca.clone();
        let config =
            ClientConfig { extra_ca, body_bytes_max: 64 * 1_024, ..ClientConfig::default() };
        let client =
            HttpClient::new(config).map_err(|error| SinkError::Refused(error.to_string()))?;
        Ok(self.client.insert(client).clone())
    }

    async fn tell_all(&mut self, job: &Job) -> Result<Done, SinkError> {
        if self.is_off {
            return Err(SinkError::Refused(OFF.into()));
        }
        let client = self.client()?;
        let Some(base) = self.base.clone() else {
            let body = self.event(&job.world, None, "world.changed", &Value::Null);
            self.tell(&client, body).await?;
            self.base = Some(job.world.clone());
            return Ok(Done { changed: 1, detail: None });
        };
        let events = self.events(&base, &job.world);
        let count = events.len() as u64;
        let sends = events.into_iter().map(|(tenant, event)| {
            let (config, client) = (self.config.clone(), client.clone());
            async move { (tenant, send(&config, &client, event).await) }
        });
        let sends: Vec<_> = sends.collect();
        let mut told = stream::iter(sends).buffer_unordered(UNDER_WAY);
        let (mut trouble, mut progressed) = (None, false);
        while let Some((tenant, told)) = told.next().await {
            match told {
                Told::Taken => {
                    self.ahead.insert(tenant, job.world.clone());
                    progressed = true;
                }
                Told::Off => {
                    self.is_off = true;
                    return Err(SinkError::Refused(OFF.into()));
                }
                Told::Failed(why, after) => {
                    // Whoever asks for the most time gets it.
                    let so_far = trouble.and_then(|(_, after)| after);
                    trouble = Some((why, after.max(so_far)));
                }
            }
        }
        drop(told);
        if let Some((why, after)) = trouble {
            return Err(SinkError::Retry { why, after, progressed });
        }
        (self.base, self.ahead) = (Some(job.world.clone()), HashMap::new());
        Ok(Done { changed: count, detail: None })
    }

    async fn tell(&mut self, client: &HttpClient, event: Event) -> Result<(), SinkError> {
        match send(&self.config, client, event).await {
            Told::Taken => Ok(()),
            Told::Off => {
                self.is_off = true;
                Err(SinkError::Refused(OFF.into()))
            }
            Told::Failed(why, after) => Err(SinkError::Retry { why, after, progressed: false }),
        }
    }

    /// What each tenant is to be told: from what it was told last to what is now.
    fn events(&self, base: &World, world: &World) -> Vec<(String, Event)> {
        let touched = world.snapshot.touched_since(&base.snapshot, base.at, world.at);
        let ahead = self.ahead.keys().map(String::as_str);
        let mut tenants: Vec<&str> = touched.into_iter().chain(ahead).collect();
        tenants.sort_unstable();
        tenants.dedup();
        let event = |tenant: &str| {
            let from = self.ahead.get(tenant).unwrap_or(base);
            let changes = changes(from, world, tenant);
            let data = serde_json::json!({ "changes": changes });
            let event = self.event(world, Some(tenant), "tenant.changed", &data);
            (!changes.is_empty()).then(|| (tenant.to_owned(), event))
        };
        tenants.into_iter().filter_map(event).collect()
    }

    fn event(&self, world: &World, tenant: Option<&str>, kind: &str, data: &Value) -> Event {
        let (epoch, revision, at) = (world.epoch, world.snapshot.revision(), world.at);
        let about = format!(
            "{}/{epoch}/{revision}/{}/{}",
            self.environment,
            at.as_micros(),
            tenant.unwrap_or("")
        );
        let id = format!("evt_{}", &blake3::hash(about.as_bytes()).to_hex()[..32]);
        let mut body = serde_json::json!({
            "specversion": "1.0",
            "id": id,
            "source": format!("/entitlements/{}", self.environment),
            "type": format!("entitlements.{kind}"),
            "time": at.to_string(),
            "datacontenttype": "application/json",
            "data": { "epoch": epoch, "revision": revision },
        });
        if let (Some(tenant), Some(object)) = (tenant, body.as_object_mut()) {
            object.insert("subject".into(), tenant.into());
        }
        if let (Some(data), Some(more)) = (body["data"].as_object_mut(), data.as_object()) {
            data.extend(more.clone());
        }
        Event { id, body: body.to_string().into() }
    }
}

const OFF: &str = "the receiver answered 410: it wants nothing more; take it out of the file, or \
                   restart to try again";

impl Sink for Webhook {
    fn push<'a>(&'a mut self, job: &'a Job) -> Doing<'a, Done> {
        Box::pin(self.tell_all(job))
    }

    fn check<'a>(&'a mut self, _: &'a Job) -> Doing<'a, Seen> {
        Box::pin(async { Ok(Seen::Unknown) })
    }
}

/// An event, ready to be signed.
#[derive(Debug, Clone)]
struct Event {
    id: String,
    body: Bytes,
}

async fn send(config: &WebhookConfig, client: &HttpClient, event: Event) -> Told {
    let timestamp = Clock::wall().as_micros().div_euclid(1_000_000);
    let request = Request::post(config.url.clone())
        .header(CONTENT_TYPE, "application/cloudevents+json")
        .header("webhook-id", &event.id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", config.secret.sign(&event.id, timestamp, &event.body))
        .body(event.body);
    let answer = match request {
        Ok(request) => client.send(request).await,
        Err(error) => return Told::Failed(error.to_string(), None),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Told::Failed(error.to_string(), None),
    };
    match answer.status() {
        status if status.is_success() => Told::Taken,
        StatusCode::GONE => Told::Off,
        status => {
            let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let after = after.and_then(|text| retry_after(text, timestamp));
            Told::Failed(format!("the receiver answered {status}"), after)
        }
    }
}

/// What is different for a tenant, by feature.
fn changes(from: &World, to: &World, tenant: &str) -> Vec<Value> {
    let (before, after) = (answers(from, tenant), answers(to, tenant));
    let mut features: Vec<&String> = before.keys().chain(after.keys()).collect();
    features.sort_unstable();
    features.dedup();
    let change = |feature: &String| {
        let (before, after) = (before.get(feature), after.get(feature));
        (before != after)
            .then(|| serde_json::json!({ "feature": feature, "before": before, "after": after }))
    };
    features.into_iter().filter_map(change).collect()
}

/// A tenant's answers; none where there is no such tenant.
fn answers(world: &World, tenant: &str) -> BTreeMap<String, Value> {
    let Some(view) = world.snapshot.tenant(tenant) else { return BTreeMap::new() };
    let answer = |(feature, decision): (&entitlements_core::FeatureKey, _)| {
        let catalog = world.snapshot.catalog();
        let answer = Answer::new(&decision, catalog, feature.as_str(), State::Fresh);
        // When it changes next is no part of what it is.
        let answer = Answer { valid_until: None::<Timestamp>, ..answer };
        let mut json = Json::with_capacity(256);
        answer.write_members(json.raw("{"), false);
        json.raw("}");
        let value = serde_json::from_slice(json.as_bytes()).unwrap_or(Value::Null);
        (feature.to_string(), value)
    };
    view.decisions(world.at).map(answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_and_secrets_are_not() {
        let good = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert!(WebhookConfig::new("https://hooks.example/x", good, None).is_ok());
        for (url, secret, said) in [
            ("nowhere", good, "`url`"),
            ("ftp://x/", good, "`url`"),
            ("https://hooks.example/", "whsec_aHVzaA==", "24 to 64 bytes"),
            ("https://hooks.example/", "hush hush", "base64"),
        ] {
            let error = WebhookConfig::new(url, secret, None).unwrap_err();
            assert!(error.contains(said) && !error.contains("hush"), "{error}");
        }
        let shown = format!("{:?}", WebhookConfig::new("https://h.example/hush", good, None));
        assert!(!shown.contains("hush") && !shown.contains("MfKQ"), "{shown}");
    }
}
