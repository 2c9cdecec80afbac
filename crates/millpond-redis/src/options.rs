//! Builds pools, from a URL or from connect options.

use crate::connect::options::{RedisConnectOptions, TcpTimes};
use crate::error::RedisError;
use crate::manager::{RedisManager, SharedRedisManager};
use crate::permits::{OnExhausted, Permits};
use crate::pool::{RedisPool, SharedRedisPool};
use millpond_core::{
    Buildable, Builder, ConnectionInfo, Handle, HookFuture, Hooks, Limits, Manager, Observer,
    PoolConfig, QueuePool, TCP_TIMES,
};
use millpond_shared::SharedPool;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// The default of `max_connections`.
const DEFAULT_MAX_CONNECTIONS: u32 = 50;

/// The default of `max_connections` of a shared pool.
const SHARED: u32 = 4;

/// How many borrowers in a row get the same connection, so that their commands share a write: Redis
/// answers all connections with one thread. With 1, 64 tasks on 10 connections are a fifth slower.
const ACQUIRES_PER_TURN: u32 = 16;

/// The range of `command_timeout`.
const COMMAND_TIMEOUT_LOW: Duration = Duration::from_millis(1);
const COMMAND_TIMEOUT_HIGH: Duration = Duration::from_secs(300);

/// Options of a [`RedisPool`].
pub type RedisPoolOptions = PoolOptions<QueuePool<RedisManager>>;

/// Options of a [`SharedRedisPool`].
pub type SharedRedisPoolOptions = PoolOptions<SharedPool<SharedRedisManager>>;

/// What `max_connections` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Count {
    /// Connections that are lent. In a cluster each of them has up to one socket to every master.
    #[default]
    Leases,
    /// Sockets: in a cluster of three masters, 50 of them are 12 connections. `connect` counts the
    /// masters once; `connect_lazy` cannot, and refuses this.
    Sockets,
}

/// Options of a pool: sizes, limits, hooks.
///
/// ```
/// use millpond_redis::{OnExhausted, RedisPoolOptions};
/// use std::time::Duration;
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let pool = RedisPoolOptions::new()
///     .name("sessions")
///     .max_connections(100)
///     .on_exhausted(OnExhausted::Fail)
///     .pool_timeout(Duration::from_secs(5))
///     .connect_lazy("redis://localhost:6379/0")?;
/// # Ok::<(), millpond_redis::RedisError>(())
/// # }).unwrap();
/// ```
#[must_use = "call connect or connect_lazy"]
pub struct PoolOptions<P: Buildable> {
    config: PoolConfig,
    name: Arc<str>,
    max_connections: u32,
    count: Count,
    on_exhausted: OnExhausted,
    command_timeout: Option<Duration>,
    steps: Vec<Step<P>>,
}

type Step<P> = Box<dyn FnOnce(Builder<P>) -> Builder<P> + Send>;
type Connection<P> = <<P as Buildable>::Manager as Manager>::Connection;

/// Sizes and limits.
impl<P: Buildable> PoolOptions<P> {
    fn with(max_connections: u32) -> Self {
        Self {
            config: PoolConfig::default(),
            name: "redis".into(),
            max_connections,
            count: Count::default(),
            on_exhausted: OnExhausted::default(),
            command_timeout: None,
            steps: Vec::new(),
        }
    }

    /// The name of the pool in events, logs and metrics. Default `redis`.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// The settings of the core; `max_connections` overrules the sizes among them.
    pub fn config(mut self, config: PoolConfig) -> Self {
        self.config = config;
        self
    }

