//! What a [millpond](https://docs.rs/millpond) pool shows to those who observe it: events, counts,
//! holders and histograms.
//!
//! `millpond-core` re-exports everything here and fills it; a crate that only observes pools, such
//! as one for metrics or logs, needs no more than this.
//!
//! ```
//! use millpond_observe::{Event, EventContext, Observer};
//!
//! struct Leaks;
//! impl Observer for Leaks {
//!     fn observe(&self, event: &Event, context: &EventContext<'_>) {
//!         if let Event::Leaked { id, location, .. } = event {
//!             eprintln!("{}: {id} is held by {location}", context.pool);
//!         }
//!     }
//! }
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

mod connection;
mod event;
mod health;
mod histogram;
mod hook_point;
mod status;

pub use connection::{ConnectionId, ConnectionInfo};
pub use event::{
    AcquireFailure, CloseReason, ErrorClass, Event, EventContext, Interest, Observer, SharedError,
};
pub use health::{Health, Verdict};
pub use histogram::PoolHistograms;
pub use hook_point::{HookPoint, HookPoints};
pub use status::{CloseReport, Holder, Status, Totals};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
