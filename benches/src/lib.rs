//! Shared code of the benchmarks: connections that cost nothing, so that only the pool is measured,
//! and the race between the pools.
//!
//! - [`NoOp`], [`filled`] and [`tasks`] are for the benches of millpond alone, under `benches/`.
//! - [`books`] has the connections of the race, [`competitor`] the trait of its pools, `pools` the
//!   seven implementations, [`entrant`] their list.
//! - [`gate`] decides which pools may start, [`race`] runs a [`competitor::Work`] over all pools in
//!   turn, [`work`] has the measurements.
//! - [`service`] has the race over real databases, [`services`] its participants.
//! - [`promises`] has the scenarios with failures.
//! - `src/bin/report` is run by `cargo xtask rivals`; it runs `src/bin/rivals.rs`,
//!   `src/bin/rivals_memory.rs` and `src/bin/rivals_servers.rs`, and has rows, goals and pages.

pub mod books;
pub mod competitor;
pub mod entrant;
pub mod gate;
pub mod parked_waiters;
pub mod promises;
pub mod race;
pub mod service;
pub mod services;
pub mod tasks;
pub mod work;

mod pools;

use millpond_core::{ConnectInfo, Manager, QueuePool};
use std::convert::Infallible;

/// A manager whose connections are numbers and cost nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOp;

impl Manager for NoOp {
    type Connection = u64;
    type Error = Infallible;

    async fn connect(&self, info: &ConnectInfo) -> Result<u64, Infallible> {
        Ok(info.id.get())
    }

    async fn ping(&self, _: &mut u64) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Builds a pool of this many connections with default settings and no overflow, and opens all of
/// them.
pub async fn filled(places: u32) -> QueuePool<NoOp> {
    let mut builder = QueuePool::builder(NoOp).pool_size(places).max_overflow(0);
    if places > 50 {
        builder = builder.limits(millpond_core::Limits::Off);
    }
    let pool = builder.build().expect("the settings are in range");
    pool.prewarm(places).await.expect("opening costs nothing and cannot fail");
    pool
}
