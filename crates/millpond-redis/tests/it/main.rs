//! Pools over real Redis servers. One module a behaviour.

mod cancel;
mod errors;
mod exhaustion;
mod kinds;
mod lifetime;
mod messages;
mod outage;
mod private;
mod session;
mod shared;
mod support;
mod transactions;
