//! The storage of limits: Redis, through a pool of its own.

use crate::error::{RateLimitError, setting};
use crate::local::Local;
use crate::outage::OnOutage;
use millpond_redis::{
    Breaker, Limits, Observer, RedisConnectOptions, RedisError, SharedRedisPool,
    SharedRedisPoolOptions,
};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The default of `max_connections`.
const DEFAULT_MAX_CONNECTIONS: u32 = 20;

/// One multiplexed connection carries the load of ten exclusive ones.
const SHARE: u32 = 10;

/// The default of `timeout`, and its range.
const TIMEOUT: Duration = Duration::from_millis(250);
const TIMEOUT_LOW: Duration = Duration::from_millis(1);
const TIMEOUT_HIGH: Duration = Duration::from_secs(60);

/// Keeps the limits that all processes share. Cheap to clone.
///
/// ```no_run
/// use millpond_ratelimit::{CentralizedStateStorage, Limit, RateLimiter};
///
/// # async fn example() -> Result<(), millpond_ratelimit::RateLimitError> {
/// // PSN_REDIS_URL and PSN_REDIS_MAX_CONNECTIONS, among others
/// let storage = CentralizedStateStorage::from_env()?;
/// let limiter = RateLimiter::new(&storage, "requests", Limit::per_second(10)?)?;
/// let decision = limiter.check("user:17").await?;
/// if !decision.allowed {
///     println!("come back in {:?}", decision.retry_after());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CentralizedStateStorage {
    shared: Arc<Shared>,
}

/// State that the clones share.
struct Shared {
    pool: SharedRedisPool,
    prefix: String,
    timeout: Duration,
    on_outage: OnOutage,
    breaker: Breaker,
    local: Local,
}

/// The settings of a [`CentralizedStateStorage`].
#[derive(Clone)]
#[must_use = "call connect_lazy"]
pub struct StorageOptions {
    max_connections: u32,
    limits: Limits,
    observers: Vec<Arc<dyn Observer>>,
    prefix: String,
    timeout: Duration,
    on_outage: OnOutage,
}

impl StorageOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            max_connections: DEFAULT_MAX_CONNECTIONS,
            limits: Limits::On,
            observers: Vec::new(),
            prefix: "ratelimit".to_owned(),
            timeout: TIMEOUT,
            on_outage: OnOutage::default(),
        }
    }

    /// The most connections to Redis. Default 20, range 10-200. Connections are multiplexed, so
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

    /// Adds an observer of the storage's pool, which is named `ratelimit`.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// The prefix of the keys in Redis. Default `ratelimit`: the keys are
    /// `ratelimit:rate:{:subject}:name` and `ratelimit:concurrency:{:subject}:name`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a decision may take before Redis counts as down. Default 250 ms, range 1 ms-60 s. A
    /// new connection may take 10 s to open; meanwhile Redis counts as down.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// What to decide while Redis is down. Default: each process keeps the limits by itself, for up
    /// to 10,000 keys.
    pub fn on_outage(mut self, what: OnOutage) -> Self {
        self.on_outage = what;
        self
    }

    /// Creates the storage. No connection is opened before the first decision, and a Redis that
    /// cannot be reached counts as an outage.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Setting`], which lists everything that is wrong with the URL and the
    /// settings.
    pub fn connect_lazy(self, url: &str) -> Result<CentralizedStateStorage, RateLimitError> {
        let options = url.parse().map_err(|error: millpond_redis::UrlError| setting(&error))?;
        self.connect_lazy_with(options)
    }

    /// Creates the storage from typed connect options.
    ///
    /// # Errors
    ///
    /// As [`connect_lazy`](Self::connect_lazy).
    pub fn connect_lazy_with(
        self,
        options: RedisConnectOptions,
    ) -> Result<CentralizedStateStorage, RateLimitError> {
        self.check()?;
        let connections = self.max_connections.div_ceil(SHARE);
        let pool = SharedRedisPoolOptions::new()
            .name("ratelimit")
            .limits(self.limits)
            .max_connections(connections)
            .command_timeout(self.timeout);
        let pool = self.observers.into_iter().fold(pool, |pool, observer| pool.observer(observer));
        let pool = pool.connect_lazy_with(options).map_err(|error| setting(&error))?;
        let (prefix, timeout, on_outage) = (self.prefix, self.timeout, self.on_outage);
        let keys_max = if let OnOutage::Local { keys } = on_outage { keys } else { 0 };
        let (breaker, local) = (Breaker::default(), Local::new(keys_max));
        let shared = Shared { pool, prefix, timeout, on_outage, breaker, local };
        Ok(CentralizedStateStorage { shared: Arc::new(shared) })
    }

    fn check(&self) -> Result<(), RateLimitError> {
        let mut problems = Vec::new();
        let count = self.max_connections;
        let range = self.limits.max_connections();
        if !range.contains(&count) {
            let (low, high) = range.into_inner();
            problems.push(format!(
                "max_connections = {count} is out of range {low}-{high}; choose a value \
                     in the range"
            ));
        }
        if !(TIMEOUT_LOW..=TIMEOUT_HIGH).contains(&self.timeout) {
            let timeout = self.timeout;
            problems.push(format!(
                "timeout = {timeout:?} is out of range 1ms to 60s; choose a value in the range"
            ));
        }
        if !is_word(&self.prefix) {
            problems.push(format!("prefix = {:?} cannot be part of a key; {WORD}", self.prefix));
        }
        if self.on_outage == (OnOutage::Local { keys: 0 }) {
            problems.push(
                "on_outage = local with keys = 0 keeps nothing; say open or closed".to_owned(),
            );
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(RateLimitError::Setting { reason: problems.join("\n") })
        }
    }
}

