//! The same promises on several threads at once, where things really happen at the same time.

use crate::support::{Pool, World, assert_books, assert_books_closed, ms, quiet, refused, secs};
use millpond_core::{CloseReason, Lease};
use millpond_testkit::{ByHand, poll_n, poll_n_woken};
use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use tokio::time::timeout;

/// One who takes turns, gives up at random, and leaves connections in every state.
async fn a_restless_user(pool: Pool, seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    for _ in 0..400 {
        let patience = dice.usize(0..4);
        let lease = match dice.u32(0..4) {
            0 => poll_n(pool.acquire(), patience).await,
            1 => poll_n_woken(pool.acquire(), patience).await,
            _ => Some(pool.acquire().await),
        };
        let Some(lease) = lease else { continue };
        let mut lease = lease.unwrap();
        if dice.bool() {
            tokio::task::yield_now().await;
        }
        match dice.u32(0..20) {
            0 => Lease::discard(lease, CloseReason::Interrupted),
            1 => drop(Lease::detach(lease)),
            2 => lease.set_dirty(true),
            _ => drop(lease),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_users_on_four_threads_lose_no_place_and_no_wake_up() {
    let world = World::hooked(3, 2, |builder| builder);
    let users: Vec<_> =
        (0..64).map(|seed| tokio::spawn(a_restless_user(world.pool.clone(), seed))).collect();
    for user in users {
        user.await.unwrap();
    }
    while world.pool.status().resetting
        + world.pool.status().closing
        + world.pool.status().connecting
        > 0
    {
        tokio::task::yield_now().await;
    }
    let status = world.pool.status();
    assert_books_closed(&status);
    assert_eq!((status.in_use, world.manager.alive()), (0, status.open as usize));
    let loans = world.leases(5).await;
    assert!(world.pool.try_acquire().is_none());
    drop(loans);
    assert!(world.pool.close().await.is_clean());
    assert_eq!(world.manager.sockets(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn seq_has_no_gap_and_no_twin_when_events_come_from_four_threads() {
    let world = World::new(3, 2);
    let users: Vec<_> =
        (0..16).map(|seed| tokio::spawn(a_restless_user(world.pool.clone(), seed))).collect();
    for user in users {
        user.await.unwrap();
    }
    assert!(world.pool.close().await.is_clean());
    // The last events are on their way to the observer when the last place is free.
    while world.trace.count("closed") < usize::try_from(world.pool.status().totals.closed).unwrap()
    {
        tokio::task::yield_now().await;
    }
    let seqs: Vec<u64> = world.trace.events().iter().map(|(seq, _)| *seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap or a twin");
}

/// The maintenance task sits in the queue of a thread that a task blocks, where no other thread can
/// get at it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_is_blocked_keeps_no_waiter_on_another_beyond_its_deadline() {
    let world = World::new(2, 0);
    let _held = world.lease().await;
    let mut dirty = world.lease().await;
    dirty.set_dirty(true);
    let (pool, (ended, blocked)) = (world.pool.clone(), mpsc::channel());
    let blocker = tokio::spawn(async move {
        tokio::spawn(async move {
            let error = refused(pool.acquire_within(ms(100)).await);
            ended.send(error).unwrap();
        });
        // Wakes the maintenance task, as the next task of this thread.
        drop(dirty);
        blocked.recv_timeout(secs(60))
    });
    let error =
        blocker.await.unwrap().expect("the waiter was still waiting when the thread went on");
    assert!(error.is_timeout(), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn every_look_at_the_status_is_consistent() {
    let world = World::new(3, 2);
    let done = Arc::new(AtomicBool::new(false));
    let (pool, seen) = (world.pool.clone(), Arc::clone(&done));
    let looker = thread::spawn(move || {
        // At least once: on one core the users may be done before it begins.
        loop {
            let last = seen.load(Ordering::SeqCst);
            let status = pool.status();
            assert_books(&status);
            assert!(status.open + status.connecting <= status.limit(), "{status:?}");
            if last {
                break;
            }
        }
    });
    let users: Vec<_> =
        (0..32).map(|seed| tokio::spawn(a_restless_user(world.pool.clone(), seed))).collect();
    for user in users {
        user.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    looker.join().unwrap();
}

/// A manager and hooks that ask their own pool how it is, in every call.
#[test]
fn no_lock_of_the_pool_is_held_while_a_manager_or_a_hook_is_called() {
    let (done, ended) = mpsc::channel();
    // In a thread of its own: a thread that waits for a lock that it holds never comes back.
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::hooked(1, 1, |builder| builder.pre_ping_idle(ms(0)));
            let (pool, asked) = (world.pool.clone(), Arc::new(Mutex::new(HashSet::new())));
            let calls = Arc::clone(&asked);
            world.manager.probe(move |call| {
                assert!(pool.status().open <= 2);
                calls.lock().unwrap().insert(call);
            });
            for _ in 0..3 {
                let mut lease = world.lease().await;
                lease.set_dirty(true);
                drop(lease);
                while world.pool.status().resetting > 0 {
                    tokio::task::yield_now().await;
                }
            }
            assert!(world.pool.close().await.is_clean());
            let calls = asked.lock().unwrap().len();
            done.send(calls).unwrap();
        });
    });
    assert_eq!(
        ended.recv_timeout(secs(60)),
        Ok(10),
        "every call was made, and every question was answered"
    );
}

/// A waker that asks the pool how it is when it is woken, and when it is dropped.
struct Curious(Pool);

impl Wake for Curious {
    fn wake(self: Arc<Self>) {
        assert!(self.0.status().open <= 2);
    }
}

impl Drop for Curious {
    fn drop(&mut self) {
        assert!(self.0.status().open <= 2);
    }
}

/// Polls with a new waker each time, so that whatever kept the one before drops it now.
fn poll_anew<F: Future>(future: &mut Pin<Box<F>>, pool: &Pool) -> Poll<F::Output> {
    let waker = Waker::from(Arc::new(Curious(pool.clone())));
    future.as_mut().poll(&mut Context::from_waker(&waker))
}

#[test]
fn no_lock_of_the_pool_is_held_while_a_waker_is_woken_or_dropped() {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for (hooked, limit) in
                [(false, ms(600)), (false, secs(5)), (true, ms(600)), (true, secs(5))]
            {
                let world =
                    if hooked { World::hooked(2, 0, |builder| builder) } else { World::new(2, 0) };
                let (pool, mut leases) = (world.pool.clone(), world.leases(2).await);
                let mut waiters: Vec<_> =
                    (0..3).map(|_| Box::pin(pool.acquire_within(limit))).collect();
                for _ in 0..3 {
                    waiters
                        .iter_mut()
                        .for_each(|waiter| assert!(poll_anew(waiter, &pool).is_pending()));
                }
                leases.pop();
                let served = loop {
                    match poll_anew(&mut waiters[0], &pool) {
                        // On a stalling machine its time may be over.
                        Poll::Ready(lease) => break lease.ok(),
                        Poll::Pending => tokio::task::yield_now().await,
                    }
                };
                drop((waiters.pop(), served));
                drop(waiters);
                let (mut warming, mut closing) =
                    (Box::pin(pool.prewarm(2)), Box::pin(pool.close()));
                assert!(poll_anew(&mut warming, &pool).is_ready());
                (0..2).for_each(|_| assert!(poll_anew(&mut closing, &pool).is_pending()));
            }
            done.send(()).unwrap();
        });
    });
    assert_eq!(ended.recv_timeout(secs(60)), Ok(()));
}

/// A waker that panics.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("a waker of a broken runtime");
    }
}

