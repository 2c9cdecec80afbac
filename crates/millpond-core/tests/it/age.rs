//! Connections grow old: `pool_recycle`, its jitter, `idle_timeout`, `min_idle`, and what a lease
//! knows of its past.

use crate::support::{Pool, World, assert_took, ms, quiet, secs, settle, timed};
use millpond_core::{Handle, Lease, Limits};
use millpond_testkit::{Act, Call, ScriptedManager};
use std::time::Duration;
use tokio::time::{advance, sleep};

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_replaced_at_pool_recycle_and_the_new_one_is_opened_first() {
    let world = World::with(1, 1, |builder| builder.pool_recycle(secs(300)).recycle_jitter(0));
    drop(world.lease().await);
    sleep(secs(280)).await;
    assert_eq!(world.manager.calls(Call::Connect), 1);
    sleep(secs(19)).await;
    assert_eq!(
        world.trace.count("closed"),
        0,
        "a replacement may come early, but the old one is good until its time"
    );
    sleep(secs(2)).await;
    let lines = world.trace.lines();
    let opened = lines.iter().position(|line| line == "connected #2").unwrap();
    let closed = lines.iter().position(|line| line == "closed recycled #1").unwrap();
    assert!(opened < closed, "{lines:?}");
    assert_eq!((world.manager.alive(), world.pool.status().idle), (1, 1));
    assert_eq!(world.lease().await.id(), 2);
}

