//! Spans of time as the script counts them: whole microseconds, and millionths of one for what a division leaves.
//!
//! Redis' clock has microseconds, and a Lua number holds whole ones exactly up to 2^53: that is until the year 2255. A
//! rate that does not divide its period, three in a second, would be off by a part of a microsecond every time; two whole
//! numbers keep it to the millionth part, rounded against the caller.

use std::time::Duration;

/// How many parts a microsecond has.
pub(crate) const PARTS: u128 = 1_000_000;

/// A span of time, or a moment counted from 1970, in millionths of a microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Span(pub(crate) u128);

impl Span {
    /// Whole microseconds.
    pub(crate) fn micros(micros: u64) -> Self {
        Self(u128::from(micros) * PARTS)
    }

    /// The share of a period that one of `count` takes, rounded up: a limit is kept, never exceeded.
    pub(crate) fn share(period: Duration, count: u32) -> Self {
        Self((period.as_micros() * PARTS).div_ceil(u128::from(count.max(1))))
    }

    pub(crate) fn times(self, count: u32) -> Self {
        Self(self.0 * u128::from(count))
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Nothing, if the other is longer.
    pub(crate) fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// How often the other fits into it.
    pub(crate) fn over(self, other: Self) -> u32 {
        u32::try_from(self.0 / other.0.max(1)).unwrap_or(u32::MAX)
    }

    /// The two numbers of the script.
    pub(crate) fn pair(self) -> (u64, u64) {
        let micros = u64::try_from(self.0 / PARTS).unwrap_or(u64::MAX);
        // Less than a million.
        (micros, u64::try_from(self.0 % PARTS).unwrap_or(0))
    }

    pub(crate) fn of_pair(micros: u64, parts: u64) -> Self {
        Self(u128::from(micros) * PARTS + u128::from(parts))
    }

    /// Rounded up to a microsecond: whoever waits so long has waited long enough.
    pub(crate) fn duration(self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.div_ceil(PARTS)).unwrap_or(u64::MAX))
    }
}
