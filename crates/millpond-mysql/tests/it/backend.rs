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
pub const MANY: &str = "SELECT seq FROM seq_1_to_5000";

/// Gives its argument plus what is written behind it.
pub const PLUS: &str = "SELECT CAST(? AS SIGNED) +";

/// Whether a connection can be used on when an operation on it was cut off.
pub const SURVIVES_A_CUT: bool = false;

/// The kind of server that talks over TLS alone, and where the one is that all tests share.
pub const TLS_KIND: &str = "mariadb-tls";
pub const TLS_URL: &str = "MILLPOND_TEST_MARIADB_TLS_URL";

/// The server's number of a connection.
pub type Session = u64;

/// Gives the length of its argument in bytes.
pub const LENGTH: &str = "SELECT LENGTH(?)";
