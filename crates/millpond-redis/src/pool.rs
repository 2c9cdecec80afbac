//! The two pools: of exclusive connections, and of shared ones.

use crate::command::Command;
use crate::connect::node::Node;
use crate::connection::RedisConnection;
use crate::error::RedisError;
use crate::lease::{RedisLease, SharedRedisLease};
use crate::manager::{RedisManager, SharedRedisManager};
use crate::permits::Permits;
use crate::value::FromValue;
use millpond_core::{
    CloseReason, CloseReport, DEFAULT_CLOSE_TIMEOUT, Health, Invalidate, Lease, Pool, PoolConfig,
    PoolError, QueuePool, Request, Status,
};
use millpond_shared::SharedPool;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a command is sent that was not executed, or may be executed twice.
pub(crate) const ATTEMPTS_MAX: u32 = 3;

/// How long an acquire pauses after a connection that its server has closed at once.
const PAUSE: Duration = Duration::from_millis(20);

/// A pool of exclusive connections, for WATCH and transactions, blocking commands, SELECT and
/// subscriptions, and wherever one slow answer must not delay others.
///
/// Cheap to clone: all clones are one pool.
///
/// ```no_run
/// use millpond_redis::{Command, RedisPoolOptions};
///
/// # async fn example() -> Result<(), millpond_redis::RedisError> {
/// let pool = RedisPoolOptions::new().connect("redis://localhost:6379/0").await?;
/// let mut lease = pool.acquire().await?;
/// let _: () = lease.run(Command::new("WATCH").key("pond")).await?;
/// let depth: Option<i64> = lease.run(Command::new("GET").key("pond")).await?;
/// let set = Command::new("SET").key("pond").arg(depth.unwrap_or(0) + 1);
/// let done: Option<Vec<String>> = lease.transaction([set]).await?;
/// assert!(done.is_some(), "somebody else has changed the pond");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisPool {
    pool: QueuePool<RedisManager>,
    /// Present with [`OnExhausted::Fail`](crate::OnExhausted::Fail).
    permits: Option<Arc<Permits>>,
}

impl RedisPool {
    pub(crate) fn new(pool: QueuePool<RedisManager>, permits: Option<Arc<Permits>>) -> Self {
        Self { pool, permits }
    }

