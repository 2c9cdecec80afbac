//! Runs hooks that are written for the driver's connection on tracked connections.
//!
//! What a hook does with the driver's connection is not tracked. So after `on_first_connect`,
//! `on_connect` and `on_checkin` the backend verifies the connection before it is lent. After
//! `on_checkout` only an open transaction is checked; the rest is verified on return.

use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use crate::transaction_state::TransactionState;
use futures_util::lock::Mutex;
use millpond_core::{
    BoxError, ConnectionInfo, HookFuture, HookPoint, HookPoints, Hooks, async_trait,
};
use sqlx::{Database, Error};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Runs `Hooks<SqliteConnection>` (or another driver's) on tracked connections, for pools built
/// with the core's builder. The backends' options do this for you.
pub struct DriverHooks<DB, H> {
    hooks: H,
    backend: PhantomData<fn() -> DB>,
}

impl<DB: Database, H: Hooks<DB::Connection>> DriverHooks<DB, H> {
    /// Wraps hooks for the driver's connection.
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
        Ok(conn.after_hook(HookPoint::FirstConnect).await?)
    }

    async fn on_connect(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.hooks.on_connect(conn, info).await?;
        Ok(conn.after_hook(HookPoint::Connect).await?)
    }

    async fn on_checkout(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.hooks.on_checkout(conn.driver_for_hook(), info).await?;
        Ok(conn.after_hook(HookPoint::Checkout).await?)
    }

    async fn on_checkin(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        let may_hold_locks = conn.may_hold_locks();
        self.hooks.on_checkin(conn, info).await?;
        conn.after_hook(HookPoint::Checkin).await?;
        // The hook runs at every return; without this every return would be followed by a reset.
        conn.may_hold_locks = may_hold_locks;
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

/// The error after an `on_checkout` hook that leaves a transaction open.
const LEFT_OPEN: &str = "an on_checkout hook left a transaction open, in which everything that the \
                         borrower does would be rolled back: end it in the hook";

impl<DB: Database> Tracked<DB> {
    /// Verifies the connection after a hook has used it, for hooks that are not added by a
    /// backend's options. After `on_checkout` only an open transaction is checked; the rest is
    /// verified on return.
    ///
    /// # Errors
    ///
    /// An error if a transaction is open; the driver's.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection counts as interrupted.
    pub async fn after_hook(&mut self, point: HookPoint) -> Result<(), Error> {
        match point {
            HookPoint::FirstConnect | HookPoint::Connect | HookPoint::Checkin => {
                self.verify().await
            }
            HookPoint::Checkout if self.sync_state() != SyncState::Clean => {
                let backend = self.backend();
                let (conn, guard) = self.begin_operation(SyncState::Clean);
                let (state, settings) = guard.track(backend.state_after_hook(conn)).await?;
                self.cache.set_parse_settings(settings);
                match state {
                    TransactionState::None => Ok(()),
                    _ => Err(Error::Configuration(LEFT_OPEN.into())),
                }
            }
            _ => Ok(()),
        }
    }
}

/// A closure for one hook point, as [`Hooks`].
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

/// Hooks as a pool calls them: those for new connections only on new connections, and
/// `on_first_connect` once for two pools of one database.
pub(crate) struct Attached<DB: Database> {
    hooks: Arc<dyn Hooks<Tracked<DB>>>,
    /// Whether one of the two pools has called `on_first_connect`. Locked during the call.
    first_done: Option<Arc<Mutex<bool>>>,
}

impl<DB: Database> Attached<DB> {
    pub(crate) fn new(hooks: impl Hooks<Tracked<DB>>) -> Self {
        Self { hooks: Arc::new(hooks), first_done: None }
    }

    /// Makes all clones made from now on call `on_first_connect` once in total.
    pub(crate) fn share_first_connect(&mut self) {
        self.first_done = Some(Arc::default());
    }

    pub(crate) fn points(&self) -> HookPoints {
        self.hooks.points()
    }
}

impl<DB: Database> Clone for Attached<DB> {
    fn clone(&self) -> Self {
        Self { hooks: Arc::clone(&self.hooks), first_done: self.first_done.clone() }
    }
}

#[async_trait]
impl<DB: Database> Hooks<Tracked<DB>> for Attached<DB> {
    fn points(&self) -> HookPoints {
        self.hooks.points()
    }

    async fn on_first_connect(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        if conn.hooks_done {
            return Ok(());
        }
        let Some(first_done) = &self.first_done else {
            return self.hooks.on_first_connect(conn, info).await;
        };
        let mut is_done = first_done.lock().await;
        if !*is_done {
            self.hooks.on_first_connect(conn, info).await?;
            *is_done = true;
        }
        Ok(())
    }

    async fn on_connect(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        if conn.hooks_done { Ok(()) } else { self.hooks.on_connect(conn, info).await }
    }

    async fn on_checkout(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.hooks.on_checkout(conn, info).await
    }

    async fn on_checkin(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.hooks.on_checkin(conn, info).await
    }

    async fn on_close(
        &self,
        conn: &mut Tracked<DB>,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.hooks.on_close(conn, info).await
    }
}
