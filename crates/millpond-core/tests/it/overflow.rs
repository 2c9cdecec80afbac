//! `pool_size` and `max_overflow` mean exactly what they mean to SQLAlchemy, and the cap holds
//! whatever happens.

use crate::support::{World, assert_took, ms, ready, secs, settle, timed};
use millpond_core::{CloseReason, ConnectInfo, Invalidate, Lease, Manager, QueuePool, Status};
use millpond_testkit::{Act, ByHand, Call};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn twelve_users_of_a_pool_of_ten_open_twelve_connections_in_ten_thousand_checkouts() {
    let world = World::new(10, 20);
    let users = (0..12).map(|user| {
        let pool = world.pool.clone();
        tokio::spawn(async move {
            let mut dice = fastrand::Rng::with_seed(user);
            for _ in 0..834 {
                let lease = pool.acquire().await.unwrap();
                sleep(ms(dice.u64(1..=5))).await;
                drop(lease);
            }
        })
    });
    for user in users.collect::<Vec<_>>() {
        user.await.unwrap();
    }
    settle().await;
    assert!(world.pool.status().totals.succeeded > 10_000);
    assert_eq!(world.manager.calls(Call::Connect), 12);
    assert_eq!((world.pool.status().idle, world.manager.alive()), (10, 10));
    assert_eq!(world.trace.count("closed overflow"), 2);
}

/// SQLAlchemy's `(checkedin, overflow, checkedout)`.
fn figures(status: &Status) -> (u32, i64, u32) {
    (status.idle, i64::from(status.open) - i64::from(status.pool_size), status.in_use)
}

#[tokio::test(start_paused = true)]
async fn a_pool_of_three_goes_through_the_figures_of_sqlalchemys_own_test() {
    let world = World::new(3, 10);
    let mut loans = world.leases(1).await;
    assert_eq!(figures(&world.pool.status()), (0, -2, 1));
    loans.extend(world.leases(2).await);
    assert_eq!(figures(&world.pool.status()), (0, 0, 3));
    loans.extend(world.leases(3).await);
    assert_eq!(figures(&world.pool.status()), (0, 3, 6));

    loans.truncate(3);
    settle().await;
    assert_eq!(figures(&world.pool.status()), (3, 3, 3));
    loans.clear();
    settle().await;
    assert_eq!(figures(&world.pool.status()), (3, 0, 0));

    let again = world.leases(2).await;
    assert_eq!(figures(&world.pool.status()), (1, 0, 2));
    drop(again);
    assert_eq!(figures(&world.pool.status()), (3, 0, 0));
    assert_eq!(world.manager.calls(Call::Connect), 6);
}

#[tokio::test(start_paused = true)]
async fn a_returned_connection_is_closed_when_pool_size_are_idle_and_nobody_waits() {
    let world = World::new(2, 2);
    let mut loans = world.leases(4).await;
    loans.truncate(2);
    settle().await;
    assert_eq!(world.manager.alive(), 4);
    loans.truncate(1);
    settle().await;
    assert_eq!((world.manager.alive(), world.pool.status().idle), (3, 2));
    assert_eq!(world.trace.count("closed overflow"), 1);
    assert_eq!(world.manager.closed().len(), 1, "an overflow connection is closed cleanly");
}

