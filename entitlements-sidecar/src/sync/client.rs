//! The HTTP side of keeping in step.

use std::{io::Read, path::PathBuf, time::Duration};

use bytes::{Bytes, BytesMut};
use entitlements_core::document::{StatusReply, StatusReport};
use entitlements_outbound::{ClientConfig, HttpClient};
use flate2::read::GzDecoder;
use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::{Body, Incoming},
    header::{
        ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, USER_AGENT,
    },
};

use super::{gate::Refusal, machine::Ask};
use crate::config::ConfigError;

/// Where the snapshots come from.
#[derive(Debug)]
pub(crate) struct Upstream {
    client: HttpClient,
    admin: Uri,
    key: HeaderValue,
    /// The largest answer that is taken, packed or not, in bytes.
    bytes_max: usize,
}

/// What the admin sent. Nothing in it is believed yet.
#[derive(Debug)]
pub(crate) enum Fetched {
    Keys(Bytes),
    /// Envelopes, each of which says what it is.
    Bundle(Bytes),
}

/// Why the admin sent nothing that could be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the admin: {0}")]
    Unreachable(String),
    #[error("the admin at `{0}` is silent")]
    Silent(Uri),
    #[error("the admin refuses this sidecar's key: give it one with the scope `sync`")]
    Key,
    #[error("the admin answers {0} where a snapshot was asked for")]
    Status(StatusCode),
    #[error("the admin's answer is not understood: {0}")]
    Malformed(String),
    #[error(transparent)]
    Refused(Refusal),
}

impl FetchError {
    /// The stable word for it in metrics.
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Silent(_) => "silent",
            Self::Key => "key",
            Self::Status(_) => "status",
            Self::Malformed(_) | Self::Refused(_) => "malformed",
        }
    }

    /// Every word there is.
    pub(crate) const CAUSES: [&'static str; 5] =
        ["unreachable", "silent", "key", "status", "malformed"];
}

impl Upstream {
    /// Speaks http or https to the admin. Without TLS the key can be read on its way; what comes
    /// back is signed all the same.
    pub(crate) fn new(
        admin: Uri,
        key: &str,
        extra_ca: Option<PathBuf>,
        bytes_max: usize,
    ) -> Result<Self, ConfigError> {
        let config = ClientConfig { extra_ca, allow_plain: true, ..ClientConfig::default() };
        let client =
            HttpClient::new(config).map_err(|error| ConfigError::new(error.to_string()))?;
        let mut key =
            HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| ConfigError::key())?;
        key.set_sensitive(true);
        Ok(Self { client, admin, key, bytes_max })
    }

    /// Asks one question.
    pub(crate) async fn fetch(&self, ask: &Ask) -> Result<Fetched, FetchError> {
        match ask {
            Ask::Keys => {
                let response = self.get("/sync/v1/keys", HEAD_TIME_MAX).await?;
                self.read(response, KEYS_BYTES_MAX).await.map(Fetched::Keys)
            }
            Ask::Changes { basis, candidate, wait_s } => {
                let mut path = format!("/sync/v1/changes?wait={wait_s}");
                for (name, value) in [
                    ("basis", basis.map(|basis| basis.to_string())),
                    ("candidate", candidate.clone()),
                ] {
                    value.into_iter().for_each(|value| path += &format!("&{name}={value}"));
                }
                let held = Duration::from_secs((*wait_s).into());
                let response = self.get(&path, held + HEAD_TIME_MAX).await?;
                self.read(response, self.bytes_max).await.map(Fetched::Bundle)
            }
        }
    }

    /// Tells how this sidecar is.
    pub(crate) async fn report(&self, report: &StatusReport) -> Result<StatusReply, FetchError> {
        let malformed = |error: serde_json::Error| FetchError::Malformed(error.to_string());
        let body = Bytes::from(serde_json::to_vec(report).map_err(malformed)?);
        let answer = self.tell(body).await?;
        serde_json::from_slice(&answer).map_err(malformed)
    }

    /// Hands on how a sidecar is, as it told it.
    pub(crate) async fn tell(&self, report: Bytes) -> Result<Bytes, FetchError> {
        let request = self.request(Method::POST, "/sync/v1/status");
        let request = request.header(CONTENT_TYPE, "application/json");
        let response = self.send(request, report, HEAD_TIME_MAX).await?;
        self.read(response, KEYS_BYTES_MAX).await
    }

    async fn get(&self, path: &str, patience: Duration) -> Result<Response<Incoming>, FetchError> {
        let request = self.request(Method::GET, path).header(ACCEPT_ENCODING, "gzip");
        self.send(request, Bytes::new(), patience).await
    }

    fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        let base = self.admin.to_string();
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", base.trim_end_matches('/')))
            .header(AUTHORIZATION, self.key.clone())
            .header(USER_AGENT, concat!("entitlements-sidecar/", env!("CARGO_PKG_VERSION")))
    }

    async fn send(
        &self,
        request: hyper::http::request::Builder,
        body: Bytes,
        patience: Duration,
    ) -> Result<Response<Incoming>, FetchError> {
        let request =
            request.body(body).map_err(|error| FetchError::Malformed(error.to_string()))?;
        let response = tokio::time::timeout(patience, self.client.open(request))
            .await
            .map_err(|_| FetchError::Silent(self.admin.clone()))?
            .map_err(|error| FetchError::Unreachable(error.to_string()))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(FetchError::Key),
            other => Err(FetchError::Status(other)),
        }
    }

    /// Reads no more than it may and waits no longer than it must.
    async fn read(&self, response: Response<Incoming>, most: usize) -> Result<Bytes, FetchError> {
        let is_packed = response.headers().get(CONTENT_ENCODING).is_some_and(|it| it == "gzip");
        let mut body = response.into_body();
        let too_large = || FetchError::Refused(Refusal::TooLarge(most));
        if body.size_hint().lower() > most as u64 {
            return Err(too_large());
        }
        let mut bytes = BytesMut::new();
        loop {
            let frame = tokio::time::timeout(FRAME_TIME_MAX, body.frame())
                .await
                .map_err(|_| FetchError::Silent(self.admin.clone()))?;
            let Some(frame) = frame else {
                let bytes = bytes.freeze();
                return if is_packed { unpacked(&bytes, most) } else { Ok(bytes) };
            };
            let frame = frame.map_err(|error| FetchError::Unreachable(error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > most {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
    }
}

/// Takes gzip apart, and no more comes of it than may: a few bytes can hold very many.
fn unpacked(bytes: &[u8], most: usize) -> Result<Bytes, FetchError> {
    let mut out = Vec::new();
    let read = GzDecoder::new(bytes).take(most as u64 + 1).read_to_end(&mut out);
    read.map_err(|error| FetchError::Malformed(format!("it cannot be unpacked: {error}")))?;
    if out.len() > most {
        return Err(FetchError::Refused(Refusal::TooLarge(most)));
    }
    Ok(out.into())
}

const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
const FRAME_TIME_MAX: Duration = Duration::from_secs(10);
const KEYS_BYTES_MAX: usize = 64 * 1_024;
