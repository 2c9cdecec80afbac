//! The time of a pool: nanoseconds since the pool was built.

use std::time::Duration;

/// A point in time, in nanoseconds since the pool was built. A plain number, so that a test or a
/// simulator can choose it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The time at which the pool was built.
    pub const ZERO: Self = Self(0);
    /// Later than any other time: 584 years on.
    pub const NEVER: Self = Self(u64::MAX);

    /// Returns the time `span` after the pool was built.
    pub fn at(span: Duration) -> Self {
        Self(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Returns the time this many nanoseconds after the pool was built.
    pub fn at_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the time `span` later, or [`Time::NEVER`].
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(Self::at(span).0))
    }

    /// Returns the time `span` earlier, or [`Time::ZERO`].
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        if self == Self::NEVER { self } else { Self(self.0.saturating_sub(Self::at(span).0)) }
    }

    /// Returns how long ago `earlier` was; zero if it is in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns how many nanoseconds ago `earlier` was, without the division that a [`Duration`]
    /// costs.
    pub fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the time since the pool was built.
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}