#[tokio::test(start_paused = true)]
async fn an_overflow_connection_goes_to_a_waiter_and_is_not_closed() {
    let world = World::new(1, 1);
    let mut loans = world.leases(2).await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    let given = Lease::info(&loans[1]).id;
    loans.truncate(1);
    let lease = ready(waiter.poll()).unwrap();
    assert_eq!(Lease::info(&lease).id, given);
    settle().await;
    assert_eq!(world.trace.count("closed"), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_beyond_the_cap_is_lent() {
    let world = World::new(2, 1);
    let _loans = world.leases(3).await;
    assert!(world.pool.try_acquire().is_none());
    let (result, took) = timed(world.pool.acquire_within(secs(1))).await;
    assert!(result.unwrap_err().is_timeout());
    assert_took(took, secs(1));
    assert_eq!(world.manager.calls(Call::Connect), 3);
}

#[tokio::test(start_paused = true)]
async fn overflow_after_makes_a_caller_wait_before_a_connection_is_opened_beyond_pool_size() {
    let world = World::with(1, 1, |builder| builder.overflow_after(secs(2)));
    let (first, took) = timed(world.pool.acquire()).await;
    assert_took(took, ms(0));
    let (second, took) = timed(world.pool.acquire()).await;
    assert_took(took, secs(2));
    drop((first, second));
}

#[tokio::test(start_paused = true)]
async fn a_return_before_overflow_after_has_passed_saves_the_connection() {
    let world = World::with(1, 1, |builder| builder.overflow_after(secs(2)));
    let lease = world.lease().await;
    let pool = world.pool.clone();
    let waiter = tokio::spawn(async move { timed(pool.acquire()).await });
    sleep(secs(1)).await;
    drop(lease);
    let (lease, took) = waiter.await.unwrap();
    assert_took(took, secs(1));
    sleep(secs(5)).await;
    assert_eq!(world.manager.calls(Call::Connect), 1);
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn overflow_linger_keeps_a_connection_for_the_next_burst_and_no_longer() {
    let world = World::with(1, 2, |builder| builder.overflow_linger(secs(10)).pool_pre_ping(false));
    drop(world.leases(3).await);
    sleep(secs(5)).await;
    assert_eq!(world.manager.alive(), 3);
    drop(world.leases(3).await);
    assert_eq!(
        world.manager.calls(Call::Connect),
        3,
        "the second burst reuses the connections of the first"
    );
    sleep(secs(8)).await;
    assert_eq!(world.manager.alive(), 3, "lingering begins anew with every return");
    sleep(secs(3)).await;
    assert_eq!((world.manager.alive(), world.pool.status().idle), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_holds_its_place_until_its_close_has_ended() {
    let world = World::new(1, 0);
    world.manager.always(Call::Close, Act::slow(secs(1)));
    Lease::discard(world.lease().await, CloseReason::Discarded);
    let (lease, took) = timed(world.pool.acquire()).await;
    assert_took(took, secs(1));
    assert_eq!(world.manager.peak(), 1);
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_close_gives_its_place_back_at_close_timeout() {
    let world = World::with(1, 0, |builder| builder.close_timeout(secs(3)));
    world.manager.always(Call::Close, Act::Never);
    Lease::discard(world.lease().await, CloseReason::Discarded);
    let (lease, took) = timed(world.pool.acquire()).await;
    assert_took(took, secs(3));
    assert_eq!((world.manager.peak(), world.manager.dropped()), (1, vec![1]));
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn five_hundred_users_never_see_more_sockets_than_the_cap() {
    let world = World::new(5, 5);
    world.manager.always(Call::Connect, Act::slow(ms(7)));
    world.manager.always(Call::Close, Act::slow(ms(3)));
    let users = (0..500).map(|user| {
        let pool = world.pool.clone();
        tokio::spawn(async move {
            let mut dice = fastrand::Rng::with_seed(user);
            let start = Instant::now();
            while start.elapsed() < secs(2) {
                let Ok(lease) = pool.acquire().await else { continue };
                sleep(ms(dice.u64(0..4))).await;
                match dice.u32(0..10) {
                    0 => Lease::discard(lease, CloseReason::Discarded),
                    1 => drop(Lease::detach(lease)),
                    _ => drop(lease),
                }
                sleep(ms(dice.u64(0..200))).await;
            }
        })
    });
    for user in users.collect::<Vec<_>>() {
        user.await.unwrap();
    }
    assert_eq!(world.manager.peak(), 10, "the cap is used, and never exceeded");
    world.assert_sound().await;
}

/// Opens connections that look at their own pool when they are dropped.
#[derive(Clone, Default)]
struct Looking {
    pool: Arc<OnceLock<QueuePool<Looking>>>,
    /// How many connections the pool counted as open while one of them was being dropped.
    seen: Arc<Mutex<Vec<u32>>>,
}

struct Looker(Looking);

impl Drop for Looker {
    fn drop(&mut self) {
        if let Some(pool) = self.0.pool.get() {
            self.0.seen.lock().unwrap().push(pool.status().open);
        }
    }
}

impl Manager for Looking {
    type Connection = Looker;
    type Error = std::io::Error;

    async fn connect(&self, _: &ConnectInfo) -> Result<Looker, std::io::Error> {
        Ok(Looker(self.clone()))
    }

    async fn ping(&self, _: &mut Looker) -> Result<(), std::io::Error> {
        Ok(())
    }
}

/// How a connection may end.
type End = fn(&QueuePool<Looking>, Lease<Looker>);

#[test]
fn a_place_is_free_only_when_its_connection_is_gone() {
    let ways: [(&str, End); 5] = [
        ("discarded", |_, lease| Lease::discard(lease, CloseReason::Interrupted)),
        ("invalidated while lent", |pool, _lease| pool.invalidate_all(Invalidate::Hard)),
        ("closed", |pool, _lease| drop(ByHand::new(pool.close()).poll())),
        ("invalidated while idle", |pool, lease| {
            drop(lease);
            pool.invalidate_all(Invalidate::Hard);
        }),
        ("left to the end of the runtime", |_, lease| drop(lease)),
    ];
    let mut early = Vec::new();
    for (way, end) in ways {
        let runtime =
            Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let manager = Looking::default();
        let pool =
            QueuePool::builder(manager.clone()).pool_size(1).max_overflow(0).build().unwrap();
        manager.pool.set(pool.clone()).unwrap_or_else(|_| unreachable!());
        runtime.block_on(async {
            end(&pool, pool.acquire().await.unwrap());
            settle().await;
        });
        drop(runtime);
        if *manager.seen.lock().unwrap() != [1] {
            early.push(way);
        }
    }
    assert!(early.is_empty(), "the place was given away before its connection was gone: {early:?}");
}

/// Once went wrong: when both who stood first were entitled already, nobody looked when the third
/// one would be.
#[tokio::test(start_paused = true)]
async fn one_who_moves_up_in_the_queue_gets_an_overflow_connection_in_its_time_too() {
    let world = World::with(1, 5, |builder| builder.overflow_after(ms(50)).max_connecting(1));
    let _held = world.lease().await;
    world.manager.always(Call::Connect, Act::slow(ms(10)));
    let first = tokio::spawn(world.pool.acquire_within(secs(9)));
    let impatient = tokio::spawn(world.pool.acquire_within(ms(55)));
    sleep(ms(30)).await;
    let (third, took) = timed(world.pool.acquire_within(secs(9))).await;
    assert_took(took, ms(60));
    assert!(third.is_ok() && first.await.unwrap().is_ok() && impatient.await.unwrap().is_err());
}
