//! Where what a request gave is in force: on which sidecars it has arrived, and in what they push to.

use entitlements_core::{Revision, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    super::{App, Error},
    KeptRequest,
};

/// Where a request is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InForce {
    /// The commit that everybody has to have; absent before it is granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// From when on; absent before it is granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// How many live sidecars have it.
    pub sidecars: usize,
    /// Of how many.
    pub of_sidecars: usize,
    /// How many flag services and caches have it.
    pub sinks: usize,
    /// Of how many.
    pub of_sinks: usize,
    /// The names of those that do not have it: a sidecar, or `sidecar/sink`.
    pub missing: Vec<String>,
}

impl App {
    /// Where a request is in force.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn in_force(&self, kept: &KeptRequest) -> Result<InForce, Error> {
        let wanted = kept.id.clone();
        let revision = self.store().read(move |store| store.granted(&wanted)).await?;
        let fleet = self.fleet_state().await?;
        let now = self.now();
        let mut force = InForce {
            revision,
            since: kept.record.granted_at,
            sidecars: 0,
            of_sidecars: 0,
            sinks: 0,
            of_sinks: 0,
            missing: Vec::new(),
        };
        for member in fleet.members.iter().filter(|member| member.is_live(now)) {
            let report = &member.report;
            let has = |at: Revision| {
                report.epoch == fleet.epoch && revision.is_some_and(|revision| at >= revision)
            };
            force.of_sidecars += 1;
            if has(report.revision) {
                force.sidecars += 1;
            } else {
                force.missing.push(report.sidecar.clone());
            }
            for sink in &report.sinks {
                force.of_sinks += 1;
                if has(sink.applied) {
                    force.sinks += 1;
                } else {
                    force.missing.push(format!("{}/{}", report.sidecar, sink.name));
                }
            }
        }
        Ok(force)
    }
}
