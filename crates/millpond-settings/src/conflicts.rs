//! Conflicting settings: each is in its range, but one of them keeps another from having its
//! effect.
//!
//! A pool with such settings works, so they are not an error. They are reported when the pool is
//! built, since their author relies on them. [`PoolConfig::check`] refuses settings that cannot
//! work at all.

use crate::{PoolConfig, SETTINGS, SettingValue};
use std::fmt;
use std::time::Duration;

/// A setting that has no effect, or less than it says, because of another setting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The setting that was changed from its default, by its name in [`PoolConfig`].
    pub setting: &'static str,
    /// The setting's value.
    pub value: String,
    /// How it relates to the other setting: `has no effect with`, `is longer than`.
    pub relation: &'static str,
    /// The other setting.
    pub other: &'static str,
    /// The other setting's value, which may be the default.
    pub other_value: String,
    /// The consequence, and how to fix it.
    pub help: &'static str,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, value, relation, other, other_value, help } = self;
        write!(f, "{setting} = {value} {relation} {other} = {other_value}; {help}")
    }
}

impl PoolConfig {
    /// Returns all settings that have no effect, or less than they say, because of other settings.
    /// A setting at its default is never reported as the cause, so changing a single setting of the
    /// defaults reports only that setting.
    ///
    /// Building a pool reports each as an event and in the log.
    ///
    /// ```
    /// use millpond_settings::PoolConfig;
    /// use std::time::Duration;
    ///
    /// let mut config = PoolConfig::default();
    /// config.overflow_linger = Duration::from_secs(5);
    /// assert!(config.conflicts().is_empty());
    /// config.max_overflow = 0;
    /// assert_eq!(
    ///     config.conflicts()[0].to_string(),
    ///     "overflow_linger = 5s has no effect with max_overflow = 0; raise max_overflow, or \
    ///      leave overflow_linger out"
    /// );
    /// ```
    pub fn conflicts(&self) -> Vec<Conflict> {
        RULES.iter().filter(|rule| (rule.applies)(self)).map(|rule| rule.conflict(self)).collect()
    }

    /// Returns the conflicts of a `NullPool`, which has no idle connections.
    pub fn null_conflicts(&self) -> Vec<Conflict> {
        let of_idle = ["idle_timeout", "overflow_linger", "pre_ping_idle"];
        let others = RULES.iter().filter(|rule| !of_idle.contains(&rule.setting));
        let rules = NULL_RULES.iter().chain(others).filter(|rule| (rule.applies)(self));
        rules.map(|rule| rule.conflict(self)).collect()
    }
}

/// One kind of conflict.
struct Rule {
    setting: &'static str,
    relation: &'static str,
    other: &'static str,
    help: &'static str,
    applies: fn(&PoolConfig) -> bool,
}

impl Rule {
    fn conflict(&self, config: &PoolConfig) -> Conflict {
        let Self { setting, relation, other, help, .. } = *self;
        let (value, other_value) = (spelled(config, setting), spelled(config, other));
        Conflict { setting, value, relation, other, other_value, help }
    }
}

/// Returns the value of a setting as a user writes it.
fn spelled(config: &PoolConfig, name: &str) -> String {
    let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
        // `pool` is not a setting of the pool itself.
        return "null".to_owned();
    };
    match (setting.get(config), setting.unset) {
        (SettingValue::Unset, Some(word)) => word.to_owned(),
        (value, _) => value.to_string(),
    }
}

const NO_EFFECT: &str = "has no effect with";
const LONGER: &str = "is longer than";
const NOT_SHORTER: &str = "is not shorter than";

const fn rule(
    setting: &'static str,
    relation: &'static str,
    other: &'static str,
    help: &'static str,
    applies: fn(&PoolConfig) -> bool,
) -> Rule {
    Rule { setting, relation, other, help, applies }
}

/// Returns true if there is a limit of at most `value`.
fn reaches(value: Duration, limit: Option<Duration>) -> bool {
    limit.is_some_and(|limit| limit <= value)
}

/// Returns true if a limit was changed and is longer than a caller waits.
fn outlasts_callers(config: &PoolConfig, limit: fn(&PoolConfig) -> Duration) -> bool {
    limit(config) != limit(&PoolConfig::default()) && limit(config) > config.pool_timeout
}

