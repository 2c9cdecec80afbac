//! Hooks that are written for the driver's connection, made to run on ours.
//!
//! What a hook did with the connection is not seen. So after `on_first_connect`, `on_connect` and
//! `on_checkin` the backend settles the connection before anybody can get it; what `on_checkout`
//! did is verified when the connection comes back.

use crate::tracked::Tracked;
use millpond_core::{
    BoxError, ConnectionInfo, HookFuture, HookPoint, HookPoints, Hooks, async_trait,
};
use sqlx::Database;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Runs an object that is `Hooks<SqliteConnection>` (or another driver's) on tracked connections:
/// for pools built with the core's own builder. The options of the backends do it for you.
pub struct DriverHooks<DB, H> {
    hooks: H,
    backend: PhantomData<fn() -> DB>,
}

impl<DB: Database, H: Hooks<DB::Connection>> DriverHooks<DB, H> {
    /// Wraps an object.
    pub fn new(hooks: H) -> Self {
        Self { hooks, backend: PhantomData }
    }
}

impl<DB, H> fmt::Debug for DriverHooks<DB, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverHooks").finish_non_exhaustive()
    }
}

#[async_trait]
impl<DB: Database, H: Hooks<DB::Connection>> Hooks<Tracked<DB>> for DriverHooks<DB, H> {
    fn points(&self) -> HookPoints {
        self.hooks.points()
    }

    async fn on_first_connect(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.hooks.on_first_connect(conn, info).await?;
        Ok(conn.verify().await?)
    }

    async fn on_connect(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.hooks.on_connect(conn, info).await?;
        Ok(conn.verify().await?)
    }

    async fn on_checkout(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.hooks.on_checkout(conn.driver_for_hook(), info).await
    }

    async fn on_checkin(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        let escaped = conn.has_escaped();
        self.hooks.on_checkin(conn, info).await?;
        conn.verify().await?;
        // It is called at every return, which would be reset every time.
        conn.escaped = escaped;
        Ok(())
    }

    async fn on_close(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.hooks.on_close(conn, info).await
    }
}

/// A closure for one hook point, as an object.
pub(crate) struct OnePoint<F> {
    pub(crate) point: HookPoint,
    pub(crate) hook: F,
}

#[async_trait]
impl<C, F> Hooks<C> for OnePoint<F>
where
    C: Send + 'static,
    F: for<'a> Fn(&'a mut C, &'a ConnectionInfo) -> HookFuture<'a> + Send + Sync + 'static,
{
    fn points(&self) -> HookPoints {
        self.point.into()
    }

    async fn on_first_connect(&self, conn: &mut C, info: &ConnectionInfo) -> Result<(), BoxError> {
        (self.hook)(conn, info).await
    }

    async fn on_connect(&self, conn: &mut C, info: &ConnectionInfo) -> Result<(), BoxError> {
        (self.hook)(conn, info).await
    }

    async fn on_checkout(&self, conn: &mut C, info: &ConnectionInfo) -> Result<(), BoxError> {
        (self.hook)(conn, info).await
    }

    async fn on_checkin(&self, conn: &mut C, info: &ConnectionInfo) -> Result<(), BoxError> {
        (self.hook)(conn, info).await
    }

    async fn on_close(&self, conn: &mut C, info: &ConnectionInfo) -> Result<(), BoxError> {
        (self.hook)(conn, info).await
    }
}

/// The same hooks on two pools.
pub(crate) struct Shared<DB: Database>(pub(crate) Arc<dyn Hooks<Tracked<DB>>>);

#[async_trait]
impl<DB: Database> Hooks<Tracked<DB>> for Shared<DB> {
    fn points(&self) -> HookPoints {
        self.0.points()
    }

    async fn on_first_connect(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.0.on_first_connect(conn, info).await
    }

    async fn on_connect(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.0.on_connect(conn, info).await
    }

    async fn on_checkout(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.0.on_checkout(conn, info).await
    }

    async fn on_checkin(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.0.on_checkin(conn, info).await
    }

    async fn on_close(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.0.on_close(conn, info).await
    }
}
