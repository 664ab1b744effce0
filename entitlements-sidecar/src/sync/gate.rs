//! What may become the active snapshot: the one way in, from the network and from disk.
//!
//! The order is: signature and hash, high-water mark, compilation and the hash of what came of it,
//! disk, mark, swap. Whatever fails leaves everything as it was.

use std::io;

use entitlements_core::{
    Revision, Snapshot, Timestamp,
    document::DocumentError,
    signed::{
        Basis, Header, Heartbeat, TornBundle, Trust, TrustError, Verified, VerifiedCandidate,
        VerifiedDelta, VerifiedSnapshot, unbundle,
    },
};

use super::disk::{Disk, Mark, Slot};

/// Why something was not believed or not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it is larger than {0} bytes, which is the most that is taken")]
    TooLarge(usize),
    #[error("it cannot be trusted: {0}")]
    Untrusted(#[from] TrustError),
    #[error(
        "it is an older one (epoch {0}, revision {1}) than one that was taken before (epoch {2}, \
         revision {3})"
    )]
    Rollback(u64, Revision, u64, Revision),
    #[error("two different contents carry epoch {0}, revision {1}: somebody signed both")]
    Equivocation(u64, Revision),
    #[error("the heartbeat names epoch {0}, revision {1}, which was not sent")]
    Withheld(u64, Revision),
    #[error("its parts do not belong together")]
    Mixed,
    #[error("it cannot be used: {0}")]
    Document(#[from] DocumentError),
    #[error("it cannot be kept on disk: {0}")]
    Disk(#[from] io::Error),
}

impl Refusal {
    /// The stable word for it in metrics and logs.
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too_large",
            Self::Untrusted(_) => "untrusted",
            Self::Rollback(..) => "rollback",
            Self::Equivocation(..) => "equivocation",
            Self::Withheld(..) => "withheld",
            Self::Mixed => "mixed",
            Self::Document(DocumentError::OtherBase | DocumentError::Diverged) => "diverged",
            Self::Document(_) => "document",
            Self::Disk(_) => "disk",
        }
    }

    /// Whether only all of it helps, because what is there is not what the change is of.
    pub(crate) fn wants_all(&self) -> bool {
        matches!(
            self,
            Self::Document(DocumentError::OtherBase | DocumentError::Diverged) | Self::Withheld(..)
        )
    }

    /// Every word there is.
    pub(crate) const CAUSES: [&'static str; 9] = [
        "too_large",
        "untrusted",
        "rollback",
        "equivocation",
        "withheld",
        "mixed",
        "diverged",
        "document",
        "disk",
    ];
}

/// A snapshot that may be served, and the paper that says so.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    pub(crate) snapshot: Snapshot,
    pub(crate) header: Header,
    pub(crate) basis: Basis,
    /// Whether it is the very one that was there already.
    pub(crate) known: bool,
    /// Whether a newer one was lost on disk, or it is not known what became of a candidate.
    pub(crate) damaged: bool,
}

impl Admitted {
    /// When it is to be served, where that is not now.
    pub(crate) fn due_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.header.activate_at.filter(|at| *at > now)
    }
}

/// What was heard.
#[derive(Debug)]
pub(crate) enum News {
    /// Something newer, or the same again.
    Admitted(Box<Admitted>),
    /// What may come next, prepared; or why it cannot be served.
    Candidate { id: String, silence_max_ms: u32, rejected: Option<String> },
    /// That what is there is current.
    Confirmed(Heartbeat),
}

/// What the disk held.
#[derive(Debug, Default)]
pub(crate) struct Booted {
    /// What can be served now.
    pub(crate) served: Option<Admitted>,
    /// What is to be served at an instant that is to come.
    pub(crate) armed: Option<Admitted>,
    /// What was wrong.
    pub(crate) refusals: Vec<Refusal>,
}

/// The newest content that was taken, and where it lies.
#[derive(Debug, Clone)]
struct Newest {
    snapshot: Snapshot,
    basis: Basis,
    slot: Slot,
    /// How long the bundle in the slot is, as far as it is whole.
    length: usize,
    /// What each envelope of the bundle leads to, and where the next one starts.
    chain: Vec<(Basis, usize)>,
}

/// Guards the active snapshot.
#[derive(Debug)]
pub(crate) struct Gate {
    trust: Trust,
    disk: Disk,
    mark: Mark,
    keys: Vec<u8>,
    newest: Option<Newest>,
    /// What was prepared, and on top of what.
    prepared: Option<(Basis, Snapshot)>,
    has_candidate: bool,
    pub(super) guards: Guards,
}

impl Gate {
    pub(crate) fn new(trust: Trust, disk: Disk, mark: Mark) -> Self {
        Self {
            trust,
            disk,
            mark,
            keys: Vec::new(),
            newest: None,
            prepared: None,
            has_candidate: false,
            guards: Guards::default(),
        }
    }

    /// The newest content that was taken.
    pub(crate) fn basis(&self) -> Option<Basis> {
        self.newest.as_ref().map(|newest| newest.basis)
    }

    /// Whether so many changes follow the snapshot on disk that a new one is due.
    pub(crate) fn is_long(&self) -> bool {
        let Some(Newest { chain, length, .. }) = &self.newest else { return false };
        let first = chain.first().map_or(0, |(_, end)| *end);
        chain.len() > CHAIN_MAX || *length > first.saturating_mul(2) + CHAIN_BYTES_MIN
    }

