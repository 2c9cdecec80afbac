//! Connecting belongs to the pool: detached from callers, bounded, retried with backoff, and
//! classified by its errors.

use crate::support::{Pool, World, assert_took, ms, quiet, refused, secs, settle, timed};
use millpond_core::{ErrorClass, Invalidate, Lease, Phase, PoolError};
use millpond_testkit::{Act, ByHand, Call, Gate, ScriptedConnection};
use std::error::Error;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::sleep;

type Answer = (Result<Lease<ScriptedConnection>, PoolError>, Duration);

/// So many callers at once, each of which returns how it went and how long it took.
fn callers(pool: &Pool, count: usize) -> Vec<JoinHandle<Answer>> {
    let caller = |_| {
        let pool = pool.clone();
        tokio::spawn(async move { timed(pool.acquire()).await })
    };
    (0..count).map(caller).collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_opened_before_somebody_asks() {
    let world = World::new(10, 20);
    sleep(secs(60)).await;
    assert_eq!(world.manager.calls(Call::Connect), 0);
    drop(world.lease().await);
    assert_eq!(world.manager.calls(Call::Connect), 1);
}

#[tokio::test(start_paused = true)]
async fn the_connect_of_a_cancelled_caller_lands_in_the_pool() {
    let world = World::new(1, 0);
    world.manager.always(Call::Connect, Act::slow(secs(1)));
    let mut caller = ByHand::new(world.pool.acquire());
    assert!(caller.poll().is_pending());
    quiet().await;
    drop(caller);
    sleep(secs(2)).await;
    assert_eq!((world.manager.alive(), world.pool.status().idle), (1, 1));
    let (lease, took) = timed(world.pool.acquire()).await;
    assert_took(took, Duration::ZERO);
    assert_eq!(lease.unwrap().id(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_next_caller_takes_over_the_connect_of_a_cancelled_one() {
    let world = World::new(1, 0);
    world.manager.always(Call::Connect, Act::slow(secs(2)));
    let mut caller = ByHand::new(world.pool.acquire());
    assert!(caller.poll().is_pending());
    sleep(secs(1)).await;
    drop(caller);
    let (lease, took) = timed(world.pool.acquire()).await;
    assert_took(took, secs(1));
    assert_eq!(lease.unwrap().id(), 1);
}

#[tokio::test(start_paused = true)]
async fn at_most_max_connecting_are_opened_at_the_same_time() {
    let world = World::with(20, 0, |builder| builder.max_connecting(3));
    world.manager.always(Call::Connect, Act::slow(secs(1)));
    let waiting = callers(&world.pool, 7);
    sleep(ms(500)).await;
    assert_eq!(world.pool.status().connecting, 3);
    let mut took = Vec::new();
    for caller in waiting {
        let (lease, time) = caller.await.unwrap();
        took.push((lease.unwrap(), time));
    }
    assert_eq!(world.manager.running_peak(Call::Connect), 3);
    assert_eq!(
        took.iter().map(|(_, time)| time.as_secs()).collect::<Vec<_>>(),
        [1, 1, 1, 2, 2, 2, 3]
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_is_opened_than_callers_wait_for() {
    let world = World::new(10, 20);
    world.manager.always(Call::Connect, Act::slow(ms(100)));
    for caller in callers(&world.pool, 3) {
        drop(caller.await.unwrap());
    }
    sleep(secs(60)).await;
    assert_eq!(world.manager.calls(Call::Connect), 3);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_fifty_short_requests_opens_only_what_was_begun() {
    let world = World::new(50, 0);
    world.idle(5).await;
    world.manager.always(Call::Connect, Act::slow(ms(150)));
    let requests: Vec<_> = (0..50)
        .map(|_| {
            let pool = world.pool.clone();
            tokio::spawn(async move {
                let lease = pool.acquire().await.unwrap();
                sleep(ms(2)).await;
                drop(lease);
            })
        })
        .collect();
    for request in requests {
        request.await.unwrap();
    }
    sleep(secs(5)).await;
    assert!(world.manager.alive() <= 5 + 4, "{} are open", world.manager.alive());
    assert_eq!(world.manager.alive(), world.pool.status().idle as usize);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_connect_blocks_nobody_else() {
    let world = World::new(2, 0);
    world.manager.next(Call::Connect, [Act::Never]);
    let mut answers = callers(&world.pool, 2).into_iter();
    let (first, took) = answers.next().unwrap().await.unwrap();
    assert_took(took, Duration::ZERO);
    drop(first.unwrap());
    let (second, took) = answers.next().unwrap().await.unwrap();
    assert_took(took, Duration::ZERO);
    drop(second.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_hanging_connect_is_cut_at_connect_timeout_and_tried_again() {
    let world = World::with(1, 0, |builder| builder.connect_timeout(secs(4)));
    world.manager.next(Call::Connect, [Act::Never]);
    let (lease, took) = timed(world.pool.acquire()).await;
    drop(lease.unwrap());
    assert!((secs(4)..=secs(4) + ms(205)).contains(&took), "{took:?}");
    assert_eq!((world.manager.peak(), world.trace.count("connect failed")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn failing_attempts_are_spaced_by_a_jittered_backoff() {
    let world = World::with(1, 0, |builder| builder.backoff_max(ms(400)));
    world.manager.always(Call::Connect, Act::transient("connection refused"));
    let error = refused(world.pool.acquire().await);
    assert!(error.is_timeout());
    let attempts = world.manager.attempts();
    assert!((75..=600).contains(&attempts.len()), "{} attempts in thirty seconds", attempts.len());
    let gaps: Vec<Duration> = attempts.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(gaps.iter().all(|gap| *gap <= ms(402)), "{gaps:?}");
    let mut different = gaps[10..].to_vec();
    different.sort();
    different.dedup();
    assert!(different.len() > gaps.len() / 3, "full jitter: {gaps:?}");
    let later: Duration =
        gaps[20..].iter().sum::<Duration>() / u32::try_from(gaps.len() - 20).unwrap();
    assert!((ms(120)..=ms(300)).contains(&later), "half of backoff_max on average: {later:?}");
}

#[tokio::test(start_paused = true)]
async fn while_connects_fail_there_is_one_at_a_time() {
    let world = World::new(10, 20);
    world
        .manager
        .always(Call::Connect, Act::slow(ms(30)).then(Act::transient("connection refused")));
    let waiting = callers(&world.pool, 50);
    // The first ones began together, before anything was known.
    sleep(ms(100)).await;
    for _ in 0..2_000 {
        sleep(ms(1)).await;
        assert!(world.manager.running(Call::Connect) <= 1);
    }
    world.manager.heal();
    for caller in waiting {
        assert!(caller.await.unwrap().0.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_knows_its_number_and_a_success_begins_anew() {
    let world = World::with(2, 0, |builder| builder.name("orders").connect_timeout(secs(7)));
    world.manager.next(
        Call::Connect,
        [Act::transient("one"), Act::transient("two"), Act::Ok, Act::transient("four")],
    );
    let _loans = world.leases(2).await;
    let attempts = world.manager.attempts();
    assert_eq!(
        attempts.iter().map(|attempt| attempt.info.attempt).collect::<Vec<_>>(),
        [1, 2, 3, 1, 2]
    );
    let info = &attempts[0].info;
    assert_eq!((&*info.pool, info.generation, info.limit), ("orders", 0, secs(7)));
    let mut ids: Vec<u64> = attempts.iter().map(|attempt| attempt.info.id.get()).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    ids.dedup();
    assert!(ids.len() >= 2, "two connections never share a number: {ids:?}");
}

#[tokio::test(start_paused = true)]
async fn a_transient_error_is_retried_until_the_server_is_there() {
    let world = World::new(1, 0);
    world
        .manager
        .next(Call::Connect, vec![Act::transient("the database system is starting up"); 20]);
    let (lease, took) = timed(world.pool.acquire()).await;
    assert!(lease.is_ok() && took < secs(10), "{took:?}");
    assert_eq!(world.pool.status().totals.connect_failed, 20);
}

#[tokio::test(start_paused = true)]
async fn a_transient_error_that_lasts_is_the_source_of_the_timeout() {
    let world =
        World::with(1, 0, |builder| builder.pool_timeout(secs(3)).fail_fast_after(secs(60)));
    world.manager.always(Call::Connect, Act::transient("connection refused"));
    let (result, took) = timed(world.pool.acquire()).await;
    assert_took(took, secs(3));
    let error = refused(result);
    let PoolError::TimedOut(timed_out) = &error else { panic!("{error:?}") };
    assert_eq!((timed_out.phase, timed_out.limit), (Phase::Connect, secs(3)));
    assert_eq!(error.source().unwrap().to_string(), "connection refused");
    assert!(
        error
            .to_string()
            .starts_with("no connection could be opened: connection refused, timeout 3.00"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_fails_everybody_who_waits_at_once() {
    let world = World::new(10, 20);
    world.manager.always(Call::Connect, Act::permanent("password authentication failed"));
    for caller in callers(&world.pool, 50) {
        let (result, took) = caller.await.unwrap();
        assert!(took <= ms(2), "{took:?}");
        let error = refused(result);
        assert!(matches!(error, PoolError::Connect { .. }), "{error:?}");
        assert_eq!(error.source().unwrap().to_string(), "password authentication failed");
        assert!(
            error
                .to_string()
                .starts_with("no connection could be opened: password authentication failed"),
            "{error}"
        );
    }
    sleep(secs(60)).await;
    assert!(
        world.manager.calls(Call::Connect) <= 4,
        "an account is not locked by {} attempts",
        world.manager.calls(Call::Connect)
    );
    world.manager.heal();
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn with_a_permanent_error_the_waiters_go_on_waiting_for_what_is_lent() {
    let world = World::new(2, 0);
    let lease = world.lease().await;
    world.manager.always(Call::Connect, Act::permanent("password authentication failed"));
    let mut answers = callers(&world.pool, 1);
    sleep(secs(5)).await;
    assert!(!answers[0].is_finished());
    let tried = world.manager.calls(Call::Connect) - 1;
    assert!(tried <= 100, "{tried} attempts with a wrong password in five seconds");
    drop(lease);
    let (lease, took) = answers.remove(0).await.unwrap();
    assert_eq!(lease.unwrap().id(), 1);
    assert_took(took, secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_ran_into_the_deadline_meanwhile_gets_the_permanent_error() {
    let world = World::new(2, 0);
    let _lease = world.lease().await;
    world.manager.always(Call::Connect, Act::permanent("password authentication failed"));
    let (result, took) = timed(world.pool.acquire_within(secs(2))).await;
    assert_took(took, secs(2));
    let error = refused(result);
    assert!(error.to_string().contains("password authentication failed"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_connect_does_not_strand_the_second_waiter() {
    let world = World::with(2, 0, |builder| builder.max_connecting(1));
    world.manager.next(
        Call::Connect,
        [Act::slow(ms(10)).then(Act::transient("one")), Act::slow(ms(10)).then(Act::Panic)],
    );
    for caller in callers(&world.pool, 2) {
        let (lease, took) = caller.await.unwrap();
        assert!(lease.is_ok() && took < secs(2), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_connect_counts_as_a_failure_and_is_reported() {
    let world = World::with(1, 0, |builder| builder.pool_timeout(secs(2)));
    world.manager.always(Call::Connect, Act::Panic);
    let (result, took) = timed(world.pool.acquire()).await;
    assert_took(took, secs(2));
    let error = refused(result);
    assert!(error.to_string().contains("scripted panic in connect"), "{error}");
    assert!(world.trace.count("panicked") > 0);
    world.manager.heal();
    sleep(secs(1)).await;
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_failover_fault_invalidates_what_was_opened_before() {
    let world = World::new(4, 0);
    world.idle(2).await;
    let mut held = world.leases(2).await;
    world.manager.next(Call::Connect, [Act::failover("this is a standby now")]);
    let third = world.lease().await;
    assert!(third.generation() >= 1, "it was opened after the failover was noticed");
    drop(held.pop());
    drop(held.pop());
    settle().await;
    assert_eq!(world.trace.count("closed invalidated"), 2);
    assert_eq!(world.manager.alive(), 1);
}

#[tokio::test(start_paused = true)]
async fn classify_is_reported_in_the_event() {
    let world = World::new(1, 0);
    world.manager.next(Call::Connect, [Act::broken("reset by peer")]);
    drop(world.lease().await);
    let failure = world.trace.events().into_iter().find_map(|(_, event)| match event {
        millpond_core::Event::ConnectFailed { error, class, retry_in, .. } => {
            Some((error.to_string(), class, retry_in))
        }
        _ => None,
    });
    let (error, class, retry_in) = failure.unwrap();
    assert_eq!((error.as_str(), class), ("reset by peer", ErrorClass::Connection));
    assert!(retry_in <= ms(200));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_arrives_after_an_invalidation_is_not_lent() {
    let world = World::new(1, 0);
    let gate = Gate::new();
    world.manager.next(Call::Connect, [Act::gated(&gate)]);
    let mut answers = callers(&world.pool, 1);
    quiet().await;
    world.pool.invalidate_all(Invalidate::Soft);
    gate.open();
    let (lease, _) = answers.remove(0).await.unwrap();
    assert_eq!(lease.unwrap().generation(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_gives_up_what_is_being_opened_to_the_old_server() {
    for how in [Invalidate::Hard, Invalidate::Soft] {
        // With room for more, and with every place taken by an attempt that hangs.
        for pool_size in [30, 4] {
            let world = World::with(pool_size, 0, |builder| builder);
            world.manager.next(Call::Connect, [Act::Never, Act::Never, Act::Never, Act::Never]);
            let waiting = callers(&world.pool, 20);
            sleep(ms(100)).await;
            assert_eq!(world.manager.running(Call::Connect), 4);
            world.pool.invalidate_all(how);
            for caller in waiting {
                let (lease, took) = caller.await.unwrap();
                assert!(lease.is_ok() && took <= ms(105), "{pool_size} places, {how:?}: {took:?}");
            }
            world.assert_sound().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_hangs_delays_nobody_while_there_is_room() {
    let world = World::new(5, 0);
    world.manager.next(Call::Connect, [Act::Never]);
    assert!(world.pool.acquire_within(secs(2)).await.is_err());
    let (lease, took) = timed(world.pool.acquire()).await;
    assert!(took <= ms(5), "the connect of the one before hangs: {took:?}");
    // Once it is known how long a connect takes, little patience is enough.
    world.manager.next(Call::Connect, [Act::Never]);
    let (other, took) = timed(world.pool.acquire()).await;
    assert!(took <= ms(505), "two hang by now: {took:?}");
    drop((lease.unwrap(), other.unwrap()));
    sleep(secs(20)).await;
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn when_all_connects_hang_there_are_ever_fewer_new_ones() {
    let world = World::new(10, 20);
    world.manager.always(Call::Connect, Act::Never);
    let mut caller = ByHand::new(world.pool.acquire());
    assert!(caller.poll().is_pending());
    let mut seen = Vec::new();
    for _ in 0..9 {
        sleep(secs(1)).await;
        quiet().await;
        seen.push(world.manager.calls(Call::Connect));
    }
    assert_eq!(seen, [1, 2, 2, 2, 2, 3, 3, 3, 3], "after 2, 4 and 8 s more");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_does_not_hide_that_the_server_is_back() {
    let world = World::with(3, 0, |builder| builder.fail_fast_after(ms(1)));
    world
        .manager
        .next(Call::Connect, [Act::transient("refused"), Act::transient("refused"), Act::Never]);
    assert!(world.pool.acquire_within(ms(100)).await.is_err());
    let (recovered, took) = timed(async { while world.pool.acquire().await.is_err() {} }).await;
    let () = recovered;
    assert!(took <= ms(2_100), "{took:?}");
}
