//! A cache over real Redis servers. One module a behaviour.

mod clearing;
mod cut_anywhere;
mod loading;
mod outage;
mod settings;
mod support;
mod values;
