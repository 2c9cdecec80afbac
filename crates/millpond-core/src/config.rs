//! The settings of a pool: plain values, their defaults, and the one check that refuses the impossible.
//!
//! Names, defaults and ranges are those of the user's guide; the table in the README is this file in prose. A setting
//! out of range is an error in `build()`, never at the first acquire, and all problems are reported at once.
//! `limits = "off"` ([`Limits::Off`]) lifts the ranges and leaves only what could not work at all.

pub(crate) mod conflicts;

use std::fmt;
use std::time::Duration;

/// How many places a pool may have when [`Limits::Off`] is set: more is surely a slip, and costs memory a place.
pub const MAX_CONNECTIONS: u32 = 1_000_000;

/// How a pool behaves. Plain values: build one with [`PoolConfig::default`], change fields, hand it to a builder.
///
/// ```
/// use millpond_core::PoolConfig;
/// use std::time::Duration;
///
/// let mut config = PoolConfig::default();
/// config.pool_size = 25;
/// config.pool_timeout = Duration::from_secs(60);
/// assert!(config.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolConfig {
    /// Connections to maintain: on return with nobody waiting, this many are kept idle. Default 10, range 1-50.
    pub pool_size: u32,
    /// Connections beyond `pool_size` that may be open at the same time. Default 20, range 0-100.
    pub max_overflow: u32,
    /// How long `acquire` may take in all: waiting, connecting, ping and hooks. Default 30 s, range 1-300 s. Who waits in a
    /// crowd is told up to 50 ms later, since the clock that is asked then is a coarse one.
    pub pool_timeout: Duration,
    /// The age at which a connection is replaced, `None` for never ("off"). Default 3600 s, range 300-7200 s.
    pub pool_recycle: Option<Duration>,
    /// By how many percent the age of one connection may fall short of `pool_recycle`, drawn once when it is opened,
    /// so that connections opened together do not close together. Default 10 %, range 0-50 %.
    pub recycle_jitter: u32,
    /// Whether a connection that was idle longer than `pre_ping_idle` is pinged before it is lent. Default true.
    pub pool_pre_ping: bool,
    /// Idle time after which a ping is due; 0 pings at every checkout. A connection that its server ended less long ago than
    /// this is lent unpinged; but once one was found broken, the others are pinged before they are lent, whenever they were
    /// used. Default 500 ms, range 0-3600 s.
    pub pre_ping_idle: Duration,
    /// Limit of one ping, and of one reset. Default 2 s, range 1 ms-300 s.
    pub ping_timeout: Duration,
    /// Limit of one attempt to connect. Default 10 s, range 1 ms-300 s.
    pub connect_timeout: Duration,
    /// Limit of one call of one hook. Default 5 s, range 1 ms-300 s.
    pub hook_timeout: Duration,
    /// Limit of one close, `on_close` hooks included; the place counts as taken until then. Default 5 s, range 1 ms-300 s.
    pub close_timeout: Duration,
    /// How long a connection may sit idle before it is closed, `None` for ever ("off"). Closes down to `min_idle`, or down
    /// to `pool_size` where that is unset: then it closes only what `overflow_linger` would have kept for longer. Default
    /// off, range 1-86400 s.
    pub idle_timeout: Option<Duration>,
    /// Idle connections to keep ready without anybody asking, and the floor of `idle_timeout`; from the start if the pool is
    /// given its runtime, else from the first acquire on. `None`: none are opened
    /// ahead of demand, and `idle_timeout` never closes below `pool_size`. Default unset, range 0-`pool_size`.
    pub min_idle: Option<u32>,
    /// How many callers may wait at once; one more fails at once. Default `None`: no limit. Range 1-1000000.
    pub max_waiters: Option<u32>,
    /// How many connections may be in the opening at once. One that takes four times longer than usual, and at least 250 ms,
    /// no longer counts: it holds up nobody while there is room. Default 4, range 1-50.
    pub max_connecting: u32,
    /// The longest pause between two failing attempts to connect (exponential, full jitter). While nobody has asked for a
    /// connection for 10 s, as when only `min_idle` wants one, the pause may grow to 5 s; a caller ends it. Default 200 ms,
    /// range 1 ms-60 s.
    pub backoff_max: Duration,
    /// After this long of nothing but failing connects, newcomers fail with the cached cause while one probe looks for the
    /// server's return: the first of them at once, the others after up to 4 ms, so that retrying in a loop without a
    /// pause takes no core from the probe. Default `None`: as `pool_timeout`. Range 1 ms-3600 s.
    pub fail_fast_after: Option<Duration>,
    /// How long a caller waits before a connection beyond `pool_size` is opened for it. Default 0, range 0-300 s.
    pub overflow_after: Duration,
    /// How long a returned connection beyond `pool_size` is kept in case the burst goes on. Default 0, range 0-3600 s.
    pub overflow_linger: Duration,
    /// Report a holder who has kept a connection longer than this. Default `None` (off), range 1 ms-86400 s.
    pub leak_after: Option<Duration>,
    /// The longest loan. A holder beyond it is reported as by `leak_after`, and its connection is closed when it comes
    /// back; on SQL pools the statement that runs then ends with an error, and every later one on that lease is refused.
    /// Default `None` (off), range 1 ms-86400 s.
    pub max_lease: Option<Duration>,
    /// Limit of one statement on a SQL pool, kept on this side: it ends with an error, and the server is told to cancel it.
    /// The core does not act on it. Default `None` (off), range 1 ms-86400 s.
    pub statement_timeout: Option<Duration>,
    /// Whether the ranges above hold. Default [`Limits::On`].
    pub limits: Limits,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            pool_size: 10,
            max_overflow: 20,
            pool_timeout: Duration::from_secs(30),
            pool_recycle: Some(Duration::from_secs(3600)),
            recycle_jitter: 10,
            pool_pre_ping: true,
            pre_ping_idle: Duration::from_millis(500),
            ping_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(10),
            hook_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            idle_timeout: None,
            min_idle: None,
            max_waiters: None,
            max_connecting: 4,
            backoff_max: Duration::from_millis(200),
            fail_fast_after: None,
            overflow_after: Duration::ZERO,
            overflow_linger: Duration::ZERO,
            leak_after: None,
            max_lease: None,
            statement_timeout: None,
            limits: Limits::On,
        }
    }
}

