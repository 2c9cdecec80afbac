//! A limit on what runs at the same time: leases with an expiry.

use crate::error::RateLimitError;
use crate::outage::OnOutage;
use crate::storage::{CentralizedStateStorage, Kind, WORD, is_word};
use millpond_redis::Script;
use std::sync::Arc;
use std::time::Duration;

/// A lease that nobody gave back is free after at least this long and at most that long.
const EXPIRY_LOW: Duration = Duration::from_millis(10);
const EXPIRY_HIGH: Duration = Duration::from_secs(86_400);

/// The server's clock: one for all clients, so theirs may differ.
const CLOCK: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
";

/// Members are leases, their scores the moments at which they expire. A lease ends with its own time, since none can have longer
/// left than that: if it seems to, the server's clock has gone back. ARGV: the lease, its time in microseconds, how many there
/// may be. Answers whether it was granted, how many there are, and when the first of them expires.
const TAKE: &str = "
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local beyond = string.format('(%.0f', now + ARGV[2])
for _, lease in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], beyond, '+inf')) do
  local most = now + (string.match(lease, ':(%d+)$') or ARGV[2])
  if tonumber(redis.call('ZSCORE', KEYS[1], lease)) > most then
    redis.call('ZADD', KEYS[1], string.format('%.0f', most), lease)
  end
end
local used, granted = redis.call('ZCARD', KEYS[1]), 0
if used < tonumber(ARGV[3]) then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
  local ttl = math.ceil(ARGV[2] / 1000) + 1
  if redis.call('PTTL', KEYS[1]) < ttl then
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ttl))
  end
  used, granted = used + 1, 1
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
return {granted, used, first and tonumber(first) - now or 0}
";

/// Extends a lease that has not expired. ARGV: the lease, its time in microseconds.
const RENEW: &str = "
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) <= now then
  return 0
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
local ttl = math.ceil(ARGV[2] / 1000) + 1
if redis.call('PTTL', KEYS[1]) < ttl then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ttl))
end
return 1
";

/// Gives a lease back.
const RELEASE: &str = "return redis.call('ZREM', KEYS[1], ARGV[1])";

/// Limits how much runs at the same time, in all processes together. Cheap to clone.
///
/// ```no_run
/// use millpond_ratelimit::{CentralizedStateStorage, ConcurrencyLimiter, Admission};
/// use std::time::Duration;
///
/// # async fn example(storage: CentralizedStateStorage) -> Result<(), millpond_ratelimit::RateLimitError> {
/// let exports = ConcurrencyLimiter::new(&storage, "exports", 3, Duration::from_secs(60))?;
/// match exports.enter("user:17").await? {
///     Admission::Granted(lease) => {
///         // work, and `lease.renew()` now and then if it takes long
///         lease.release().await?;
///     }
///     Admission::Full { retry_after, .. } => println!("come back in {retry_after:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ConcurrencyLimiter {
    inside: Arc<Inside>,
}

#[derive(Debug)]
struct Inside {
    storage: CentralizedStateStorage,
    name: String,
    max: u32,
    expiry: Duration,
    take: Script,
    renew: Script,
    release: Script,
}

/// What became of a wish to run.
#[derive(Debug)]
pub enum Admission {
    /// It may run.
    Granted(ConcurrencyLease),
    /// As much runs as may.
    Full {
        /// How much runs.
        used: u32,
        /// When a place is free at the latest, if nobody renews.
        retry_after: Duration,
    },
}

impl ConcurrencyLimiter {
    /// A limiter of so many at the same time, each for at most `expiry` unless it renews.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Setting`] for a name that cannot be part of a key, a maximum of 0, or an expiry out of 10 ms to 24 h.
    pub fn new(
        storage: &CentralizedStateStorage,
        name: &str,
        max: u32,
        expiry: Duration,
    ) -> Result<Self, RateLimitError> {
        let mut problems = Vec::new();
        if !is_word(name) {
            problems.push(format!("a limit cannot be called {name:?}; {WORD}"));
        }
        if max == 0 {
            problems.push("max = 0 admits nothing; write at least 1".to_owned());
        }
        if !(EXPIRY_LOW..=EXPIRY_HIGH).contains(&expiry) {
            problems.push(format!("expiry = {expiry:?} is out of range 10ms to 24h; choose a value in the range"));
        }
        if !problems.is_empty() {
            return Err(RateLimitError::Setting { reason: problems.join("\n") });
        }
        let [take, renew] = [TAKE, RENEW].map(|script| Script::new([CLOCK, script].concat()));
        let release = Script::new(RELEASE);
        let (storage, name) = (storage.clone(), name.to_owned());
        Ok(Self { inside: Arc::new(Inside { storage, name, max, expiry, take, renew, release }) })
    }

    /// Asks for a place.
    ///
    /// While Redis is down, [`OnOutage::Closed`] refuses and the others admit: no process can count the others.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Redis`] for what Redis refuses.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped a place may be taken until it expires.
    pub async fn enter(&self, subject: &str) -> Result<Admission, RateLimitError> {
        let Inside { storage, name, max, expiry, take, .. } = &*self.inside;
        let key = storage.key(Kind::Concurrency, subject, name);
        let lease = format!("{:016x}{:016x}:{}", fastrand::u64(..), fastrand::u64(..), micros(*expiry));
        let args = [lease.clone(), micros(*expiry), max.to_string()];
        let answer = storage.ask(take.call([&key], args).run::<(u32, u32, u64)>(storage.pool())).await?;
        let granted = |in_redis| {
            let limiter = self.clone();
            Ok(Admission::Granted(ConcurrencyLease { limiter, key, lease, in_redis }))
        };
        match answer {
            Some((1, ..)) => granted(true),
            Some((_, used, first)) => Ok(Admission::Full { used, retry_after: Duration::from_micros(first) }),
            None if storage.on_outage() == OnOutage::Closed => Ok(Admission::Full { used: 0, retry_after: *expiry }),
            None => granted(false),
        }
    }
}

/// A place among what runs at the same time. Give it back by [`release`](Self::release): if it is only dropped, it is free
/// when it expires.
#[derive(Debug)]
#[must_use = "the place is taken until it is released or expires"]
pub struct ConcurrencyLease {
    limiter: ConcurrencyLimiter,
    key: String,
    lease: String,
    /// Not if it was admitted while Redis was down.
    in_redis: bool,
}

impl ConcurrencyLease {
    /// Begins the expiry anew. False if the lease has expired: somebody else may have its place.
    ///
    /// # Errors
    ///
    /// As [`ConcurrencyLimiter::enter`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the lease may have been renewed.
    pub async fn renew(&self) -> Result<bool, RateLimitError> {
        let Inside { storage, expiry, renew, .. } = &*self.limiter.inside;
        if !self.in_redis {
            return Ok(true);
        }
        let args = [self.lease.clone(), micros(*expiry)];
        let answer = storage.ask(renew.call([&self.key], args).run::<bool>(storage.pool())).await?;
        Ok(answer.unwrap_or(storage.on_outage() != OnOutage::Closed))
    }

    /// Gives the place back. If Redis is down it is free when it expires.
    ///
    /// # Errors
    ///
    /// As [`ConcurrencyLimiter::enter`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the place may be free, or is when it expires.
    pub async fn release(self) -> Result<(), RateLimitError> {
        let Inside { storage, release, .. } = &*self.limiter.inside;
        if self.in_redis {
            storage.ask(release.call([&self.key], [&self.lease]).run::<()>(storage.pool())).await?;
        }
        Ok(())
    }
}

fn micros(span: Duration) -> String {
    span.as_micros().to_string()
}

#[cfg(test)]
mod tests;
