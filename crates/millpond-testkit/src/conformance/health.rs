//! A dead, broken or dirty connection is not lent; a failure or a panic costs one connection.

use crate::act::{Act, Call};
use crate::conformance::fixture::Fixture;
use crate::conformance::pools::PoolUnderTest;
use crate::conformance::stage::{Loan, Stage, Trial, ms, secs, timed};
use crate::poll::poll_n;
use millpond_core::{ConnectInfo, HookPoint, Invalidate, Manager as _, Pool, PoolExt};
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

/// A poll that takes longer than this in every round blocks its thread.
const BLOCKING: Duration = ms(500);

/// More polls than any call that is dropped at one poll after the other needs.
pub(crate) const CUTS_MAX: usize = 1_000;

/// `pool_pre_ping` switches the ping before each loan on and off.
pub async fn c50_a_ping_is_sent_only_when_it_is_due<T: Trial>(stage: Stage<T>) {
    for (always, pings) in [(true, 4), (false, 0)] {
        let before = stage.manager().calls(Call::Ping);
        let world = stage
            .tuned(1, 0, |builder, _| builder.pre_ping_idle(Duration::ZERO).pool_pre_ping(always));
        for _ in 0..5 {
            world.idle(1).await;
        }
        assert_eq!(world.manager.calls(Call::Ping) - before, pings, "pool_pre_ping = {always}");
    }
}

/// After a dead idle connection the next idle one is lent, not a new one.
pub async fn c51_behind_a_dead_idle_connection_the_next_idle_one_is_lent<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.tuned(3, 0, |builder, _| builder.pre_ping_idle(Duration::ZERO));
    world.idle(3).await;
    world.manager.next(Call::Ping, [Act::broken("scripted")]);
    let lease = world.lease().await;
    assert!(lease.id() <= 3, "a new one was opened while two were idle");
    assert_eq!(world.manager.calls(Call::Connect), 3);
    world.until("the dead one is closed", || world.trace.count("closed ping_failed") == 1).await;
}

/// If all idle connections are dead, the caller gets a new one.
pub async fn c52_if_all_idle_connections_are_dead_a_new_one_is_lent<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(4, 0, |builder, _| builder.pre_ping_idle(Duration::ZERO));
    world.idle(4).await;
    world.manager.always(Call::Ping, Act::broken("scripted"));
    let lease = world.lease().await;
    assert!(lease.id() > 4, "{} was dead", lease.id());
    world.until("the dead ones are closed", || world.trace.count("closed ping_failed") == 4).await;
    world.manager.heal();
    drop(lease);
    world.assert_sound().await;
}

/// A connection that the manager discards on return is closed and not lent again.
pub async fn c53_a_connection_discarded_by_triage_is_not_lent_again<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    world.manager.next(Call::Triage, [Act::transient("scripted"), Act::broken("scripted")]);
    for (id, reason) in [(1, "unverified"), (2, "broken")] {
        assert_eq!(world.lease().await.id(), id);
        world
            .until("it is closed", || world.trace.count(&format!("closed {reason} #{id}")) == 1)
            .await;
    }
    assert_eq!(world.lease().await.id(), 3);
}

/// What a borrower leaves on a connection is undone before the next loan, or the connection is
/// closed.
pub async fn c53_state_left_on_a_connection_never_reaches_the_next_borrower<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.world(1, 0);
    let is_dirty = async |lease: &mut Loan<T>| match stage.fixture.is_dirty(lease.real()).await {
        Ok(is_dirty) => is_dirty,
        Err(error) => panic!("a connection in trouble was lent: {error}"),
    };
    for round in 0..5 {
        let mut lease = world.lease().await;
        assert!(!is_dirty(&mut lease).await, "round {round}: what the last borrower left is there");
        if let Err(error) = stage.fixture.make_dirty(lease.real()).await {
            panic!("nothing could be left on the connection: {error}");
        }
        assert!(is_dirty(&mut lease).await, "`make_dirty` leaves nothing that `is_dirty` finds");
        drop(lease);
    }
    world.assert_sound().await;
}

