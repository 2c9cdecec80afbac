//! The services for real databases, each with default settings; all SQL services use sqlx's
//! connections.

pub mod postgres;
pub mod redis;
pub mod sqlite;
