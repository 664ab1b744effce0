//! What is counted, for Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};

use entitlements_core::Reason;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    answer::Word,
    http::Route,
    push::{Health, Known},
    standing::{Moment, Standing, State},
    sync::{FetchError, Refusal},
};

type By = Family<[(&'static str, &'static str); 1], Counter>;
type ByTwo = Family<[(&'static str, &'static str); 2], Counter>;

/// Counters and gauges. The hot ones are looked up once, when this is made.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    checks: Vec<(Word, Counter)>,
    requests: Vec<(Route, [Counter; STATUS_CLASSES.len()])>,
    refusals: By,
    sync_errors: By,
    activations: Counter,
    confirmations: Counter,
    turned_away: Counter,
    revision: Gauge<u64, AtomicU64>,
    epoch: Gauge<u64, AtomicU64>,
    age: Gauge<f64, AtomicU64>,
    states: Vec<(State, Gauge)>,
    streams: Gauge,
    sinks: Sinks,
}

/// What is shown of sinks. Their names are the operator's.
#[derive(Debug)]
struct Sinks {
    states: OfSink<Gauge>,
    revisions: OfSink<Gauge<u64, AtomicU64>>,
    outcomes: OfSink<Counter>,
}

type OfSink<M> = Family<[(&'static str, String); 2], M>;

impl Sinks {
    fn new(registry: &mut Registry) -> Self {
        let (states, revisions, outcomes) =
            (OfSink::default(), OfSink::default(), OfSink::default());
        let help = "1 for the present state of a sink, 0 for the others";
        registry.register("sink_state", help, states.clone());
        let help = "The revision that a sink should hold, and the one that it was seen to hold";
        registry.register("sink_revision", help, revisions.clone());
        let help = "What came of pushes to a sink and of looks at it";
        registry.register("sink_outcomes", help, outcomes.clone());
        Self { states, revisions, outcomes }
    }
}

const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("entitlements_sidecar");
        let checks = By::default();
        registry.register("checks", "Checks answered, by reason", checks.clone());
        let requests = ByTwo::default();
        registry.register("http_requests", "Requests, by route and status", requests.clone());
        let refusals = By::default();
        registry.register(
            "refusals",
            "Documents of the admin or the disk not believed, by cause",
            refusals.clone(),
        );
        let sync_errors = By::default();
        registry.register(
            "sync_errors",
            "Questions to the admin without a usable answer, by cause",
            sync_errors.clone(),
        );
        let activations = Counter::default();
        registry.register("activations", "Snapshots taken into service", activations.clone());
        let confirmations = Counter::default();
        registry.register(
            "confirmations",
            "Heartbeats for the active snapshot",
            confirmations.clone(),
        );
        let turned_away = Counter::default();
        registry.register(
            "connections_turned_away",
            "Connections over the limit",
            turned_away.clone(),
        );
        let revision = Gauge::default();
        registry.register("revision", "Revision of the active snapshot", revision.clone());
        let epoch = Gauge::default();
        registry.register("epoch", "Epoch of the active snapshot", epoch.clone());
        let age = Gauge::default();
        registry.register(
            "age_seconds",
            "Since the active snapshot was last confirmed",
            age.clone(),
        );
        let states = Family::<[(&'static str, &'static str); 1], Gauge>::default();
        registry.register("state", "1 for the present state, 0 for the others", states.clone());
        let streams = Gauge::default();
        registry.register("event_streams", "Open event streams", streams.clone());
        let sinks = Sinks::new(&mut registry);
        for cause in Refusal::CAUSES {
            drop(refusals.get_or_create(&[("cause", cause)]));
        }
        for cause in FetchError::CAUSES {
            drop(sync_errors.get_or_create(&[("cause", cause)]));
        }
        Self {
            checks: words()
                .map(|word| (word, checks.get_or_create(&[("reason", word.code())]).clone()))
                .collect(),
            requests: Route::ALL
                .iter()
                .map(|route| {
                    let of = |class| {
                        requests
                            .get_or_create(&[("route", route.name()), ("status", class)])
                            .clone()
                    };
                    (*route, STATUS_CLASSES.map(of))
                })
                .collect(),
            states: [State::Fresh, State::Stale, State::Expired, State::Cold]
                .map(|state| (state, states.get_or_create(&[("state", state.code())]).clone()))
                .into(),
            registry,
            refusals,
            sync_errors,
            activations,
            confirmations,
            turned_away,
            revision,
            epoch,
            age,
            streams,
            sinks,
        }
    }

    pub(crate) fn checked(&self, word: Word) {
        if let Some((_, counter)) = self.checks.iter().find(|(known, _)| *known == word) {
            counter.inc();
        }
    }

    pub(crate) fn requested(&self, route: Route, status: u16) {
        let class = usize::from(status / 100).clamp(1, STATUS_CLASSES.len()) - 1;
        if let Some((_, counters)) = self.requests.iter().find(|(known, _)| *known == route) {
            counters[class].inc();
        }
    }

    pub(crate) fn refused(&self, cause: &'static str) {
        self.refusals.get_or_create(&[("cause", cause)]).inc();
    }

    pub(crate) fn sync_failed(&self, cause: &'static str) {
        self.sync_errors.get_or_create(&[("cause", cause)]).inc();
    }

    pub(crate) fn activated(&self) {
        self.activations.inc();
    }

    pub(crate) fn confirmed(&self) {
        self.confirmations.inc();
    }

    pub(crate) fn turned_away(&self) {
        self.turned_away.inc();
    }

    pub(crate) fn stream_opened(&self) -> OpenStream {
        self.streams.inc();
        OpenStream(self.streams.clone())
    }

    /// Takes note of how all sinks are.
    pub(crate) fn sinks(&self, all: &[Known]) {
        for Known { status, outcomes, .. } in all {
            let label = |key, value: &str| [("sink", status.name.clone()), (key, value.to_owned())];
            for state in Health::ALL {
                let is_present = status.state == state.code();
                let gauge = self.sinks.states.get_or_create(&label("state", state.code())).clone();
                gauge.set(i64::from(is_present));
            }
            for (which, revision) in [("desired", status.desired), ("applied", status.applied)] {
                let gauge = self.sinks.revisions.get_or_create(&label("which", which)).clone();
                gauge.set(revision.0);
            }
            for (outcome, count) in outcomes {
                let counter = self.sinks.outcomes.get_or_create(&label("outcome", outcome)).clone();
                // Two who ask at the same time must not count the same twice.
                counter.inner().fetch_max(*count, Ordering::Relaxed);
            }
        }
    }

    /// As text, with the gauges as they are now.
    pub(crate) fn to_text(&self, revision: u64, standing: &Standing, now: Moment) -> String {
        self.revision.set(revision);
        self.epoch.set(standing.epoch());
        self.age.set(standing.age(now).as_secs_f64());
        let present = standing.state(now);
        for (state, gauge) in &self.states {
            gauge.set(i64::from(*state == present));
        }
        let mut text = String::new();
        // A `String` takes everything.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Counts an event stream for as long as it lives.
#[derive(Debug)]
pub(crate) struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn words() -> impl Iterator<Item = Word> {
    Reason::ALL.into_iter().map(Word::Known).chain([Word::Stale])
}

#[cfg(test)]
mod tests {
    use super::*;
    use entitlements_core::Timestamp;

    #[test]
    fn everything_is_there_from_the_start_and_counts() {
        let metrics = Metrics::new();
        metrics.checked(Word::Stale);
        metrics.requested(Route::Check, 200);
        metrics.refused("rollback");
        let now = Moment {
            at: Timestamp::from_micros(0),
            wall: Timestamp::from_micros(0),
            up: std::time::Duration::ZERO,
        };
        let text = metrics.to_text(42, &Standing::cold(10), now);
        for line in [
            "entitlements_sidecar_revision 42",
            "entitlements_sidecar_state{state=\"COLD\"} 1",
            "entitlements_sidecar_state{state=\"FRESH\"} 0",
            "entitlements_sidecar_checks_total{reason=\"stale\"} 1",
            "entitlements_sidecar_checks_total{reason=\"plan\"} 0",
            "entitlements_sidecar_refusals_total{cause=\"rollback\"} 1",
            "entitlements_sidecar_refusals_total{cause=\"equivocation\"} 0",
            "entitlements_sidecar_http_requests_total{route=\"check\",status=\"2xx\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
