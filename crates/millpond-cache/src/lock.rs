//! One load at a time for each key of all processes: a lock in Redis that expires.
//!
//! # Invariants
//!
//! 1. A lock that may have been taken is given back, whatever becomes of the load: by [`Lock::release`], else by a task that
//!    `drop` starts. It expires only where that cannot be: without a runtime, or if Redis does not answer.

use millpond_redis::{Command, RedisError, SharedRedisLease, SharedRedisPool};
use std::time::Duration;
use tokio::runtime::Handle;

/// Removes the lock if it is still ours.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// How often somebody who waits for another process looks again.
pub(crate) const LOOK: Duration = Duration::from_millis(25);

/// A lock that was taken, or may have been.
#[derive(Debug)]
pub(crate) struct Lock {
    pool: SharedRedisPool,
    /// What gives it back; `None` once there is nothing to give back.
    release: Option<Command>,
    /// The connection on which it is being taken. What gives it back must not overtake that.
    taking: Option<SharedRedisLease>,
}

impl Lock {
    /// Takes the lock under a key, over this connection, unless somebody has it.
    ///
    /// # Errors
    ///
    /// A [`RedisError`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the lock is given back.
    pub(crate) async fn take(
        pool: &SharedRedisPool,
        lease: SharedRedisLease,
        key: &str,
        expiry: Duration,
    ) -> Result<Option<Self>, RedisError> {
        let nonce = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let millis = u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX);
        let set = Command::new("SET").key(key).arg(&nonce).arg("NX").arg("PX").arg(millis.max(1));
        let release = Command::new("EVAL").arg(RELEASE).arg(1).key(key).arg(nonce).idempotent();
        let mut lock = Self { pool: pool.clone(), release: Some(release), taking: None };
        let lease = lock.taking.insert(lease);
        let taken: Option<String> = lease.run(set).await?;
        lock.taking = None;
        if taken.is_none() {
            lock.release = None;
            return Ok(None);
        }
        Ok(Some(lock))
    }

    /// Gives it back, over this connection.
    ///
    /// # Errors
    ///
    /// A [`RedisError`].
    ///
    /// # Cancel safety
    ///
    /// It is given back all the same, when the lock is dropped.
    pub(crate) async fn release(&self, lease: SharedRedisLease) -> Result<(), RedisError> {
        match self.release.clone() {
            Some(release) => lease.run(release).await,
            None => Ok(()),
        }
    }

    /// It has been given back.
    pub(crate) fn forget(mut self) {
        self.release = None;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let (Some(release), Ok(runtime)) = (self.release.take(), Handle::try_current()) else { return };
        let (pool, taking) = (self.pool.clone(), self.taking.take());
        runtime.spawn(async move {
            if let Some(lease) = taking
                && lease.run::<()>(release.clone()).await.is_ok()
            {
                return;
            }
            // Else it expires.
            let _ = pool.run::<()>(release).await;
        });
    }
}
