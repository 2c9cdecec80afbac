//! The settings' words for kinds of pools, and for poolers, in each backend's terms.

use crate::backend::Backend;
#[cfg(feature = "postgres")]
use millpond_config::Pooler;
use millpond_config::{PoolKind, Refusal};

#[cfg(feature = "mysql")]
pub(crate) fn mysql(kind: PoolKind) -> Option<millpond_mysql::PoolKind> {
    match kind {
        PoolKind::Null => Some(millpond_mysql::PoolKind::Null),
        PoolKind::Queue => Some(millpond_mysql::PoolKind::Queue),
        _ => None,
    }
}

#[cfg(feature = "postgres")]
pub(crate) fn postgres(kind: PoolKind) -> Option<millpond_postgres::PoolKind> {
    match kind {
        PoolKind::Null => Some(millpond_postgres::PoolKind::Null),
        PoolKind::Queue => Some(millpond_postgres::PoolKind::Queue),
        _ => None,
    }
}

#[cfg(feature = "sqlite")]
pub(crate) fn sqlite(kind: PoolKind) -> Option<millpond_sqlite::PoolKind> {
    match kind {
        PoolKind::Null => Some(millpond_sqlite::PoolKind::Null),
        PoolKind::Queue => Some(millpond_sqlite::PoolKind::Queue),
        PoolKind::ReadWrite => Some(millpond_sqlite::PoolKind::ReadWrite),
        _ => None,
    }
}

#[cfg(feature = "postgres")]
pub(crate) fn pooler(pooler: Pooler) -> millpond_postgres::Pooler {
    match pooler {
        Pooler::PgBouncer => millpond_postgres::Pooler::PgBouncer,
        _ => millpond_postgres::Pooler::None,
    }
}

/// The refusal of a kind that a backend does not have.
pub(crate) fn unknown(kind: PoolKind, backend: Backend) -> Option<Refusal> {
    let known = match backend {
        #[cfg(feature = "mysql")]
        Backend::MySql => mysql(kind).is_some(),
        #[cfg(feature = "postgres")]
        Backend::Postgres => postgres(kind).is_some(),
        #[cfg(feature = "sqlite")]
        Backend::Sqlite => sqlite(kind).is_some(),
        // Refused as a whole.
        #[cfg(not(all(feature = "mysql", feature = "postgres", feature = "sqlite")))]
        _ => true,
    };
    (!known).then(|| Refusal {
        setting: "db.pool",
        message: format!("is not supported by {backend}"),
        help: "write `queue` or `null`, or leave it out".to_owned(),
    })
}