    /// Lends a connection within `pool_timeout`. The calling line counts as its holder. A
    /// connection that is known to be lost is not lent.
    ///
    /// # Errors
    ///
    /// A [`PoolError`]; with [`OnExhausted::Fail`](crate::OnExhausted::Fail) its phase is
    /// `NotReady` when all connections are lent.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point.
    #[track_caller]
    pub fn acquire(
        &self,
    ) -> impl Future<Output = Result<RedisLease, PoolError>> + Send + 'static + use<> {
        self.acquire_with(Request::here())
    }

    /// Lends a connection within the limit of the request.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point.
    pub fn acquire_with(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<RedisLease, PoolError>> + Send + 'static + use<> {
        let Self { pool, permits } = self.clone();
        async move {
            let permit = permits.as_ref().map(|permits| permits.take(&pool.config()));
            let asked = match permit {
                // The error of the core names the holders.
                Some(None) => request.within(Duration::ZERO),
                _ => request,
            };
            let (first, since) = timed(pool.acquire_with(asked)).await;
            let first = first?;
            let permit = match (permit, &permits) {
                // A connection was just returned, and its permit will be released in a moment.
                (Some(None), Some(permits)) => Some(permits.issue_extra()),
                (permit, _) => permit.flatten(),
            };
            let lease = match first.is_fit() {
                true => first,
                false => replace_unfit(&pool, request, first, since).await?,
            };
            Ok(RedisLease::new(lease, permit))
        }
    }

    /// Acquires a connection and runs one command. If its connection is lost it is sent up to three
    /// times, over another one, as long as it is idempotent or nothing of it was sent.
    ///
    /// # Errors
    ///
    /// A [`RedisError`].
    ///
    /// # Cancel safety
    ///
    /// A command that was sent is executed; its answer is discarded.
    #[track_caller]
    pub fn run<T: FromValue>(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<T, RedisError>> + Send + use<T> {
        let (pool, request, mut command) = (self.clone(), Request::here(), command);
        async move {
            let mut attempt = 1;
            loop {
                let mut lease = pool.acquire_with(request).await?;
                match lease.send(&mut command).await {
                    Err(error) if attempt < ATTEMPTS_MAX && command.may_be_sent_again(&error) => {
                        attempt += 1;
                        // The pool hears of other losses first.
                        tokio::task::yield_now().await;
                    }
                    outcome => return T::from_value(outcome?),
                }
            }
        }
    }

    /// Returns the pool's counts.
    pub fn status(&self) -> Status {
        self.pool.status()
    }

    /// Returns whether the pool serves, from its own counts: it takes no connection and does not
    /// wait.
    pub fn health(&self) -> Health {
        self.pool.health()
    }

    /// Returns the settings that the pool was built with.
    pub fn config(&self) -> PoolConfig {
        self.pool.config()
    }

    /// Outdates all connections opened so far: they are not lent again.
    pub fn invalidate_all(&self, how: Invalidate) {
        self.pool.invalidate_all(how);
    }

    /// Closes the pool and waits up to [`DEFAULT_CLOSE_TIMEOUT`] (30 s) for what is lent.
    ///
    /// # Cancel safety
    ///
    /// The pool stays closed if the future is dropped; only the report is lost.
    pub async fn close(&self) -> CloseReport {
        self.pool.close_within(DEFAULT_CLOSE_TIMEOUT).await
    }

    /// Returns the pool of the core, which ignores [`OnExhausted`](crate::OnExhausted).
    pub fn as_core(&self) -> &QueuePool<RedisManager> {
        &self.pool
    }
}

/// The search for a connection that may be lent.
struct Search {
    since: Instant,
    limit: Duration,
}

impl Search {
    /// Begins now, or began earlier.
    fn new(limit: Duration, since: Option<Instant>) -> Self {
        Self { since: since.unwrap_or_else(Instant::now), limit }
    }

    /// Discards a connection that may not be lent, and pauses if it has just been opened: its
    /// server hangs up after the handshake. Returns the rest of the limit.
    async fn discard<C: Send + 'static>(&self, unfit: Lease<C>) -> Duration {
        let left = || self.limit.saturating_sub(self.since.elapsed());
        let is_new = Lease::info(&unfit).age < self.since.elapsed();
        Lease::discard(unfit, CloseReason::Unverified);
        if is_new {
            sleep(PAUSE.min(left())).await;
        }
        left()
    }
}

/// Acquires. Returns when that began as well, if it had to wait: most acquires need no clock.
async fn timed<T>(acquire: impl Future<Output = T>) -> (T, Option<Instant>) {
    let mut acquire = pin!(acquire);
    let first = poll_fn(|cx| Poll::Ready(acquire.as_mut().poll(cx))).await;
    if let Poll::Ready(outcome) = first {
        return (outcome, None);
    }
    let since = Instant::now();
    (acquire.await, Some(since))
}

/// Replaces a connection that may not be lent, within the rest of the limit.
async fn replace_unfit(
    pool: &QueuePool<RedisManager>,
    request: Request,
    mut unfit: Lease<RedisConnection>,
    since: Option<Instant>,
) -> Result<Lease<RedisConnection>, PoolError> {
    let limit = request.limit.unwrap_or_else(|| pool.config().pool_timeout);
    let search = Search::new(limit, since);
    loop {
        let left = search.discard(unfit).await;
        let lease = pool.acquire_with(request.within(left)).await?;
        if lease.is_fit() {
            return Ok(lease);
        }
        unfit = lease;
    }
}

