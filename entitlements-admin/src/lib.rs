//! The control plane of Entitlements: it keeps the catalog and the tenants, records who changed
//! what, and publishes signed snapshots for sidecars.
//!
//! It never decides by itself what a tenant may use: that is `entitlements_core`, whose answers it
//! passes on. Everything that changes goes through [`App::execute`](app::App::execute), and from
//! there through [`Store::commit`](store::Store::commit); nothing else writes.
//!
//! ```no_run
//! use entitlements_admin::{Admin, Config};
//!
//! # async fn run() -> Result<(), entitlements_admin::StartError> {
//! let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
//! let running = Admin::start(config).await?;
//! println!("http://{} {:?}", running.addr(), running.first_key());
//! running.stop().await;
//! # Ok(())
//! # }
//! ```

pub mod app;
pub mod audit_export;
pub mod clock;
pub mod config;
mod connectors;
pub mod http;
mod ids;
pub mod jobs;
mod keys;
mod metrics;
pub mod oidc;
mod passwords;
mod start;
pub mod store;
mod vault;
pub mod workflow;

pub use self::{
    config::{Config, ConfigError},
    start::{Admin, Running, StartError},
};
