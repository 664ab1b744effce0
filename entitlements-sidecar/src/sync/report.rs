//! Tells the admin how this sidecar is: when something changed, and every few seconds.

use std::{sync::Arc, time::Duration};

use entitlements_core::document::{StatusReply, StatusReport};

use super::Upstream;
use crate::{serving::Serving, standing::State, stop::Stop};

/// Reports.
#[derive(Debug)]
pub(crate) struct Reporter {
    serving: Arc<Serving>,
    upstream: Arc<Upstream>,
    name: String,
    boot: String,
}

impl Reporter {
    /// For the sidecar of this name, and this run of it.
    pub(crate) fn new(
        serving: Arc<Serving>,
        upstream: Arc<Upstream>,
        name: String,
        boot: String,
    ) -> Self {
        Self { serving, upstream, name, boot }
    }

    /// Reports until it is told to stop.
    pub(crate) async fn run(self, mut stop: Stop) {
        let mut pulses = self.serving.pulses();
        let mut sinks = self.serving.sink_changes();
        loop {
            pulses.mark_unchanged();
            sinks.mark_unchanged();
            let report = self.report();
            let pause = tokio::select! {
                sent = self.upstream.report(&report) => match sent {
                    Ok(reply) => {
                        self.acknowledged(&reply);
                        EVERY
                    }
                    Err(error) => {
                        // The questions for changes tell about the same trouble, and loudly.
                        tracing::debug!("a report was not taken: {error}");
                        AGAIN
                    }
                },
                () = stop.told() => return,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = pulses.changed() => {}
                _ = sinks.changed() => {}
                () = stop.told() => return,
            }
            // What changes in a burst is told at once.
            tokio::time::sleep(GAP).await;
        }
    }

    fn report(&self) -> StatusReport {
        let serving = &self.serving;
        let (now, standing) = (serving.clock.now(), serving.standing());
        let state = standing.state(now);
        let is_cold = state == State::Cold;
        StatusReport {
            sidecar: self.name.clone(),
            boot: self.boot.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            epoch: standing.epoch(),
            revision: if is_cold { Default::default() } else { serving.pin().revision() },
            state: state.code().into(),
            age_ms: standing.age_ms(now),
            fresh_for_ms: u64::try_from(standing.fresh_for().as_millis()).unwrap_or(u64::MAX),
            held: serving.held_revisions(),
            candidate: serving.candidate(),
            rejected: serving.rejected(),
            sinks: serving.sinks.statuses(),
            receipts: serving.sinks.receipts(),
            denials: serving.denials.batch(),
        }
    }

    fn acknowledged(&self, reply: &StatusReply) {
        self.serving.denials.acknowledge(reply.denials_through);
        self.serving.sinks.acknowledge(reply.receipts_through);
    }
}

const EVERY: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(2);
const GAP: Duration = Duration::from_millis(20);
