//! What is left when a process or the machine goes down without a word.

#[cfg(test)]
mod kill;
#[cfg(test)]
#[path = "../support/postgres.rs"]
mod postgres;
#[cfg(test)]
mod power;
#[cfg(test)]
mod program;
#[cfg(test)]
mod random;
#[cfg(test)]
mod recording;
#[cfg(test)]
mod server;