/// Whether the ranges of the settings are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Limits {
    /// A setting out of its range is an error.
    #[default]
    On,
    /// Only what could not work at all is an error.
    Off,
}

/// What a SQL backend does to a connection between two borrowers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResetLevel {
    /// Nothing, not even for a connection in doubt.
    None,
    /// No open transaction is lent on.
    #[default]
    Transaction,
    /// No session state either: role, variables, temporary tables, locks. What `on_connect` hooks leave on a connection is
    /// the state that it leads back to: where it has undone that, they are called again.
    Session,
    /// Every connection is closed on return.
    Replace,
}

impl PoolConfig {
    /// How long a loan may last before its holder is reported.
    pub(crate) fn report_after(&self) -> Option<Duration> {
        self.leak_after.into_iter().chain(self.max_lease).min()
    }

    /// The most connections that may exist at once.
    pub fn cap(&self) -> u32 {
        self.pool_size.saturating_add(self.max_overflow)
    }

    /// After how many nanoseconds without a sign of life a ping is due: `pre_ping_idle`, or never.
    pub(crate) fn ping_after(&self) -> u64 {
        let idle = u64::try_from(self.pre_ping_idle.as_nanos()).unwrap_or(u64::MAX);
        if self.pool_pre_ping { idle } else { u64::MAX }
    }

