//! Waits until the pool is drained (`close`) or filled (`prewarm`).

use crate::engine::Shared;
use crate::ledger::Ledger;
use crate::rt::Time;
use crate::{CloseReport, Manager, PoolError, rt};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Closes the pool and waits until nothing is open, at most until `limit`.
pub(crate) async fn close<M: Manager>(shared: Arc<Shared<M>>, limit: Duration) -> CloseReport {
    let began = shared.now();
    shared.begin_close();
    let empty = |ledger: &Ledger<M::Connection>| (ledger.slots().used() == 0).then_some(());
    let _ = wait_for(&shared, began.after(limit), empty).await;
    let now = shared.now();
    let (holders, pending) = shared.read(|ledger| (ledger.slots().holders(now), ledger.pending()));
    CloseReport::new(holders, pending, now.since(began))
}

/// Opens connections until `connections` exist. A pool that keeps none does nothing.
pub(crate) async fn prewarm<M: Manager>(
    shared: Arc<Shared<M>>,
    connections: u32,
) -> Result<(), PoolError> {
    if !shared.ensure_maintenance() {
        return Err(PoolError::NoRuntime);
    }
    let (began, keeps) = shared.change(|ledger, now| (now, ledger.begin_prewarm(connections, now)));
    if !keeps {
        return Ok(());
    }
    let guard = PrewarmGuard(Arc::clone(&shared), connections);
    let enough = |ledger: &Ledger<M::Connection>| ledger.prewarm_result(connections);
    let limit = shared.config.pool_timeout;
    let outcome = wait_for(&shared, began.after(limit), enough).await;
    drop(guard);
    if matches!(outcome, Some(Err(_))) {
        // A caller that retries in a loop must not keep its runtime from noticing that the server
        // is back.
        rt::yield_now().await;
    }
    outcome.unwrap_or_else(|| {
        let now = shared.now();
        let timed_out = |ledger: &Ledger<M::Connection>| ledger.timed_out(None, limit, None, now);
        Err(shared.read(|ledger| ledger.connect_error().unwrap_or_else(|| timed_out(ledger))))
    })
}

/// While it lives, the pool opens this many connections ahead of demand.
struct PrewarmGuard<M: Manager>(Arc<Shared<M>>, u32);

impl<M: Manager> Drop for PrewarmGuard<M> {
    fn drop(&mut self) {
        self.0.change(|ledger, _| ledger.end_prewarm(self.1));
    }
}

/// Waits until the ledger has an answer, at most until `deadline`. Without a timer it checks once.
async fn wait_for<M: Manager, T>(
    shared: &Shared<M>,
    deadline: Time,
    answer: impl Fn(&Ledger<M::Connection>) -> Option<T>,
) -> Option<T> {
    let mut timer = shared.timer(deadline);
    let deadline_passed =
        poll_fn(|cx| match timer.as_mut().and_then(|timer| timer.poll_elapsed(cx)) {
            Some(false) => Poll::Pending,
            Some(true) | None => Poll::Ready(()),
        });
    let changes = async {
        loop {
            let look = |ledger: &Ledger<_>| answer(ledger).ok_or_else(|| ledger.changes());
            match shared.read(look) {
                Ok(answer) => return answer,
                Err(seen) => shared.changes.raised_above(seen).await,
            }
        }
    };
    rt::until(deadline_passed, changes).await
}
