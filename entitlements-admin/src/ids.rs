//! The one place that draws randomness.

use crate::app::Error;

/// 32 letters and digits that nobody confuses: five bits each.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The public part of a token: 8 letters and digits.
///
/// # Errors
/// Where the operating system has no randomness.
pub(crate) fn token_id() -> Result<String, Error> {
    Ok(text(&bytes::<8>()?))
}

/// The secret part of a token: 52 letters and digits, 260 bits.
///
/// # Errors
/// Where the operating system has no randomness.
pub(crate) fn token_secret() -> Result<String, Error> {
    Ok(text(&bytes::<52>()?))
}

/// A seed for a signing key.
///
/// # Errors
/// Where the operating system has no randomness.
pub(crate) fn seed() -> Result<[u8; 32], Error> {
    bytes()
}

fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Unavailable(format!("no randomness: {error}")))?;
    Ok(bytes)
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}
