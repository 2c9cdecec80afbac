//! The ways to real databases, each at its default settings and each over sqlx's connections.

pub mod postgres;
pub mod sqlite;
