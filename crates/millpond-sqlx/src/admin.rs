//! Status and runtime control of a `SqlPool`.

use crate::backing_pool::{BackingPool, ManagedPool};
use crate::pool::SqlPool;
use crate::tracked::Tracked;
use millpond_core::{Health, Holder, Invalidate, Pool, Status};
use sqlx::{Database, Error};

/// A custom pool is controlled through your own handle: what only millpond's pools can do has no
/// effect on it, or returns an error where the method can. A pool of one writer and many readers is
/// controlled as one, except as noted.
impl<DB: Database> SqlPool<DB> {
    /// Returns a snapshot of the pool's counts. For one writer and many readers it is the writer's;
    /// use `pool.reader().status()` for the readers.
    pub fn status(&self) -> Status {
        self.main().as_pool().status()
    }

    /// Returns whether the pool serves, from its own counts: it takes no connection and does not
    /// wait. For one writer and many readers it is the worse of both.
    pub fn health(&self) -> Health {
        let both = self.pools().map(|pool| pool.health());
        both.reduce(Health::worse).unwrap_or_else(|| self.main().as_pool().health())
    }

    /// Returns the number of open connections, as `sqlx::Pool` does; for one writer and many
    /// readers, of both.
    pub fn size(&self) -> u32 {
        self.pools().map(|pool| pool.status().open).sum()
    }

    /// Returns the number of idle connections, as `sqlx::Pool` does; for one writer and many
    /// readers, of both.
    pub fn num_idle(&self) -> usize {
        self.pools().map(|pool| pool.status().idle).sum::<u32>().try_into().unwrap_or(usize::MAX)
    }

    /// Returns the holders of connections, the oldest first; none for a custom pool. The location
    /// is that of [`acquire`](Self::acquire) or [`begin`](Self::begin); a query on `&pool` has the
    /// first words of its statement as its [`label`](Holder::label), without values.
    pub fn holders(&self) -> Vec<Holder> {
        let mut holders: Vec<_> = self.managed_pools().flat_map(ManagedPool::holders).collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.held));
        holders
    }

    /// Changes the sizes of the pool; for one writer and many readers, those of the readers.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` if a size is out of its range, or for a custom pool.
    pub fn resize(&self, pool_size: u32, max_overflow: u32) -> Result<(), Error> {
        require_managed(self.readers().unwrap_or(self.main()), "resize")?
            .resize(pool_size, max_overflow)
    }

    /// Invalidates all connections opened so far: none of them is lent again.
    pub fn invalidate_all(&self, how: Invalidate) {
        self.managed_pools().for_each(|pool| pool.invalidate_all(how));
    }

    /// Suspends the pool: callers wait until [`resume`](Self::resume).
    pub fn suspend(&self) {
        self.managed_pools().for_each(ManagedPool::suspend);
    }

    /// Resumes a suspended pool.
    pub fn resume(&self) {
        self.managed_pools().for_each(ManagedPool::resume);
    }

    /// Opens connections until `idle` are idle; for one writer and many readers, that many readers
    /// and the writer.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire); `Error::Configuration` for a custom pool.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, connections that were opened stay open.
    pub async fn prewarm(&self, idle: u32) -> Result<(), Error> {
        match self.readers() {
            None => require_managed(self.main(), "prewarm")?.prewarm(idle).await,
            Some(readers) => {
                // The writer first: it may have to create what the readers open.
                require_managed(self.main(), "prewarm")?.prewarm(idle.min(1)).await?;
                require_managed(readers, "prewarm")?.prewarm(idle).await
            }
        }
    }

    fn pools(&self) -> impl Iterator<Item = &dyn Pool<Connection = Tracked<DB>>> {
        self.backing_pools().map(BackingPool::as_pool)
    }

    fn managed_pools(&self) -> impl Iterator<Item = &dyn ManagedPool<DB>> {
        self.backing_pools().filter_map(BackingPool::managed_pool)
    }

    fn backing_pools(&self) -> impl Iterator<Item = &BackingPool<DB>> {
        std::iter::once(self.main()).chain(self.readers())
    }
}

/// Returns the pool if it is one of millpond's, or an error that names the unsupported operation.
fn require_managed<'a, DB: Database>(
    backing: &'a BackingPool<DB>,
    what: &str,
) -> Result<&'a dyn ManagedPool<DB>, Error> {
    backing.managed_pool().ok_or_else(|| {
        Error::Configuration(
            format!("{what} is not supported on a custom pool: use your own handle on it").into(),
        )
    })
}
