//! What the outside world is told: deliveries, connectors, and what must never happen with them.

#[cfg(test)]
mod broker;
#[cfg(test)]
#[path = "../support/clients.rs"]
mod clients;
#[cfg(test)]
mod delivery;
#[cfg(test)]
#[path = "../support/desk.rs"]
mod desk;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod jira;
#[cfg(test)]
#[path = "../support/jira.rs"]
mod jira_fake;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod kill_steps;
#[cfg(test)]
mod load;
#[cfg(test)]
mod mail;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod pagerduty;
#[cfg(test)]
#[path = "../support/postgres.rs"]
mod postgres;
#[cfg(test)]
#[path = "../crash/random.rs"]
mod random;
#[cfg(test)]
#[path = "../support/receiver.rs"]
mod receiver;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod servicenow;
#[cfg(test)]
#[path = "../support/servicenow.rs"]
mod servicenow_fake;
#[cfg(test)]
mod shared;
#[cfg(test)]
mod slack;
#[cfg(test)]
mod steps;
#[cfg(test)]
#[path = "../support/client.rs"]
mod support;
#[cfg(test)]
mod webhook;

#[cfg(test)]
use postgres::skip;
