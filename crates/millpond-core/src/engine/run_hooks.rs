//! Calling the hooks of a hook point.

use crate::engine::Shared;
use crate::engine::call::{CallError, call};
use crate::rt::Time;
use crate::{BoxError, ConnectionInfo, Event, HookPoint, Manager, RequestRefusal, SharedError};
use std::sync::Arc;

pub(crate) enum Refused {
    /// This connection, or the call was cut off or panicked.
    Connection(SharedError),
    /// The request that the connection was for.
    Request(Arc<RequestRefusal>),
}

impl Refused {
    /// The error, where no request is under way.
    pub(crate) fn into_error(self) -> SharedError {
        match self {
            Self::Connection(error) => error,
            Self::Request(refusal) => refusal,
        }
    }
}

/// Calls the hooks of a hook point in order, each within `hook_timeout` and what is left until
/// `deadline`. The first refusal ends the row; that of a connection is reported.
pub(crate) async fn run_hooks<M: Manager>(
    shared: &Shared<M>,
    point: HookPoint,
    conn: &mut M::Connection,
    info: &ConnectionInfo,
    deadline: Time,
) -> Result<(), Refused> {
    for hook in shared.hooks.at(point) {
        let limit = shared.config.hook_timeout.min(deadline.since(shared.now()));
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
                shared.report_panic(point.name(), message.clone());
            }
            let error = error.shared("hook_timeout");
            let reported = error.clone();
            shared.report(|| Event::HookFailed { id: info.id, point, error: reported });
            return Err(Refused::Connection(error));
        }
    }
    Ok(())
}
