//! The settings of a pool: plain values, their defaults, and the one check that refuses the
//! impossible.
//!
//! Names, defaults and ranges are those of the user's guide, and are listed in [`table`]. A setting
//! out of range is an error in `build()`, never at the first acquire, and all problems are reported
//! at once. `limits = "off"` ([`Limits::Off`]) lifts the ranges and leaves only what could not work
//! at all.

pub(crate) mod conflicts;
pub(crate) mod table;

use crate::config::table::{SettingType, define};
use crate::{PoolSetting, SettingForm, SettingValue, with_pool_settings};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Upper bound of slots with [`Limits::Off`]; guards against typing errors.
pub const MAX_CONNECTIONS: u32 = 1_000_000;

/// The range of `tcp_keepalive` and `tcp_user_timeout`, settings of the backends, unless they are
/// off.
pub const TCP_TIMES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// The default of `tcp_keepalive`: 60 s.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// The default of `tcp_user_timeout`: 300 s.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(300);

with_pool_settings! { [define] [] }

/// Whether the ranges of the settings are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Limits {
    /// A setting out of its range is an error.
    #[default]
    On,
    /// Only what could not work at all is an error.
    Off,
}

impl Limits {
    /// The range of `max_connections`, the size of a pool of connections to Redis: 10-200, or from
    /// 1 where the ranges do not hold.
    pub fn max_connections(self) -> RangeInclusive<u32> {
        match self {
            Self::On => 10..=200,
            Self::Off => 1..=MAX_CONNECTIONS,
        }
    }
}

named! {
    /// Which pool lends the connections of a SQL backend.
    pub enum PoolKind {
        /// `null`: opens a connection for every borrower and keeps none.
        Null = "null",
        /// `queue`: keeps `pool_size` connections.
        Queue = "queue",
        /// `read-write`: one writer and `pool_size` readers, each in a pool of its own; SQLite
        /// only.
        ReadWrite = "read-write",
    }
    /// Its name in settings.
    pub fn name;
}

/// What stands between a SQL pool and its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pooler {
    /// `server`: nothing, or a pooler that lends a server for a whole session.
    #[default]
    Direct,
    /// `unchecked`: as `server`, without looking whether a pooler stands there, which is refused if
    /// it lends a server for one transaction only. For what is taken for such a pooler and is none.
    Unchecked,
    /// `pgbouncer`: PgBouncer with `pool_mode = transaction`, or another one that works like it.
    PgBouncer,
}

/// What a SQL backend does to a connection between two borrowers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResetLevel {
    /// Nothing, not even for a connection in doubt.
    None,
    /// No open transaction is lent on.
    #[default]
    Transaction,
    /// No session state either: role, variables, temporary tables, locks. What `on_connect` hooks
    /// leave on a connection is the state that it leads back to: where it has undone that, they are
    /// called again.
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
    pub fn limit(&self) -> u32 {
        self.pool_size.saturating_add(self.max_overflow)
    }

    /// After how many nanoseconds without a sign of life a ping is due: `pre_ping_idle`, or never.
    pub(crate) fn ping_after(&self) -> u64 {
        let idle = u64::try_from(self.pre_ping_idle.as_nanos()).unwrap_or(u64::MAX);
        if self.pool_pre_ping { idle } else { u64::MAX }
    }

    /// Checks every setting, alone and beside the others. What works, but not as it says, is no
    /// error: see [`conflicts`](Self::conflicts).
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] with all problems at once, each naming the setting, its value, the range
    /// and the way out.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        self.check_ranges(&mut problems);
        if self.limits == Limits::Off {
            self.check_possible(&mut problems);
        }
        self.check_overflow_after(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }

    /// Every setting but `limits`, in the order of the documentation.
    pub fn settings() -> &'static [PoolSetting] {
        SETTINGS
    }

    fn check_ranges(&self, problems: &mut Vec<Problem>) {
        for setting in SETTINGS {
            let value = setting.get(self);
            let Some((low, high)) = setting.range(self).filter(|_| value != SettingValue::Unset)
            else {
                continue;
            };
            if !(low..=high).contains(&value) {
                let expected = setting.spell_range(self).unwrap_or_default();
                let help = setting.depends_on.map_or(LIFT, |_| "lower min_idle or raise pool_size");
                let problem = Problem::new(setting.name, value, expected, help);
                problems.push(Problem { other: setting.depends_on, ..problem });
            }
        }
    }

    /// What cannot work with any limits.
    fn check_possible(&self, problems: &mut Vec<Problem>) {
        let slots = u64::from(self.pool_size).saturating_add(u64::from(self.max_overflow));
        let mut refuse = |setting, value: SettingValue, expected: &str, help| {
            problems.push(Problem::new(setting, value, expected, help));
        };
        if slots == 0 || slots > u64::from(MAX_CONNECTIONS) {
            let expected = format!("pool_size + max_overflow between 1 and {MAX_CONNECTIONS}");
            let help = "a pool needs at least one slot";
            refuse("pool_size", SettingValue::Count(self.pool_size), &expected, help);
        }
        if self.max_connecting == 0 {
            refuse(
                "max_connecting",
                SettingValue::Count(0),
                "at least 1",
                "nothing could ever be opened",
            );
        }
        if self.max_waiters == Some(0) {
            refuse(
                "max_waiters",
                SettingValue::Count(0),
                "at least 1",
                "a cold pool could lend nothing",
            );
        }
        if self.recycle_jitter > 100 {
            let jitter = SettingValue::Count(self.recycle_jitter);
            refuse("recycle_jitter", jitter, "0-100 %", "it is a percentage");
        }
        let spans = [
            ("pool_recycle", self.pool_recycle),
            ("max_lease", self.max_lease),
            ("statement_timeout", self.statement_timeout),
        ];
        for (setting, span) in spans {
            if span == Some(Duration::ZERO) {
                let zero = SettingValue::Time(Duration::ZERO);
                refuse(setting, zero, "more than 0s", "to switch it off, say off");
            }
        }
    }

    fn check_overflow_after(&self, problems: &mut Vec<Problem>) {
        const NAME: &str = "overflow_after";
        let is_out_of_range = problems.iter().any(|problem| problem.setting == NAME);
        let is_waited_for =
            self.overflow_after.is_zero() || self.overflow_after < self.pool_timeout;
        if self.max_overflow == 0 || is_out_of_range || is_waited_for {
            return;
        }
        let expected = format!("0s to {:?} (below pool_timeout)", self.pool_timeout);
        let help = "no caller waits that long, so max_overflow would never be used; \
                    lower overflow_after or raise pool_timeout";
        let value = SettingValue::Time(self.overflow_after);
        problems.push(Problem {
            other: Some("pool_timeout"),
            ..Problem::new(NAME, value, expected, help)
        });
    }
}

const LIFT: &str =
    "choose a value in the range, or lift the ranges with limits = \"off\" (in code: Limits::Off)";

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

impl Problem {
    fn new(
        setting: &'static str,
        value: SettingValue,
        expected: impl Into<String>,
        help: &'static str,
    ) -> Self {
        Self { setting, value: value.to_string(), expected: expected.into(), other: None, help }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} = {} is out of range {}; {}",
            self.setting, self.value, self.expected, self.help
        )
    }
}

/// Settings that a pool refuses to be built with: all of them, not the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Every problem found, in the order of the settings.
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
