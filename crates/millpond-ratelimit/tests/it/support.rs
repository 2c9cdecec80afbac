//! The servers that the environment names, and subjects that no other test uses.

use millpond_ratelimit::{CentralizedStateStorage, StorageOptions};
use std::env;

/// The value of a variable that `cargo xtask servers` sets, or a line that says why the test is skipped.
pub fn variable(name: &str) -> Option<String> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        println!("SKIP a test against a real server: no {name}");
    }
    value
}

/// A storage over each kind of server there is.
pub fn storages() -> Vec<CentralizedStateStorage> {
    let urls = ["MILLPOND_TEST_REDIS_URL", "MILLPOND_TEST_CLUSTER_URL"].into_iter().filter_map(variable);
    urls.map(|url| StorageOptions::new().connect_lazy(&url).unwrap()).collect()
}

pub fn subject(name: &str) -> String {
    format!("{name}:{:x}", fastrand::u64(..))
}
