//! The metrics that a recorder gets. One module per behaviour.

mod balance;
mod cache;
mod forgetting;
mod gauges;
mod operate;
mod reporter;
mod spans;
mod world;
