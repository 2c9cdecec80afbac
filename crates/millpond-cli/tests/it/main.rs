//! Runs the real `millpond` binary. One module per behaviour.

mod arguments;
mod check;
mod demo;
mod deployment;
mod diff;
mod doctor;
mod interrupt;
mod load;
mod presets;
mod run;
mod shell;
