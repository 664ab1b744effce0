//! How people get in, and for how long: sessions, waiting after wrong passwords, setup links.

use std::{fmt, time::Duration};

use entitlements_core::Timestamp;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::{SessionRow, key::secret_hash};

/// How long a session lasts while nothing is heard of its browser.
pub const SESSION_IDLE_MAX: Duration = Duration::from_hours(8);
/// How long a session lasts at most.
pub const SESSION_AGE_MAX: Duration = Duration::from_hours(7 * 24);

impl SessionRow {
    /// From when on it opens nothing, if nothing more is heard of its browser.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.seen_at.plus(SESSION_IDLE_MAX).min(self.created_at.plus(SESSION_AGE_MAX))
    }

    /// Whether it still opens something.
    #[must_use]
    pub fn is_valid(&self, at: Timestamp) -> bool {
        at < self.ends_at()
    }
}

/// So many wrong passwords in a row cost nothing but the work of typing them.
const FREE_FAILURES: u32 = 4;
/// The first wait. Each further failure doubles it.
const WAIT_MIN: Duration = Duration::from_secs(30);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_hours(1);
/// After so long without a further one, failures are forgotten.
pub const FAILURES_KEPT: Duration = Duration::from_hours(24);

/// Failed sign-ins in a row. A success clears them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    /// How many.
    pub count: u32,
    /// When the last one was.
    pub last_at: Timestamp,
}

impl Failures {
    /// Until when no password is looked at, not even the right one.
    #[must_use]
    pub fn wait_until(self) -> Timestamp {
        let doublings = self.count.checked_sub(FREE_FAILURES + 1);
        let wait = doublings.map_or(Duration::ZERO, |doublings| {
            WAIT_MIN.saturating_mul(2_u32.saturating_pow(doublings)).min(WAIT_MAX)
        });
        self.last_at.plus(wait)
    }

    /// Goes on where a password may be tried.
    ///
    /// # Errors
    /// How long to wait.
    pub fn may_try(self, at: Timestamp) -> Result<(), Wait> {
        let left = self.wait_until().since(at);
        if left.is_zero() { Ok(()) } else { Err(Wait(left)) }
    }
}

/// How long no password is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(pub Duration);

impl Wait {
    /// In whole seconds, so that waiting for them is enough.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0.as_secs() + u64::from(self.0.subsec_nanos() > 0)
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self.seconds() {
            seconds @ ..=90 => (seconds, "second"),
            seconds => (seconds.div_ceil(60), "minute"),
        };
        let s = if count == 1 { "" } else { "s" };
        write!(f, "too many wrong passwords: try again in {count} {unit}{s}")
    }
}

/// How long a setup link may be used.
pub const SETUP_LINK_AGE_MAX: Duration = Duration::from_hours(7 * 24);

/// What a user may get in by without an identity provider. It is kept as a secret beside the user.
///
/// One value for both, so that a password that is set takes the link with it.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The hash of the password, as `passwords.rs` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
    /// A link by which a password is set, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup_link: Option<SetupLink>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password_hash.as_ref().map(|_| "***");
        write!(f, "Credentials({password:?}, {:?})", self.setup_link)
    }
}

impl Credentials {
    /// Reads what was kept. Nothing was kept of a user who only signs in by a provider.
    ///
    /// # Errors
    /// Where it is damaged. No part of it is told.
    pub fn read(kept: Option<&str>) -> Result<Self, String> {
        let Some(kept) = kept else { return Ok(Self::default()) };
        serde_json::from_str(kept).map_err(|_| "the credentials that were kept are damaged".into())
    }

    /// What is kept; nothing where there is nothing to keep.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn kept(&self) -> Result<Option<String>, String> {
        if *self == Self::default() {
            return Ok(None);
        }
        let text = serde_json::to_string(self);
        text.map(Some).map_err(|error| format!("the credentials cannot be written: {error}"))
    }

    /// With a new link by which to set a password. An older link opens nothing more; the password
    /// holds until another one is set.
    #[must_use]
    pub fn with_setup_link(self, secret: &str, at: Timestamp) -> Self {
        Self { setup_link: Some(SetupLink::new(secret, at)), ..self }
    }

    /// With a new password. A link that was not used yet opens nothing more.
    #[must_use]
    pub fn with_password(self, password_hash: String) -> Self {
        Self { password_hash: Some(password_hash), setup_link: None }
    }

    /// Goes on where the secret is the one of a link that may be used.
    ///
    /// # Errors
    /// Why not. A wrong link, a used one and a replaced one are told apart by nobody.
    pub fn opens_setup(&self, secret: &str, at: Timestamp) -> Result<(), &'static str> {
        let link = self.setup_link.as_ref().filter(|link| link.has_secret(secret));
        match link {
            None => Err("this link is not valid, or was used already: ask for a new one"),
            Some(link) if at >= link.ends_at() => Err("this link is too old: ask for a new one"),
            Some(_) => Ok(()),
        }
    }
}