    /// Checks every setting, alone and beside the others. What works, but not as it says, is no error: see
    /// [`conflicts`](Self::conflicts).
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] with all problems at once, each naming the setting, its value, the range and the way out.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = Problems { found: Vec::new(), limits: self.limits };
        self.check_sizes(&mut problems);
        self.check_times(&mut problems);
        if problems.found.is_empty() { Ok(()) } else { Err(ConfigError { problems: problems.found }) }
    }

    fn check_sizes(&self, problems: &mut Problems) {
        problems.count("pool_size", self.pool_size, 1, 50);
        problems.count("max_overflow", self.max_overflow, 0, 100);
        problems.count("recycle_jitter", self.recycle_jitter, 0, 50);
        problems.count("max_connecting", self.max_connecting, 1, 50);
        if let Some(waiters) = self.max_waiters {
            problems.count("max_waiters", waiters, 1, 1_000_000);
        }
        if let Some(idle) = self.min_idle.filter(|idle| *idle > self.pool_size) {
            let expected = format!("0-{} (pool_size)", self.pool_size);
            problems.add("min_idle", idle.to_string(), expected, "lower min_idle or raise pool_size");
            problems.depends_on("pool_size");
        }
        if self.limits == Limits::Off {
            self.check_possible(problems);
        }
    }

    /// What cannot work with any limits.
    fn check_possible(&self, problems: &mut Problems) {
        let places = u64::from(self.pool_size).saturating_add(u64::from(self.max_overflow));
        if places == 0 || places > u64::from(MAX_CONNECTIONS) {
            let expected = format!("pool_size + max_overflow between 1 and {MAX_CONNECTIONS}");
            problems.add("pool_size", self.pool_size.to_string(), expected, "a pool without a place lends nothing");
        }
        if self.max_connecting == 0 {
            problems.add("max_connecting", "0".to_owned(), "at least 1".to_owned(), "nothing could ever be opened");
        }
        if self.max_waiters == Some(0) {
            problems.add("max_waiters", "0".to_owned(), "at least 1".to_owned(), "a cold pool could lend nothing");
        }
        let spans = [
            ("pool_recycle", self.pool_recycle),
            ("max_lease", self.max_lease),
            ("statement_timeout", self.statement_timeout),
        ];
        for (setting, span) in spans {
            if span == Some(Duration::ZERO) {
                problems.add(setting, "0s".to_owned(), "more than 0s".to_owned(), "to switch it off, say off");
            }
        }
        if self.recycle_jitter > 100 {
            problems.add("recycle_jitter", self.recycle_jitter.to_string(), "0-100 %".to_owned(), "it is a percentage");
        }
    }

    fn check_times(&self, problems: &mut Problems) {
        const MS: Duration = Duration::from_millis(1);
        const fn s(seconds: u64) -> Duration {
            Duration::from_secs(seconds)
        }
        problems.time("pool_timeout", self.pool_timeout, s(1), s(300));
        problems.time_or_off("pool_recycle", self.pool_recycle, s(300), s(7200));
        problems.time("pre_ping_idle", self.pre_ping_idle, Duration::ZERO, s(3600));
        problems.time("ping_timeout", self.ping_timeout, MS, s(300));
        problems.time("connect_timeout", self.connect_timeout, MS, s(300));
        problems.time("hook_timeout", self.hook_timeout, MS, s(300));
        problems.time("close_timeout", self.close_timeout, MS, s(300));
        problems.time_or_off("idle_timeout", self.idle_timeout, s(1), s(86_400));
        problems.time("backoff_max", self.backoff_max, MS, s(60));
        problems.time_or_off("fail_fast_after", self.fail_fast_after, MS, s(3600));
        problems.time("overflow_after", self.overflow_after, Duration::ZERO, s(300));
        problems.time("overflow_linger", self.overflow_linger, Duration::ZERO, s(3600));
        problems.time_or_off("leak_after", self.leak_after, MS, s(86_400));
        problems.time_or_off("max_lease", self.max_lease, MS, s(86_400));
        problems.time_or_off("statement_timeout", self.statement_timeout, MS, s(86_400));
        self.check_overflow_after(problems);
    }

    fn check_overflow_after(&self, problems: &mut Problems) {
        const NAME: &str = "overflow_after";
        let is_out_of_range = problems.found.iter().any(|problem| problem.setting == NAME);
        let is_waited_for = self.overflow_after.is_zero() || self.overflow_after < self.pool_timeout;
        if self.max_overflow == 0 || is_out_of_range || is_waited_for {
            return;
        }
        let expected = format!("0s to {:?} (below pool_timeout)", self.pool_timeout);
        let help = "nobody waits that long, so max_overflow would never be used; \
                    lower overflow_after or raise pool_timeout";
        problems.add(NAME, format!("{:?}", self.overflow_after), expected, help);
        problems.depends_on("pool_timeout");
    }
}

