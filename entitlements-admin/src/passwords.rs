//! Passwords: which ones may be chosen, and what is kept of them, by argon2id.

use std::{fmt, sync::Arc};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use tokio::{sync::Semaphore, task};

/// What somebody typed. It is in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// The fewest letters that a password may have.
pub const LETTERS_MIN: usize = 12;
/// The most letters that a password may have.
pub const LETTERS_MAX: usize = 256;

impl Password {
    /// What somebody typed.
    #[must_use]
    pub fn new(typed: impl Into<String>) -> Self {
        Self(typed.into())
    }

    /// Goes on where somebody with this address and name may choose it.
    ///
    /// # Errors
    /// What others would find it by. The password itself is not told again.
    pub fn check(&self, email: &str, name: &str) -> Result<(), Weak> {
        let letters = self.0.chars().count();
        if letters < LETTERS_MIN {
            return Err(Weak::TooShort);
        }
        if letters > LETTERS_MAX {
            return Err(Weak::TooLong);
        }
        let plain = plain(&self.0);
        let mailbox = email.split('@').next().unwrap_or_default();
        if [email, mailbox, name].into_iter().any(|own| {
            let own = self::plain(own);
            own.chars().count() >= OWN_LETTERS_MIN && plain.contains(&own)
        }) {
            return Err(Weak::Own);
        }
        if distinct_letters(&without_common(plain)) < DISTINCT_LETTERS_MIN {
            return Err(Weak::Common);
        }
        Ok(())
    }
}

/// Why a password may not be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    /// It has too few letters.
    #[error("a password takes {LETTERS_MIN} letters or more: a few unrelated words do well")]
    TooShort,
    /// It has too many letters.
    #[error("a password takes {LETTERS_MAX} letters at most")]
    TooLong,
    /// It holds who it is of.
    #[error("your name or address is in this password, which others try first: leave it out")]
    Own,
    /// Little is left of it once the well-known passwords are taken out.
    #[error(
        "this password is made of well-known ones, which others try first: use a few unrelated \
         words"
    )]
    Common,
}

/// A shorter name or address may be a part of any word.
const OWN_LETTERS_MIN: usize = 4;
/// How many different letters must be left once the well-known passwords are taken out.
const DISTINCT_LETTERS_MIN: usize = 5;
/// The passwords that are used, and tried, most.
const COMMON: &str = include_str!("common_passwords.txt");

/// In small letters and without spaces.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// What is left once the well-known passwords are taken out, the longest first.
fn without_common(mut plain: String) -> String {
    let mut common: Vec<&str> = COMMON.split_whitespace().collect();
    common.sort_unstable_by_key(|word| std::cmp::Reverse(word.len()));
    for word in common {
        plain = plain.replace(word, "");
    }
    plain
}

fn distinct_letters(text: &str) -> usize {
    text.chars().collect::<std::collections::BTreeSet<_>>().len()
}

/// Whether a password was the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// It was not, or there is none.
    No,
    /// It was.
    Yes,
    /// It was, and it was kept in a way that is weaker than today's: hash it again, and keep that.
    Rehash,
}

/// Why nothing can be said about a password. The text is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("passwords: {0}")]
pub struct HashError(String);

/// Hashes passwords on threads of their own, a few at once: many sign-ins at the same time must
/// wait for each other, and not take all the memory.
#[derive(Debug, Clone)]
pub struct Hasher(Arc<Semaphore>);

/// How many passwords are hashed at once. Each takes 19 MiB meanwhile.
const AT_ONCE_MAX: usize = 2;

impl Default for Hasher {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE_MAX)))
    }
}

impl Hasher {
    /// What to keep of a password. The salt is 16 random bytes.
    ///
    /// # Errors
    /// Where it cannot be hashed.
    pub async fn hash(&self, password: Password, salt: [u8; 16]) -> Result<String, HashError> {
        self.run(move || hash(&password, &salt)).await
    }

    /// Whether a password is the one of which `kept` was kept. Where nothing was, as nobody has
    /// that address, it takes as long to say no.
    ///
    /// # Errors
    /// Where what was kept is damaged.
    pub async fn verify(
        &self,
        password: Password,
        kept: Option<String>,
    ) -> Result<Verified, HashError> {
        self.run(move || verify(&password, kept.as_deref())).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let stopped = |error: &dyn fmt::Display| HashError(error.to_string());
        let permit = self.0.clone().acquire_owned().await.map_err(|error| stopped(&error))?;
        let done = task::spawn_blocking(move || {
            let done = work();
            // Here, and not where it was asked for: who asked may have gone, the work goes on.
            drop(permit);
            done
        });
        done.await.map_err(|error| stopped(&error))?
    }
}