/// A link by which somebody sets a password, once. Its secret is shown to who made it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetupLink {
    secret_hash: String,
    created_at: Timestamp,
}

impl fmt::Debug for SetupLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetupLink(until {})", self.ends_at())
    }
}

impl SetupLink {
    fn new(secret: &str, created_at: Timestamp) -> Self {
        Self { secret_hash: secret_hash(secret), created_at }
    }

    /// From when on it cannot be used.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.created_at.plus(SETUP_LINK_AGE_MAX)
    }

    fn has_secret(&self, secret: &str) -> bool {
        secret_hash(secret).as_bytes().ct_eq(self.secret_hash.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;
    const H: i64 = 3_600 * S;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn session(created: i64, seen: i64) -> SessionRow {
        SessionRow {
            id_hash: [0; 32],
            user: "ada".into(),
            csrf: String::new(),
            created_at: at(created),
            seen_at: at(seen),
            address: None,
            agent: None,
        }
    }

    #[test]
    fn a_session_ends_when_idle_and_when_old() {
        let idle = session(0, H);
        assert!(idle.is_valid(at(9 * H - 1)) && !idle.is_valid(at(9 * H)));
        let old = session(0, 167 * H);
        assert!(old.is_valid(at(168 * H - 1)) && !old.is_valid(at(168 * H)));
    }

    #[test]
    fn each_failure_after_the_fourth_doubles_the_wait_up_to_an_hour() {
        let waits: Vec<i64> = (0..=13)
            .map(|count| Failures { count, last_at: at(0) }.wait_until().as_micros() / S)
            .collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(Failures { count: u32::MAX, last_at: at(0) }.wait_until(), at(H));
    }

    #[test]
    fn a_wait_is_over_at_its_instant_and_says_how_long_it_is() {
        let failures = Failures { count: 5, last_at: at(10 * S) };
        assert_eq!(failures.may_try(at(40 * S)), Ok(()));
        let wait = failures.may_try(at(40 * S - 1)).unwrap_err();
        assert_eq!(wait.seconds(), 1);
        assert!(wait.to_string().ends_with("try again in 1 second"), "{wait}");
        assert!(Wait(Duration::from_secs(90)).to_string().ends_with("in 90 seconds"));
        assert!(Wait(Duration::from_secs(91)).to_string().ends_with("in 2 minutes"));
        assert_eq!(Failures { count: 4, last_at: at(10 * S) }.may_try(at(10 * S)), Ok(()));
    }

    #[test]
    fn a_setup_link_opens_once_and_for_seven_days() {
        let end = 7 * 24 * H;
        let credentials = Credentials::default().with_setup_link("right", at(0));
        assert_eq!(credentials.opens_setup("right", at(end - 1)), Ok(()));
        assert!(credentials.opens_setup("right", at(end)).unwrap_err().contains("too old"));
        assert!(credentials.opens_setup("wrong", at(1)).unwrap_err().contains("not valid"));

        let used = credentials.clone().with_password("hash".into());
        assert!(used.opens_setup("right", at(1)).unwrap_err().contains("used already"));
        let replaced = credentials.with_setup_link("newer", at(1));
        assert!(replaced.opens_setup("right", at(1)).is_err());
        assert_eq!(replaced.opens_setup("newer", at(1)), Ok(()));
    }

    #[test]
    fn a_new_link_leaves_the_password_as_it_is() {
        let credentials = Credentials::default().with_password("hash".into());
        let reset = credentials.with_setup_link("secret", at(0));
        assert_eq!(reset.password_hash.as_deref(), Some("hash"));
    }

    #[test]
    fn credentials_are_read_as_they_are_kept_and_say_nothing_in_a_log() {
        assert_eq!(Credentials::default().kept(), Ok(None));
        assert_eq!(Credentials::read(None), Ok(Credentials::default()));
        let one = Credentials::default()
            .with_password("$argon2id$…".into())
            .with_setup_link("hush", at(0));
        let kept = one.kept().unwrap().unwrap();
        assert_eq!(Credentials::read(Some(&kept)), Ok(one.clone()));
        assert!(!kept.contains("hush"));
        let log = format!("{one:?}");
        assert!(!log.contains("argon2id") && !log.contains(&secret_hash("hush")), "{log}");
        assert!(!Credentials::read(Some("{$argon2id")).unwrap_err().contains("argon2id"));
    }
}