/// The same holds for a call that was dropped half-way.
pub async fn c53_state_of_a_half_done_call_never_reaches_the_next_borrower<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.world(1, 0);
    let mut is_done = false;
    for polls in 0..CUTS_MAX {
        let mut lease = world.lease().await;
        match poll_n(stage.fixture.make_dirty(lease.real()), polls).await {
            None => {}
            Some(Ok(())) => is_done = true,
            Some(Err(error)) => panic!("nothing could be left on the connection: {error}"),
        }
        drop(lease);
        let mut next = world.lease().await;
        match stage.fixture.is_dirty(next.real()).await {
            Ok(dirty) => assert!(!dirty, "what was dropped at poll {polls} is there"),
            Err(error) => panic!("a connection in trouble was lent after poll {polls}: {error}"),
        }
        if is_done {
            break;
        }
    }
    assert!(is_done, "`make_dirty` does not end");
    world.assert_sound().await;
}

/// No call of the manager blocks its thread.
pub async fn c54_no_call_of_the_manager_blocks_its_thread<T: Trial>(stage: Stage<T>) {
    const CALLS: [&str; 5] = ["connect", "ping", "close", "triage", "reset"];
    let manager = stage.real();
    let mut shortest = [Duration::MAX; CALLS.len()];
    // The machine may delay a thread, but not in all five rounds.
    for round in 0..5 {
        let info = ConnectInfo::first("conformance", secs(20));
        let opened = |conn: Result<_, _>| {
            conn.unwrap_or_else(|error| panic!("round {round}: nothing was opened: {error}"))
        };
        let (conn, opening) = longest_poll(manager.connect(&info)).await;
        let mut conn = opened(conn);
        let (ping, pinging) = longest_poll(manager.ping(&mut conn)).await;
        assert!(ping.is_ok(), "`ping` takes a living connection for dead: {ping:?}");
        let (closed, closing) = longest_poll(manager.close(conn)).await;
        assert!(closed.is_ok(), "`close` fails on a healthy connection: {closed:?}");
        // A second connection, since a reset may find nothing to do but to refuse.
        let mut conn = opened(manager.connect(&info).await);
        let (_, sorting) = longest_poll(async { manager.triage(&mut conn) }).await;
        let (_, resetting) = longest_poll(manager.reset(&mut conn)).await;
        let _ = manager.close(conn).await;
        let took = [opening, pinging, closing, sorting, resetting];
        for (shortest, took) in shortest.iter_mut().zip(took) {
            *shortest = took.min(*shortest);
        }
        if shortest.iter().all(|took| *took < BLOCKING) {
            break;
        }
    }
    for (call, took) in CALLS.into_iter().zip(shortest) {
        assert!(
            took < BLOCKING,
            "`{call}` blocks its thread for {took:?}: await instead, or use spawn_blocking"
        );
    }
}

/// Returns a future's output and the real time of its longest poll.
async fn longest_poll<F: Future>(future: F) -> (F::Output, Duration) {
    let (mut future, mut longest) = (pin!(future), Duration::ZERO);
    let output = poll_fn(|cx| {
        let begun = std::time::Instant::now();
        let poll = future.as_mut().poll(cx);
        longest = longest.max(begun.elapsed());
        poll
    });
    let output = output.await;
    (output, longest)
}

/// A connection whose reset failed is closed.
pub async fn c53_a_connection_whose_reset_failed_is_not_lent_again<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    for (act, id) in [(Act::broken("scripted"), 2), (Act::Panic, 3)] {
        let mut lease = world.lease().await;
        lease.set_dirty(true);
        world.manager.next(Call::Reset, [act]);
        drop(lease);
        let lease = world.lease().await;
        assert_eq!((lease.id(), lease.is_dirty()), (id, false));
    }
    world.assert_sound().await;
}

/// Every manager call and every hook can read the pool's status: no lock is held.
pub async fn c54_the_manager_is_never_called_under_the_lock<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(1, 1, |builder, manager| {
        builder.hooks(manager.hooks()).pre_ping_idle(Duration::ZERO)
    });
    let pool = world.pool.clone();
    world.manager.probe(move |_| assert!(pool.status().open <= 2));
    for _ in 0..3 {
        let mut lease = world.lease().await;
        lease.set_dirty(true);
        drop(lease);
        world.until_calm().await;
    }
    let _ = world.pool.close().await;
    assert_eq!(world.trace.count("panicked"), 0, "{:?}", world.trace.lines());
}

