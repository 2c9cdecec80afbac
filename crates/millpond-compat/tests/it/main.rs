//! Runs the conformance suite on published managers of bb8, deadpool and r2d2.

mod postgres;
mod r2d2_connection;
mod redis;
mod sqlite;
