//! An acquire is dropped after every number of polls, while everything else goes right or wrong.

use crate::support::{World, assert_books_closed, ms, quiet, secs};
use millpond_core::Moment;
use millpond_testkit::{Act, Call, poll_n, poll_n_woken};
use std::time::Duration;
use tokio::time::sleep;

const CALLS: [Call; 10] = [
    Call::Connect,
    Call::Ping,
    Call::Triage,
    Call::Reset,
    Call::Close,
    Call::Hook(Moment::FirstConnect),
    Call::Hook(Moment::Connect),
    Call::Hook(Moment::Checkout),
    Call::Hook(Moment::Checkin),
    Call::Hook(Moment::Close),
];

/// How each call may end, always after a wait, so that there is a place to cancel at.
fn outcomes() -> [(&'static str, Act); 5] {
    let slow = || Act::slow(ms(3));
    [
        ("is slow", slow()),
        ("fails", slow().then(Act::transient("scripted"))),
        ("fails for good", slow().then(Act::permanent("scripted"))),
        ("hangs", Act::Never),
        ("panics", slow().then(Act::Panic)),
    ]
}

/// What the pool is like when the acquire comes.
#[derive(Debug, Clone, Copy)]
enum Start {
    Empty,
    OneIdle,
    AllLent,
}

/// When the acquire is dropped: right after its last poll, or when it was woken once more.
#[derive(Debug, Clone, Copy)]
enum Cut {
    AtOnce,
    Woken,
}

/// One acquire that is dropped after `polls` polls. Says whether it came to its end before that.
async fn one_case(start: Start, call: Call, act: &Act, cut: Cut, polls: usize) -> bool {
    let case = format!("{start:?}, {call} {act:?}, cut {cut:?} after {polls} polls");
    let world = World::hooked(1, 1, |builder| builder.pre_ping_idle(Duration::ZERO));
    match start {
        Start::Empty => {}
        Start::OneIdle => world.idle(1).await,
        Start::AllLent => {
            let mut loans = world.leases(2).await;
            loans[0].set_dirty(true);
            tokio::spawn(async move {
                sleep(ms(2)).await;
                drop(loans);
            });
        }
    }
    world.manager.always(call, act.clone());
    let acquire = world.pool.acquire();
    let ended = match cut {
        Cut::AtOnce => poll_n(acquire, polls).await,
        Cut::Woken => poll_n_woken(acquire, polls).await,
    };
    let came_to_its_end = ended.is_some();
    drop(ended);
    quiet().await;
    world.manager.heal();
    // Long enough for whatever hangs to run into its limit.
    sleep(secs(60)).await;

    let status = world.pool.status();
    assert_books_closed(&status);
    assert_eq!((status.in_use, status.resting, status.closing, status.connecting), (0, 0, 0, 0), "{case}: {status:?}");
    assert_eq!(world.manager.sockets(), status.open as usize, "{case}");
    world.assert_sound().await;
    assert!(world.manager.peak() <= 2, "{case}: {} sockets", world.manager.peak());
    came_to_its_end
}

async fn sweep(start: Start) {
    for call in CALLS {
        for (name, act) in outcomes() {
            for cut in [Cut::AtOnce, Cut::Woken] {
                let mut polls = 0;
                while !one_case(start, call, &act, cut, polls).await {
                    polls += 1;
                    assert!(polls < 1_000, "{start:?}, {call} {name}: the acquire is polled without end");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_acquire_on_an_empty_pool_can_be_dropped_anywhere() {
    sweep(Start::Empty).await;
}

#[tokio::test(start_paused = true)]
async fn an_acquire_that_finds_an_idle_connection_can_be_dropped_anywhere() {
    sweep(Start::OneIdle).await;
}

#[tokio::test(start_paused = true)]
async fn an_acquire_that_waits_for_a_return_can_be_dropped_anywhere() {
    sweep(Start::AllLent).await;
}

#[tokio::test(start_paused = true)]
async fn closing_and_prewarming_can_be_dropped_anywhere() {
    for polls in 0..6 {
        let world = World::hooked(2, 1, |builder| builder);
        world.manager.always(Call::Connect, Act::slow(ms(3)));
        world.manager.always(Call::Close, Act::slow(ms(3)));
        let warm = poll_n(world.pool.prewarm(2), polls).await.is_some();
        sleep(secs(1)).await;
        world.assert_sound().await;
        let closed = poll_n(world.pool.close(), polls).await.is_some();
        sleep(secs(1)).await;
        assert!(polls == 0 || (world.pool.is_closed() && world.manager.sockets() == 0), "after {polls} polls");
        assert!(polls < 5 || (warm && closed), "both end in a few polls");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_cancelled_acquires_leave_nothing_behind() {
    let world = World::new(2, 0);
    let loans = world.leases(2).await;
    let mut dice = fastrand::Rng::with_seed(3);
    for _ in 0..100 {
        let crowd: Vec<_> = (0..100).map(|_| tokio::spawn(world.pool.acquire())).collect();
        quiet().await;
        assert_eq!(world.pool.status().waiting, 100);
        let mut crowd = crowd;
        dice.shuffle(&mut crowd);
        for task in &crowd {
            task.abort();
        }
        quiet().await;
        assert_eq!((world.pool.status().waiting, world.pool.status().oldest_waiter), (0, None));
    }
    drop(loans);
    assert_eq!(world.pool.status().totals.cancelled, 10_000);
    assert_eq!(world.manager.calls(Call::Connect), 2);
    world.assert_sound().await;
}
