//! Settings that do not suit the backend, or each other there: found before anything is made.

use crate::backend::Backend;
use millpond_config::{DbSettings, Refusal};
use millpond_core::{PoolKind, Pooler, ResetLevel};

/// All of them. A setting that would have no effect is refused as well, since its author relies on
/// it.
pub(crate) fn unsuited(db: &DbSettings, backend: Backend, hooked: bool) -> Vec<Refusal> {
    let is_behind = backend == Backend::Postgres && db.behind == Pooler::PgBouncer;
    let hooked = (hooked && is_behind).then(|| {
        let message = "does not go together with hooks: what a hook does to a session would stay \
            with a server that others use";
        let help = "remove the hooks, or connect to the server itself with db.behind = server";
        refusal("db.behind", message.to_owned(), help)
    });
    kind(db, backend)
        .into_iter()
        .chain(pooler(db, backend))
        .chain(hooked)
        .chain(cancelling(db, backend))
        .collect()
}

fn kind(db: &DbSettings, backend: Backend) -> Option<Refusal> {
    (db.kind == Some(PoolKind::ReadWrite) && backend != Backend::Sqlite).then(|| {
        let message = format!("is not supported by {backend}");
        refusal("db.pool", message, "write `queue` or `null`, or leave it out")
    })
}

fn pooler(db: &DbSettings, backend: Backend) -> Option<Refusal> {
    if db.behind == Pooler::Direct {
        return None;
    }
    if backend != Backend::Postgres {
        let message = format!("is not supported by {backend}");
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

fn cancelling(db: &DbSettings, backend: Backend) -> Option<Refusal> {
    (!db.cancel_abandoned && backend == Backend::Sqlite).then(|| {
        let message = format!(
            "is not supported by {backend}, where what was abandoned is always interrupted"
        );
        refusal("db.cancel_abandoned", message, "write `true`, or leave it out")
    })
}

fn refusal(setting: &'static str, message: String, help: &str) -> Refusal {
    Refusal { setting, message, help: help.to_owned() }
}
