//! Connection pools for anything that can be connected to. This crate knows no database.

mod builder;
mod call;
mod checkin;
mod checkout;
mod close;
mod config;
mod connect;
mod demand;
mod error;
mod event;
mod hooks;
mod info;
mod keeper;
mod lease;
mod ledger;
mod manager;
mod pool;
mod queue;
mod queue_pool;
mod rt;
mod shared;
mod shutdown;
mod slots;
mod status;
mod sweep;
mod sync;
mod time;

pub use async_trait::async_trait;
#[doc(hidden)]
pub use builder::Parts;
pub use builder::{Buildable, Builder};
pub use checkout::Acquire;
pub use config::{ConfigError, Limits, PLACES_MAX, PoolConfig, Problem, ResetLevel};
pub use error::{Phase, PoolError, TimedOut};
pub use event::{AcquireFailure, CloseReason, Event, Observer, SharedError, Stamp};
pub use hooks::{HookFuture, Hooks, Moment, Moments};
pub use info::{ConnectInfo, ConnectionId, ConnectionInfo};
pub use lease::{Held, Home, Lease, Tag};
pub use manager::{BoxError, Fault, Manager, Triage};
pub use pool::{AcquireFuture, CLOSE_LIMIT, Pool, PoolExt, Request};
pub use queue_pool::{Invalidate, NullPool, QueuePool};
pub use rt::Handle;
pub use status::{CloseReport, Holder, Status, Totals};
