//! How connecting has gone lately, and the pauses between failing attempts.
//!
//! The pause has full jitter (`random(0, min(backoff_max, 10 ms x 2^n))`, as in the AWS
//! Architecture Blog's "Exponential Backoff And Jitter", Marc Brooker, 2015). While nobody asks,
//! the limit is 5 s in place of `backoff_max`.

use crate::event::SharedError;
use crate::rt::time::Time;
use std::time::Duration;

/// The pause after a first failure; it doubles from there up to `backoff_max`.
const BACKOFF_BASE: Duration = Duration::from_millis(10);

/// The longest pause while nobody asks for a connection, unless `backoff_max` is longer.
const UNASKED_MAX: Duration = Duration::from_secs(5);

/// How many times longer than usual an attempt to connect takes that counts as hanging.
const PATIENCE: u32 = 4;

/// After how long it does so at the earliest: a lost packet is sent again by then.
pub(super) const PATIENCE_LEAST: Duration = Duration::from_millis(250);

/// The same while it is not known what is usual.
const PATIENCE_AT_FIRST: Duration = Duration::from_secs(2);

/// How opening has gone lately.
#[derive(Debug)]
pub(crate) struct Opening {
    /// Failures in a row.
    pub(super) failures: u32,
    pub(super) failing_since: Option<Time>,
    pub(super) last_error: Option<SharedError>,
    /// No attempt before this.
    pub(super) pause: Pause,
    /// When somebody last asked who was not served.
    pub(super) asked: Option<Time>,
    /// Whether the `on_first_connect` hooks have still to succeed.
    pub(super) first_pending: bool,
    /// Idle connections that had to go before their successors could be opened.
    pub(super) owed: u32,
    /// How many connections each `prewarm` under way wants to exist.
    pub(super) warm: Vec<u32>,
    /// Whether nothing has worked for that long, attempt after attempt.
    pub(super) failing_fast: bool,
    /// Whether a caller was refused because of that.
    pub(super) refused: bool,
    pub(super) last_failure: Time,
    /// Whether the last failure was one that trying again does not cure.
    pub(super) hopeless: bool,
    /// How long opening a connection takes: the later ones count for more.
    pub(super) usual: Option<Duration>,
    pub(super) random: fastrand::Rng,
}

/// When the pause after a failure is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    /// While somebody asks for a connection.
    pub(crate) asked: Time,
    /// While nobody does.
    pub(crate) unasked: Time,
}

impl Pause {
    pub(super) const NONE: Self = Self { asked: Time::ZERO, unasked: Time::ZERO };

    /// The end that holds, as somebody asks or nobody does.
    pub(crate) fn end(self, asked: bool) -> Time {
        if asked { self.asked } else { self.unasked }
    }
}

impl Opening {
    pub(crate) fn new(first_pending: bool, seed: u64) -> Self {
        Self {
            failures: 0,
            failing_since: None,
            last_error: None,
            pause: Pause::NONE,
            asked: None,
            first_pending,
            owed: 0,
            warm: Vec::new(),
            failing_fast: false,
            refused: false,
            last_failure: Time::ZERO,
            hopeless: false,
            usual: None,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// After how long an attempt to connect counts as hanging.
    pub(super) fn patience(&self) -> Duration {
        self.usual
            .map_or(PATIENCE_AT_FIRST, |usual| usual.saturating_mul(PATIENCE).max(PATIENCE_LEAST))
    }

    /// A connection was opened in this time.
    pub(crate) fn note_took(&mut self, took: Duration) {
        let before = self.usual.unwrap_or(took).saturating_mul(3);
        self.usual = before.saturating_add(took).checked_div(4);
    }

    /// Somebody asks who is not served at once.
    pub(crate) fn note_asked(&mut self, now: Time) {
        self.asked = Some(now);
    }

    /// Full jitter: anything between a millisecond and the limit that doubles with every failure.
    pub(super) fn draw_pause(&mut self, backoff_max: Duration, now: Time) -> Pause {
        let doublings = self.failures.saturating_sub(1).min(16);
        let limit = BACKOFF_BASE.saturating_mul(1_u32 << doublings);
        let part = self.random.f64();
        let end =
            |longest| now.after(limit.min(longest).mul_f64(part).max(Duration::from_millis(1)));
        Pause { asked: end(backoff_max), unasked: end(backoff_max.max(UNASKED_MAX)) }
    }

    /// A life of `age`, shortened by a random part of up to `percent` percent.
    pub(super) fn life(&mut self, age: Duration, percent: u32) -> Duration {
        let most = age.saturating_mul(percent).checked_div(100).unwrap_or(Duration::ZERO);
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        age.saturating_sub(Duration::from_nanos(self.random.u64(0..=nanos)))
    }
}
