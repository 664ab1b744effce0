//! What sidecars follow: snapshots, changes and heartbeats, all of them signed.

mod publisher;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use entitlements_core::{
    Revision, Snapshot,
    document::{Delta, Hash},
    signed::Basis,
};

pub use self::publisher::Publication;
pub(super) use self::publisher::{Publisher, SILENCE_MAX};
use super::{App, Error, execute::apart, live};
use crate::{
    store::{ReadError, Reading},
    workflow::Kind,
};

/// What a sidecar says it has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// Which content.
    pub basis: Option<Basis>,
    /// Which candidate it has prepared or rejected.
    pub candidate: Option<String>,
}

/// What a sidecar is told.
#[derive(Debug, Clone)]
pub struct Told {
    /// What kind of news it is.
    pub intent: Intent,
    /// What is current.
    pub basis: Basis,
    /// A bundle of signed envelopes.
    pub bundle: Bytes,
    /// The same, packed with gzip, where that is worth it.
    pub packed: Option<Bytes>,
}

/// What kind of news there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Its basis is not known: this is all there is.
    Full,
    /// Its basis was current: this is what changed since.
    Delta,
    /// Its basis is current, and this may come next.
    Candidate,
    /// Its basis is current.
    None,
}

impl Intent {
    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Delta => "delta",
            Self::Candidate => "candidate",
            Self::None => "none",
        }
    }
}

/// Where more than this many tenants changed, and a quarter of all, everything is sent instead.
const DELTA_TENANTS_MAX: usize = 1_000;

impl App {
    /// The signed list of keys that may publish.
    #[must_use]
    pub fn keys_envelope(&self) -> Bytes {
        self.publisher().keys_envelope()
    }

    /// The root public key, in hex digits: what a sidecar must be given to trust us.
    #[must_use]
    pub fn trust(&self) -> String {
        self.publisher().root()
    }

    /// Which content is current.
    ///
    /// # Errors
    /// Where its hash was not worked out.
    pub async fn basis(&self) -> Result<Basis, Error> {
        let world = Snapshot::clone(&self.pin());
        let (revision, hash) = (world.revision(), content_hash(world).await?);
        Ok(Basis { epoch: self.publisher().epoch(), revision, hash })
    }

    /// The snapshot of the last commit. It is encoded once per revision, however many ask.
    ///
    /// # Errors
    /// Where it cannot be encoded.
    pub async fn publication(&self) -> Result<Publication, Error> {
        let world = Snapshot::clone(&self.pin());
        let hash = content_hash(world.clone()).await?;
        let switch = self.live().switch();
        let publication = self.publisher().full(world, hash, self.now(), switch).await?;
        self.metrics().encoded(publication.bundle.len());
        Ok(publication)
    }

    /// What to tell a sidecar: at once where there is news, else as soon as there is some, else after
    /// `wait` that there was none.
    ///
    /// # Errors
    /// As [`App::publication`].
    pub async fn change(&self, asked: Asked, wait: Duration) -> Result<Told, Error> {
        let (mut revisions, mut fleet) = (self.live().revisions(), self.fleet().tidings());
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        loop {
            revisions.mark_unchanged();
            fleet.mark_unchanged();
            let basis = self.basis().await?;
            if asked.basis != Some(basis) {
                return self.news(asked.basis).await;
            }
            let candidate = self.live().candidate();
            if candidate.as_ref().map(|it| &it.id) != asked.candidate.as_ref() {
                return match candidate {
                    Some(candidate) => self.told_candidate(basis, &candidate).await,
                    None => self.heartbeat_or_news(basis).await,
                };
            }
            let _waiting = self.metrics().waiting();
            tokio::select! {
                Ok(()) = revisions.changed() => continue,
                Ok(()) = fleet.changed() => {}
                () = &mut deadline => {}
                () = self.told_to_stop() => {}
            }
            return self.heartbeat_or_news(basis).await;
        }
    }

    /// What leads from a basis to what is current, or all of that.
    async fn news(&self, base: Option<Basis>) -> Result<Told, Error> {
        let world = Snapshot::clone(&self.pin());
        let hash = content_hash(world.clone()).await?;
        let to = Basis { epoch: self.publisher().epoch(), revision: world.revision(), hash };
        let follows = |base: &Basis| base.epoch == to.epoch && base.revision < to.revision;
        if let Some(base) = base.filter(follows)
            && let Some(bundle) = self.delta(base, to, world).await?
        {
            return Ok(Told { intent: Intent::Delta, basis: to, bundle, packed: None });
        }
        let Publication { basis, bundle, packed, .. } = self.publication().await?;
        Ok(Told { intent: Intent::Full, basis, bundle, packed: Some(packed) })
    }

    async fn delta(&self, from: Basis, to: Basis, world: Snapshot) -> Result<Option<Bytes>, Error> {
        let most = DELTA_TENANTS_MAX.max(world.tenant_count() / 4);
        let changes = async {
            let read = move |store: &Reading<'_>| changes_between(store, from.revision, &world);
            self.store().read(read).await
        };
        let switch = self.live().switch();
        self.publisher().delta(from, to, most, (self.now(), switch), changes).await
    }

    /// A heartbeat says what is current now, so it must not be about what was a wait ago, nor miss
    /// what another process has committed.
    async fn heartbeat_or_news(&self, basis: Basis) -> Result<Told, Error> {
        let now = self.now();
        self.catch_up().await?;
        if self.pin().revision() != basis.revision {
            return self.news(Some(basis)).await;
        }
        let mut tidings = self.fleet().tidings().borrow().clone();
        tidings.candidate = self.live().candidate().map(|candidate| candidate.id.clone());
        let bundle = self.publisher().heartbeat(basis, now, self.live().switch(), &tidings);
        Ok(Told { intent: Intent::None, basis, bundle, packed: None })
    }

    async fn told_candidate(
        &self,
        basis: Basis,
        candidate: &Arc<live::Candidate>,
    ) -> Result<Told, Error> {
        let (world, wanted) = (Snapshot::clone(&self.pin()), Arc::clone(candidate));
        if world.revision() != basis.revision {
            return self.news(Some(basis)).await;
        }
        let hash = apart(move || world.content_hash_under(&wanted.catalog)).await?;
        let bundle = self.publisher().candidate(basis, hash, self.now(), candidate);
        Ok(Told { intent: Intent::Candidate, basis, bundle, packed: None })
    }

    pub(super) fn publisher(&self) -> &Publisher {
        &self.0.publisher
    }
}

/// The first time it reads all tenants, so not on the threads that serve others.
async fn content_hash(world: Snapshot) -> Result<Hash, Error> {
    match world.known_content_hash() {
        Some(hash) => Ok(hash),
        None => apart(move || world.content_hash()).await,
    }
}

/// What changed after a revision and up to a snapshot, each object as it is in the snapshot.
fn changes_between(
    store: &Reading<'_>,
    after: Revision,
    world: &Snapshot,
) -> Result<Delta, ReadError> {
    let mut delta = Delta::default();
    for (id, version) in store.since(after)? {
        if version.revision > world.revision() {
            break;
        }
        match id.kind {
            Kind::Catalog => delta.catalog = Some(Arc::clone(world.catalog())),
            Kind::Tenant => {
                let now = world.tenant(id.key.as_str()).map(|view| view.tenant());
                delta.tenants.insert(live::tenant_key(&id.key)?, now);
            }
            _ => {}
        }
    }
    Ok(delta)
}
