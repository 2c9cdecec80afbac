//! Time as a pool counts it: nanoseconds since the pool was built.

use std::time::Duration;

/// A moment, in nanoseconds since the pool was built. A plain number, so that a test or a simulator
/// can make it up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The moment at which the pool was built.
    pub const ZERO: Self = Self(0);
    /// Later than anything: 584 years on.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `span` after the pool was built.
    pub fn at(span: Duration) -> Self {
        Self(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The moment so many nanoseconds after the pool was built.
    pub fn at_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `span` later, or [`Time::NEVER`].
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(Self::at(span).0))
    }

    /// The moment `span` earlier, or [`Time::ZERO`].
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        if self == Self::NEVER { self } else { Self(self.0.saturating_sub(Self::at(span).0)) }
    }

    /// How long ago `earlier` was; zero if it has not come yet.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The same in nanoseconds, without the division that a [`Duration`] costs.
    pub fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// How long it is since the pool was built.
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}
