//! Flags in an Unleash server: one transactional import, read back before it counts.

use std::{fmt, path::PathBuf, time::Duration};

use bytes::Bytes;
use entitlements_outbound::{ClientConfig, HttpClient};
use hyper::{
    Method, Request, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde_json::{Value, json};

use super::{Doing, Done, Job, Seen, Sink, SinkError, flagd_file::left_out_text};
use crate::flags::unleash::{CONTEXT, Import};

/// How often the server is asked whether it shows what it took. It looks once a second itself.
const SHOWN_EVERY: Duration = Duration::from_millis(250);
const SHOWN_TRIES: u32 = 40;

/// Where it is, and what opens it.
#[derive(Clone)]
pub(crate) struct UnleashConfig {
    pub(super) url: Uri,
    /// A personal access token: an import takes one.
    pub(super) token: HeaderValue,
    /// A backend token, by which is read what clients get.
    pub(super) client_token: HeaderValue,
    pub(super) project: String,
    pub(super) environment: String,
    /// What stands before a feature's key in a flag's name.
    pub(super) prefix: String,
    pub(super) extra_ca: Option<PathBuf>,
}

impl fmt::Debug for UnleashConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnleashConfig({}, {})", self.url, self.project)
    }
}

/// Reads a token so that it is not shown.
pub(super) fn secret_header(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::try_from(text).map_err(|_| "a token holds odd characters")?;
    value.set_sensitive(true);
    Ok(value)
}

/// Flags in Unleash.
#[derive(Debug)]
pub(crate) struct Unleash {
    config: UnleashConfig,
    client: Option<HttpClient>,
    has_context: bool,
    import: Import,
}

impl Unleash {
    pub(crate) fn new(config: UnleashConfig) -> Self {
        Self { config, client: None, has_context: false, import: Import::default() }
    }

    fn client(&mut self) -> Result<HttpClient, SinkError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let config = ClientConfig {
            extra_ca: self.config.extra_ca.clone(),
            body_bytes_max: 64 * 1_024 * 1_024,
            ..ClientConfig::default()
        };
        let client =
            HttpClient::new(config).map_err(|error| SinkError::Refused(error.to_string()))?;
        Ok(self.client.insert(client).clone())
    }

    async fn carry(&mut self, job: &Job) -> Result<Done, SinkError> {
        let Some(kept) = &job.flags else {
            return Err(SinkError::retry("its flags are being worked out"));
        };
        let client = self.client()?;
        let import = Import::of(&kept.gated, &self.config.prefix);
        let detail = (!import.left_out.is_empty()).then(|| left_out_text(&import.left_out));
        let shown = self.shown(&client).await?;
        let changed = match import.difference(&shown) {
            None => 0,
            Some(_) => {
                self.context(&client).await?;
                let body = import.body(&self.config.project, &self.config.environment);
                self.ask(&client, Method::POST, "/api/admin/features-batch/import", &body).await?;
                self.until_shown(&client, &import).await?;
                import.flags.len() as u64
            }
        };
        self.import = import;
        Ok(Done { changed, detail })
    }

    /// Fields that constraints name must be there before.
    async fn context(&mut self, client: &HttpClient) -> Result<(), SinkError> {
        if self.has_context {
            return Ok(());
        }
        let found = self.ask(client, Method::GET, "/api/admin/context", &Value::Null).await?;
        let is_there = |name: &str| {
            found.as_array().is_some_and(|all| all.iter().any(|field| field["name"] == name))
        };
        for name in CONTEXT.into_iter().filter(|name| !is_there(name)) {
            let field = json!({ "name": name, "description": "passed by applications", "legalValues": [], "stickiness": false });
            self.ask(client, Method::POST, "/api/admin/context", &field).await?;
        }
        self.has_context = true;
        Ok(())
    }

    /// What clients get of the whole environment, in one answer.
    async fn shown(&self, client: &HttpClient) -> Result<Value, SinkError> {
        let token = &self.config.client_token;
        self.exchange(client, Method::GET, "/api/client/features", &Value::Null, token).await
    }

    async fn until_shown(&self, client: &HttpClient, import: &Import) -> Result<(), SinkError> {
        let mut difference = None;
        for _ in 0..SHOWN_TRIES {
            difference = import.difference(&self.shown(client).await?);
            if difference.is_none() {
                return Ok(());
            }
            tokio::time::sleep(SHOWN_EVERY).await;
        }
        let what = difference.unwrap_or_default();
        Err(SinkError::retry(format!("Unleash took the import and shows something else: {what}")))
    }

    async fn ask(
        &self,
        client: &HttpClient,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, SinkError> {
        self.exchange(client, method, path, body, &self.config.token).await
    }

    async fn exchange(
        &self,
        client: &HttpClient,
        method: Method,
        path: &str,
        body: &Value,
        token: &HeaderValue,
    ) -> Result<Value, SinkError> {
        let base = self.config.url.to_string();
        let bytes = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", base.trim_end_matches('/')))
            .header(AUTHORIZATION, token)
            .header(CONTENT_TYPE, "application/json")
            .body(bytes)
            .map_err(SinkError::retry)?;
        let answer = client.send(request).await.map_err(SinkError::retry)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(serde_json::from_slice(answer.body()).unwrap_or(Value::Null));
        }
        let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        Err(refusal(path, status, answer.body(), after))
    }

    async fn look(&mut self) -> Result<Seen, SinkError> {
        let client = self.client()?;
        let shown = self.shown(&client).await?;
        Ok(match self.import.difference(&shown) {
            None => Seen::InStep,
            Some(what) => Seen::Drifted(what),
        })
    }
}

/// What a status means, and whether it is worth another try.
fn refusal(path: &str, status: StatusCode, body: &[u8], after: Option<Duration>) -> SinkError {
    let said: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let details = said["details"][0]["message"].as_str().or(said["message"].as_str());
    let said = details.unwrap_or("no reason");
    let why = format!("Unleash answered {status} to `{path}`: {said}");
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            SinkError::Refused(format!("{why}; look at its tokens"))
        }
        StatusCode::BAD_REQUEST if path.ends_with("import") => SinkError::Refused(format!(
            "{why}; an import takes a personal access token of somebody who may change the project"
        )),
        status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
            SinkError::Refused(why)
        }
        _ => SinkError::Retry { why, after, progressed: false },
    }
}

impl Sink for Unleash {
    fn push<'a>(&'a mut self, job: &'a Job) -> Doing<'a, Done> {
        Box::pin(self.carry(job))
    }

    fn check<'a>(&'a mut self, _: &'a Job) -> Doing<'a, Seen> {
        Box::pin(self.look())
    }
}
