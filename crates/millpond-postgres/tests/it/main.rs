//! What a user of millpond-postgres sees, against a real server. One module per behaviour.

mod backend;
mod cancelling;
mod conformance;
mod errors;
mod failed_transactions;
mod failover;
mod hooks;
mod limits;
mod listen;
mod macros;
mod pgbouncer;
mod pooler_detection;
mod reset;
mod rotation;
mod schema_changes;
mod schemas;
mod service;
#[cfg(unix)]
mod simulator;
mod support;
mod sync;
mod texts;
mod tls;

// Tests that all backends share.
#[path = "../../../millpond-sqlx/tests/shared/acquire_begin.rs"]
mod acquire_begin;
#[path = "../../../millpond-sqlx/tests/shared/borrowed_transactions.rs"]
mod borrowed_transactions;
#[path = "../../../millpond-sqlx/tests/shared/cancel.rs"]
mod cancel;
#[path = "../../../millpond-sqlx/tests/shared/certificates.rs"]
mod certificates;
#[path = "../../../millpond-sqlx/tests/shared/cut_anywhere.rs"]
mod cut_anywhere;
#[path = "../../../millpond-sqlx/tests/shared/fed_by_sqlx.rs"]
mod fed_by_sqlx;
#[cfg(target_os = "linux")]
#[path = "../../../millpond-sqlx/tests/shared/keepalive.rs"]
mod keepalive;
#[path = "../../../millpond-sqlx/tests/shared/kept_leases.rs"]
mod kept_leases;
#[path = "../../../millpond-sqlx/tests/shared/leases.rs"]
mod leases;
#[path = "../../../millpond-sqlx/tests/shared/lost.rs"]
mod lost;
#[path = "../../../millpond-sqlx/tests/shared/memory.rs"]
mod memory;
#[path = "../../../millpond-sqlx/tests/shared/migrations.rs"]
mod migrations;
#[path = "../../../millpond-sqlx/tests/shared/ponds.rs"]
mod ponds;
#[path = "../../../millpond-sqlx/tests/shared/refusals.rs"]
mod refusals;
#[path = "../../../millpond-sqlx/tests/shared/request_refusals.rs"]
mod request_refusals;
#[path = "../../../millpond-sqlx/tests/shared/secrets.rs"]
mod secrets;
#[path = "../../../millpond-sqlx/tests/shared/texts.rs"]
mod shared_texts;
#[path = "../../../millpond-sqlx/tests/shared/sqlx_names.rs"]
mod sqlx_names;
#[path = "../../../millpond-sqlx/tests/shared/sqlx_pool.rs"]
mod sqlx_pool;
#[path = "../../../millpond-sqlx/tests/shared/time_limits.rs"]
mod time_limits;
#[path = "../../../millpond-sqlx/tests/shared/transaction_texts.rs"]
mod transaction_texts;
#[path = "../../../millpond-sqlx/tests/shared/transactions.rs"]
mod transactions;
