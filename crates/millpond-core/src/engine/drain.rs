//! Waiting for something to become of the whole pool: everything closed, or enough of it warm.

use crate::engine::Shared;
use crate::engine::diagnosis::timed_out;
use crate::error::PoolError;
use crate::ledger::Ledger;
use crate::ledger::slots::{Caller, Stage};
use crate::manager::Manager;
use crate::rt;
use crate::rt::time::Time;
use crate::status::CloseReport;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Closes the pool and waits until nothing is open, at most until `limit`.
pub(crate) async fn close<M: Manager>(shared: Arc<Shared<M>>, limit: Duration) -> CloseReport {
    let began = shared.now();
    shared.begin_close();
    let empty = |ledger: &Ledger<M::Connection>| (ledger.slots.used() == 0).then_some(());
    let _ = watch(&shared, began.after(limit), empty).await;
    let now = shared.now();
    let ledger = shared.ledger.lock();
    let holders = ledger.slots.holders(now);
    let held = u32::try_from(holders.len()).unwrap_or(u32::MAX);
    let pending = ledger.slots.used().saturating_sub(held);
    CloseReport { holders, pending, took: now.since(began) }
}

/// Opens connections until `connections` exist. A pool that keeps none has nothing to warm.
pub(crate) async fn prewarm<M: Manager>(
    shared: Arc<Shared<M>>,
    connections: u32,
    caller: Caller,
) -> Result<(), PoolError> {
    if !shared.ensure_keeper() {
        return Err(PoolError::NoRuntime);
    }
    let (began, keeps) = shared.change(|ledger, now| {
        if ledger.keeps {
            ledger.opening.warm.push(connections);
            // What failed an hour ago says nothing of the attempt that begins now.
            ledger.opening.hopeless = false;
            ledger.open_more(now);
        }
        (now, ledger.keeps)
    });
    if !keeps {
        return Ok(());
    }
    let warming = Warming(Arc::clone(&shared), connections);
    let enough = |ledger: &Ledger<M::Connection>| {
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
    let limit = shared.config.pool_timeout;
    let outcome = watch(&shared, began.after(limit), enough).await;
    drop(warming);
    if matches!(outcome, Some(Err(_))) {
        // Whoever tries again and again must not keep its runtime from finding out that the server is back.
        rt::yield_now().await;
    }
    outcome.unwrap_or_else(|| {
        let now = shared.now();
        let ledger = shared.ledger.lock();
        Err(ledger.connect_error().unwrap_or_else(|| timed_out(&shared, &ledger, caller, limit, None, now)))
    })
}

/// That somebody is warming the pool up to so many connections; without one, nothing is opened ahead of demand.
struct Warming<M: Manager>(Arc<Shared<M>>, u32);

impl<M: Manager> Drop for Warming<M> {
    fn drop(&mut self) {
        let mut ledger = self.0.ledger.lock();
        let mine = ledger.opening.warm.iter().position(|wanted| *wanted == self.1);
        mine.map(|at| ledger.opening.warm.swap_remove(at));
    }
}

/// Waits until the ledger has an answer, at most until `deadline`. Without a timer it looks once.
async fn watch<M: Manager, T>(
    shared: &Shared<M>,
    deadline: Time,
    answer: impl Fn(&Ledger<M::Connection>) -> Option<T>,
) -> Option<T> {
    let mut timer = shared.clock.timer(deadline, || shared.home());
    let watcher = Watcher { shared, number: shared.ledger.lock().number_watcher() };
    poll_fn(|cx| {
        // To clone a waker is user code, so outside the lock.
        let waker = cx.waker().clone();
        let mut ledger = shared.ledger.lock();
        if let Some(answer) = answer(&ledger) {
            drop(ledger);
            return Poll::Ready(Some(answer));
        }
        let replaced = ledger.watch(watcher.number, waker);
        drop(ledger);
        drop(replaced);
        let out_of_time = timer.as_mut().is_none_or(|timer| timer.rings(cx) != Some(false));
        if out_of_time { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

/// One who watches the pool, until it goes.
struct Watcher<'a, M: Manager> {
    shared: &'a Shared<M>,
    number: u64,
}

impl<M: Manager> Drop for Watcher<'_, M> {
    fn drop(&mut self) {
        let waker = self.shared.ledger.lock().unwatch(self.number);
        drop(waker);
    }
}
