//! Pools over real Redis servers. One module a behaviour.

mod cancel;
mod chaos;
mod conformance;
mod errors;
mod exhaustion;
mod kinds;
mod lifetime;
mod messages;
mod outage;
mod private;
mod resharding;
mod session;
mod shared;
mod support;
mod transactions;