/// A panic in any manager call or hook costs at most one connection.
pub async fn c55_a_panic_in_a_manager_or_a_hook_costs_one_connection_at_most<T: Trial>(
    stage: Stage<T>,
) {
    let hooks = [
        HookPoint::FirstConnect,
        HookPoint::Connect,
        HookPoint::Checkout,
        HookPoint::Checkin,
        HookPoint::Close,
    ];
    let calls = [Call::Connect, Call::Ping, Call::Triage, Call::Reset, Call::Close];
    for call in calls.into_iter().chain(hooks.map(Call::Hook)) {
        let world = stage.tuned(2, 0, |builder, manager| {
            builder.hooks(manager.hooks()).pre_ping_idle(Duration::ZERO)
        });
        world.manager.next(call, [Act::Panic]);
        for _ in 0..3 {
            let mut lease = world.lease().await;
            lease.set_dirty(true);
            drop(lease);
        }
        world.assert_sound().await;
        let report = world.pool.close_within(secs(20)).await;
        assert!(report.is_clean(), "{call}: {report}");
        world.until("nothing is open", || world.manager.sockets() == 0).await;
        world.manager.heal();
    }
}

/// After an invalidation no older connection is lent, whether it was idle or in use.
pub async fn c56_after_an_invalidation_nothing_older_is_lent<T: Trial>(stage: Stage<T>) {
    for how in [Invalidate::Soft, Invalidate::Hard] {
        let world = stage.world(3, 0);
        let busy = world.lease().await;
        drop(world.leases(2).await);
        world.pool.invalidate_all(how);
        drop(busy);
        for _ in 0..2 {
            for lease in world.leases(3).await {
                assert_eq!(lease.generation(), 1, "{how:?}: {} is older", lease.id());
            }
        }
        let _ = world.pool.close_within(secs(20)).await;
        world.until("nothing is open", || world.manager.sockets() == 0).await;
    }
}

/// A borrower gets the answers to its own queries, even if the last one dropped a query half-way.
pub async fn c57_an_answer_never_reaches_another_borrower<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    for round in 0..60_i64 {
        let mut lease = world.lease().await;
        drop(
            poll_n(
                stage.fixture.ask(lease.real(), -1 - round),
                1 + usize::try_from(round % 6).unwrap_or(0),
            )
            .await,
        );
        drop(lease);
        let mut lease = world.lease().await;
        match stage.fixture.ask(lease.real(), round).await {
            Ok(answer) => assert_eq!(answer, round, "the answer to another question"),
            Err(error) => panic!("a connection in trouble was lent: {error}"),
        }
    }
    world.assert_sound().await;
}

/// Dead connections and a server that does not answer cause no busy loop.
pub async fn c58_a_dead_server_causes_no_busy_loop<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(5, 0, |builder, _| builder.pre_ping_idle(Duration::ZERO));
    world.idle(5).await;
    world.manager.always(Call::Ping, Act::broken("scripted"));
    world.manager.always(Call::Connect, Act::Never);
    let (result, took) = timed(world.pool.acquire_within(secs(30))).await;
    assert!(result.is_err());
    world.assert_took(took, secs(30));
    assert!(world.manager.calls(Call::Ping) <= 5 && world.manager.calls(Call::Connect) <= 5 + 16);
}

/// A connection ended by its server fails its ping and is not lent again.
pub async fn c59_a_connection_that_its_server_has_ended_is_not_lent_again<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.tuned(1, 0, |builder, _| builder.pre_ping_idle(Duration::ZERO));
    let mut lease = world.lease().await;
    if let Err(error) = stage.fixture.kill(lease.real()).await {
        panic!("the server could not be asked to end the connection: {error}");
    }
    let ping = tokio::time::timeout(secs(30), stage.manager().ping(&mut lease)).await;
    assert!(
        matches!(ping, Ok(Err(_))),
        "`ping` takes a dead connection for alive, or hangs: {ping:?}"
    );
    drop(lease);
    let mut lease = world.lease().await;
    assert_eq!(lease.id(), 2);
    let ping = tokio::time::timeout(secs(30), stage.manager().ping(&mut lease)).await;
    assert!(matches!(ping, Ok(Ok(()))), "`ping` takes a living connection for dead: {ping:?}");
}

/// A real ping of a healthy connection succeeds, and so does its reset.
pub async fn c59_a_healthy_connection_passes_ping_and_reset<T: Trial>(stage: Stage<T>) {
    let world = stage
        .tuned(1, 0, |builder, _| builder.pre_ping_idle(Duration::ZERO).ping_timeout(secs(20)));
    for _ in 0..5 {
        let mut lease = world.lease().await;
        assert_eq!(lease.id(), 1, "a healthy connection was given up: {:?}", world.trace.lines());
        lease.set_dirty(true);
        drop(lease);
        world.until_calm().await;
    }
    assert!(world.manager.calls(Call::Reset) >= 5);
}
