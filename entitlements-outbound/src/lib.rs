//! The one HTTP client: over TLS, with limits on everything, without redirects and proxies.

pub mod guard;
pub mod webhook;

use std::{
    error::Error as StdError,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Request, Response, Uri,
    body::{Body, Incoming},
    header::{HeaderValue, USER_AGENT},
    http::uri::Scheme,
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::guard::{Forbidden, Guard, Resolver};

/// What a client waits for, takes and trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// How long connecting may take, with TLS.
    pub connect_time_max: Duration,
    /// How long one exchange may take in all.
    pub exchange_time_max: Duration,
    /// The longest body that an answer may have, in bytes.
    pub body_bytes_max: usize,
    /// A file of certificates (PEM) that are trusted beside those that this machine trusts.
    pub extra_ca: Option<PathBuf>,
    /// Whether it may speak without TLS to other machines than this one.
    pub allow_plain: bool,
    /// Which addresses it may reach; any where absent. It is for hosts that people name.
    pub guard: Option<Guard>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_time_max: Duration::from_secs(5),
            exchange_time_max: Duration::from_secs(15),
            body_bytes_max: 1_024 * 1_024,
            extra_ca: None,
            allow_plain: false,
            guard: None,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The certificates to trust cannot be read.
    #[error("the certificates in `{}` cannot be read: {why}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// This machine trusts nobody.
    #[error(
        "`{0}` cannot be trusted, as this machine has no certificates of authorities: install \
         them, or name a file with the certificate to trust"
    )]
    NoRoots(String),
    /// It is no address to send to.
    #[error("`{0}` is not an address: use one that begins with `https://` and a host")]
    Address(String),
    /// It would go over the network for all to read.
    #[error("`{0}` is not protected: use `https://` for other machines")]
    Plain(String),
    /// It leads to an address that must not be reached. Nothing was sent.
    #[error(
        "`{server}` leads to {address}, which is not on the open internet: where that is meant, \
         allow its network with `--allow-network`"
    )]
    Forbidden {
        /// Who was named.
        server: String,
        /// Where that leads.
        address: IpAddr,
    },
    /// Nobody answers there. Nothing was sent.
    #[error("cannot reach `{server}`: {why}")]
    Unreachable {
        /// Who should.
        server: String,
        /// What came instead.
        why: String,
    },
    /// The request was sent, and the answer did not come: it may have been done.
    #[error("`{server}` broke off: {why}")]
    BrokeOff {
        /// Who.
        server: String,
        /// What came instead.
        why: String,
    },
    /// It takes too long. It may have been done.
    #[error("`{server}` did not answer within {} s", time_max.as_secs_f32())]
    Silent {
        /// Who should.
        server: String,
        /// How long was waited.
        time_max: Duration,
    },
    /// The answer is too long.
    #[error("the answer of `{server}` is longer than {bytes_max} bytes")]
    TooLarge {
        /// Whose.
        server: String,
        /// How long it may be.
        bytes_max: usize,
    },
}

impl ClientError {
    /// Whether the request may have been done all the same.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::BrokeOff { .. } | Self::Silent { .. } | Self::TooLarge { .. })
    }
}

/// Sends requests, each within its limits. Copies share their connections.
#[derive(Debug, Clone)]
pub struct HttpClient {
    inner: Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
    config: Arc<ClientConfig>,
    has_roots: bool,
}

