//! Signatures of Standard Webhooks, and what receivers say about coming again.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The fewest bytes of a symmetric secret.
pub const SECRET_BYTES_MIN: usize = 24;
/// The most.
pub const SECRET_BYTES_MAX: usize = 64;

/// What a webhook is signed with.
#[derive(Clone)]
pub struct Secret(Key);

#[derive(Clone)]
enum Key {
    /// `v1`: HMAC-SHA256.
    Symmetric(Arc<[u8]>),
    /// `v1a`: ed25519.
    Asymmetric(Box<SigningKey>),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Secret {
    /// Reads `whsec_` and 24 to 64 bytes in base64, or `whsk_` and the 32 or 64 bytes of an ed25519
    /// key.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(encoded) = text.strip_prefix("whsk_") {
            let bytes = STANDARD.decode(encoded).ok();
            let seed = bytes.filter(|bytes| matches!(bytes.len(), 32 | 64));
            let seed = seed.and_then(|bytes| bytes.get(..32)?.try_into().ok());
            let seed: [u8; 32] =
                seed.ok_or("it is no key: write `whsk_` and 32 bytes in base64")?;
            return Ok(Self(Key::Asymmetric(Box::new(SigningKey::from_bytes(&seed)))));
        }
        let bytes = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok();
        let fits = |bytes: &Vec<u8>| (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len());
        let bytes = bytes.filter(fits).ok_or_else(|| {
            format!(
                "it is no secret: write `whsec_` and {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} \
                 bytes in base64"
            )
        })?;
        Ok(Self(Key::Symmetric(bytes.into())))
    }

    /// The text of a symmetric secret of these bytes.
    #[must_use]
    pub fn symmetric_text(bytes: &[u8; 32]) -> String {
        format!("whsec_{}", STANDARD.encode(bytes))
    }

    /// The text of an asymmetric key of this seed.
    #[must_use]
    pub fn asymmetric_text(seed: &[u8; 32]) -> String {
        format!("whsk_{}", STANDARD.encode(seed))
    }

    /// What receivers verify with, where that is not the secret itself: `whpk_` and base64.
    #[must_use]
    pub fn public_text(&self) -> Option<String> {
        match &self.0 {
            Key::Symmetric(_) => None,
            Key::Asymmetric(key) => {
                Some(format!("whpk_{}", STANDARD.encode(key.verifying_key().to_bytes())))
            }
        }
    }

    /// One signature: `v1,…` or `v1a,…`. `timestamp` is in seconds since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp}.");
        match &self.0 {
            Key::Symmetric(secret) => {
                // A key of any length is one.
                let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
                    return String::new();
                };
                mac.update(head.as_bytes());
                mac.update(body);
                format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
            }
            Key::Asymmetric(key) => {
                let signed = key.sign(&[head.as_bytes(), body].concat());
                format!("v1a,{}", STANDARD.encode(signed.to_bytes()))
            }
        }
    }
}

impl Secret {
    /// Whether one of the signatures in a header is that of this secret. Only symmetric ones verify
    /// here: of an asymmetric key the other side has only the half that verifies.
    #[must_use]
    pub fn verifies(&self, signatures: &str, id: &str, timestamp: i64, body: &[u8]) -> bool {
        let Key::Symmetric(secret) = &self.0 else { return false };
        let given = signatures.split(' ').filter_map(|one| one.strip_prefix("v1,"));
        given.filter_map(|encoded| STANDARD.decode(encoded).ok()).any(|signature| {
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return false };
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            mac.verify_slice(&signature).is_ok()
        })
    }
}

/// For how long a receiver wants to be left alone: a number of seconds, or an instant as HTTP writes
/// it. `now_s` is in seconds since 1970.
#[must_use]
pub fn retry_after(text: &str, now_s: i64) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let at_s = at.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    Some(Duration::from_secs(at_s.saturating_sub(u64::try_from(now_s).unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_standard() {
        // The examples that the standard and its libraries give.
        for (secret, id, timestamp, body, signature) in [
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                "{\"test\": 2432232314}",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
        ] {
            let secret = Secret::parse(secret).unwrap();
            assert_eq!(secret.sign(id, timestamp, body.as_bytes()), signature);
            assert_eq!(secret.public_text(), None);
        }
    }

    #[test]
    fn a_public_key_verifies_what_its_key_signed() {
        use ed25519_dalek::{Signature, Verifier, VerifyingKey};
        let secret = Secret::parse(&Secret::asymmetric_text(&[7; 32])).unwrap();
        let public = secret.public_text().unwrap();
        let bytes = STANDARD.decode(public.strip_prefix("whpk_").unwrap()).unwrap();
        let public = VerifyingKey::from_bytes(&bytes.try_into().unwrap()).unwrap();
        let signed = secret.sign("evt_1", 12, b"{}");
        let signature = STANDARD.decode(signed.strip_prefix("v1a,").unwrap()).unwrap();
        let signature = Signature::from_slice(&signature).unwrap();
        assert!(public.verify(b"evt_1.12.{}", &signature).is_ok());
        assert!(public.verify(b"evt_1.13.{}", &signature).is_err());
    }

    #[test]
    fn only_what_is_signed_whole_is_verified() {
        let secret = Secret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
        let good = secret.sign("msg_1", 12, b"{}");
        let verifies = |signatures: &str| secret.verifies(signatures, "msg_1", 12, b"{}");
        assert!(verifies(&good) && verifies(&format!("v1a,aHVzaA== v2,x {good}")));
        for wrong in ["", "v1,", "v1,AAAA", &good[..good.len() - 4], &good[3..], "v1a,x", "v1"] {
            assert!(!verifies(wrong), "{wrong}");
        }
        assert!(!secret.verifies(&good, "msg_2", 12, b"{}"));
        assert!(!secret.verifies(&good, "msg_1", 13, b"{}"));
        assert!(!secret.verifies(&good, "msg_1", 12, b"{} "));
        let pair = Secret::parse(&Secret::asymmetric_text(&[7; 32])).unwrap();
        let own = pair.sign("msg_1", 12, b"{}");
        assert!(!pair.verifies(&own, "msg_1", 12, b"{}"), "whoever verifies it cannot sign");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_repeated() {
        for text in ["hush hush", "whsec_aHVzaA==", "whsk_aHVzaA==", "", "whsec_", "whsk_hush"] {
            let error = Secret::parse(text).unwrap_err();
            assert!(error.contains("base64") && !error.contains("hush"), "{error}");
        }
        let shown = format!("{:?}", Secret::parse(&Secret::symmetric_text(&[1; 32])).unwrap());
        assert_eq!(shown, "Secret(***)");
    }

    #[test]
    fn a_receiver_says_in_two_ways_when_to_come_again() {
        for (text, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("18446744073709551615", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sat, 06 Nov 1993 08:49:37 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(text, 784_111_777), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
