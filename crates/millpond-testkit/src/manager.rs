//! A manager that follows a script.

use crate::act::{Act, Call, ScriptedError};
use crate::connection::ScriptedConnection;
use crate::hooks::ScriptedHooks;
use crate::recorder::{Attempt, Recorder, Socket};
use millpond_core::{ConnectInfo, ErrorClass, HookPoints, Manager, Triage};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use tokio::time::Instant;

/// A manager that follows a script and then calls another manager, by default [`Nowhere`], which
/// opens nothing. Clones share one script and one set of counters: pass one to the pool and keep
/// one.
///
/// Every call performs the first act queued for it with [`next`](Self::next), else the act set with
/// [`always`](Self::always); a new manager succeeds at once. An act that fails or hangs skips the
/// call of the other manager.
pub struct ScriptedManager<M = Nowhere> {
    recorder: Arc<Recorder>,
    real: Arc<M>,
}

/// A manager of connections to nothing; it cannot fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Nowhere;

impl Manager for Nowhere {
    type Connection = ();
    type Error = Infallible;

    async fn connect(&self, _: &ConnectInfo) -> Result<(), Infallible> {
        Ok(())
    }

    async fn ping(&self, (): &mut ()) -> Result<(), Infallible> {
        Ok(())
    }
}

impl ScriptedManager {
    /// Creates a manager whose every call succeeds at once.
    pub fn new() -> Self {
        Self::over(Nowhere)
    }
}

impl<M> ScriptedManager<M> {
    /// Wraps another manager: its calls are counted, and fail or wait where the script says so.
    pub fn over(real: M) -> Self {
        Self { recorder: Arc::default(), real: Arc::new(real) }
    }

    /// Returns the wrapped manager.
    pub fn real(&self) -> &M {
        &self.real
    }

    /// Makes every such call from now on perform this act, except those with a queued act.
    pub fn always(&self, call: Call, act: Act) {
        self.recorder.open().scripts.entry(call).or_default().always = act;
    }

    /// Queues these acts for the next such calls, one for each.
    pub fn next(&self, call: Call, acts: impl IntoIterator<Item = Act>) {
        self.recorder.open().scripts.entry(call).or_default().next.extend(acts);
    }

    /// Clears the script, so that every call succeeds at once again. Calls that have begun are not
    /// affected.
    pub fn heal(&self) {
        for script in self.recorder.open().scripts.values_mut() {
            script.always = Act::Ok;
            script.next.clear();
        }
    }

    /// Calls `probe` at the beginning of every call, on the calling thread.
    pub fn probe(&self, probe: impl Fn(Call) + Send + Sync + 'static) {
        self.recorder.set_probe(Arc::new(probe));
    }

    /// Returns hooks for all five hook points that follow this script.
    pub fn hooks(&self) -> ScriptedHooks {
        self.hooks_at(HookPoints::ALL)
    }

    /// Returns hooks for these hook points that follow this script.
    pub fn hooks_at(&self, points: impl Into<HookPoints>) -> ScriptedHooks {
        ScriptedHooks { recorder: Arc::clone(&self.recorder), points: points.into() }
    }
}

/// What the manager observed, independently of the pool.
impl<M> ScriptedManager<M> {
    /// Returns how many such calls have begun.
    pub fn calls(&self, call: Call) -> usize {
        self.recorder.open().scripts.get(&call).map_or(0, |script| script.calls)
    }

    /// Returns how many such calls are running.
    pub fn running(&self, call: Call) -> usize {
        self.recorder.open().scripts.get(&call).map_or(0, |script| script.running)
    }

    /// Returns the most such calls that ever ran at once.
    pub fn running_peak(&self, call: Call) -> usize {
        self.recorder.open().scripts.get(&call).map_or(0, |script| script.running_peak)
    }

    /// Returns how many connections exist now.
    pub fn alive(&self) -> usize {
        self.recorder.open().alive
    }

    /// Returns how many connections exist or are being opened now.
    pub fn sockets(&self) -> usize {
        self.recorder.open().sockets
    }

