//! Advice about pools: their size by Little's law and Erlang's formula, their deployment against a
//! server's limits, and settings that are risky.
//!
//! This crate connects to nothing and reads no clock. It computes with what a pool measures and
//! what a server says, and answers in [`Finding`]s: sentences with the numbers in them.
//!
//! ```
//! use millpond_advice::{Load, Usage, WaitTarget, advise};
//! use millpond_settings::PoolConfig;
//! use std::time::Duration;
//!
//! let load = Load::new(200.0, Duration::from_millis(40));
//! let target = WaitTarget::p99(Duration::from_millis(5));
//! let advice = advise(&PoolConfig::default(), &load, target, Usage::default());
//! assert_eq!(advice.size, Some(15));
//! assert!(advice.findings[0].message.contains("200 acquires a second"));
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod advice;
mod deployment;
mod erlang;
mod finding;
mod load;
mod risks;

pub use advice::{Advice, Usage, advise, guide_max_overflow, guide_pool_size};
pub use deployment::{Deployment, ServerLimit};
pub use erlang::probability_of_waiting;
pub use finding::{Finding, Severity};
pub use load::{Load, SIZE_MAX, WaitTarget};
pub use risks::{Database, risks};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
