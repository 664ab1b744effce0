//! Several envelopes in a row, as they travel and as they lie on disk.

use super::TrustError;

const MAGIC: &[u8; 8] = b"ENTBNDL1";

/// The start of a bundle without envelopes yet.
#[must_use]
pub fn empty_bundle() -> Vec<u8> {
    MAGIC.to_vec()
}

/// Adds an envelope.
pub fn push_envelope(bundle: &mut Vec<u8>, envelope: &[u8]) {
    bundle.extend_from_slice(&(envelope.len() as u64).to_le_bytes());
    bundle.extend_from_slice(envelope);
}

/// A bundle of these envelopes.
#[must_use]
pub fn bundle<'e>(envelopes: impl IntoIterator<Item = &'e [u8]>) -> Vec<u8> {
    let mut bundle = empty_bundle();
    envelopes.into_iter().for_each(|envelope| push_envelope(&mut bundle, envelope));
    bundle
}

/// A bundle that is not whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct TornBundle<'b> {
    /// What is wrong with it.
    pub why: TrustError,
    /// The envelopes that are whole, before the cut.
    pub envelopes: Vec<&'b [u8]>,
}

/// The envelopes of a bundle, none of them trusted.
///
/// # Errors
/// Where it is none, holds nothing, or is cut off.
pub fn unbundle(bytes: &[u8]) -> Result<Vec<&[u8]>, TornBundle<'_>> {
    let torn = |why, envelopes| TornBundle { why: TrustError::Malformed(why), envelopes };
    let Some((magic, mut rest)) = bytes.split_first_chunk::<8>() else {
        return Err(torn("it is cut off", Vec::new()));
    };
    if magic != MAGIC {
        return Err(torn("it does not start like a bundle", Vec::new()));
    }
    let mut envelopes = Vec::new();
    while !rest.is_empty() {
        let Some((envelope, after)) = first(rest) else {
            return Err(torn("it is cut off", envelopes));
        };
        envelopes.push(envelope);
        rest = after;
    }
    if envelopes.is_empty() { Err(torn("it holds nothing", envelopes)) } else { Ok(envelopes) }
}

fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bundled_comes_out_again_and_a_cut_leaves_what_was_whole() {
        let all: [&[u8]; 3] = [b"one", b"", b"three"];
        let whole = bundle(all);
        assert_eq!(unbundle(&whole).unwrap(), all);
        for length in 9..whole.len() {
            match unbundle(&whole[..length]) {
                Ok(envelopes) => assert!(envelopes.len() < 3, "{length}"),
                Err(torn) => assert_eq!(torn.envelopes, all[..torn.envelopes.len()]),
            }
        }
        assert!(unbundle(&whole[..8]).is_err(), "nothing is no answer");
        assert!(unbundle(b"ENTSIGN1").is_err());
        let huge = [&MAGIC[..], &u64::MAX.to_le_bytes(), b"x"].concat();
        assert!(unbundle(&huge).is_err());
    }
}