static RULES: &[Rule] = &[
    rule(
        "overflow_after",
        NO_EFFECT,
        "max_overflow",
        "raise max_overflow, or leave overflow_after out",
        |it| it.max_overflow == 0 && !it.overflow_after.is_zero(),
    ),
    rule(
        "overflow_linger",
        NO_EFFECT,
        "max_overflow",
        "raise max_overflow, or leave overflow_linger out",
        |it| it.max_overflow == 0 && !it.overflow_linger.is_zero(),
    ),
    rule(
        "overflow_linger",
        LONGER,
        "idle_timeout",
        "idle_timeout closes the connection first; lower overflow_linger or raise idle_timeout",
        PoolConfig::lingers_beyond_idle_timeout,
    ),
    rule(
        "overflow_linger",
        NOT_SHORTER,
        "pool_recycle",
        "pool_recycle closes the connection first; lower overflow_linger",
        |it| {
            let lingers = it.max_overflow > 0 && !it.overflow_linger.is_zero();
            lingers
                && !it.lingers_beyond_idle_timeout()
                && reaches(it.overflow_linger, it.pool_recycle)
        },
    ),
    rule(
        "idle_timeout",
        "closes nothing with",
        "min_idle",
        "it closes down to min_idle (auto: pool_size), and no more than pool_size are kept; set \
         min_idle below pool_size",
        // Idle connections are more than `pool_size` only while they linger after a burst.
        |it| {
            it.idle_timeout.is_some()
                && it.min_idle.is_none_or(|floor| floor >= it.pool_size)
                && !it.lingers_beyond_idle_timeout()
        },
    ),
    rule(
        "idle_timeout",
        NOT_SHORTER,
        "pool_recycle",
        "pool_recycle replaces the connection first; lower idle_timeout",
        |it| it.idle_timeout.is_some_and(|idle| reaches(idle, it.pool_recycle)),
    ),
    rule(
        "pre_ping_idle",
        NO_EFFECT,
        "pool_pre_ping",
        "set pool_pre_ping = true, or leave pre_ping_idle out",
        |it| !it.pool_pre_ping && it.pre_ping_idle != PoolConfig::default().pre_ping_idle,
    ),
    rule(
        "pre_ping_idle",
        NOT_SHORTER,
        "pool_recycle",
        "no connection gets that old, so none is pinged for being idle; lower pre_ping_idle",
        |it| {
            it.pool_pre_ping
                && it.pre_ping_idle != PoolConfig::default().pre_ping_idle
                && reaches(it.pre_ping_idle, it.pool_recycle)
        },
    ),
    rule(
        "recycle_jitter",
        NO_EFFECT,
        "pool_recycle",
        "set pool_recycle, or leave recycle_jitter out",
        |it| it.pool_recycle.is_none() && it.recycle_jitter != PoolConfig::default().recycle_jitter,
    ),
    rule(
        "leak_after",
        NOT_SHORTER,
        "max_lease",
        "the holder is reported when max_lease has passed; lower leak_after",
        |it| it.leak_after.is_some_and(|leak| reaches(leak, it.max_lease)),
    ),
    rule(
        "statement_timeout",
        NOT_SHORTER,
        "max_lease",
        "max_lease ends the statement first; lower statement_timeout",
        |it| it.statement_timeout.is_some_and(|limit| reaches(limit, it.max_lease)),
    ),
    rule(
        "fail_fast_after",
        "is shorter than",
        "connect_timeout",
        "an attempt that gets no answer fails only then, so callers fail fast no sooner; lower \
         connect_timeout",
        |it| it.fail_fast_after.is_some_and(|after| after < it.connect_timeout),
    ),
    rule(
        "connect_timeout",
        LONGER,
        "pool_timeout",
        "callers give up before such an attempt ends; lower connect_timeout or raise pool_timeout",
        |it| outlasts_callers(it, |it| it.connect_timeout),
    ),
    rule(
        "ping_timeout",
        LONGER,
        "pool_timeout",
        "a caller whose connection does not answer has no time for another; lower ping_timeout",
        |it| outlasts_callers(it, |it| it.ping_timeout),
    ),
    rule(
        "hook_timeout",
        LONGER,
        "pool_timeout",
        "one hook may take all of a caller's time; lower hook_timeout",
        |it| outlasts_callers(it, |it| it.hook_timeout),
    ),
    rule(
        "backoff_max",
        LONGER,
        "pool_timeout",
        "callers may give up during a single pause; lower backoff_max",
        |it| outlasts_callers(it, |it| it.backoff_max),
    ),
];

/// The conflicts of a pool that keeps no connections.
static NULL_RULES: &[Rule] = &[
    rule(
        "min_idle",
        NO_EFFECT,
        "pool",
        "a null pool keeps nothing; choose another pool, or leave min_idle out",
        |it| it.min_idle.is_some_and(|idle| idle > 0),
    ),
    rule(
        "idle_timeout",
        NO_EFFECT,
        "pool",
        "a null pool keeps nothing; choose another pool, or leave idle_timeout out",
        |it| it.idle_timeout.is_some(),
    ),
    rule(
        "overflow_linger",
        NO_EFFECT,
        "pool",
        "a null pool keeps nothing; choose another pool, or leave overflow_linger out",
        |it| !it.overflow_linger.is_zero(),
    ),
];

impl PoolConfig {
    fn lingers_beyond_idle_timeout(&self) -> bool {
        self.max_overflow > 0 && self.idle_timeout.is_some_and(|idle| idle < self.overflow_linger)
    }
}
