//! The sidecars that follow this control plane: who is live, and what all of them have.

use std::time::Duration;

use entitlements_core::{Revision, Timestamp, document::StatusReport, signed::Tidings};

/// The shortest lease. Sidecars report more often than that.
const LEASE_MIN: Duration = Duration::from_secs(30);
/// Added to the time for which a sidecar calls itself fresh.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// The longest that a sidecar may call itself fresh without hearing from us.
const FRESH_MAX: Duration = Duration::from_secs(600);

/// A sidecar that was heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it said last.
    pub report: StatusReport,
    /// When.
    pub at: Timestamp,
}

impl Member {
    /// For how long a word counts. It is longer than the sidecar calls itself fresh by itself, so
    /// that one without a lease knows that it is stale.
    #[must_use]
    pub fn lease(&self) -> Duration {
        LEASE_MIN.max(self.fresh_for() + LEASE_MARGIN)
    }

    /// Until when it counts as live.
    #[must_use]
    pub fn live_until(&self) -> Timestamp {
        self.at.plus(self.lease())
    }

    /// Whether it counts.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.live_until()
    }

    /// For how long it calls itself fresh without hearing from us.
    #[must_use]
    pub fn fresh_for(&self) -> Duration {
        Duration::from_millis(self.report.fresh_for_ms).min(FRESH_MAX)
    }

    /// Whether it has prepared a candidate.
    #[must_use]
    pub fn has_prepared(&self, candidate: &str) -> bool {
        let told = self.report.candidate.as_ref();
        told.is_some_and(|told| told.id == candidate && told.rejected.is_none())
    }

    /// Why it cannot serve a candidate.
    #[must_use]
    pub fn rejection(&self, candidate: &str) -> Option<&str> {
        let told = self.report.candidate.as_ref().filter(|told| told.id == candidate)?;
        told.rejected.as_deref()
    }
}

/// The latest revision that every live sidecar serves; absent where there is none.
pub fn watermark<'m>(
    members: impl IntoIterator<Item = &'m Member>,
    epoch: u64,
    now: Timestamp,
) -> Option<Revision> {
    let serves = |member: &Member| match member.report.epoch == epoch {
        true => member.report.revision,
        false => Revision(0),
    };
    members.into_iter().filter(|member| member.is_live(now)).map(serves).min()
}

/// What all sidecars are told of each other.
pub fn tidings<'m>(
    members: impl IntoIterator<Item = &'m Member> + Clone,
    epoch: u64,
    now: Timestamp,
) -> Tidings {
    let sinks = members.clone().into_iter().filter(|member| member.is_live(now));
    let settled = sinks.flat_map(|member| &member.report.sinks).filter_map(|sink| sink.settled);
    Tidings { candidate: None, watermark: watermark(members, epoch, now), settled: settled.min() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn member(sidecar: &str, revision: u64, at: Timestamp) -> Member {
        let report = StatusReport {
            sidecar: sidecar.into(),
            boot: "b".into(),
            version: "0".into(),
            epoch: 1,
            revision: Revision(revision),
            state: "FRESH".into(),
            age_ms: 0,
            fresh_for_ms: 30_000,
            held: Vec::new(),
            candidate: None,
            rejected: None,
            sinks: Vec::new(),
            receipts: Vec::new(),
            denials: None,
        };
        Member { report, at }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_lease_outlasts_what_a_sidecar_calls_fresh() {
        let quick = member("a", 1, at(0));
        assert_eq!((quick.is_live(at(34)), quick.is_live(at(35))), (true, false));
        let mut slow = member("a", 1, at(0));
        slow.report.fresh_for_ms = 180_000;
        assert!(slow.is_live(at(184)) && !slow.is_live(at(185)));
        slow.report.fresh_for_ms = u64::MAX;
        assert!(!slow.is_live(at(605)), "nobody holds everybody else up for ever");
    }

    #[test]
    fn the_watermark_is_what_the_last_live_one_has() {
        let members = [member("a", 9, at(100)), member("b", 7, at(90)), member("c", 3, at(0))];
        assert_eq!(watermark(&members, 1, at(100)), Some(Revision(7)));
        assert_eq!(watermark(&members, 1, at(10)), Some(Revision(3)));
        assert_eq!(watermark(&members, 1, at(126)), Some(Revision(9)));
        assert_eq!(watermark(&members, 1, at(200)), None);
        assert_eq!(watermark(&members, 2, at(100)), Some(Revision(0)), "of another epoch");
    }
}
