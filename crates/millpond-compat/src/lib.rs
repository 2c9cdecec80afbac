//! Adapts managers written for bb8, deadpool and r2d2 to millpond.
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "bb8")]
mod bb8;
mod classify;
#[cfg(feature = "deadpool")]
mod deadpool;
#[cfg(feature = "r2d2")]
mod r2d2;

#[cfg(feature = "bb8")]
pub use crate::bb8::Bb8;
#[cfg(feature = "deadpool")]
pub use crate::deadpool::{Deadpool, DeadpoolError};
#[cfg(feature = "r2d2")]
pub use crate::r2d2::{InteractError, R2d2, R2d2Connection, R2d2Error};

/// Compiles the code of the page on moving to millpond.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/moving.md")]
struct Moving;
