//! A real sidecar, in process, against a small admin that can misbehave.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod authzen;
#[cfg(test)]
mod callers;
#[cfg(test)]
mod following;
#[cfg(test)]
mod ofrep;
#[cfg(test)]
mod pinning;
#[cfg(test)]
mod program;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod redis_readers;
#[cfg(test)]
mod redis_trouble;
#[cfg(test)]
mod reporting;
#[cfg(test)]
mod staleness;
#[cfg(test)]
mod support;
#[cfg(test)]
mod time;
#[cfg(test)]
mod webhook;
