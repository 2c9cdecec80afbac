//! Pools of one's own: one that wraps `QueuePool`, one that wraps nothing, both behind `dyn Pool`.

use crate::support::{Pool as Queue, World, assert_took, ms, refused, secs, settle, timed};
use millpond_core::{
    CloseReason, CloseReport, ConnectInfo, Event, EventContext, Holder, Lease, LeaseMeta,
    LeaseOwner, Manager, Observer, Phase, Pool, PoolError, PoolExt, PooledConnection, Request,
    Status, TimedOut, async_trait,
};
use millpond_testkit::{Act, Call, ScriptedConnection, ScriptedManager, Trace};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// Lends what a `QueuePool` lends, marked at checkout and counted at checkin: `_do_get`,
/// `_do_return_conn`.
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

/// Two replicas: lends from the one with fewer loans, unless its server is gone. Says itself what
/// goes wrong.
struct Replicas {
    name: &'static str,
    pools: [Queue; 2],
}

#[async_trait]
impl Pool for Replicas {
    type Connection = ScriptedConnection;

    async fn acquire_with(&self, request: Request) -> Result<Lease<ScriptedConnection>, PoolError> {
        let cost = |pool: &&Queue| (pool.status().failing_since.is_some(), pool.status().in_use);
        let limit = request.limit.unwrap_or(secs(1));
        match self.pools.iter().min_by_key(cost) {
            Some(pool) if pool.status().failing_since.is_none() => pool.acquire_with(request).await,
            _ => {
                let mut timeout =
                    TimedOut::new(self.name, "Replicas", Phase::Connect, limit, self.status());
                timeout.holders = self.holders();
                Err(PoolError::TimedOut(Box::new(timeout)))
            }
        }
    }

    fn try_acquire_with(&self, request: Request) -> Option<Lease<ScriptedConnection>> {
        self.pools.iter().find_map(|pool| pool.try_acquire_with(request))
    }

    fn name(&self) -> &str {
        self.name
    }

    fn limit(&self) -> u32 {
        self.pools.iter().map(Pool::limit).sum()
    }

    fn holders(&self) -> Vec<Holder> {
        self.pools.iter().flat_map(Pool::holders).collect()
    }

    fn status(&self) -> Status {
        self.pools[0].status()
    }

    async fn close_within(&self, limit: Duration) -> CloseReport {
        let _ = self.pools[0].close_within(limit).await;
        self.pools[1].close_within(limit).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_choice_of_the_least_loaded_avoids_the_replica_that_is_gone() {
    let (gone, good) = (World::new(2, 0), World::new(2, 1));
    gone.manager.always(Call::Connect, Act::transient("connection refused"));
    let pools = [gone.pool.clone(), good.pool.clone()];
    let pool: Arc<dyn Pool<Connection = ScriptedConnection>> =
        Arc::new(Replicas { name: "replicas", pools });
    assert_eq!(
        (pool.name(), pool.limit(), gone.pool.status().failing_since),
        ("replicas", 5, None)
    );
    refused(pool.acquire_within(ms(100)).await);
    assert!(gone.pool.status().failing_since.is_some());
    let leases = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    assert_eq!((pool.holders().len(), good.pool.holders().len()), (2, 2));
    assert_eq!(pool.holders()[0].location.file(), file!());
    good.manager.always(Call::Connect, Act::transient("connection refused"));
    refused(good.pool.acquire_within(ms(100)).await);
    let text = refused(pool.acquire().await).to_string();
    assert!(
        text.starts_with("no connection could be opened") && text.contains("pool `replicas`"),
        "{text}"
    );
    assert!(text.contains("held longest: ") && text.contains("custom_pool.rs"), "{text}");
    drop(leases);
    sleep(secs(60)).await;
    assert_eq!(good.pool.status().failing_since, None, "what failed long ago says nothing of now");
}

#[test]
fn a_custom_pool_reports_to_observers_as_ours_do() {
    let trace = Trace::new();
    trace.observe(&Event::Closing, &EventContext::new("mine", 1));
    assert_eq!(trace.lines(), ["closing"]);
}

/// A counting pool with its world.
fn counting(
    size: u32,
) -> (World, Arc<dyn Pool<Connection = ScriptedConnection>>, Arc<AtomicUsize>) {
    let world = World::new(size, 0);
    let returned = Arc::new(AtomicUsize::new(0));
    let pool = Counting {
        inner: world.pool.clone(),
        lent: AtomicUsize::new(0),
        returned: Arc::clone(&returned),
    };
    (world, Arc::new(pool), returned)
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_wraps_another_sees_every_loan_and_every_return() {
    let (world, pool, returned) = counting(2);
    let lease = pool.acquire().await.unwrap();
    assert_eq!((lease.id(), returned.load(Ordering::SeqCst)), (1, 0));
    assert_eq!(
        Lease::info(&lease).id.get(),
        1,
        "what is known of the connection is known through the wrapper"
    );
    drop(lease);
    assert_eq!(returned.load(Ordering::SeqCst), 1);
    settle().await;
    assert_eq!(
        world.manager.calls(Call::Reset),
        1,
        "the closure ran before the connection went back: it was dirty"
    );
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
        text.starts_with(
            "QueuePool limit of size 1 overflow 0 reached, connection timed out, timeout 2.00"
        ),
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

impl LeaseOwner<ScriptedConnection> for Kept {
    fn returned(&self, held: PooledConnection<ScriptedConnection>) {
        self.out.fetch_sub(1, Ordering::SeqCst);
        let before = self
            .drawer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(held.into_connection());
        drop(before);
    }

    fn discarded(&self, held: PooledConnection<ScriptedConnection>, reason: CloseReason) {
        assert_eq!(reason, CloseReason::Interrupted);
        self.out.fetch_sub(1, Ordering::SeqCst);
        self.discarded.fetch_add(1, Ordering::SeqCst);
        drop(held);
    }

    fn detached(&self, _tag: &LeaseMeta) {
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

    Lease::discard(pool.acquire().await.unwrap(), CloseReason::Interrupted);
    drop(Lease::detach(pool.acquire().await.unwrap()));
    assert_eq!(
        (kept.discarded.load(Ordering::SeqCst), kept.detached.load(Ordering::SeqCst)),
        (1, 1)
    );
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
async fn a_pool_that_counts_its_loans_sees_every_end() {
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
