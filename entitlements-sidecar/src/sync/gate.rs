//! What may become the active snapshot: the one way in, from the network and from disk.
//!
//! The order is: signature and hash, high-water mark, schema and compilation, disk, mark, swap.
//! Whatever fails leaves everything as it was.

use std::io;

use entitlements_core::{
    Revision, Snapshot, Timestamp,
    document::DocumentError,
    signed::{Header, Trust, TrustError, VerifiedSnapshot},
};

use super::{
    disk::{Disk, Mark, Slot},
    machine::Basis,
};

/// Why something was not believed or not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it is larger than {0} bytes, which no snapshot may be")]
    TooLarge(usize),
    #[error("it cannot be trusted: {0}")]
    Untrusted(#[from] TrustError),
    #[error(
        "it is an older one (epoch {0}, revision {1}) than one that was taken before (epoch {2}, \
         revision {3})"
    )]
    Rollback(u64, Revision, u64, Revision),
    #[error("two different snapshots carry epoch {0}, revision {1}: somebody signed both")]
    Equivocation(u64, Revision),
    #[error("the heartbeat names epoch {0}, revision {1}, which was not sent")]
    Withheld(u64, Revision),
    #[error("it cannot be read: {0}")]
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
            Self::Document(_) => "document",
            Self::Disk(_) => "disk",
        }
    }

    /// Every word there is.
    pub(crate) const CAUSES: [&'static str; 7] =
        ["too_large", "untrusted", "rollback", "equivocation", "withheld", "document", "disk"];
}

/// A snapshot that may be served, and the paper that says so.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) snapshot: Snapshot,
    pub(crate) header: Header,
    pub(crate) basis: Basis,
    /// Whether it is the very one that is active already.
    pub(crate) known: bool,
    /// Whether a newer one was lost on disk.
    pub(crate) damaged: bool,
}

/// Guards the active snapshot.
#[derive(Debug)]
pub(crate) struct Gate {
    trust: Trust,
    disk: Disk,
    mark: Mark,
    keys: Vec<u8>,
    active: Option<(Basis, Slot)>,
    guards: Guards,
}

impl Gate {
    pub(crate) fn new(trust: Trust, disk: Disk, mark: Mark) -> Self {
        Self { trust, disk, mark, keys: Vec::new(), active: None, guards: Guards::default() }
    }

    /// Takes the publishers' keys; keeps them if they are others than before.
    pub(crate) fn keys(&mut self, envelope: &[u8]) -> Result<(), Refusal> {
        self.trust.accept_keys(envelope)?;
        if self.keys != envelope {
            self.disk.write_keys(envelope)?;
            self.keys = envelope.to_vec();
        }
        Ok(())
    }

    /// What the disk holds: the newest snapshot that is whole.
    ///
    /// # Errors
    /// Says what is wrong with the disk's content. What can be served all the same comes along.
    pub(crate) fn boot(&mut self) -> (Option<Admitted>, Vec<Refusal>) {
        let mut refusals = Vec::new();
        match self.disk.read_keys() {
            Ok(None) => return (None, refusals),
            Ok(Some(keys)) => match self.trust.accept_keys(&keys) {
                Ok(()) => self.keys = keys,
                Err(error) => return (None, vec![error.into()]),
            },
            Err(error) => return (None, vec![error.into()]),
        }
        let mut candidates = self.candidates(&mut refusals);
        candidates
            .sort_by_key(|(_, verified)| (verified.header().epoch, verified.header().revision));
        while let Some((slot, verified)) = candidates.pop() {
            // Served at once; upkeep prepares the answers a moment later.
            match verified.open() {
                Err(error) => refusals.push(error.into()),
                Ok(snapshot) => {
                    let admitted = self.booted(slot, &verified, snapshot, !refusals.is_empty());
                    return (Some(admitted), refusals);
                }
            }
        }
        (None, refusals)
    }

    /// The slot that the mark names, where it is what the mark says; else all that are genuine.
    fn candidates(&self, refusals: &mut Vec<Refusal>) -> Vec<(Slot, VerifiedSnapshot)> {
        let mut genuine = Vec::new();
        let marked = self.mark.high.as_ref().map(|high| high.slot);
        let first = marked.unwrap_or(Slot::A);
        for slot in [first, first.other()] {
            let verified = match self.disk.read_snapshot(slot) {
                Ok(None) => continue,
                Ok(Some(bytes)) => self.trust.verify_snapshot(&bytes).map_err(Refusal::from),
                Err(error) => Err(error.into()),
            };
            match verified {
                Err(refusal) => refusals.push(refusal),
                Ok(verified) => {
                    let is_marked = self.mark.names(&basis_of(&verified));
                    genuine.push((slot, verified));
                    if is_marked && Some(slot) == marked {
                        break;
                    }
                }
            }
        }
        genuine
    }

