//! The servers that the environment names, and namespaces that no other test uses.

use millpond_cache::{CacheBuilder, RedisCache};
use millpond_testkit::variable;

/// A builder for each kind of server there is, with a namespace of its own.
pub fn builders() -> Vec<CacheBuilder> {
    let urls = ["MILLPOND_TEST_REDIS_URL", "MILLPOND_TEST_CLUSTER_URL"].into_iter().filter_map(variable);
    urls.map(|url| RedisCache::builder().url(&url).namespace(format!("test-{:x}", fastrand::u64(..)))).collect()
}

/// A cache for each kind of server there is.
pub fn caches() -> Vec<RedisCache> {
    builders().into_iter().map(|builder| builder.connect_lazy().unwrap()).collect()
}
