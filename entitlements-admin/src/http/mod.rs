//! The HTTP API: each handler extracts, calls the application once, and wraps what it says.

mod audit;
mod body;
mod catalog;
mod connectors;
mod decisions;
mod download;
mod drafts;
mod endpoint;
mod extract;
mod fleet;
mod guard;
mod history;
mod keys;
pub mod listen;
mod marketplace;
mod notices;
pub mod openapi;
mod ops;
mod patient;
mod problem;
mod promises;
mod reply;
mod requests;
mod requests_csv;
mod routes;
mod routing;
mod schema;
mod session;
mod settings;
mod strict;
mod sync;
mod tenants;
mod usage;
mod users;

pub use self::{
    endpoint::{Route, Verb},
    routes::{router, routes},
    schema::Document as SchemaDocument,
};
