//! One load at a time for each key of all processes: a lock in Redis that expires.

use millpond_redis::{Command, RedisError, Script, SharedRedisPool};
use std::time::Duration;

/// Removes the lock if it is still ours.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// How often somebody who waits for another process looks again.
pub(crate) const LOOK: Duration = Duration::from_millis(25);

/// A lock that was taken. If nobody releases it, it expires.
#[derive(Debug)]
pub(crate) struct Lock {
    key: String,
    nonce: String,
}

/// Takes the lock of a key, unless somebody has it.
///
/// # Errors
///
/// A [`RedisError`].
pub(crate) async fn take(pool: &SharedRedisPool, key: &str, expiry: Duration) -> Result<Option<Lock>, RedisError> {
    let lock =
        Lock { key: format!("{key}:lock"), nonce: format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)) };
    let millis = u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX);
    let set = Command::new("SET").key(&lock.key).arg(&lock.nonce).arg("NX").arg("PX").arg(millis.max(1));
    let taken: Option<String> = pool.run(set).await?;
    Ok(taken.map(|_| lock))
}

/// Gives it back.
///
/// # Errors
///
/// A [`RedisError`]; the lock then expires.
pub(crate) async fn release(pool: &SharedRedisPool, lock: Lock) -> Result<(), RedisError> {
    Script::new(RELEASE).call([lock.key], [lock.nonce]).run(pool).await
}
