//! What a user of millpond-postgres sees, against a real server. One module a behaviour.

mod cancel;
mod cancelling;
mod conformance;
mod errors;
mod failover;
mod hooks;
mod in_step;
mod limits;
mod pgbouncer;
mod private;
mod reset;
mod rotation;
mod secrets;
mod service;
mod support;
mod tls;
mod transactions;
