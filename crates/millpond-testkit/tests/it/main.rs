//! Tests of the testkit's public API, one module per tool.

mod broken;
mod planted;
mod proxy;
mod readme;
