//! A cache over real Redis servers. One module a behaviour.

mod clearing;
mod loading;
mod outage;
mod settings;
mod support;
mod values;
