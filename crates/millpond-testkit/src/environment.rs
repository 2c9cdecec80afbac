//! Environment variables that name test servers, and skipping a test if one is missing.

use std::env;

/// Returns the variable that names a server, as `cargo xtask servers` sets it. If it is not set,
/// returns `None` and prints a line `SKIP` with the reason; the test should then return.
pub fn variable(name: &str) -> Option<String> {
    look_up(name).map_err(|why| println!("SKIP a test against a real server: {why}")).ok()
}

/// Like [`variable`], but returns the reason.
pub(crate) fn look_up(name: &str) -> Result<String, String> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    value.ok_or_else(|| format!("no {name}"))
}
