//! Answers on localhost what each tenant may use, and keeps itself in step with the admin.
//!
//! A [`Sidecar`] follows the admin's signed snapshots by long poll, keeps the last good one on disk,
//! and answers over OFREP and a small API of its own. It changes nothing anywhere: every path only
//! reads. Without the admin it goes on with what it has and says how old that is.
//!
//! ```no_run
//! # async fn example() -> Result<(), entitlements_sidecar::StartError> {
//! use entitlements_sidecar::{Config, Sidecar};
//!
//! let admin = "http://127.0.0.1:7400";
//! let key = "the admin's key with the scope sync";
//! let trust = "the admin's root key, 64 hex digits";
//! let data = "./entitlements-data/sidecar";
//! let sidecar = Sidecar::start(Config::new(admin, key, trust, data)).await?;
//! println!("asking http://{}/v1/check works now", sidecar.addr());
//! sidecar.stop().await;
//! # Ok(())
//! # }
//! ```

mod answer;
mod clock;
mod config;
mod denials;
mod flags;
mod grpc;
mod http;
mod json;
mod metrics;
mod push;
#[cfg(test)]
mod random;
mod serving;
mod sidecar;
mod standing;
mod stop;
mod sync;

pub use self::{
    config::{Config, ConfigError, Limits, SNAPSHOT_BYTES_MAX, read_text},
    sidecar::{NotYet, Running, Sidecar, StartError},
    standing::State,
};