#[tokio::test(start_paused = true)]
async fn where_the_cap_leaves_no_room_the_old_connection_closes_first() {
    let world = World::with(1, 0, |builder| builder.pool_recycle(secs(300)).recycle_jitter(0));
    drop(world.lease().await);
    sleep(secs(301)).await;
    assert_eq!(world.trace.count("closed recycled"), 1);
    assert_eq!(world.manager.peak(), 1);
    assert_eq!(world.lease().await.id(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_back_too_old_is_not_lent_again() {
    let world = World::with(1, 0, |builder| builder.pool_recycle(secs(300)).recycle_jitter(0));
    let lease = world.lease().await;
    sleep(secs(301)).await;
    assert_eq!(world.trace.count("closed"), 0, "nobody takes a connection away from its borrower");
    let pool = world.pool.clone();
    let waiter = tokio::spawn(async move { pool.acquire().await.unwrap().id() });
    quiet().await;
    drop(lease);
    assert_eq!(waiter.await.unwrap(), 2);
    assert_eq!(world.trace.count("closed recycled #1"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_caller_after_the_age_is_reached_gets_no_connection_beyond_it() {
    for pause in [299_999, 300_000, 300_001, 300_500, 400_000, 4_000_000] {
        let world = World::with(2, 0, |builder| builder.pool_recycle(secs(300)).recycle_jitter(0));
        world.idle(2).await;
        // Jumps: the maintenance task has no chance to act before the caller does.
        advance(ms(pause)).await;
        let lease = world.lease().await;
        assert!(Lease::info(&lease).age < secs(300), "{:?} after {pause} ms", Lease::info(&lease));
    }
}

#[tokio::test(start_paused = true)]
async fn with_recycling_off_a_connection_lives_for_ever() {
    let world = World::with(1, 0, |builder| builder.pool_recycle(None).pool_pre_ping(false));
    drop(world.lease().await);
    sleep(secs(10 * 365 * 24 * 3600)).await;
    assert_eq!(world.lease().await.id(), 1);
}

#[tokio::test(start_paused = true)]
async fn fifty_connections_opened_together_do_not_close_together() {
    let world = World::with(50, 50, |builder| {
        builder.pool_recycle(secs(300)).recycle_jitter(10).max_connecting(50)
    });
    world.idle(50).await;
    sleep(secs(301)).await;
    let times: Vec<f64> =
        world.trace.times("closed recycled").iter().map(Duration::as_secs_f64).collect();
    assert_eq!(times.len(), 50);
    assert!(times.iter().all(|at| (270.0..=300.1).contains(at)), "{times:?}");
    let mean = times.iter().sum::<f64>() / 50.0;
    assert!(
        (279.0..=291.0).contains(&mean),
        "drawn once, evenly over thirty seconds, and the mean is {mean}"
    );
    let mut seconds: Vec<u64> = times.iter().map(|at| *at as u64).collect();
    seconds.dedup();
    assert!(seconds.len() >= 15, "a storm: {times:?}");
    assert_eq!(world.manager.alive(), 50);
}

#[tokio::test(start_paused = true)]
async fn replacing_the_old_does_not_make_a_caller_wait() {
    let world = World::with(2, 2, |builder| {
        builder.pool_recycle(secs(300)).recycle_jitter(10).pool_pre_ping(false)
    });
    world.idle(2).await;
    world.manager.always(Call::Connect, Act::slow(secs(1)));
    for _ in 0..700 {
        let (lease, took) = timed(world.pool.acquire()).await;
        assert_took(took, Duration::ZERO);
        drop(lease);
        sleep(secs(1)).await;
    }
    assert!(world.trace.count("closed recycled") >= 4);
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_is_lent_meanwhile_comes_back_beside_the_old_one() {
    let world = World::with(1, 1, |builder| builder.pool_recycle(secs(300)).recycle_jitter(0));
    world.idle(1).await;
    sleep(secs(295)).await;
    assert_eq!(world.lease().await.id(), 2, "it was opened ahead of time");
    settle().await;
    assert_eq!((world.manager.alive(), world.trace.count("closed")), (2, 0));
    sleep(secs(10)).await;
    assert_eq!((world.manager.alive(), world.trace.count("closed recycled #1")), (1, 1));
    assert_eq!(world.lease().await.id(), 2);
}

#[tokio::test(start_paused = true)]
async fn replacing_the_old_respects_the_cap_while_everything_is_lent() {
    let world = World::with(2, 1, |builder| builder.pool_recycle(secs(300)).recycle_jitter(0));
    world.manager.always(Call::Close, Act::slow(secs(1)));
    let mut loans = world.leases(3).await;
    sleep(secs(300)).await;
    loans.pop();
    loans.pop();
    sleep(secs(10)).await;
    drop(loans);
    sleep(secs(10)).await;
    assert_eq!(world.manager.peak(), 3);
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn idle_timeout_closes_down_to_min_idle() {
    let world = World::with(5, 0, |builder| builder.idle_timeout(secs(60)).min_idle(1));
    world.idle(5).await;
    sleep(secs(58)).await;
    assert_eq!(world.manager.alive(), 5);
    sleep(secs(3)).await;
    assert_eq!((world.manager.alive(), world.pool.status().idle), (1, 1));
    assert_eq!(world.trace.count("closed idle_too_long"), 4);
}

#[tokio::test(start_paused = true)]
async fn idle_timeout_without_min_idle_maintains_pool_size() {
    let world = World::with(3, 2, |builder| builder.idle_timeout(secs(60)));
    world.idle(3).await;
    sleep(secs(600)).await;
    assert_eq!((world.manager.alive(), world.trace.count("closed")), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn under_light_load_only_the_connection_in_use_stays() {
    let world = World::with(5, 0, |builder| builder.idle_timeout(secs(60)).min_idle(0));
    world.idle(5).await;
    for _ in 0..30 {
        drop(world.lease().await);
        sleep(secs(3)).await;
    }
    assert_eq!(
        world.manager.alive(),
        1,
        "the four that nobody takes grow idle, because the freshest is lent first"
    );
}

#[tokio::test(start_paused = true)]
async fn min_idle_connections_are_ready_without_anybody_asking() {
    let world = World::with(5, 0, |builder| builder.min_idle(3));
    let lease = world.lease().await;
    settle().await;
    assert_eq!((world.pool.status().idle, world.manager.alive()), (3, 4));
    let more = world.leases(2).await;
    settle().await;
    assert_eq!((world.pool.status().idle, world.manager.alive()), (2, 5), "never beyond pool_size");
    drop((lease, more));
    settle().await;
    assert_eq!(world.manager.calls(Call::Connect), 5);
}

#[tokio::test(start_paused = true)]
async fn min_idle_is_filled_up_again_after_connections_were_lost() {
    let world = World::with(4, 0, |builder| builder.min_idle(2));
    lose_everything(&world).await;
    settle().await;
    assert!((2..=4).contains(&world.manager.alive()));
    assert_eq!(world.pool.status().idle as usize, world.manager.alive());
}

#[tokio::test(start_paused = true)]
async fn min_idle_keeps_trying_while_the_server_is_away_and_does_not_storm_it() {
    let world = World::with(4, 0, |builder| builder.min_idle(2));
    drop(world.lease().await);
    settle().await;
    world.manager.always(Call::Connect, Act::transient("connection refused"));
    let before = world.manager.calls(Call::Connect);
    lose_everything(&world).await;
    sleep(secs(10)).await;
    assert_eq!(world.manager.alive(), 0);
    let tried = world.manager.calls(Call::Connect) - before;
    assert!((5..=40).contains(&tried), "{tried} attempts in ten seconds");
    world.manager.heal();
    sleep(secs(6)).await;
    assert!(world.pool.status().idle >= 2);
}

/// Opens the pool if it is new, and detaches every idle connection.
async fn lose_everything(world: &World) {
    drop(world.lease().await);
    settle().await;
    for lease in world.leases(world.manager.alive()).await {
        drop(Lease::detach(lease));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_knows_age_idle_time_and_uses_of_its_connection() {
    let world =
        World::with(2, 0, |builder| builder.idle_timeout(secs(30)).min_idle(1).name("orders"));
    drop(world.lease().await);
    sleep(secs(100)).await;
    let lease = world.lease().await;
    sleep(secs(7)).await;
    let info = Lease::info(&lease);
    assert_eq!(
        (&*info.pool, info.id.get(), info.uses, info.generation),
        ("orders", lease.id(), 2, 0)
    );
    assert!((secs(107)..secs(108)).contains(&info.age), "{info:?}");
    assert!(
        (secs(100)..secs(101)).contains(&info.idle),
        "passing the idle check did not count as use: {info:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_validation_by_the_maintenance_does_not_make_a_connection_look_used() {
    let world = World::with(2, 0, |builder| builder.idle_timeout(secs(60)).min_idle(0));
    world.idle(2).await;
    sleep(secs(10)).await;
    assert!(world.pool.try_acquire().is_none(), "a ping is due");
    settle().await;
    let lease = world.pool.try_acquire().unwrap();
    let idle = Lease::info(&lease).idle;
    assert!((secs(10)..secs(11)).contains(&idle), "{idle:?}");
    drop(lease);
    for _ in 0..10 {
        sleep(secs(10)).await;
        drop(world.pool.try_acquire());
    }
    assert_eq!(world.manager.alive(), 0, "nobody has had either of them for a minute");
}

#[tokio::test(start_paused = true)]
async fn spans_of_time_without_end_are_harmless() {
    let world = World::with(1, 1, |builder| {
        builder
            .limits(Limits::Off)
            .pool_timeout(Duration::MAX)
            .pool_recycle(Duration::MAX)
            .recycle_jitter(100)
            .pre_ping_idle(Duration::MAX)
            .ping_timeout(Duration::MAX)
            .connect_timeout(Duration::MAX)
            .hook_timeout(Duration::MAX)
            .close_timeout(Duration::MAX)
            .idle_timeout(Duration::MAX)
            .backoff_max(Duration::MAX)
            .fail_fast_after(Duration::MAX)
            .overflow_linger(Duration::MAX)
            .leak_after(Duration::MAX)
    });
    drop(world.leases(2).await);
    settle().await;
    world.assert_sound().await;
    assert!(world.pool.close().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_pool_recycle_of_no_time_is_refused_or_opens_a_connection_for_every_loan() {
    let builder =
        Pool::builder(ScriptedManager::new()).limits(Limits::Off).pool_recycle(Duration::ZERO);
    if builder.build().is_err() {
        return;
    }
    let world =
        World::with(1, 1, |builder| builder.limits(Limits::Off).pool_recycle(Duration::ZERO));
    // After so many it hangs, so that a loop without end has one.
    world.manager.next(Call::Connect, vec![Act::Ok; 100]);
    world.manager.always(Call::Connect, Act::Never);
    for _ in 0..10 {
        drop(world.lease().await);
    }
    assert_eq!(world.manager.calls(Call::Connect), 10);
}

#[tokio::test(start_paused = true)]
async fn spans_of_no_time_end_in_errors_and_not_in_hangs() {
    let world = World::with(1, 1, |builder| {
        builder
            .limits(Limits::Off)
            .pool_timeout(Duration::ZERO)
            .pre_ping_idle(Duration::ZERO)
            .ping_timeout(Duration::ZERO)
            .connect_timeout(Duration::ZERO)
            .hook_timeout(Duration::ZERO)
            .close_timeout(Duration::ZERO)
            .idle_timeout(Duration::ZERO)
            .backoff_max(Duration::ZERO)
            .fail_fast_after(Duration::ZERO)
            .leak_after(Duration::ZERO)
    });
    for _ in 0..10 {
        let (lease, took) = timed(world.pool.acquire_within(secs(1))).await;
        assert!(took <= secs(1) + ms(2));
        drop(lease);
        sleep(ms(10)).await;
    }
    assert!(world.manager.calls(Call::Connect) < 100_000, "no spinning");
    assert!(world.pool.close().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn min_idle_is_filled_before_the_first_acquire_where_the_pool_knows_its_runtime() {
    let world = World::with(5, 0, |builder| builder.min_idle(3).runtime(Handle::current()));
    sleep(secs(1)).await;
    assert_eq!((world.pool.status().idle, world.pool.status().totals.acquires), (3, 0));
    let unused = World::with(5, 0, |builder| builder.min_idle(0).runtime(Handle::current()));
    sleep(secs(1)).await;
    assert_eq!(unused.manager.calls(Call::Connect), 0);
}
