//! Talking to the provider, and believing nothing that is not signed.

use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use entitlements_core::Timestamp;
use openidconnect::{
    AccessTokenHash, AdditionalClaims, AsyncHttpClient, AuthType, AuthorizationCode,
    ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, DiscoveryError, EndUserName,
    EndUserUsername, EndpointMaybeSet, EndpointNotSet, EndpointSet, ErrorResponse, HttpRequest,
    HttpResponse, IdToken, IdTokenClaims, IdTokenVerifier, IssuerUrl, LocalizedClaim, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError,
    Scope, SignatureVerificationError, SubjectIdentifier, TokenResponse, UserInfoClaims,
    UserInfoError,
    core::{
        CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreGenderClaim, CoreJsonWebKey,
        CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm as Alg,
        CoreProviderMetadata, CoreTokenResponse,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Callback, Draw, OidcConfig, OidcError, PendingSignIn, SignedIn, claims::Claims,
    config::is_protected,
};
use entitlements_outbound::{ClientError, HttpClient};

use crate::workflow::people::Identity;

/// Signs people in by one provider.
#[derive(Debug)]
pub struct Oidc {
    config: OidcConfig,
    http: Http,
    /// What the provider said of itself, and when.
    known: Mutex<Option<(Timestamp, CoreProviderMetadata)>>,
}

/// A sign-in that begins.
#[derive(Clone)]
pub struct Started {
    /// Where to send the browser.
    pub url: String,
    /// What to give the browser in a cookie that lasts as long as the sign-in may take.
    pub browser: String,
    /// What to keep.
    pub pending: PendingSignIn,
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Started({:?})", self.pending)
    }
}

/// How long what a provider says of itself is believed. Its keys are asked for whenever it signs
/// with one that is not known.
const KNOWN_AGE_MAX: Duration = Duration::from_hours(1);
/// How far the provider's clock may be before this one.
const CLOCK_AHEAD_MAX: Duration = Duration::from_mins(1);
/// How a provider may sign. Never with a secret that this program has too, and never not at all.
const ALGORITHMS: [Alg; 9] = [
    Alg::RsaSsaPkcs1V15Sha256,
    Alg::RsaSsaPkcs1V15Sha384,
    Alg::RsaSsaPkcs1V15Sha512,
    Alg::RsaSsaPssSha256,
    Alg::RsaSsaPssSha384,
    Alg::RsaSsaPssSha512,
    Alg::EcdsaP256Sha256,
    Alg::EcdsaP384Sha384,
    Alg::EdDsa,
];

impl Oidc {
    /// At the provider that is set up.
    ///
    /// # Errors
    /// What is wrong with the set-up, in one sentence.
    pub fn new(config: OidcConfig, http: HttpClient) -> Result<Self, String> {
        config.check()?;
        Ok(Self { config, http: Http(http), known: Mutex::default() })
    }

    /// Begins a sign-in.
    ///
    /// # Errors
    /// Where the provider cannot be asked who it is.
    pub async fn start(
        &self,
        draw: &Draw,
        return_to: &str,
        now: Timestamp,
    ) -> Result<Started, OidcError> {
        let client = self.client(self.provider(now).await?)?;
        let (state, nonce) = (CsrfToken::new(draw.state.clone()), Nonce::new(draw.nonce.clone()));
        let verifier = PkceCodeVerifier::new(draw.verifier.clone());
        let (url, ..) = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, move || state, move || nonce)
            .add_scopes(self.config.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        let pending = PendingSignIn::new(draw, return_to, now);
        Ok(Started { url: url.into(), browser: draw.browser.clone(), pending })
    }

