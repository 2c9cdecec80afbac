//! What a recorder hears of pools. One module a behaviour.

mod balance;
mod cache;
mod forgetting;
mod gauges;
mod reporter;
mod spans;
mod world;
