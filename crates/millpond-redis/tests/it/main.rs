//! Pools over real Redis servers. One module a behaviour.

mod acl;
mod answers;
mod cancel;
mod chaos;
mod cluster_nodes;
mod conformance;
mod connecting;
mod cut_anywhere;
mod errors;
#[cfg(feature = "redis-rs")]
mod failover;
mod keepalive;
mod kinds;
mod lifetime;
mod members;
mod memory;
#[cfg(feature = "fred")]
mod messages;
mod outage;
mod permits;
mod protocol;
mod replaced_node;
mod resending;
mod resharding;
mod scripted;
mod sentinel;
mod session;
mod shared;
mod silence;
mod support;
mod transactions;