    /// Takes the publishers' keys; keeps them if they are others than before.
    pub(crate) fn keys(&mut self, envelope: &[u8]) -> Result<(), Refusal> {
        let mut trust = self.trust.clone();
        trust.accept_keys(envelope)?;
        if self.keys != envelope {
            // Keys that the next start would not know must not let in what it could not read then.
            self.disk.write_keys(envelope)?;
            self.keys = envelope.to_vec();
        }
        self.trust = trust;
        Ok(())
    }

    /// What the disk holds: the newest content that is whole.
    pub(crate) fn boot(&mut self, now: Timestamp) -> Booted {
        let mut booted = Booted::default();
        match self.disk.read_keys() {
            Ok(None) => return booted,
            Ok(Some(keys)) => match self.trust.accept_keys(&keys) {
                Ok(()) => self.keys = keys,
                Err(error) => return Booted { refusals: vec![error.into()], ..booted },
            },
            Err(error) => return Booted { refusals: vec![error.into()], ..booted },
        }
        self.has_candidate = self.disk.has_candidate().unwrap_or(true);
        let marked = self.mark.high.as_ref().map(|high| high.slot);
        let first = marked.unwrap_or(Slot::A);
        let mut found: Vec<Lying> = Vec::new();
        for slot in [first, first.other()] {
            match self.read_slot(slot) {
                Ok(None) => {}
                Ok(Some((lying, torn))) => {
                    booted.refusals.extend(torn);
                    let is_marked = self.mark.names(&lying.basis());
                    found.push(lying);
                    if is_marked && Some(slot) == marked {
                        break;
                    }
                }
                Err(refusal) => booted.refusals.push(refusal),
            }
        }
        found.sort_by_key(|lying| (lying.basis().epoch, lying.basis().revision));
        while let Some(lying) = found.pop() {
            match self.serve(&lying, now, &mut booted) {
                Ok(()) => {
                    self.keep_up(now);
                    return booted;
                }
                Err(refusal) => booted.refusals.push(refusal),
            }
        }
        booted
    }

    /// From here on nothing older than what was found is taken, even where a crash kept the mark from
    /// rising; and what was due by now stays due, whatever becomes of the clock.
    fn keep_up(&mut self, now: Timestamp) {
        let Some(Newest { basis, slot, .. }) = &self.newest else { return };
        self.mark = match self.mark.admits(basis) {
            Ok(()) => self.mark.raised(basis, *slot, now),
            Err(_) => self.mark.at_floor(now),
        };
        if let Err(error) = self.disk.write_mark(&self.mark) {
            tracing::warn!("the mark cannot be kept on disk: {error}");
        }
    }

    /// A bundle as it lies in a slot, as far as it is genuine, and what is wrong with the rest.
    fn read_slot(&self, slot: Slot) -> Result<Option<(Lying, Option<Refusal>)>, Refusal> {
        let Some(bytes) = self.disk.read_snapshot(slot)? else { return Ok(None) };
        if bytes.len() > self.disk.bytes_max() {
            return Err(Refusal::TooLarge(self.disk.bytes_max()));
        }
        let (envelopes, mut torn) = match unbundle(&bytes) {
            Ok(envelopes) => (envelopes, None),
            Err(TornBundle { why, envelopes }) => (envelopes, Some(Refusal::from(why))),
        };
        let Some((first, rest)) = envelopes.split_first() else {
            return Err(torn.unwrap_or(Refusal::Mixed));
        };
        let snapshot = self.trust.verify_snapshot(first)?;
        let mut ends = vec![BUNDLE_HEAD + first.len()];
        let mut deltas: Vec<VerifiedDelta> = Vec::new();
        for envelope in rest {
            let before = deltas.last().map_or(snapshot.basis(), VerifiedDelta::basis);
            let refusal = match self.trust.verify(envelope) {
                Ok(Verified::Delta(delta)) if delta.base() == before => {
                    ends.push(ends.last().copied().unwrap_or(0) + LENGTH + envelope.len());
                    deltas.push(delta);
                    continue;
                }
                Ok(_) => Refusal::Mixed,
                Err(error) => error.into(),
            };
            torn = Some(refusal);
            break;
        }
        Ok(Some((Lying { slot, snapshot, deltas, ends }, torn)))
    }

    /// Opens what lies on disk: all of it, and what of it is to be served already.
    fn serve(&mut self, lying: &Lying, now: Timestamp, booted: &mut Booted) -> Result<(), Refusal> {
        // Served at once; upkeep prepares the answers a moment later.
        let opened = lying.snapshot.open()?;
        let below_mark = self.mark.admits(&lying.basis()).is_err();
        let damaged = !booted.refusals.is_empty() || below_mark || self.has_candidate;
        let is_due =
            |header: &Header| header.activate_at.is_none_or(|activate_at| activate_at <= now);
        let due = lying.deltas.iter().take_while(|delta| is_due(delta.header())).count();
        let upto = |count: usize| {
            let deltas = lying.deltas.get(..count).unwrap_or_default();
            let applied = VerifiedDelta::apply_all(deltas, &opened, now)?;
            let (header, basis) = match deltas.last() {
                Some(last) => (last.header().clone(), last.basis()),
                None => (lying.snapshot.header().clone(), lying.snapshot.basis()),
            };
            let snapshot = applied.unwrap_or_else(|| opened.clone());
            Ok::<_, Refusal>(Admitted { snapshot, header, basis, known: false, damaged })
        };
        let newest = upto(lying.deltas.len())?;
        if due == lying.deltas.len() && is_due(lying.snapshot.header()) {
            booted.served = Some(newest.clone());
        } else {
            if is_due(lying.snapshot.header()) {
                booted.served = Some(upto(due)?);
            }
            booted.armed = Some(newest.clone());
        }
        let bases = std::iter::once(lying.snapshot.basis())
            .chain(lying.deltas.iter().map(VerifiedDelta::basis));
        self.newest = Some(Newest {
            snapshot: newest.snapshot,
            basis: newest.basis,
            slot: lying.slot,
            length: lying.ends.last().copied().unwrap_or(0),
            chain: bases.zip(lying.ends.iter().copied()).collect(),
        });
        Ok(())
    }

