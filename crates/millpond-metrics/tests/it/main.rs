//! What a recorder hears of pools. One module a behaviour.

mod balance;
mod cache;
mod forgetting;
mod gauges;
mod spans;
mod thread;
mod world;
