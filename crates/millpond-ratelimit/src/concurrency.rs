//! A limit on concurrent work: leases with an expiry.

use crate::error::RateLimitError;
use crate::outage::OnOutage;
use crate::removal::Removal;
use crate::storage::{Asked, CentralizedStateStorage, Kind, WORD, is_word};
use millpond_redis::{Breaker, Script, ScriptCall};
use std::sync::Arc;
use std::time::Duration;

/// The range of a lease's expiry.
const EXPIRY_LOW: Duration = Duration::from_millis(10);
const EXPIRY_HIGH: Duration = Duration::from_secs(86_400);

/// Reads the server's clock, so that the clients' clocks do not matter.
const CLOCK: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
";

/// Members are leases; their scores are the times at which they expire. No lease can have more time
/// left than its own duration: if one seems to, the server's clock was set back and the score is
/// corrected. ARGV: the lease, its duration in microseconds, the limit. Returns whether the lease
/// was granted, the number of leases, and when the first of them expires.
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

/// Extends a lease that has not expired. ARGV: the lease, its duration in microseconds.
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

/// Releases a lease.
const RELEASE: &str = "return redis.call('ZREM', KEYS[1], ARGV[1])";

/// Limits concurrent work, in all processes together. Cheap to clone.
///
/// ```no_run
/// use millpond_ratelimit::{CentralizedStateStorage, ConcurrencyLimiter, Admission};
/// use std::time::Duration;
///
/// # use millpond_ratelimit::RateLimitError;
/// # async fn example(storage: CentralizedStateStorage) -> Result<(), RateLimitError> {
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
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    storage: CentralizedStateStorage,
    name: String,
    max: u32,
    expiry: Duration,
    take: Script,
    renew: Script,
    release: Script,
}

/// The outcome of [`ConcurrencyLimiter::enter`].
#[derive(Debug)]
pub enum Admission {
    /// The caller may run while it holds this lease.
    Granted(ConcurrencyLease),
    /// As many leases are held as the limit allows.
    Full {
        /// The number of leases held.
        used: u32,
        /// When a lease becomes free at the latest, unless one is renewed; while Redis is down,
        /// when it is asked again.
        retry_after: Duration,
    },
}

impl ConcurrencyLimiter {
    /// Creates a limiter of at most `max` leases, each for at most `expiry` unless it is renewed.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Setting`] for a name that cannot be part of a key, a `max` of 0, or an
    /// `expiry` out of 10 ms to 24 h.
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
            problems.push(format!(
                "expiry = {expiry:?} is out of range 10ms to 24h; choose a value in the range"
            ));
        }
        if !problems.is_empty() {
            return Err(RateLimitError::Setting { reason: problems.join("\n") });
        }
        let [take, renew] = [TAKE, RENEW].map(|script| Script::new([CLOCK, script].concat()));
        let release = Script::new(RELEASE);
        let (storage, name) = (storage.clone(), name.to_owned());
        Ok(Self { shared: Arc::new(Shared { storage, name, max, expiry, take, renew, release }) })
    }

    /// Requests a lease.
    ///
    /// While Redis is down, [`OnOutage::Closed`] refuses and the other variants admit, since no
    /// process can count what runs in the others. A lease that is refused although Redis may have
    /// granted it, because its answer came too late, is released by a task.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Redis`] if Redis refuses the script.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped inside a runtime, a task releases the lease if it was granted;
    /// otherwise it expires.
    pub async fn enter(&self, subject: &str) -> Result<Admission, RateLimitError> {
        let Shared { storage, name, max, expiry, take, .. } = &*self.shared;
        let key = storage.key(Kind::Concurrency, subject, name);
        let lease =
            format!("{:016x}{:016x}:{}", fastrand::u64(..), fastrand::u64(..), micros(*expiry));
        let args = [lease.clone(), micros(*expiry), max.to_string()];
        let taking = Box::pin(take.call([&key], args).run::<(u32, u32, u64)>(storage.pool()));
        let mut lease =
            ConcurrencyLease { limiter: self.clone(), key, lease, in_redis: InRedis::Unknown };
        let removal = lease.removal();
        match storage.ask(&lease.key, taking).await? {
            Asked::Answered((1, ..)) => lease.in_redis = InRedis::Yes,
            Asked::Answered((_, used, first)) => {
                removal.forget();
                return Ok(Admission::Full { used, retry_after: Duration::from_micros(first) });
            }
            Asked::NotExecuted => lease.in_redis = InRedis::No,
            Asked::Unknown => {}
        }
        let is_refused = storage.on_outage() == OnOutage::Closed && lease.in_redis != InRedis::Yes;
        if !is_refused || lease.in_redis == InRedis::No {
            removal.forget();
        }
        Ok(match is_refused {
            true => Admission::Full { used: 0, retry_after: Breaker::PAUSE },
            false => Admission::Granted(lease),
        })
    }
}

/// Permission to run. Give it back by [`release`](Self::release): a lease that is only dropped
/// becomes free when it expires.
#[derive(Debug)]
#[must_use = "the lease is held until it is released or expires"]
pub struct ConcurrencyLease {
    limiter: ConcurrencyLimiter,
    key: String,
    lease: String,
    in_redis: InRedis,
}

/// Whether Redis knows a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InRedis {
    Yes,
    /// It was granted while Redis was down.
    No,
    /// Redis did not answer in time.
    Unknown,
}

impl ConcurrencyLease {
    /// Restarts the expiry. Returns false if the lease has expired; another caller may hold its
    /// place. A lease that was granted while Redis was down does not expire.
    ///
    /// # Errors
    ///
    /// As [`ConcurrencyLimiter::enter`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the lease may have been renewed.
    pub async fn renew(&self) -> Result<bool, RateLimitError> {
        let Shared { storage, expiry, renew, .. } = &*self.limiter.shared;
        if self.in_redis == InRedis::No {
            return Ok(true);
        }
        let args = [self.lease.clone(), micros(*expiry)];
        let renewing = Box::pin(renew.call([&self.key], args).run::<bool>(storage.pool()));
        Ok(match storage.ask(&self.key, renewing).await? {
            Asked::Answered(is_renewed) => is_renewed || self.in_redis == InRedis::Unknown,
            Asked::NotExecuted | Asked::Unknown => storage.on_outage() != OnOutage::Closed,
        })
    }

    /// Releases the lease. If Redis is down, a task does so when Redis is back, unless the lease
    /// expires before.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Redis`] if Redis refuses the script.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped inside a runtime, a task releases the lease; otherwise it expires.
    pub async fn release(self) -> Result<(), RateLimitError> {
        if self.in_redis == InRedis::No {
            return Ok(());
        }
        let storage = &self.limiter.shared.storage;
        let removal = self.removal();
        let removing = Box::pin(self.removing().run::<u32>(storage.pool()));
        let is_gone = match storage.ask_anyway(removing).await {
            Ok(Asked::Answered(removed)) => removed > 0 || self.in_redis == InRedis::Yes,
            Ok(Asked::NotExecuted | Asked::Unknown) => false,
            Err(error) => {
                removal.forget();
                return Err(error);
            }
        };
        if is_gone {
            removal.forget();
        }
        Ok(())
    }

    fn removing(&self) -> ScriptCall {
        self.limiter.shared.release.call([&self.key], [&self.lease])
    }

    fn removal(&self) -> Removal {
        let Shared { storage, expiry, .. } = &*self.limiter.shared;
        Removal::new(storage, &self.key, self.removing(), *expiry)
    }
}

fn micros(span: Duration) -> String {
    span.as_micros().to_string()
}

#[cfg(test)]
mod tests;