    /// Takes what came from the network, up to the point where only the swap is left to do.
    pub(crate) fn take(&mut self, bundle: &[u8], now: Timestamp) -> Result<News, Refusal> {
        let envelopes = unbundle(bundle).map_err(|torn| torn.why)?;
        let mut snapshot = None;
        let (mut deltas, mut heartbeat, mut candidate) = (Vec::new(), None, None);
        for envelope in &envelopes {
            let last = heartbeat.is_some() || candidate.is_some();
            match self.trust.verify(envelope)? {
                _ if last => return Err(Refusal::Mixed),
                Verified::Snapshot(it) if snapshot.is_none() && deltas.is_empty() => {
                    snapshot = Some(it);
                }
                Verified::Snapshot(_) => return Err(Refusal::Mixed),
                Verified::Delta(it) => deltas.push(it),
                Verified::Heartbeat(it) => heartbeat = Some(it),
                Verified::Candidate(it) => candidate = Some((it, *envelope)),
            }
        }
        if snapshot.is_some() || !deltas.is_empty() {
            let count = deltas.len() + usize::from(snapshot.is_some());
            let whole = envelopes.get(..count).unwrap_or_default();
            return self.admit(snapshot.as_ref(), &deltas, heartbeat, whole, now);
        }
        match (candidate, heartbeat) {
            (Some((candidate, envelope)), None) => self.prepare(&candidate, envelope, now),
            (None, Some(heartbeat)) => self.confirm(heartbeat),
            _ => Err(Refusal::Mixed),
        }
    }

    fn admit(
        &mut self,
        snapshot: Option<&VerifiedSnapshot>,
        deltas: &[VerifiedDelta],
        heartbeat: Option<Heartbeat>,
        envelopes: &[&[u8]],
        now: Timestamp,
    ) -> Result<News, Refusal> {
        let (mut header, basis) = match (snapshot, deltas.last()) {
            (_, Some(last)) => (last.header().clone(), last.basis()),
            (Some(whole), None) => (whole.header().clone(), whole.basis()),
            (None, None) => return Err(Refusal::Mixed),
        };
        if self.guards.mark {
            self.mark.admits(&basis)?;
        }
        let next = self.compiled(snapshot, deltas, now)?;
        let known = self.basis() == Some(basis);
        match snapshot {
            Some(whole) => self.keep_whole(whole, deltas, envelopes, &next, now)?,
            None if known => {}
            None => self.keep_deltas(deltas, envelopes, &next, now)?,
        }
        // The same again, which anybody may have kept, does not say what became of a candidate.
        if !known {
            self.drop_candidate();
        }
        if let Some(heartbeat) = heartbeat.filter(|heartbeat| heartbeat.basis() == basis) {
            header = Header { activate_at: header.activate_at, ..heartbeat.header };
        }
        let damaged = known && self.has_candidate;
        let admitted = Admitted { snapshot: next, header, basis, known, damaged };
        Ok(News::Admitted(Box::new(admitted)))
    }

    /// What the publisher has, worked out from what it sent and what is there.
    fn compiled(
        &self,
        snapshot: Option<&VerifiedSnapshot>,
        deltas: &[VerifiedDelta],
        now: Timestamp,
    ) -> Result<Snapshot, Refusal> {
        if let Some(snapshot) = snapshot {
            let whole = snapshot.decode(now)?;
            return Ok(VerifiedDelta::apply_all(deltas, &whole, now)?.unwrap_or(whole));
        }
        let newest = self.newest.as_ref().ok_or(DocumentError::OtherBase)?;
        if let (Some((base, prepared)), [one]) = (&self.prepared, deltas)
            && *base == newest.basis
            && let Some(ready) = one.apply_prepared(&newest.snapshot, prepared, now)?
        {
            return Ok(ready);
        }
        let next = VerifiedDelta::apply_all(deltas, &newest.snapshot, now)?;
        Ok(next.ok_or(DocumentError::OtherBase)?)
    }

    /// Two generations are kept: a new one takes the place of the one before the active one. The
    /// mark rises before the new one is served.
    fn keep_whole(
        &mut self,
        whole: &VerifiedSnapshot,
        deltas: &[VerifiedDelta],
        envelopes: &[&[u8]],
        next: &Snapshot,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let slot = self.newest.as_ref().map_or(Slot::A, |newest| newest.slot.other());
        let bundle = entitlements_core::signed::bundle(envelopes.iter().copied());
        self.disk.write_snapshot(slot, &bundle)?;
        let bases = std::iter::once(whole.basis()).chain(deltas.iter().map(VerifiedDelta::basis));
        let chain = chained(Vec::new(), BUNDLE_HEAD - LENGTH, bases, envelopes);
        self.raise(next, slot, bundle.len(), chain, now)
    }

