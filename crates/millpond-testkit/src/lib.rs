//! Test tools for authors of managers, hooks and pools.
//!
//! - [`ScriptedManager`] opens [`ScriptedConnection`]s and follows a script at each call: succeed,
//!   fail, be slow, hang, panic, or wait for a [`Gate`]. It counts connections independently of the
//!   pool, so that the pool's counters can be compared with it. It can wrap another manager and
//!   script its calls.
//! - [`ScriptedHooks`] is a [`Hooks`](millpond_core::Hooks) object under the same script.
//! - [`Trace`] is an [`Observer`](millpond_core::Observer) that writes one line of text per event.
//! - [`ChaosProxy`] sits in front of a real server and delays, splits, stalls, swallows, cuts or
//!   resets each direction separately.
//! - [`OwnServer`] is a real server for a single test, which may kill and restart it; [`variable`]
//!   returns the address of a server that all tests share.
//! - [`FakeServer`] sends what a real server does not send on demand: half a packet, "starting up",
//!   nothing.
//! - [`poll_n`], [`poll_n_woken`] and [`ByHand`] drop a future after an exact number of polls;
//!   [`cancel_sweep`] drops it after every number, for every outcome of every call of the manager.
//!   [`until`] waits for a condition.
//! - [`StillClock`] stops tokio's clock for a test with a real server: an outage of minutes is over
//!   in a moment.
//! - [`Garbler`] generates malformed text for parsers from well-formed text.
//!
//! ```
//! use millpond_core::{PoolExt, QueuePool};
//! use millpond_testkit::{Act, Call, ScriptedManager, Trace};
//!
//! # let mut runtime = tokio::runtime::Builder::new_current_thread();
//! # runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
//! let manager = ScriptedManager::new();
//! manager.next(Call::Connect, [Act::transient("connection refused")]);
//!
//! let trace = Trace::new();
//! let pool = QueuePool::builder(manager.clone()).pool_size(1).observer(trace.clone()).build()?;
//! drop(pool.acquire().await?);
//!
//! assert_eq!(manager.calls(Call::Connect), 2);
//! assert_eq!(manager.alive(), 1);
//! assert_eq!(trace.count("connect failed"), 1);
//! assert_eq!(trace.count("connected"), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod act;
mod cancel_sweep;
#[doc(hidden)]
pub mod conformance;
mod connection;
mod environment;
mod fake;
mod flow;
mod garble;
mod gate;
mod hooks;
mod link;
mod manager;
mod own_server;
mod patience;
mod poll;
mod proxy;
mod recorder;
mod still_clock;
mod trace;

pub use act::{Act, Call, ScriptedError};
pub use cancel_sweep::{Cut, CutCase, cancel_sweep};
pub use conformance::{Capability, Fixture, Mark, Plan, PoolUnderTest, Refusals, Served};
pub use connection::ScriptedConnection;
pub use environment::variable;
pub use fake::{FakeServer, ServerStep, mysql_error, mysql_greeting, postgres_error};
pub use flow::{Direction, Flow, NetworkFault};
pub use garble::Garbler;
pub use gate::Gate;
pub use hooks::ScriptedHooks;
pub use link::Link;
pub use manager::{Nowhere, ScriptedManager};
#[doc(hidden)]
pub use millpond_core as core;
pub use own_server::OwnServer;
pub use patience::until;
pub use poll::{ByHand, poll_n, poll_n_woken};
pub use proxy::ChaosProxy;
pub use recorder::Attempt;
pub use still_clock::StillClock;
pub use trace::Trace;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
