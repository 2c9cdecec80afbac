//! The backend's types and helpers, under the names that the tests shared by all backends use.

pub use millpond_mysql::{
    MySql as Db, MySqlConnectOptions as ConnectOptions, MySqlConnection as Connection,
    MySqlManager as Manager, MySqlPool as Pool, MySqlPoolOptions as Options,
};
pub use sqlx::MySqlExecutor as DbExecutor;
pub use sqlx::mysql::MySqlRow as Row;

/// The scheme of a URL.
pub const SCHEME: &str = "mysql";

/// Queries the name of the database.
pub const NAME_OF_THE_DATABASE: &str = "SELECT DATABASE()";

/// A query with many rows.
pub const MANY: &str = "WITH RECURSIVE n(i) AS \
    (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99) \
    SELECT CAST(1 + b.i + 100 * a.i AS UNSIGNED) FROM n a JOIN n b WHERE a.i < 50 ORDER BY 1";

/// A query with more rows than a test can wait for, a few per millisecond.
pub const ENDLESS: &str = "WITH RECURSIVE n(i) AS \
    (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99) \
    SELECT SLEEP(0.0001) FROM n a JOIN n b JOIN n c JOIN n d JOIN n e";

/// The beginning of a query that returns its argument plus the text appended to it.
pub const PLUS: &str = "SELECT CAST(? AS SIGNED) +";

/// True if a connection can still be used after an operation on it was dropped.
pub const SURVIVES_A_CUT: bool = false;

/// The kind of server that only accepts TLS.
pub use crate::support::tls_kind;

/// Returns the URL of the TLS server that all tests share.
pub fn tls_url() -> Option<String> {
    crate::support::server_variable("TLS_URL")
}

/// The server's number of a session.
pub type Session = u64;

/// Returns the length of its argument in bytes.
pub const LENGTH: &str = "SELECT LENGTH(?)";
