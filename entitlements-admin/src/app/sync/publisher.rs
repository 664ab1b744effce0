//! Signs what sidecars are told, and keeps what it signed for those who ask next.

use std::{collections::VecDeque, fmt, future::Future, io::Write, sync::Arc, time::Duration};

use bytes::Bytes;
use entitlements_core::{
    Revision, Snapshot, Timestamp,
    document::{Delta, Hash},
    signed::{
        Basis, Header, SigningKey, Tidings, Trust, bundle, seal_candidate, seal_delta,
        seal_heartbeat, seal_keys, seal_snapshot,
    },
};
use flate2::{Compression, write::GzEncoder};
use tokio::sync::Mutex;

use super::super::{Error, execute::apart, live};
use crate::keys::Keys;

/// How old a seal may get. Who fetches something must not start with an old word.
const SEAL_AGE_MAX: Duration = Duration::from_secs(5);
/// How many changes are kept.
const DELTAS_KEPT: usize = 64;
/// For how long a sidecar that prepared a candidate may call itself fresh without hearing from us.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(2);

/// A snapshot, sealed.
#[derive(Clone)]
pub struct Publication {
    /// What it is.
    pub basis: Basis,
    /// A bundle of one signed envelope with the snapshot's document in it.
    pub bundle: Bytes,
    /// The same, packed with gzip.
    pub packed: Bytes,
    document: Arc<Vec<u8>>,
    issued_at: Timestamp,
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Publication({}, {} bytes)", self.basis, self.bundle.len())
    }
}

/// A change, sealed; absent where it is too large to be one.
struct Sealed {
    from: Basis,
    to: Basis,
    issued_at: Timestamp,
    bundle: Option<Bytes>,
}

/// Packs quickly rather than tightly: a snapshot is sent seldom, and not to be waited for.
fn gzip(bytes: &[u8]) -> Bytes {
    let mut packing = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    // A `Vec` takes every byte.
    let _ = packing.write_all(bytes);
    packing.finish().unwrap_or_default().into()
}

/// Signs.
pub(in crate::app) struct Publisher {
    keys: Arc<Keys>,
    environment: String,
    epoch: u64,
    max_age_s: u32,
    keys_envelope: Bytes,
    full: Mutex<Option<Publication>>,
    deltas: Mutex<VecDeque<Sealed>>,
}

impl Publisher {
    pub(in crate::app) fn new(
        keys: Keys,
        environment: String,
        epoch: u64,
        max_age_s: u32,
        at: Timestamp,
    ) -> Self {
        let envelope = seal_keys(&keys.root, &environment, keys.version, &keys.publishers(), at);
        Self {
            keys: Arc::new(keys),
            environment,
            epoch,
            max_age_s,
            keys_envelope: envelope.into(),
            full: Mutex::default(),
            deltas: Mutex::default(),
        }
    }

    pub(in crate::app) fn environment(&self) -> &str {
        &self.environment
    }

    pub(in crate::app) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn root(&self) -> String {
        self.keys.root.public().to_string()
    }

    pub(super) fn keys_envelope(&self) -> Bytes {
        self.keys_envelope.clone()
    }

    pub(in crate::app) fn signing_key(&self) -> &SigningKey {
        &self.keys.publisher
    }

    /// What whoever has our root key believes.
    pub(in crate::app) fn trust(&self) -> Result<Trust, Error> {
        let mut trust = Trust::new(self.keys.root.public(), &self.environment);
        let known = trust.accept_keys(&self.keys_envelope);
        known.map_err(|error| Error::Unavailable(format!("our own keys: {error}")))?;
        Ok(trust)
    }

    pub(in crate::app) fn derived_secret(&self, actor: &str, request: &str, id: &str) -> String {
        self.keys.derived_secret(actor, request, id)
    }

    pub(in crate::app) fn header(&self, revision: Revision, issued_at: Timestamp) -> Header {
        Header {
            environment: self.environment.clone(),
            epoch: self.epoch,
            revision,
            issued_at,
            max_age_s: Some(self.max_age_s),
            activate_at: None,
        }
    }

