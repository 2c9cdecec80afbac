//! The pool from outside: one module a behaviour. Time is tokio's and paused; nothing here sleeps
//! in earnest.

mod cloning;
mod fairness;
mod limits;
mod loans;
mod pool;
mod refusals;
mod runtimes;
mod settings;
mod support;
mod totals;
mod turns;
