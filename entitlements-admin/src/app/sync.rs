//! What sidecars follow: the snapshot of the last commit, sealed, and heartbeats.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use entitlements_core::{
    Revision, Timestamp,
    signed::{Hash, Header, SigningKey, Trust, seal_heartbeat, seal_keys, seal_snapshot},
};
use tokio::sync::Mutex;

use super::{App, Error};
use crate::keys::Keys;

/// How old a seal may get. Who fetches a snapshot must not start with an old one.
const SEAL_AGE_MAX: Duration = Duration::from_secs(5);

/// A snapshot as a sidecar has it: `<epoch>.<revision>.<hash>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basis {
    /// The epoch.
    pub epoch: u64,
    /// The revision.
    pub revision: Revision,
    /// The hash of its document.
    pub hash: Hash,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.epoch, self.revision, self.hash)
    }
}

impl FromStr for Basis {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let mut parts = text.splitn(3, '.');
            let epoch = parts.next()?.parse().ok()?;
            let revision = Revision(parts.next()?.parse().ok()?);
            let hash = parts.next()?.parse().ok()?;
            Some(Self { epoch, revision, hash })
        };
        parse().ok_or_else(|| {
            Error::InvalidInput(format!(
                "`{text}` is not a basis: use `<epoch>.<revision>.<hash>`, the `ETag` of a snapshot"
            ))
        })
    }
}

/// A snapshot, sealed.
#[derive(Clone)]
pub struct Publication {
    /// What it is.
    pub basis: Basis,
    /// The signed envelope with the snapshot's document in it.
    pub envelope: Bytes,
    document: Arc<Vec<u8>>,
    issued_at: Timestamp,
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Publication({}, {} bytes)", self.basis, self.envelope.len())
    }
}

/// What a sidecar is told.
#[derive(Debug)]
pub enum Change {
    /// Its basis is not current: this is.
    Full(Publication),
    /// Its basis is current. A signed heartbeat says so.
    None(Bytes),
}

/// Signs, and keeps the last snapshot that it signed.
pub(super) struct Publisher {
    keys: Arc<Keys>,
    environment: String,
    epoch: u64,
    max_age_s: u32,
    keys_envelope: Bytes,
    last: Mutex<Option<Publication>>,
}

impl Publisher {
    pub(super) fn new(
        keys: Keys,
        environment: String,
        epoch: u64,
        max_age_s: u32,
        at: Timestamp,
    ) -> Self {
        let publishers = [keys.publisher.public()];
        let envelope = seal_keys(&keys.root, &environment, KEYS_VERSION, &publishers, at);
        Self {
            keys: Arc::new(keys),
            environment,
            epoch,
            max_age_s,
            keys_envelope: envelope.into(),
            last: Mutex::default(),
        }
    }

    pub(super) fn environment(&self) -> &str {
        &self.environment
    }

    pub(super) fn signing_key(&self) -> &SigningKey {
        &self.keys.publisher
    }

    /// What whoever has our root key believes.
    pub(super) fn trust(&self) -> Result<Trust, Error> {
        let mut trust = Trust::new(self.keys.root.public(), &self.environment);
        let known = trust.accept_keys(&self.keys_envelope);
        known.map_err(|error| Error::Unavailable(format!("our own keys: {error}")))?;
        Ok(trust)
    }

    pub(super) fn derived_secret(&self, actor: &str, request: &str, id: &str) -> String {
        self.keys.derived_secret(actor, request, id)
    }

    pub(super) fn header(&self, revision: Revision, issued_at: Timestamp) -> Header {
        Header {
            environment: self.environment.clone(),
            epoch: self.epoch,
            revision,
            issued_at,
            max_age_s: Some(self.max_age_s),
        }
    }
}

/// The version of the list of publisher keys. There is one list so far.
const KEYS_VERSION: u64 = 1;

impl App {
    /// The signed list of keys that may publish.
    #[must_use]
    pub fn keys_envelope(&self) -> Bytes {
        self.0.publisher.keys_envelope.clone()
    }

    /// The root public key, in hex digits: what a sidecar must be given to trust us.
    #[must_use]
    pub fn trust(&self) -> String {
        self.0.publisher.keys.root.public().to_string()
    }

    /// The snapshot of the last commit. It is encoded once per revision, however many ask.
    ///
    /// # Errors
    /// Where it cannot be encoded.
    pub async fn publication(&self) -> Result<Publication, Error> {
        self.sealed(SEAL_AGE_MAX).await
    }

    /// The same, under a seal of any age up to this.
    async fn sealed(&self, age_max: Duration) -> Result<Publication, Error> {
        let publisher = &self.0.publisher;
        let mut last = publisher.last.lock().await;
        let pin = self.pin();
        let kept = last.take().filter(|kept| kept.basis.revision == pin.revision());
        let now = self.now();
        if let Some(kept) = &kept
            && now.since(kept.issued_at) <= age_max
        {
            *last = Some(kept.clone());
            return Ok(kept.clone());
        }
        let (epoch, header) = (publisher.epoch, publisher.header(pin.revision(), now));
        let keys = Arc::clone(&publisher.keys);
        let seal = move || {
            let document = kept.map_or_else(|| Arc::new(pin.encode()), |kept| kept.document);
            let hash = Hash::of(&document);
            let envelope = seal_snapshot(&keys.publisher, &header, &document).into();
            let basis = Basis { epoch, revision: header.revision, hash };
            Publication { basis, envelope, document, issued_at: header.issued_at }
        };
        let sealed = tokio::task::spawn_blocking(seal)
            .await
            .map_err(|error| Error::Unavailable(format!("a snapshot was not encoded: {error}")))?;
        self.metrics().encoded(sealed.document.len());
        *last = Some(sealed.clone());
        Ok(sealed)
    }

    /// What to tell a sidecar that has `basis`: at once where that is not current, else as soon as
    /// something is committed, else after `wait` that nothing was.
    ///
    /// # Errors
    /// As [`App::publication`].
    pub async fn change(&self, basis: Option<Basis>, wait: Duration) -> Result<Change, Error> {
        let mut revisions = self.live().revisions();
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        loop {
            revisions.mark_unchanged();
            let current = self.sealed(Duration::MAX).await?;
            if basis.as_ref() != Some(&current.basis) {
                return self.publication().await.map(Change::Full);
            }
            let _waiting = self.metrics().waiting();
            let over = tokio::select! {
                committed = revisions.changed() => committed.is_err(),
                () = &mut deadline => true,
                () = self.told_to_stop() => true,
            };
            if over {
                return self.heartbeat_or_newer(&current.basis).await;
            }
        }
    }

    /// A heartbeat says what is current now, so it must not be about what was a wait ago.
    async fn heartbeat_or_newer(&self, basis: &Basis) -> Result<Change, Error> {
        let publisher = &self.0.publisher;
        let now = self.now();
        if self.pin().revision() != basis.revision {
            return self.publication().await.map(Change::Full);
        }
        let header = publisher.header(basis.revision, now);
        Ok(Change::None(seal_heartbeat(&publisher.keys.publisher, &header, &basis.hash).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basis_is_read_as_it_is_written() {
        let hash = "ab".repeat(32);
        let text = format!("1.42.{hash}");
        assert_eq!(text.parse::<Basis>().unwrap().to_string(), text);
        for bad in ["", "1", "1.2", "1.2.zz", "x.2.", &format!("1.-2.{hash}"), &format!("{text}0")]
        {
            let error = bad.parse::<Basis>().unwrap_err().to_string();
            assert!(error.contains("is not a basis"), "{bad}: {error}");
        }
    }
}
