//! The one way to call foreign code: under a limit, and behind a guard against panics.

use crate::event::{SharedError, share};
use crate::manager::BoxError;
use crate::rt;
use crate::rt::panics::message;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use std::time::Duration;

/// Why a call brought nothing.
#[derive(Debug)]
pub(crate) enum CallError<E> {
    /// It failed by itself.
    Failed(E),
    /// It took longer than this.
    TimedOut(Duration),
    /// It panicked and said this.
    Panicked(String),
}

impl<E: Into<BoxError>> CallError<E> {
    /// As one error to report and keep; `setting` is where its limit comes from.
    pub(crate) fn shared(self, setting: &'static str) -> SharedError {
        match self {
            Self::Failed(error) => share(error.into()),
            Self::TimedOut(limit) => share(Box::new(Cut::TimedOut(limit, setting))),
            Self::Panicked(message) => share(Box::new(Cut::Panicked(message))),
        }
    }
}

/// What stands for an error where none came.
#[derive(Debug)]
enum Cut {
    TimedOut(Duration, &'static str),
    Panicked(String),
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(limit, setting) => {
                write!(f, "no answer within {:.2} s ({setting})", limit.as_secs_f64())
            }
            Self::Panicked(message) => write!(f, "panicked: {message}"),
        }
    }
}

impl std::error::Error for Cut {}

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
    let mut future = match catch_unwind(AssertUnwindSafe(|| Box::pin(make()))) {
        Ok(future) => future,
        Err(panic) => return Err(CallError::Panicked(message(&*panic))),
    };
    let outcome = {
        let guarded =
            poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(Ok(output))) => Poll::Ready(Ok(output)),
                Ok(Poll::Ready(Err(error))) => Poll::Ready(Err(CallError::Failed(error))),
                Err(panic) => Poll::Ready(Err(CallError::Panicked(message(&*panic)))),
            });
        rt::until(rt::sleep(limit), guarded).await
    };
    // A future that panicked, or was cut off, may panic again when it is dropped.
    let dropped = catch_unwind(AssertUnwindSafe(move || drop(future)));
    match (outcome, dropped) {
        (Some(outcome), _) => outcome,
        (None, _) => Err(CallError::TimedOut(limit)),
    }
}
