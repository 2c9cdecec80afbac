//! The table of a pool's settings: the name, form, default, range and documentation of each, in one
//! place.
//!
//! It generates the fields of [`PoolConfig`](crate::PoolConfig), its defaults and its check, the
//! setters of the builders, the names in files and variables (`millpond-config`) and
//! `docs/settings.md`. A new setting is a new row.

use crate::SETTINGS;
use crate::{Limits, PoolConfig};
use std::fmt;
use std::time::Duration;

/// A setting of a pool, as listed by [`PoolConfig::settings`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct PoolSetting {
    /// The name of the setting's field.
    pub name: &'static str,
    /// The documentation in Markdown; the first paragraph says what the setting does.
    pub docs: &'static str,
    /// The form of the setting's values.
    pub form: SettingForm,
    /// The word for an unset value, such as `off`, if the setting can be unset.
    pub unset: Option<&'static str>,
    /// Another setting that the range depends on.
    pub depends_on: Option<&'static str>,
    pub(crate) get: fn(&PoolConfig) -> SettingValue,
    pub(crate) set: fn(&mut PoolConfig, SettingValue) -> Option<()>,
    pub(crate) range: Option<(SettingValue, SettingValue)>,
}

/// The form of a setting's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingForm {
    /// A whole number.
    Count,
    /// A duration.
    Time,
    /// True or false.
    Flag,
}

/// The value of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
#[non_exhaustive]
pub enum SettingValue {
    /// A whole number.
    Count(u32),
    /// A duration.
    Time(Duration),
    /// True or false.
    Flag(bool),
    /// Unset: "off" or "auto".
    Unset,
}

impl PoolSetting {
    /// Returns the value of the setting in `config`.
    pub fn get(&self, config: &PoolConfig) -> SettingValue {
        (self.get)(config)
    }

    /// Sets the value without checking the range. Returns `None` if the value has another form.
    pub fn set(&self, config: &mut PoolConfig, value: SettingValue) -> Option<()> {
        (self.set)(config, value)
    }

    /// Returns the lowest and the highest value, given the other settings; `None` if any value is
    /// allowed.
    pub fn range(&self, config: &PoolConfig) -> Option<(SettingValue, SettingValue)> {
        // A range that depends on another setting applies even without limits.
        let holds = config.limits == Limits::On || self.depends_on.is_some();
        let (low, high) = self.range.filter(|_| holds)?;
        let other = SETTINGS.iter().find(|setting| Some(setting.name) == self.depends_on);
        Some((low, other.map_or(high, |other| other.get(config))))
    }

    /// Returns the range as text.
    pub fn spell_range(&self, config: &PoolConfig) -> Option<String> {
        let range = match self.range(config)? {
            (low @ SettingValue::Time(_), high) => format!("{low} to {high}"),
            (low, high) => format!("{low}-{high}"),
        };
        Some(self.depends_on.map_or_else(|| range.clone(), |other| format!("{range} ({other})")))
    }
}

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            // Like `Duration`, except for "0ns".
            Self::Time(Duration::ZERO) => f.write_str("0s"),
            Self::Time(time) => write!(f, "{time:?}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Unset => f.write_str("unset"),
        }
    }
}

/// A type of a setting's field.
pub(crate) trait SettingType: Sized {
    fn to_value(self) -> SettingValue;
    fn from_value(value: SettingValue) -> Option<Self>;
}

macro_rules! setting_types {
    ($($type:ty, $variant:ident;)*) => {
        $(
            impl SettingType for $type {
                fn to_value(self) -> SettingValue {
                    SettingValue::$variant(self)
                }

                fn from_value(value: SettingValue) -> Option<Self> {
                    if let SettingValue::$variant(value) = value { Some(value) } else { None }
                }
            }
        )*
    };
}

setting_types! { u32, Count; Duration, Time; bool, Flag; }

impl<T: SettingType> SettingType for Option<T> {
    fn to_value(self) -> SettingValue {
        self.map_or(SettingValue::Unset, T::to_value)
    }

    fn from_value(value: SettingValue) -> Option<Self> {
        if value == SettingValue::Unset { Some(None) } else { T::from_value(value).map(Some) }
    }
}

