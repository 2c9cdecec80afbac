//! Tests of rate limits with real Redis servers, one module per behaviour.

mod concurrency;
mod cut_anywhere;
mod keys;
mod limits;
mod outage;
mod settings;
mod support;
