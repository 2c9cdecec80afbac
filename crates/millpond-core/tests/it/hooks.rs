//! Hooks act at five hook points, in order, and may refuse.

use crate::support::{Pool, World, assert_took, ms, quiet, ready, refused, secs, settle, timed};
use millpond_core::{
    AcquireFailure, BoxError, ConnectInfo, ConnectionInfo, HookFuture, HookPoint, HookPoints,
    Lease, Manager, PoolError, QueuePool, Triage,
};
use millpond_testkit::{Act, ByHand, Call, Gate, ScriptedConnection};
use std::error::Error;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::time::sleep;

/// What hooks wrote down, in order.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// A hook that writes a word.
    fn write(
        &self,
        word: &'static str,
    ) -> impl for<'a> Fn(&'a mut ScriptedConnection, &'a ConnectionInfo) -> HookFuture<'a>
    + Send
    + Sync
    + 'static {
        let notes = self.clone();
        move |conn, info| {
            let line = format!("{word} {} use {}", conn.id(), info.uses);
            notes.0.lock().unwrap().push(line);
            Box::pin(async { Ok(()) })
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_meets_its_hooks_in_the_order_of_its_life() {
    let world = World::hooked(1, 0, |builder| builder);
    drop(world.lease().await);
    settle().await;
    drop(world.lease().await);
    settle().await;
    let _ = world.pool.close().await;
    assert_eq!(
        world.manager.story(1),
        "connect on_first_connect on_connect on_checkout triage on_checkin on_checkout triage \
         on_checkin on_close close"
    );
}

#[tokio::test(start_paused = true)]
async fn closures_and_objects_run_in_the_order_in_which_they_were_registered() {
    let notes = Notes::default();
    let world = World::made(1, 0, |builder, manager| {
        builder
            .on_connect(notes.write("first"))
            .hooks(manager.hooks_at(HookPoint::Connect))
            .on_connect(notes.write("third"))
            .on_checkin(notes.write("in"))
            .on_checkout(notes.write("out"))
            .on_first_connect(notes.write("very first"))
            .on_close(notes.write("close"))
    });
    drop(world.lease().await);
    settle().await;
    let _ = world.pool.close().await;
    let words: Vec<String> =
        notes.all().iter().map(|line| line.split(" 1 ").next().unwrap().to_owned()).collect();
    assert_eq!(words, ["very first", "first", "third", "out", "in", "close"]);
    assert_eq!(world.manager.calls(Call::Hook(HookPoint::Connect)), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_refusal_ends_the_row() {
    let notes = Notes::default();
    let world = World::made(1, 0, |builder, manager| {
        builder
            .on_connect(notes.write("before"))
            .hooks(manager.hooks_at(HookPoint::Connect))
            .on_connect(notes.write("after"))
    });
    world.manager.next(Call::Hook(HookPoint::Connect), [Act::transient("not this one")]);
    drop(world.lease().await);
    let words: Vec<String> =
        notes.all().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(words, ["before", "before", "after"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_is_called_only_at_the_moments_it_wants() {
    let world = World::made(1, 0, |builder, manager| {
        builder.hooks(manager.hooks_at(HookPoint::Checkout | HookPoint::Close))
    });
    drop(world.lease().await);
    settle().await;
    let _ = world.pool.close().await;
    assert_eq!(world.manager.story(1), "connect on_checkout triage on_close close");
    assert!(!HookPoints::NONE.contains(HookPoint::Connect));
}

#[tokio::test(start_paused = true)]
async fn a_hook_sees_which_connection_it_is() {
    let notes = Notes::default();
    let world =
        World::with(1, 0, |b| b.on_checkout(notes.write("out")).on_checkin(notes.write("in")));
    for _ in 0..2 {
        drop(world.lease().await);
        settle().await;
    }
    assert_eq!(notes.all(), ["out 1 use 1", "in 1 use 1", "out 1 use 2", "in 1 use 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_may_change_the_connection() {
    let world = World::with(1, 0, |builder| {
        builder.on_connect(|conn, _| {
            Box::pin(async move {
                tokio::task::yield_now().await;
                conn.set_dirty(true);
                Ok(())
            })
        })
    });
    assert!(world.lease().await.is_dirty());
}

#[tokio::test(start_paused = true)]
async fn on_first_connect_runs_once_and_everybody_waits_for_it() {
    let world = World::hooked(5, 0, |builder| builder);
    let gate = Gate::new();
    world.manager.always(Call::Hook(HookPoint::FirstConnect), Act::gated(&gate));
    let mut waiters: Vec<_> = (0..5).map(|_| ByHand::new(world.pool.acquire())).collect();
    for waiter in &mut waiters {
        assert!(waiter.poll().is_pending());
    }
    sleep(secs(1)).await;
    assert_eq!(world.manager.calls(Call::Connect), 1, "no other connection is opened meanwhile");
    gate.open();
    settle().await;
    let loans: Vec<_> = waiters.iter_mut().map(|waiter| ready(waiter.poll()).unwrap()).collect();
    assert_eq!(world.manager.calls(Call::Hook(HookPoint::FirstConnect)), 1);
    assert_eq!(world.manager.calls(Call::Hook(HookPoint::Connect)), 5);
    drop(loans);
}

#[tokio::test(start_paused = true)]
async fn on_first_connect_is_called_again_after_it_failed_and_never_after_it_succeeded() {
    let world = World::hooked(3, 0, |builder| builder);
    world
        .manager
        .next(Call::Hook(HookPoint::FirstConnect), [Act::transient("no"), Act::Panic, Act::Never]);
    let (lease, took) = timed(world.pool.acquire()).await;
    drop(lease.unwrap());
    assert!(
        took >= secs(5) && took < secs(7),
        "the hanging call was cut at hook_timeout: {took:?}"
    );
    assert_eq!(world.manager.calls(Call::Hook(HookPoint::FirstConnect)), 4);
    assert_eq!(
        (world.manager.calls(Call::Hook(HookPoint::Connect)), world.manager.alive()),
        (1, 1)
    );
    world.pool.invalidate_all(millpond_core::Invalidate::Soft);
    drop(world.leases(3).await);
    assert_eq!(world.manager.calls(Call::Hook(HookPoint::FirstConnect)), 4);
    assert_eq!(world.trace.count("hook failed on_first_connect"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_connection_refused_at_on_connect_is_closed_and_another_is_opened() {
    let world = World::hooked(1, 0, |builder| builder);
    world
        .manager
        .next(Call::Hook(HookPoint::Connect), [Act::transient("wrong encoding"), Act::Panic]);
    drop(world.lease().await);
    assert_eq!(world.manager.calls(Call::Connect), 3);
    assert_eq!((world.manager.alive(), world.manager.peak()), (1, 1));
    assert_eq!(world.manager.closed(), [1, 2], "closed cleanly");
    assert_eq!(world.pool.status().totals.connect_failed, 2);
    assert_eq!(world.trace.count("hook failed on_connect"), 2);
}

#[tokio::test(start_paused = true)]
async fn an_on_connect_hook_that_always_refuses_is_named_in_the_error() {
    let world =
        World::hooked(1, 0, |builder| builder.pool_timeout(secs(1)).fail_fast_after(secs(60)));
    world.manager.always(Call::Hook(HookPoint::Connect), Act::transient("wrong encoding"));
    let error = refused(world.pool.acquire().await);
    assert!(error.is_timeout() && error.to_string().contains("wrong encoding"), "{error}");
    assert!(world.manager.calls(Call::Connect) < 60, "backoff holds for hooks too");
    assert_eq!(world.manager.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_of_the_managers_own_kind_from_on_connect_is_permanent() {
    let world = World::hooked(1, 0, |builder| builder);
    world.manager.always(Call::Hook(HookPoint::Connect), Act::permanent("no such role"));
    let (result, took) = timed(world.pool.acquire()).await;
    assert!(took <= ms(10), "{took:?}");
    let error = refused(result);
    assert_eq!(error.kind(), AcquireFailure::Connect, "{error}");
    assert!(error.to_string().contains("no such role"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_refused_at_checkout_is_closed_and_another_is_lent() {
    let world = World::hooked(3, 0, |builder| builder);
    world.idle(2).await;
    world.manager.next(Call::Hook(HookPoint::Checkout), [Act::broken("read only"), Act::Panic]);
    let lease = world.lease().await;
    assert_eq!(lease.id(), 3);
    settle().await;
    assert_eq!(world.trace.count("hook failed on_checkout"), 2);
    assert_eq!(world.trace.count("closed"), 2);
    assert_eq!(world.manager.alive(), 1);
    assert_eq!(world.trace.count("closed refused_by_hook #2"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_checkout_hook_that_always_refuses_ends_after_three() {
    let world = World::hooked(5, 0, |builder| builder);
    world.manager.always(Call::Hook(HookPoint::Checkout), Act::broken("read only"));
    let error = refused(world.pool.acquire().await);
    let PoolError::Refused { point, attempts, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*point, *attempts), (HookPoint::Checkout, 3));
    assert_eq!(error.to_string(), "on_checkout refused 3 connections in a row: read only");
    assert_eq!(error.source().unwrap().to_string(), "read only");
    assert_eq!(world.manager.calls(Call::Hook(HookPoint::Checkout)), 3);
    settle().await;
    assert_eq!((world.manager.alive(), world.pool.status().totals.failed), (0, 1));
    world.manager.heal();
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_checkout_hook_is_a_refusal_at_hook_timeout() {
    let world = World::hooked(5, 0, |builder| builder.hook_timeout(secs(2)));
    world.manager.next(Call::Hook(HookPoint::Checkout), [Act::Never]);
    let (lease, took) = timed(world.pool.acquire()).await;
    drop(lease.unwrap());
    assert_took(took, secs(2));
}

#[tokio::test(start_paused = true)]
async fn what_is_validated_at_checkin_is_not_lent_meanwhile() {
    let world = World::hooked(1, 0, |builder| builder);
    let gate = Gate::new();
    world.manager.next(Call::Hook(HookPoint::Checkin), [Act::gated(&gate)]);
    drop(world.lease().await);
    quiet().await;
    assert_eq!((world.pool.status().resetting, world.pool.status().idle), (1, 0));
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    gate.open();
    quiet().await;
    drop(ready(waiter.poll()).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_connection_refused_at_checkin_is_closed() {
    for refusal in [Act::broken("left a mess"), Act::Panic, Act::Never] {
        let world = World::hooked(2, 0, |builder| builder);
        world.manager.next(Call::Hook(HookPoint::Checkin), [refusal]);
        drop(world.lease().await);
        sleep(secs(6)).await;
        assert_eq!((world.manager.alive(), world.trace.count("hook failed on_checkin #1")), (0, 1));
        assert_eq!(world.lease().await.id(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn on_checkin_comes_after_the_reset_and_only_if_that_succeeded() {
    let world = World::hooked(2, 0, |builder| builder);
    let mut lease = world.lease().await;
    lease.set_dirty(true);
    drop(lease);
    settle().await;
    assert!(
        world.manager.story(1).ends_with("triage reset on_checkin"),
        "{}",
        world.manager.story(1)
    );
    world.manager.next(Call::Reset, [Act::broken("gone")]);
    let mut lease = world.lease().await;
    lease.set_dirty(true);
    drop(lease);
    settle().await;
    assert!(world.manager.story(1).contains("triage reset on_close"), "{}", world.manager.story(1));
    assert_eq!(world.trace.count("closed reset_failed #1"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_at_close_is_reported_and_changes_nothing() {
    for refusal in [Act::broken("no"), Act::Panic, Act::Never] {
        let world = World::hooked(1, 0, |builder| builder.close_timeout(secs(30)));
        world.manager.next(Call::Hook(HookPoint::Close), [refusal]);
        drop(world.lease().await);
        settle().await;
        assert!(world.pool.close().await.is_clean());
        assert_eq!((world.manager.alive(), world.trace.count("hook failed on_close #1")), (0, 1));
        assert_eq!(world.manager.closed(), [1], "it is closed cleanly all the same");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_waits_for_its_own_pool_is_cut_at_hook_timeout() {
    let itself: Arc<OnceLock<Pool>> = Arc::default();
    let inside = Arc::clone(&itself);
    let world = World::with(1, 0, |builder| {
        builder.pool_timeout(secs(8)).on_checkout(move |_, _| {
            let pool = inside.get().unwrap().clone();
            Box::pin(async move {
                drop(pool.acquire_within(secs(60)).await?);
                Ok(())
            })
        })
    });
    itself.set(world.pool.clone()).unwrap();
    let (result, took) = timed(world.pool.acquire()).await;
    assert!(result.is_err());
    assert!(took <= secs(8) + ms(2), "{took:?}");
    sleep(secs(120)).await;
    assert_eq!((world.pool.status().in_use, world.pool.status().waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn no_hook_sees_a_detached_connection() {
    let world = World::hooked(1, 0, |builder| builder);
    drop(Lease::detach(world.lease().await));
    settle().await;
    assert_eq!(world.manager.story(1), "connect on_first_connect on_connect on_checkout");
}

#[tokio::test(start_paused = true)]
async fn try_acquire_lends_nothing_where_a_checkout_hook_exists() {
    let world = World::hooked(1, 0, |builder| builder);
    drop(world.lease().await);
    settle().await;
    assert!(world.pool.try_acquire().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_any_kind_is_a_refusal() {
    let world = World::with(1, 0, |builder| {
        builder
            .pool_timeout(secs(1))
            .on_connect(|_, _| Box::pin(async { Err(BoxError::from("a plain text")) }))
    });
    let error = refused(world.pool.acquire().await);
    assert!(error.to_string().contains("a plain text"), "{error}");
}

/// A manager whose reset makes a connection as it was before its hooks.
struct Forgetful;

impl Manager for Forgetful {
    type Connection = Vec<&'static str>;
    type Error = std::io::Error;

    async fn connect(&self, _info: &ConnectInfo) -> Result<Self::Connection, Self::Error> {
        Ok(Vec::new())
    }

    async fn ping(&self, _conn: &mut Self::Connection) -> Result<(), Self::Error> {
        Ok(())
    }

    fn triage(&self, _conn: &mut Self::Connection) -> Triage {
        Triage::Reset
    }

    async fn reset(&self, conn: &mut Self::Connection) -> Result<(), Self::Error> {
        conn.clear();
        Ok(())
    }

    fn undoes_on_connect(&self, _conn: &mut Self::Connection) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_reset_has_undone_is_done_again_by_the_hooks_for_new_connections() {
    let pool = QueuePool::builder(Forgetful)
        .pool_size(1)
        .max_overflow(0)
        .on_connect(|conn: &mut Vec<&'static str>, _| {
            Box::pin(async move {
                conn.push("role");
                Ok(())
            })
        })
        .build()
        .unwrap();
    for _ in 0..3 {
        let mut lease = pool.acquire().await.unwrap();
        assert_eq!(*lease, ["role"]);
        lease.push("of the borrower");
    }
}
