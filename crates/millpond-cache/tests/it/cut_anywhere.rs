//! Drops every future of a cache after every number of polls, over a network that splits messages;
//! loads also with every result of a loader.

use crate::support::InPieces;
use futures_util::FutureExt;
use millpond_cache::{CacheBuilder, CacheError, RedisCache};
use millpond_core::Invalidate;
use millpond_redis::Command;
use millpond_testkit::{poll_n, until};
use std::io::Error;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::timeout;

/// More polls than any operation needs.
const POLLS_MAX: usize = 2_000;

/// The stale time of a value, and the waiting time for a lock: longer than the tests take.
const LONG: Duration = Duration::from_secs(300);

/// A caller that waits for an abandoned lock, permit or leader is not served within this time.
const SOON: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
enum Operation {
    Connect,
    Acquire,
    RunOnPool,
    Get,
    GetAnew,
    Mget,
    Set,
    SetFor,
    Delete,
    Exists,
    Ttl,
    Incr,
    Clear,
}

const OPERATIONS: [Operation; 13] = [
    Operation::Connect,
    Operation::Acquire,
    Operation::RunOnPool,
    Operation::Get,
    Operation::GetAnew,
    Operation::Mget,
    Operation::Set,
    Operation::SetFor,
    Operation::Delete,
    Operation::Exists,
    Operation::Ttl,
    Operation::Incr,
    Operation::Clear,
];

/// Returns a number that only the right answer contains.
fn nonce() -> u64 {
    fastrand::u64(..)
}

fn key() -> String {
    format!("k{:x}", nonce())
}

/// Stores a value under a new key from another process; returns both.
async fn stored(world: &InPieces) -> (String, u64) {
    let (key, value) = (key(), nonce());
    world.straight.set_with_ttl(&key, &value, LONG).await.unwrap();
    (key, value)
}

/// Polls an operation at most this number of times; true if it finished.
async fn done_within(polls: usize, operation: Operation, world: &InPieces) -> bool {
    let InPieces { cache, straight, .. } = world;
    match operation {
        Operation::Connect => poll_n(world.builder().connect(), polls).await.is_some(),
        Operation::Acquire => poll_n(cache.pool().acquire(), polls).await.is_some(),
        Operation::RunOnPool => {
            let word = key();
            let answer =
                poll_n(cache.pool().run::<String>(Command::new("ECHO").arg(&word)), polls).await;
            answer.inspect(|answer| assert_eq!(*answer.as_ref().unwrap(), word)).is_some()
        }
        Operation::Get | Operation::GetAnew => {
            if let Operation::GetAnew = operation {
                cache.pool().invalidate_all(Invalidate::Soft);
            }
            let (key, value) = stored(world).await;
            let found = poll_n(cache.get::<u64>(&key), polls).await;
            found.inspect(|found| assert_eq!(*found.as_ref().unwrap(), Some(value))).is_some()
        }
        Operation::Mget => {
            let ((one, first), (two, second)) = (stored(world).await, stored(world).await);
            let found = poll_n(cache.mget::<u64>(&[&two, "nothing", &one]), polls).await;
            found
                .inspect(|found| {
                    assert_eq!(found.as_ref().unwrap()[..], [Some(second), None, Some(first)])
                })
                .is_some()
        }
        Operation::Set | Operation::SetFor => {
            let ((key, old), new) = (stored(world).await, nonce());
            let done = match operation {
                Operation::Set => poll_n(cache.set(&key, &new), polls).await,
                _ => poll_n(cache.set_with_ttl(&key, &new, LONG), polls).await,
            };
            let found = straight.get(&key).await.unwrap();
            assert!(found == Some(new) || (found == Some(old) && done.is_none()), "{found:?}");
            done.is_some()
        }
        Operation::Delete => Box::pin(deleted_within(polls, world)).await,
        Operation::Exists => {
            let (key, _) = stored(world).await;
            poll_n(cache.exists(&key), polls)
                .await
                .inspect(|is_there| assert!(is_there.as_ref().unwrap()))
                .is_some()
        }
        Operation::Ttl => {
            let key = key();
            straight.set_with_ttl(&key, &nonce(), LONG).await.unwrap();
            let life = poll_n(cache.ttl(&key), polls).await.map(Result::unwrap);
            life.inspect(|life| assert!(life.is_some_and(|life| life <= LONG), "{life:?}"))
                .is_some()
        }
        Operation::Incr => {
            let key = key();
            straight.incr(&key, 5).await.unwrap();
            let sum = poll_n(cache.incr(&key, 2), polls).await.map(Result::unwrap);
            let found = straight.incr(&key, 0).await.unwrap();
            assert!(found == 7 || (found == 5 && sum.is_none()), "{found}");
            sum.inspect(|sum| assert_eq!(*sum, 7)).is_some()
        }
        Operation::Clear => Box::pin(cleared_within(polls, world)).await,
    }
}

