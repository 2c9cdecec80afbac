//! The servers that the environment names, and how a test says that there is none.

use std::env;

/// The value of a variable that leads a test to its server, as `cargo xtask servers` sets it. Where it is not set, nothing,
/// and a line `SKIP` with the reason: the test is to return.
pub fn variable(name: &str) -> Option<String> {
    look_up(name).map_err(|why| println!("SKIP a test against a real server: {why}")).ok()
}

/// The same with the reason in hand.
pub(crate) fn look_up(name: &str) -> Result<String, String> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    value.ok_or_else(|| format!("no {name}"))
}