/// What to keep of a password.
fn hash(password: &Password, salt: &[u8; 16]) -> Result<String, HashError> {
    let hashed = today().hash_password_with_salt(password.0.as_bytes(), salt);
    hashed.map(|hash| hash.to_string()).map_err(|error| HashError(error.to_string()))
}

/// Whether it is the one that was kept.
fn verify(password: &Password, kept: Option<&str>) -> Result<Verified, HashError> {
    let damaged =
        |error: &dyn fmt::Display| HashError(format!("what was kept is damaged: {error}"));
    let known = match kept {
        Some(kept) => PasswordHash::new(kept).map_err(|error| damaged(&error))?,
        None => nobodys().map_err(|error| damaged(&error))?,
    };
    // The longest that may be chosen has four bytes for each letter.
    if password.0.len() > LETTERS_MAX * 4 {
        return Ok(Verified::No);
    }
    match today().verify_password(password.0.as_bytes(), &known) {
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(Verified::No),
        Err(error) => Err(damaged(&error)),
        Ok(()) if kept.is_none() => Ok(Verified::No),
        Ok(()) if is_weaker(&known) => Ok(Verified::Rehash),
        Ok(()) => Ok(Verified::Yes),
    }
}

/// How passwords are hashed today: 19 MiB, two passes, one lane, as OWASP advises.
fn today() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMS)
}

const PARAMS: Params = Params::DEFAULT;

/// Whether a hash took less work than one of today.
fn is_weaker(known: &PasswordHash) -> bool {
    let is_argon2id = known.algorithm == Algorithm::Argon2id.ident();
    let is_version = known.version == Some(Version::V0x13.into());
    let is_less = Params::try_from(known).map_or(true, |params| {
        params.m_cost() < PARAMS.m_cost() || params.t_cost() < PARAMS.t_cost()
    });
    !is_argon2id || !is_version || is_less
}

