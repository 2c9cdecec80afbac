//! What one scripted call does.

use crate::gate::Gate;
use millpond_core::{ErrorClass, HookPoint, SharedError};
use std::error::Error;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

/// The calls that a script directs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Call {
    /// [`Manager::connect`](millpond_core::Manager::connect).
    Connect,
    /// [`Manager::ping`](millpond_core::Manager::ping). A dirty connection fails it, whatever the
    /// script says.
    Ping,
    /// [`Manager::triage`](millpond_core::Manager::triage). `Act::Ok` keeps a clean connection and
    /// has a dirty one reset, `Act::broken` calls it broken, another error discards it, a panic
    /// panics. It cannot wait: an act after a wait is performed at once.
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

/// What one call does.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Act {
    /// Succeeds at once.
    #[default]
    Ok,
    /// Fails at once.
    Fail(ScriptedError),
    /// Panics at once.
    Panic,
    /// Never ends.
    Never,
    /// Sleeps for this time on tokio's clock, then performs the other act.
    Sleep(Duration, Box<Self>),
    /// Waits for the gate, then performs the other act.
    Gated(Gate, Box<Self>),
}

impl Act {
    /// Succeeds after this time on tokio's clock.
    pub fn slow(pause: Duration) -> Self {
        Self::Sleep(pause, Box::new(Self::Ok))
    }

    /// Succeeds when the gate lets it through.
    pub fn gated(gate: &Gate) -> Self {
        Self::Gated(gate.clone(), Box::new(Self::Ok))
    }

    /// Fails with [`ErrorClass::Transient`].
    pub fn transient(text: &str) -> Self {
        Self::Fail(ScriptedError::new(ErrorClass::Transient, text))
    }

    /// Fails with [`ErrorClass::Permanent`].
    pub fn permanent(text: &str) -> Self {
        Self::Fail(ScriptedError::new(ErrorClass::Permanent, text))
    }

    /// Fails with [`ErrorClass::Failover`].
    pub fn failover(text: &str) -> Self {
        Self::Fail(ScriptedError::new(ErrorClass::Failover, text))
    }

    /// Fails with [`ErrorClass::Connection`].
    pub fn broken(text: &str) -> Self {
        Self::Fail(ScriptedError::new(ErrorClass::Connection, text))
    }

    /// The same wait with another outcome: `Act::slow(pause).then(Act::Panic)`. An act without a
    /// wait is replaced.
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

    /// The act without its wait, for calls that cannot wait.
    pub(crate) fn end(self, call: Call) -> Result<(), ScriptedError> {
        match self {
            Self::Ok | Self::Never => Ok(()),
            Self::Fail(error) => Err(error),
            Self::Panic => scripted_panic(call),
            Self::Sleep(_, next) | Self::Gated(_, next) => next.end(call),
        }
    }
}

/// Panics without a report by the panic hook, since the test asked for the panic.
fn scripted_panic(call: Call) -> ! {
    std::panic::resume_unwind(Box::new(format!("scripted panic in {call}")))
}

/// The error of a scripted call, or of the wrapped manager.
#[derive(Debug, Clone)]
pub struct ScriptedError {
    class: ErrorClass,
    text: Arc<str>,
    /// The other manager's own error, if it is one.
    real: Option<SharedError>,
}

impl ScriptedError {
    /// An error with that text, which [`Manager::classify`](millpond_core::Manager::classify) puts
    /// into that class.
    pub fn new(class: ErrorClass, text: &str) -> Self {
        Self { class, text: Arc::from(text), real: None }
    }

    /// An error of the wrapped manager, which puts it into that class.
    pub(crate) fn real(class: ErrorClass, error: impl Error + Send + Sync + 'static) -> Self {
        Self { class, text: Arc::from(error.to_string()), real: Some(Arc::new(error)) }
    }

    /// Its class.
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
        // Its text is ours already.
        self.real.as_ref().and_then(|error| error.source())
    }
}

/// Two errors are equal if they mean and say the same.
impl PartialEq for ScriptedError {
    fn eq(&self, other: &Self) -> bool {
        (self.class, &self.text) == (other.class, &other.text)
    }
}

impl Eq for ScriptedError {}
