//! A lock in Redis that expires: one load at a time for a key, in all processes together.
//!
//! # Invariants
//!
//! 1. A lock that may have been taken is released however the load ends: by [`Lock::release`], else
//!    by a task that `drop` spawns. It is left to expire only without a runtime, or if Redis does
//!    not answer.

use millpond_redis::{Command, RedisError, SharedRedisLease, SharedRedisPool};
use std::time::Duration;
use tokio::runtime::Handle;

/// Removes the lock if this process still owns it.
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// The interval at which a caller that waits for another process looks for the value.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// A lock that was taken, or may have been.
#[derive(Debug)]
pub(crate) struct Lock {
    pool: SharedRedisPool,
    key: String,
    /// The command that releases the lock; `None` once there is nothing to release.
    release: Option<Command>,
    /// The connection on which the lock is being taken. The release must not overtake that command.
    taking: Option<SharedRedisLease>,
}

impl Lock {
    /// Takes the lock over this connection. Returns `None` if it is already taken.
    ///
    /// # Errors
    ///
    /// A [`RedisError`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the lock is released.
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
        let (pool, key) = (pool.clone(), key.to_owned());
        let mut lock = Self { pool, key, release: Some(release), taking: None };
        let lease = lock.taking.insert(lease);
        let taken: Option<String> = lease.run(set).await?;
        lock.taking = None;
        if taken.is_none() {
            lock.release = None;
            return Ok(None);
        }
        Ok(Some(lock))
    }

    /// The key of the lock.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Releases the lock over this connection.
    ///
    /// # Errors
    ///
    /// A [`RedisError`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, dropping the lock releases it.
    pub(crate) async fn release(&self, lease: SharedRedisLease) -> Result<(), RedisError> {
        match self.release.clone() {
            Some(release) => lease.run(release).await,
            None => Ok(()),
        }
    }

    /// Marks the lock as released.
    pub(crate) fn forget(mut self) {
        self.release = None;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let (Some(release), Ok(runtime)) = (self.release.take(), Handle::try_current()) else {
            return;
        };
        let (pool, taking) = (self.pool.clone(), self.taking.take());
        runtime.spawn(async move {
            if let Some(lease) = taking
                && lease.run::<()>(release.clone()).await.is_ok()
            {
                return;
            }
            // If this fails, the lock expires.
            let _ = pool.run::<()>(release).await;
        });
    }
}
