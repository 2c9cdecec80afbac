//! Looking at a `SqlPool` and steering it while it runs.

use crate::backing_pool::{BackingPool, ManagedPool};
use crate::pool::SqlPool;
use crate::tracked::Tracked;
use millpond_core::{Holder, Invalidate, Pool, Status};
use sqlx::{Database, Error};

/// A pool of your own is steered through your own handle on it: what only our pools can do does
/// nothing to it, or says so where an error can be returned. A pool of one writer and many readers
/// is steered as one, except as noted.
impl<DB: Database> SqlPool<DB> {
    /// How the pool is doing. Of one writer and many readers this is the writer:
    /// `pool.reader().status()` for the others.
    pub fn status(&self) -> Status {
        self.main().as_pool().status()
    }

    /// How many connections are open, as `sqlx::Pool` tells it; of one writer and many readers, all
    /// of them.
    pub fn size(&self) -> u32 {
        self.pools().map(|pool| pool.status().open).sum()
    }

    /// How many connections are idle, as `sqlx::Pool` tells it; of one writer and many readers, all
    /// of them.
    pub fn num_idle(&self) -> usize {
        self.pools().map(|pool| pool.status().idle).sum::<u32>().try_into().unwrap_or(usize::MAX)
    }

    /// Who holds a connection, the oldest first; of a pool of your own, nobody. The line is that of
    /// [`acquire`](Self::acquire) or [`begin`](Self::begin); a query on `&pool` has the
    /// first words of its statement as its [`label`](Holder::label), without values.
    pub fn holders(&self) -> Vec<Holder> {
        let mut holders: Vec<_> = self.managed_pools().flat_map(ManagedPool::holders).collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.held));
        holders
    }

    /// Changes the sizes of the pool; of one writer and many readers, those of the readers.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` if a size is out of its range, or if the pool is one of your own.
    pub fn resize(&self, pool_size: u32, max_overflow: u32) -> Result<(), Error> {
        require_managed(self.readers().unwrap_or(self.main()), "resize")?
            .resize(pool_size, max_overflow)
    }

    /// Makes everything opened so far out of date: nothing older is lent from now on.
    pub fn invalidate_all(&self, how: Invalidate) {
        self.managed_pools().for_each(|pool| pool.invalidate_all(how));
    }

    /// Lends nothing until [`resume`](Self::resume); callers wait.
    pub fn suspend(&self) {
        self.managed_pools().for_each(ManagedPool::suspend);
    }

    /// Goes on lending.
    pub fn resume(&self) {
        self.managed_pools().for_each(ManagedPool::resume);
    }

    /// Opens connections until `idle` are idle; of one writer and many readers, that many readers
    /// and the writer.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire); `Error::Configuration` if the pool is one of your own.
    ///
    /// # Cancel safety
    ///
    /// What was opened stays open if the future is dropped.
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

/// The pool as one of ours, or why that cannot be done with it.
fn require_managed<'a, DB: Database>(
    backing: &'a BackingPool<DB>,
    what: &str,
) -> Result<&'a dyn ManagedPool<DB>, Error> {
    backing.managed_pool().ok_or_else(|| {
        Error::Configuration(
            format!("{what}: the pool is one of your own, use your own handle on it").into(),
        )
    })
}
