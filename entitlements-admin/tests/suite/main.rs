//! The control plane from the outside: its store, its API over real sockets, and its program.

#[cfg(test)]
mod api;
#[cfg(test)]
mod authz;
#[cfg(test)]
mod catalog;
#[cfg(test)]
#[path = "../support/client.rs"]
mod client;
#[cfg(test)]
#[path = "../support/clients.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod clients;
#[cfg(test)]
mod code;
#[cfg(test)]
#[path = "../support/jira.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod jira_fake;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod marketplace;
#[cfg(test)]
mod oidc;
#[cfg(test)]
mod people;
#[cfg(test)]
#[path = "../support/postgres.rs"]
mod postgres;
#[cfg(test)]
mod program;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod provider;
#[cfg(test)]
#[path = "../support/receiver.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod receiver;
#[cfg(test)]
mod store;
#[cfg(test)]
mod story;
#[cfg(test)]
mod support;
#[cfg(test)]
mod sync;

#[cfg(test)]
use postgres::skip;
