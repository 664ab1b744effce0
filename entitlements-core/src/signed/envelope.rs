//! The envelope: what is signed, and how it is laid out.
//!
//! Magic (8 bytes), key id (8), signature (64), length of the head (4, little-endian), head (JSON),
//! payload. The signature covers a tag, the key id, the head's length, and the head, which holds the
//! kind, and the payload's length and BLAKE3 hash.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{ENVELOPE_BYTES_MAX, Hash, KeyId, PublicKey, SigningKey, TrustError};

const MAGIC: &[u8; 8] = b"ENTSIGN1";
const TAG: &[u8] = b"entitlements/envelope/v1\0";
const FIXED: usize = 8 + 8 + 64 + 4;
const HEAD_MAX: usize = 64 * 1024;

pub(super) const UNREADABLE: TrustError = TrustError::Malformed("its head cannot be read");

/// What is signed, in its own words.
#[derive(Serialize, Deserialize)]
struct Head {
    kind: String,
    payload_length: u64,
    payload_hash: String,
    #[serde(flatten)]
    says: serde_json::Value,
}

pub(super) fn seal(key: &SigningKey, kind: &str, says: &impl Serialize, payload: &[u8]) -> Vec<u8> {
    let head = Head {
        kind: kind.into(),
        payload_length: payload.len() as u64,
        payload_hash: Hash::of(payload).to_string(),
        // Plain structs of texts and numbers always have a JSON form.
        says: serde_json::to_value(says).unwrap_or_default(),
    };
    let head = serde_json::to_vec(&head).unwrap_or_default();
    let id = key.public().id();
    let mut out = Vec::with_capacity(FIXED + head.len() + payload.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&id.bytes());
    out.extend_from_slice(&key.sign(&message(id, &head)));
    out.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    out
}

fn message(id: KeyId, head: &[u8]) -> Vec<u8> {
    let length = (head.len() as u64).to_le_bytes();
    [TAG, &id.bytes(), &length, head].concat()
}

/// An envelope that one of some keys signed.
pub(super) struct Opened<'a> {
    pub(super) kind: String,
    pub(super) payload: &'a [u8],
    says: serde_json::Value,
}

impl Opened<'_> {
    /// What it says, as the kind that it must be.
    pub(super) fn says<T: DeserializeOwned>(&self, kind: &'static str) -> Result<T, TrustError> {
        if self.kind != kind {
            return Err(TrustError::WrongKind { found: self.kind.clone(), expected: kind });
        }
        T::deserialize(&self.says).map_err(|_| UNREADABLE)
    }
}

/// Checks the signature, and the payload against what was signed. Nothing is parsed before.
pub(super) fn open<'a>(envelope: &'a [u8], keys: &[PublicKey]) -> Result<Opened<'a>, TrustError> {
    if envelope.len() > ENVELOPE_BYTES_MAX {
        return Err(TrustError::Malformed("it is too large"));
    }
    let cut_off = TrustError::Malformed("it is cut off");
    let (magic, rest) = envelope.split_first_chunk::<8>().ok_or(cut_off.clone())?;
    if magic != MAGIC {
        return Err(TrustError::Malformed("it does not start like one"));
    }
    let (id, rest) = rest.split_first_chunk::<8>().ok_or(cut_off.clone())?;
    let (signature, rest) = rest.split_first_chunk::<64>().ok_or(cut_off.clone())?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(cut_off.clone())?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > HEAD_MAX {
        return Err(TrustError::Malformed("its head is too large"));
    }
    let (head, payload) = rest.split_at_checked(length).ok_or(cut_off)?;
    let id = KeyId::from_bytes(*id);
    let key = keys.iter().find(|key| key.id() == id).ok_or(TrustError::UnknownKey(id))?;
    if !key.verify(&message(id, head), signature) {
        return Err(TrustError::BadSignature);
    }
    // From here on the head is what a trusted key signed.
    let head: Head = serde_json::from_slice(head).map_err(|_| UNREADABLE)?;
    let hash = Hash::of(payload);
    if head.payload_length != payload.len() as u64 || head.payload_hash != hash.to_string() {
        return Err(TrustError::BadPayload);
    }
    Ok(Opened { kind: head.kind, payload, says: head.says })
}
