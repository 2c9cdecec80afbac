//! Recent connect history, and the pauses between failing attempts.
//!
//! The pause has full jitter (`random(0, min(backoff_max, 10 ms x 2^n))`, as in the AWS
//! Architecture Blog's "Exponential Backoff And Jitter", Marc Brooker, 2015). Without demand the
//! limit is 5 s instead of `backoff_max`.

use crate::SharedError;
use crate::rt::Time;
use std::time::Duration;

/// The pause after a first failure; it doubles from there up to `backoff_max`.
const BACKOFF_BASE: Duration = Duration::from_millis(10);

/// The longest pause without demand, unless `backoff_max` is longer.
const WITHOUT_DEMAND_MAX: Duration = Duration::from_secs(5);

/// An attempt hangs when it takes this many times longer than the typical one.
const HANG_FACTOR: u32 = 4;

/// The least hang threshold: a lost packet is sent again by then.
pub(super) const HANG_MIN: Duration = Duration::from_millis(250);

const HANG_DEFAULT: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(crate) struct ConnectHistory {
    pub(super) failures: u32,
    pub(super) failing_since: Option<Time>,
    pub(super) last_error: Option<SharedError>,
    /// No attempt before this.
    pub(super) pause: Pause,
    /// When a caller last asked and was not served.
    pub(super) last_demand: Option<Time>,
    /// Whether the `on_first_connect` hooks have still to succeed.
    pub(super) first_pending: bool,
    /// Idle connections that were closed before their replacements could be opened.
    pub(super) replacements_due: u32,
    /// How many connections each `prewarm` under way wants.
    pub(super) prewarm_targets: Vec<u32>,
    /// Whether new callers fail at once.
    pub(super) failing_fast: bool,
    /// Whether a caller was refused because of that.
    pub(super) refused: bool,
    pub(super) last_failure: Time,
    pub(super) last_connected: Option<Time>,
    pub(super) last_error_permanent: bool,
    /// How long a connect takes, as a moving average.
    pub(super) typical_connect: Option<Duration>,
    pub(super) random: fastrand::Rng,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pause {
    /// While a caller asks for a connection.
    pub(crate) with_demand: Time,
    /// While none does.
    pub(crate) without_demand: Time,
}

impl Pause {
    /// The end that holds with or without demand.
    pub(crate) fn end(self, demand: bool) -> Time {
        if demand { self.with_demand } else { self.without_demand }
    }
}

impl ConnectHistory {
    pub(crate) fn new(first_pending: bool, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { first_pending, random, ..Self::default() }
    }

    /// After how long an attempt to connect counts as hanging.
    pub(super) fn hang_threshold(&self) -> Duration {
        self.typical_connect
            .map_or(HANG_DEFAULT, |typical| typical.saturating_mul(HANG_FACTOR).max(HANG_MIN))
    }

    pub(crate) fn note_took(&mut self, took: Duration) {
        let before = self.typical_connect.unwrap_or(took).saturating_mul(3);
        self.typical_connect = before.saturating_add(took).checked_div(4);
    }

    /// Notes a caller that is not served at once.
    pub(crate) fn note_demand(&mut self, now: Time) {
        self.last_demand = Some(now);
    }

    /// Full jitter: anything between a millisecond and the limit that doubles with every failure.
    pub(super) fn draw_pause(&mut self, backoff_max: Duration, now: Time) -> Pause {
        let doublings = self.failures.saturating_sub(1).min(16);
        let limit = BACKOFF_BASE.saturating_mul(1_u32 << doublings);
        let part = self.random.f64();
        let end =
            |longest| now.after(limit.min(longest).mul_f64(part).max(Duration::from_millis(1)));
        Pause {
            with_demand: end(backoff_max),
            without_demand: end(backoff_max.max(WITHOUT_DEMAND_MAX)),
        }
    }

    /// A life of `age`, shortened by a random part of up to `percent` percent.
    pub(super) fn life(&mut self, age: Duration, percent: u32) -> Duration {
        let most = age.saturating_mul(percent).checked_div(100).unwrap_or(Duration::ZERO);
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        age.saturating_sub(Duration::from_nanos(self.random.u64(0..=nanos)))
    }
}
