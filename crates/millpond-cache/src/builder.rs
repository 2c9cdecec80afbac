//! Building a cache.

use crate::cache::RedisCache;
use crate::codec::{Codec, Json};
use crate::error::CacheError;
use crate::event::{CacheObserver, EventSink};
use crate::outage::OnOutage;
use crate::settings::{CHOOSE, Settings, WORD, is_word};
use millpond_core::{PoolConfig, Request};
use millpond_redis::{Limits, Observer, RedisConnectOptions, RedisError, SharedRedisPoolOptions};
use std::sync::Arc;
use std::time::Duration;

/// One multiplexed connection carries the load of ten exclusive ones.
const SHARE: u32 = 10;

/// The least `pool_timeout` of the pool; a single command has a shorter limit of its own.
const ACQUIRE_MIN: Duration = Duration::from_secs(1);

/// Builds a [`RedisCache`]; each method sets one setting.
///
/// ```
/// use millpond_cache::{OnOutage, RedisCache};
/// use std::time::Duration;
///
/// let cache = RedisCache::builder()
///     .url("redis://localhost:6379/0")
///     .max_connections(100)
///     .namespace("ponds")
///     .ttl(Duration::from_secs(600))
///     .on_outage(OnOutage::Closed)
///     .connect_lazy()?;
/// # Ok::<(), millpond_cache::CacheError>(())
/// ```
#[derive(Debug)]
#[must_use = "call connect or connect_lazy"]
pub struct CacheBuilder<C = Json> {
    servers: Vec<Result<RedisConnectOptions, String>>,
    max_connections: u32,
    limits: Limits,
    pool: SharedRedisPoolOptions,
    codec: C,
    namespace: String,
    settings: Settings,
    events: EventSink,
}

impl RedisCache {
    /// Starts to build a cache.
    pub fn builder() -> CacheBuilder {
        CacheBuilder {
            servers: Vec::new(),
            max_connections: 50,
            limits: Limits::On,
            pool: SharedRedisPoolOptions::new().name("cache"),
            codec: Json,
            namespace: "default".to_owned(),
            settings: Settings::default(),
            events: EventSink::default(),
        }
    }
}

impl<C: Codec> CacheBuilder<C> {
    /// The URL of Redis, in the forms that
    /// [`RedisPoolOptions::connect`](millpond_redis::RedisPoolOptions::connect) takes.
    pub fn url(mut self, url: &str) -> Self {
        self.servers.push(url.parse().map_err(|error: millpond_redis::UrlError| error.to_string()));
        self
    }

    /// Some nodes of a cluster, instead of a URL.
    pub fn startup_nodes<H: Into<String>>(self, nodes: impl IntoIterator<Item = (H, u16)>) -> Self {
        self.options(RedisConnectOptions::cluster(nodes))
    }

    /// Typed connect options, instead of a URL.
    pub fn options(mut self, options: RedisConnectOptions) -> Self {
        self.servers.push(Ok(options));
        self
    }

