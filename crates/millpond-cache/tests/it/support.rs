//! Caches on the servers of the environment, in namespaces that no other test uses.

use millpond_cache::{CacheBuilder, OnOutage, RedisCache};
use millpond_redis::{Command, Limits};
use millpond_testkit::{ChaosProxy, Direction, Flow, variable};
use std::time::Duration;

/// Long enough that a busy machine does not count as an outage.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Returns a builder for each available kind of server, with a new namespace.
pub fn builders() -> Vec<CacheBuilder> {
    let urls =
        ["MILLPOND_TEST_REDIS_URL", "MILLPOND_TEST_CLUSTER_URL"].into_iter().filter_map(variable);
    let namespace = || format!("test-{:x}", fastrand::u64(..));
    urls.map(|url| RedisCache::builder().url(&url).namespace(namespace()).timeout(PATIENCE))
        .collect()
}

/// Returns a cache for each available kind of server.
pub fn caches() -> Vec<RedisCache> {
    builders().into_iter().map(|builder| builder.connect_lazy().unwrap()).collect()
}

/// A cache of one connection over a network that splits messages, and one of another process that
/// connects to the server directly.
pub struct InPieces {
    pub cache: RedisCache,
    pub straight: RedisCache,
    pub proxy: ChaosProxy,
    url: String,
    namespace: String,
}

impl InPieces {
    pub async fn new(shape: impl Fn(CacheBuilder) -> CacheBuilder) -> Option<Self> {
        let straight = variable("MILLPOND_TEST_REDIS_URL")?;
        let place = straight.split_once("://").unwrap().1.split('/').next().unwrap();
        let proxy = ChaosProxy::start(place).await.unwrap();
        Direction::BOTH
            .into_iter()
            .for_each(|direction| proxy.set(direction, Flow::free().in_pieces_of(4)));
        let url = proxy.reroute(&straight);
        let namespace = format!("test-{:x}", fastrand::u64(..));
        let of = |url| shape(one(url).namespace(namespace.clone())).connect_lazy().unwrap();
        Some(Self { cache: of(&url), straight: of(&straight), proxy, url, namespace })
    }

    /// Returns true if the lock for loading a key is taken.
    pub async fn is_locked(&self, key: &str) -> bool {
        let lock = Command::new("EXISTS").key(format!("cache:{}:lock-v1:{key}", self.namespace));
        self.straight.pool().run(lock).await.unwrap()
    }

    /// Returns the builder of another cache over the same network.
    pub fn builder(&self) -> CacheBuilder {
        one(&self.url)
    }
}

/// Returns the builder of a cache with one connection that reports all errors.
fn one(url: &str) -> CacheBuilder {
    let builder = RedisCache::builder().url(url).limits(Limits::Off).max_connections(1);
    builder.on_outage(OnOutage::Closed).timeout(PATIENCE)
}
