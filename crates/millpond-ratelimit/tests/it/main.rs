//! Rate limits over real Redis servers. One module a behaviour.

mod concurrency;
mod cut_anywhere;
mod keys;
mod limits;
mod outage;
mod settings;
mod support;
