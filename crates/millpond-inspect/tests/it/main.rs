//! The tests of millpond-inspect, one module per subject.

mod browser;
mod routes;
