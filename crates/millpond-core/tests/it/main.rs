//! The core from outside: one module a behaviour. Time is tokio's and paused; nothing here sleeps
//! in earnest.

mod age;
mod books;
mod cancel;
mod closing;
mod connecting;
mod custom_pool;
mod deadlines;
mod error_values;
mod fairness;
mod health;
mod hooks;
mod messages;
mod null_pool;
mod observing;
mod operations;
mod outage;
mod overflow;
mod queue;
mod refusals;
mod regressions;
mod reservations;
mod resize;
mod runtimes;
mod settings;
mod shortcuts;
mod storm;
mod support;
mod threads;
mod validation;
