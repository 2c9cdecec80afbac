//! What a user of millpond-mysql sees, against a real server. One module a behaviour.

mod cancel;
mod cancelling;
mod conformance;
mod cut_anywhere;
mod errors;
mod fed_by_sqlx;
mod hooks;
mod in_step;
mod limits;
mod macros;
mod reset;
mod rotation;
mod secrets;
mod service;
mod support;
mod tls;
mod transactions;