    /// Ends a sign-in, by what was kept of it, what the browser came back with, and what it was
    /// given when it left.
    ///
    /// # Errors
    /// Why nobody is signed in.
    pub async fn finish(
        &self,
        pending: PendingSignIn,
        callback: &Callback,
        browser: &str,
        now: Timestamp,
    ) -> Result<SignedIn, OidcError> {
        pending.check(callback, browser, now)?;
        if callback.issuer.as_ref().is_some_and(|issuer| *issuer != self.config.issuer) {
            return Err(OidcError::Untrusted("another provider answers".into()));
        }
        let code = callback.code()?;
        let provider = self.provider(now).await?;
        let client = self.client(provider.clone())?;
        let tokens = client
            .exchange_code(AuthorizationCode::new(code.into()))
            .map_err(|error| malformed(&error))?
            .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier))
            .request_async(&self.http)
            .await
            .map_err(exchange_error)?;
        let nonce = Nonce::new(pending.nonce);
        let mut claims = self.verified(provider, &tokens, &nonce, now).await?;
        if !claims.is_complete(&self.config) && client.user_info_url().is_some() {
            let more = self.user_info(&client, &tokens, &claims.identity).await?;
            claims = claims.or(more);
        }
        claims.signed_in(&self.config, pending.return_to)
    }

    /// What the signed word of the provider says. Its keys are asked for anew where it signed with
    /// one that is not known.
    async fn verified(
        &self,
        provider: CoreProviderMetadata,
        tokens: &CoreTokenResponse,
        nonce: &Nonce,
        now: Timestamp,
    ) -> Result<Claims, OidcError> {
        let word = tokens
            .id_token()
            .ok_or_else(|| OidcError::Malformed("there is no ID token".into()))?
            .to_string()
            .parse::<Word>()
            .map_err(|error| OidcError::Malformed(format!("the ID token: {error}")))?;
        match self.read(&word, provider.jwks(), tokens, nonce, now) {
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            )) => {}
            read => return read.map_err(|error| untrusted(&error)),
        }
        let keys = CoreJsonWebKeySet::fetch_async(provider.jwks_uri(), &self.http)
            .await
            .map_err(discovery_error)?;
        let claims =
            self.read(&word, &keys, tokens, nonce, now).map_err(|error| untrusted(&error))?;
        self.know(provider.set_jwks(keys), now);
        Ok(claims)
    }

    fn read(
        &self,
        word: &Word,
        keys: &CoreJsonWebKeySet,
        tokens: &CoreTokenResponse,
        nonce: &Nonce,
        now: Timestamp,
    ) -> Result<Claims, ClaimsVerificationError> {
        let latest = system_time(now.plus(CLOCK_AHEAD_MAX));
        let verifier = IdTokenVerifier::new_public_client(
            ClientId::new(self.config.client_id.clone()),
            self.issuer().map_err(|error| ClaimsVerificationError::Other(error.to_string()))?,
            keys.clone(),
        )
        .set_allowed_algs(ALGORITHMS)
        .set_time_fn(move || system_time(now).into())
        .set_issue_time_verifier_fn(move |issued| {
            if SystemTime::from(issued) > latest {
                Err("issued in the future".into())
            } else {
                Ok(())
            }
        });
        let claims = word.claims(&verifier, nonce)?;
        self.is_for_this_program(claims)?;
        has_hash_of(word, claims, &verifier, tokens)?;
        Ok(Claims {
            identity: self.identity(claims.subject()),
            email: claims.email().map(|email| email.to_string()),
            email_verified: claims.email_verified(),
            name: name(claims.name(), claims.preferred_username()),
            others: claims.additional_claims().0.clone(),
        })
    }

    /// Goes on where a word that names who asked for it names this program.
    fn is_for_this_program(&self, claims: &WordClaims) -> Result<(), ClaimsVerificationError> {
        match claims.authorized_party() {
            Some(party) if party.as_str() != self.config.client_id => {
                Err(ClaimsVerificationError::InvalidAudience(format!(
                    "it was asked for by `{}`",
                    party.as_str()
                )))
            }
            _ => Ok(()),
        }
    }

    /// What the provider says on a question of its own, where its signed word leaves it out.
    async fn user_info(
        &self,
        client: &ProviderClient,
        tokens: &CoreTokenResponse,
        identity: &Identity,
    ) -> Result<Claims, OidcError> {
        let subject = SubjectIdentifier::new(identity.subject.clone());
        let more: UserInfoClaims<Others, CoreGenderClaim> = client
            .user_info(tokens.access_token().clone(), Some(subject))
            .map_err(|error| malformed(&error))?
            .request_async(&self.http)
            .await
            .map_err(user_info_error)?;
        Ok(Claims {
            identity: self.identity(more.subject()),
            email: more.email().map(|email| email.to_string()),
            email_verified: more.email_verified(),
            name: name(more.name(), more.preferred_username()),
            others: more.additional_claims().0.clone(),
        })
    }

    fn identity(&self, subject: &SubjectIdentifier) -> Identity {
        Identity { issuer: self.config.issuer.clone(), subject: subject.to_string() }
    }

    /// What the provider says of itself.
    async fn provider(&self, now: Timestamp) -> Result<CoreProviderMetadata, OidcError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, provider)) = known
            && now.since(at) < KNOWN_AGE_MAX
        {
            return Ok(provider);
        }
        let provider = CoreProviderMetadata::discover_async(self.issuer()?, &self.http)
            .await
            .map_err(discovery_error)?;
        // The other addresses are asked by the client, which refuses such ones itself.
        is_protected("authorization_endpoint", provider.authorization_endpoint().as_str())
            .map_err(OidcError::Malformed)?;
        self.know(provider.clone(), now);
        Ok(provider)
    }

    fn know(&self, provider: CoreProviderMetadata, now: Timestamp) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, provider));
    }

    fn issuer(&self) -> Result<IssuerUrl, OidcError> {
        IssuerUrl::new(self.config.issuer.clone()).map_err(|error| malformed(&error))
    }

    fn client(&self, provider: CoreProviderMetadata) -> Result<ProviderClient, OidcError> {
        use CoreClientAuthMethod::{ClientSecretBasic, ClientSecretPost};
        let methods = provider.token_endpoint_auth_methods_supported();
        // Where a provider does not say, it is the first.
        let in_body = methods.is_some_and(|methods| {
            methods.contains(&ClientSecretPost) && !methods.contains(&ClientSecretBasic)
        });
        let redirect =
            RedirectUrl::new(self.config.redirect_uri()).map_err(|error| malformed(&error))?;
        let client = CoreClient::from_provider_metadata(
            provider,
            ClientId::new(self.config.client_id.clone()),
            self.config.client_secret.clone().map(ClientSecret::new),
        );
        let auth = if in_body { AuthType::RequestBody } else { AuthType::BasicAuth };
        Ok(client.set_redirect_uri(redirect).set_auth_type(auth))
    }
}

