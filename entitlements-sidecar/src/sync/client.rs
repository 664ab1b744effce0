//! The HTTP side of keeping in step.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use entitlements_core::signed::ENVELOPE_BYTES_MAX;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Body, Incoming},
    header::{AUTHORIZATION, HeaderValue, USER_AGENT},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use super::{gate::Refusal, machine::Ask};

/// Where the snapshots come from.
#[derive(Debug)]
pub(crate) struct Upstream {
    client: Client<HttpConnector, Empty<Bytes>>,
    admin: Uri,
    key: HeaderValue,
}

/// What the admin sent. Nothing in it is believed yet.
#[derive(Debug)]
pub(crate) enum Fetched {
    Keys(Bytes),
    Snapshot(Bytes),
    Heartbeat(Bytes),
}

/// Why the admin sent nothing that could be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("cannot reach the admin at `{admin}`: {why}")]
    Unreachable { admin: Uri, why: String },
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
            Self::Unreachable { .. } => "unreachable",
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
    /// `key` must be fit for a header.
    pub(crate) fn new(admin: Uri, key: &str) -> Option<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIME_MAX));
        let client =
            Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let mut key = HeaderValue::try_from(format!("Bearer {key}")).ok()?;
        key.set_sensitive(true);
        Some(Self { client, admin, key })
    }

    /// Asks one question.
    pub(crate) async fn fetch(&self, ask: Ask) -> Result<Fetched, FetchError> {
        match ask {
            Ask::Keys => {
                let response = self.get("/sync/v1/keys", HEAD_TIME_MAX).await?;
                self.read(response, KEYS_BYTES_MAX).await.map(Fetched::Keys)
            }
            Ask::Changes { basis, wait_s } => {
                let basis = basis.map_or(String::new(), |basis| format!("basis={basis}&"));
                let path = format!("/sync/v1/changes?{basis}wait={wait_s}");
                let held = Duration::from_secs(wait_s.into());
                let response = self.get(&path, held + HEAD_TIME_MAX).await?;
                match intent(&response)? {
                    Intent::Full => {
                        self.read(response, ENVELOPE_BYTES_MAX).await.map(Fetched::Snapshot)
                    }
                    Intent::None => {
                        self.read(response, HEARTBEAT_BYTES_MAX).await.map(Fetched::Heartbeat)
                    }
                }
            }
        }
    }

    async fn get(&self, path: &str, patience: Duration) -> Result<Response<Incoming>, FetchError> {
        let base = self.admin.to_string();
        let request = Request::get(format!("{}{path}", base.trim_end_matches('/')))
            .header(AUTHORIZATION, self.key.clone())
            .header(USER_AGENT, concat!("entitlements-sidecar/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| FetchError::Malformed(error.to_string()))?;
        let response = tokio::time::timeout(patience, self.client.request(request))
            .await
            .map_err(|_| FetchError::Silent(self.admin.clone()))?
            .map_err(|error| self.unreachable(&error))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(FetchError::Key),
            other => Err(FetchError::Status(other)),
        }
    }

    /// Reads no more than it may and waits no longer than it must.
    async fn read(&self, response: Response<Incoming>, most: usize) -> Result<Bytes, FetchError> {
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
            let Some(frame) = frame else { return Ok(bytes.freeze()) };
            let frame = frame.map_err(|error| self.unreachable(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > most {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> FetchError {
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        FetchError::Unreachable { admin: self.admin.clone(), why: innermost.to_string() }
    }
}

enum Intent {
    Full,
    None,
}

fn intent(response: &Response<Incoming>) -> Result<Intent, FetchError> {
    match response.headers().get("entitlements-intent").map(HeaderValue::as_bytes) {
        Some(b"full") => Ok(Intent::Full),
        Some(b"none") => Ok(Intent::None),
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            Err(FetchError::Malformed(format!("it has the intent `{other}`")))
        }
        None => Err(FetchError::Malformed("it has no header `Entitlements-Intent`".into())),
    }
}

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
const FRAME_TIME_MAX: Duration = Duration::from_secs(10);
const KEYS_BYTES_MAX: usize = 64 * 1_024;
const HEARTBEAT_BYTES_MAX: usize = 4 * 1_024;
