//! The one place that draws randomness.

use crate::app::Error;

/// 32 letters and digits that nobody confuses: five bits each.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The public part of a service key: 8 letters and digits.
///
/// # Errors
/// Where the operating system has no randomness.
pub(crate) fn key_id() -> Result<String, Error> {
    Ok(text(&bytes::<8>()?))
}

/// What a request is called: 16 letters and digits.
///
/// # Errors
/// Where the operating system has no randomness.
pub(crate) fn request_id() -> Result<String, Error> {
    Ok(text(&bytes::<16>()?))
}

/// 32 random bytes as 52 letters and digits.
///
/// # Errors
/// Where the operating system has no randomness.
pub(crate) fn secret() -> Result<String, Error> {
    Ok(text(&bytes::<52>()?))
}

/// Letters and digits for bytes, one for each: five bits of it count.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

/// What a password is hashed with.
///
/// # Errors
/// Where the operating system has no randomness.
pub(crate) fn salt() -> Result<[u8; 16], Error> {
    bytes()
}

/// What an event is called.
///
/// # Errors
/// Where the operating system has no randomness.
pub(crate) fn event_id() -> Result<String, Error> {
    Ok(format!("evt_{}", text(&bytes::<26>()?)))
}

/// What a message or a follow-up is called: 20 letters and digits.
///
/// # Errors
/// Where the operating system has no randomness.
pub(crate) fn delivery_id() -> Result<String, Error> {
    Ok(text(&bytes::<20>()?))
}

/// What something is sealed with, once.
///
/// # Errors
/// Where the operating system has no randomness.
pub(crate) fn nonce() -> Result<[u8; 24], Error> {
    bytes()
}

/// A number from -1 to 1, to spread what would otherwise come at once.
pub(crate) fn luck() -> f64 {
    // Without randomness nothing is spread, and nothing else is wrong.
    let bytes: [u8; 4] = bytes().unwrap_or([0, 0, 0, 128]);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX) * 2.0 - 1.0
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
