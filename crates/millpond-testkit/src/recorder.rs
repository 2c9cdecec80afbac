//! The state of a scripted manager: its script, its counts, and the history of each connection.

use crate::act::{Act, Call};
use millpond_core::ConnectInfo;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// One call of `connect`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attempt {
    /// When the call began, by tokio's clock.
    pub at: Instant,
    /// The argument that the pool passed.
    pub info: ConnectInfo,
}

/// State that all clones of a manager, its connections and its hooks share.
#[derive(Default)]
pub(crate) struct Recorder {
    records: Mutex<Records>,
    probe: Mutex<Option<Arc<Probe>>>,
}

type Probe = dyn Fn(Call) + Send + Sync;

/// Guarded by the lock of [`Recorder`], under which no foreign code is called.
#[derive(Default)]
pub(crate) struct Records {
    pub(crate) scripts: HashMap<Call, Script>,
    /// Connections that exist or are being opened, and the most so far.
    pub(crate) sockets: usize,
    pub(crate) peak: usize,
    /// Connections that exist.
    pub(crate) alive: usize,
    pub(crate) closed: Vec<u64>,
    pub(crate) dropped: Vec<u64>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) story: Vec<(u64, Call)>,
}

/// The script of one kind of call, and its counters.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) always: Act,
    pub(crate) next: VecDeque<Act>,
    pub(crate) calls: usize,
    pub(crate) running: usize,
    pub(crate) running_peak: usize,
}

impl Recorder {
    pub(crate) fn open(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_probe(&self, probe: Arc<Probe>) {
        *self.probe.lock().unwrap_or_else(PoisonError::into_inner) = Some(probe);
    }

    /// Records one call and returns its act. The call counts as running until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>, call: Call, id: u64) -> (Act, Running) {
        let act = {
            let mut records = self.open();
            records.story.push((id, call));
            let script = records.scripts.entry(call).or_default();
            script.calls += 1;
            script.running += 1;
            script.running_peak = script.running_peak.max(script.running);
            script.next.pop_front().unwrap_or_else(|| script.always.clone())
        };
        let running = Running { recorder: Arc::clone(self), call };
        let probe = self.probe.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(probe) = probe {
            probe(call);
        }
        (act, running)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.open();
        f.debug_struct("Books")
            .field("alive", &records.alive)
            .field("peak", &records.peak)
            .finish_non_exhaustive()
    }
}

/// A call that has begun and not ended.
pub(crate) struct Running {
    recorder: Arc<Recorder>,
    call: Call,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(script) = self.recorder.open().scripts.get_mut(&self.call) {
            script.running -= 1;
        }
    }
}

/// One socket as the operating system would count it: from the start of the connect until it is
/// dropped.
pub(crate) struct Socket {
    recorder: Arc<Recorder>,
}

impl Socket {
    pub(crate) fn new(recorder: &Arc<Recorder>) -> Self {
        let mut records = recorder.open();
        records.sockets += 1;
        records.peak = records.peak.max(records.sockets);
        Self { recorder: Arc::clone(recorder) }
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.recorder.open().sockets -= 1;
    }
}
