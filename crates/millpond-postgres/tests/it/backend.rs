//! The backend's types and helpers, under the names that the tests shared by all backends use.

pub use millpond_postgres::{
    PgConnectOptions as ConnectOptions, PgConnection as Connection, PgManager as Manager,
    PgPool as Pool, PgPoolOptions as Options, Postgres as Db,
};
pub use sqlx::PgExecutor as DbExecutor;
pub use sqlx::postgres::PgRow as Row;

/// The scheme of a URL.
pub const SCHEME: &str = "postgres";

/// Queries the name of the database.
pub const NAME_OF_THE_DATABASE: &str = "SELECT current_database()::text";

/// A query with many rows.
pub const MANY: &str = "SELECT x FROM generate_series(1::int8, 5000) AS x";

/// A query with more rows than a test can wait for, a few per millisecond.
pub const ENDLESS: &str = "SELECT generate_series(1::int8, 9000000000000), pg_sleep(0.0001)";

/// The beginning of a query that returns its argument plus the text appended to it.
pub const PLUS: &str = "SELECT $1::int8 +";

/// True if a connection can still be used after an operation on it was dropped.
pub const SURVIVES_A_CUT: bool = true;

/// Returns the kind of server that only accepts TLS.
pub fn tls_kind() -> String {
    "postgres-tls".to_owned()
}

/// Returns the URL of the TLS server that all tests share.
pub fn tls_url() -> Option<String> {
    millpond_testkit::variable("MILLPOND_TEST_POSTGRES_TLS_URL")
}

/// The server's number of a session.
pub type Session = i32;

/// Returns the length of its argument in bytes.
pub const LENGTH: &str = "SELECT octet_length($1)::int8";
