//! Signing in by a real identity provider, which runs beside the test and whose forms are filled
//! in as a browser would.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use entitlements_admin::{
    clock::Clock,
    oidc::{Callback, Draw, Oidc, OidcConfig, OidcError, SignedIn, Started},
    workflow::people::Role,
};
use entitlements_outbound::{ClientConfig, HttpClient};
use hyper::{
    Request, Response,
    body::Bytes,
    header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{postgres::skip::skip, support::DEADLINE};

pub(crate) const PUBLIC_URL: &str = "http://127.0.0.1:7400";
pub(crate) const SECRET: &str = "a secret that only the two know of, long enough for an HMAC";

#[tokio::test]
async fn the_whole_round_trip_says_who_somebody_is() {
    let Some(provider) = Provider::start().await else { return };
    let oidc = provider.oidc(|_| ());
    let started = provider.started(&oidc).await;
    assert!(started.url.contains("code_challenge_method=S256"), "{}", started.url);
    assert!(!started.url.contains(&started.pending.verifier), "{}", started.url);
    let query = provider.browser().walk(&started.url, "ada").await;
    let ada = provider.finish(&oidc, &started, &query).await.unwrap();
    assert_eq!((ada.email.as_str(), ada.name.as_str()), ("ada@example.com", "Ada Lovelace"));
    assert_eq!(
        (ada.identity.issuer.as_str(), ada.identity.subject.as_str()),
        (&*provider.issuer, "ada")
    );
    assert_eq!(ada.roles, [Role::SuperAdmin].into());
    assert_eq!(ada.return_to, "/drafts?tab=mine");

    // The same from the signed ID token alone, signed in another way.
    provider.order(json!({"provider": {"alg": "ES256", "says_everything": true}})).await;
    let oidc = provider.oidc(|_| ());
    assert_eq!(provider.sign_in(&oidc, "ada").await.unwrap(), ada);
}

#[tokio::test]
async fn people_without_a_role_or_a_confirmed_address_stay_out() {
    let Some(provider) = Provider::start().await else { return };
    let oidc = provider.oidc(|_| ());
    let eve = provider.sign_in(&oidc, "eve").await.unwrap_err();
    assert!(matches!(&eve, OidcError::NoRole(email) if email == "eve@example.com"), "{eve:?}");
    let bob = provider.sign_in(&oidc, "bob").await.unwrap_err();
    assert!(matches!(&bob, OidcError::Unconfirmed(email) if email == "bob@example.com"), "{bob:?}");
}

#[tokio::test]
async fn an_id_token_that_is_not_as_it_was_signed_for_this_sign_in_is_refused() {
    let Some(provider) = Provider::start().await else { return };
    provider.order(json!({"provider": {"says_everything": true}})).await;
    let oidc = provider.oidc(|_| ());
    let now = Clock::default().now().as_micros() / 1_000_000;
    for (order, why) in [
        (json!({"claims": {"aud": "other"}}), "audience"),
        (json!({"claims": {"aud": ["entitlements", "other"]}}), "audience"),
        (json!({"claims": {"azp": "other"}}), "audience"),
        (json!({"claims": {"iss": "http://127.0.0.1:1"}}), "issuer"),
        (json!({"claims": {"nonce": "other"}}), "nonce"),
        (json!({"claims": {"nonce": null}}), "nonce"),
        (json!({"claims": {"exp": now - 1}}), "Expired"),
        (json!({"claims": {"iat": now + 3_600}}), "issued in the future"),
        (json!({"claims": {"at_hash": "other"}}), "access token"),
        (json!({"flip": "signature"}), "Crypto error"),
        (json!({"forge": "own"}), "Crypto error"),
        (json!({"forge": "new"}), "No matching key"),
        (json!({"unsigned": true}), "No signature"),
    ] {
        provider.order(order.clone()).await;
        let error = provider.sign_in(&oidc, "ada").await.unwrap_err();
        let reason = error.reason().unwrap_or_default();
        assert!(matches!(error, OidcError::Untrusted(_)), "{order}: {error:?}");
        assert!(reason.contains(why), "{order}: {reason}");
    }
    // A letter of the claims: no JSON any more, or another signature.
    provider.order(json!({"flip": "claims"})).await;
    let error = provider.sign_in(&oidc, "ada").await.unwrap_err();
    assert!(matches!(error, OidcError::Untrusted(_) | OidcError::Malformed(_)), "{error:?}");
    // Signing anew is not what was refused.
    provider.order(json!({"claims": {"name": "Countess"}})).await;
    assert_eq!(provider.sign_in(&oidc, "ada").await.unwrap().name, "Countess");
}

#[tokio::test]
async fn a_word_that_is_signed_with_the_shared_secret_is_refused() {
    let Some(provider) = Provider::start().await else { return };
    provider.order(json!({"provider": {"alg": "HS256"}})).await;
    let error = provider.sign_in(&provider.oidc(|_| ()), "ada").await.unwrap_err();
    assert!(matches!(&error, OidcError::Untrusted(why) if why.contains("Disallowed")), "{error:?}");
}

#[tokio::test]
async fn a_sign_in_ends_once_in_time_and_where_it_began() {
    let Some(provider) = Provider::start().await else { return };
    let oidc = provider.oidc(|_| ());
    let [one, two] = [provider.started(&oidc).await, provider.started(&oidc).await];
    let query = provider.browser().walk(&one.url, "ada").await;
    let callback = Callback::read(&query).unwrap();
    let now = Clock::default().now();

    let replayed = oidc.finish(two.pending.clone(), &callback, &two.browser, now).await;
    assert!(matches!(replayed, Err(OidcError::Stale)), "{replayed:?}");
    let elsewhere = oidc.finish(one.pending.clone(), &callback, &two.browser, now).await;
    assert!(matches!(elsewhere, Err(OidcError::OtherBrowser)), "{elsewhere:?}");
    let late = now.plus(Duration::from_mins(10));
    let late = oidc.finish(one.pending.clone(), &callback, &one.browser, late).await;
    assert!(matches!(late, Err(OidcError::Stale)), "{late:?}");
    let query = query.replace("iss=http", "iss=https");
    let mixed_up = provider.finish(&oidc, &one, &query).await;
    assert!(matches!(mixed_up, Err(OidcError::Untrusted(_))), "{mixed_up:?}");

    // None of that used the code up.
    let right = oidc.finish(one.pending.clone(), &callback, &one.browser, now).await;
    assert_eq!(right.unwrap().email, "ada@example.com");
    let again = oidc.finish(one.pending, &callback, &one.browser, now).await;
    assert!(matches!(again, Err(OidcError::Stale)), "{again:?}");
}

#[tokio::test]
async fn what_was_kept_must_fit_the_code() {
    let Some(provider) = Provider::start().await else { return };
    let oidc = provider.oidc(|_| ());
    let mut verifier = provider.started(&oidc).await;
    verifier.pending.verifier = Draw::new().unwrap().verifier;
    let query = provider.browser().walk(&verifier.url, "ada").await;
    let error = provider.finish(&oidc, &verifier, &query).await.unwrap_err();
    assert!(matches!(error, OidcError::Stale), "{error:?}");

    let mut nonce = provider.started(&oidc).await;
    nonce.pending.nonce = Draw::new().unwrap().nonce;
    let query = provider.browser().walk(&nonce.url, "ada").await;
    let error = provider.finish(&oidc, &nonce, &query).await.unwrap_err();
    assert!(matches!(&error, OidcError::Untrusted(why) if why.contains("nonce")), "{error:?}");

    // The provider's own word expires an hour after it was given.
    let mut patient = provider.started(&oidc).await;
    patient.pending.expires_at = entitlements_core::Timestamp::MAX;
    let query = provider.browser().walk(&patient.url, "ada").await;
    let later = Clock::default().now().plus(Duration::from_mins(61));
    let callback = Callback::read(&query).unwrap();
    let error = oidc.finish(patient.pending, &callback, &patient.browser, later).await.unwrap_err();
    assert!(matches!(&error, OidcError::Untrusted(why) if why.contains("Expired")), "{error:?}");
}

#[tokio::test]
async fn new_keys_of_the_provider_are_asked_for() {
    let Some(provider) = Provider::start().await else { return };
    let oidc = provider.oidc(|_| ());
    provider.sign_in(&oidc, "ada").await.unwrap();
    for _ in 0..2 {
        provider.order(json!({"provider": {}})).await;
        assert_eq!(provider.sign_in(&oidc, "ada").await.unwrap().email, "ada@example.com");
    }
}

#[tokio::test]
async fn who_says_no_or_is_not_what_was_set_up_is_told_in_words() {
    let Some(provider) = Provider::start().await else { return };
    let oidc = provider.oidc(|_| ());
    let started = provider.started(&oidc).await;
    let query = provider.browser().cancel(&started.url).await;
    let cancelled = provider.finish(&oidc, &started, &query).await;
    assert!(matches!(cancelled, Err(OidcError::Cancelled)), "{cancelled:?}");

    let wrong = provider.oidc(|config| config.client_secret = Some("wrong".into()));
    let refused = provider.sign_in(&wrong, "ada").await;
    assert!(matches!(refused, Err(OidcError::Setup(_))), "{refused:?}");

    let other_name = provider.issuer.replace("127.0.0.1", "localhost");
    let other_name = provider.oidc(|config| config.issuer = other_name.clone());
    let error = other_name.start(&Draw::new().unwrap(), "/", Clock::default().now()).await;
    assert!(matches!(error, Err(OidcError::Malformed(_))), "{error:?}");

    let gone = provider.oidc(|config| config.issuer = "http://127.0.0.1:1".into());
    let error = gone.start(&Draw::new().unwrap(), "/", Clock::default().now()).await.unwrap_err();
    assert!(error.to_string().contains("does not answer now"), "{error}");
    assert!(error.reason().unwrap().contains("http://127.0.0.1:1"), "{error:?}");
}

/// The provider, in a process of its own that ends with the test.
pub(crate) struct Provider {
    pub(crate) issuer: String,
    http: HttpClient,
    _process: Child,
}

impl Provider {
    /// None where it is not installed.
    pub(crate) async fn start() -> Option<Self> {
        let folder = fetched("node");
        if !folder.join("node_modules").join("oidc-provider").is_dir() {
            let why = "its packages are not fetched; `cargo xtask test --install` does that";
            skip("identity provider", why);
            return None;
        }
        let script = script(&folder);
        let started = Command::new("node")
            .arg(script)
            .arg(format!("{PUBLIC_URL}/v1/session/oidc/callback"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut process = match started {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                skip("identity provider", "`node` is not installed");
                return None;
            }
            started => started.unwrap(),
        };
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap();
        let http = HttpClient::new(ClientConfig::default()).unwrap();
        Some(Self { issuer: line.unwrap(), http, _process: process })
    }

    fn oidc(&self, change: impl FnOnce(&mut OidcConfig)) -> Oidc {
        let mut config = OidcConfig {
            issuer: self.issuer.clone(),
            client_id: "entitlements".into(),
            client_secret: Some(SECRET.into()),
            public_url: PUBLIC_URL.into(),
            scopes: ["profile", "email", "groups"].map(Into::into).into(),
            roles: [("admins".into(), Role::SuperAdmin)].into(),
            ..OidcConfig::default()
        };
        change(&mut config);
        Oidc::new(config, self.http.clone()).unwrap()
    }

    async fn started(&self, oidc: &Oidc) -> Started {
        let now = Clock::default().now();
        oidc.start(&Draw::new().unwrap(), "/drafts?tab=mine", now).await.unwrap()
    }

    async fn finish(
        &self,
        oidc: &Oidc,
        started: &Started,
        query: &str,
    ) -> Result<SignedIn, OidcError> {
        let callback = Callback::read(query)?;
        let now = Clock::default().now();
        oidc.finish(started.pending.clone(), &callback, &started.browser, now).await
    }

    /// All of it, in a new browser.
    async fn sign_in(&self, oidc: &Oidc, login: &str) -> Result<SignedIn, OidcError> {
        let started = self.started(oidc).await;
        let query = self.browser().walk(&started.url, login).await;
        self.finish(oidc, &started, &query).await
    }

    /// Tells the script what to do otherwise.
    pub(crate) async fn order(&self, order: Value) {
        let request = Request::post(format!("{}/test", self.issuer)).body(order.to_string());
        let response = self.http.send(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 204, "{order}");
    }

    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser { provider: self, cookies: BTreeMap::new() }
    }
}

/// As much of a browser as it takes.
pub(crate) struct Browser<'a> {
    provider: &'a Provider,
    cookies: BTreeMap<String, String>,
}