async fn deleted_within(polls: usize, world: &InPieces) -> bool {
    let InPieces { cache, straight, .. } = world;
    let ((one, first), (two, second)) = (stored(world).await, stored(world).await);
    let done = poll_n(cache.delete(&[&one, &two]), polls).await.map(Result::unwrap);
    for (key, value) in [(one, first), (two, second)] {
        let found = straight.get(&key).await.unwrap();
        assert!(found.is_none() || (found == Some(value) && done.is_none()), "{found:?}");
    }
    done.inspect(|removed| assert_eq!(*removed, 2)).is_some()
}

async fn cleared_within(polls: usize, world: &InPieces) -> bool {
    let (neighbour, kept) = stored(world).await;
    let name = key();
    let (cache, straight) =
        (world.cache.namespace(&name).unwrap(), world.straight.namespace(&name).unwrap());
    let values = [nonce(), nonce(), nonce()];
    for (n, value) in values.iter().enumerate() {
        straight.set(&n.to_string(), value).await.unwrap();
    }
    let done = poll_n(cache.clear(), polls).await.map(Result::unwrap);
    for (n, value) in values.into_iter().enumerate() {
        let found = straight.get(&n.to_string()).await.unwrap();
        assert!(found.is_none() || (found == Some(value) && done.is_none()), "{found:?}");
    }
    assert_eq!(
        world.straight.get(&neighbour).await.unwrap(),
        Some(kept),
        "it is of another namespace"
    );
    done.inspect(|removed| assert_eq!(*removed, 3)).is_some()
}

/// The next caller gets the value that it requested, and the pool has all its slots.
async fn next_is_served(world: &InPieces, what: impl std::fmt::Debug) {
    let InPieces { cache, straight, .. } = world;
    let (key, value) = stored(world).await;
    assert_eq!(cache.get(&key).await.unwrap(), Some(value), "{what:?}");
    let next = nonce();
    cache.set_with_ttl(&key, &next, LONG).await.unwrap();
    assert_eq!(straight.get(&key).await.unwrap(), Some(next), "{what:?}");
    until("one connection is there and nobody waits", async || {
        let status = cache.pool().status();
        (status.open, status.connecting, status.resetting, status.closing, status.waiting)
            == (1, 0, 0, 0, 0)
    })
    .await;
    let totals = cache.pool().status().totals;
    assert_eq!(
        totals.acquires,
        totals.succeeded + totals.timed_out + totals.cancelled + totals.failed,
        "{what:?}"
    );
}

#[tokio::test]
async fn the_next_caller_gets_its_own_value_after_any_operation_was_dropped_at_any_poll() {
    let Some(world) = InPieces::new(|builder| builder).await else { return };
    let mut cuts = 0;
    for operation in OPERATIONS {
        let mut polls = 0;
        // Boxed: without optimisation the futures are too large for a test's stack.
        while !Box::pin(done_within(polls, operation, &world)).await {
            polls += 1;
            assert!(polls < POLLS_MAX, "{operation:?} is polled without end");
            Box::pin(next_is_served(&world, operation)).await;
        }
        cuts += polls;
        Box::pin(next_is_served(&world, operation)).await;
    }
    assert!(cuts > 2 * OPERATIONS.len(), "{cuts} cuts: the messages came in one piece");
    let open = || world.proxy.links().iter().filter(|link| link.is_open()).count();
    until("one connection is left", async || open() == 1).await;
}

#[tokio::test]
async fn a_close_goes_on_when_its_future_is_dropped_at_any_poll() {
    for polls in 0..POLLS_MAX {
        let Some(world) = InPieces::new(|builder| builder).await else { return };
        let cache = &world.cache;
        cache.set("k", &1).await.unwrap();
        let ended = poll_n(cache.close(), polls).await.is_some();
        if polls > 0 {
            until("nothing is open", async || cache.pool().status().open == 0).await;
            assert!(cache.get::<u64>("k").await.is_err());
        }
        if ended {
            return;
        }
    }
    panic!("it is polled without end");
}

/// The result of a loader.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Finds,
    FindsNothing,
    Fails,
    Panics,
    Never,
}

