//! A pool of sqlx's own type that lends the leases of a pool.
//!
//! sqlx's pool opens [stand-ins](crate::stand_in), which are swapped with the connections of
//! leases. If it has one connection, a lease is acquired together with it, and both are returned
//! together. sqlx does not show which of several connections comes back, so each of them stays with
//! sqlx's pool, while its lease holds the slot and the stand-in. For the time of a reset the
//! connection is put into any of these leases: they are alike but for what reaches one connection,
//! a cancel or an interrupt, which they lose.

use crate::backend::Backend;
use crate::backing_pool::{BackingPool, ManagedPool};
use crate::lease::SqlLease;
use crate::stand_in::{Swapped, pool_options};
use crate::time_limits::Limits;
use millpond_core::{PoolConfig, Request};
use sqlx::{Connection, Database, Error};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::time::timeout;

/// What the limit of sqlx's pool adds to `pool_timeout`, so that the error of this pool comes
/// first, and is logged by sqlx.
const LATER: Duration = Duration::from_secs(1);

/// The longest limit of sqlx's pool, which adds it to the time of day, so that the sum exists.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const NOT_OFFERED: &str = "a pool of sqlx's own type is offered by pools that are built by a \
    backend's options";

/// The pool of sqlx's own type that a `SqlPool` offers.
pub(crate) struct SqlxPool<DB: Database> {
    offer: OnceLock<Offer<DB>>,
    opened: Mutex<Option<Opened<DB>>>,
    /// Whether there is one, so that an acquire of a pool without one takes no lock.
    is_opened: AtomicBool,
}

struct Offer<DB: Database> {
    backend: &'static dyn Backend<DB>,
    connections: u32,
    reuses: bool,
}

struct Opened<DB: Database> {
    pool: sqlx::Pool<DB>,
    swapped: Arc<Swapped<DB>>,
}

impl<DB: Database> Clone for Opened<DB> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), swapped: Arc::clone(&self.swapped) }
    }
}

impl<DB: Database> SqlxPool<DB> {
    /// Offers a pool with this many connections, which are lent again if it `reuses` them. Only the
    /// first call has an effect.
    pub(crate) fn offer(&self, backend: &'static dyn Backend<DB>, connections: u32, reuses: bool) {
        let _offered_before = self.offer.set(Offer { backend, connections, reuses });
    }

    /// Returns the pool, which lends leases of `owner`.
    pub(crate) fn get(&self, owner: &Arc<dyn ManagedPool<DB>>) -> Result<sqlx::Pool<DB>, Error> {
        let offer = self.offer.get().ok_or_else(not_offered)?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = opened.as_ref().filter(|opened| !opened.pool.is_closed()) {
            return Ok(opened.pool.clone());
        }
        let options = offer.backend.stand_in()?.ok_or_else(not_offered)?;
        let (owner, config) = (Arc::downgrade(owner), owner.config());
        let Offer { connections, reuses, .. } = *offer;
        let source = Source { owner, connections, reuses, config };
        let (pool, swapped) = source.open(options);
        *opened = Some(Opened { pool: pool.clone(), swapped });
        self.is_opened.store(true, Ordering::Release);
        Ok(pool)
    }

    /// Frees the slots of connections that were taken out of sqlx's pool, or closed by it.
    pub(crate) fn free_slots(&self) {
        if self.is_opened.load(Ordering::Acquire) {
            let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(Opened { pool, swapped }) = opened {
                swapped.keep_at_most(pool.size());
            }
        }
    }

    /// Closes it, and waits until its connections are closed, at most for `limit`.
    pub(crate) async fn close(&self, limit: Duration) {
        // It stays until it is closed, in case this is dropped or called again.
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(Opened { pool, swapped }) = opened
            && timeout(limit, pool.close()).await.is_ok()
        {
            swapped.keep_at_most(0);
        }
    }
}

/// The error of a pool that offers none.
pub(crate) fn not_offered() -> Error {
    Error::InvalidArgument(NOT_OFFERED.to_owned())
}

impl<DB: Database> Default for SqlxPool<DB> {
    fn default() -> Self {
        Self { offer: OnceLock::new(), opened: Mutex::default(), is_opened: AtomicBool::new(false) }
    }
}

