//! The values that code may set.

use std::fmt;
use std::time::Duration;

use millpond_settings::{Limits, PoolKind, Pooler, ResetLevel};

use crate::Secret;
use crate::parse;
use crate::raw::Raw;
use crate::secret::REDACTED;

/// A value for [`Loader::set`](crate::Loader::set): a number, flag, text, [`Duration`], [`Secret`],
/// one of the enums of the settings, or an `Option` of these (`None` means "off", "auto" or unset,
/// depending on the setting).
///
/// `Debug` omits the content, which may be a secret.
#[derive(Clone, PartialEq)]
pub struct Value(pub(crate) Raw);

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self(Raw::Flag(flag))
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self(Raw::Whole(number.into()))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self(Raw::Whole(number.into()))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self(Raw::Whole(number.into()))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self(Raw::Whole(number.into()))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        // A number that does not fit is out of every range, and so is the largest one.
        Self(Raw::Whole(i128::try_from(number).unwrap_or(i128::MAX)))
    }
}

/// In seconds, where a duration is expected.
impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self(Raw::Decimal(number))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self(Raw::Text(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self(Raw::Text(text))
    }
}

impl From<Secret> for Value {
    fn from(secret: Secret) -> Self {
        secret.expose().into()
    }
}

impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        parse::format_time(time).into()
    }
}

impl From<Limits> for Value {
    fn from(limits: Limits) -> Self {
        parse::format_limits(limits).into()
    }
}

impl From<ResetLevel> for Value {
    fn from(reset: ResetLevel) -> Self {
        parse::format_reset(reset).into()
    }
}

impl From<PoolKind> for Value {
    fn from(kind: PoolKind) -> Self {
        parse::format_kind(kind).into()
    }
}

impl From<Pooler> for Value {
    fn from(pooler: Pooler) -> Self {
        parse::format_pooler(pooler).into()
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self(Raw::Unset), Into::into)
    }
}
