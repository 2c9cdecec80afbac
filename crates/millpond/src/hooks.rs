//! Hooks that do not name a database: they get the connection as what all databases have in common.

use crate::any_conversion::Bridge;
use crate::link::AnyConnection;
use millpond_core::{
    BoxError, ConnectionInfo, HookFuture, HookPoint, HookPoints, Hooks, async_trait,
};
use millpond_sqlx::Tracked;
use sqlx::Executor;
use std::sync::Arc;

/// What a hook acts on.
type Connection<'a> = &'a mut (dyn AnyConnection + 'static);

type Closure = dyn for<'a> Fn(Connection<'a>, &'a ConnectionInfo) -> HookFuture<'a> + Send + Sync;

/// A closure for one moment.
#[derive(Clone)]
pub(crate) struct AnyHook {
    pub(crate) point: HookPoint,
    pub(crate) hook: Arc<Closure>,
}

/// After a hook has had a connection that nobody has borrowed, its backend verifies that nothing is
/// open on it.
#[async_trait]
impl<DB: Bridge> Hooks<Tracked<DB>> for AnyHook
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    fn points(&self) -> HookPoints {
        self.point.into()
    }

    async fn on_first_connect(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        (self.hook)(conn, info).await?;
        Ok(conn.after_hook(HookPoint::FirstConnect).await?)
    }

    async fn on_connect(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        (self.hook)(conn, info).await?;
        Ok(conn.after_hook(HookPoint::Connect).await?)
    }

    async fn on_checkout(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        (self.hook)(conn, info).await?;
        Ok(conn.after_hook(HookPoint::Checkout).await?)
    }

    async fn on_checkin(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        (self.hook)(conn, info).await?;
        Ok(conn.after_hook(HookPoint::Checkin).await?)
    }

    async fn on_close(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        (self.hook)(conn, info).await
    }
}