impl HttpClient {
    /// A client that trusts whom this machine trusts, and the extra certificates.
    ///
    /// # Errors
    /// Where the extra certificates cannot be read.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let roots = roots(config.extra_ca.as_deref())?;
        let has_roots = !roots.is_empty();
        let guard = config.guard.clone().map(Arc::new);
        let mut tcp = HttpConnector::new_with_resolver(Resolver(guard));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.connect_time_max));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(roots)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let inner = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_MAX)
            .build(connector);
        Ok(Self { inner, config: Arc::new(config), has_roots })
    }

    /// Sends a request and reads its whole answer, whatever its status. A redirect is an answer.
    ///
    /// # Errors
    /// Where there is no whole answer within the limits.
    pub async fn send<B: Into<Bytes>>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Bytes>, ClientError> {
        let server = self.server(request.uri())?;
        let mut request = request.map(|body| Full::new(body.into()));
        request.headers_mut().entry(USER_AGENT).or_insert(AGENT);
        let time_max = self.config.exchange_time_max;
        tokio::time::timeout(time_max, self.exchange(&server, request))
            .await
            .map_err(|_| ClientError::Silent { server, time_max })?
    }

    /// Sends a request and gives its answer back as soon as it begins. How long and how much to read
    /// of it is up to the caller; the limits on exchanges and bodies do not hold for it.
    ///
    /// # Errors
    /// Where nothing begins to be answered.
    pub async fn open<B: Into<Bytes>>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Incoming>, ClientError> {
        let server = self.server(request.uri())?;
        let mut request = request.map(|body| Full::new(body.into()));
        request.headers_mut().entry(USER_AGENT).or_insert(AGENT);
        self.inner.request(request).await.map_err(|error| failed(&server, &error))
    }

    async fn exchange(
        &self,
        server: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, ClientError> {
        let sent = self.inner.request(request).await;
        let (head, body) = sent.map_err(|error| failed(server, &error))?.into_parts();
        let bytes_max = self.config.body_bytes_max;
        let too_large = || ClientError::TooLarge { server: server.into(), bytes_max };
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(too_large());
        }
        let body = Limited::new(body, bytes_max).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { too_large() } else { broke_off(server, &*error) }
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    /// What an address is called in a sentence, where something may be sent there.
    fn server(&self, uri: &Uri) -> Result<String, ClientError> {
        // Neither the query, which may hold what is secret, nor a user and password.
        let bad = || ClientError::Address(uri.path().into());
        let (scheme, host) = uri.scheme().zip(uri.host()).ok_or_else(bad)?;
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        let server = format!("{scheme}://{host}{port}");
        if let (Some(guard), Ok(address)) = (&self.config.guard, bare(host).parse::<IpAddr>())
            && !guard.permits(address)
        {
            return Err(ClientError::Forbidden { server, address });
        }
        if *scheme == Scheme::HTTPS {
            if self.has_roots { Ok(server) } else { Err(ClientError::NoRoots(server)) }
        } else if *scheme != Scheme::HTTP {
            Err(ClientError::Address(server))
        } else if self.config.allow_plain || is_loopback(host) {
            Ok(server)
        } else {
            Err(ClientError::Plain(server))
        }
    }
}

/// Whether a host is this machine, whoever is asked for its address.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let bare = bare(host);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A host without the brackets of IPv6.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// How TLS is spoken to others, trusting those roots.
///
/// # Errors
/// Where the versions of TLS cannot be spoken.
pub fn tls(roots: RootCertStore) -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// Whom this machine trusts, and whose certificates are in a file.
///
/// # Errors
/// Where the file cannot be read or has no certificate in it.
pub fn roots(extra_ca: Option<&Path>) -> Result<RootCertStore, ClientError> {
    let native = rustls_native_certs::load_native_certs();
    for error in native.errors {
        tracing::warn!(%error, "some certificates of this machine cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(native.certs);
    let Some(path) = extra_ca else { return Ok(roots) };
    let failed = |why: &dyn std::fmt::Display| ClientError::Certificates {
        path: path.into(),
        why: why.to_string(),
    };
    let mut count = 0_usize;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
        count += 1;
    }
    if count == 0 { Err(failed(&"there is none in it")) } else { Ok(roots) }
}

/// Why a request failed, by how far it came.
fn failed(server: &str, error: &hyper_util::client::legacy::Error) -> ClientError {
    if let Some(Forbidden { address }) = causes(error).find_map(|cause| cause.downcast_ref()) {
        return ClientError::Forbidden { server: server.into(), address: *address };
    }
    if error.is_connect() {
        return ClientError::Unreachable { server: server.into(), why: innermost(error) };
    }
    broke_off(server, error)
}

fn broke_off(server: &str, error: &(dyn StdError + 'static)) -> ClientError {
    ClientError::BrokeOff { server: server.into(), why: innermost(error) }
}

/// An error and what is behind it.
fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The innermost reason says most.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("entitlements/", env!("CARGO_PKG_VERSION")));

#[cfg(test)]
mod tests {
    use super::*;

    fn client(allow_plain: bool) -> HttpClient {
        HttpClient::new(ClientConfig { allow_plain, ..ClientConfig::default() }).unwrap()
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        for (uri, plain, allowed) in [
            ("http://127.0.0.1:80/x?code=hush", "http://127.0.0.1:80", true),
            ("http://[::1]/x", "http://[::1]", true),
            ("http://LOCALHOST/", "http://localhost", true),
            ("http://127.0.0.1.example.com/", "http://127.0.0.1.example.com", false),
            ("http://localhost.example.com/", "http://localhost.example.com", false),
            ("http://10.0.0.1/", "http://10.0.0.1", false),
            ("http://user:hush@10.0.0.1/", "http://10.0.0.1", false),
        ] {
            let uri: Uri = uri.parse().unwrap();
            match client(false).server(&uri) {
                Ok(server) => assert!(allowed && server.eq_ignore_ascii_case(plain), "{server}"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!allowed && text.contains(plain) && !text.contains("hush"), "{text}");
                }
            }
            assert!(client(true).server(&uri).is_ok());
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for uri in ["/path", "example.com", "ftp://example.com/", "*"] {
            let error = client(true).server(&uri.parse().unwrap()).unwrap_err();
            assert!(matches!(error, ClientError::Address(_)), "{uri}: {error}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let error = roots(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("ca.pem"), "{error}");
        std::fs::write(&path, "nothing").unwrap();
        let error = roots(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("there is none in it"), "{error}");
    }
}