    /// A change is added to the snapshot that it is of.
    fn keep_deltas(
        &mut self,
        deltas: &[VerifiedDelta],
        envelopes: &[&[u8]],
        next: &Snapshot,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(Newest { slot, length, chain, .. }) = self.newest.clone() else {
            return Err(DocumentError::OtherBase.into());
        };
        let longer = self.disk.append(slot, length, envelopes.iter().copied())?;
        let bases = deltas.iter().map(VerifiedDelta::basis);
        let chain = chained(chain, length, bases, envelopes);
        self.raise(next, slot, longer, chain, now)
    }

    fn raise(
        &mut self,
        next: &Snapshot,
        slot: Slot,
        length: usize,
        chain: Vec<(Basis, usize)>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some((basis, _)) = chain.last().copied() else { return Err(Refusal::Mixed) };
        let mark = self.mark.raised(&basis, slot, now);
        self.disk.write_mark(&mark)?;
        self.mark = mark;
        self.newest = Some(Newest { snapshot: next.clone(), basis, slot, length, chain });
        Ok(())
    }

    /// Does everything with a candidate but serve it. What keeps it from being served is told to the
    /// admin, which then has nobody serve it.
    fn prepare(
        &mut self,
        candidate: &VerifiedCandidate,
        envelope: &[u8],
        now: Timestamp,
    ) -> Result<News, Refusal> {
        let newest = self.newest.as_ref().ok_or(DocumentError::OtherBase)?;
        if candidate.delta.base() != newest.basis {
            return Err(DocumentError::OtherBase.into());
        }
        let base = newest.basis;
        let prepared = candidate.delta.apply(&newest.snapshot, now).map_err(Refusal::from);
        let written = prepared.and_then(|prepared| {
            self.disk.write_candidate(envelope)?;
            self.has_candidate = true;
            Ok(prepared)
        });
        let (id, silence_max_ms) = (candidate.candidate.clone(), candidate.silence_max_ms);
        let rejected = match written {
            Ok(prepared) => {
                self.prepared = Some((base, prepared));
                None
            }
            Err(refusal) => Some(refusal.to_string()),
        };
        Ok(News::Candidate { id, silence_max_ms, rejected })
    }

    /// Takes a heartbeat: it must be about the newest content.
    fn confirm(&mut self, heartbeat: Heartbeat) -> Result<News, Refusal> {
        let named = heartbeat.basis();
        if self.guards.mark {
            self.mark.admits(&named)?;
        }
        if self.basis() != Some(named) {
            return Err(Refusal::Withheld(named.epoch, named.revision));
        }
        if heartbeat.tidings.candidate.is_none() {
            self.drop_candidate();
        }
        Ok(News::Confirmed(heartbeat))
    }

    /// It is known by now what became of the candidate.
    fn drop_candidate(&mut self) {
        self.prepared = None;
        if self.has_candidate {
            // Where it stays, the next start is a little more careful than it needs to be.
            self.has_candidate = self.disk.remove_candidate().is_err();
        }
    }

    /// The same content with answers prepared anew, so that what follows it has them too.
    pub(crate) fn refreshed(&mut self, snapshot: &Snapshot) {
        if let Some(newest) = &mut self.newest
            && newest.basis.revision == snapshot.revision()
        {
            newest.snapshot = snapshot.clone();
        }
    }

    /// Writes down how late it is, so that no later run believes it is earlier.
    pub(crate) fn write_floor(&mut self, now: Timestamp) -> io::Result<()> {
        let mark = self.mark.at_floor(now);
        self.disk.write_mark(&mark)?;
        self.mark = mark;
        Ok(())
    }

    /// What a publisher said, where it is genuine.
    pub(crate) fn verify(&self, envelope: &[u8]) -> Option<Verified> {
        self.trust.verify(envelope).ok()
    }

    /// The publishers' keys, as they were signed.
    pub(crate) fn keys_envelope(&self) -> &[u8] {
        &self.keys
    }

    /// What leads from a basis to the newest content, for a sidecar below this one; all of it where
    /// the basis is not known. `None` where nothing is there.
    pub(crate) fn since(&self, basis: Option<Basis>) -> io::Result<Option<(bool, Vec<u8>)>> {
        let Some(newest) = &self.newest else { return Ok(None) };
        let Some(mut bundle) = self.disk.read_snapshot(newest.slot)? else { return Ok(None) };
        bundle.truncate(newest.length);
        let known = newest.chain.iter().find(|(known, _)| Some(*known) == basis);
        let Some((_, end)) = known else { return Ok(Some((true, bundle))) };
        bundle.drain(BUNDLE_HEAD - LENGTH..*end);
        Ok(Some((false, bundle)))
    }
}

/// A bundle as it lies on disk, verified.
struct Lying {
    slot: Slot,
    snapshot: VerifiedSnapshot,
    deltas: Vec<VerifiedDelta>,
    ends: Vec<usize>,
}

impl Lying {
    fn basis(&self) -> Basis {
        self.deltas.last().map_or(self.snapshot.basis(), VerifiedDelta::basis)
    }
}

/// A chain with some more links, each with where it ends in the bundle.
fn chained(
    mut chain: Vec<(Basis, usize)>,
    mut end: usize,
    bases: impl Iterator<Item = Basis>,
    envelopes: &[&[u8]],
) -> Vec<(Basis, usize)> {
    for (basis, envelope) in bases.zip(envelopes) {
        end += LENGTH + envelope.len();
        chain.push((basis, end));
    }
    chain
}

