//! Pools of one's own: one that wraps `QueuePool`, one that wraps nothing, both behind `dyn Pool`.

use crate::support::{Pool as Queue, World, assert_took, refused, secs, settle, timed};
use millpond_core::{
    CloseReason, CloseReport, ConnectInfo, Held, Home, Lease, Manager, Pool, PoolError, PoolExt, Request, Status, Tag,
    async_trait,
};
use millpond_testkit::{Act, Call, ScriptedConnection, ScriptedManager};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Lends what a `QueuePool` lends, marked on the way out and counted on the way back: `_do_get`, `_do_return_conn`.
struct Counting {
    inner: Queue,
    lent: AtomicUsize,
    returned: Arc<AtomicUsize>,
}

#[async_trait]
impl Pool for Counting {
    type Connection = ScriptedConnection;

    async fn acquire_with(&self, request: Request) -> Result<Lease<ScriptedConnection>, PoolError> {
        let lease = self.inner.acquire_with(request).await?;
        self.lent.fetch_add(1, Ordering::SeqCst);
        let returned = Arc::clone(&self.returned);
        Ok(Lease::on_return(lease, move |conn| {
            assert!(conn.id() != 13, "an unlucky number");
            conn.set_dirty(true);
            returned.fetch_add(1, Ordering::SeqCst);
        }))
    }