impl<DB: Database> Drop for SqlxPool<DB> {
    fn drop(&mut self) {
        if let Some(opened) = self.opened.get_mut().unwrap_or_else(PoisonError::into_inner) {
            // The call marks it as closed; the future would wait for its borrowers.
            drop(opened.pool.close());
        }
    }
}

/// Where the connections of sqlx's pool come from.
struct Source<DB: Database> {
    owner: Weak<dyn ManagedPool<DB>>,
    connections: u32,
    /// False if each connection is closed on return, so that it has no settings to restore.
    reuses: bool,
    config: PoolConfig,
}

impl<DB: Database> Source<DB> {
    fn open(
        self,
        options: <DB::Connection as Connection>::Options,
    ) -> (sqlx::Pool<DB>, Arc<Swapped<DB>>) {
        let limit = self.config.pool_timeout.saturating_add(LATER).min(YEAR);
        let (source, swapped) = (Arc::new(self), Arc::new(Swapped::default()));
        let connecting = (Arc::clone(&source), Arc::clone(&swapped));
        let acquiring = Arc::clone(&source);
        let releasing = (Arc::clone(&source), Arc::clone(&swapped));
        let pool = pool_options(limit)
            .max_connections(source.connections)
            .after_connect(move |conn, _| {
                let (source, swapped) = connecting.clone();
                Box::pin(async move {
                    swapped.lend(source.acquire(&swapped).await?, conn);
                    Ok(())
                })
            })
            .before_acquire(move |conn, meta| {
                let source = Arc::clone(&acquiring);
                Box::pin(async move { source.is_alive(conn, meta.age, meta.idle_for).await })
            })
            .after_release(move |conn, meta| {
                let (source, swapped) = releasing.clone();
                Box::pin(async move {
                    let Some(mut lease) = swapped.take_back(conn) else { return Ok(false) };
                    if source.connections == 1 {
                        // The lease is returned, and the stand-in has served.
                        return Ok(false);
                    }
                    // It belongs to the connection that was in this lease before, and may be at
                    // work for another borrower. A reset sets the new one on this connection.
                    lease.interrupt_flag = Arc::default();
                    if source.is_young(meta.age) && source.reset(&mut lease).await {
                        swapped.lend(lease, conn);
                        return Ok(true);
                    }
                    SqlLease::discard(lease);
                    Ok(false)
                })
            })
            .connect_lazy_with(options);
        (pool, swapped)
    }

    /// Acquires a lease for a new connection of sqlx's pool.
    async fn acquire(&self, swapped: &Swapped<DB>) -> Result<SqlLease<DB>, Error> {
        let owner = self.owner.upgrade().ok_or(Error::PoolClosed)?;
        // sqlx's pool has fewer connections now, so it has closed one that holds a slot yet.
        swapped.keep_at_most(self.connections.saturating_sub(1));
        let request = Request::here().labelled("sqlx::Pool");
        let lease = BackingPool::Managed(owner).lend(request, Limits::of(&self.config));
        let mut lease = lease.await?;
        if self.connections > 1 {
            // It may come back in the lease of another one, whose statements a cancel would hit.
            lease.session_mut().take();
        }
        Ok(lease)
    }

    /// Pings a connection that was idle for long.
    async fn is_alive(
        &self,
        conn: &mut DB::Connection,
        age: Duration,
        idle: Duration,
    ) -> Result<bool, Error> {
        let PoolConfig { pool_pre_ping, pre_ping_idle, ping_timeout, .. } = self.config;
        if !self.is_young(age) {
            return Ok(false);
        }
        if pool_pre_ping && idle >= pre_ping_idle {
            timeout(ping_timeout, conn.ping()).await.map_err(|_| Error::PoolTimedOut)??;
        }
        Ok(true)
    }

    fn is_young(&self, age: Duration) -> bool {
        self.config.pool_recycle.is_none_or(|limit| age < limit)
    }

    /// Resets a connection as its pool does between two borrowers. Returns false if it must be
    /// closed.
    async fn reset(&self, lease: &mut SqlLease<DB>) -> bool {
        match self.owner.upgrade().filter(|_| self.reuses) {
            Some(owner) => owner.make_reusable(lease).await,
            None => false,
        }
    }
}
