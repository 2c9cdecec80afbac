//! The testkit from outside, one module a tool.

mod broken;
mod proxy;
mod readme;
