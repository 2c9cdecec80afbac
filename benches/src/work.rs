//! The measurements of the race.

pub mod alone;
pub mod crowd;
pub mod growth;
pub mod spike;

use tokio::runtime::{Builder, Runtime};

/// Creates a runtime with this many workers; with one, the thread that blocks on it is the worker.
pub fn runtime(workers: usize) -> Runtime {
    let mut builder =
        if workers == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.worker_threads(workers).enable_all().build().expect("a runtime")
}