    fn try_acquire_with(&self, request: Request) -> Option<Lease<ScriptedConnection>> {
        self.inner.try_acquire_with(request)
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    async fn close_within(&self, limit: Duration) -> CloseReport {
        self.inner.close_within(limit).await
    }
}

/// A counting pool with its world.
fn counting(size: u32) -> (World, Arc<dyn Pool<Connection = ScriptedConnection>>, Arc<AtomicUsize>) {
    let world = World::new(size, 0);
    let returned = Arc::new(AtomicUsize::new(0));
    let pool = Counting { inner: world.pool.clone(), lent: AtomicUsize::new(0), returned: Arc::clone(&returned) };
    (world, Arc::new(pool), returned)
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_wraps_another_sees_every_loan_and_every_return() {
    let (world, pool, returned) = counting(2);
    let lease = pool.acquire().await.unwrap();
    assert_eq!((lease.id(), returned.load(Ordering::SeqCst)), (1, 0));
    assert_eq!(Lease::info(&lease).id.get(), 1, "what is known of the connection is known through the wrapper");
    drop(lease);
    assert_eq!(returned.load(Ordering::SeqCst), 1);
    settle().await;
    assert_eq!(world.manager.calls(Call::Reset), 1, "the closure ran before the connection went back: it was dirty");
    assert!(!pool.acquire().await.unwrap().is_dirty());
    assert_eq!(returned.load(Ordering::SeqCst), 2);
    assert!(pool.close().await.is_clean());
    assert!(refused(pool.acquire().await).is_closed());
}

#[tokio::test(start_paused = true)]
async fn on_return_is_not_called_for_what_does_not_return() {
    let (world, pool, returned) = counting(2);
    drop(Lease::detach(pool.acquire().await.unwrap()));
    Lease::discard(pool.acquire().await.unwrap(), CloseReason::Discarded);
    settle().await;
    assert_eq!(returned.load(Ordering::SeqCst), 0);
    assert_eq!((world.trace.count("detached"), world.trace.count("closed discarded")), (1, 1));
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn several_on_returns_run_the_last_one_first_and_a_panic_discards() {
    let world = World::new(1, 0);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut lease = world.lease().await;
    for n in 0..3 {
        let order = Arc::clone(&order);
        lease = Lease::on_return(lease, move |_| order.lock().unwrap().push(n));
    }
    drop(lease);
    assert_eq!(*order.lock().unwrap(), [2, 1, 0]);
    drop(Lease::on_return(world.lease().await, |_| std::panic::resume_unwind(Box::new("no"))));
    settle().await;
    assert_eq!(world.trace.count("closed panicked #1"), 1);
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrapped_pool_times_out_with_the_same_words_and_the_callers_line() {
    let (_world, pool, _) = counting(1);
    let (lease, line) = (pool.acquire().await.unwrap(), line!());
    let (result, took) = timed(pool.acquire_within(secs(2))).await;
    let text = refused(result).to_string();
    assert_took(took, secs(2));
    assert!(
        text.starts_with("QueuePool limit of size 1 overflow 0 reached, connection timed out, timeout 2.00"),
        "{text}"
    );
    assert!(text.contains(&format!("{}:{line} for 2.0", file!())), "{text}");
    drop(lease);
}

/// Wraps nothing: opens at once whatever is asked for, and keeps one connection in a drawer.
struct Drawer {
    manager: ScriptedManager,
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept {
    drawer: Mutex<Option<ScriptedConnection>>,
    out: AtomicUsize,
    discarded: AtomicUsize,
    detached: AtomicUsize,
}

impl Kept {
    fn take(&self) -> Option<ScriptedConnection> {
        self.drawer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Home<ScriptedConnection> for Kept {
    fn returned(&self, held: Held<ScriptedConnection>) {
        self.out.fetch_sub(1, Ordering::SeqCst);
        let before = self.drawer.lock().unwrap_or_else(PoisonError::into_inner).replace(held.into_connection());
        drop(before);
    }

    fn discarded(&self, held: Held<ScriptedConnection>, reason: CloseReason) {
        assert_eq!(reason, CloseReason::Cut);
        self.out.fetch_sub(1, Ordering::SeqCst);
        self.discarded.fetch_add(1, Ordering::SeqCst);
        drop(held);
    }

    fn detached(&self, _tag: &Tag) {
        self.out.fetch_sub(1, Ordering::SeqCst);
        self.detached.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Pool for Drawer {
    type Connection = ScriptedConnection;

    async fn acquire_with(&self, request: Request) -> Result<Lease<ScriptedConnection>, PoolError> {
        if let Some(lease) = self.try_acquire_with(request) {
            return Ok(lease);
        }
        let info = ConnectInfo::first("drawer", secs(1));
        let conn = self.manager.connect(&info).await.map_err(|_| PoolError::Closed)?;
        Ok(self.lend(conn))
    }

    fn try_acquire_with(&self, _request: Request) -> Option<Lease<ScriptedConnection>> {
        self.kept.take().map(|conn| self.lend(conn))
    }

    fn status(&self) -> Status {
        let mut status = Status::default();
        status.in_use = u32::try_from(self.kept.out.load(Ordering::SeqCst)).unwrap_or(u32::MAX);
        status
    }

    async fn close_within(&self, _limit: Duration) -> CloseReport {
        drop(self.kept.take());
        CloseReport::clean(Duration::ZERO)
    }
}

impl Drawer {
    fn lend(&self, conn: ScriptedConnection) -> Lease<ScriptedConnection> {
        self.kept.out.fetch_add(1, Ordering::SeqCst);
        Lease::new(conn, self.kept.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_wraps_nothing_lends_with_the_same_lease() {
    let (manager, kept) = (ScriptedManager::new(), Arc::new(Kept::default()));
    let pool: Arc<dyn Pool<Connection = ScriptedConnection>> =
        Arc::new(Drawer { manager: manager.clone(), kept: Arc::clone(&kept) });
    assert!(pool.try_acquire().is_none());
    let lease = pool.acquire().await.unwrap();
    let mut other = pool.acquire().await.unwrap();
    assert_eq!((pool.status().in_use, manager.alive()), (2, 2));
    other.set_dirty(true);
    drop(lease);
    drop(other);
    assert_eq!((pool.status().in_use, manager.alive()), (0, 1), "the drawer holds one");
    assert!(pool.try_acquire().unwrap().is_dirty());

    Lease::discard(pool.acquire().await.unwrap(), CloseReason::Cut);
    drop(Lease::detach(pool.acquire().await.unwrap()));
    assert_eq!((kept.discarded.load(Ordering::SeqCst), kept.detached.load(Ordering::SeqCst)), (1, 1));
    assert_eq!((pool.status().in_use, manager.alive()), (0, 0));
    assert!(pool.close().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn pools_of_different_kinds_stand_side_by_side_behind_one_type() {
    let (_world, counting, _) = counting(1);
    let queue = World::new(1, 0);
    queue.manager.always(Call::Connect, Act::slow(secs(1)));
    let drawer = Drawer { manager: ScriptedManager::new(), kept: Arc::default() };
    let pools: [Arc<dyn Pool<Connection = ScriptedConnection>>; 3] =
        [counting, Arc::new(queue.pool.clone()), Arc::new(drawer)];
    for pool in &pools {
        drop(pool.acquire().await.unwrap());
        assert!(pool.close().await.is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_counts_its_loans_is_told_of_every_end() {
    let world = World::new(4, 0);
    let out = Arc::new(AtomicUsize::new(0));
    let mut loans = Vec::new();
    for _ in 0..4 {
        let counter = Arc::clone(&out);
        out.fetch_add(1, Ordering::SeqCst);
        loans.push(Lease::on_end(world.lease().await, move || {
            counter.fetch_sub(1, Ordering::SeqCst);
        }));
    }
    drop(loans.pop());
    drop(Lease::detach(loans.pop().unwrap()));
    Lease::discard(loans.pop().unwrap(), CloseReason::Discarded);
    assert_eq!(out.load(Ordering::SeqCst), 1);
    let last = Lease::on_end(loans.pop().unwrap(), || panic!("a slip in counting"));
    drop(last);
    assert_eq!(out.load(Ordering::SeqCst), 0);
    settle().await;
    world.assert_sound().await;
}
