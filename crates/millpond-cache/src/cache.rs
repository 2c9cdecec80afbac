//! The cache: reads and writes typed values by key.

use crate::codec::{Codec, Json};
use crate::entry::{Entry, Lookup};
use crate::error::CacheError;
use crate::event::{CacheEvent, CacheTotals, EventSink};
use crate::settings::{CHOOSE, Settings, WORD, YEAR, is_word};
use crate::single_flight::Flights;
use millpond_core::SharedError;
use millpond_redis::{Breaker, Bytes, Command, Script, SharedRedisPool};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Adds to a counter and sets its expiry if it has none. A remembered absence counts as no counter.
/// ARGV: the amount, the lifetime in milliseconds.
const INCR: &str = "
if redis.call('GET', KEYS[1]) == 'n' then redis.call('DEL', KEYS[1]) end
local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return sum
";

/// A cache of typed values in Redis. Cheap to clone; clones and namespaces share connections and
/// loads.
///
/// ```no_run
/// use millpond_cache::RedisCache;
///
/// # async fn example() -> Result<(), millpond_cache::CacheError> {
/// let cache = RedisCache::builder().url("redis://localhost:6379/0").connect().await?;
/// let ponds = cache.namespace("ponds")?;
/// ponds.set("mill", &(2, "deep")).await?;
/// let mill: Option<(u32, String)> = ponds.get("mill").await?;
/// let load = || async { Ok::<_, std::io::Error>(Some("pond".to_owned())) };
/// let duck: Option<String> = ponds.get_or_load("duck", load).await?;
/// ponds.clear().await?;
/// # Ok(())
/// # }
/// ```
pub struct RedisCache<C = Json> {
    pub(crate) shared: Arc<Shared<C>>,
    pub(crate) namespace: Arc<str>,
}

/// State that clones and namespaces share.
pub(crate) struct Shared<C> {
    pub(crate) pool: SharedRedisPool,
    pub(crate) codec: C,
    pub(crate) settings: Settings,
    pub(crate) events: EventSink,
    pub(crate) flights: Arc<Flights>,
    pub(crate) loads: Semaphore,
    pub(crate) breaker: Breaker,
    incr: Script,
}

impl<C: Codec> RedisCache<C> {
    pub(crate) fn assemble(
        pool: SharedRedisPool,
        codec: C,
        namespace: String,
        settings: Settings,
        events: EventSink,
    ) -> Self {
        let shared = Shared {
            pool,
            codec,
            events,
            flights: Arc::default(),
            loads: Semaphore::new(settings.loads_max),
            breaker: Breaker::default(),
            incr: Script::new(INCR),
            settings,
        };
        Self { shared: Arc::new(shared), namespace: namespace.into() }
    }

    /// Opens another namespace of the same cache.
    ///
    /// # Errors
    ///
    /// [`CacheError::Setting`] for a name that cannot be part of a key.
    pub fn namespace(&self, name: &str) -> Result<Self, CacheError> {
        if !is_word(name) {
            let reason = format!("namespace = {name:?} cannot be part of a key; {WORD}");
            return Err(CacheError::Setting { reason });
        }
        Ok(Self { shared: Arc::clone(&self.shared), namespace: name.into() })
    }

