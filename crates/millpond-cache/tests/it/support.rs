//! The servers that the environment names, and namespaces that no other test uses.

use millpond_cache::{CacheBuilder, RedisCache};
use std::env;

/// The value of a variable that `cargo xtask servers` sets, or a line that says why the test is skipped.
pub fn variable(name: &str) -> Option<String> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        println!("SKIP a test against a real server: no {name}");
    }
    value
}

/// A builder for each kind of server there is, with a namespace of its own.
pub fn builders() -> Vec<CacheBuilder> {
    let urls = ["MILLPOND_TEST_REDIS_URL", "MILLPOND_TEST_CLUSTER_URL"].into_iter().filter_map(variable);
    urls.map(|url| RedisCache::builder().url(&url).namespace(format!("test-{:x}", fastrand::u64(..)))).collect()
}

/// A cache for each kind of server there is.
pub fn caches() -> Vec<RedisCache> {
    builders().into_iter().map(|builder| builder.connect_lazy().unwrap()).collect()
}