impl fmt::Debug for StorageOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageOptions")
            .field("max_connections", &self.max_connections)
            .field("limits", &self.limits)
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("on_outage", &self.on_outage)
            .finish_non_exhaustive()
    }
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A kind of limit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Rate,
    Concurrency,
}

/// What to do about a name that is refused.
pub(crate) const WORD: &str = "use letters, digits, and any of _ - . :";

/// True if `text` can be part of a key and of a header without an escape, and contains no hash tag.
pub(crate) fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte))
}

impl CentralizedStateStorage {
    /// Returns the pool of the storage.
    pub fn pool(&self) -> &SharedRedisPool {
        &self.shared.pool
    }

    /// The key of a subject's limit. It begins with the prefix, so that an ACL can allow it.
    /// Different kinds, prefixes and subjects never share a key, whatever characters they contain.
    /// The part in braces, never empty, puts all keys of a subject into one slot of a cluster.
    pub(crate) fn key(&self, kind: Kind, subject: &str, name: &str) -> String {
        let kind = match kind {
            Kind::Rate => "rate",
            Kind::Concurrency => "concurrency",
        };
        format!("{}:{kind}:{{:{subject}}}:{name}", self.shared.prefix)
    }

    pub(crate) fn on_outage(&self) -> OnOutage {
        self.shared.on_outage
    }

    pub(crate) fn local(&self) -> &Local {
        &self.shared.local
    }

    /// Runs a script about `key` unless Redis, or the node that owns the key, is known to be down.
    /// The question comes boxed: each level of futures would hold another copy of a large one.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Redis`] if Redis refuses the script.
    pub(crate) async fn ask<T>(
        &self,
        key: &str,
        question: Pin<Box<impl Future<Output = Result<T, RedisError>>>>,
    ) -> Result<Asked<T>, RateLimitError> {
        let Shared { breaker, pool, .. } = &*self.shared;
        match breaker.call(pool, key, self.in_time(question)).await {
            Some(outcome) => Asked::of(outcome),
            None => Ok(Asked::NotExecuted),
        }
    }

    /// As [`ask`](Self::ask), even if Redis is known to be down.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub(crate) async fn ask_anyway<T>(
        &self,
        question: Pin<Box<impl Future<Output = Result<T, RedisError>>>>,
    ) -> Result<Asked<T>, RateLimitError> {
        Asked::of(self.in_time(question).await)
    }

    async fn in_time<T>(
        &self,
        question: Pin<Box<impl Future<Output = Result<T, RedisError>>>>,
    ) -> Result<T, RedisError> {
        let limit = self.shared.timeout;
        tokio::time::timeout(limit, question)
            .await
            .unwrap_or_else(|_| Err(RedisError::TimedOut { command: "the script".into(), limit }))
    }

    /// A handle that does not keep the storage alive.
    pub(crate) fn downgrade(&self) -> WeakStorage {
        WeakStorage(Arc::downgrade(&self.shared))
    }
}

/// A handle that does not keep a [`CentralizedStateStorage`] alive.
#[derive(Clone)]
pub(crate) struct WeakStorage(Weak<Shared>);

impl WeakStorage {
    /// The storage, if somebody still holds it.
    pub(crate) fn upgrade(&self) -> Option<CentralizedStateStorage> {
        self.0.upgrade().map(|shared| CentralizedStateStorage { shared })
    }
}

/// What became of a script.
#[derive(Debug)]
pub(crate) enum Asked<T> {
    Answered(T),
    /// Redis is down or refuses writes; the script was not executed.
    NotExecuted,
    /// Redis did not answer; whether the script was or will be executed is not known.
    Unknown,
}

impl<T> Asked<T> {
    fn of(outcome: Result<T, RedisError>) -> Result<Self, RateLimitError> {
        match outcome {
            Ok(answer) => Ok(Self::Answered(answer)),
            Err(error) if error.is_ambiguous() => Ok(Self::Unknown),
            Err(error) if error.is_outage() || error.is_refused_write() => Ok(Self::NotExecuted),
            Err(error) => Err(RateLimitError::Redis(error)),
        }
    }
}

impl fmt::Debug for CentralizedStateStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { pool, prefix, timeout, on_outage, .. } = &*self.shared;
        f.debug_struct("CentralizedStateStorage")
            .field("pool", pool)
            .field("prefix", prefix)
            .field("timeout", timeout)
            .field("on_outage", on_outage)
            .finish_non_exhaustive()
    }
}