    /// The most connections to Redis. Default 50, range 10-200. Connections are multiplexed, so
    /// only a tenth of this number is opened.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections;
        self
    }

    /// Whether the range of `max_connections` is enforced. Default on; when off, any number from 1
    /// is accepted.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Adds an observer of the cache's pool, which is named `cache`.
    pub fn pool_observer(mut self, observer: impl Observer) -> Self {
        self.pool = self.pool.observer(observer);
        self
    }

    /// Converts values to bytes and back. Default [`Json`].
    pub fn codec<D: Codec>(self, codec: D) -> CacheBuilder<D> {
        let Self { servers, max_connections, limits, pool, namespace, settings, events, .. } = self;
        CacheBuilder { servers, max_connections, limits, pool, codec, namespace, settings, events }
    }

    /// The prefix of all keys in Redis, in every namespace. Default `cache`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.prefix = prefix.into();
        self
    }

    /// The namespace. Default `default`. [`RedisCache::namespace`] opens further ones.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The version of the stored format: entries of another version are not found. Default 1.
    pub fn version(mut self, version: u32) -> Self {
        self.settings.version = version;
        self
    }

    /// How long a value lives. Default 5 min, range 1 ms-1 year.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.settings.ttl = ttl;
        self
    }

    /// By how many percent, at random, a value may expire early, so that values stored together do
    /// not expire together. Default 10, range 0-50.
    pub fn ttl_jitter(mut self, percent: u32) -> Self {
        self.settings.ttl_jitter = percent;
        self
    }

    /// How long the cache remembers that a loader found nothing. Default `None`: the loader runs
    /// every time. Range 1 ms-1 year.
    pub fn negative_ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.settings.negative_ttl = ttl.into();
        self
    }

    /// How long after its expiry `get_or_load` may still return a value while one caller reloads
    /// it. No other method returns it. Default `None`. Range 1 ms-1 year.
    pub fn stale_while_revalidate(mut self, span: impl Into<Option<Duration>>) -> Self {
        self.settings.stale = span.into();
        self
    }

    /// Lets only one process at a time load a key; the value is how long the others wait for it at
    /// most. Default `None`: each process loads for itself. Range 1 ms-5 min.
    pub fn lock_across_processes(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.lock = limit.into();
        self
    }

    /// The largest value that is stored, in bytes. Default 1 MiB, range 1 B-512 MiB.
    pub fn max_value_size(mut self, bytes: usize) -> Self {
        self.settings.max_value_size = bytes;
        self
    }

    /// How many loaders may run at once in this process, for all keys together. Default 32, range
    /// 1-10,000. While Redis is down this bounds the load on the source of the values. What a
    /// loader itself requests from the cache does not count: it runs on the permit of that loader.
    pub fn loads_max(mut self, loaders: usize) -> Self {
        self.settings.loads_max = loaders;
        self
    }

    /// The limit of one load, and of the wait for a permit to load. Default 30 s, range 1 ms-5 min.
    pub fn load_timeout(mut self, limit: Duration) -> Self {
        self.settings.load_timeout = limit;
        self
    }

    /// How long Redis may take before it counts as down. Default 250 ms, range 1 ms-60 s. A new
    /// connection may take 10 s to open; meanwhile Redis counts as down.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.settings.timeout = limit;
        self
    }

    /// What happens while Redis is down. Default [`OnOutage::Open`].
    pub fn on_outage(mut self, what: OnOutage) -> Self {
        self.settings.on_outage = what;
        self
    }

    /// Adds an observer of the cache.
    pub fn observer(mut self, observer: impl CacheObserver) -> Self {
        self.events.observers.push(Arc::new(observer));
        self
    }

    /// Builds the cache. No connection is opened before its first use.
    ///
    /// # Errors
    ///
    /// [`CacheError::Setting`], which lists every wrong setting.
    pub fn connect_lazy(self) -> Result<RedisCache<C>, CacheError> {
        let Self { servers, max_connections, limits, pool, codec, namespace, settings, events } =
            self;
        let mut problems = settings.problems();
        let range = limits.max_connections();
        if !range.contains(&max_connections) {
            let (low, high) = range.into_inner();
            problems.push(format!(
                "max_connections = {max_connections} is out of range {low}-{high}; {CHOOSE}"
            ));
        }
        if !is_word(&namespace) {
            problems.push(format!("namespace = {namespace:?} cannot be part of a key; {WORD}"));
        }
        let options = match <[_; 1]>::try_from(servers) {
            Ok([Ok(options)]) => Some(options),
            Ok([Err(error)]) => {
                problems.insert(0, error);
                None
            }
            Err(others) if others.is_empty() => {
                problems.insert(
                    0,
                    "there is no url; write for example redis://localhost:6379/0".to_owned(),
                );
                None
            }
            Err(_) => {
                problems.insert(
                    0,
                    "url, startup_nodes and options say the same; leave one of them".to_owned(),
                );
                None
            }
        };
        let (Some(options), true) = (options, problems.is_empty()) else {
            return Err(CacheError::Setting { reason: problems.join("\n") });
        };
        let pool = pool
            .limits(limits)
            .max_connections(max_connections.div_ceil(SHARE))
            .command_timeout(settings.timeout)
            .pool_timeout(settings.timeout.max(ACQUIRE_MIN))
            .connect_lazy_with(options)
            .map_err(|error| CacheError::Setting { reason: error.to_string() })?;
        Ok(RedisCache::assemble(pool, codec, namespace, settings, events))
    }

    /// Builds the cache and opens a first connection within 10 s, to see that Redis can be reached.
    ///
    /// # Errors
    ///
    /// As [`connect_lazy`](Self::connect_lazy), and [`CacheError::Redis`] if Redis cannot be
    /// reached.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the cache.
    pub async fn connect(self) -> Result<RedisCache<C>, CacheError> {
        let cache = self.connect_lazy()?;
        let within = Request::here().within(PoolConfig::default().connect_timeout);
        drop(cache.pool().acquire_with(within).await.map_err(RedisError::from)?);
        Ok(cache)
    }
}
