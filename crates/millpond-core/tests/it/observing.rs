//! The stream of events: complete, in order, and harmless whatever the observer does.

use crate::support::{Pool, World, ms, quiet, secs, settle};
use millpond_core::{
    CloseReason, Event, EventContext, Histogram, Interest, Invalidate, Lease, Observer,
    PoolHistograms, QueuePool,
};
use millpond_testkit::{Act, ByHand, Call, ScriptedManager, Trace};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_checkout_reads_as_a_story() {
    let world = World::new(1, 1);
    let lease = world.lease().await;
    let second = world.lease().await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    drop(waiter);
    drop(lease);
    drop(second);
    settle().await;
    let _ = world.pool.close().await;
    assert_eq!(
        world.trace.lines(),
        [
            "waiting 1",
            "connecting #1",
            "connected #1",
            "acquired #1",
            "waiting 1",
            "connecting #2",
            "connected #2",
            "acquired #2",
            "waiting 1",
            "acquire cancelled",
            "returned #1",
            "returned #2",
            "closed overflow #2",
            "closing",
            "closed pool_closed #1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_lent_with_one_event_and_returned_with_one() {
    let world = World::new(1, 0);
    world.idle(1).await;
    world.trace.clear();
    drop(world.lease().await);
    assert_eq!(world.trace.lines(), ["acquired #1", "returned #1"]);
}

#[tokio::test(start_paused = true)]
async fn events_show_how_long_things_took_and_who_asked() {
    let world = World::new(1, 0);
    world.manager.always(Call::Connect, Act::slow(secs(2)));
    let (lease, line) = (world.pool.acquire().await.unwrap(), line!());
    sleep(secs(3)).await;
    drop(lease);
    let mut seen = 0;
    for (_, event) in world.trace.events() {
        match event {
            Event::Connected { took, .. } => assert_eq!(took.as_secs(), 2),
            Event::Acquired { waited, location, .. } => {
                assert_eq!((waited.as_secs(), location.line()), (2, line))
            }
            Event::Returned { held, .. } => assert_eq!(held.as_secs(), 3),
            _ => continue,
        }
        seen += 1;
    }
    assert_eq!(seen, 3);
}

/// Wants no event of a loan that goes well; keeps what it gets, and the pool's measurements if it
/// asked for them.
struct Reserved {
    interest: Interest,
    seen: Trace,
    times: Mutex<Option<Arc<PoolHistograms>>>,
}

impl Reserved {
    fn new(interest: Interest) -> Arc<Self> {
        Arc::new(Self { interest, seen: Trace::new(), times: Mutex::default() })
    }
}

impl Observer for Reserved {
    fn observe(&self, event: &Event, context: &EventContext<'_>) {
        self.seen.observe(event, context);
    }

    fn interest(&self) -> Interest {
        self.interest
    }

    fn attach_histograms(&self, _pool: &str, times: Arc<PoolHistograms>) {
        *self.times.lock().unwrap() = Some(times);
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_of_incidents_gets_everything_but_the_loans_that_go_well() {
    let (reserved, curious) = (Reserved::new(Interest::Incidents), Trace::new());
    let builder = QueuePool::builder(ScriptedManager::new()).pool_size(1).max_overflow(0);
    let pool = builder.observer(Arc::clone(&reserved)).observer(curious.clone()).build().unwrap();
    let lease = pool.acquire().await.unwrap();
    assert!(pool.acquire_within(ms(5)).await.is_err());
    let mut waiter = ByHand::new(pool.acquire());
    assert!(waiter.poll().is_pending());
    drop((waiter, lease));
    drop(pool.try_acquire().unwrap());
    let _ = pool.close().await;
    let routine = |line: &&String| {
        ["waiting", "acquired", "returned"].iter().any(|word| line.starts_with(word))
    };
    let lines = curious.lines();
    assert_eq!(lines.iter().filter(routine).count(), 7);
    let incidents: Vec<_> =
        lines.iter().filter(|line| !line.starts_with("acquired #") && !routine(line)).collect();
    assert_eq!(reserved.seen.lines().iter().collect::<Vec<_>>(), incidents);
    assert!(incidents.len() >= 5, "{incidents:?}");
    assert!(reserved.times.lock().unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_observer_of_incidents_sees_a_connection_that_is_held_for_long() {
    let reserved = Reserved::new(Interest::Incidents);
    let builder = QueuePool::builder(ScriptedManager::new())
        .pool_size(1)
        .max_overflow(0)
        .leak_after(secs(60));
    let pool = builder.observer(Arc::clone(&reserved)).build().unwrap();
    drop(pool.acquire().await.unwrap());
    quiet().await;
    let _lease = pool.acquire().await.unwrap();
    sleep(secs(61)).await;
    assert_eq!(reserved.seen.count("leaked"), 1, "{:?}", reserved.seen.lines());
}

/// What a histogram has counted, in milliseconds.
fn millis(spans: &Histogram) -> Vec<(u64, u64)> {
    let counted = spans.classes().filter(|(_, count)| *count > 0);
    counted.map(|(nanos, count)| ((nanos / 1e6).round() as u64, count)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_pool_measures_every_wait_and_every_loan_once_for_who_wants_to_know() {
    let observer = Reserved::new(Interest::Measurements);
    let manager = ScriptedManager::new();
    manager.always(Call::Connect, Act::slow(ms(3)));
    let builder = QueuePool::builder(manager).pool_size(1).max_overflow(0);
    let pool = builder.observer(Arc::clone(&observer)).build().unwrap();
    let times = observer.times.lock().unwrap().clone().unwrap();
    // It is opened, and held for 5 ms while two wait; one of them gives up, the other one holds it
    // for 8 ms.
    let lease = pool.acquire().await.unwrap();
    let (mut first, mut second) = (ByHand::new(pool.acquire()), ByHand::new(pool.acquire()));
    assert!(first.poll().is_pending() && second.poll().is_pending());
    sleep(ms(5)).await;
    drop(lease);
    drop(first);
    let Poll::Ready(Ok(lease)) = second.poll() else { panic!("it was its turn") };
    sleep(ms(8)).await;
    drop(lease);
    // At once, and held for 1 ms; then without waiting, and discarded after 2 ms.
    let lease = pool.acquire().await.unwrap();
    sleep(ms(1)).await;
    drop(lease);
    let lease = pool.try_acquire().unwrap();
    sleep(ms(2)).await;
    Lease::discard(lease, CloseReason::Discarded);
    settle().await;
    assert_eq!(millis(times.connect()), [(3, 1)]);
    assert_eq!(millis(times.wait()), [(0, 2), (3, 1), (5, 1)]);
    assert_eq!(millis(times.hold()), [(1, 1), (2, 1), (5, 1), (8, 1)]);
    assert_eq!(pool.status().totals.succeeded, 4);
}

/// Some of everything: overflow, errors, cancels, discards, detaches, invalidation, resize, close.
async fn a_busy_day(world: &World) {
    let mut dice = fastrand::Rng::with_seed(11);
    for step in 0..400 {
        let (pool, choice, hold) = (world.pool.clone(), dice.u32(0..10), dice.u64(0..40));
        tokio::spawn(async move {
            let Ok(mut lease) = pool.acquire_within(ms(30)).await else { return };
            sleep(ms(hold)).await;
            match choice {
                0 => Lease::discard(lease, CloseReason::Interrupted),
                1 => drop(Lease::detach(lease)),
                2 => lease.set_dirty(true),
                _ => drop(lease),
            }
        });
        match step {
            100 => world.manager.next(Call::Connect, vec![Act::transient("away"); 5]),
            150 => world.manager.next(Call::Reset, [Act::broken("gone"), Act::Panic]),
            200 => world.pool.invalidate_all(Invalidate::Soft),
            250 => world.pool.resize(2, 0).unwrap(),
            300 => world.pool.resize(4, 2).unwrap(),
            350 => world.pool.invalidate_all(Invalidate::Hard),
            _ => {}
        }
        sleep(ms(dice.u64(0..10))).await;
    }
    sleep(secs(30)).await;
    let report = world.pool.close().await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn seq_counts_every_event_without_a_gap() {
    let world = World::new(4, 2);
    a_busy_day(&world).await;
    let seqs: Vec<u64> = world.trace.events().iter().map(|(seq, _)| *seq).collect();
    assert!(seqs.len() > 1_000);
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap or a twin");
}

#[tokio::test(start_paused = true)]
async fn every_connection_is_connected_once_and_then_closed_or_detached_once() {
    let world = World::hooked(4, 2, |builder| builder);
    a_busy_day(&world).await;
    let mut lives: HashMap<u64, Vec<&'static str>> = HashMap::new();
    for (_, event) in world.trace.events() {
        let (id, what) = match event {
            Event::Connected { id, .. } => (id, "connected"),
            Event::Closed { id, .. } => (id, "ended"),
            Event::Detached { id } => (id, "ended"),
            _ => continue,
        };
        lives.entry(id.get()).or_default().push(what);
    }
    assert!(lives.len() > 20);
    for (id, life) in &lives {
        assert_eq!(*life, ["connected", "ended"], "connection {id}");
    }
    assert_eq!(world.pool.status().totals.created as usize, lives.len());
}

#[tokio::test(start_paused = true)]
async fn loans_and_returns_alternate_for_each_connection() {
    let world = World::new(4, 2);
    a_busy_day(&world).await;
    let mut out: HashMap<u64, bool> = HashMap::new();
    for (seq, event) in world.trace.events() {
        let (id, lent) = match event {
            Event::Acquired { id, .. } => (id, true),
            Event::Returned { id, .. } | Event::Detached { id } => (id, false),
            Event::Closed { id, .. } => {
                out.insert(id.get(), false);
                continue;
            }
            _ => continue,
        };
        let before = out.insert(id.get(), lent).unwrap_or(false);
        assert_ne!(before, lent, "connection {id} at {seq}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_events_of_acquires_are_the_totals() {
    let world = World::new(4, 2);
    a_busy_day(&world).await;
    let totals = world.pool.status().totals;
    let count = |words: &str| world.trace.count(words) as u64;
    assert_eq!(count("acquired"), totals.succeeded);
    assert_eq!(count("acquire failed timed_out"), totals.timed_out);
    assert_eq!(count("acquire failed") - count("acquire failed timed_out"), totals.failed);
    assert_eq!(count("acquire cancelled"), totals.cancelled);
    assert_eq!(
        (count("connected"), count("closed"), count("detached")),
        (totals.created, totals.closed, totals.detached)
    );
    assert_eq!(count("connect failed"), totals.connect_failed);
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_costs_nothing() {
    let (manager, seen) = (ScriptedManager::new(), Arc::new(AtomicUsize::new(0)));
    let (counter, after) = (Arc::clone(&seen), Trace::new());
    let pool = Pool::builder(manager.clone())
        .pool_size(2)
        .max_overflow(1)
        .observer(move |_: &Event, _: &EventContext<'_>| {
            counter.fetch_add(1, Ordering::SeqCst);
            std::panic::resume_unwind(Box::new("an observer's own"));
        })
        .observer(after.clone())
        .build()
        .unwrap();
    let world = World { manager, trace: after, pool };
    a_busy_day(&world).await;
    assert_eq!(
        seen.load(Ordering::SeqCst),
        world.trace.events().len(),
        "both observers get everything"
    );
    assert_eq!(world.manager.sockets(), 0);
}

#[tokio::test(start_paused = true)]
async fn several_observers_get_the_same_under_the_pools_name() {
    let (first, second, manager) = (Trace::new(), Trace::new(), ScriptedManager::new());
    let named = |_: &Event, context: &EventContext<'_>| assert_eq!(context.pool, "orders");
    let pool = Pool::builder(manager)
        .name("orders")
        .observer(first.clone())
        .observer(Arc::new(named))
        .observer(second.clone());
    let pool = pool.build().unwrap();
    assert_eq!(pool.name(), "orders");
    drop(pool.acquire().await.unwrap());
    quiet().await;
    assert_eq!(first.lines(), second.lines());
    assert!(!first.lines().is_empty());
}

/// What the pool calls may call the pool: no lock is held.
#[tokio::test(start_paused = true)]
async fn managers_hooks_and_observers_may_look_at_the_pool_and_try_it() {
    let (manager, trace) = (ScriptedManager::new(), Trace::new());
    let itself: Arc<OnceLock<Pool>> = Arc::default();
    let peek = |itself: &Arc<OnceLock<Pool>>| {
        if let Some(pool) = itself.get() {
            crate::support::assert_books(&pool.status());
            let _ = (pool.holders(), pool.is_closed());
            drop(pool.try_acquire());
        }
    };
    let (observing, depth) = (Arc::clone(&itself), Arc::new(AtomicUsize::new(0)));
    let pool = Pool::builder(manager.clone())
        .pool_size(4)
        .max_overflow(2)
        .observer(move |_: &Event, _: &EventContext<'_>| {
            // What it does causes events, which it would get in turn without end.
            if depth.fetch_add(1, Ordering::SeqCst) == 0 {
                peek(&observing);
            }
            depth.fetch_sub(1, Ordering::SeqCst);
        })
        .observer(trace.clone())
        .build()
        .unwrap();
    let (probing, probes) = (Arc::clone(&itself), AtomicUsize::new(0));
    manager.probe(move |_| {
        if probes.fetch_add(1, Ordering::SeqCst) % 2 == 0 {
            peek(&probing);
        }
    });
    itself.set(pool.clone()).unwrap();
    let world = World { manager, trace, pool };
    a_busy_day(&world).await;
    assert_eq!(world.manager.sockets(), 0);
}
