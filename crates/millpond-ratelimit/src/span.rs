//! Durations as the script counts them: whole microseconds, and millionths of a microsecond for the
//! remainder of a division.
//!
//! Redis' clock has a resolution of microseconds, and a Lua number holds integers exactly up to
//! 2^53, which suffices until the year 2255. A rate that does not divide its period, such as three
//! per second, would be off by part of a microsecond each time; a second integer keeps it exact to
//! a millionth, rounded against the caller.

use std::time::Duration;

/// Parts per microsecond.
pub(crate) const PARTS: u128 = 1_000_000;

/// A duration, or a time since 1970, in millionths of a microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Span(pub(crate) u128);

impl Span {
    /// Whole microseconds.
    pub(crate) const fn micros(micros: u64) -> Self {
        // Widened: `u128::from` is not const.
        Self(micros as u128 * PARTS)
    }

    /// The share of a period that one of `count` takes, rounded up: a limit is kept, never
    /// exceeded.
    pub(crate) fn share(period: Duration, count: u32) -> Self {
        Self((period.as_micros() * PARTS).div_ceil(u128::from(count.max(1))))
    }

    pub(crate) fn times(self, count: u32) -> Self {
        Self(self.0 * u128::from(count))
    }

    pub(crate) fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Zero if the other is longer.
    pub(crate) fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// How many times the other fits into this one.
    pub(crate) fn div(self, other: Self) -> u32 {
        u32::try_from(self.0 / other.0.max(1)).unwrap_or(u32::MAX)
    }

    /// Microseconds and millionths, as the script takes them.
    pub(crate) fn pair(self) -> (u64, u64) {
        let micros = u64::try_from(self.0 / PARTS).unwrap_or(u64::MAX);
        // Less than a million.
        (micros, u64::try_from(self.0 % PARTS).unwrap_or(0))
    }

    pub(crate) fn of_pair(micros: u64, parts: u64) -> Self {
        Self(u128::from(micros) * PARTS + u128::from(parts))
    }

    /// Rounded up to a microsecond, so that a client that waits this long is not too early.
    pub(crate) fn duration(self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.div_ceil(PARTS)).unwrap_or(u64::MAX))
    }
}
