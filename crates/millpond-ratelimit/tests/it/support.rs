//! Storages on the servers of the environment, and subjects that no other test uses.

use millpond_ratelimit::{CentralizedStateStorage, StorageOptions};
use millpond_testkit::variable;
use std::time::Duration;

/// Long enough that a busy machine does not count as an outage.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Returns a storage for each available kind of server.
pub fn storages() -> Vec<CentralizedStateStorage> {
    let urls =
        ["MILLPOND_TEST_REDIS_URL", "MILLPOND_TEST_CLUSTER_URL"].into_iter().filter_map(variable);
    urls.map(|url| StorageOptions::new().timeout(PATIENCE).connect_lazy(&url).unwrap()).collect()
}

pub fn subject(name: &str) -> String {
    format!("{name}:{:x}", fastrand::u64(..))
}
