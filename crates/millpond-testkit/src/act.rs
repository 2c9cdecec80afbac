//! What a scripted call does: succeed, fail, panic, wait or hang.

use crate::gate::Gate;
use millpond_core::{ErrorClass, HookPoint, SharedError};
use std::error::Error;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

/// The calls that a script controls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Call {
    /// [`Manager::connect`](millpond_core::Manager::connect).
    Connect,
    /// [`Manager::ping`](millpond_core::Manager::ping). Always fails on a dirty connection.
    Ping,
    /// [`Manager::triage`](millpond_core::Manager::triage). `Act::Ok` keeps a clean connection and
    /// resets a dirty one, `Act::broken` reports it as broken, another error discards it, a panic
    /// panics. Triage is synchronous: an act after a wait is performed at once.
    Triage,
    /// [`Manager::reset`](millpond_core::Manager::reset). Success makes the connection clean.
    Reset,
    /// [`Manager::close`](millpond_core::Manager::close).
    Close,
    /// A hook of [`ScriptedHooks`](crate::ScriptedHooks).
    Hook(HookPoint),
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Ping => "ping",
            Self::Triage => "triage",
            Self::Reset => "reset",
            Self::Close => "close",
            Self::Hook(point) => point.name(),
        })
    }
}

/// What a call does.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Act {
    /// Succeeds at once.
    #[default]
    Ok,
    /// Fails at once with this error.
    Fail(ScriptedError),
    /// Panics at once.
    Panic,
    /// Never completes.
    Never,
    /// Sleeps for this time on tokio's clock, then performs the second act.
    Sleep(Duration, Box<Self>),
    /// Waits for the gate, then performs the second act.
    Gated(Gate, Box<Self>),
}

impl Act {
    /// Returns an act that succeeds after this time on tokio's clock.
    pub fn slow(pause: Duration) -> Self {
        Self::Sleep(pause, Box::new(Self::Ok))
    }

    /// Returns an act that succeeds once the gate is open.
    pub fn gated(gate: &Gate) -> Self {
        Self::Gated(gate.clone(), Box::new(Self::Ok))
    }

    /// Returns an act that fails at once with [`ErrorClass::Transient`].
    pub fn transient(text: &str) -> Self {
        Self::Fail(ScriptedError::new(ErrorClass::Transient, text))
    }

    /// Returns an act that fails at once with [`ErrorClass::Permanent`].
    pub fn permanent(text: &str) -> Self {
        Self::Fail(ScriptedError::new(ErrorClass::Permanent, text))
    }

    /// Returns an act that fails at once with [`ErrorClass::Failover`].
    pub fn failover(text: &str) -> Self {
        Self::Fail(ScriptedError::new(ErrorClass::Failover, text))
    }

    /// Returns an act that fails at once with [`ErrorClass::Connection`].
    pub fn broken(text: &str) -> Self {
        Self::Fail(ScriptedError::new(ErrorClass::Connection, text))
    }

    /// Keeps the wait of this act and replaces its outcome: `Act::slow(pause).then(Act::Panic)`. An
    /// act without a wait is replaced as a whole.
    #[must_use]
    pub fn then(self, end: Self) -> Self {
        match self {
            Self::Sleep(pause, next) => Self::Sleep(pause, Box::new(next.then(end))),
            Self::Gated(gate, next) => Self::Gated(gate, Box::new(next.then(end))),
            Self::Ok | Self::Fail(_) | Self::Panic | Self::Never => end,
        }
    }

    /// Performs the act.
    pub(crate) async fn perform(mut self, call: Call) -> Result<(), ScriptedError> {
        loop {
            self = match self {
                Self::Sleep(pause, next) => {
                    tokio::time::sleep(pause).await;
                    *next
                }
                Self::Gated(gate, next) => {
                    gate.pass().await;
                    *next
                }
                Self::Never => pending().await,
                Self::Ok | Self::Fail(_) | Self::Panic => return self.end(call),
            }
        }
    }

    /// Performs the act without its wait, for calls that cannot wait.
    pub(crate) fn end(self, call: Call) -> Result<(), ScriptedError> {
        match self {
            Self::Ok | Self::Never => Ok(()),
            Self::Fail(error) => Err(error),
            Self::Panic => scripted_panic(call),
            Self::Sleep(_, next) | Self::Gated(_, next) => next.end(call),
        }
    }
}

/// Panics without running the panic hook, because the test asked for the panic.
fn scripted_panic(call: Call) -> ! {
    std::panic::resume_unwind(Box::new(format!("scripted panic in {call}")))
}

/// The error of a scripted call, or an error of the wrapped manager.
#[derive(Debug, Clone)]
pub struct ScriptedError {
    class: ErrorClass,
    text: Arc<str>,
    /// The wrapped manager's own error, if this is one.
    real: Option<SharedError>,
}

impl ScriptedError {
    /// Creates an error with this text that [`Manager::classify`](millpond_core::Manager::classify)
    /// puts into this class.
    pub fn new(class: ErrorClass, text: &str) -> Self {
        Self { class, text: Arc::from(text), real: None }
    }

    /// Wraps an error of the wrapped manager, which classified it.
    pub(crate) fn real(class: ErrorClass, error: impl Error + Send + Sync + 'static) -> Self {
        Self { class, text: Arc::from(error.to_string()), real: Some(Arc::new(error)) }
    }

    /// Returns the error's class.
    pub fn class(&self) -> ErrorClass {
        self.class
    }
}

impl fmt::Display for ScriptedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for ScriptedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The text of the wrapped error is already this error's text.
        self.real.as_ref().and_then(|error| error.source())
    }
}

/// Compares class and text.
impl PartialEq for ScriptedError {
    fn eq(&self, other: &Self) -> bool {
        (self.class, &self.text) == (other.class, &other.text)
    }
}

impl Eq for ScriptedError {}
