//! Finds settings that the database does not support, or that contradict each other, before the
//! pool is built.

use crate::dialect::Dialect;
use millpond_config::{DbSettings, Refusal};
use millpond_core::{PoolKind, Pooler, ResetLevel};

/// Returns all unsupported settings. A setting that would have no effect is refused as well, since
/// its author relies on it.
pub(crate) fn unsupported_settings(
    db: &DbSettings,
    dialect: Dialect,
    has_postgres_hooks: bool,
) -> Vec<Refusal> {
    let is_behind = dialect == Dialect::Postgres && db.behind == Pooler::PgBouncer;
    let hooks = (has_postgres_hooks && is_behind).then(|| {
        let message = "does not go together with hooks: what a hook does to a session would stay \
            with a server that others use";
        let help = "remove the hooks, or connect to the server itself with db.behind = server";
        refusal("db.behind", message.to_owned(), help)
    });
    kind(db, dialect)
        .into_iter()
        .chain(pooler(db, dialect))
        .chain(hooks)
        .chain(cancelling(db, dialect))
        .collect()
}

fn kind(db: &DbSettings, dialect: Dialect) -> Option<Refusal> {
    (db.kind == Some(PoolKind::ReadWrite) && dialect != Dialect::Sqlite).then(|| {
        let message = format!("is not supported by {dialect}");
        refusal("db.pool", message, "write `queue` or `null`, or leave it out")
    })
}

fn pooler(db: &DbSettings, dialect: Dialect) -> Option<Refusal> {
    if db.behind == Pooler::Direct {
        return None;
    }
    if dialect != Dialect::Postgres {
        let message = format!("is not supported by {dialect}");
        return Some(refusal("db.behind", message, "write `server`, or leave it out"));
    }
    (db.behind == Pooler::PgBouncer && db.reset == ResetLevel::Session).then(|| {
        let message =
            "needs a session, and behind PgBouncer in transaction mode there is none".to_owned();
        refusal(
            "db.reset",
            message,
            "write `transaction`, or connect to the server itself with db.behind = server",
        )
    })
}

fn cancelling(db: &DbSettings, dialect: Dialect) -> Option<Refusal> {
    (!db.cancel_abandoned && dialect == Dialect::Sqlite).then(|| {
        let message = format!(
            "is not supported by {dialect}, where abandoned statements are always interrupted"
        );
        refusal("db.cancel_abandoned", message, "write `true`, or leave it out")
    })
}

fn refusal(setting: &'static str, message: String, help: &str) -> Refusal {
    Refusal { setting, message, help: help.to_owned() }
}