struct Problems {
    found: Vec<Problem>,
    limits: Limits,
}

const LIFT: &str = "choose a value in the range, or lift the ranges with limits = \"off\" (in code: Limits::Off)";

impl Problems {
    fn add(&mut self, setting: &'static str, value: String, expected: String, help: &'static str) {
        self.found.push(Problem { setting, value, expected, other: None, help });
    }

    /// Says of the last problem which setting its limit comes from.
    fn depends_on(&mut self, other: &'static str) {
        if let Some(problem) = self.found.last_mut() {
            problem.other = Some(other);
        }
    }

    fn count(&mut self, setting: &'static str, value: u32, low: u32, high: u32) {
        if self.limits == Limits::On && !(low..=high).contains(&value) {
            self.add(setting, value.to_string(), format!("{low}-{high}"), LIFT);
        }
    }

    fn time(&mut self, setting: &'static str, value: Duration, low: Duration, high: Duration) {
        if self.limits == Limits::On && !(low..=high).contains(&value) {
            self.add(setting, format!("{value:?}"), format!("{low:?} to {high:?}"), LIFT);
        }
    }

    fn time_or_off(&mut self, setting: &'static str, value: Option<Duration>, low: Duration, high: Duration) {
        if let Some(value) = value {
            self.time(setting, value, low, high);
        }
    }
}

/// One setting that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The name of the setting, as in [`PoolConfig`].
    pub setting: &'static str,
    /// What it was set to.
    pub value: String,
    /// What is allowed.
    pub expected: String,
    /// The setting that the limit comes from, if it is no fixed one.
    pub other: Option<&'static str>,
    /// What the user can do.
    pub help: &'static str,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} is out of range {}; {}", self.setting, self.value, self.expected, self.help)
    }
}

/// Settings that a pool refuses to be built with: all of them, not the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Every problem found: sizes first, then spans of time.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_guide_and_pass() {
        let config = PoolConfig::default();
        assert_eq!((config.pool_size, config.max_overflow), (10, 20));
        assert_eq!(config.pool_timeout, Duration::from_secs(30));
        assert_eq!(config.pool_recycle, Some(Duration::from_secs(3600)));
        assert!(config.pool_pre_ping);
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn every_problem_is_reported_at_once_with_name_value_and_range() {
        let config = PoolConfig {
            pool_size: 0,
            max_overflow: 101,
            pool_timeout: Duration::MAX,
            pool_recycle: Some(Duration::from_secs(299)),
            ..PoolConfig::default()
        };
        let text = config.check().unwrap_err().to_string();
        assert!(text.contains("pool_size = 0 is out of range 1-50"), "{text}");
        assert!(text.contains("max_overflow = 101 is out of range 0-100"), "{text}");
        assert!(text.contains("pool_timeout = "), "{text}");
        assert!(text.contains("pool_recycle = 299s is out of range 300s to 7200s"), "{text}");
        assert!(text.contains("limits = \"off\""), "{text}");
    }

    #[test]
    fn with_the_limits_off_only_the_impossible_is_refused() {
        let mut config = PoolConfig { limits: Limits::Off, pool_size: 10_000, ..PoolConfig::default() };
        assert_eq!(config.check(), Ok(()));
        config.pool_size = u32::MAX;
        assert!(config.check().is_err());
        config.pool_size = 0;
        config.max_overflow = 0;
        assert!(config.check().is_err());
    }
}
