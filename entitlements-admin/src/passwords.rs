//! Passwords: which are taken, and how they are kept. The parameters are those that OWASP's
//! password storage cheat sheet names first for argon2id.

use std::sync::{Arc, OnceLock};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use tokio::sync::Semaphore;

use crate::app::Error;

/// How much memory one hash takes, in KiB.
const MEMORY_KIB: u32 = 19 * 1024;
/// How often it goes over that memory.
const PASSES: u32 = 2;
/// How many hashes are worked out at once. More wait, so that a storm of sign-ins takes neither the
/// memory nor every core.
const AT_ONCE: usize = 2;

/// How long a password is, in characters.
const CHARS: std::ops::RangeInclusive<usize> = 12..=256;

/// The parts of an address or a name that are too short to look for in a password.
const PART_CHARS_MIN: usize = 4;

/// Works out hashes of passwords, a few at a time.
#[derive(Debug)]
pub(crate) struct Passwords(Arc<Semaphore>);

impl Default for Passwords {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Passwords {
    /// The hash of a password, as it is kept.
    pub(crate) async fn hash(&self, password: String, salt: [u8; 16]) -> Result<String, Error> {
        self.apart(move || hash(&password, &salt)).await?
    }

    /// Whether a password is the one whose hash was kept. Where none was, it takes as long.
    pub(crate) async fn fits(&self, password: String, kept: Option<String>) -> Result<bool, Error> {
        self.apart(move || match kept {
            Some(kept) => fits(&password, &kept),
            None => {
                // Its word does not count, only the time that it takes.
                fits(&password, of_nobody());
                false
            }
        })
        .await
    }

    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = Arc::clone(&self.0).acquire_owned().await;
        let failed = |error: &dyn std::fmt::Display| Error::Unavailable(error.to_string());
        let turn = turn.map_err(|error| failed(&error))?;
        let task = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        task.await.map_err(|error| failed(&error))
    }
}

fn argon2() -> Argon2<'static> {
    // These parameters are within what the algorithm takes, so its default never comes to be used.
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &str, salt: &[u8; 16]) -> Result<String, Error> {
    let hashed = argon2().hash_password_with_salt(password.as_bytes(), salt);
    let hashed = hashed.map_err(|error| Error::Unavailable(format!("no hash: {error}")))?;
    Ok(hashed.to_string())
}

fn fits(password: &str, kept: &str) -> bool {
    argon2().verify_password(password.as_bytes(), kept).is_ok()
}

/// The hash of a password that nobody has.
fn of_nobody() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| hash("", &[0; 16]).unwrap_or_default())
}

/// Goes on where a password may be used by somebody with this address and name.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(password: &str, email: &str, name: &str) -> Result<(), String> {
    let count = password.chars().count();
    if !CHARS.contains(&count) {
        let (min, max) = (CHARS.start(), CHARS.end());
        return Err(format!(
            "a password takes {min} to {max} characters, this one has {count}: a few words in a \
             row are easy to remember"
        ));
    }
    let small = password.to_lowercase();
    let mailbox = email.split('@').next().unwrap_or_default();
    let parts = [mailbox].into_iter().chain(name.split_whitespace());
    for part in parts.filter(|part| part.chars().count() >= PART_CHARS_MIN) {
        if small.contains(&part.to_lowercase()) {
            return Err(format!("the password holds `{part}`, which is easy to guess of you"));
        }
    }
    if include_str!("common_passwords.txt").lines().any(|common| common == small) {
        return Err("many people have that password, so it is tried first: use another".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "seven quiet herons";

    #[tokio::test]
    async fn only_the_same_password_fits() {
        let passwords = Passwords::default();
        let kept = passwords.hash(GOOD.into(), [7; 16]).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(!kept.contains("heron"));
        for (password, right) in [(GOOD, true), ("seven quiet heron", false), ("", false)] {
            let fits = passwords.fits(password.into(), Some(kept.clone())).await.unwrap();
            assert_eq!(fits, right, "{password}");
        }
        let other_salt = passwords.hash(GOOD.into(), [8; 16]).await.unwrap();
        assert_ne!(kept, other_salt);
    }

    #[tokio::test]
    async fn nobody_has_a_password() {
        let passwords = Passwords::default();
        for password in ["", GOOD] {
            assert!(!passwords.fits(password.into(), None).await.unwrap());
        }
        assert!(!passwords.fits(String::new(), Some("damaged".into())).await.unwrap());
    }

    #[test]
    fn a_weak_password_is_refused_with_the_reason() {
        let refused = |password: &str| check(password, "ada.l@example.com", "Ada Lovelace");
        assert_eq!(refused(GOOD), Ok(()));
        for (password, why) in [
            ("short", "this one has 5"),
            (&*"x".repeat(257), "this one has 257"),
            ("i am Ada.L myself", "`ada.l`"),
            ("lovelace forever", "`Lovelace`"),
            ("CorrectHorseBatteryStaple", "many people"),
        ] {
            let error = refused(password).unwrap_err();
            assert!(error.contains(why), "{password}: {error}");
        }
    }
}
