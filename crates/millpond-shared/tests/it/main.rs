//! The pool's public API: one module per behaviour. The clock is tokio's and paused, so nothing
//! really sleeps.

mod cloning;
mod fairness;
mod limits;
mod loans;
mod multiplexer;
mod pool;
mod refusals;
mod runtimes;
mod settings;
mod support;
mod totals;
mod turns;