/// A pool of a few multiplexed connections, each used by many borrowers at once, for commands that
/// leave the session as it was. An acquire waits only while no connection is open.
///
/// Cheap to clone: all clones are one pool.
#[derive(Clone)]
pub struct SharedRedisPool {
    pool: SharedPool<SharedRedisManager>,
    /// Its `pool_timeout`.
    limit: Duration,
}

impl SharedRedisPool {
    pub(crate) fn new(pool: SharedPool<SharedRedisManager>, limit: Duration) -> Self {
        Self { pool, limit }
    }

    /// Lends a share of a connection. Waits only while none is open.
    ///
    /// # Errors
    ///
    /// A [`PoolError`].
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point.
    #[track_caller]
    pub fn acquire(
        &self,
    ) -> impl Future<Output = Result<SharedRedisLease, PoolError>> + Send + use<> {
        self.acquire_with(Request::here())
    }

    /// Lends a share of a connection within the limit of the request.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point.
    pub fn acquire_with(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<SharedRedisLease, PoolError>> + Send + use<> {
        let (pool, limit) = (self.pool.clone(), request.limit.unwrap_or(self.limit));
        async move {
            // A connection is usually open, so that there is nothing to wait for.
            let mut request = request;
            let mut search = None;
            loop {
                let lease = match pool.try_acquire_with(request) {
                    Some(lease) => lease,
                    None => {
                        search.get_or_insert_with(|| Search::new(limit, None));
                        Pool::acquire_with(&pool, request).await?
                    }
                };
                if lease.is_fit() {
                    return Ok(SharedRedisLease::new(lease));
                }
                let search = search.get_or_insert_with(|| Search::new(limit, None));
                request = request.within(search.discard(lease).await);
            }
        }
    }

    /// Runs one command. If its connection is lost it is sent up to three times, over another one,
    /// as long as it is idempotent or nothing of it was sent.
    ///
    /// # Errors
    ///
    /// A [`RedisError`].
    ///
    /// # Cancel safety
    ///
    /// A command that was sent is executed; its answer is discarded.
    #[track_caller]
    pub fn run<T: FromValue>(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<T, RedisError>> + Send + use<T> {
        let (pool, request) = (self.clone(), Request::here());
        async move {
            let mut attempt = 1;
            loop {
                let lease = pool.acquire_with(request).await?;
                match lease.send(&command).await {
                    Err(error) if attempt < ATTEMPTS_MAX && command.may_be_sent_again(&error) => {
                        attempt += 1;
                        // The pool hears of other losses first.
                        tokio::task::yield_now().await;
                    }
                    outcome => return T::from_value(outcome?),
                }
            }
        }
    }

    /// Returns the pool's counts.
    pub fn status(&self) -> Status {
        self.pool.status()
    }

    /// Returns whether the pool serves, from its own counts: it takes no connection and does not
    /// wait.
    pub fn health(&self) -> Health {
        self.pool.health()
    }

    /// Outdates all connections opened so far: they are not lent again.
    pub fn invalidate_all(&self, how: Invalidate) {
        self.pool.invalidate_all(how);
    }

    /// Closes the pool and waits up to [`DEFAULT_CLOSE_TIMEOUT`] (30 s) for what is lent.
    ///
    /// # Cancel safety
    ///
    /// The pool stays closed if the future is dropped; only the report is lost.
    pub async fn close(&self) -> CloseReport {
        self.pool.close().await
    }

    /// Returns the pool of the core.
    pub fn as_core(&self) -> &SharedPool<SharedRedisManager> {
        &self.pool
    }

    /// Returns whether this is a pool of connections to a cluster.
    pub fn is_cluster(&self) -> bool {
        self.pool.manager().is_cluster()
    }

    /// Returns the node of the cluster that owns a slot, if it is known.
    pub(crate) fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        self.pool.manager().owner(slot)
    }
}

impl fmt::Debug for RedisPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisPool").field(&self.pool).finish()
    }
}

impl fmt::Debug for SharedRedisPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedRedisPool").field(&self.pool).finish()
    }
}