    /// Returns the most connections that ever existed or were being opened at once.
    pub fn peak(&self) -> usize {
        self.recorder.open().peak
    }

    /// Returns the numbers of the connections on which `close` completed, in that order.
    pub fn closed(&self) -> Vec<u64> {
        self.recorder.open().closed.clone()
    }

    /// Returns the numbers of the connections that were dropped without `close`, in that order.
    pub fn dropped(&self) -> Vec<u64> {
        self.recorder.open().dropped.clone()
    }

    /// Returns every call of `connect`.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.recorder.open().attempts.clone()
    }

    /// Returns the calls for one connection, in order: `connect on_connect ping reset close`.
    pub fn story(&self, id: u64) -> String {
        let records = self.recorder.open();
        let calls: Vec<String> = records
            .story
            .iter()
            .filter(|(of, _)| *of == id)
            .map(|(_, call)| call.to_string())
            .collect();
        calls.join(" ")
    }
}

impl<M: Manager> Manager for ScriptedManager<M> {
    type Connection = ScriptedConnection<M::Connection>;
    type Error = ScriptedError;

    async fn connect(&self, info: &ConnectInfo) -> Result<Self::Connection, ScriptedError> {
        let socket = Socket::new(&self.recorder);
        self.recorder.open().attempts.push(Attempt { at: Instant::now(), info: info.clone() });
        let (act, _running) = self.recorder.begin(Call::Connect, info.id.get());
        act.perform(Call::Connect).await?;
        let real = self.real.connect(info).await.map_err(|error| self.error(error))?;
        Ok(ScriptedConnection::new(real, info.id.get(), info.generation, socket))
    }

    async fn ping(&self, conn: &mut Self::Connection) -> Result<(), ScriptedError> {
        let (act, _running) = self.recorder.begin(Call::Ping, conn.id());
        act.perform(Call::Ping).await?;
        self.real.ping(conn.real()).await.map_err(|error| self.error(error))?;
        if conn.is_dirty() {
            Err(ScriptedError::new(ErrorClass::Connection, "out of sync"))
        } else {
            Ok(())
        }
    }

    fn triage(&self, conn: &mut Self::Connection) -> Triage {
        let (act, _running) = self.recorder.begin(Call::Triage, conn.id());
        match act.end(Call::Triage) {
            Err(error) if error.class() == ErrorClass::Connection => Triage::Broken,
            Err(_) => Triage::Discard,
            Ok(()) => match self.real.triage(conn.real()) {
                Triage::Keep if conn.is_dirty() => Triage::Reset,
                triage => triage,
            },
        }
    }

    async fn reset(&self, conn: &mut Self::Connection) -> Result<(), ScriptedError> {
        let (act, _running) = self.recorder.begin(Call::Reset, conn.id());
        act.perform(Call::Reset).await?;
        self.real.reset(conn.real()).await.map_err(|error| self.error(error))?;
        conn.set_dirty(false);
        Ok(())
    }

    async fn close(&self, conn: Self::Connection) -> Result<(), ScriptedError> {
        let (act, _running) = self.recorder.begin(Call::Close, conn.id());
        act.perform(Call::Close).await?;
        let (real, close_properly) = conn.into_real();
        self.real.close(real).await.map_err(|error| self.error(error))?;
        close_properly();
        Ok(())
    }

    fn classify(&self, error: &ScriptedError) -> ErrorClass {
        error.class()
    }
}

impl<M: Manager> ScriptedManager<M> {
    fn error(&self, error: M::Error) -> ScriptedError {
        ScriptedError::real(self.real.classify(&error), error)
    }
}

impl<M> Clone for ScriptedManager<M> {
    fn clone(&self) -> Self {
        Self { recorder: Arc::clone(&self.recorder), real: Arc::clone(&self.real) }
    }
}

impl Default for ScriptedManager {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> fmt::Debug for ScriptedManager<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the wrapped manager, which may contain a password.
        f.debug_struct("ScriptedManager").field("recorder", &self.recorder).finish_non_exhaustive()
    }
}
