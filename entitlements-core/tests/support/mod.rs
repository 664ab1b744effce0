//! What the property tests share: random worlds, changes of them, and a naive second statement of the
//! rules.

#![expect(unreachable_pub, reason = "a test module is no crate of its own")]

pub mod change;
pub mod naive;
pub mod world;
