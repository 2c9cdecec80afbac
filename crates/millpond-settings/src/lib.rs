//! The settings of a pool: plain values, their defaults, and the check that refuses impossible
//! ones.
//!
//! [`PoolConfig`] contains all settings. It is generated from one table, like the defaults, the
//! ranges, the setters of the builders, the names in files and variables, and the page of settings.
//! `millpond-core` re-exports the types that users of a pool need.
//!
//! A setting out of range is an error when a pool is built, never at the first acquire, and all
//! problems are reported at once. `limits = "off"` ([`Limits::Off`]) lifts the ranges and refuses
//! only what cannot work at all. Conflicting settings are not an error: [`PoolConfig::conflicts`]
//! lists them.
//!
//! ```
//! use millpond_settings::PoolConfig;
//!
//! let mut config = PoolConfig::default();
//! config.pool_size = 51;
//! let error = config.check().unwrap_err().to_string();
//! assert!(error.contains("pool_size = 51 is out of range 1-50"));
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod conflicts;
mod problem;
mod sql;
mod table;

pub use conflicts::Conflict;
pub use problem::{ConfigError, Problem};
pub use sql::{PoolKind, Pooler, ResetLevel, TCP_KEEPALIVE, TCP_TIMES, TCP_USER_TIMEOUT};
pub use table::{PoolSetting, SettingForm, SettingValue};

use std::ops::RangeInclusive;
use std::time::Duration;
use table::{SettingType, define};

/// Upper bound of slots with [`Limits::Off`]; guards against typing errors.
pub const MAX_CONNECTIONS: u32 = 1_000_000;

crate::with_pool_settings! { [define] [] }

/// Whether the ranges of the settings are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Limits {
    /// A setting out of its range is an error.
    #[default]
    On,
    /// Only a setting that cannot work at all is an error.
    Off,
}

impl Limits {
    /// Returns the range of `max_connections`, the size of a pool of Redis connections: 10-200, or
    /// from 1 if the ranges are off.
    pub fn max_connections(self) -> RangeInclusive<u32> {
        match self {
            Self::On => 10..=200,
            Self::Off => 1..=MAX_CONNECTIONS,
        }
    }
}

impl PoolConfig {
    /// Returns how long a loan may last before its holder is reported: the lesser of `leak_after`
    /// and `max_lease`.
    pub fn report_after(&self) -> Option<Duration> {
        self.leak_after.into_iter().chain(self.max_lease).min()
    }

    /// Returns the most connections that may exist at once.
    pub fn limit(&self) -> u32 {
        self.pool_size.saturating_add(self.max_overflow)
    }

    /// Returns how many nanoseconds after the last successful validation a ping is due:
    /// `pre_ping_idle`, or `u64::MAX` for never.
    pub fn ping_after(&self) -> u64 {
        let idle = u64::try_from(self.pre_ping_idle.as_nanos()).unwrap_or(u64::MAX);
        if self.pool_pre_ping { idle } else { u64::MAX }
    }

    /// Checks every setting, alone and in combination with the others. A setting that another one
    /// makes ineffective is not an error: see [`conflicts`](Self::conflicts).
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] with all problems, each naming the setting, its value, the range and how
    /// to fix it.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        self.check_ranges(&mut problems);
        if self.limits == Limits::Off {
            self.check_possible(&mut problems);
        }
        self.check_overflow_after(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }

    /// Returns every setting but `limits`, in the order of the documentation.
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

    /// Adds the problems of settings that cannot work even without ranges.
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

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
