//! The only way to call a manager or a hook: within a time limit, behind a guard against panics,
//! and with a guard for the connection that it is called on.

use crate::engine::{Held, Shared};
use crate::error::share;
use crate::rt::{Time, catch_panic, drop_catching_panic};
use crate::{
    BoxError, CloseReason, ConnectionInfo, ErrorClass, Event, HookPoint, Manager, RequestRefusal,
    SharedError, rt,
};
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

#[derive(Debug)]
pub(crate) enum CallError<E> {
    Failed(E),
    TimedOut(Duration),
    Panicked(String),
}

impl<E: Into<BoxError>> CallError<E> {
    /// The error to report and keep; `setting` is where its limit comes from.
    pub(crate) fn shared(self, setting: &'static str) -> SharedError {
        share(match self {
            Self::Failed(error) => error.into(),
            Self::TimedOut(limit) => {
                format!("no answer within {:.2} s ({setting})", limit.as_secs_f64()).into()
            }
            Self::Panicked(message) => format!("panicked: {message}").into(),
        })
    }
}

/// Awaits a call for at most `limit`. A panic in it, or in making or dropping it, is caught.
///
/// # Cancel safety
///
/// Dropping the future drops the call.
pub(crate) async fn call<T, E, F>(
    limit: Duration,
    make: impl FnOnce() -> F,
) -> Result<T, CallError<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut future = catch_panic(|| Box::pin(make())).map_err(CallError::Panicked)?;
    let guarded = poll_fn(|cx| match catch_panic(|| future.as_mut().poll(cx)) {
        Ok(poll) => poll.map_err(CallError::Failed),
        Err(message) => Poll::Ready(Err(CallError::Panicked(message))),
    });
    let outcome = rt::until(rt::sleep(limit), guarded).await;
    // A future that has panicked or is cut off may panic when it is dropped.
    let _ = drop_catching_panic(future);
    outcome.unwrap_or(Err(CallError::TimedOut(limit)))
}

impl<M: Manager> Shared<M> {
    /// Classifies a failed call of the manager; a panic in it is reported.
    pub(crate) fn class_of(&self, method: &'static str, error: &CallError<M::Error>) -> ErrorClass {
        match error {
            CallError::Failed(error) => return self.classify(error),
            CallError::TimedOut(_) => {}
            CallError::Panicked(message) => self.report_panic(method, message.clone()),
        }
        ErrorClass::Transient
    }
}

/// A connection on which its manager or hooks are being called. Dropped before the call has ended,
/// it closes the connection.
pub(crate) struct CallGuard<M: Manager> {
    pub(crate) shared: Arc<Shared<M>>,
    /// `None` once the call has ended.
    pub(crate) held: Option<Held<M>>,
}

impl<M: Manager> CallGuard<M> {
    pub(crate) fn new(shared: Arc<Shared<M>>, held: Held<M>) -> Self {
        Self { shared, held: Some(held) }
    }
}

impl<M: Manager> Drop for CallGuard<M> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.shared.retire(held, CloseReason::Interrupted);
        }
    }
}

pub(crate) enum Refused {
    /// This connection, or the call was cut off or panicked.
    Connection(SharedError),
    /// The request that the connection was for.
    Request(Arc<RequestRefusal>),
}

impl Refused {
    pub(crate) fn into_error(self) -> SharedError {
        match self {
            Self::Connection(error) => error,
            Self::Request(refusal) => refusal,
        }
    }
}

impl<M: Manager> Shared<M> {
    /// Calls the hooks of a hook point in order, each within `hook_timeout` and before `deadline`,
    /// up to the first refusal. That of a connection is reported.
    pub(crate) async fn run_hooks(
        &self,
        point: HookPoint,
        conn: &mut M::Connection,
        info: &ConnectionInfo,
        deadline: Time,
    ) -> Result<(), Refused> {
        for hook in self.hooks.at(point) {
            let limit = self.config.hook_timeout.min(deadline.since(self.now()));
            let outcome: Result<(), CallError<BoxError>> =
                call(limit, || hook.call(point, &mut *conn, info)).await;
            if let Err(error) = outcome {
                let error = match error {
                    CallError::Failed(error) if point == HookPoint::Checkout => {
                        match error.downcast::<RequestRefusal>() {
                            Ok(refusal) => return Err(Refused::Request(Arc::from(refusal))),
                            Err(error) => CallError::Failed(error),
                        }
                    }
                    error => error,
                };
                if let CallError::Panicked(message) = &error {
                    self.report_panic(point.name(), message.clone());
                }
                let error = error.shared("hook_timeout");
                let reported = error.clone();
                self.report(|| Event::HookFailed { id: info.id, point, error: reported });
                return Err(Refused::Connection(error));
            }
        }
        Ok(())
    }
}
