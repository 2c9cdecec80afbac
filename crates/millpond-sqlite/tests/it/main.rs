//! What a user of millpond-sqlite sees, against real SQLite files. One module per behaviour.

mod backend;
mod cancel;
mod conformance;
mod customs;
mod errors;
mod files;
mod hooks;
mod kinds;
mod lost;
mod memory;
mod migrations;
mod pragmas;
mod random_transactions;
mod read_write;
mod reset;
mod schema_changes;
mod schema_in_transactions;
mod service;
mod sqlx_pool_connections;
mod support;
mod sync;
mod texts;
mod transactions;
mod urls;

// Tests that all backends share.
#[path = "../../../millpond-sqlx/tests/shared/acquire_begin.rs"]
mod acquire_begin;
#[path = "../../../millpond-sqlx/tests/shared/ponds.rs"]
mod ponds;
#[path = "../../../millpond-sqlx/tests/shared/request_refusals.rs"]
mod request_refusals;
#[path = "../../../millpond-sqlx/tests/shared/texts.rs"]
mod shared_texts;
#[path = "../../../millpond-sqlx/tests/shared/sqlx_names.rs"]
mod sqlx_names;
#[path = "../../../millpond-sqlx/tests/shared/sqlx_pool.rs"]
mod sqlx_pool;
#[path = "../../../millpond-sqlx/tests/shared/transaction_texts.rs"]
mod transaction_texts;
