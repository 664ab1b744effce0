//! The sync API for sidecars below this one.
//!
//! A relay hands on what the publisher signed and can add nothing: whoever follows it checks the same
//! signatures as if it followed the admin.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use entitlements_core::signed::{Basis, Heartbeat, Verified, unbundle};
use tokio::sync::watch;

use super::{FetchError, SharedGate, Upstream, client::Fetched, gate::Gate};
use crate::serving::Serving;

/// What was heard last that says more than what lies on disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    /// A bundle with a heartbeat about the newest content.
    heartbeat: Option<(Basis, Bytes)>,
    /// A bundle with a candidate on top of it.
    candidate: Option<(String, Bytes)>,
    /// The candidate that the heartbeat names.
    named: Option<String>,
}

impl Heard {
    /// What there is to tell a sidecar that has the newest content and dealt with a candidate. A
    /// heartbeat is only worth telling when it is a new one, or where the candidate is over.
    fn news(&self, candidate: Option<&str>, is_new: bool) -> Option<Handed> {
        if let Some((id, bundle)) = &self.candidate
            && Some(id.as_str()) != candidate
        {
            return Some(Handed { intent: "candidate", bundle: bundle.clone() });
        }
        let is_over = candidate.is_some() && self.named.as_deref() != candidate;
        let (_, bundle) = self.heartbeat.as_ref().filter(|_| is_new || is_over)?;
        Some(Handed { intent: "none", bundle: bundle.clone() })
    }
}

/// Hands on.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    gate: SharedGate,
    serving: Arc<Serving>,
    upstream: Arc<Upstream>,
    heard: Arc<watch::Sender<Heard>>,
}

/// What a sidecar below is told.
#[derive(Debug)]
pub(crate) struct Handed {
    /// The stable word for what kind of news it is.
    pub(crate) intent: &'static str,
    pub(crate) bundle: Bytes,
}

impl Relay {
    pub(super) fn new(gate: SharedGate, serving: Arc<Serving>, upstream: Arc<Upstream>) -> Self {
        Self { gate, serving, upstream, heard: Arc::new(watch::Sender::default()) }
    }

    /// What of something that was taken is worth handing on. It was verified when it was taken.
    pub(super) fn hears(&self, gate: &Gate, fetched: &Fetched) -> Option<Heard> {
        let Fetched::Bundle(bundle) = fetched else { return None };
        let last = *unbundle(bundle).ok()?.last()?;
        let before = self.heard.borrow().clone();
        match gate.verify(last)? {
            Verified::Heartbeat(Heartbeat { header, content, tidings }) => {
                let basis = Basis { epoch: header.epoch, revision: header.revision, hash: content };
                let alone = entitlements_core::signed::bundle([last]).into();
                let named = tidings.candidate;
                let candidate = before.candidate.filter(|(id, _)| Some(id) == named.as_ref());
                Some(Heard { heartbeat: Some((basis, alone)), candidate, named })
            }
            Verified::Candidate(candidate) => {
                let named = Some(candidate.candidate.clone());
                let candidate = Some((candidate.candidate, bundle.clone()));
                Some(Heard { candidate, named, ..before })
            }
            Verified::Snapshot(_) | Verified::Delta(_) => Some(Heard::default()),
        }
    }

    /// Wakes those below.
    pub(super) fn tell(&self, heard: Option<Heard>) {
        if let Some(heard) = heard {
            self.heard.send_replace(heard);
        }
    }

    /// Who may publish, as the root signed it; empty where that is not known.
    pub(crate) fn keys(&self) -> Bytes {
        Bytes::copy_from_slice(self.gate.lock().keys_envelope())
    }

    /// What a sidecar below is told: at once where there is news for it, else as soon as there is
    /// some, else after `wait` the last word of the publisher. `None` where nothing is there yet.
    ///
    /// # Errors
    /// Where the disk cannot be read.
    pub(crate) async fn change(
        &self,
        basis: Option<Basis>,
        candidate: Option<&str>,
        wait: Duration,
    ) -> io::Result<Option<Handed>> {
        let mut heard = self.heard.subscribe();
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        let mut is_news = false;
        loop {
            let last = heard.borrow_and_update().clone();
            let newest = self.gate.lock().basis();
            let Some(newest) = newest else { return Ok(None) };
            if basis != Some(newest) {
                return self.since(basis, &last).await;
            }
            if let Some(handed) = last.news(candidate, is_news) {
                return Ok(Some(handed));
            }
            let has_word = last.heartbeat.is_some();
            tokio::select! {
                changed = heard.changed() => is_news = changed.is_ok(),
                // Without a word to hand on there is nothing to say but silence.
                () = &mut deadline, if has_word => is_news = true,
            }
        }
    }

    /// What follows a basis, and the last heartbeat about it, so that its age is known at once.
    async fn since(&self, basis: Option<Basis>, last: &Heard) -> io::Result<Option<Handed>> {
        let gate = self.gate.clone();
        let read = tokio::task::spawn_blocking(move || {
            let gate = gate.lock();
            Ok::<_, io::Error>((gate.since(basis)?, gate.basis()))
        });
        let (found, newest) = read.await.map_err(io::Error::other)??;
        let Some((is_full, mut bundle)) = found else { return Ok(None) };
        if let Some((about, word)) = &last.heartbeat
            && Some(*about) == newest
        {
            unbundle(word).unwrap_or_default().iter().for_each(|envelope| {
                entitlements_core::signed::push_envelope(&mut bundle, envelope);
            });
        }
        let intent = if is_full { "full" } else { "delta" };
        Ok(Some(Handed { intent, bundle: bundle.into() }))
    }

    /// Hands on how a sidecar below is, and what the admin says to that.
    pub(crate) async fn report(&self, report: Bytes) -> Result<Bytes, FetchError> {
        self.upstream.tell(report).await
    }

    /// Where to wait for news.
    pub(crate) fn pulses(&self) -> watch::Receiver<u64> {
        self.serving.pulses()
    }

    /// What is newest here.
    pub(crate) fn basis(&self) -> Option<Basis> {
        self.gate.lock().basis()
    }
}
