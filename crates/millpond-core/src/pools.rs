//! What every pool can do, a custom one too: the object-safe `Pool`, and `PoolExt` with the calls
//! that a user writes.

pub(crate) mod builder;
pub(crate) mod queue;
pub(crate) mod reservation;
pub(crate) mod shares;

use crate::{CloseReport, Health, Holder, Lease, PoolError, Request, Status};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// What every pool can do. Object-safe: `Arc<dyn Pool<Connection = C>>` works, and [`PoolExt`]
/// works on it.
///
/// Implement it to change how connections are lent: wrap one of these and pass the request on, or
/// stand alone with [`LeaseOwner`](crate::LeaseOwner) and [`Lease::new`].
///
/// ```
/// use millpond_core::{async_trait, CloseReport, Lease, Pool, PoolError, Request, Status};
/// use std::time::Duration;
///
/// /// Lends only in working hours.
/// struct OfficeHours<P>(P, fn() -> bool);
///
/// #[async_trait]
/// impl<P: Pool> Pool for OfficeHours<P> {
///     type Connection = P::Connection;
///     async fn acquire_with(&self, request: Request) -> Result<Lease<P::Connection>, PoolError> {
///         if (self.1)() { self.0.acquire_with(request).await } else { Err(PoolError::Closed) }
///     }
///     fn try_acquire_with(&self, request: Request) -> Option<Lease<P::Connection>> {
///         if (self.1)() { self.0.try_acquire_with(request) } else { None }
///     }
///     fn status(&self) -> Status {
///         self.0.status()
///     }
///     async fn close_within(&self, limit: Duration) -> CloseReport {
///         self.0.close_within(limit).await
///     }
/// }
/// ```
///
/// The two asynchronous methods are declared as the attribute `async_trait` declares them, which
/// the feature `async-trait` re-exports: write `async fn` under it.
pub trait Pool: Send + Sync + 'static {
    /// What is lent.
    type Connection: Send + 'static;

    /// Lends a connection, waiting for one if need be.
    ///
    /// # Errors
    ///
    /// A [`PoolError`]; it never takes longer than the request's limit.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no slot, no connection and no wake-up.
    fn acquire_with<'life0, 'async_trait>(
        &'life0 self,
        request: Request,
    ) -> AcquireFuture<'async_trait, Self::Connection>
    where
        'life0: 'async_trait,
        Self: 'async_trait;

    /// Lends a connection if one is ready at this moment; never waits.
    fn try_acquire_with(&self, request: Request) -> Option<Lease<Self::Connection>>;

    /// The name of the pool, in errors and events. The default is empty.
    fn name(&self) -> &str {
        ""
    }

    /// The most connections that may be open at once. The default is that of the
    /// [`status`](Self::status).
    fn limit(&self) -> u32 {
        self.status().limit()
    }

    /// The holders of connections, the oldest first. The default is empty.
    fn holders(&self) -> Vec<Holder> {
        Vec::new()
    }

    /// A snapshot of the pool's counts. A pool that wraps several others can choose by it: few
    /// [`in_use`](Status::in_use), and not [`failing_since`](Status::failing_since).
    fn status(&self) -> Status;

    /// Whether the pool serves, without I/O, without a slot and without waiting. The default is
    /// derived from the [`status`](Self::status).
    fn health(&self) -> Health {
        self.status().health()
    }

    /// Closes the pool: no connection is lent any more, idle ones are closed at once, the others
    /// when they come back. Waits for that until `limit` and reports what is left.
    ///
    /// # Cancel safety
    ///
    /// The pool stays closed if the future is dropped; only the report is lost.
    fn close_within<'life0, 'async_trait>(
        &'life0 self,
        limit: Duration,
    ) -> CloseFuture<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait;
}

/// A boxed acquire, as `dyn Pool` gives it.
pub type AcquireFuture<'a, C> =
    Pin<Box<dyn Future<Output = Result<Lease<C>, PoolError>> + Send + 'a>>;

/// A boxed close, as `dyn Pool` gives it.
pub type CloseFuture<'a> = Pin<Box<dyn Future<Output = CloseReport> + Send + 'a>>;

/// How long [`PoolExt::close`] waits for borrowers.
pub const DEFAULT_CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The calls that a user writes, for every [`Pool`], also behind `dyn`. Their errors and what
/// happens when their futures are dropped are those of [`Pool::acquire_with`] and
/// [`Pool::close_within`].
pub trait PoolExt: Pool {
    /// Lends a connection within the pool's `pool_timeout`. The calling line is remembered as the
    /// holder.
    #[track_caller]
    fn acquire(&self) -> AcquireFuture<'_, Self::Connection> {
        self.acquire_with(Request::here())
    }

    /// Lends a connection within a limit of its own.
    #[track_caller]
    fn acquire_within(&self, limit: Duration) -> AcquireFuture<'_, Self::Connection> {
        self.acquire_with(Request::here().within(limit))
    }

    /// Lends a connection if one is ready at this moment.
    #[track_caller]
    fn try_acquire(&self) -> Option<Lease<Self::Connection>> {
        self.try_acquire_with(Request::here())
    }

    /// Closes the pool and waits up to [`DEFAULT_CLOSE_TIMEOUT`] (30 s) for what is lent.
    fn close(&self) -> Pin<Box<dyn Future<Output = CloseReport> + Send + '_>> {
        self.close_within(DEFAULT_CLOSE_TIMEOUT)
    }
}

impl<P: Pool + ?Sized> PoolExt for P {}
