//! Waiting for something to become of the whole pool: everything closed, or enough of it warm.

use crate::error::PoolError;
use crate::ledger::Ledger;
use crate::manager::Manager;
use crate::shared::Shared;
use crate::slots::Stage;
use crate::status::CloseReport;
use crate::time::Time;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Closes the pool and waits until nothing is open, at most until `limit`.
pub(crate) async fn close<M: Manager>(shared: Arc<Shared<M>>, limit: Duration) -> CloseReport {
    let began = shared.now();
    shared.begin_close();
    let empty = |ledger: &Ledger<M::Connection>, _: Time| (ledger.slots.used() == 0).then_some(());
    let _ = watch(&shared, began.after(limit), empty).await;
    let now = shared.now();
    let ledger = shared.ledger.lock();
    let holders = ledger.slots.holders(now);
    let held = u32::try_from(holders.len()).unwrap_or(u32::MAX);
    let pending = ledger.slots.used().saturating_sub(held);
    CloseReport { holders, pending, took: now.since(began) }
}

/// Opens connections until `connections` exist.
pub(crate) async fn prewarm<M: Manager>(shared: Arc<Shared<M>>, connections: u32) -> Result<(), PoolError> {
    if !shared.ensure_keeper() {
        return Err(PoolError::NoRuntime);
    }
    let began = shared.change(|ledger, now| {
        ledger.opening.warm = ledger.opening.warm.max(connections.min(ledger.config.pool_size));
        ledger.open_more(now);
        now
    });
    let warming = Warming(Arc::clone(&shared));
    let enough = |ledger: &Ledger<M::Connection>, _: Time| {
        let alive = ledger.slots.open().saturating_sub(ledger.slots.count(Stage::Closing));
        if ledger.closed {
            Some(Err(PoolError::Closed))
        } else if alive >= connections.min(ledger.config.pool_size) {
            Some(Ok(()))
        } else if ledger.opening.hopeless || ledger.fails_fast() {
            ledger.connect_error().map(Err)
        } else {
            None
        }
    };
    let outcome = watch(&shared, began.after(shared.config.pool_timeout), enough).await;
    drop(warming);
    outcome.unwrap_or_else(|| {
        let ledger = shared.ledger.lock();
        Err(ledger.connect_error().unwrap_or(PoolError::Closed))
    })
}

/// That somebody is warming the pool up; without one, nothing is opened ahead of demand.
struct Warming<M: Manager>(Arc<Shared<M>>);

impl<M: Manager> Drop for Warming<M> {
    fn drop(&mut self) {
        self.0.ledger.lock().opening.warm = 0;
    }
}

/// Waits until the ledger has an answer, at most until `deadline`. Without a timer it looks once.
async fn watch<M: Manager, T>(
    shared: &Shared<M>,
    deadline: Time,
    answer: impl Fn(&Ledger<M::Connection>, Time) -> Option<T>,
) -> Option<T> {
    let mut timer = shared.clock.timer(deadline, || shared.home());
    poll_fn(|cx| {
        let now = shared.now();
        let mut ledger = shared.ledger.lock();
        if let Some(answer) = answer(&ledger, now) {
            return Poll::Ready(Some(answer));
        }
        ledger.watchers.push(cx.waker().clone());
        drop(ledger);
        let out_of_time = timer.as_mut().is_none_or(|timer| timer.rings(cx));
        if out_of_time { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}