    /// The same for something that is not to be served before an instant, as long as that is to come.
    fn switching(&self, revision: Revision, now: Timestamp, at: Option<Timestamp>) -> Header {
        let activate_at = at.filter(|at| *at > now);
        Header { activate_at, ..self.header(revision, now) }
    }

    /// A snapshot, all of it. It is encoded once, and sealed anew when the seal is old.
    pub(super) async fn full(
        &self,
        world: Snapshot,
        content: Hash,
        now: Timestamp,
        switch: Option<Timestamp>,
    ) -> Result<Publication, Error> {
        let mut last = self.full.lock().await;
        let kept = last.take().filter(|kept| kept.basis.revision == world.revision());
        if let Some(kept) = &kept
            && now.since(kept.issued_at) <= SEAL_AGE_MAX
        {
            *last = Some(kept.clone());
            return Ok(kept.clone());
        }
        let header = self.switching(world.revision(), now, switch);
        let (keys, epoch) = (Arc::clone(&self.keys), self.epoch);
        let seal = move || {
            let document = kept.map_or_else(|| Arc::new(world.encode()), |kept| kept.document);
            let envelope = seal_snapshot(&keys.publisher, &header, &content, &document);
            let basis = Basis { epoch, revision: header.revision, hash: content };
            let bundle = Bytes::from(bundle([&*envelope]));
            let packed = gzip(&bundle);
            Publication { basis, bundle, packed, document, issued_at: header.issued_at }
        };
        let sealed = apart(seal).await?;
        *last = Some(sealed.clone());
        Ok(sealed)
    }

    /// What leads from one content to another, where no more than `most` tenants changed. However
    /// many ask for the same, it is worked out once.
    pub(super) async fn delta<E>(
        &self,
        from: Basis,
        to: Basis,
        most: usize,
        (now, switch): (Timestamp, Option<Timestamp>),
        changes: impl Future<Output = Result<Delta, E>>,
    ) -> Result<Option<Bytes>, Error>
    where
        Error: From<E>,
    {
        let mut kept = self.deltas.lock().await;
        let same = |one: &&Sealed| {
            one.from == from && one.to == to && now.since(one.issued_at) <= SEAL_AGE_MAX
        };
        if let Some(known) = kept.iter().find(same) {
            return Ok(known.bundle.clone());
        }
        let delta = changes.await?;
        let bundle = (delta.tenants.len() <= most).then(|| {
            let header = self.switching(to.revision, now, switch);
            let delta = delta.encode();
            let envelope = seal_delta(&self.keys.publisher, &header, &from, &to.hash, &delta);
            Bytes::from(bundle([&*envelope]))
        });
        kept.retain(|one| now.since(one.issued_at) <= SEAL_AGE_MAX);
        kept.truncate(DELTAS_KEPT - 1);
        kept.push_front(Sealed { from, to, issued_at: now, bundle: bundle.clone() });
        Ok(bundle)
    }

    pub(super) fn heartbeat(
        &self,
        basis: Basis,
        now: Timestamp,
        switch: Option<Timestamp>,
        tidings: &Tidings,
    ) -> Bytes {
        let header = self.switching(basis.revision, now, switch);
        let envelope = seal_heartbeat(&self.keys.publisher, &header, &basis.hash, tidings);
        bundle([&*envelope]).into()
    }

    pub(super) fn candidate(
        &self,
        basis: Basis,
        content: Hash,
        now: Timestamp,
        candidate: &live::Candidate,
    ) -> Bytes {
        let delta =
            Delta { catalog: Some(Arc::clone(&candidate.catalog)), ..Delta::default() }.encode();
        let silence_ms = u32::try_from(SILENCE_MAX.as_millis()).unwrap_or(u32::MAX);
        let envelope = seal_candidate(
            &self.keys.publisher,
            &self.header(basis.revision, now),
            &basis,
            &content,
            (&candidate.id, silence_ms),
            &delta,
        );
        bundle([&*envelope]).into()
    }
}
