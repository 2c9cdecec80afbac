//! The pools of the race, each with its best fair settings, and all over the same connections.

mod baseline;
mod bb8;
mod deadpool;
mod millpond;
mod mobc;
mod r2d2;
mod sqlx;

pub(crate) use self::baseline::Baseline;
pub(crate) use self::bb8::Bb8;
pub(crate) use self::deadpool::Deadpool;
pub(crate) use self::millpond::{Metered, Millpond, Observed};
pub(crate) use self::mobc::Mobc;
pub(crate) use self::r2d2::R2d2;
pub(crate) use self::sqlx::Sqlx;
