//! The events of a pool as lines of text.

use millpond_core::{AcquireFailure, CloseReason, Event, EventContext, Observer};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// An observer that keeps every event and renders each as a line. Clones share the events: pass one
/// to the pool and keep one.
///
/// A line begins with what happened and why, and ends with the number of the connection. Durations,
/// source lines and error texts are left out, so that lines can be compared: `connecting #1`,
/// `acquired #1`, `closed overflow #3`, `acquire failed timed_out`, `hook failed on_connect #2`.
/// The full events are in [`events`](Self::events).
#[derive(Debug, Clone)]
pub struct Trace {
    kept: Arc<Mutex<Vec<Kept>>>,
    made: Instant,
}

#[derive(Debug, Clone)]
struct Kept {
    seq: u64,
    at: Instant,
    event: Event,
}

impl Trace {
    /// Creates an empty trace.
    pub fn new() -> Self {
        Self { kept: Arc::default(), made: Instant::now() }
    }

    /// Returns the lines so far, in the order of their `seq`.
    pub fn lines(&self) -> Vec<String> {
        self.in_order().iter().map(|kept| line(&kept.event)).collect()
    }

    /// Returns how many lines begin with these words: `closed` counts every close, `closed
    /// overflow` those for that reason.
    pub fn count(&self, words: &str) -> usize {
        self.lines().iter().filter(|line| begins_with(line, words)).count()
    }

    /// Returns the reasons of all closes, in order.
    pub fn closed(&self) -> Vec<CloseReason> {
        self.pick(
            |event| if let Event::Closed { reason, .. } = event { Some(*reason) } else { None },
        )
    }

    /// Maps and filters the events so far.
    pub fn pick<P>(&self, mut pick: impl FnMut(&Event) -> Option<P>) -> Vec<P> {
        self.in_order().iter().filter_map(|kept| pick(&kept.event)).collect()
    }

    /// Returns when the lines that begin with these words were written, on tokio's clock, since
    /// this trace was created.
    pub fn times(&self, words: &str) -> Vec<Duration> {
        let kept =
            self.in_order().into_iter().filter(|kept| begins_with(&line(&kept.event), words));
        kept.map(|kept| kept.at.duration_since(self.made)).collect()
    }

    /// Returns the events so far with their `seq`, in that order.
    pub fn events(&self) -> Vec<(u64, Event)> {
        self.in_order().into_iter().map(|kept| (kept.seq, kept.event)).collect()
    }

    /// Removes the events so far.
    pub fn clear(&self) {
        self.open().clear();
    }

    fn in_order(&self) -> Vec<Kept> {
        let mut kept = self.open().clone();
        kept.sort_by_key(|kept| kept.seq);
        kept
    }

    fn open(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Trace {
    fn observe(&self, event: &Event, context: &EventContext<'_>) {
        self.open().push(Kept { seq: context.seq, at: Instant::now(), event: event.clone() });
    }
}

fn begins_with(line: &str, words: &str) -> bool {
    line.strip_prefix(words).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

fn line(event: &Event) -> String {
    match event {
        Event::Waiting { waiting } => format!("waiting {waiting}"),
        Event::Acquired { id, .. } => format!("acquired {id}"),
        Event::AcquireFailed { failure: kind, .. } => format!("acquire failed {}", failure(*kind)),
        Event::AcquireCancelled { .. } => "acquire cancelled".to_owned(),
        Event::Returned { id, .. } => format!("returned {id}"),
        Event::Connecting { id, .. } => format!("connecting {id}"),
        Event::Connected { id, .. } => format!("connected {id}"),
        Event::ConnectFailed { id, .. } => format!("connect failed {id}"),
        Event::PingFailed { id, .. } => format!("ping failed {id}"),
        Event::ResetFailed { id, .. } => format!("reset failed {id}"),
        Event::HookFailed { id, point, .. } => format!("hook failed {point} {id}"),
        Event::Closed { id, reason, .. } => format!("closed {reason} {id}"),
        Event::Detached { id } => format!("detached {id}"),
        Event::Leaked { id, .. } => format!("leaked {id}"),
        Event::Panicked { callback, .. } => format!("panicked {callback}"),
        Event::FailingFast { .. } => "failing fast".to_owned(),
        Event::Recovered { .. } => "recovered".to_owned(),
        Event::Resized { pool_size, max_overflow } => format!("resized {pool_size} {max_overflow}"),
        Event::Invalidated { generation } => format!("invalidated {generation}"),
        Event::Warned { setting, .. } => format!("warned {setting}"),
        Event::Suspended => "suspended".to_owned(),
        Event::Resumed => "resumed".to_owned(),
        Event::RuntimeShutDown => "runtime shut down".to_owned(),
        Event::Closing => "closing".to_owned(),
        other => format!("{other:?}"),
    }
}

fn failure(why: AcquireFailure) -> &'static str {
    match why {
        AcquireFailure::TimedOut => "timed_out",
        AcquireFailure::Closed => "closed",
        AcquireFailure::TooManyWaiters => "too_many_waiters",
        AcquireFailure::Connect => "connect",
        AcquireFailure::Refused => "refused",
        AcquireFailure::RequestRefused => "request_refused",
        AcquireFailure::NoRuntime => "no_runtime",
        _ => "otherwise",
    }
}
