//! The ways to real databases, each at its default settings; those to SQL over sqlx's connections.

pub mod postgres;
pub mod redis;
pub mod sqlite;
