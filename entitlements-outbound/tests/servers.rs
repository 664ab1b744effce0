//! The HTTP client against servers that keep to no rule.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use entitlements_outbound::{ClientConfig, ClientError, HttpClient};
use hyper::{Request, Response, body::Bytes};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

#[tokio::test]
async fn an_answer_is_given_back_whatever_it_says() {
    let server =
        Server::saying("HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 2\r\n\r\nno")
            .await;
    let answer = server.get(&client(|_| ())).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (302, &b"no"[..]));
    assert_eq!(answer.headers()["location"], "/elsewhere");
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_refused_said_or_not() {
    let few = client(|config| config.body_bytes_max = 10);
    for (answer, fits) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n0123456789a", false),
        // Said, and never sent: refused at once and not for its silence.
        ("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", false),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n0123456789a", false),
    ] {
        let answered = Server::saying(answer).await.get(&few).await;
        match answered {
            Ok(answer) => assert!(fits && answer.body().len() == 10, "{answer:?}"),
            Err(error) => {
                assert!(!fits && matches!(error, ClientError::TooLarge { .. }), "{error}")
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_is_silent_or_stops_in_the_middle_is_not_waited_for() {
    let hasty = client(|config| config.exchange_time_max = Duration::from_millis(200));
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234"] {
        let server = Server::saying(answer).await;
        let error = server.get(&hasty).await.unwrap_err();
        assert!(matches!(error, ClientError::Silent { .. }), "{answer}: {error}");
        assert!(error.to_string().ends_with("did not answer within 0.2 s"), "{error}");
    }
}

#[tokio::test]
async fn nobody_there_is_told_in_words() {
    let server = Server::saying("").await;
    let url = format!("http://{}/?code=hush", server.addr);
    drop(server);
    let request = Request::get(&url).body(Bytes::new()).unwrap();
    let error = client(|_| ()).send(request).await.unwrap_err().to_string();
    assert!(error.contains("cannot reach `http://127.0.0.1") && !error.contains("hush"), "{error}");
}

#[tokio::test]
async fn a_certificate_is_trusted_once_it_is_named_and_only_for_its_host() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let folder = TempDir::new().unwrap();
    for (host, trusts_it, works) in
        [("localhost", true, true), ("localhost", false, false), ("other.example", true, false)]
    {
        let (server, certificate) = Server::with_tls(ANSWER, host).await;
        let (_, unrelated) = Server::with_tls(ANSWER, host).await;
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, if trusts_it { certificate } else { unrelated }).unwrap();
        let client = client(|config| config.extra_ca = Some(path.clone()));
        match server.get(&client).await {
            Ok(answer) => assert!(works && &answer.body()[..] == b"ok", "{host}"),
            Err(error) => {
                let text = error.to_string();
                assert!(!works && text.contains("invalid peer certificate"), "{host}: {text}");
            }
        }
    }
}

fn client(change: impl FnOnce(&mut ClientConfig)) -> HttpClient {
    let mut config = ClientConfig::default();
    change(&mut config);
    HttpClient::new(config).unwrap()
}

/// Says the same to everybody, and then holds the line until they leave.
struct Server {
    addr: SocketAddr,
    scheme: &'static str,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn saying(answer: &'static str) -> Self {
        Self::start(answer, None).await
    }

    /// With a certificate of its own, for a host; and that certificate.
    async fn with_tls(answer: &'static str, host: &str) -> (Self, String) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([host.into()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        (Self::start(answer, Some(acceptor)).await, cert.pem())
    }

    async fn start(answer: &'static str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                match &tls {
                    None => say(stream, answer).await,
                    // Whoever does not trust it leaves.
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            say(stream, answer).await;
                        }
                    }
                }
            }
        });
        Self { addr, scheme, task }
    }

    async fn get(&self, client: &HttpClient) -> Result<Response<Bytes>, ClientError> {
        let host = if self.scheme == "https" { "localhost" } else { "127.0.0.1" };
        let url = format!("{}://{host}:{}/", self.scheme, self.addr.port());
        client.send(Request::get(url).body(Bytes::new()).unwrap()).await
    }
}

/// Reads a request, answers, and waits for the other side to leave, unless the answer says that
/// this one does.
async fn say(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) {
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        match stream.read_buf(&mut heard).await {
            Ok(1..) => {}
            _ => return,
        }
    }
    let said = stream.write_all(answer.as_bytes()).await;
    if said.is_ok() && stream.flush().await.is_ok() && !answer.contains("connection: close") {
        while matches!(stream.read_buf(&mut heard).await, Ok(1..)) {}
    }
}