const ENDS: [End; 5] = [End::Finds, End::FindsNothing, End::Fails, End::Panics, End::Never];

impl End {
    async fn load(self, value: u64) -> Result<Option<u64>, Error> {
        for _ in 0..3 {
            yield_now().await;
        }
        match self {
            Self::Finds => Ok(Some(value)),
            Self::FindsNothing => Ok(None),
            Self::Fails => Err(Error::other("the source is dry")),
            Self::Panics => panic!("scripted"),
            Self::Never => std::future::pending().await,
        }
    }
}

/// Polls a load at most this number of times and drops it; true if it finished.
async fn loaded_within(
    polls: usize,
    end: End,
    world: &InPieces,
    key: &str,
    old: Option<u64>,
    new: u64,
) -> bool {
    let load = AssertUnwindSafe(world.cache.get_or_load(key, || end.load(new))).catch_unwind();
    let Some(answer) = poll_n(load, polls).await else { return false };
    match (end, old, answer) {
        (End::Finds, _, Ok(Ok(Some(value)))) => assert_eq!(value, new),
        (End::FindsNothing, _, Ok(Ok(None))) | (End::Panics, _, Err(_)) => {}
        (End::Fails | End::Never, Some(old), Ok(Ok(Some(value)))) => assert_eq!(value, old),
        (End::Fails, None, Ok(Err(CacheError::Load(_)))) => {}
        (End::Never, None, Ok(Err(CacheError::LoadTimedOut { .. }))) => {}
        (_, _, answer) => panic!("{end:?}: {:?}", answer.ok()),
    }
    true
}

/// Loads the key in another process and then in this one, without waiting; both return the stored
/// value, if there is one.
async fn next_one_loads(world: &InPieces, key: &str, new: u64, is_stale: bool) {
    let load = async |cache: &RedisCache, value: u64| {
        let loaded = cache.get_or_load(key, async || Ok::<_, Error>(Some(value)));
        timeout(SOON, loaded).await.expect("the key is locked").unwrap().unwrap()
    };
    let (first, second) = (nonce(), nonce());
    let found = load(&world.straight, first).await;
    assert!(
        found == first || found == new,
        "neither what the next one loaded nor what was cut off while it was stored"
    );
    let again = load(&world.cache, second).await;
    // The dropped store may have been executed after the other process's.
    assert!(
        [found, new].contains(&again) || (is_stale && again == second),
        "there was a value, and it was loaded again"
    );
    until("the lock is given back", async || !world.is_locked(key).await).await;
}

async fn sweep(shape: impl Fn(CacheBuilder) -> CacheBuilder, is_stale: bool) {
    let mut cuts = 0;
    for end in ENDS {
        // One permit: if a load leaked it, the next load would get none.
        let in_time = if end == End::Never { Duration::from_millis(50) } else { SOON };
        let Some(world) = InPieces::new(|it| shape(it).loads_max(1).load_timeout(in_time)).await
        else {
            return;
        };
        for polls in 0.. {
            assert!(polls < POLLS_MAX, "{end:?} is polled without end");
            let (key, new) = (key(), nonce());
            let mut old = None;
            if is_stale {
                old = Some(nonce());
                world.straight.set(&key, &old).await.unwrap();
                until("it is past its time", async || !world.straight.exists(&key).await.unwrap())
                    .await;
            }
            // Boxed, as above.
            let ended = Box::pin(loaded_within(polls, end, &world, &key, old, new)).await;
            Box::pin(next_one_loads(&world, &key, new, is_stale)).await;
            Box::pin(next_is_served(&world, end)).await;
            if ended {
                cuts += polls;
                break;
            }
        }
    }
    assert!(cuts > 3 * ENDS.len(), "{cuts} cuts");
}

#[tokio::test]
async fn a_load_can_be_dropped_anywhere_and_the_next_one_loads_at_once() {
    sweep(|builder| builder, false).await;
}

#[tokio::test]
async fn a_load_with_a_lock_can_be_dropped_anywhere_and_the_next_one_loads() {
    sweep(|builder| builder.lock_across_processes(LONG), false).await;
}

#[tokio::test]
async fn a_load_of_a_stale_value_can_be_dropped_anywhere_and_the_next_one_loads_at_once() {
    let short = |builder: CacheBuilder| builder.ttl(Duration::from_millis(1)).ttl_jitter(0);
    sweep(|builder| short(builder).stale_while_revalidate(LONG), true).await;
}
