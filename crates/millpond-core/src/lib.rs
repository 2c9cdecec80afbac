//! Connection pools for anything that can be connected to. This crate knows no database.
//!
//! A [`Manager`] says how one kind of connection is opened, checked and closed; a pool lends its
//! connections: [`QueuePool`] exclusively and with overflow, [`NullPool`] without keeping any.
//! `SharedPool` of the crate `millpond-shared` lends each to many borrowers at once. [`Hooks`] act
//! on connections at five hook points, an [`Observer`] sees everything that happens, and a custom
//! pool implements [`Pool`].
//!
//! ```
//! use millpond_core::{ConnectInfo, Manager, QueuePool};
//!
//! struct Echo;
//! impl Manager for Echo {
//!     type Connection = String;
//!     type Error = std::io::Error;
//!     async fn connect(&self, _: &ConnectInfo) -> std::io::Result<String> {
//!         Ok("hello".into())
//!     }
//!     async fn ping(&self, _: &mut String) -> std::io::Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let pool = QueuePool::builder(Echo).build()?;
//! assert_eq!(*pool.acquire().await?, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]
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

#[macro_use]
mod macros;

mod error;
mod hooks;
mod manager;
mod pools;
mod request;

mod lease;

mod ledger;

mod engine;

#[cfg(test)]
mod proof;

use millpond_runtime as rt;

#[cfg(feature = "async-trait")]
pub use async_trait::async_trait;
pub use engine::{Acquire, PoolParts};
pub use error::{Phase, PoolError, TimedOut};
pub use hooks::{BoxError, HookFuture, Hooks, RequestRefusal};
pub use lease::{Lease, LeaseOwner};
#[doc(hidden)] // For `millpond-shared`.
pub use ledger::WaitOutcome;
pub use ledger::{LeaseMeta, PooledConnection};
pub use manager::{ConnectInfo, Manager, Triage};
#[doc(inline)]
pub use millpond_observe::{
    AcquireFailure, CloseReason, CloseReport, ConnectionId, ConnectionInfo, ErrorClass, Event,
    EventContext, Health, Holder, HookPoint, HookPoints, Interest, Observer, PoolHistograms,
    SharedError, Status, Totals, Verdict,
};
#[doc(inline)]
pub use millpond_settings::{
    ConfigError, Conflict, Limits, MAX_CONNECTIONS, PoolConfig, PoolKind, PoolSetting, Pooler,
    Problem, ResetLevel, SettingForm, SettingValue, TCP_KEEPALIVE, TCP_TIMES, TCP_USER_TIMEOUT,
};
#[doc(hidden)] // For the builders of pools.
pub use millpond_settings::{pool_setters, with_pool_settings};
pub use pools::builder::{Buildable, Builder};
pub use pools::queue::{Invalidate, NullPool, QueuePool, WeakPool};
pub use pools::reservation::Reservation;
#[doc(hidden)] // For `millpond-shared`.
pub use pools::shares::Shares;
pub use pools::{AcquireFuture, CloseFuture, DEFAULT_CLOSE_TIMEOUT, Pool, PoolExt};
pub use request::Request;
#[doc(hidden)] // For backends and observers.
pub use rt::catch_panic;
#[doc(inline)]
pub use rt::{Handle, Histogram};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