/// What stands before each envelope of a bundle, and before the first.
const LENGTH: usize = 8;
const BUNDLE_HEAD: usize = 8 + LENGTH;
/// So many changes follow a snapshot before a new one is asked for, or twice as many bytes.
const CHAIN_MAX: usize = 1_000;
const CHAIN_BYTES_MIN: usize = 64 * 1024;

impl Mark {
    /// Whether this is the content that the mark was raised for.
    fn names(&self, basis: &Basis) -> bool {
        self.high.as_ref().is_some_and(|high| {
            (high.epoch, high.revision) == (basis.epoch, basis.revision)
                && high.hash == basis.hash.to_string()
        })
    }

    /// Whether one may be believed after what was taken before.
    fn admits(&self, basis: &Basis) -> Result<(), Refusal> {
        let Some(high) = &self.high else { return Ok(()) };
        let (mark, given) = ((high.epoch, high.revision), (basis.epoch, basis.revision));
        match given.cmp(&mark) {
            std::cmp::Ordering::Greater => Ok(()),
            std::cmp::Ordering::Equal if self.names(basis) => Ok(()),
            std::cmp::Ordering::Equal => Err(Refusal::Equivocation(given.0, given.1)),
            std::cmp::Ordering::Less => Err(Refusal::Rollback(given.0, given.1, mark.0, mark.1)),
        }
    }
}

/// Lets a test take a guard away, to see that nothing else would have caught what it catches.
#[derive(Debug)]
pub(super) struct Guards {
    pub(super) mark: bool,
}

impl Default for Guards {
    fn default() -> Self {
        Self { mark: true }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::files::Folder, *};
    use entitlements_core::{
        Catalog, TenantKey,
        document::{Delta, Document},
        signed::{
            Hash, SigningKey, Tidings, bundle, seal_candidate, seal_delta, seal_heartbeat,
            seal_keys, seal_snapshot,
        },
    };

