//! Settings that do not go together: each is in its range, but one of them keeps another from
//! having its effect.
//!
//! A pool with such settings works, so they are no error. They are reported when it is built, since
//! the one who wrote them counts on them. What could never work is refused by
//! [`PoolConfig::check`].

use crate::PoolConfig;
use std::fmt;
use std::time::Duration;

/// A setting that has no effect, or less than it says, because of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The setting that was changed from its default, as it is named in [`PoolConfig`].
    pub setting: &'static str,
    /// Its value.
    pub value: String,
    /// How it relates to the other setting: `has no effect with`, `is longer than`.
    pub relation: &'static str,
    /// The other setting.
    pub other: &'static str,
    /// Its value, which may be the default.
    pub other_value: String,
    /// What follows, and what the user can do.
    pub help: &'static str,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, value, relation, other, other_value, help } = self;
        write!(f, "{setting} = {value} {relation} {other} = {other_value}; {help}")
    }
}

impl PoolConfig {
    /// All settings that have no effect, or less than they say, beside others. A setting at its
    /// default is never the cause for one, so changing a single setting of the defaults reports
    /// nothing that was not changed.
    ///
    /// [`Builder::build`](crate::Builder::build) reports each as an
    /// [`Event::Warned`](crate::Event::Warned) and in the log.
    ///
    /// ```
    /// use millpond_core::PoolConfig;
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
        let mut conflicts = Conflicts(Vec::new());
        self.overflow_conflicts(&mut conflicts);
        self.idle_conflicts(&mut conflicts);
        self.ping_conflicts(&mut conflicts);
        self.loan_conflicts(&mut conflicts);
        self.timeout_conflicts(&mut conflicts);
        conflicts.0
    }

    /// The same of a [`NullPool`](crate::NullPool), which has no use for settings of idle
    /// connections.
    pub fn null_conflicts(&self) -> Vec<Conflict> {
        let mut conflicts = Conflicts(Vec::new());
        let null = ("pool", "null".to_owned());
        if let Some(idle) = self.min_idle.filter(|idle| *idle > 0) {
            let help = "a null pool keeps nothing; choose another pool, or leave min_idle out";
            conflicts.add(("min_idle", idle.to_string()), NO_EFFECT, null.clone(), help);
        }
        if let Some(idle) = self.idle_timeout {
            let help = "a null pool keeps nothing; choose another pool, or leave idle_timeout out";
            conflicts.add(time("idle_timeout", idle), NO_EFFECT, null.clone(), help);
        }
        if !self.overflow_linger.is_zero() {
            let help =
                "a null pool keeps nothing; choose another pool, or leave overflow_linger out";
            conflicts.add(time("overflow_linger", self.overflow_linger), NO_EFFECT, null, help);
        }
        conflicts.0.extend(self.conflicts().into_iter().filter(|conflict| !conflict.is_of_idle()));
        conflicts.0
    }

    fn overflow_conflicts(&self, conflicts: &mut Conflicts) {
        let overflow = ("max_overflow", self.max_overflow.to_string());
        if self.max_overflow == 0 && !self.overflow_after.is_zero() {
            let help = "raise max_overflow, or leave overflow_after out";
            conflicts.add(
                time("overflow_after", self.overflow_after),
                NO_EFFECT,
                overflow.clone(),
                help,
            );
        }
        if self.overflow_linger.is_zero() {
            return;
        }
        let linger = time("overflow_linger", self.overflow_linger);
        if self.max_overflow == 0 {
            conflicts.add(
                linger,
                NO_EFFECT,
                overflow,
                "raise max_overflow, or leave overflow_linger out",
            );
        } else if let Some(idle) = self.idle_timeout.filter(|idle| *idle < self.overflow_linger) {
            let help = "idle_timeout closes the connection first; lower overflow_linger or raise \
                idle_timeout";
            conflicts.add(linger, LONGER, time("idle_timeout", idle), help);
        } else if let Some(age) = self.pool_recycle.filter(|age| *age <= self.overflow_linger) {
            let help = "pool_recycle closes the connection first; lower overflow_linger";
            conflicts.add(linger, NOT_SHORTER, time("pool_recycle", age), help);
        }
    }

    fn idle_conflicts(&self, conflicts: &mut Conflicts) {
        let Some(idle) = self.idle_timeout else { return };
        // Idle connections are more than `pool_size` only while they linger after a burst.
        let lingers = self.max_overflow > 0 && self.overflow_linger > idle;
        if self.min_idle.is_none_or(|floor| floor >= self.pool_size) && !lingers {
            let floor = self.min_idle.map_or_else(|| "auto".to_owned(), |floor| floor.to_string());
            let help = "it closes down to min_idle (auto: pool_size), and no more than pool_size \
                are kept; set min_idle below pool_size";
            conflicts.add(
                time("idle_timeout", idle),
                "closes nothing with",
                ("min_idle", floor),
                help,
            );
        }
        if let Some(age) = self.pool_recycle.filter(|age| *age <= idle) {
            let help = "pool_recycle replaces the connection first; lower idle_timeout";
            conflicts.add(time("idle_timeout", idle), NOT_SHORTER, time("pool_recycle", age), help);
        }
    }

    fn ping_conflicts(&self, conflicts: &mut Conflicts) {
        let usual = Self::default();
        if self.pre_ping_idle != usual.pre_ping_idle {
            let idle = time("pre_ping_idle", self.pre_ping_idle);
            if !self.pool_pre_ping {
                let help = "set pool_pre_ping = true, or leave pre_ping_idle out";
                conflicts.add(idle, NO_EFFECT, ("pool_pre_ping", "false".to_owned()), help);
            } else if let Some(age) = self.pool_recycle.filter(|age| *age <= self.pre_ping_idle) {
                let help = "no connection gets that old, so none is pinged for being idle; lower \
                    pre_ping_idle";
                conflicts.add(idle, NOT_SHORTER, time("pool_recycle", age), help);
            }
        }
        if self.pool_recycle.is_none() && self.recycle_jitter != usual.recycle_jitter {
            let help = "set pool_recycle, or leave recycle_jitter out";
            let jitter = ("recycle_jitter", self.recycle_jitter.to_string());
            conflicts.add(jitter, NO_EFFECT, ("pool_recycle", "off".to_owned()), help);
        }
    }

    fn loan_conflicts(&self, conflicts: &mut Conflicts) {
        let Some(longest) = self.max_lease else { return };
        let max_lease = || time("max_lease", longest);
        if let Some(leak) = self.leak_after.filter(|leak| *leak >= longest) {
            let help = "the holder is reported when max_lease has passed; lower leak_after";
            conflicts.add(time("leak_after", leak), NOT_SHORTER, max_lease(), help);
        }
        if let Some(limit) = self.statement_timeout.filter(|limit| *limit >= longest) {
            let help = "max_lease ends the statement first; lower statement_timeout";
            conflicts.add(time("statement_timeout", limit), NOT_SHORTER, max_lease(), help);
        }
    }

    fn timeout_conflicts(&self, conflicts: &mut Conflicts) {
        let usual = Self::default();
        if let Some(after) = self.fail_fast_after.filter(|after| *after < self.connect_timeout) {
            let help = "an attempt that gets no answer fails only then, so callers fail fast no \
                sooner; lower connect_timeout";
            let connect = time("connect_timeout", self.connect_timeout);
            conflicts.add(time("fail_fast_after", after), "is shorter than", connect, help);
        }
        let beyond = |setting, value: Duration, usual: Duration, help| {
            let exceeds = value != usual && value > self.pool_timeout;
            exceeds.then(|| (time(setting, value), time("pool_timeout", self.pool_timeout), help))
        };
        let connect = "callers give up before such an attempt ends; lower connect_timeout or raise \
            pool_timeout";
        let ping =
            "a caller whose connection does not answer has no time for another; lower ping_timeout";
        let hook = "one hook may take all of a caller's time; lower hook_timeout";
        let backoff = "callers may give up during a single pause; lower backoff_max";
        let found = [
            beyond("connect_timeout", self.connect_timeout, usual.connect_timeout, connect),
            beyond("ping_timeout", self.ping_timeout, usual.ping_timeout, ping),
            beyond("hook_timeout", self.hook_timeout, usual.hook_timeout, hook),
            beyond("backoff_max", self.backoff_max, usual.backoff_max, backoff),
        ];
        for (setting, pool_timeout, help) in found.into_iter().flatten() {
            conflicts.add(setting, LONGER, pool_timeout, help);
        }
    }
}

impl Conflict {
    /// Whether it is about connections that sit idle.
    fn is_of_idle(&self) -> bool {
        ["idle_timeout", "overflow_linger", "pre_ping_idle"].contains(&self.setting)
    }
}

const NO_EFFECT: &str = "has no effect with";
const LONGER: &str = "is longer than";
const NOT_SHORTER: &str = "is not shorter than";

struct Conflicts(Vec<Conflict>);

/// The name of a setting and its value.
type Named = (&'static str, String);

fn time(setting: &'static str, value: Duration) -> Named {
    (setting, format!("{value:?}"))
}

impl Conflicts {
    fn add(&mut self, setting: Named, relation: &'static str, other: Named, help: &'static str) {
        let ((setting, value), (other, other_value)) = (setting, other);
        self.0.push(Conflict { setting, value, relation, other, other_value, help });
    }
}
