//! The `millpond` binary, run for real. One module a behaviour.

mod arguments;
mod check;
mod demo;
mod interrupt;
mod run;
