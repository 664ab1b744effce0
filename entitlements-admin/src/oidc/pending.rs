//! What happens between sending a browser away and its coming back.

use std::{fmt, time::Duration};

use entitlements_core::Timestamp;
use openidconnect::url::form_urlencoded;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::OidcError;
use crate::{app, ids, workflow::key::secret_hash};

/// How long a person may take at the provider.
pub const PENDING_AGE_MAX: Duration = Duration::from_mins(10);

/// The random texts of one sign-in.
#[derive(Clone)]
pub struct Draw {
    /// Ties the browser's coming back to its going.
    pub state: String,
    /// Ties the provider's word to this sign-in.
    pub nonce: String,
    /// Ties the code to who asked for it (PKCE).
    pub verifier: String,
    /// Ties the sign-in to the browser that began it.
    pub browser: String,
}

impl fmt::Debug for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Draw(***)")
    }
}

impl Draw {
    /// New ones.
    ///
    /// # Errors
    /// Where the operating system has no randomness.
    pub fn new() -> Result<Self, app::Error> {
        Ok(Self {
            state: ids::secret()?,
            nonce: ids::secret()?,
            verifier: ids::secret()?,
            browser: ids::secret()?,
        })
    }
}

/// A sign-in that was begun: what is kept until the browser comes back.
///
/// It is kept under its `state_hash`. Whoever reads the store can neither come back in the
/// browser's place nor redeem a code, as both take what was only told to the browser.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingSignIn {
    /// A hash of the state.
    pub state_hash: String,
    /// A hash of what the browser was given in a cookie.
    pub browser_hash: String,
    /// What the provider must repeat in its signed word.
    pub nonce: String,
    /// What the provider must be shown with the code.
    pub verifier: String,
    /// Where the person wanted to go.
    pub return_to: String,
    /// From when on it is too late.
    pub expires_at: Timestamp,
}

impl fmt::Debug for PendingSignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingSignIn({} until {})", self.return_to, self.expires_at)
    }
}

impl PendingSignIn {
    pub(super) fn new(draw: &Draw, return_to: &str, now: Timestamp) -> Self {
        Self {
            state_hash: secret_hash(&draw.state),
            browser_hash: secret_hash(&draw.browser),
            nonce: draw.nonce.clone(),
            verifier: draw.verifier.clone(),
            return_to: return_path(return_to).into(),
            expires_at: now.plus(PENDING_AGE_MAX),
        }
    }

    /// Goes on where this browser comes back from this sign-in, in time.
    pub(super) fn check(
        &self,
        callback: &Callback,
        browser: &str,
        now: Timestamp,
    ) -> Result<(), OidcError> {
        if now >= self.expires_at || !same(&callback.state_hash(), &self.state_hash) {
            return Err(OidcError::Stale);
        }
        // Or somebody could let others come back from a sign-in of their own, and see what they do.
        if !same(&secret_hash(browser), &self.browser_hash) {
            return Err(OidcError::OtherBrowser);
        }
        Ok(())
    }
}

fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// Under what a sign-in is kept.
#[must_use]
pub fn state_hash(state: &str) -> String {
    secret_hash(state)
}

/// What a browser comes back with.
#[derive(Clone, PartialEq, Eq)]
pub struct Callback {
    state: String,
    pub(super) issuer: Option<String>,
    answer: Answer,
}

#[derive(Clone, PartialEq, Eq)]
enum Answer {
    Code(String),
    Error { code: String, description: Option<String> },
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback(***)")
    }
}

impl Callback {
    /// Reads the query of the address at which a browser comes back.
    ///
    /// # Errors
    /// Where it is not one that a provider sends.
    pub fn read(query: &str) -> Result<Self, OidcError> {
        let take = |name: &str| {
            let mut values = form_urlencoded::parse(query.as_bytes())
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned());
            match (values.next(), values.next()) {
                (value, None) => Ok(value),
                _ => Err(OidcError::Malformed(format!("`{name}` comes twice"))),
            }
        };
        let [state, code, error, description, issuer] =
            ["state", "code", "error", "error_description", "iss"].map(take);
        let state = state?.ok_or(OidcError::Stale)?;
        let answer = match (code?, error?) {
            (Some(code), None) => Answer::Code(code),
            (None, Some(code)) => Answer::Error { code, description: description? },
            _ => return Err(OidcError::Malformed("neither `code` nor `error` alone".into())),
        };
        Ok(Self { state, issuer: issuer?, answer })
    }

    /// Under what the sign-in is kept from which it comes.
    #[must_use]
    pub fn state_hash(&self) -> String {
        state_hash(&self.state)
    }

    /// The code, where the provider said yes.
    pub(super) fn code(&self) -> Result<&str, OidcError> {
        match &self.answer {
            Answer::Code(code) => Ok(code),
            Answer::Error { code, .. } if code == "access_denied" => Err(OidcError::Cancelled),
            Answer::Error { code, description } => {
                Err(OidcError::Refused(for_people(description.as_deref().unwrap_or(code))))
            }
        }
    }
}