    const AT: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
    const BYTES_MAX: usize = 1 << 20;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes([byte; 32])
    }

    fn world(revision: u64, seats: u64) -> Snapshot {
        let text = format!(
            "[features.seats]\nkind = {{ limit = {{ unit = \"seat\" }} }}\n\
             [plans.pro]\ngrants = {{ seats = {seats} }}\n\
             [tenants.acme]\nsubscriptions = [{{ plan = \"pro\" }}]\n"
        );
        let document = Document::parse("test.toml", &text).unwrap();
        let catalog = Catalog::new(document.catalog).unwrap();
        Snapshot::compile(Revision(revision), catalog.into(), &document.tenants, AT)
    }

    fn header(revision: u64) -> Header {
        Header {
            environment: "default".into(),
            epoch: 1,
            revision: Revision(revision),
            issued_at: AT,
            max_age_s: Some(300),
            activate_at: None,
        }
    }

    fn basis(world: &Snapshot) -> Basis {
        Basis { epoch: 1, revision: world.revision(), hash: world.content_hash() }
    }

    fn envelope(signer: u8, world: &Snapshot) -> Vec<u8> {
        let header = header(world.revision().0);
        seal_snapshot(&key(signer), &header, &world.content_hash(), &world.encode())
    }

    fn sealed(signer: u8, revision: u64, seats: u64) -> Vec<u8> {
        bundle([&*envelope(signer, &world(revision, seats))])
    }

    /// The catalog of one world on top of another.
    fn change(from: &Snapshot, to: &Snapshot) -> Delta {
        let catalog = (from.catalog() != to.catalog()).then(|| to.catalog().clone());
        Delta { catalog, ..Delta::default() }
    }

    fn delta(from: &Snapshot, to: &Snapshot) -> Vec<u8> {
        let header = header(to.revision().0);
        let change = change(from, to).encode();
        seal_delta(&key(2), &header, &basis(from), &to.content_hash(), &change)
    }

    fn opened(folder: &tempfile::TempDir, mark: Mark) -> Gate {
        let disk = Disk::new(Folder::open(folder.path()).unwrap(), BYTES_MAX);
        Gate::new(Trust::new(key(1).public(), "default"), disk, mark)
    }

    /// A gate that has taken revision 5, in a folder that lives as long as the test.
    fn gate(folder: &tempfile::TempDir) -> Gate {
        let mut gate = opened(folder, Mark::new("default", &key(1).public().to_string()));
        gate.keys(&seal_keys(&key(1), "default", 1, &[key(2).public()], AT)).unwrap();
        gate.take(&sealed(2, 5, 15), AT).unwrap();
        gate
    }

    /// The same folder, opened after whatever happened to the process before.
    fn again(folder: &tempfile::TempDir) -> Gate {
        let disk = Disk::new(Folder::open(folder.path()).unwrap(), BYTES_MAX);
        let super::super::disk::Stored::Whole(mark) = disk.read_mark().unwrap() else { panic!() };
        drop(disk);
        opened(folder, mark)
    }

    fn admitted(news: Result<News, Refusal>) -> Admitted {
        match news.unwrap() {
            News::Admitted(admitted) => *admitted,
            other => panic!("{other:?}"),
        }
    }

    fn cause(news: Result<News, Refusal>) -> &'static str {
        news.unwrap_err().cause()
    }

    fn seats(snapshot: &Snapshot) -> String {
        snapshot.check("acme", "seats", AT).verdict().to_string()
    }

    #[test]
    fn without_the_mark_an_old_one_would_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let older = sealed(2, 4, 99);
        assert_eq!(cause(gate.take(&older, AT)), "rollback");
        gate.guards.mark = false;
        assert_eq!(seats(&admitted(gate.take(&older, AT)).snapshot), "99");
    }

    #[test]
    fn without_the_mark_two_truths_could_carry_one_revision() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let other = sealed(2, 5, 99);
        assert_eq!(cause(gate.take(&other, AT)), "equivocation");
        gate.guards.mark = false;
        assert_eq!(seats(&admitted(gate.take(&other, AT)).snapshot), "99");
    }

    #[test]
    fn without_the_signature_a_strangers_word_would_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        assert_eq!(cause(gate.take(&sealed(9, 6, 99), AT)), "untrusted");
        // The layer below has nothing against it.
        assert_eq!(seats(&Snapshot::decode(&world(6, 99).encode(), AT).unwrap()), "99");
    }

    #[test]
    fn the_hash_that_was_signed_is_what_ties_the_document_to_its_head() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let (ours, theirs) = (world(6, 15).encode(), world(6, 16).encode());
        assert_eq!(ours.len(), theirs.len(), "only the content differs");
        let whole = envelope(2, &world(6, 15));
        let head = whole.len() - ours.len();
        let swapped = [&whole[..head], &theirs].concat();
        let refusal = gate.take(&bundle([&*swapped]), AT).unwrap_err();
        assert!(matches!(refusal, Refusal::Untrusted(TrustError::BadPayload)), "{refusal}");
        // The signature alone, over the head, is genuine, and so is the document, to the reader.
        assert_eq!(seats(&Snapshot::decode(&theirs, AT).unwrap()), "16");
        assert!(gate.take(&bundle([&*whole]), AT).is_ok());
    }

    #[test]
    fn a_flipped_bit_is_refused_at_every_position() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let (from, to) = (world(5, 15), world(6, 20));
        for good in [bundle([&*envelope(2, &to)]), bundle([&*delta(&from, &to)])] {
            for position in 0..good.len() {
                let mut bad = good.clone();
                bad[position] ^= 1 << (position % 8);
                assert!(gate.take(&bad, AT).is_err(), "byte {position}");
                assert_eq!(gate.basis(), Some(basis(&from)));
            }
        }
        assert!(gate.take(&bundle([&*delta(&from, &to)]), AT).is_ok());
    }

    #[test]
    fn a_change_leads_to_what_the_publisher_has_and_survives() {
        let folder = tempfile::tempdir().unwrap();
        let mut before = gate(&folder);
        let (five, six, seven) = (world(5, 15), world(6, 20), world(7, 25));
        let taken = admitted(before.take(&bundle([&*delta(&five, &six)]), AT));
        assert_eq!((seats(&taken.snapshot), taken.basis), ("20".into(), basis(&six)));
        before.take(&bundle([&*delta(&six, &seven)]), AT).unwrap();
        drop(before);
        let mut after = again(&folder);
        let booted = after.boot(AT);
        assert!(booted.refusals.is_empty(), "{:?}", booted.refusals);
        let served = booted.served.unwrap();
        assert_eq!((seats(&served.snapshot), served.damaged), ("25".into(), false));
        // And it goes on from there.
        let eight = world(8, 30);
        assert_eq!(
            seats(&admitted(after.take(&bundle([&*delta(&seven, &eight)]), AT)).snapshot),
            "30"
        );
    }

    #[test]
    fn several_changes_at_once_count_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let (five, six, seven) = (world(5, 15), world(6, 20), world(7, 25));
        let (one, two) = (delta(&five, &six), delta(&six, &seven));
        assert_eq!(cause(gate.take(&bundle([&*two, &*one]), AT)), "diverged", "in the wrong order");
        assert_eq!(cause(gate.take(&bundle([&*two]), AT)), "diverged", "with a gap");
        assert_eq!(seats(&admitted(gate.take(&bundle([&*one, &*two]), AT)).snapshot), "25");
    }

    #[test]
    fn a_change_that_comes_out_as_something_else_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let (five, six) = (world(5, 15), world(6, 20));
        let wrong = seal_delta(
            &key(2),
            &header(6),
            &basis(&five),
            &Hash::of(b"something else"),
            &change(&five, &six).encode(),
        );
        let refusal = gate.take(&bundle([&*wrong]), AT).unwrap_err();
        assert!(refusal.wants_all() && refusal.cause() == "diverged", "{refusal}");
        assert_eq!(gate.basis(), Some(basis(&five)), "what is there stays");
        assert!(gate.take(&bundle([&*delta(&five, &six)]), AT).is_ok());
    }

    #[test]
    fn a_change_of_tenants_is_kept_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let five = world(5, 15);
        let tenant = five.tenant("acme").unwrap().tenant();
        let tenants = [("acme", None), ("beta", Some(tenant))];
        let tenants = tenants.map(|(key, it)| (TenantKey::new(key).unwrap(), it)).into();
        let change = Delta { tenants, ..Delta::default() };
        let six = five.with_delta(Revision(6), &change, AT);
        let sealed =
            seal_delta(&key(2), &header(6), &basis(&five), &six.content_hash(), &change.encode());
        let taken = admitted(gate.take(&bundle([&*sealed]), AT));
        assert!(taken.snapshot.tenant("acme").is_none() && taken.snapshot.tenant("beta").is_some());
        assert!(sealed.len() < envelope(2, &six).len(), "which is what it is for");
    }

    #[test]
    fn a_torn_end_on_disk_leaves_what_was_whole_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut before = gate(&folder);
        let (five, six) = (world(5, 15), world(6, 20));
        before.take(&bundle([&*delta(&five, &six)]), AT).unwrap();
        drop(before);
        let path = folder.path().join("snapshot.a");
        let whole = std::fs::read(&path).unwrap();
        let start = sealed(2, 5, 15).len();
        for length in start..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let mut gate = again(&folder);
            let booted = gate.boot(AT);
            let served = booted.served.unwrap();
            assert_eq!((seats(&served.snapshot), served.damaged), ("15".into(), true), "{length}");
            assert_eq!(gate.basis(), Some(basis(&five)));
        }
        // The torn end gives way to what comes next.
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let mut gate = again(&folder);
        gate.boot(AT);
        gate.take(&bundle([&*delta(&five, &six)]), AT).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn the_mark_rises_before_the_new_one_is_served_and_survives() {
        let folder = tempfile::tempdir().unwrap();
        let mut before = gate(&folder);
        before.take(&sealed(2, 6, 20), AT).unwrap();
        drop(before);
        let mut after = again(&folder);
        let Booted { served, refusals, .. } = after.boot(AT);
        let booted = served.unwrap();
        assert_eq!((seats(&booted.snapshot), booted.damaged), ("20".into(), false));
        assert!(refusals.is_empty());
        assert_eq!(cause(after.take(&sealed(2, 5, 15), AT)), "rollback");
    }

    #[test]
    fn a_disk_that_takes_nothing_stops_the_swap() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        std::fs::create_dir(folder.path().join("snapshot.b.tmp")).unwrap();
        assert_eq!(cause(gate.take(&sealed(2, 6, 20), AT)), "disk");
        assert_eq!(gate.basis().unwrap().revision, Revision(5), "the old one stays");
        std::fs::remove_dir(folder.path().join("snapshot.b.tmp")).unwrap();
        assert!(gate.take(&sealed(2, 6, 20), AT).is_ok(), "and it can be tried again");
    }

    #[test]
    fn what_a_restart_found_above_the_mark_is_not_gone_back_from() {
        let folder = tempfile::tempdir().unwrap();
        let mut before = gate(&folder);
        let mark = folder.path().join("mark");
        let low = std::fs::read(&mark).unwrap();
        let (five, six) = (world(5, 15), world(6, 20));
        before.take(&bundle([&*delta(&five, &six)]), AT).unwrap();
        drop(before);
        // As after a crash between the change and the mark.
        std::fs::write(&mark, low).unwrap();
        let mut after = again(&folder);
        assert_eq!(seats(&after.boot(AT).served.unwrap().snapshot), "20");
        assert_eq!(cause(after.take(&sealed(2, 5, 15), AT)), "rollback");
        drop(after);
        assert_eq!(cause(again(&folder).take(&sealed(2, 5, 15), AT)), "untrusted", "no keys yet");
        let mut later = again(&folder);
        later.boot(AT);
        assert_eq!(cause(later.take(&sealed(2, 5, 15), AT)), "rollback");
    }

    #[test]
    fn keys_that_the_disk_does_not_take_let_nothing_in() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        std::fs::create_dir(folder.path().join("keys.tmp")).unwrap();
        let keys = seal_keys(&key(1), "default", 2, &[key(3).public()], AT);
        assert_eq!(gate.keys(&keys).unwrap_err().cause(), "disk");
        assert_eq!(cause(gate.take(&sealed(3, 6, 20), AT)), "untrusted");
        std::fs::remove_dir(folder.path().join("keys.tmp")).unwrap();
        gate.keys(&keys).unwrap();
        gate.take(&sealed(3, 6, 20), AT).unwrap();
        drop(gate);
        assert_eq!(seats(&again(&folder).boot(AT).served.unwrap().snapshot), "20");
    }

    #[test]
    fn a_switch_that_a_restart_made_is_kept_though_the_clock_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut before = gate(&folder);
        let (five, six) = (world(5, 15), world(6, 20));
        let soon = AT.plus(std::time::Duration::from_secs(2));
        let header = Header { activate_at: Some(soon), ..header(6) };
        let change = change(&five, &six).encode();
        let armed = seal_delta(&key(2), &header, &basis(&five), &six.content_hash(), &change);
        before.take(&bundle([&*armed]), AT).unwrap();
        drop(before);
        let served = again(&folder).boot(soon).served.unwrap();
        assert_eq!(seats(&served.snapshot), "20");
        // The clock goes back, but not behind what the mark remembers.
        let mut back = again(&folder);
        let now = back.mark.floor();
        assert_eq!(seats(&back.boot(now).served.unwrap().snapshot), "20");
    }

    #[test]
    fn a_heartbeat_counts_only_for_the_newest_content() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let hash = gate.basis().unwrap().hash;
        let beat = |signer, revision, hash| {
            let header = header(revision);
            bundle([&*seal_heartbeat(&key(signer), &header, &hash, &Tidings::default())])
        };
        assert!(gate.take(&beat(2, 5, hash), AT).is_ok());
        for (bundle, expected) in [
            (beat(9, 5, hash), "untrusted"),
            (beat(2, 4, hash), "rollback"),
            (beat(2, 5, Hash::of(b"other")), "equivocation"),
            (beat(2, 6, hash), "withheld"),
        ] {
            assert_eq!(cause(gate.take(&bundle, AT)), expected);
        }
    }

    fn candidate(from: &Snapshot, to: &Snapshot) -> Vec<u8> {
        let what = ("c1", 2_000);
        let change = change(from, to).encode();
        let header = header(from.revision().0);
        bundle([&*seal_candidate(
            &key(2),
            &header,
            &basis(from),
            &to.content_hash(),
            what,
            &change,
        )])
    }

    fn rejection(news: Result<News, Refusal>) -> Option<String> {
        match news.unwrap() {
            News::Candidate { id, silence_max_ms: 2_000, rejected } if id == "c1" => rejected,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_candidate_is_prepared_and_not_served() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let (five, six) = (world(5, 15), world(6, 20));
        assert_eq!(rejection(gate.take(&candidate(&five, &six), AT)), None);
        assert_eq!(gate.basis(), Some(basis(&five)));
        drop(gate);
        // Whoever starts again does not know what became of it.
        let mut gate = again(&folder);
        let served = gate.boot(AT).served.unwrap();
        assert_eq!((seats(&served.snapshot), served.damaged), ("15".into(), true));
        // Once it hears that nothing came of it, all is well.
        let beat = seal_heartbeat(&key(2), &header(5), &five.content_hash(), &Tidings::default());
        gate.take(&bundle([&*beat]), AT).unwrap();
        drop(gate);
        assert!(!again(&folder).boot(AT).served.unwrap().damaged);
    }

    #[test]
    fn the_same_snapshot_again_does_not_say_what_became_of_a_candidate() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let (five, six) = (world(5, 15), world(6, 20));
        gate.take(&candidate(&five, &six), AT).unwrap();
        assert!(admitted(gate.take(&sealed(2, 5, 15), AT)).damaged);
        drop(gate);
        let mut gate = again(&folder);
        assert!(gate.boot(AT).served.unwrap().damaged);
        assert!(!admitted(gate.take(&sealed(2, 6, 20), AT)).damaged, "something later does");
    }

    #[test]
    fn what_was_prepared_is_what_is_switched_to() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let (five, six) = (world(5, 15), world(6, 20));
        gate.take(&candidate(&five, &six), AT).unwrap();
        let soon = AT.plus(std::time::Duration::from_secs(2));
        let header = Header { activate_at: Some(soon), ..header(6) };
        let change = change(&five, &six).encode();
        let sealed = seal_delta(&key(2), &header, &basis(&five), &six.content_hash(), &change);
        let taken = admitted(gate.take(&bundle([&*sealed]), AT));
        assert_eq!((seats(&taken.snapshot), taken.due_after(AT)), ("20".into(), Some(soon)));
        drop(gate);
        // A restart before the instant serves the old one, and after it the new one.
        let booted = again(&folder).boot(AT);
        assert_eq!(seats(&booted.served.unwrap().snapshot), "15");
        assert_eq!(seats(&booted.armed.unwrap().snapshot), "20");
        let booted = again(&folder).boot(soon);
        assert_eq!(
            (seats(&booted.served.unwrap().snapshot), booted.armed.is_none()),
            ("20".into(), true)
        );
    }

    #[test]
    fn a_candidate_that_cannot_be_kept_is_rejected_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let (five, six) = (world(5, 15), world(6, 20));
        std::fs::create_dir(folder.path().join("candidate.tmp")).unwrap();
        let why = rejection(gate.take(&candidate(&five, &six), AT)).unwrap();
        assert!(why.contains("cannot be kept on disk"), "{why}");
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let (five, six) = (world(5, 15), world(6, 20));
        let whole = envelope(2, &six);
        let beat = seal_heartbeat(&key(2), &header(6), &six.content_hash(), &Tidings::default());
        for odd in [
            bundle([&*whole, &*whole]),
            bundle([&*delta(&five, &six), &*whole]),
            bundle([&*beat, &*beat]),
            bundle([&*beat, &*whole]),
        ] {
            assert_eq!(cause(gate.take(&odd, AT)), "mixed");
        }
        assert!(gate.take(&bundle([&*delta(&five, &six), &*beat]), AT).is_ok());
    }

    #[test]
    fn those_below_get_what_they_lack() {
        let folder = tempfile::tempdir().unwrap();
        let mut relay = gate(&folder);
        let (five, six, seven) = (world(5, 15), world(6, 20), world(7, 25));
        relay.take(&bundle([&*delta(&five, &six)]), AT).unwrap();
        relay.take(&bundle([&*delta(&six, &seven)]), AT).unwrap();
        let (is_full, all) = relay.since(None).unwrap().unwrap();
        assert!(is_full);
        let (is_full, rest) = relay.since(Some(basis(&five))).unwrap().unwrap();
        assert_eq!((is_full, rest), (false, bundle([&*delta(&five, &six), &*delta(&six, &seven)])));
        let (_, last) = relay.since(Some(basis(&six))).unwrap().unwrap();
        assert_eq!(last, bundle([&*delta(&six, &seven)]));
        let other = Basis { epoch: 2, ..basis(&six) };
        assert!(relay.since(Some(other)).unwrap().unwrap().0, "all where it is not known");
        let below = tempfile::tempdir().unwrap();
        let mut below = opened(&below, Mark::new("default", &key(1).public().to_string()));
        below.keys(relay.keys_envelope()).unwrap();
        assert_eq!(seats(&admitted(below.take(&all, AT)).snapshot), "25");
    }
}
