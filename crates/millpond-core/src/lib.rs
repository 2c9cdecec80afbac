//! Connection pools for anything that can be connected to. This crate knows no database.
//!
//! A [`Manager`] says how one kind of connection is opened, checked and closed; a pool lends its
//! connections: [`QueuePool`] exclusively and with overflow, [`NullPool`] without keeping any. A
//! pool that lends each connection to many at once is built on a [`Multiplexer`]. [`Hooks`] act on
//! connections at five hook points, an [`Observer`] watches everything that happens, and a pool of
//! your own implements [`Pool`].
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
//!
//! # One checkout, in the order of the files
//!
//! 1. `pools/queue.rs`: [`QueuePool::acquire`] notes the caller's line and makes an [`Acquire`].
//! 2. `engine/acquire.rs`: its first poll asks the ledger. This file holds the only loop; the steps
//!    are in `engine/checkout.rs`.
//! 3. `ledger/claim.rs`: `claim` answers with an idle connection, a position in the queue, or an
//!    error. `ledger/growth.rs` decides whether a connection is opened for the caller.
//! 4. `engine/validate.rs` checks an idle connection if a ping is due or there are hooks; a waiter
//!    sleeps until it is granted one or its timer elapses, and then `ledger/diagnosis.rs` says why.
//! 5. `engine/connect.rs`: the maintenance task (`engine/maintenance.rs`) opens connections; a new
//!    one goes to the oldest waiter.
//! 6. `lease.rs`: the borrower works, and drops the lease.
//! 7. `engine/checkin.rs`: the manager's `triage` decides: keep, reset first, or discard.
//! 8. `ledger/settle.rs`: `settle` hands it to the oldest waiter or puts it with the idle ones;
//!    else `engine/close.rs` closes it.
//!
//! No lock is held across an await, a hook, a driver's call or a connection's drop; only
//! `ledger/slots.rs` counts; only `engine/connect.rs` opens and only `engine/close.rs` closes; only
//! `rt.rs` names the runtime.

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

mod config;
mod error;
mod event;
mod histogram;
mod hooks;
mod info;
mod manager;
mod pools;
mod request;
mod status;

mod lease;

mod ledger;

mod engine;
mod rt;

#[cfg(test)]
mod proof;

#[cfg(feature = "async-trait")]
pub use async_trait::async_trait;
pub use config::conflicts::Conflict;
pub use config::table::{PoolSetting, SettingForm, SettingValue};
pub use config::{
    ConfigError, Limits, MAX_CONNECTIONS, PoolConfig, PoolKind, Pooler, Problem, ResetLevel,
    TCP_KEEPALIVE, TCP_TIMES, TCP_USER_TIMEOUT,
};
pub use engine::{Acquire, Borrower, Member, PoolParts, Share};
pub use error::{Phase, PoolError, TimedOut};
pub use event::{
    AcquireFailure, CloseReason, Event, EventContext, Interest, Observer, SharedError,
};
pub use histogram::{Histogram, PoolHistograms};
pub use hooks::{HookFuture, HookPoint, HookPoints, Hooks, RequestRefusal};
pub use info::{ConnectInfo, ConnectionId, ConnectionInfo};
pub use lease::{Lease, LeaseOwner};
pub use ledger::{LeaseMeta, PooledConnection};
pub use manager::{BoxError, ErrorClass, Manager, Triage};
pub use pools::builder::{Buildable, Builder};
pub use pools::multiplexer::Multiplexer;
pub use pools::queue::{Invalidate, NullPool, QueuePool, WeakPool};
pub use pools::reservation::Reservation;
pub use pools::{AcquireFuture, CloseFuture, DEFAULT_CLOSE_TIMEOUT, Pool, PoolExt};
pub use request::Request;
pub use rt::Handle;
#[doc(hidden)] // For backends whose commands have limits.
pub use rt::deadline_thread;
pub use status::{CloseReport, Holder, Status, Totals};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
