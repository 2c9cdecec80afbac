//! Who gets the next connection: waiters in order of arrival, nobody past a waiter, the freshest
//! connection first.

use crate::support::{
    Loan, Pool, World, assert_took, ms, quiet, ready, refused, secs, settle, timed,
};
use millpond_core::{AcquireFailure, CloseReason, Lease, PoolError};
use millpond_testkit::{Act, ByHand, Call, Gate};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_order_of_arrival() {
    let world = World::new(1, 0);
    let lease = world.lease().await;
    let mut waiters: Vec<_> = (0..5).map(|_| ByHand::new(world.pool.acquire())).collect();
    for waiter in &mut waiters {
        assert!(waiter.poll().is_pending());
    }
    drop(lease);
    for n in 0..waiters.len() {
        assert!(waiters[n].wakes() > 0, "waiter {n} was not woken in its turn");
        for later in &mut waiters[n + 1..] {
            assert!(later.poll().is_pending());
        }
        drop(ready(waiters[n].poll()).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn of_all_who_wait_only_the_one_who_is_served_is_woken() {
    for world in [World::new(1, 0), World::unwatched(1, 0, |builder| builder)] {
        let mut lease = Some(world.lease().await);
        let mut waiters: Vec<_> = (0..5).map(|_| ByHand::new(world.pool.acquire())).collect();
        assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
        for served in 0..5 {
            drop(lease.take());
            let woken: Vec<usize> = waiters.iter().map(ByHand::wakes).collect();
            let expected: Vec<usize> = (0..5).map(|waiter| usize::from(waiter <= served)).collect();
            assert_eq!(woken, expected);
            lease = Some(ready(waiters[served].poll()).unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_pass_a_waiter_who_has_not_run_yet() {
    let world = World::new(1, 0);
    let lease = world.lease().await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    drop(lease);

    let mut newcomer = ByHand::new(world.pool.acquire());
    assert!(newcomer.poll().is_pending());
    assert!(world.pool.try_acquire().is_none());
    assert!(refused(world.pool.acquire_within(Duration::ZERO).await).is_timeout());
    drop(ready(waiter.poll()).unwrap());
    drop(ready(newcomer.poll()).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_queues_behind_waiters_when_a_connection_is_being_opened() {
    let world = World::new(2, 0);
    let gate = Gate::new();
    world.manager.always(Call::Connect, Act::gated(&gate));
    let mut first = ByHand::new(world.pool.acquire());
    assert!(first.poll().is_pending());
    quiet().await;
    let mut second = ByHand::new(world.pool.acquire());
    assert!(second.poll().is_pending());
    quiet().await;
    gate.let_one_through();
    quiet().await;
    assert!(second.poll().is_pending());
    let lease = ready(first.poll()).unwrap();
    drop(lease);
    drop(ready(second.poll()).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_waiter_is_passed_over() {
    let world = World::new(1, 0);
    let lease = world.lease().await;
    let mut first = ByHand::new(world.pool.acquire());
    let mut second = ByHand::new(world.pool.acquire());
    assert!(first.poll().is_pending() && second.poll().is_pending());
    drop(first);
    assert_eq!(world.pool.status().waiting, 1);
    drop(lease);
    drop(ready(second.poll()).unwrap());
    assert_eq!(world.pool.status().totals.cancelled, 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_who_goes_away_after_the_hand_over_passes_the_connection_on() {
    let world = World::new(1, 0);
    let lease = world.lease().await;
    let mut first = ByHand::new(world.pool.acquire());
    let mut second = ByHand::new(world.pool.acquire());
    assert!(first.poll().is_pending() && second.poll().is_pending());
    drop(lease);
    assert!(first.wakes() > 0);
    drop(first);
    assert!(second.wakes() > 0, "the wake-up was lost");
    drop(ready(second.poll()).unwrap());
    assert!(world.pool.try_acquire().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_connection_returned_last_is_lent_first() {
    let world = World::new(3, 0);
    let mut loans = world.leases(3).await;
    let ids: Vec<_> = loans.iter().map(|lease| lease.id()).collect();
    drop(loans.remove(1));
    drop(loans.remove(1));
    drop(loans.remove(0));
    let again: Vec<_> = world.leases(3).await.iter().map(|lease| lease.id()).collect();
    assert_eq!(again, [ids[0], ids[2], ids[1]]);
}

#[tokio::test(start_paused = true)]
async fn one_caller_more_than_max_waiters_is_turned_away_at_once() {
    let world = World::with(1, 0, |builder| builder.max_waiters(2));
    let lease = world.lease().await;
    let mut waiters = [ByHand::new(world.pool.acquire()), ByHand::new(world.pool.acquire())];
    for waiter in &mut waiters {
        assert!(waiter.poll().is_pending());
    }
    let (result, took) = timed(world.pool.acquire()).await;
    assert_took(took, Duration::ZERO);
    let error = refused(result);
    assert!(matches!(error, PoolError::TooManyWaiters { limit: 2 }), "{error:?}");
    assert_eq!(error.to_string(), "as many callers are waiting already as max_waiters = 2 allows");
    assert_eq!(error.kind(), AcquireFailure::TooManyWaiters);
    assert_eq!(world.pool.status().totals.failed, 1);

    drop(lease);
    let [mut first, second] = waiters;
    let _lease = ready(first.poll()).unwrap();
    drop(second);
    assert!(
        ByHand::new(world.pool.acquire()).poll().is_pending(),
        "there is room in the queue again"
    );
}

#[tokio::test(start_paused = true)]
async fn twenty_five_thousand_waiters_on_two_connections_are_served_in_order() {
    let world = World::new(2, 0);
    let hold = world.leases(2).await;
    let served = Arc::new(Mutex::new(Vec::new()));
    let waiters = (0..25_000).map(|n| {
        let (pool, served) = (world.pool.clone(), Arc::clone(&served));
        tokio::spawn(async move {
            let lease = pool.acquire().await.unwrap();
            served.lock().unwrap().push(n);
            tokio::task::yield_now().await;
            drop(lease);
        })
    });
    let waiters: Vec<_> = waiters.collect();
    settle().await;
    assert_eq!(world.pool.status().waiting, 25_000);
    drop(hold);
    for waiter in waiters {
        waiter.await.unwrap();
    }
    assert!(served.lock().unwrap().iter().copied().eq(0..25_000), "somebody was passed");
    assert_eq!(world.manager.calls(Call::Connect), 2);
}

#[tokio::test(start_paused = true)]
async fn of_sixty_four_greedy_tasks_on_two_connections_none_gets_a_fifth_more_than_another() {
    let world = World::new(2, 0);
    let start = Instant::now();
    let tasks = (0..64).map(|_| {
        let pool = world.pool.clone();
        tokio::spawn(async move {
            let mut turns = 0_u32;
            while start.elapsed() < secs(3) {
                let lease = pool.acquire().await.unwrap();
                sleep(ms(1)).await;
                drop(lease);
                turns += 1;
            }
            turns
        })
    });
    let mut turns = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        turns.push(task.await.unwrap());
    }
    let (most, least) = (turns.iter().max().unwrap(), turns.iter().min().unwrap());
    assert!(*least > 20, "{turns:?}");
    assert!(f64::from(*most) <= 1.2 * f64::from(*least), "most {most}, least {least}");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_tasks_take_one_connection_twice_each() {
    let world = World::new(1, 0);
    let tasks = (0..100).map(|_| {
        let pool = world.pool.clone();
        tokio::spawn(async move {
            for _ in 0..2 {
                let lease = pool.acquire().await.unwrap();
                tokio::task::yield_now().await;
                drop(lease);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(world.pool.status().totals.succeeded, 200);
    assert_eq!(world.manager.calls(Call::Connect), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_come_back_makes_room_for_a_waiter() {
    for end in [
        |lease| Lease::discard(lease, CloseReason::Interrupted),
        |lease| drop(Lease::detach(lease)),
    ] {
        let world = World::new(2, 0);
        let tasks = (0..10).map(|_| {
            let pool = world.pool.clone();
            tokio::spawn(async move { end(pool.acquire().await.unwrap()) })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        settle().await;
        assert_eq!(world.manager.calls(Call::Connect), 10);
        assert_eq!(world.manager.alive(), 0);
        world.assert_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_takes_a_return_when_it_comes_before_the_new_connection() {
    let world = World::new(2, 0);
    let lease = world.lease().await;
    let returned = lease.id();
    world.manager.always(Call::Connect, Act::slow(secs(5)));
    let pool = world.pool.clone();
    let waiter = tokio::spawn(async move { timed(pool.acquire()).await });
    sleep(secs(1)).await;
    drop(lease);
    let (lease, took) = waiter.await.unwrap();
    assert_took(took, secs(1));
    assert_eq!(lease.unwrap().id(), returned);
    sleep(secs(5)).await;
    assert_eq!(
        (world.manager.alive(), world.pool.status().idle),
        (2, 2),
        "the late connection is kept"
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiter_takes_the_new_connection_when_it_comes_before_a_return() {
    let world = World::new(2, 0);
    let held = world.lease().await;
    world.manager.always(Call::Connect, Act::slow(secs(1)));
    let (lease, took) = timed(world.pool.acquire()).await;
    assert_took(took, secs(1));
    assert_ne!(lease.unwrap().id(), held.id());
}

#[tokio::test(start_paused = true)]
async fn ten_users_take_turns_on_four_connections_and_open_no_fifth() {
    let world = World::new(4, 0);
    let users = (0..20).map(|_| {
        let pool = world.pool.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                let lease = pool.acquire().await.unwrap();
                sleep(ms(1)).await;
                drop(lease);
            }
        })
    });
    for user in users.collect::<Vec<_>>() {
        user.await.unwrap();
    }
    assert_eq!(world.manager.calls(Call::Connect), 4);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_callers_whose_time_is_short_does_not_churn_connections() {
    let world = World::new(4, 0);
    world.manager.always(Call::Connect, Act::slow(ms(50)));
    let start = Instant::now();
    let callers = (0..400).map(|n| {
        let pool = world.pool.clone();
        tokio::spawn(async move {
            sleep(ms(n % 100)).await;
            while start.elapsed() < secs(5) {
                if let Ok(lease) = pool.acquire_within(ms(20)).await {
                    sleep(ms(5)).await;
                    drop(lease);
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert_eq!(
        world.manager.calls(Call::Connect),
        4,
        "a connection that comes too late for its caller is kept"
    );
}

/// A task of its own that borrows and returns on command.
struct Borrower(mpsc::UnboundedSender<oneshot::Sender<u64>>);

impl Borrower {
    fn of(pool: &Pool) -> Self {
        let (orders, mut received) = mpsc::unbounded_channel::<oneshot::Sender<u64>>();
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut lease: Option<Loan> = None;
            while let Some(done) = received.recv().await {
                let (id, now) = match lease.take() {
                    Some(lease) => (lease.id(), None),
                    None => {
                        let lease = pool.acquire().await.unwrap();
                        (lease.id(), Some(lease))
                    }
                };
                lease = now;
                done.send(id).unwrap();
            }
        });
        Self(orders)
    }

    /// Borrows, or gives back what it has; the number of the connection.
    async fn turn(&self) -> u64 {
        let (done, id) = oneshot::channel();
        self.0.send(done).unwrap();
        id.await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_gets_the_connection_again_that_it_had_last() {
    for world in [World::new(3, 0), World::unwatched(3, 0, |builder| builder)] {
        let [early, late, stranger] = [(); 3].map(|()| Borrower::of(&world.pool));
        let (first, second) = (early.turn().await, late.turn().await);
        early.turn().await;
        late.turn().await;
        assert_eq!(early.turn().await, first, "though another one came back later");
        early.turn().await;
        late.turn().await;
        assert_eq!(late.turn().await, second);
        assert_eq!(stranger.turn().await, second, "who has had none gets the freshest");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_gets_another_connection_than_its_last_if_that_would_have_to_be_pinged() {
    let world = World::new(2, 0);
    let [early, late] = [(); 2].map(|()| Borrower::of(&world.pool));
    let (_, second) = (early.turn().await, late.turn().await);
    early.turn().await;
    sleep(secs(10)).await;
    late.turn().await;
    assert_eq!(early.turn().await, second);
    assert_eq!(world.manager.calls(Call::Ping), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_connection_of_a_task_is_looked_for_among_the_freshest_four_only() {
    for others in [3, 4] {
        let world = World::new(5, 0);
        let borrowers: Vec<_> = (0..=others).map(|_| Borrower::of(&world.pool)).collect();
        let mut ids = Vec::new();
        for borrower in &borrowers {
            ids.push(borrower.turn().await);
        }
        for borrower in &borrowers {
            borrower.turn().await;
        }
        let expected = if others == 3 { ids[0] } else { ids[4] };
        assert_eq!(borrowers[0].turn().await, expected, "{others} have come back since");
    }
}
