//! Settings that do not suit the backend, or each other there: found before anything is made.

use crate::backend::Backend;
use crate::kinds;
use millpond_config::{DbSettings, Pooler, Refusal};
use millpond_core::ResetLevel;

/// All of them. A setting that would have no effect is refused as well, since whoever wrote it counts on it.
pub(crate) fn unsuited(db: &DbSettings, backend: Backend) -> Vec<Refusal> {
    let kind = db.kind.and_then(|kind| kinds::unknown(kind, backend));
    kind.into_iter().chain(pooler(db, backend)).chain(cancelling(db, backend)).collect()
}

fn pooler(db: &DbSettings, backend: Backend) -> Option<Refusal> {
    if db.behind == Pooler::None {
        return None;
    }
    if backend != Backend::Postgres {
        let message = format!("is not to be had for {backend}");
        return Some(refusal("db.behind", message, "write `server`, or leave it out"));
    }
    // Hooks do not go together with it either, but they are no setting: the backend refuses them when the pool is made.
    (db.reset == ResetLevel::Session).then(|| {
        let message = "needs a session, and behind PgBouncer in transaction mode there is none".to_owned();
        refusal("db.reset", message, "write `transaction`, or connect to the server itself with db.behind = server")
    })
}

fn cancelling(db: &DbSettings, backend: Backend) -> Option<Refusal> {
    (!db.cancel_abandoned && backend == Backend::Sqlite).then(|| {
        let message = format!("is not to be had for {backend}, where what was abandoned is always interrupted");
        refusal("db.cancel_abandoned", message, "write `true`, or leave it out")
    })
}

fn refusal(setting: &'static str, message: String, way_out: &str) -> Refusal {
    Refusal { setting, message, way_out: way_out.to_owned() }
}
