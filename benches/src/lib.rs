//! What the benchmarks share: a manager whose connections cost nothing, so that only the pool is measured.

use millpond_core::{ConnectInfo, Manager};
use std::convert::Infallible;

/// Opens connections that are numbers, at no cost.
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