#[tokio::test]
async fn a_waker_that_panics_costs_no_other_pool_its_deadlines() {
    let (broken, sound) = (World::new(1, 0), World::new(1, 0));
    let _held = (broken.lease().await, sound.lease().await);
    quiet().await;
    let mut bomb = Box::pin(broken.pool.acquire());
    let waker = Waker::from(Arc::new(Bomb));
    assert!(bomb.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let mut waiter = ByHand::new(sound.pool.acquire_within(ms(200)));
    assert!(waiter.poll().is_pending());
    let woken = async {
        while waiter.wakes() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(secs(60), woken).await.expect("nobody has woken it");
}

#[tokio::test]
async fn a_waker_that_panics_keeps_no_other_waiter_from_being_woken() {
    let world = World::new(1, 0);
    let _held = world.lease().await;
    let mut bomb = Box::pin(world.pool.acquire());
    let waker = Waker::from(Arc::new(Bomb));
    assert!(bomb.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let mut second = ByHand::new(world.pool.acquire());
    assert!(second.poll().is_pending());
    let closing = tokio::spawn({
        let pool = world.pool.clone();
        async move { pool.close().await }
    });
    quiet().await;
    assert!(!closing.is_finished(), "it waits for what is lent, and has not panicked");
    assert_eq!(second.wakes(), 1);
    assert!(world.trace.count("panicked") > 0, "{:?}", world.trace.lines());
}
