//! Published managers of bb8, deadpool and r2d2 keep what the conformance suite asks of every
//! manager.

mod postgres;
mod r2d2_connection;
mod redis;
mod sqlite;