impl Browser<'_> {
    /// Goes there, signs in, allows what is asked for, and says what it comes back with.
    pub(crate) async fn walk(mut self, url: &str, login: &str) -> String {
        let mut response = self.get(url).await;
        // The form to sign in, the form to allow, and the way back.
        for _ in 0..3 {
            let form = match self.follow(response).await {
                Ok(query) => return query,
                Err(form) => form,
            };
            let prompt = if form.html.contains(r#"name="login""#) { "login" } else { "consent" };
            let body = format!("prompt={prompt}&login={login}&password=any");
            response = self.post(&form.url, body).await;
        }
        panic!("the provider asks for more than it should");
    }

    /// Goes there, and thinks better of it.
    async fn cancel(mut self, url: &str) -> String {
        let response = self.get(url).await;
        let form = self.follow(response).await.unwrap_err();
        let response = self.get(&format!("{}/abort", form.url)).await;
        self.follow(response).await.unwrap_or_else(|form| panic!("{}", form.html))
    }

    /// Goes on to a form, or back to this program with a query.
    async fn follow(&mut self, mut response: Response<Bytes>) -> Result<String, Form> {
        let mut url = String::new();
        while response.status().is_redirection() {
            let location = response.headers()[LOCATION].to_str().unwrap().to_owned();
            if let Some(way_back) = location.strip_prefix(PUBLIC_URL) {
                let query = way_back.strip_prefix("/v1/session/oidc/callback?");
                return Ok(query.unwrap_or_else(|| panic!("{location}")).into());
            }
            url = match location.strip_prefix('/') {
                Some(path) => format!("{}/{path}", self.provider.issuer),
                None => location,
            };
            response = self.get(&url).await;
        }
        let html = String::from_utf8_lossy(response.body()).into_owned();
        assert_eq!(response.status(), 200, "{url}: {html}");
        Err(Form { url, html })
    }

    async fn get(&mut self, url: &str) -> Response<Bytes> {
        self.send(Request::get(url), String::new()).await
    }

    async fn post(&mut self, url: &str, body: String) -> Response<Bytes> {
        let form = "application/x-www-form-urlencoded";
        self.send(Request::post(url).header(CONTENT_TYPE, form), body).await
    }

    async fn send(
        &mut self,
        request: hyper::http::request::Builder,
        body: String,
    ) -> Response<Bytes> {
        let cookies: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.header(COOKIE, cookies.join("; ")).body(body).unwrap();
        let response = self.provider.http.send(request).await.unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            match value {
                "" => self.cookies.remove(name),
                value => self.cookies.insert(name.into(), value.into()),
            };
        }
        response
    }
}

/// A page that waits for an answer.
struct Form {
    url: String,
    html: String,
}

/// Where `cargo xtask test --install` puts packages: three above this test is the target folder.
fn fetched(folder: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().join("clients").join(folder)
}

/// The script beside its packages, which is where Node looks for them.
fn script(folder: &Path) -> PathBuf {
    static COPIED: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let copy = || {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients/node");
        let copied = folder.join("identity-provider.mjs");
        fs::copy(source.join("identity-provider.mjs"), &copied).unwrap();
        copied
    };
    COPIED.get_or_init(copy).clone()
}