    fn booted(
        &mut self,
        slot: Slot,
        verified: &VerifiedSnapshot,
        snapshot: Snapshot,
        refused: bool,
    ) -> Admitted {
        let basis = basis_of(verified);
        let below_mark = self.mark.admits(&basis).is_err();
        self.active = Some((basis, slot));
        Admitted {
            snapshot,
            header: verified.header().clone(),
            basis,
            known: false,
            damaged: refused || below_mark,
        }
    }

    /// Takes a snapshot from the network, up to the point where only the swap is left to do.
    pub(crate) fn admit(&mut self, envelope: &[u8], now: Timestamp) -> Result<Admitted, Refusal> {
        let verified = self.trust.verify_snapshot(envelope)?;
        let basis = basis_of(&verified);
        if self.guards.mark {
            self.mark.admits(&basis)?;
        }
        let header = verified.header().clone();
        let snapshot = verified.decode(now)?;
        let known = self.active.is_some_and(|(active, _)| active == basis);
        if !known {
            self.keep(&basis, envelope, now)?;
        }
        Ok(Admitted { snapshot, header, basis, known, damaged: false })
    }

    /// Two generations are kept: the new one takes the place of the one before the active one. The
    /// mark rises before the new one is served.
    fn keep(&mut self, basis: &Basis, envelope: &[u8], now: Timestamp) -> Result<(), Refusal> {
        let slot = self.active.map_or(Slot::A, |(_, slot)| slot.other());
        self.disk.write_snapshot(slot, envelope)?;
        let mark = self.mark.raised(basis, slot, now);
        self.disk.write_mark(&mark)?;
        self.mark = mark;
        self.active = Some((*basis, slot));
        Ok(())
    }

    /// Takes a heartbeat: it must be about the active snapshot.
    pub(crate) fn heartbeat(&self, envelope: &[u8]) -> Result<Header, Refusal> {
        let heartbeat = self.trust.verify_heartbeat(envelope)?;
        let header = heartbeat.header;
        let named =
            Basis { epoch: header.epoch, revision: header.revision, hash: heartbeat.snapshot_hash };
        if self.guards.mark {
            self.mark.admits(&named)?;
        }
        if self.active.is_some_and(|(active, _)| active == named) {
            Ok(header)
        } else {
            Err(Refusal::Withheld(header.epoch, header.revision))
        }
    }

    /// Writes down how late it is, so that no later run believes it is earlier.
    pub(crate) fn write_floor(&mut self, now: Timestamp) -> io::Result<()> {
        let mark = self.mark.at_floor(now);
        self.disk.write_mark(&mark)?;
        self.mark = mark;
        Ok(())
    }
}

fn basis_of(verified: &VerifiedSnapshot) -> Basis {
    let header = verified.header();
    Basis { epoch: header.epoch, revision: header.revision, hash: verified.hash() }
}

impl Mark {
    /// Whether this is the snapshot that the mark was raised for.
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
struct Guards {
    mark: bool,
}

impl Default for Guards {
    fn default() -> Self {
        Self { mark: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use entitlements_core::{
        Catalog,
        document::Document,
        signed::{SigningKey, seal_heartbeat, seal_keys, seal_snapshot},
    };

    const AT: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes([byte; 32])
    }

    fn document(revision: u64, seats: u64) -> Vec<u8> {
        let text = format!(
            "[features.seats]\nkind = {{ limit = {{ unit = \"seat\" }} }}\n\
             [plans.pro]\ngrants = {{ seats = {seats} }}\n\
             [tenants.acme]\nsubscriptions = [{{ plan = \"pro\" }}]\n"
        );
        let document = Document::parse("test.toml", &text).unwrap();
        let catalog = Catalog::new(document.catalog).unwrap();
        Snapshot::compile(Revision(revision), catalog.into(), &document.tenants, AT).encode()
    }

    fn header(revision: u64) -> Header {
        Header {
            environment: "default".into(),
            epoch: 1,
            revision: Revision(revision),
            issued_at: AT,
            max_age_s: Some(300),
        }
    }

    fn sealed(signer: u8, revision: u64, seats: u64) -> Vec<u8> {
        seal_snapshot(&key(signer), &header(revision), &document(revision, seats))
    }

    /// A gate that has taken revision 5, in a folder that lives as long as the test.
    fn gate(folder: &tempfile::TempDir) -> Gate {
        let root = key(1).public();
        let disk = Disk::open(folder.path()).unwrap();
        let mark = Mark::new("default", &root.to_string());
        let mut gate = Gate::new(Trust::new(root, "default"), disk, mark);
        gate.keys(&seal_keys(&key(1), "default", 1, &[key(2).public()], AT)).unwrap();
        gate.admit(&sealed(2, 5, 15), AT).unwrap();
        gate
    }

    fn seats(snapshot: &Snapshot) -> String {
        snapshot.check("acme", "seats", AT).verdict().to_string()
    }

    #[test]
    fn without_the_mark_an_old_one_would_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let older = sealed(2, 4, 99);
        assert_eq!(gate.admit(&older, AT).unwrap_err().cause(), "rollback");
        gate.guards.mark = false;
        assert_eq!(seats(&gate.admit(&older, AT).unwrap().snapshot), "99");
    }