    /// Returns the value of a key. An expired value is not returned; only
    /// [`get_or_load`](Self::get_or_load) may do so.
    ///
    /// # Errors
    ///
    /// [`CacheError::Redis`]; with [`OnOutage::Open`](crate::OnOutage::Open) not for an outage.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, CacheError> {
        Ok(self.found(self.read_entry(&self.key(key)).await?))
    }

    /// Returns the values of several keys, in their order. In a cluster the keys may be on any
    /// nodes; of a node that is down nothing is found, with
    /// [`OnOutage::Open`](crate::OnOutage::Open).
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point.
    pub async fn mget<T: DeserializeOwned>(
        &self,
        keys: &[&str],
    ) -> Result<Vec<Option<T>>, CacheError> {
        let keys: Vec<String> = keys.iter().map(|key| self.key(key)).collect();
        let found = self.read_entries(&keys).await?;
        Ok(found.into_iter().map(|lookup| self.found(lookup)).collect())
    }

    /// Stores a value for [`ttl`](crate::CacheBuilder::ttl).
    ///
    /// # Errors
    ///
    /// [`CacheError::TooLarge`], [`CacheError::Codec`]; else as [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the value may have been stored.
    pub async fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), CacheError> {
        self.set_with_ttl(key, value, self.shared.settings.ttl).await
    }

    /// Stores a value for `ttl` less the jitter. Less than 1 ms counts as 1 ms; at most 1 year.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set), and [`CacheError::Setting`] if `ttl` is longer than a year.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the value may have been stored.
    pub async fn set_with_ttl<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
        ttl: Duration,
    ) -> Result<(), CacheError> {
        if ttl > YEAR {
            let reason = format!("ttl = {ttl:?} is out of range 1ms to {YEAR:?}; {CHOOSE}");
            return Err(CacheError::Setting { reason });
        }
        let (key, entry) = (self.key(key), Entry::Value(self.encode(value)?));
        self.outdate(&key).await;
        self.store(&key, &entry, ttl).await.map(drop)
    }

    /// Removes keys. Returns how many existed: values, expired values and remembered absences. An
    /// outage is an error whatever [`OnOutage`](crate::OnOutage) is, because the keys still exist.
    /// Every hundred keys have the [`timeout`](crate::CacheBuilder::timeout) to themselves.
    ///
    /// # Errors
    ///
    /// [`CacheError::Redis`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, some keys may have been removed.
    pub async fn delete(&self, keys: &[&str]) -> Result<u64, CacheError> {
        let keys: Vec<String> = keys.iter().map(|key| self.key(key)).collect();
        for key in &keys {
            self.outdate(key).await;
        }
        Ok(self.unlink(&keys).await?)
    }

    /// Returns true if [`get`](Self::get) would find a value: a remembered absence and an expired
    /// value do not count. A value that the codec cannot read counts, because it is not read here.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point.
    pub async fn exists(&self, key: &str) -> Result<bool, CacheError> {
        Ok(self.remaining_ttl(&self.key(key)).await?.is_some())
    }

    /// Returns how long [`get`](Self::get) will still find a value. `None` if there is no value, or
    /// if it does not expire.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point.
    pub async fn ttl(&self, key: &str) -> Result<Option<Duration>, CacheError> {
        Ok(self.remaining_ttl(&self.key(key)).await?.flatten())
    }

    /// Adds to a counter, which begins at 0 and lives for [`ttl`](crate::CacheBuilder::ttl).
    /// Returns the sum. An outage is an error whatever [`OnOutage`](crate::OnOutage) is.
    ///
    /// # Errors
    ///
    /// [`CacheError::Redis`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the amount may have been added.
    pub async fn incr(&self, key: &str, by: i64) -> Result<i64, CacheError> {
        let settings = &self.shared.settings;
        // A counter is never reloaded, so it has no time in which it is stale.
        let life = settings.lifetime(settings.ttl).saturating_sub(settings.stale_millis());
        let key = self.key(key);
        self.outdate(&key).await;
        let call = self.shared.incr.call([key], [by.to_string(), life.to_string()]);
        Ok(self.in_time(1, |_| call.clone().run(self.pool())).await?)
    }

    /// Removes everything in this namespace and version, by a SCAN of every node that the cluster
    /// has now. Returns how many keys were removed. What is stored during the call may remain,
    /// values of loaders that began before it excepted.
    ///
    /// # Errors
    ///
    /// [`CacheError::Redis`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, some keys have been removed.
    pub async fn clear(&self) -> Result<u64, CacheError> {
        let prefix = self.key("");
        let limit = self.shared.settings.store_limit();
        self.shared.flights.outdate_all(|loading| loading.starts_with(&prefix), limit).await;
        Ok(self.unlink_all(&prefix).await?)
    }

    /// Counts of what has happened since the cache was built, in all namespaces.
    pub fn totals(&self) -> CacheTotals {
        self.shared.events.totals()
    }

    /// Returns the pool of the cache.
    pub fn pool(&self) -> &SharedRedisPool {
        &self.shared.pool
    }

    /// Closes the connections.
    ///
    /// # Cancel safety
    ///
    /// The pool stays closed if the future is dropped.
    pub async fn close(&self) -> millpond_core::CloseReport {
        self.pool().close().await
    }

    /// Ends the load of a key for later callers, and keeps it from storing what it has read.
    async fn outdate(&self, key: &str) {
        self.shared.flights.outdate(key, self.shared.settings.store_limit()).await;
    }

    /// The full name of a key in Redis.
    pub(crate) fn key(&self, key: &str) -> String {
        let Settings { prefix, version, .. } = &self.shared.settings;
        format!("{prefix}:{}:v{version}:{key}", self.namespace)
    }

    pub(crate) fn emit(&self, event: &CacheEvent) {
        self.shared.events.emit(event, &self.namespace);
    }

    /// The key of the lock for loading a key. It never equals a user's key, where `v` and digits
    /// follow the namespace.
    pub(crate) fn lock_key(&self, key: &str) -> String {
        let Settings { prefix, version, .. } = &self.shared.settings;
        format!("{prefix}:{}:lock-v{version}:{key}", self.namespace)
    }

    /// Decodes what was found and reports it as an event.
    fn found<T: DeserializeOwned>(&self, lookup: Lookup) -> Option<T> {
        let value = match lookup {
            Lookup::Nothing | Lookup::Stale(_) | Lookup::Blind => {
                self.emit(&CacheEvent::Miss);
                return None;
            }
            Lookup::Fresh(Entry::Nothing) => {
                self.emit(&CacheEvent::NegativeHit);
                return None;
            }
            Lookup::Fresh(Entry::Value(value)) => value,
        };
        let value = self.shared.codec.decode(&value).ok();
        self.emit(if value.is_some() { &CacheEvent::Hit } else { &CacheEvent::Unreadable });
        value
    }

    pub(crate) fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes, CacheError> {
        let bytes = self
            .shared
            .codec
            .encode(value)
            .map_err(|error| CacheError::Codec(SharedError::from(error)))?;
        Ok(bytes.into())
    }

    /// Stores an entry.
    pub(crate) async fn store(
        &self,
        key: &str,
        entry: &Entry,
        ttl: Duration,
    ) -> Result<bool, CacheError> {
        let (size, limit) =
            (entry.value().map_or(0, Bytes::len), self.shared.settings.max_value_size);
        if size > limit {
            self.emit(&CacheEvent::TooLarge { size });
            return Err(CacheError::TooLarge { size, limit });
        }
        let life = self.shared.settings.lifetime(ttl);
        let set = Command::new("SET").key(key).arg(entry.write()).arg("PX").arg(life).idempotent();
        self.ask(key, |lease| {
            let set = set.clone();
            async move { lease.run::<()>(set).await }
        })
        .await
        .map(|stored| stored.is_some())
    }
}

impl<C> Clone for RedisCache<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), namespace: Arc::clone(&self.namespace) }
    }
}

impl<C> fmt::Debug for RedisCache<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { pool, settings, events, .. } = &*self.shared;
        f.debug_struct("RedisCache")
            .field("namespace", &self.namespace)
            .field("pool", pool)
            .field("settings", settings)
            .field("events", events)
            .finish_non_exhaustive()
    }
}
