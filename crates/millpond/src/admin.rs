//! Looking at a [`DatabaseConnection`] and steering it while it runs.

use crate::backends::{TypedPool, each};
use crate::connection::DatabaseConnection;
use crate::metrics::PerformanceMetrics;
use millpond_core::{CloseReport, DEFAULT_CLOSE_TIMEOUT, Holder, Invalidate, Status};
use sqlx::Error;
use std::time::Duration;

/// A pool of one writer and many readers is looked at and steered as one; [`reader`](Self::reader)
/// is a handle to the readers alone. A custom pool is steered through its own handle: what only
/// millpond's pools can do does nothing to it, or is an error where one can be returned.
impl DatabaseConnection {
    /// How the pool is doing. Of one writer and many readers, both together: there is one
    /// connection more than `pool_size` in the settings, the writer.
    pub fn status(&self) -> Status {
        each!(TypedPool, &self.pool, pool => {
            if pool.is_split() { pool.status() + pool.reader().status() } else { pool.status() }
        })
    }

    /// How it is doing in three numbers: `pool_size`, `pool_in_use`, `pool_available`. They are
    /// those of [`status`](Self::status).
    pub fn performance_metrics(&self) -> PerformanceMetrics {
        PerformanceMetrics::of(&self.status())
    }

    /// Who holds a connection, and for how long: the oldest first, writers and readers among each
    /// other.
    pub fn holders(&self) -> Vec<Holder> {
        each!(TypedPool, &self.pool, pool => pool.holders())
    }

    /// Changes the sizes of the pool. Of one writer and many readers both are those of the readers;
    /// there is always one writer.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` if a size is out of its range, or does not go together with another
    /// setting.
    pub fn resize(&self, pool_size: u32, max_overflow: u32) -> Result<(), Error> {
        each!(TypedPool, &self.pool, pool => pool.resize(pool_size, max_overflow))
    }

    /// Sends a statement to the database and waits for its answer, to see that the two can talk to
    /// each other.
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

    /// Opens connections until `idle` are idle; of one writer and many readers, that many readers
    /// and the writer.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    ///
    /// What was opened stays open if the future is dropped.
    pub async fn prewarm(&self, idle: u32) -> Result<(), Error> {
        each!(TypedPool, &self.pool, pool => pool.prewarm(idle).await)
    }

    /// Lends nothing until [`resume`](Self::resume); callers wait within their deadlines. What is
    /// lent goes on.
    pub fn suspend(&self) {
        each!(TypedPool, &self.pool, pool => pool.suspend());
    }

    /// Ends a suspension.
    pub fn resume(&self) {
        each!(TypedPool, &self.pool, pool => pool.resume());
    }

    /// Makes everything opened so far out of date: nothing older is lent from now on.
    pub fn invalidate_all(&self, how: Invalidate) {
        each!(TypedPool, &self.pool, pool => pool.invalidate_all(how));
    }

    /// Closes the pool: nobody gets a connection any more, idle ones are closed at once, the others
    /// when they come back. Waits for that, at most [`DEFAULT_CLOSE_TIMEOUT`] (30 s); the report
    /// says who still holds one.
    ///
    /// # Cancel safety
    ///
    /// The pool stays closed if the future is dropped after its first poll.
    pub async fn close(&self) -> CloseReport {
        self.close_within(DEFAULT_CLOSE_TIMEOUT).await
    }

    /// The same with a limit of its own.
    ///
    /// # Cancel safety
    ///
    /// As [`close`](Self::close).
    pub async fn close_within(&self, limit: Duration) -> CloseReport {
        each!(TypedPool, &self.pool, pool => pool.close_within(limit).await)
    }

    /// Whether the pool was closed.
    pub fn is_closed(&self) -> bool {
        self.status().closed
    }
}
