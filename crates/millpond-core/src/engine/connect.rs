//! The only caller of `Manager::connect`: one attempt, its hooks, and its outcome.
//!
//! It runs as a job of the maintenance task, so an acquire that is dropped cancels nothing: a
//! connection that is opened late serves the next caller.

use crate::engine::Shared;
use crate::engine::call::call;
use crate::error::share;
use crate::ledger::Attempt;
use crate::rt::Time;
use crate::{ConnectInfo, ConnectionInfo, ErrorClass, Event, HookPoint, Manager, SharedError, rt};
use std::fmt;
use std::sync::Arc;

/// Opens one connection and hands it to the ledger, or reports the failure.
pub(crate) async fn connect<M: Manager>(mut opening: SlotGuard<M>, attempt: Attempt) {
    let shared = Arc::clone(&opening.shared);
    shared.report(|| Event::Connecting { id: attempt.id, attempt: attempt.attempt });
    let began = shared.now();
    let outdated = shared.opens_from.raised_above(attempt.generation);
    // Closed or invalidated meanwhile, the connection could not be lent: the guard frees the slot.
    let Some(outcome) = rt::until(outdated, open(&shared, &attempt)).await else { return };
    opening.slot = None;
    let pool = &*shared.name;
    match outcome {
        Ok(conn) => {
            let took = shared.now().since(began);
            let recovered =
                shared.change(|ledger, now| ledger.connected(conn, &attempt, took, now));
            if let Some(after) = recovered {
                tracing::info!(pool, ?after, "connections can be opened again");
            }
        }
        Err((error, class)) => {
            shared.change(|ledger, now| ledger.connect_failed(&attempt, &error, class, now));
            if class == ErrorClass::Failover {
                shared.invalidate_all(false);
            }
            // The first failure in a row, then ever fewer: an outage must not fill the disk. The
            // error's text is user code.
            if attempt.attempt.is_power_of_two() {
                let attempt = attempt.attempt;
                shared.catching("error", || {
                    tracing::warn!(pool, attempt, %error, ?class, "could not connect");
                });
            }
        }
    }
}

/// Connects and calls the hooks of a new connection.
async fn open<M: Manager>(
    shared: &Shared<M>,
    attempt: &Attempt,
) -> Result<M::Connection, (SharedError, ErrorClass)> {
    let limit = shared.config.connect_timeout;
    let info = ConnectInfo {
        pool: Arc::clone(&shared.name),
        id: attempt.id,
        attempt: attempt.attempt,
        generation: attempt.generation,
        limit,
    };
    let connected = call(limit, || shared.manager.connect(&info)).await;
    let mut conn = connected.map_err(|error| {
        let class = shared.class_of("connect", &error);
        (error.shared("connect_timeout"), class)
    })?;
    let info = ConnectionInfo::new(Arc::clone(&shared.name), attempt.id, attempt.generation);
    for point in [HookPoint::FirstConnect, HookPoint::Connect] {
        if point == HookPoint::FirstConnect && !attempt.first {
            continue;
        }
        if let Err(refused) = shared.run_hooks(point, &mut conn, &info, Time::NEVER).await {
            let error = refused.into_error();
            let class = shared.classify_shared(&error);
            // The refusal reports its end; the connection was never one of the pool's.
            let _ = shared.close_within(conn, shared.config.close_timeout).await;
            return Err((share(Box::new(Refusal { point, source: error })), class));
        }
        if point == HookPoint::FirstConnect {
            shared.change(|ledger, _| ledger.first_connect_done());
        }
    }
    Ok(conn)
}

/// Why a new connection is unusable although it could be opened.
#[derive(Debug)]
struct Refusal {
    point: HookPoint,
    source: SharedError,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refused the connection: {}", self.point, self.source)
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// A slot that becomes free when this is dropped: of a connection that is being opened, or of one
/// outside the pool.
pub(crate) struct SlotGuard<M: Manager> {
    shared: Arc<Shared<M>>,
    slot: Option<u32>,
}

impl<M: Manager> SlotGuard<M> {
    pub(crate) fn new(shared: Arc<Shared<M>>, slot: u32) -> Self {
        Self { shared, slot: Some(slot) }
    }
}

impl<M: Manager> Drop for SlotGuard<M> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.shared.change(|ledger, now| ledger.free(slot, now));
        }
    }
}
