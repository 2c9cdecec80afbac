//! The trait that a backend implements: how to connect, check, reset and close one kind of
//! connection.

use crate::{ConnectionId, ErrorClass};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Opens, checks, resets and closes one kind of connection.
///
/// Two methods have to be written, `connect` and `ping`; plain `async fn` will do. The others have
/// defaults.
///
/// | method | called when | on | limit | if it fails, panics or takes too long |
/// |---|---|---|---|---|
/// | [`connect`](Manager::connect) | a caller waits and there is room, or `min_idle` asks | the maintenance task | `connect_timeout` | tried again, as [`classify`](Manager::classify) says |
/// | [`ping`](Manager::ping) | a connection was idle for longer than `pre_ping_idle` | the acquirer; the maintenance task after a first dead one | `ping_timeout` and what is left of `pool_timeout` | closed, the next one is taken |
/// | [`triage`](Manager::triage) | a lease is dropped | the dropping thread | must not block | a panic discards the connection |
/// | [`reset`](Manager::reset) | `triage` said [`Triage::Reset`] | the maintenance task | `ping_timeout` | closed |
/// | [`close`](Manager::close) | the pool closes a connection | the maintenance task | `close_timeout` | dropped, and an event says why |
/// | [`classify`](Manager::classify) | `connect`, `ping` or `reset` failed | where it failed | must not block | a panic counts as [`ErrorClass::Transient`] |
///
/// Every future is polled behind a panic guard and may be dropped at any await point; a connection
/// whose call was cut off is closed, never lent. The pool calls no method while it holds its lock,
/// and no two methods at once for the same connection.
///
/// # Examples
///
/// ```
/// use millpond_core::{ConnectInfo, Manager, PoolExt, QueuePool};
/// use std::io::Error;
///
/// struct Echo;
/// impl Manager for Echo {
///     type Connection = String;
///     type Error = Error;
///     async fn connect(&self, info: &ConnectInfo) -> Result<String, Error> {
///         Ok(format!("connection {}", info.id))
///     }
///     async fn ping(&self, _conn: &mut String) -> Result<(), Error> {
///         Ok(())
///     }
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let pool = QueuePool::builder(Echo).pool_size(2).build()?;
/// let lease = pool.acquire().await?;
/// assert_eq!(*lease, "connection #1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a connection manager",
    note = "implement `millpond_core::Manager` for it: `connect` and `ping` are enough"
)]
pub trait Manager: Send + Sync + 'static {
    /// What is pooled.
    type Connection: Send + 'static;
    /// The error of opening, pinging, resetting or closing it.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// Whatever the driver says. The pool asks [`classify`](Manager::classify) whether to try
    /// again.
    ///
    /// # Cancel safety
    ///
    /// The pool drops the future after `connect_timeout`, when the pool is closed and when its
    /// runtime ends; never because a caller went away: a connection that arrives late goes to the
    /// pool.
    fn connect(
        &self,
        info: &ConnectInfo,
    ) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send;

    /// Asks the server whether the connection is alive. Not called for a connection just opened.
    ///
    /// # Errors
    ///
    /// An error closes the connection; the acquirer gets another one.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it ends, the connection is closed.
    fn ping(
        &self,
        conn: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Decides without I/O what becomes of a returned connection: kept as it is, reset first, or
    /// discarded.
    ///
    /// The default keeps it. Return [`Triage::Reset`] if you override [`reset`](Manager::reset):
    /// nothing else calls it.
    fn triage(&self, conn: &mut Self::Connection) -> Triage {
        let _ = conn;
        Triage::Keep
    }

    /// Restores a returned connection to the state in which it was opened. The default does
    /// nothing.
    ///
    /// # Errors
    ///
    /// An error closes the connection. If [`classify`](Manager::classify) calls it
    /// [`ErrorClass::Failover`], everything opened so far is invalidated.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it ends, the connection is closed.
    fn reset(
        &self,
        conn: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = conn;
        async { Ok(()) }
    }

    /// Whether the [`reset`](Manager::reset) that has just ended well has undone what `on_connect`
    /// hooks had done. If so they are called again before the connection is lent. Default: false.
    fn undoes_on_connect(&self, conn: &mut Self::Connection) -> bool {
        let _ = conn;
        false
    }

    /// Closes the connection cleanly. The default drops it.
    ///
    /// Not called for a connection that is given away by [`Lease::detach`](crate::Lease::detach),
    /// that is dropped because no runtime is left to close it on, or that is invalidated
    /// [`Hard`](crate::Invalidate::Hard).
    ///
    /// # Errors
    ///
    /// An error is reported as an event; the connection is gone either way.
    ///
    /// # Cancel safety
    ///
    /// After `close_timeout` the future is dropped, and the connection with it.
    fn close(
        &self,
        conn: Self::Connection,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        drop(conn);
        async { Ok(()) }
    }

    /// Says what an error of `connect`, `ping` or `reset` means for the pool. The default is
    /// [`ErrorClass::Transient`].
    fn classify(&self, error: &Self::Error) -> ErrorClass {
        let _ = error;
        ErrorClass::Transient
    }
}

/// What [`Manager::triage`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Triage {
    /// Fit to be lent at once.
    Keep,
    /// To be reset by the maintenance task before it can be lent.
    Reset,
    /// Not to be lent again: closed with the reason `Unverified`.
    Discard,
    /// Broken: closed with the reason `Broken`, and since its server may be gone the maintenance
    /// task pings the idle ones.
    Broken,
}

/// What [`Manager::connect`] learns about the attempt.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectInfo {
    /// The name of the pool, as given to its builder.
    pub pool: Arc<str>,
    /// The number that the connection will have.
    pub id: ConnectionId,
    /// 1 for the first attempt, and one more for every attempt that failed in a row before this
    /// one.
    pub attempt: u32,
    /// How often everything was invalidated before: what is opened now belongs to this generation.
    pub generation: u64,
    /// The limit of this attempt (`connect_timeout`); the pool drops the future when it has passed.
    pub limit: Duration,
}

impl ConnectInfo {
    /// An attempt as a pool of that name would make it first: for testing a manager without a pool.
    pub fn first(pool: &str, limit: Duration) -> Self {
        Self { pool: pool.into(), id: ConnectionId::new(1), attempt: 1, generation: 0, limit }
    }
}
