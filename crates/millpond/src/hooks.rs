//! Hooks that work with every database.

use crate::any_connection::AnyConnection;
use crate::any_conversion::AnyConversion;
use millpond_core::{ConnectionInfo, HookFuture, HookPoint};
use millpond_sqlx::backend_api::SqlPoolSettings;
use sqlx::Executor;
use std::sync::Arc;

/// The connection that a hook gets.
type Connection<'a> = &'a mut (dyn AnyConnection + 'static);

type Closure = dyn for<'a> Fn(Connection<'a>, &'a ConnectionInfo) -> HookFuture<'a> + Send + Sync;

/// A hook for one hook point.
#[derive(Clone)]
pub(crate) struct AnyHook {
    pub(crate) point: HookPoint,
    pub(crate) hook: Arc<Closure>,
}

impl AnyHook {
    /// Adds the hook to the settings of a backend, which verifies after each call that no
    /// transaction was left open.
    pub(crate) fn add_to<DB: AnyConversion>(self, settings: &mut SqlPoolSettings<DB>)
    where
        for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    {
        let Self { point, hook } = self;
        settings.add_tracked_hook(point, move |conn, info| {
            let hook = Arc::clone(&hook);
            Box::pin(async move {
                hook(conn, info).await?;
                Ok(conn.after_hook(point).await?)
            })
        });
    }
}
