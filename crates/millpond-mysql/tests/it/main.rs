//! What a user of millpond-mysql sees, against a real server. One module a behaviour.

mod cancel;
mod cancelling;
mod errors;
mod hooks;
mod in_step;
mod reset;
mod secrets;
mod service;
mod support;
mod tls;
mod transactions;
