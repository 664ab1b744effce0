//! Who did what: looked up, searched, exported and verified.

use entitlements_core::{
    Revision,
    signed::{Hash, seal_checkpoint},
};
use serde_json::value::RawValue;

use super::{App, Error, past};
use crate::{
    audit_export::{FORMAT, Line, Top, hex},
    store::{
        AuditEntry, AuditFault, AuditSearch, Note, ReadError, Reading, Verified,
        audit::{DocumentPair, Documents},
    },
    workflow::ObjectId,
};

impl App {
    /// At most `limit` audit rows after a revision, oldest first.
    ///
    /// # Errors
    /// Where the store cannot be read, as for every read here.
    pub async fn audit(&self, after: Revision, limit: u32) -> Result<Vec<AuditEntry>, Error> {
        Ok(self.store().read(move |store| store.audit(after, limit)).await?)
    }

    /// The audit rows that a search asks for, newest first.
    ///
    /// # Errors
    /// As [`App::audit`].
    pub async fn audit_search(&self, search: AuditSearch) -> Result<Vec<AuditEntry>, Error> {
        Ok(self.store().read(move |store| store.audit_search(&search)).await?)
    }

    /// One audit row, with what was there before and after.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn audit_entry(&self, at: Revision) -> Result<Line, Error> {
        let read = move |store: &Reading<'_>| {
            let entry = store.audit_entry(at)?;
            entry.map(|entry| line(store, entry)).transpose()
        };
        let found = self.store().read(read).await?;
        found.ok_or_else(|| Error::NotFound(format!("there is no audit row {at}")))
    }

    /// At most `limit` audit rows after a revision with their documents, oldest first.
    ///
    /// # Errors
    /// As [`App::audit`].
    pub async fn audit_lines(&self, after: Revision, limit: u32) -> Result<Vec<Line>, Error> {
        let read = move |store: &Reading<'_>| {
            store.audit(after, limit)?.into_iter().map(|entry| line(store, entry)).collect()
        };
        Ok(self.store().read(read).await?)
    }

    /// The first line of an export, and the last revision that it covers.
    ///
    /// # Errors
    /// As [`App::audit`].
    pub async fn audit_top(&self) -> Result<(Top, Revision), Error> {
        let (revision, envelope) = self.checkpoint().await?;
        let top = Top {
            entitlements_audit: FORMAT,
            environment: self.0.publisher.environment().into(),
            keys: hex(&self.keys_envelope()),
            checkpoint: hex(&envelope),
        };
        Ok((top, revision))
    }

    /// Signs how far the audit has come.
    ///
    /// # Errors
    /// As [`App::audit`].
    pub async fn checkpoint(&self) -> Result<(Revision, Vec<u8>), Error> {
        let read = |store: &Reading<'_>| {
            let revision = store.revision()?;
            Ok((revision, store.audit_entry(revision)?))
        };
        let (revision, last) = self.store().read(read).await?;
        let head = last.map_or(Ok(Hash([0; 32])), |row| row.hash.parse());
        let head =
            head.map_err(|_| Error::Unavailable(format!("audit row {revision} has no hash")))?;
        let publisher = &self.0.publisher;
        let header = publisher.header(revision, self.now());
        Ok((revision, seal_checkpoint(publisher.signing_key(), &header, &head)))
    }

    /// Keeps a signed checkpoint, where the audit has grown by so much since the last one.
    ///
    /// # Errors
    /// As [`App::audit`].
    pub(crate) async fn keep_checkpoint(&self, rows: u64) -> Result<(), Error> {
        let kept = self.store().read(|store| store.checkpoint()).await?;
        let last = kept.map_or(Revision(0), |(revision, _)| revision);
        if self.revision().0 < last.0 + rows {
            return Ok(());
        }
        let (revision, envelope) = self.checkpoint().await?;
        Ok(self.store().note(vec![Note::Checkpoint { revision, envelope }]).await?)
    }

    /// Walks the audit's hash chain from its start, and holds every kept version and every signed
    /// checkpoint against it.
    ///
    /// # Errors
    /// As [`App::audit`]. A broken chain is not an error but an answer.
    pub async fn audit_verify(&self) -> Result<Result<Verified, AuditFault>, Error> {
        let trust = self.0.publisher.trust()?;
        let read = move |store: &Reading<'_>| {
            let verified = match store.audit_verify(past::pruned_before(store)?)? {
                Ok(verified) => verified,
                Err(fault) => return Ok(Err(fault)),
            };
            for (revision, envelope) in store.checkpoints()? {
                let fault = |why: String| AuditFault { revision, why };
                let checkpoint = match trust.verify_checkpoint(&envelope) {
                    Ok(checkpoint) => checkpoint,
                    Err(error) => return Ok(Err(fault(format!("its checkpoint: {error}")))),
                };
                let row = store.audit_entry(checkpoint.header.revision)?;
                if row.map(|row| row.hash) != Some(checkpoint.audit_head.to_string()) {
                    return Ok(Err(fault("it is not the row that was signed".into())));
                }
            }
            Ok(Ok(verified))
        };
        Ok(self.store().read(read).await?)
    }
}

fn line(store: &Reading<'_>, entry: AuditEntry) -> Result<Line, ReadError> {
    let mut documents = Documents::default();
    for change in &entry.changes {
        let corrupt = |why: String| ReadError::Corrupt { what: change.object.clone(), why };
        let id: ObjectId = change.object.parse().map_err(corrupt)?;
        let raw = |json: Option<String>| {
            json.map(RawValue::from_string).transpose().map_err(|error| corrupt(error.to_string()))
        };
        let before = match &change.before {
            Some(version) => raw(store.version(&id, version.revision)?)?,
            None => None,
        };
        let after = raw(store.version(&id, entry.revision)?)?;
        if before.is_some() || after.is_some() {
            documents.0.insert(change.object.clone(), DocumentPair { before, after });
        }
    }
    Ok(Line { entry, documents })
}
