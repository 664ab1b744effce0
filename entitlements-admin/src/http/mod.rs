//! The HTTP API: each handler extracts, calls the application once, and wraps what it says.

mod audit;
mod body;
mod catalog;
mod decisions;
mod extract;
mod guard;
mod keys;
pub mod listen;
mod ops;
mod patient;
mod problem;
mod reply;
mod routes;
mod schema;
mod strict;
mod sync;
mod tenants;

pub use self::{
    routes::{Route, Verb, router, routes},
    schema::Document as SchemaDocument,
};
