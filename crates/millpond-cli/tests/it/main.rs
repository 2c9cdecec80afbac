//! Runs the real `millpond` binary. One module per behaviour.

mod arguments;
mod check;
mod demo;
mod interrupt;
mod run;
