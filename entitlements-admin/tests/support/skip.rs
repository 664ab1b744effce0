//! Tests that need what is not installed everywhere.

use std::{
    env,
    io::{self, Write},
};

/// Says that a test was skipped, in the words that `cargo xtask test` looks for; fails where
/// nothing may be skipped.
pub(crate) fn skip(what: &str, why: &str) {
    let wanted = variable("CI").is_some_and(|ci| ci == "true")
        || variable("ENTITLEMENTS_CLIENTS").is_some_and(|clients| clients == "required");
    assert!(!wanted, "{what}: {why}");
    tell(&format!("skipped: {what}: {why}"));
}

/// A line that is seen although the test passes, which `eprintln!` would hide.
pub(crate) fn tell(line: &str) {
    io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the environment says how much to test")]
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