    /// Changes any of the settings of the core; `max_connections` overrules the sizes among them.
    pub fn configure(mut self, change: impl FnOnce(&mut PoolConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Sets [`PoolConfig::pool_timeout`].
    pub fn pool_timeout(mut self, limit: Duration) -> Self {
        self.config.pool_timeout = limit;
        self
    }

    /// How long a command may have no answer; overrules the connect options. Default 2 s, range
    /// 1 ms-300 s. See [`RedisConnectOptions::command_timeout`].
    pub fn command_timeout(mut self, limit: Duration) -> Self {
        self.command_timeout = Some(limit);
        self
    }

    /// Whether the ranges hold. Default [`Limits::On`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// The runtime on which the pool connects and runs its maintenance task.
    pub fn runtime(self, handle: Handle) -> Self {
        self.step(|builder| builder.runtime(handle))
    }

    /// Adds an observer.
    pub fn observer(self, observer: impl Observer) -> Self {
        self.step(|builder| builder.observer(observer))
    }

    /// Adds an object that acts at the hook points it asks for.
    pub fn hooks(self, hooks: impl Hooks<Connection<P>>) -> Self {
        self.step(|builder| builder.hooks(hooks))
    }

    /// Adds a hook for every new connection: see [`Hooks::on_connect`]. In a [`RedisPool`] every
    /// borrower finds the session as the hook has left it, after `SELECT`, `CLIENT SETNAME` or
    /// `AUTH` for example. In a cluster a connection has several sockets, of which such a command
    /// reaches one; `AUTH` is refused there.
    pub fn on_connect<F>(self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut Connection<P>, &'a ConnectionInfo) -> HookFuture<'a>
            + Send
            + Sync
            + 'static,
    {
        self.step(|builder| builder.on_connect(hook))
    }

    /// Adds a hook before every loan: see [`Hooks::on_checkout`].
    pub fn on_checkout<F>(self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut Connection<P>, &'a ConnectionInfo) -> HookFuture<'a>
            + Send
            + Sync
            + 'static,
    {
        self.step(|builder| builder.on_checkout(hook))
    }

    /// Adds a hook after every return: see [`Hooks::on_checkin`].
    pub fn on_checkin<F>(self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut Connection<P>, &'a ConnectionInfo) -> HookFuture<'a>
            + Send
            + Sync
            + 'static,
    {
        self.step(|builder| builder.on_checkin(hook))
    }

    fn step(mut self, step: impl FnOnce(Builder<P>) -> Builder<P> + Send + 'static) -> Self {
        self.steps.push(Box::new(step));
        self
    }

    /// Checks the options, and builds a pool of these sizes.
    fn build(
        self,
        range: RangeInclusive<u32>,
        sizes: (u32, u32),
        options: RedisConnectOptions,
        manager: impl FnOnce(RedisConnectOptions) -> P::Manager,
    ) -> Result<P, RedisError> {
        let timeout = self.command_timeout.unwrap_or(options.command_timeout);
        self.check(range, timeout, options.tcp)?;
        let manager = manager(options.command_timeout(timeout));
        let mut config = self.config;
        // Checked above, by the ranges of this crate: those of the core are for databases.
        (config.pool_size, config.max_overflow) = sizes;
        config.limits = Limits::Off;
        let builder = Builder::<P>::new(manager).name(self.name).config(config);
        let builder = self.steps.into_iter().fold(builder, |builder, step| step(builder));
        builder.build().map_err(|error| RedisError::Setup { reason: error.to_string() })
    }

    /// Reports all problems at once.
    fn check(
        &self,
        range: RangeInclusive<u32>,
        timeout: Duration,
        tcp: TcpTimes,
    ) -> Result<(), RedisError> {
        const LIFT: &str = "choose a value in the range, or lift the ranges with limits = \"off\"";
        let mut problems = Vec::new();
        let on = self.config.limits == Limits::On;
        let count = self.max_connections;
        if !range.contains(&count) {
            let (low, high) = range.into_inner();
            problems
                .push(format!("max_connections = {count} is out of range {low}-{high}; {LIFT}"));
        }
        if (on && !(COMMAND_TIMEOUT_LOW..=COMMAND_TIMEOUT_HIGH).contains(&timeout))
            || timeout.is_zero()
        {
            problems
                .push(format!("command_timeout = {timeout:?} is out of range 1ms to 300s; {LIFT}"));
        }
        for (name, time) in
            [("tcp_keepalive", tcp.keepalive), ("tcp_user_timeout", tcp.user_timeout)]
        {
            let time = time.filter(|time| on && !time.is_zero() && !TCP_TIMES.contains(time));
            problems.extend(time.map(|time| {
                format!("{name} = {time:?} is out of range 1s to 3600s, or 0s for off; {LIFT}")
            }));
        }
        let defaults = PoolConfig::default();
        let mut rest = self.config.clone();
        (rest.pool_size, rest.max_overflow) = (defaults.pool_size, defaults.max_overflow);
        rest.min_idle = rest.min_idle.map(|idle| idle.min(rest.pool_size));
        if let Err(error) = rest.check() {
            problems.extend(error.problems().iter().map(ToString::to_string));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(RedisError::Setup { reason: problems.join("\n") })
        }
    }
}

/// Options of exclusive connections.
impl PoolOptions<QueuePool<RedisManager>> {
    /// The defaults: `max_connections` 50, `on_exhausted` wait.
    pub fn new() -> Self {
        Self::with(DEFAULT_MAX_CONNECTIONS)
    }

    /// The most connections that are lent at once; as many are kept. Default 50, range 10-200. See
    /// [`Count`] for clusters.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections;
        self
    }

    /// What `max_connections` counts. Default [`Count::Leases`].
    pub fn count(mut self, count: Count) -> Self {
        self.count = count;
        self
    }

    /// What an acquire does when all connections are lent. Default [`OnExhausted::Wait`].
    pub fn on_exhausted(mut self, what: OnExhausted) -> Self {
        self.on_exhausted = what;
        self
    }

    /// Makes a pool from a URL, and opens a first connection to check that it works.
    ///
    /// | URL | |
    /// |---|---|
    /// | `redis://user:password@host:6379/0` | one server; `valkey` means the same everywhere |
    /// | `rediss://host` | with TLS; `?tls_ca=/path/ca.pem` for another authority than the system's |
    /// | `redis-cluster://node1:7000,node2:7001` | a cluster; also `?node=node2:7001`; with TLS `rediss-cluster` |
    /// | `redis-sentinel://s1:26379,s2/0?service=mymaster` | the master that the sentinels name; they may have `sentinel_user`, `sentinel_password`; with TLS `rediss-sentinel`; `sentinel_tls=on` or `off` if only they or only the master speak it |
    /// | `unix:///run/redis.sock?db=0` | a Unix socket |
    /// | `..?tcp_keepalive=60` | see [`tcp_keepalive`](RedisConnectOptions::tcp_keepalive) |
    /// | `..?tcp_user_timeout=90` | see [`tcp_user_timeout`](RedisConnectOptions::tcp_user_timeout) |
    /// | `..?protocol=2` | RESP2 instead of RESP3: see [`Protocol`](crate::Protocol) |
    /// | `..?driver=redis-rs` | over redis-rs instead of fred: see [`Driver`](crate::Driver) |
    ///
    /// Every other scheme and parameter is an error. Names and passwords are percent-decoded.
    ///
    /// # Errors
    ///
    /// [`RedisError::Setup`] if the URL or a setting is wrong; else the error of the first
    /// connection.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the pool.
    pub async fn connect(self, url: &str) -> Result<RedisPool, RedisError> {
        self.connect_with(read(url)?).await
    }

    /// Makes a pool from options, and opens a first connection to check that it works.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the pool.
    pub async fn connect_with(self, options: RedisConnectOptions) -> Result<RedisPool, RedisError> {
        let (max, by_sockets) =
            (self.max_connections, self.count == Count::Sockets && options.is_cluster());
        let fail = self.on_exhausted == OnExhausted::Fail;
        // One connection first, to count the masters.
        let first_size = if by_sockets { 1 } else { max };
        let pool = self.exclusive(first_size, options)?;
        let lease = pool.acquire().await?;
        if by_sockets {
            let each = u32::try_from(lease.sockets()).unwrap_or(u32::MAX).saturating_add(1);
            pool.resize((max / each).max(1), 0)
                .map_err(|error| RedisError::Setup { reason: error.to_string() })?;
        }
        drop(lease);
        Ok(RedisPool::new(pool, fail.then(Arc::<Permits>::default)))
    }

    /// Makes a pool from a URL. Nothing is opened before the first acquire.
    ///
    /// # Errors
    ///
    /// [`RedisError::Setup`] if the URL or a setting is wrong.
    pub fn connect_lazy(self, url: &str) -> Result<RedisPool, RedisError> {
        self.connect_lazy_with(read(url)?)
    }

    /// Makes a pool from options. Nothing is opened before the first acquire.
    ///
    /// # Errors
    ///
    /// [`RedisError::Setup`] if a setting is wrong.
    pub fn connect_lazy_with(self, options: RedisConnectOptions) -> Result<RedisPool, RedisError> {
        if self.count == Count::Sockets && options.is_cluster() {
            let reason = "sockets can be counted only after a look at the cluster: use connect, or \
                Count::Leases";
            return Err(RedisError::Setup { reason: reason.to_owned() });
        }
        let (max, fail) = (self.max_connections, self.on_exhausted == OnExhausted::Fail);
        let pool = self.exclusive(max, options)?;
        Ok(RedisPool::new(pool, fail.then(Arc::<Permits>::default)))
    }

    fn exclusive(
        self,
        size: u32,
        options: RedisConnectOptions,
    ) -> Result<QueuePool<RedisManager>, RedisError> {
        // Runs after all other hooks: what they have done to the session stays.
        let set_up = self.on_connect(|conn, _| {
            Box::pin(async move {
                conn.set_up();
                Ok(())
            })
        });
        let range = set_up.config.limits.max_connections();
        set_up.build(range, (size, 0), options, RedisManager::new)
    }
}

/// Options of shared connections.
impl PoolOptions<SharedPool<SharedRedisManager>> {
    /// The defaults: 4 connections.
    pub fn new() -> Self {
        Self::with(SHARED)
    }

    /// The number of connections, each with many borrowers at once. Default 4, range 1-200; more
    /// are rarely faster. While one is replaced there may be one more.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections;
        self
    }

    /// Makes a pool from a URL, and opens a first connection to check that it works. The URLs are
    /// those of [`RedisPoolOptions::connect`].
    ///
    /// # Errors
    ///
    /// As [`RedisPoolOptions::connect`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the pool.
    pub async fn connect(self, url: &str) -> Result<SharedRedisPool, RedisError> {
        self.connect_with(read(url)?).await
    }

    /// Makes a pool from options, and opens a first connection to check that it works.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the pool.
    pub async fn connect_with(
        self,
        options: RedisConnectOptions,
    ) -> Result<SharedRedisPool, RedisError> {
        let pool = self.connect_lazy_with(options)?;
        drop(pool.acquire().await?);
        Ok(pool)
    }

    /// Makes a pool from a URL. Nothing is opened before the first acquire.
    ///
    /// # Errors
    ///
    /// [`RedisError::Setup`] if the URL or a setting is wrong.
    pub fn connect_lazy(self, url: &str) -> Result<SharedRedisPool, RedisError> {
        self.connect_lazy_with(read(url)?)
    }

    /// Makes a pool from options. Nothing is opened before the first acquire.
    ///
    /// # Errors
    ///
    /// [`RedisError::Setup`] if a setting is wrong.
    pub fn connect_lazy_with(
        self,
        options: RedisConnectOptions,
    ) -> Result<SharedRedisPool, RedisError> {
        let (sizes, limit) = ((self.max_connections, 1), self.config.pool_timeout);
        // One connection serves many borrowers.
        let range = 1..=*self.config.limits.max_connections().end();
        let pool = self.build(range, sizes, options, SharedRedisManager::new)?;
        pool.set_acquires_per_turn(ACQUIRES_PER_TURN);
        Ok(SharedRedisPool::new(pool, limit))
    }
}

fn read(url: &str) -> Result<RedisConnectOptions, RedisError> {
    url.parse().map_err(|error: crate::UrlError| RedisError::Setup { reason: error.to_string() })
}

impl Default for RedisPoolOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for SharedRedisPoolOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Buildable> fmt::Debug for PoolOptions<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolOptions")
            .field("name", &self.name)
            .field("max_connections", &self.max_connections)
            .field("count", &self.count)
            .field("on_exhausted", &self.on_exhausted)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
