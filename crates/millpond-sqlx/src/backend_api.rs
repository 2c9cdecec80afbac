//! The API for backend crates such as `millpond-sqlite`, `millpond-postgres` and `millpond-mysql`.
//!
//! A backend implements [`Backend`] for database-specific behaviour, and the core's `Manager` over
//! [`Tracked`](crate::Tracked) connections. Its options hold [`SqlPoolSettings`], whose setters
//! [`pool_settings!`](crate::pool_settings) writes.

pub use crate::addresses::Target;
pub use crate::argument_size::argument_size;
pub use crate::backend::{
    Backend, ErrorImpact, KnownSchema, LARGE, MayEnd, OpenTransaction, TransactionWrapper,
    Unfinished, Verified,
};
pub use crate::canceller::{CancelTransport, Canceller};
pub use crate::credentials::{Rotation, Versioned};
pub use crate::error::config_error;
pub use crate::error_class::{driver_error_class, error_impact};
pub use crate::failover::{FailoverDetector, is_failover};
pub use crate::hooks::DriverHooks;
pub use crate::operation::truncated_error;
pub use crate::pool_build::{build_server_pool, check_connects};
pub use crate::pool_handle::WeakPoolHandle;
pub use crate::server_limits::ServerLimits;
pub use crate::server_url::ServerUrl;
pub use crate::settings::SqlPoolSettings;
#[cfg(unix)]
pub use crate::socket_relay::connect_through_socket;
pub use crate::sql_text::{
    Lexer, StatementEffect, Syntax, Token, effect_of, first_keyword, is_blank, is_single, mentions,
    words,
};
pub use crate::sqlx_names::{CallbackFuture, verdict};
pub use crate::stand_in_server::{StandInClient, StandInServer};
pub use crate::statement_cache::{CacheValidity, SchemaChanges};
pub use crate::tcp_options::TcpOptions;
pub use crate::tracked::IdentityCheck;
pub use crate::transaction_state::TransactionState;
pub use crate::url_error::{UrlError, UrlForm, UrlProblem};
pub use crate::verification::{
    DRAIN_ROUNDS_MAX, forget_transactions, nonce, not_drained, out_of_sync, read_late_errors,
};
pub use millpond_url::percent_encode;
