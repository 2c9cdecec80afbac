//! Hooks that follow a manager's script.

use crate::act::Call;
use crate::connection::ScriptedConnection;
use crate::recorder::Recorder;
use millpond_core::{BoxError, ConnectionInfo, HookPoint, HookPoints, Hooks, async_trait};
use std::sync::Arc;

/// Hooks that follow their manager's script for [`Call::Hook`]. Created by
/// [`ScriptedManager::hooks`](crate::ScriptedManager::hooks).
#[derive(Debug, Clone)]
pub struct ScriptedHooks {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) points: HookPoints,
}

impl ScriptedHooks {
    async fn act(&self, point: HookPoint, id: u64) -> Result<(), BoxError> {
        let call = Call::Hook(point);
        let (act, _running) = self.recorder.begin(call, id);
        act.perform(call).await.map_err(BoxError::from)
    }
}

#[async_trait]
impl<C: Send + 'static> Hooks<ScriptedConnection<C>> for ScriptedHooks {
    fn points(&self) -> HookPoints {
        self.points
    }

    async fn on_first_connect(
        &self,
        conn: &mut ScriptedConnection<C>,
        _: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.act(HookPoint::FirstConnect, conn.id()).await
    }

    async fn on_connect(
        &self,
        conn: &mut ScriptedConnection<C>,
        _: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.act(HookPoint::Connect, conn.id()).await
    }

    async fn on_checkout(
        &self,
        conn: &mut ScriptedConnection<C>,
        _: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.act(HookPoint::Checkout, conn.id()).await
    }

    async fn on_checkin(
        &self,
        conn: &mut ScriptedConnection<C>,
        _: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.act(HookPoint::Checkin, conn.id()).await
    }

    async fn on_close(
        &self,
        conn: &mut ScriptedConnection<C>,
        _: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        self.act(HookPoint::Close, conn.id()).await
    }
}
