//! The backend by the names that the tests have for it which all backends share.

pub use millpond_postgres::{
    PgConnectOptions as ConnectOptions, PgConnection as Connection, PgManager as Manager,
    PgPool as Pool, PgPoolOptions as Options, Postgres as Db,
};
pub use sqlx::PgExecutor as DbExecutor;
pub use sqlx::postgres::PgRow as Row;

/// The scheme of a URL.
pub const SCHEME: &str = "postgres";

/// Asks for the name of the database.
pub const NAME_OF_THE_DATABASE: &str = "SELECT current_database()::text";

/// Has many rows.
pub const MANY: &str = "SELECT x FROM generate_series(1::int8, 5000) AS x";

/// Has more rows than anybody waits for, a few in a millisecond.
pub const ENDLESS: &str = "SELECT generate_series(1::int8, 9000000000000), pg_sleep(0.0001)";

/// Gives its argument plus what is written behind it.
pub const PLUS: &str = "SELECT $1::int8 +";

/// Whether a connection can be used on when an operation on it was cut off.
pub const SURVIVES_A_CUT: bool = true;

/// The kind of server that talks over TLS alone.
pub fn tls_kind() -> String {
    "postgres-tls".to_owned()
}

/// Where the one is that all tests share.
pub fn tls_url() -> Option<String> {
    millpond_testkit::variable("MILLPOND_TEST_POSTGRES_TLS_URL")
}

/// The server's number of a connection.
pub type Session = i32;

/// Gives the length of its argument in bytes.
pub const LENGTH: &str = "SELECT octet_length($1)::int8";
