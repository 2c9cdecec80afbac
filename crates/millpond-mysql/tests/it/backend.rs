//! The backend by the names that the tests have for it which all backends share.

pub use millpond_mysql::{
    MySql as Db, MySqlConnectOptions as ConnectOptions, MySqlConnection as Connection,
    MySqlManager as Manager, MySqlPool as Pool, MySqlPoolOptions as Options,
};
pub use sqlx::MySqlExecutor as DbExecutor;
pub use sqlx::mysql::MySqlRow as Row;

/// The scheme of a URL.
pub const SCHEME: &str = "mysql";

/// Asks for the name of the database.
pub const NAME_OF_THE_DATABASE: &str = "SELECT DATABASE()";

/// Has many rows.
pub const MANY: &str = "WITH RECURSIVE n(i) AS \
    (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99) \
    SELECT CAST(1 + b.i + 100 * a.i AS UNSIGNED) FROM n a JOIN n b WHERE a.i < 50 ORDER BY 1";

/// Has more rows than anybody waits for, a few in a millisecond.
pub const ENDLESS: &str = "WITH RECURSIVE n(i) AS \
    (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99) \
    SELECT SLEEP(0.0001) FROM n a JOIN n b JOIN n c JOIN n d JOIN n e";

/// Gives its argument plus what is written behind it.
pub const PLUS: &str = "SELECT CAST(? AS SIGNED) +";

/// Whether a connection can be used on when an operation on it was cut off.
pub const SURVIVES_A_CUT: bool = false;

/// The kind of server that talks over TLS alone.
pub use crate::support::tls_kind;

/// Where the one is that all tests share.
pub fn tls_url() -> Option<String> {
    crate::support::server_variable("TLS_URL")
}

/// The server's number of a connection.
pub type Session = u64;

/// Gives the length of its argument in bytes.
pub const LENGTH: &str = "SELECT LENGTH(?)";
