//! One consistent view of the world, for one request.

use std::{ops::Deref, sync::Arc};

use entitlements_core::{
    Decision, Feature, FeatureKey, Pin, Snapshot, TenantView, Timestamp, Verdict,
};

use super::{
    asking::Asking,
    reply::{Problem, Reply, stamp},
};
use crate::{
    answer::Answer,
    flags::Context,
    serving::Serving,
    standing::{Moment, State},
};

/// The snapshot, the instant and the state that every part of an answer goes by.
#[derive(Debug)]
pub(crate) struct View {
    pin: World,
    pub(crate) now: Moment,
    pub(crate) state: State,
    pub(crate) age_ms: u64,
}

/// What is served now, or what a caller has pinned.
#[derive(Debug)]
enum World {
    Live(Pin),
    Held(Arc<Snapshot>),
}

impl Deref for World {
    type Target = Snapshot;
    fn deref(&self) -> &Snapshot {
        match self {
            Self::Live(pin) => pin,
            Self::Held(held) => held,
        }
    }
}

impl View {
    /// The view of this moment.
    pub(crate) fn new(asking: &Asking<'_>) -> Result<Self, Problem> {
        let serving = asking.serving;
        let now = serving.clock.now();
        let standing = serving.standing();
        let state = standing.state(now);
        if state == State::Cold {
            return Err(Problem::Cold);
        }
        let pin = match &asking.pinned {
            None => World::Live(serving.pin()),
            Some(held) => World::Held(held.clone()),
        };
        Ok(Self { pin, now, state, age_ms: standing.age_ms(now) })
    }

    /// The world that it is a view of, to be kept for as long as a search takes.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.pin)
    }

    pub(crate) fn revision(&self) -> u64 {
        self.pin.revision().0
    }

    /// The answer to one question.
    pub(crate) fn check(&self, tenant: &str, feature: &str, at: Timestamp) -> Answer<'_> {
        self.answer(&self.pin.check(tenant, feature, at), feature)
    }

    /// The same, counted: this is a question that somebody had, not a list.
    pub(crate) fn counted<'v>(
        &'v self,
        serving: &Serving,
        (tenant, feature): (&str, &str),
        at: Timestamp,
    ) -> Answer<'v> {
        let answer = self.check(tenant, feature, at);
        serving.metrics.checked(answer.reason);
        if answer.verdict == Verdict::Denied {
            serving.denials.count(tenant, feature, answer.reason.code());
        }
        answer
    }

    /// How an answer came about, as core tells it.
    pub(crate) fn explain(
        &self,
        tenant: &str,
        feature: &str,
        at: Timestamp,
    ) -> entitlements_core::Explanation {
        self.pin.explain(tenant, feature, at)
    }

    /// The answers to all questions about a tenant. One that is not known is denied everything.
    pub(crate) fn each(
        &self,
        tenant: &str,
        at: Timestamp,
        mut tell: impl FnMut(&FeatureKey, Answer<'_>),
    ) {
        if let Some(known) = self.pin.tenant(tenant) {
            for (feature, decision) in known.decisions(at) {
                tell(feature, self.answer(&decision, feature.as_str()));
            }
        } else {
            for feature in self.pin.catalog().draft().features.keys() {
                tell(feature, self.check(tenant, feature.as_str(), at));
            }
        }
    }

    /// What an application passes to a flag service about a tenant.
    pub(crate) fn flag_context(&self, tenant: &str) -> Context {
        let known = self.pin.tenant(tenant);
        known.map_or_else(Context::nobody, |view| Context::of(&view.tenant(), self.now.at))
    }

    /// When the answers about a tenant change next if nothing is published.
    pub(crate) fn next_change(&self, tenant: &str) -> Option<Timestamp> {
        self.pin.tenant(tenant).and_then(|known: TenantView<'_>| known.next_change(self.now.at))
    }

    /// What is declared about a feature.
    pub(crate) fn feature(&self, feature: &str) -> Option<&Feature> {
        self.pin.catalog().draft().features.get(feature)
    }

    /// Says in the headers of what world an answer is.
    pub(crate) fn stamp(&self, mut reply: Reply) -> Reply {
        stamp(&mut reply, self.revision(), self.age_ms, self.state);
        reply
    }

    fn answer<'s>(&'s self, decision: &Decision<'s>, feature: &str) -> Answer<'s> {
        Answer::new(decision, self.pin.catalog(), feature, self.state)
    }
}