/// A few words of the provider's, without what could pass for something else.
fn for_people(text: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || " .,:;_-'()".contains(*c);
    text.chars().filter(plain).take(WORDS_LETTERS_MAX).collect()
}

const WORDS_LETTERS_MAX: usize = 120;

/// Where to go after a sign-in: a path on the same host, or the start page.
#[must_use]
pub fn return_path(wanted: &str) -> &str {
    let is_path = wanted.starts_with('/') && !wanted.starts_with("//");
    // A browser takes `\` for `/`, and leaves out tabs and line ends.
    let is_plain = wanted.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_path && is_plain && wanted.len() <= PATH_BYTES_MAX { wanted } else { "/" }
}

const PATH_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn draw() -> Draw {
        let [state, nonce, verifier, browser] =
            ["state", "nonce", "verifier", "browser"].map(Into::into);
        Draw { state, nonce, verifier, browser }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn only_paths_of_this_host_are_gone_to() {
        for good in ["/", "/drafts/7?tab=preview#top", "/a//b", "/%2Fexample.com"] {
            assert_eq!(return_path(good), good);
        }
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        for bad in [
            "",
            "drafts",
            "//example.com",
            "/\\example.com",
            "\\/example.com",
            "https://example.com",
            "/\t/example.com",
            "/a\r\nset-cookie: x",
            " //example.com",
            "/ä",
            "javascript:alert(1)",
            &long,
        ] {
            assert_eq!(return_path(bad), "/", "{bad:?}");
        }
    }

    #[test]
    fn a_browser_comes_back_once_in_time_and_from_its_own_sign_in() {
        let pending = PendingSignIn::new(&draw(), "/drafts", at(0));
        assert_eq!(pending.return_to, "/drafts");
        let callback = Callback::read("code=c&state=state").unwrap();
        assert_eq!(callback.state_hash(), pending.state_hash);
        let end = at(600);
        assert!(pending.check(&callback, "browser", end.minus(Duration::from_micros(1))).is_ok());
        let late = pending.check(&callback, "browser", end);
        assert!(matches!(late, Err(OidcError::Stale)), "{late:?}");
        let other = Callback::read("code=c&state=other").unwrap();
        let other = pending.check(&other, "browser", at(1));
        assert!(matches!(other, Err(OidcError::Stale)), "{other:?}");
        let stranger = pending.check(&callback, "stranger", at(1));
        assert!(matches!(stranger, Err(OidcError::OtherBrowser)), "{stranger:?}");
    }

    #[test]
    fn what_is_kept_is_read_as_it_is_written_and_tells_no_state() {
        let pending = PendingSignIn::new(&draw(), "//evil", at(0));
        let kept = serde_json::to_string(&pending).unwrap();
        assert_eq!(serde_json::from_str::<PendingSignIn>(&kept).unwrap(), pending);
        assert!(!kept.contains("\"state\"") && !kept.contains("\"browser\""), "{kept}");
        assert_eq!(pending.return_to, "/");
        assert!(!format!("{pending:?}").contains("verifier"));
    }

    #[test]
    fn what_providers_send_is_read() {
        let callback =
            Callback::read("code=a%2Bb&state=s&iss=https%3A%2F%2Fid.example.com").unwrap();
        assert_eq!(callback.code().unwrap(), "a+b");
        assert_eq!(callback.issuer.as_deref(), Some("https://id.example.com"));
        let no = Callback::read("error=access_denied&state=s").unwrap();
        assert!(matches!(no.code(), Err(OidcError::Cancelled)));
        let down = "error=server_error&error_description=down+<b>today</b>%0A&state=s";
        let error = Callback::read(down).unwrap().code().unwrap_err().to_string();
        assert!(error.contains("(down btodayb)"), "{error}");
        let bare = Callback::read("error=login_required&state=s").unwrap();
        assert!(bare.code().unwrap_err().to_string().contains("(login_required)"));
    }

    #[test]
    fn what_providers_do_not_send_is_refused() {
        assert!(matches!(Callback::read("code=c"), Err(OidcError::Stale)));
        for query in
            ["state=s", "state=s&code=c&error=e", "state=s&state=t&code=c", "state=s&code=c&code=d"]
        {
            assert!(matches!(Callback::read(query), Err(OidcError::Malformed(_))), "{query}");
        }
    }

    #[test]
    fn every_draw_is_another_and_long_enough() {
        let [one, two] = [Draw::new().unwrap(), Draw::new().unwrap()];
        let all = [one.state, one.nonce, one.verifier, one.browser, two.state, two.verifier];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        // RFC 7636 asks for 43 or more.
        assert!(all.iter().all(|text| text.len() >= 43));
    }
}
