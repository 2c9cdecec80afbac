//! The only caller of `Manager::connect`: one attempt, its hooks, and what follows.
//!
//! Runs as a job of the maintenance task, so a caller that goes away cancels nothing: a connection
//! that arrives late serves the next one.

use crate::engine::Shared;
use crate::engine::call::{call, run_hooks};
use crate::engine::close::close_unpooled;
use crate::event::share;
use crate::ledger::Attempt;
use crate::rt::Time;
use crate::{ConnectInfo, ConnectionInfo, ErrorClass, Event, HookPoint, Manager, SharedError, rt};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Opens one connection and hands it to the ledger, or reports the failure.
pub(crate) async fn connect<M: Manager>(opening: SlotGuard<M>, attempt: Attempt) {
    let shared = &opening.shared;
    shared.report(|| Event::Connecting { id: attempt.id, attempt: attempt.attempt });
    let began = shared.now();
    let outcome =
        rt::until(shared.opens_from.raised_above(attempt.generation), open(shared, &attempt)).await;
    match outcome {
        // The pool was closed or invalidated meanwhile, and the connection could not be lent: the
        // guard frees the slot.
        None => {}
        Some(Ok(conn)) => {
            let took = shared.now().since(began);
            arrived(opening, &attempt, conn, took);
        }
        Some(Err((error, class))) => failed(opening, &attempt, &error, class),
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
        if let Err(refused) = run_hooks(shared, point, &mut conn, &info, Time::NEVER).await {
            let error = refused.into_error();
            let class = shared.classify_shared(&error);
            // Its failure is reported by the refusal; the connection never was one of the pool's.
            let _ = close_unpooled(shared, conn).await;
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

fn arrived<M: Manager>(
    mut opening: SlotGuard<M>,
    attempt: &Attempt,
    conn: M::Connection,
    took: Duration,
) {
    opening.slot = None;
    let shared = &opening.shared;
    if let Some(after) = shared.change(|ledger, now| ledger.connected(conn, attempt, took, now)) {
        tracing::info!(pool = &*shared.name, ?after, "connections can be opened again");
    }
}

fn failed<M: Manager>(
    mut opening: SlotGuard<M>,
    attempt: &Attempt,
    error: &SharedError,
    class: ErrorClass,
) {
    opening.slot = None;
    let shared = &opening.shared;
    // The first of a row, and then ever more rarely: an outage must not fill the disk.
    if attempt.attempt.is_power_of_two() {
        let (pool, attempt) = (&*shared.name, attempt.attempt);
        tracing::warn!(pool, attempt, %error, ?class, "could not connect");
    }
    shared.change(|ledger, now| ledger.connect_failed(attempt, error, class, now));
    if class == ErrorClass::Failover {
        shared.invalidate_all(false);
    }
}

/// A slot that becomes free when this is dropped: of a connection that is being opened, or of one
/// past the pool.
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
