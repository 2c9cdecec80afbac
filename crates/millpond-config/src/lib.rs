//! Settings for millpond: defaults, preset, file, environment and code, merged and validated, each
//! with its source.
//!
//! ```
//! use millpond_config::Settings;
//!
//! let settings = Settings::loader()
//!     .no_file() // Without this, ./millpond.toml is read if it is there.
//!     .environment([
//!         ("PSN_STORAGE_CONNECTION_STRING", "postgresql://user:pass@localhost/dbname"),
//!         ("PSN_PRESET", "production"),
//!         ("PSN_DB_POOL_TIMEOUT", "60"),
//!     ]) // Without this, the process's environment is.
//!     .set("db.pool_size", 30)
//!     .load()?;
//!
//! assert_eq!(settings.db.pool.pool_size, 30);
//! assert_eq!(settings.db.pool.max_overflow, 50);
//! assert_eq!(settings.explain().row("db.pool_size").unwrap().source, "code");
//! assert_eq!(settings.explain().row("db.max_overflow").unwrap().source, "preset `production`");
//! assert!(!settings.explain().to_string().contains("pass@"));
//! # Ok::<(), millpond_config::SettingsError>(())
//! ```
//!
//! # Layers
//!
//! Lowest first; a higher layer overrides a lower one, one setting at a time:
//!
//! 1. the defaults of [`PoolConfig`](millpond_settings::PoolConfig) and [`Settings`];
//! 2. a preset's values. Its name is itself a setting, `preset`, and comes from the file, the
//!    environment or code;
//! 3. a file, `./millpond.toml` or the one named by [`Loader::file`];
//! 4. the environment: `PSN_` and the setting in capitals, such as `PSN_DB_POOL_SIZE` for
//!    `db.pool_size`. `NAME_FILE` gives the path of a file that holds the value, as orchestrators
//!    hand out secrets;
//! 5. code: [`Loader::set`] and [`Loader::preset`].
//!
//! ```toml
//! preset = "production"      # or development, batch, small, medium, large
//! [storage]
//! connection_string = "postgresql://user@localhost/dbname"
//! [db]
//! pool_size = 20             # every field of PoolConfig stands here under its own name
//! pool_timeout = 60          # seconds, or a text with a unit: "500ms", "60s", "2m", "1h"
//! pool_recycle = "off"       # also idle_timeout, max_waiters, leak_after, max_lease and
//!                            # statement_timeout; "auto" for min_idle, fail_fast_after and pool
//! limits = "off"             # lifts the ranges
//! reset = "transaction"      # or none, session, replace
//! pool = "queue"             # or null, read-write; left out: what suits the database
//! behind = "server"          # or pgbouncer, in transaction mode
//! cancel_abandoned = true    # at the server; PostgreSQL and MySQL
//! [redis]                    # the rate limiter's pool
//! url = "redis://localhost:6379/1"
//! max_connections = 20
//! [cache]                    # the cache's pool
//! url = "redis://localhost:6379/0"
//! max_connections = 50
//! ```
//!
//! Numbers and flags (`true`, `yes`, `on`, `1` and their opposites) may be in quotes, since a
//! variable can only hold text. URLs are never parsed as numbers: `12345` stays a text. One line
//! break at the end of a value, as editors and shells add it, is removed, be it `\n`, `\r\n` or
//! `\r`. A URL is refused if it begins or ends with a space, or contains a line break or another
//! invisible character.
//!
//! # Errors
//!
//! All problems are in one [`SettingsError`]: each with its setting, value, source, what was
//! expected, and how to fix it. Unknown keys are errors; unknown variables are too if they begin
//! with a section or resemble a setting, see [`Loader::foreign`]. A value that a higher layer
//! overrides is not checked.
//!
//! A setting that has no effect beside another one is not an error but a warning in the
//! [`Explanation`].
//!
//! # Secrets
//!
//! Connection strings and URLs are a [`Secret`], which prints as `***`. No error and no explanation
//! shows one: URLs have no password and no query there, and lines of a file are never quoted.

mod changes;
mod check;
mod conflicts;
mod environment;
mod error;
mod explain;
mod file;
mod layers;
mod loader;
#[cfg(test)]
mod page;
mod parse;
mod presets;
mod raw;
mod schema;
mod secret;
mod settings;
mod suggest;
mod text;
mod value;

pub use changes::Change;
pub use error::{Refusal, SettingProblem, SettingsError};
pub use explain::{Explanation, Row};
pub use loader::{DEFAULT_FILE, Loader};
pub use parse::parse_time;
pub use presets::{Preset, presets};
pub use secret::Secret;
pub use settings::{DbSettings, RedisSettings, Settings, StorageSettings};
pub use suggest::nearest;
pub use value::Value;
