//! The testkit from outside, one module a tool.

mod proxy;
