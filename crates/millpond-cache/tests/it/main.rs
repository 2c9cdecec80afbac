//! Tests of the cache with real Redis servers, one module per behaviour.

mod acl;
mod clearing;
mod cluster;
mod cut_anywhere;
mod loading;
mod nested;
mod other_runtimes;
mod outage;
mod past_time;
mod refused_writes;
mod settings;
mod support;
mod values;