    #[test]
    fn without_the_mark_two_truths_could_carry_one_revision() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let other = sealed(2, 5, 99);
        assert_eq!(gate.admit(&other, AT).unwrap_err().cause(), "equivocation");
        gate.guards.mark = false;
        assert_eq!(seats(&gate.admit(&other, AT).unwrap().snapshot), "99");
    }

    #[test]
    fn without_the_signature_a_strangers_word_would_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        assert_eq!(gate.admit(&sealed(9, 6, 99), AT).unwrap_err().cause(), "untrusted");
        // The layer below has nothing against it.
        assert_eq!(seats(&Snapshot::decode(&document(6, 99), AT).unwrap()), "99");
    }

    #[test]
    fn the_hash_that_was_signed_is_what_ties_the_document_to_its_head() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let (ours, theirs) = (document(6, 15), document(6, 16));
        assert_eq!(ours.len(), theirs.len(), "only the content differs");
        let envelope = seal_snapshot(&key(2), &header(6), &ours);
        let head = envelope.len() - ours.len();
        let swapped = [&envelope[..head], &theirs].concat();
        let refusal = gate.admit(&swapped, AT).unwrap_err();
        assert!(matches!(refusal, Refusal::Untrusted(TrustError::BadPayload)), "{refusal}");
        // The signature alone, over the head, is genuine, and so is the document, to the reader.
        assert_eq!(seats(&Snapshot::decode(&theirs, AT).unwrap()), "16");
        assert!(gate.admit(&envelope, AT).is_ok());
    }

    #[test]
    fn a_flipped_bit_is_refused_at_every_position() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        let good = sealed(2, 6, 15);
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1 << (position % 8);
            let refusal = gate.admit(&bad, AT).unwrap_err();
            assert_eq!(refusal.cause(), "untrusted", "byte {position}");
        }
        assert!(gate.admit(&good, AT).is_ok());
    }

    #[test]
    fn the_mark_rises_before_the_new_one_is_served_and_survives() {
        let folder = tempfile::tempdir().unwrap();
        let mut before = gate(&folder);
        before.admit(&sealed(2, 6, 20), AT).unwrap();
        drop(before);
        let disk = Disk::open(folder.path()).unwrap();
        let super::super::disk::Stored::Whole(mark) = disk.read_mark().unwrap() else { panic!() };
        assert_eq!(mark.high.as_ref().unwrap().revision, Revision(6));
        let mut after = Gate::new(Trust::new(key(1).public(), "default"), disk, mark);
        let (booted, refusals) = after.boot();
        let booted = booted.unwrap();
        assert_eq!((seats(&booted.snapshot), booted.damaged), ("20".into(), false));
        assert!(refusals.is_empty());
        assert_eq!(after.admit(&sealed(2, 5, 15), AT).unwrap_err().cause(), "rollback");
    }

    #[test]
    fn a_disk_that_takes_nothing_stops_the_swap() {
        let folder = tempfile::tempdir().unwrap();
        let mut gate = gate(&folder);
        std::fs::create_dir(folder.path().join("snapshot.b.tmp")).unwrap();
        assert_eq!(gate.admit(&sealed(2, 6, 20), AT).unwrap_err().cause(), "disk");
        let (named, _) = gate.active.unwrap();
        assert_eq!(named.revision, Revision(5), "the active one is still the old one");
        std::fs::remove_dir(folder.path().join("snapshot.b.tmp")).unwrap();
        assert!(gate.admit(&sealed(2, 6, 20), AT).is_ok(), "and it can be tried again");
    }

    #[test]
    fn a_heartbeat_counts_only_for_the_active_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let gate = gate(&folder);
        let hash = gate.active.unwrap().0.hash;
        let beat = |signer, revision, hash| seal_heartbeat(&key(signer), &header(revision), &hash);
        assert!(gate.heartbeat(&beat(2, 5, hash)).is_ok());
        let other = entitlements_core::signed::Hash::of(b"other");
        for (envelope, cause) in [
            (beat(9, 5, hash), "untrusted"),
            (beat(2, 4, hash), "rollback"),
            (beat(2, 5, other), "equivocation"),
            (beat(2, 6, hash), "withheld"),
        ] {
            assert_eq!(gate.heartbeat(&envelope).unwrap_err().cause(), cause);
        }
    }
}
