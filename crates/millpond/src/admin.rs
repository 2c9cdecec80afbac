//! Status and runtime control of a [`DatabaseConnection`].

use crate::backends::{TypedPool, each};
use crate::connection::DatabaseConnection;
use crate::metrics::PerformanceMetrics;
use millpond_core::{CloseReport, DEFAULT_CLOSE_TIMEOUT, Health, Holder, Invalidate, Status};
use sqlx::Error;
use std::time::Duration;

/// A pool of one writer and many readers is controlled as one; [`reader`](Self::reader) returns a
/// handle to the readers only. A custom pool is controlled through its own handle: methods that
/// only millpond's pools support have no effect on it, or return an error if they can.
impl DatabaseConnection {
    /// Returns a snapshot of the pool's counts. For one writer and many readers, the sum of both:
    /// one connection more than the configured `pool_size`, which is the writer.
    pub fn status(&self) -> Status {
        each!(TypedPool, &self.pool, pool => {
            if pool.is_split() { sum(pool.status(), pool.reader().status()) } else { pool.status() }
        })
    }

    /// Returns whether the pool serves, from its own counts: it takes no connection and does not
    /// wait, so a readiness probe may call it at any rate. For one writer and many readers it is
    /// the worse of both.
    pub fn health(&self) -> Health {
        each!(TypedPool, &self.pool, pool => pool.health())
    }

    /// Returns `pool_size`, `pool_in_use` and `pool_available`, computed from
    /// [`status`](Self::status).
    pub fn performance_metrics(&self) -> PerformanceMetrics {
        PerformanceMetrics::of(&self.status())
    }

    /// Returns the holders of connections, the oldest first, of writers and readers together.
    pub fn holders(&self) -> Vec<Holder> {
        each!(TypedPool, &self.pool, pool => pool.holders())
    }

    /// Changes the sizes of the pool. For one writer and many readers these are the readers' sizes:
    /// there is always one writer.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` if a size is out of its range, or conflicts with another setting.
    pub fn resize(&self, pool_size: u32, max_overflow: u32) -> Result<(), Error> {
        each!(TypedPool, &self.pool, pool => pool.resize(pool_size, max_overflow))
    }

    /// Executes a statement, to check that the database answers.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire), and the driver's.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(self).await.map(drop)
    }

    /// Opens connections until `idle` are idle; for one writer and many readers, that many readers
    /// and the writer.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connections opened so far stay open.
    pub async fn prewarm(&self, idle: u32) -> Result<(), Error> {
        each!(TypedPool, &self.pool, pool => pool.prewarm(idle).await)
    }

    /// Suspends the pool: callers wait until [`resume`](Self::resume), within their deadlines.
    /// Leases are not affected.
    pub fn suspend(&self) {
        each!(TypedPool, &self.pool, pool => pool.suspend());
    }

    /// Ends a suspension.
    pub fn resume(&self) {
        each!(TypedPool, &self.pool, pool => pool.resume());
    }

    /// Invalidates all connections opened so far: none of them is lent again.
    pub fn invalidate_all(&self, how: Invalidate) {
        each!(TypedPool, &self.pool, pool => pool.invalidate_all(how));
    }

    /// Closes the pool: acquires fail, idle connections are closed at once, the others on return.
    /// Waits for that, at most [`DEFAULT_CLOSE_TIMEOUT`] (30 s); the report lists the remaining
    /// holders.
    ///
    /// # Cancel safety
    ///
    /// The pool stays closed if the future is dropped after its first poll.
    pub async fn close(&self) -> CloseReport {
        self.close_within(DEFAULT_CLOSE_TIMEOUT).await
    }

    /// Closes the pool and waits until `limit`.
    ///
    /// # Cancel safety
    ///
    /// As [`close`](Self::close).
    pub async fn close_within(&self, limit: Duration) -> CloseReport {
        each!(TypedPool, &self.pool, pool => pool.close_within(limit).await)
    }

    /// Returns true if the pool is closed or closing.
    pub fn is_closed(&self) -> bool {
        self.status().closed
    }
}

/// A writer and its readers seen as one pool.
fn sum(writer: Status, readers: Status) -> Status {
    let mut sum = writer;
    for (count, more) in [
        (&mut sum.pool_size, readers.pool_size),
        (&mut sum.max_overflow, readers.max_overflow),
        (&mut sum.min_idle, readers.min_idle),
        (&mut sum.open, readers.open),
        (&mut sum.connecting, readers.connecting),
        (&mut sum.idle, readers.idle),
        (&mut sum.in_use, readers.in_use),
        (&mut sum.resetting, readers.resetting),
        (&mut sum.closing, readers.closing),
        (&mut sum.reserved, readers.reserved),
        (&mut sum.waiting, readers.waiting),
        (&mut sum.totals.peak, readers.totals.peak),
    ] {
        *count = count.saturating_add(more);
    }
    for (count, more) in [
        (&mut sum.totals.created, readers.totals.created),
        (&mut sum.totals.closed, readers.totals.closed),
        (&mut sum.totals.detached, readers.totals.detached),
        (&mut sum.totals.connect_failed, readers.totals.connect_failed),
        (&mut sum.totals.acquires, readers.totals.acquires),
        (&mut sum.totals.succeeded, readers.totals.succeeded),
        (&mut sum.totals.timed_out, readers.totals.timed_out),
        (&mut sum.totals.cancelled, readers.totals.cancelled),
        (&mut sum.totals.failed, readers.totals.failed),
    ] {
        *count = count.saturating_add(more);
    }
    sum.oldest_waiter = sum.oldest_waiter.max(readers.oldest_waiter);
    sum.failing_since = sum.failing_since.max(readers.failing_since);
    sum.last_success = [sum.last_success, readers.last_success].into_iter().flatten().min();
    sum.generation = sum.generation.max(readers.generation);
    sum.suspended |= readers.suspended;
    sum.closed &= readers.closed;
    sum
}