type ProviderClient = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The signed word of the provider: an ID token, with every claim in it.
type Word = IdToken<Others, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, Alg>;
type WordClaims = IdTokenClaims<Others, CoreGenderClaim>;

/// The claims that the standard does not name.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Others(Map<String, Value>);

impl AdditionalClaims for Others {}

/// Goes on where the access token is the one that the signed word came with, if it says so.
fn has_hash_of(
    word: &Word,
    claims: &WordClaims,
    verifier: &IdTokenVerifier<'_, CoreJsonWebKey>,
    tokens: &CoreTokenResponse,
) -> Result<(), ClaimsVerificationError> {
    let Some(expected) = claims.access_token_hash() else { return Ok(()) };
    let algorithm = word.signing_alg().map_err(ClaimsVerificationError::SignatureVerification)?;
    let key = word.signing_key(verifier).map_err(ClaimsVerificationError::SignatureVerification)?;
    let actual = AccessTokenHash::from_token(tokens.access_token(), algorithm, key)
        .map_err(|error| ClaimsVerificationError::Other(error.to_string()))?;
    if actual == *expected {
        Ok(())
    } else {
        Err(ClaimsVerificationError::Other("the access token is another one".into()))
    }
}

/// What somebody is called, in whichever language the provider speaks.
fn name(
    name: Option<&LocalizedClaim<EndUserName>>,
    username: Option<&EndUserUsername>,
) -> Option<String> {
    let name = name.and_then(|name| name.get(None)).map(|name| name.to_string());
    name.or_else(|| username.map(|username| username.to_string()))
}

/// As the operating system tells time.
fn system_time(at: Timestamp) -> SystemTime {
    let since = at.since(Timestamp::from_micros(0));
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn untrusted(error: &(dyn StdError + 'static)) -> OidcError {
    OidcError::Untrusted(whole(error))
}

fn malformed(error: &(dyn StdError + 'static)) -> OidcError {
    OidcError::Malformed(whole(error))
}

/// An error with everything that led to it.
fn whole(error: &(dyn StdError + 'static)) -> String {
    let reasons = std::iter::successors(Some(error), |error| (**error).source());
    reasons.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn exchange_error<T: ErrorResponse + fmt::Display + 'static>(
    error: RequestTokenError<ClientError, T>,
) -> OidcError {
    match error {
        RequestTokenError::Request(error) => OidcError::Unreachable(error),
        RequestTokenError::ServerResponse(said) => {
            let said = said.to_string();
            // The code is of no use: it is old, used, or another's.
            if said.starts_with("invalid_grant") {
                OidcError::Stale
            } else {
                OidcError::Setup(said)
            }
        }
        RequestTokenError::Parse(error, _) => malformed(&error),
        RequestTokenError::Other(error) => OidcError::Malformed(error),
    }
}

fn discovery_error(error: DiscoveryError<ClientError>) -> OidcError {
    match error {
        DiscoveryError::Request(error) => OidcError::Unreachable(error),
        error => malformed(&error),
    }
}

fn user_info_error(error: UserInfoError<ClientError>) -> OidcError {
    match error {
        UserInfoError::Request(error) => OidcError::Unreachable(error),
        UserInfoError::ClaimsVerification(error) => OidcError::Untrusted(error.to_string()),
        error => OidcError::Malformed(error.to_string()),
    }
}

/// Our client, as the library for `OpenID` Connect wants one.
#[derive(Debug)]
struct Http(HttpClient);

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = ClientError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, ClientError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move { Ok(self.0.send(request).await?.map(|body| body.to_vec())) })
    }
}
