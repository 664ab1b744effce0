//! What is left when a process or the machine goes down without a word.

#[cfg(test)]
mod server;

#[cfg(test)]
#[path = "../support/postgres.rs"]
mod postgres;