/// A hash that takes the work of a real one and is nobody's.
fn nobodys() -> Result<PasswordHash, argon2::password_hash::Error> {
    Ok(PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&PARAMS)?,
        salt: Some(Salt::new(&[0; 16])?),
        hash: Some(Output::new(&[0; Params::DEFAULT_OUTPUT_LEN])?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str) -> Result<(), Weak> {
        Password::new(password).check("ada.l@example.com", "Ada Lovelace")
    }

    #[test]
    fn length_is_counted_in_letters() {
        assert_eq!(check("qGx7!vTz2#p"), Err(Weak::TooShort));
        assert_eq!(check("qGx7!vTz2#pW"), Ok(()));
        assert_eq!(check("äöüßéèêçñøåæ"), Ok(()));
        let long: String = ('a'..='p').cycle().take(LETTERS_MAX).collect();
        assert_eq!(check(&long), Ok(()));
        assert_eq!(check(&format!("{long}q")), Err(Weak::TooLong));
    }

    #[test]
    fn a_name_or_an_address_is_found_however_it_is_written() {
        for own in
            ["ada.l@example.com", "ADA.L-river-bridge", "my AdaLovelace 7!", "Ada Lovelace !x"]
        {
            assert_eq!(check(own), Err(Weak::Own), "{own}");
        }
        // "Ada" alone is in too many words.
        let short = Password::new("Canadian lighthouse 7");
        assert_eq!(short.check("ada@example.com", "Ada"), Ok(()));
    }

    #[test]
    fn what_is_made_of_well_known_passwords_is_refused() {
        for easy in [
            "password1234",
            "Password123!",
            "P@ssw0rd2026!",
            "qwertyuiop12",
            "123456789012",
            "iloveyou2026!!",
            "aaaaaaaaaaaa",
            "abababababababab",
            "admin admin admin",
            "letmein letmein",
            "Welcome Summer 2026!",
        ] {
            assert_eq!(check(easy), Err(Weak::Common), "{easy}");
        }
        for good in ["correct horse battery staple", "dragonfly on a lighthouse", "tr0ub4dor&3xyz"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn the_list_of_well_known_passwords_is_as_it_is_looked_up() {
        let common: Vec<&str> = COMMON.split_whitespace().collect();
        assert!(common.len() >= 200, "{}", common.len());
        for word in common {
            assert_eq!(plain(word), word);
            assert!(word.len() >= 3, "{word}");
        }
    }

    #[test]
    fn a_password_is_known_again_and_no_other_is() {
        let password = Password::new("correct horse");
        let kept = hash(&password, &[7; 16]).unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_eq!(verify(&password, Some(&kept)), Ok(Verified::Yes));
        assert_eq!(verify(&Password::new("correct horsf"), Some(&kept)), Ok(Verified::No));
        assert_eq!(verify(&Password::new(""), Some(&kept)), Ok(Verified::No));
        assert_ne!(hash(&password, &[8; 16]).unwrap(), kept);
    }

    /// From the tests of the reference implementation of argon2.
    #[test]
    fn a_hash_of_another_program_is_understood() {
        let kept = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$\
                    CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert_eq!(verify(&Password::new("password"), Some(kept)), Ok(Verified::Yes));
        assert_eq!(verify(&Password::new("passwore"), Some(kept)), Ok(Verified::No));
    }

    #[test]
    fn a_hash_that_took_less_work_is_to_be_made_anew() {
        let password = Password::new("correct horse");
        let with = |algorithm, version, m, t| {
            let params = Params::new(m, t, 1, None).unwrap();
            let weaker = Argon2::new(algorithm, version, params);
            weaker.hash_password_with_salt(password.0.as_bytes(), &[7; 16]).unwrap().to_string()
        };
        for weaker in [
            with(Algorithm::Argon2id, Version::V0x13, 4_096, 2),
            with(Algorithm::Argon2id, Version::V0x13, 19_456, 1),
            with(Algorithm::Argon2i, Version::V0x13, 19_456, 2),
            with(Algorithm::Argon2id, Version::V0x10, 19_456, 2),
        ] {
            assert_eq!(verify(&password, Some(&weaker)), Ok(Verified::Rehash), "{weaker}");
            assert_eq!(verify(&Password::new("wrong"), Some(&weaker)), Ok(Verified::No));
        }
        let stronger = with(Algorithm::Argon2id, Version::V0x13, 20_000, 3);
        assert_eq!(verify(&password, Some(&stronger)), Ok(Verified::Yes));
    }

    #[test]
    fn nobody_has_no_password_and_takes_the_same_parameters() {
        assert_eq!(verify(&Password::new("correct horse"), None), Ok(Verified::No));
        let real = hash(&Password::new("correct horse"), &[7; 16]).unwrap();
        let real = PasswordHash::new(&real).unwrap();
        let nobodys = nobodys().unwrap();
        assert_eq!(
            (nobodys.algorithm, nobodys.version, &nobodys.params),
            (real.algorithm, real.version, &real.params)
        );
        assert_eq!(nobodys.hash.map(|hash| hash.len()), real.hash.map(|hash| hash.len()));
        assert_eq!(nobodys.salt.map(|salt| salt.len()), real.salt.map(|salt| salt.len()));
    }

    #[test]
    fn what_is_damaged_is_an_error_and_too_much_is_a_no() {
        let password = Password::new("correct horse");
        for kept in ["", "plain", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$", "$md5$x$y"] {
            let verified = verify(&password, Some(kept));
            assert!(!matches!(verified, Ok(Verified::Yes | Verified::Rehash)), "{kept}");
        }
        assert!(verify(&password, Some("plain")).is_err());
        let kept = hash(&password, &[7; 16]).unwrap();
        let much = Password::new("x".repeat(LETTERS_MAX * 4 + 1));
        assert_eq!(verify(&much, Some(&kept)), Ok(Verified::No));
        assert_eq!(format!("{password:?}"), "Password(***)");
    }

    #[tokio::test]
    async fn no_more_than_two_are_hashed_at_once_even_if_nobody_waits() {
        let hasher = Hasher::default();
        let (started, mut running) = tokio::sync::mpsc::unbounded_channel();
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        let work = |number: usize| {
            let (hasher, started, gate) = (hasher.clone(), started.clone(), gate.clone());
            tokio::spawn(async move {
                hasher
                    .run(move || {
                        started.send(number).unwrap();
                        let _ = gate.lock().unwrap().recv();
                        Ok(())
                    })
                    .await
            })
        };
        let [one, two] = [work(1), work(2)];
        running.recv().await.unwrap();
        running.recv().await.unwrap();
        // Who asked goes away. The threads are busy all the same.
        for gone in [one, two] {
            gone.abort();
            assert!(gone.await.unwrap_err().is_cancelled());
        }
        assert_eq!(hasher.0.available_permits(), 0);
        let three = work(3);
        for _ in 0..3 {
            release.send(()).unwrap();
        }
        assert_eq!(running.recv().await, Some(3));
        assert_eq!(three.await.unwrap(), Ok(()));
    }
}
