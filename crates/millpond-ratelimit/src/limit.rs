//! A limit: a number of requests in a period, and how many of them at once.

use crate::error::RateLimitError;
use crate::span::Span;
use std::time::Duration;

/// The longest refill time of a full burst: Lua's integers end at 2^53.
const REFILL_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Nanoseconds in a second.
const NANOS: u128 = 1_000_000_000;

/// A limit: `count` requests in each `period`, of which up to `burst` may come at once.
///
/// The algorithm is GCRA (the generic cell rate algorithm, ITU-T I.371): whatever the requests are,
/// no window of length `t` admits more than `burst + count * t / period`.
///
/// ```
/// use millpond_ratelimit::Limit;
/// use std::time::Duration;
///
/// let steady = Limit::per_second(10)?;            // ten at once, then one each 100 ms
/// let strict = Limit::per_second(10)?.burst(1)?;  // one each 100 ms
/// let daily = Limit::new(5_000, Duration::from_secs(86_400))?;
/// # Ok::<(), millpond_ratelimit::RateLimitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    count: u32,
    period: Duration,
    burst: u32,
}

impl Limit {
    /// `count` requests in each `period`; as many may come at once.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Limit`] if either is zero, if the period is shorter than a microsecond per
    /// request, or if a full burst would take more than ten years to refill.
    pub fn new(count: u32, period: Duration) -> Result<Self, RateLimitError> {
        Self { count, period, burst: count }.checked()
    }

    /// `count` requests per second.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn per_second(count: u32) -> Result<Self, RateLimitError> {
        Self::new(count, Duration::from_secs(1))
    }

    /// `count` requests per minute.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn per_minute(count: u32) -> Result<Self, RateLimitError> {
        Self::new(count, Duration::from_secs(60))
    }

    /// `count` requests per hour.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn per_hour(count: u32) -> Result<Self, RateLimitError> {
        Self::new(count, Duration::from_secs(3600))
    }

    /// Sets how many requests may come at once, instead of `count`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn burst(self, requests: u32) -> Result<Self, RateLimitError> {
        Self { burst: requests, ..self }.checked()
    }

    /// How many requests in a period.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The period.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// How many requests may come at once.
    pub fn burst_size(&self) -> u32 {
        self.burst
    }

    /// How long a full burst takes to refill.
    pub fn refill(&self) -> Duration {
        let Self { count, period, burst } = self;
        let nanos = period
            .as_nanos()
            .saturating_mul(u128::from(*burst))
            .div_ceil(u128::from((*count).max(1)));
        let seconds = u64::try_from(nanos / NANOS).unwrap_or(u64::MAX);
        // Less than a second.
        Duration::new(seconds, u32::try_from(nanos % NANOS).unwrap_or(0))
    }

    /// What one request costs.
    pub(crate) fn interval(&self) -> Span {
        Span::share(self.period, self.count)
    }

    /// What a full burst costs.
    pub(crate) fn tolerance(&self) -> Span {
        self.interval().times(self.burst)
    }

    fn checked(self) -> Result<Self, RateLimitError> {
        let Self { count, period, burst } = self;
        let wrong =
            |reason: &'static str| Err(RateLimitError::Limit { count, period, burst, reason });
        if count == 0 || burst == 0 {
            return wrong("count and burst must be at least 1");
        }
        if period.as_micros() < u128::from(count) {
            return wrong("a period must have a microsecond for each request");
        }
        if self.refill() > REFILL_MAX {
            return wrong("a full burst must come back within ten years");
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_does_not_come_out_even_is_rounded_against_the_caller() {
        let third = Limit::per_second(3).unwrap();
        assert_eq!(third.interval().pair(), (333_333, 333_334));
        assert_eq!(third.refill(), Duration::from_secs(1));
        assert!(third.tolerance().duration() >= third.refill());
        assert_eq!(Limit::per_second(5000).unwrap().interval().pair(), (200, 0));
    }

    #[test]
    fn what_cannot_be_kept_is_refused_with_the_reason() {
        let reason = |limit: Result<Limit, RateLimitError>| limit.unwrap_err().to_string();
        assert!(reason(Limit::per_second(0)).contains("count = 0"));
        assert!(reason(Limit::new(10, Duration::ZERO)).contains("a microsecond"));
        assert!(
            reason(Limit::per_second(1).and_then(|limit| limit.burst(0))).contains("burst = 0")
        );
        assert!(reason(Limit::new(1, Duration::MAX)).contains("ten years"));
        assert!(
            reason(Limit::per_hour(1).and_then(|limit| limit.burst(u32::MAX)))
                .contains("ten years")
        );
    }
}
