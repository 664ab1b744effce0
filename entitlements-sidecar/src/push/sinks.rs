//! How each sink is, and the receipts that the admin has not taken note of.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use entitlements_core::{
    Revision, Timestamp,
    document::{Receipt, SinkStatus},
};

use super::{
    Done, World,
    machine::{Health, Want},
};

/// So many receipts are kept; older ones that nobody took note of are dropped.
const RECEIPTS_MAX: usize = 1_000;

/// What a push or a check can come to.
const OUTCOMES: [&str; 5] = ["applied", "repaired", "drifted", "refused", "failed"];

/// What is known of all sinks.
#[derive(Debug, Default)]
pub(crate) struct Sinks(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    all: Vec<Known>,
    receipts: VecDeque<Receipt>,
    last: u64,
}

/// One sink: what the admin is told of it, and more for those who look here.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Known {
    #[serde(flatten)]
    pub(crate) status: SinkStatus,
    epoch: u64,
    /// The instant of what it should hold, and of what it was seen to hold.
    desired_at: Option<Timestamp>,
    applied_at: Option<Timestamp>,
    /// Whether it can be asked what it holds.
    is_read_back: bool,
    /// What came of pushes and checks since the start, and how often.
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
}

impl Sinks {
    /// A sink that is there and holds nothing yet.
    pub(super) fn add(&self, name: &str, kind: &str, is_read_back: bool) {
        let status = SinkStatus {
            name: name.into(),
            kind: kind.into(),
            state: Health::Behind.code().into(),
            desired: Revision(0),
            applied: Revision(0),
            settled: None,
            trouble: None,
        };
        self.inner().all.push(Known {
            status,
            epoch: 0,
            desired_at: None,
            applied_at: None,
            is_read_back,
            outcomes: OUTCOMES.map(|outcome| (outcome, 0)).into(),
        });
    }

    /// Takes note of how one is. Says whether that is news.
    pub(super) fn tell(
        &self,
        name: &str,
        desired: Option<Want>,
        applied: Option<Want>,
        health: Health,
    ) -> bool {
        let revision = |want: Option<Want>| want.map_or(Revision(0), |want| want.revision);
        let mut inner = self.inner();
        let Some(known) = inner.find(name) else { return false };
        known.epoch = desired.map_or(0, |want| want.epoch);
        (known.desired_at, known.applied_at) = (desired.map(|it| it.at), applied.map(|it| it.at));
        let sink = &mut known.status;
        let before = sink.clone();
        (sink.desired, sink.applied) = (revision(desired), revision(applied));
        sink.state = health.code().into();
        *sink != before
    }

    /// For flag sinks: the latest revision for which flags and checks agree. Says whether that is news.
    pub(super) fn settle(&self, name: &str, settled: Option<Revision>) -> bool {
        let mut inner = self.inner();
        let Some(sink) = inner.find(name) else { return false };
        std::mem::replace(&mut sink.status.settled, settled) != settled
    }

    /// The latest revision for which every sink of flags agrees; absent where there is none.
    pub(crate) fn settled(&self) -> Option<Revision> {
        self.inner().all.iter().filter_map(|sink| sink.status.settled).min()
    }

    /// Whether something that went wrong is not what went wrong last.
    pub(super) fn is_news(&self, name: &str, trouble: &str) -> bool {
        let mut inner = self.inner();
        inner.find(name).is_none_or(|sink| sink.status.trouble.as_deref() != Some(trouble))
    }

    /// Takes note of what went wrong last, or that nothing does any more.
    pub(super) fn trouble(&self, name: &str, trouble: Option<String>) {
        if let Some(sink) = self.inner().find(name) {
            sink.status.trouble = trouble;
        }
    }

    /// Counts what came of a push or a check.
    pub(super) fn count(&self, name: &str, outcome: &'static str) {
        if let Some(sink) = self.inner().find(name) {
            *sink.outcomes.entry(outcome).or_default() += 1;
        }
    }

    /// Keeps a receipt.
    pub(super) fn receipt(
        &self,
        name: &str,
        world: &World,
        at: Timestamp,
        outcome: &str,
        done: Done,
    ) {
        let mut inner = self.inner();
        inner.last += 1;
        let receipt = Receipt {
            id: inner.last,
            sink: name.into(),
            revision: world.snapshot.revision(),
            at,
            outcome: outcome.into(),
            changed: done.changed,
            detail: done.detail,
        };
        inner.receipts.push_back(receipt);
        if inner.receipts.len() > RECEIPTS_MAX {
            inner.receipts.pop_front();
        }
    }

    /// How all of them are.
    pub(crate) fn statuses(&self) -> Vec<SinkStatus> {
        self.inner().all.iter().map(|sink| sink.status.clone()).collect()
    }

    /// All that is known of all of them.
    pub(crate) fn known(&self) -> Vec<Known> {
        self.inner().all.clone()
    }

    /// The receipts that nobody took note of, oldest first.
    pub(crate) fn receipts(&self) -> Vec<Receipt> {
        self.inner().receipts.iter().cloned().collect()
    }

    /// The admin has taken note of receipts up to this one.
    pub(crate) fn acknowledge(&self, through: u64) {
        self.inner().receipts.retain(|receipt| receipt.id > through);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn find(&mut self, name: &str) -> Option<&mut Known> {
        self.all.iter_mut().find(|sink| sink.status.name == name)
    }
}
