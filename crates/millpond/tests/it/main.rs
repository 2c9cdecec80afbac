//! `DatabaseConnection` as its users meet it, on SQLite. One module a behaviour.

mod borrowing;
mod columns;
mod hooks;
mod placeholders;
mod queries;
mod readme;
mod settings;
mod timeouts;
mod transactions;
mod world;
