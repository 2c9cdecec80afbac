//! The testkit from outside, one module a tool.

mod broken;
mod planted;
mod proxy;
mod readme;