/// Passes the table to the macro in the first brackets, after the second.
///
/// A row is `name: form = default, lowest..=highest;`, where the form is `count`, `time` or `flag`.
/// `or off` or `or auto` after the form makes the field an `Option`, with that word for `None`.
#[doc(hidden)]
#[macro_export]
macro_rules! with_pool_settings {
    ([$($then:tt)*] $with:tt) => {
        $($then)*! {
            $with

            /// Number of connections to maintain: up to this many stay idle when they are returned
            /// and no caller waits.
            pool_size: count = 10, 1..=50;
            /// Number of connections beyond `pool_size` that may be open at the same time.
            max_overflow: count = 20, 0..=100;
            /// Time limit of an acquire as a whole: waiting, connecting, ping and hooks.
            ///
            /// With many waiting callers a timeout may be reported up to 50 ms late, because of a
            /// coarse clock.
            pool_timeout: time = 30 s, 1 s..=300 s;
            /// The age at which a connection is replaced.
            pool_recycle: time or off = 3600 s, 300 s..=7200 s;
            /// The percentage by which the maximum age of a connection may fall short of
            /// `pool_recycle`.
            ///
            /// It is drawn once when a connection is opened, so that connections opened together do
            /// not close together.
            recycle_jitter: count = 10, 0..=50;
            /// Whether a connection that was idle for longer than `pre_ping_idle` is pinged before
            /// it is lent.
            pool_pre_ping: flag = true;
            /// Idle time after which a ping is due; 0 pings before every loan.
            ///
            /// A connection that the server ended more recently than that is lent without a ping.
            /// Once a connection has been found broken, the others are pinged before they are lent,
            /// however recently they were used.
            pre_ping_idle: time = 500 ms, 0 s..=3600 s;
            /// Time limit of a ping, and of a reset.
            ping_timeout: time = 2 s, 1 ms..=300 s;
            /// Time limit of one attempt to connect.
            connect_timeout: time = 10 s, 1 ms..=300 s;
            /// Time limit of each call of a hook.
            hook_timeout: time = 5 s, 1 ms..=300 s;
            /// Time limit of closing a connection, including the `on_close` hooks; the slot counts
            /// as taken until then.
            close_timeout: time = 5 s, 1 ms..=300 s;
            /// How long a connection may be idle before it is closed; requires a `min_idle` below
            /// `pool_size`.
            ///
            /// Connections are closed down to `min_idle`, or down to `pool_size` if `min_idle` is
            /// unset: then only connections that `overflow_linger` would keep for longer are
            /// affected.
            idle_timeout: time or off = off, 1 s..=86_400 s;
            /// Number of idle connections to keep ready, and the floor of `idle_timeout`; if unset,
            /// none are opened ahead of demand.
            ///
            /// They are opened from the start if the pool is given its runtime, otherwise from the
            /// first acquire on.
            min_idle: count or auto = auto, 0..=pool_size;
            /// How many callers may wait at once; further callers fail at once.
            max_waiters: count or off = off, 1..=1_000_000;
            /// How many connections may be connecting at once.
            ///
            /// A connect that takes four times longer than usual, and at least 250 ms, no longer
            /// counts, so that it delays no caller while slots are free.
            max_connecting: count = 4, 1..=50;
            /// The longest pause between two failing attempts to connect (exponential, full
            /// jitter).
            backoff_max: time = 200 ms, 1 ms..=60 s;
            /// When connects have only failed for this long, new callers fail at once; if unset,
            /// after `pool_timeout`.
            ///
            /// They get the cached cause while one probe checks whether the server is back: the
            /// first caller at once, the others after up to 4 ms, so that a loop of retries without
            /// a pause does not take the core from the probe.
            fail_fast_after: time or auto = auto, 1 ms..=3600 s;
            /// How long a caller waits before a connection beyond `pool_size` is opened for it.
            ///
            /// Must be less than `pool_timeout`, since no caller waits longer.
            overflow_after: time = 0 s, 0 s..=300 s;
            /// How long a returned connection beyond `pool_size` is kept in case the burst goes on.
            overflow_linger: time = 0 s, 0 s..=3600 s;
            /// Reports a holder that has kept a connection for longer than this.
            leak_after: time or off = off, 1 ms..=86_400 s;
            /// The longest loan: after it, statements are refused, and the connection is closed on
            /// return.
            ///
            /// The holder is reported as by `leak_after`. On SQL pools the running statement ends
            /// with an error, and every later statement on the lease is refused.
            max_lease: time or off = off, 1 ms..=86_400 s;
            /// Time limit of one statement on a SQL pool, enforced by the client.
            ///
            /// The statement ends with an error, and the pool cancels it at the server at once:
            /// over an idle connection, or over one that is opened for this and, in a full pool,
            /// exceeds its limit for a moment. Pools of other managers ignore this setting.
            statement_timeout: time or off = off, 1 ms..=86_400 s;
        }
    };
}

