//! The servers that the environment names, and how a test is skipped if there is none.

use std::env;

/// The value of a variable that leads to a server, as `cargo xtask servers` sets it. If it is not
/// set, returns `None` and prints a line `SKIP` with the reason: the test should return.
pub fn variable(name: &str) -> Option<String> {
    look_up(name).map_err(|why| println!("SKIP a test against a real server: {why}")).ok()
}

/// Like [`variable`], but returns the reason.
pub(crate) fn look_up(name: &str) -> Result<String, String> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    value.ok_or_else(|| format!("no {name}"))
}