/// Expands to the struct, its defaults, and [`SETTINGS`](crate::SETTINGS).
macro_rules! define {
    (
        []
        $(
            $(#[doc = $doc:literal])*
            $name:ident: $form:ident $(or $word:ident)? = $value:tt $($unit:ident)?
                $(, $low:literal $($low_unit:ident)?..=$high:tt $($high_unit:ident)?)?;
        )*
    ) => {
        /// How a pool behaves. Plain values: start with [`PoolConfig::default`], change fields, and
        /// hand it to a builder.
        ///
        /// ```
        /// use millpond_settings::PoolConfig;
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
            $(
                $(#[doc = $doc])*
                #[doc = ""]
                #[doc = concat!(
                    "Default ", stringify!($value $($unit)?),
                    $(
                        ", range ", stringify!($low $($low_unit)?),
                        " to ", stringify!($high $($high_unit)?),
                    )?
                    "."
                )]
                pub $name: define!(@type $form $(or $word)?),
            )*
            /// Whether the ranges of the other settings hold.
            pub limits: Limits,
        }

        impl Default for PoolConfig {
            fn default() -> Self {
                Self { $($name: define!(@value $value $($unit)?),)* limits: Limits::default() }
            }
        }

        pub(crate) static SETTINGS: &[PoolSetting] = &[
            $(
                PoolSetting {
                    name: stringify!($name),
                    docs: concat!($($doc, "\n"),*),
                    form: define!(@form $form),
                    unset: define!(@word $($word)?),
                    depends_on: define!(@depends_on $($high)?),
                    get: |config| SettingType::to_value(config.$name),
                    set: |config, value| {
                        config.$name = SettingType::from_value(value)?;
                        Some(())
                    },
                    range: define!(
                        @range
                        $(define!(@bound $low $($low_unit)?), define!(@bound $high $($high_unit)?))?
                    ),
                },
            )*
        ];
    };

    (@type count) => { u32 };
    (@type time) => { Duration };
    (@type flag) => { bool };
    (@type $form:ident or $word:ident) => { Option<define!(@type $form)> };

    (@form count) => { SettingForm::Count };
    (@form time) => { SettingForm::Time };
    (@form flag) => { SettingForm::Flag };

    (@word) => { None };
    (@word $word:ident) => { Some(stringify!($word)) };

    (@value off) => { None };
    (@value auto) => { None };
    (@value true) => { true };
    (@value $count:literal) => { $count };
    (@value $time:literal s) => { Duration::from_secs($time).into() };
    (@value $time:literal ms) => { Duration::from_millis($time).into() };

    (@range) => { None };
    (@range $low:expr, $high:expr) => { Some(($low, $high)) };

    (@bound $other:ident) => { SettingValue::Unset };
    (@bound $count:literal) => { SettingValue::Count($count) };
    (@bound $time:literal s) => { SettingValue::Time(Duration::from_secs($time)) };
    (@bound $time:literal ms) => { SettingValue::Time(Duration::from_millis($time)) };

    (@depends_on) => { None };
    (@depends_on $fixed:literal) => { None };
    (@depends_on $other:ident) => { Some(stringify!($other)) };
}
pub(crate) use define;

/// Expands to one method for each setting of a pool, for a builder with a [`PoolConfig`] in the
/// field that is named in brackets. Each method sets a field of the config and returns the builder.
#[doc(hidden)]
#[macro_export]
macro_rules! pool_setters {
    (
        $path:tt
        $(
            $(#[$docs:meta])*
            $name:ident: $form:ident $(or $word:ident)? = $value:tt $($unit:ident)?
                $(, $low:literal $($low_unit:ident)?..=$high:tt $($high_unit:ident)?)?;
        )*
    ) => {
        $($crate::pool_setters! { @setter $path $name $form $(or $word)? })*
    };
    (@setter $path:tt $name:ident count) => { $crate::pool_setters! { @method $path $name u32 } };
    (@setter $path:tt $name:ident time) => {
        $crate::pool_setters! { @method $path $name ::std::time::Duration }
    };
    (@setter $path:tt $name:ident flag) => { $crate::pool_setters! { @method $path $name bool } };
    (@setter $path:tt $name:ident count or $word:ident) => {
        $crate::pool_setters! { @method $path $name impl Into<Option<u32>> }
    };
    (@setter $path:tt $name:ident time or $word:ident) => {
        $crate::pool_setters! { @method $path $name impl Into<Option<::std::time::Duration>> }
    };
    (@method [$($field:ident).*] $name:ident $type:ty) => {
        #[doc = concat!(
            "Sets [`PoolConfig::", stringify!($name),
            "`]($crate::PoolConfig::", stringify!($name), ").",
        )]
        pub fn $name(mut self, value: $type) -> Self {
            self.$($field).*.$name = value.into();
            self
        }
    };
}
