//! What a user reads at three in the morning: the texts of errors, who holds what, and leaks.

use crate::support::{Loan, Pool, World, assert_took, ms, quiet, refused, secs, settle, timed};
use millpond_core::{CloseReason, Event, Phase, PoolError, PoolExt, Request};
use millpond_testkit::{Act, Call, ScriptedConnection};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// A line of this file as an error names it.
fn here(line: u32) -> String {
    format!("{}:{line}", file!())
}

#[tokio::test(start_paused = true)]
async fn the_text_of_a_timeout_begins_as_in_the_guide_and_then_has_every_detail() {
    let world = World::new(10, 20);
    let (oldest, line) = (world.pool.acquire().await.unwrap(), line!());
    sleep(secs(5)).await;
    let _others = world.leases(29).await;
    let pool = world.pool.clone();
    let error = tokio::spawn(async move { refused(pool.acquire().await) }).await.unwrap();

    let text = error.to_string();
    let begin = "QueuePool limit of size 10 overflow 20 reached, connection timed out, timeout \
        30.00; pool `pool`, phase wait: 30 in use, 0 idle, 0 connecting, ";
    assert!(text.starts_with(begin), "{text}");
    let holders = format!("; held longest: {} for 35.0", here(line));
    assert!(text.contains(&holders), "{text}");
    assert_eq!(
        text.matches(file!()).count() + text.matches("support.rs:").count(),
        3,
        "three holders: {text}"
    );
    assert!(!text.contains("this task"), "the caller's own task holds nothing: {text}");
    assert!(!text.contains('\n'), "one line: {text}");

    let PoolError::TimedOut(timed_out) = &error else { panic!("{error:?}") };
    assert_eq!(
        (timed_out.kind, timed_out.phase, timed_out.limit),
        ("QueuePool", Phase::Wait, secs(30))
    );
    assert_eq!((timed_out.status.in_use, timed_out.status.limit()), (30, 30));
    assert_eq!(timed_out.holders.len(), 3);
    assert!(timed_out.holders.is_sorted_by(|a, b| a.held >= b.held), "the oldest first");
    drop(oldest);
}

#[tokio::test(start_paused = true)]
async fn the_text_shows_how_long_the_first_in_the_queue_has_waited() {
    let world = World::new(1, 0);
    let _lease = world.lease().await;
    let pool = world.pool.clone();
    let patient = tokio::spawn(async move { pool.acquire_within(secs(100)).await });
    sleep(secs(20)).await;
    assert_eq!(world.pool.status().oldest_waiter.map(|age| age.as_secs()), Some(20));
    let pool = world.pool.clone();
    let text =
        tokio::spawn(async move { refused(pool.acquire().await).to_string() }).await.unwrap();
    assert!(text.contains(" waiting (the oldest for 50.0"), "{text}");
    patient.abort();
}

#[tokio::test(start_paused = true)]
async fn the_holder_is_the_line_that_acquired_whichever_way_it_went() {
    let world = World::new(10, 0);
    let dynamic: Arc<dyn millpond_core::Pool<Connection = ScriptedConnection>> =
        Arc::new(world.pool.clone());
    let mut lines = Vec::new();
    let mut loans: Vec<Loan> = Vec::new();
    let mut keep = |lease, line| {
        loans.push(lease);
        lines.push(here(line));
    };
    keep(world.pool.acquire().await.unwrap(), line!());
    keep(world.pool.acquire_within(secs(1)).await.unwrap(), line!());
    keep(world.pool.acquire_with(Request::here()).await.unwrap(), line!());
    keep(dynamic.acquire().await.unwrap(), line!());
    keep(dynamic.acquire_within(secs(1)).await.unwrap(), line!());
    keep(PoolExt::acquire(&world.pool).await.unwrap(), line!());
    drop(world.lease().await);
    keep(world.pool.try_acquire().unwrap(), line!());
    let mut held: Vec<String> = world.pool.holders().iter().map(|h| here_of(h.location)).collect();
    held.sort();
    lines.sort();
    assert_eq!(held, lines);
    drop(loans.remove(0));
    assert_eq!(world.pool.holders().len(), 6);
    let via_dyn = {
        let (lease, line) = (dynamic.try_acquire(), line!());
        drop(loans);
        assert_eq!(world.pool.holders().first().map(|h| here_of(h.location)), Some(here(line)));
        lease
    };
    drop(via_dyn);
    assert!(world.pool.holders().is_empty());
}

fn here_of(location: &std::panic::Location<'_>) -> String {
    format!("{}:{}", location.file(), location.line())
}

#[tokio::test(start_paused = true)]
async fn holders_are_named_with_their_age_the_oldest_first() {
    let world = World::new(3, 0);
    let mut loans = Vec::new();
    for _ in 0..3 {
        loans.push(world.lease().await);
        sleep(secs(10)).await;
    }
    let held: Vec<u64> = world.pool.holders().iter().map(|holder| holder.held.as_secs()).collect();
    assert_eq!(held, [30, 20, 10]);
    let ids: Vec<u64> = world.pool.holders().iter().map(|holder| holder.id.get()).collect();
    assert_eq!(ids, loans.iter().map(|lease| lease.id()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_one_call_stands_in_its_error() {
    let world = World::new(1, 0);
    let _lease = world.lease().await;
    let text = refused(world.pool.acquire_within(ms(1500)).await).to_string();
    let begin = "QueuePool limit of size 1 overflow 0 reached, connection timed out, timeout 1.50; \
        pool `pool`, phase wait: ";
    assert!(text.starts_with(begin), "{text}");
}

#[tokio::test(start_paused = true)]
async fn where_the_cap_is_not_the_reason_the_text_does_not_say_so() {
    let world = World::new(10, 20);
    world.manager.always(Call::Connect, Act::transient("connection refused"));
    let text = refused(world.pool.acquire_within(secs(2)).await).to_string();
    assert!(
        text.starts_with(
            "no connection could be opened: connection refused, timeout 2.00; pool `pool`, \
             phase connect: "
        ),
        "{text}"
    );
    assert!(!text.contains("limit of size"), "{text}");
    assert_eq!(text.matches("connection refused").count(), 1, "said once: {text}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_reported_as_that() {
    let world = World::new(10, 20);
    world.manager.always(Call::Connect, Act::Never);
    let text = refused(world.pool.acquire_within(secs(2)).await).to_string();
    assert!(
        text.starts_with(
            "no connection could be opened: the server has not answered, timeout 2.00"
        ),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_whose_last_connect_failed_reports_both() {
    let world = World::new(1, 1);
    let _lease = world.lease().await;
    world.manager.always(Call::Connect, Act::transient("too many clients already"));
    let text = refused(world.pool.acquire_within(secs(2)).await).to_string();
    assert!(text.contains("too many clients already"), "{text}");
    assert!(text.contains("1 in use"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_was_overcome_is_not_reported() {
    let world = World::new(1, 0);
    world.manager.next(Call::Connect, [Act::transient("the database system is starting up")]);
    let _lease = world.lease().await;
    let error = refused(world.pool.acquire_within(secs(2)).await);
    assert!(
        error.to_string().starts_with("QueuePool limit of size 1 overflow 0 reached"),
        "{error}"
    );
    assert!(!error.to_string().contains("starting up"), "{error}");
    assert!(std::error::Error::source(&error).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_what_it_holds_itself_gets_that_as_the_reason() {
    let world = World::new(2, 0);
    let hint = "this task holds one of the connections that it is waiting for: release it before \
        acquiring again";
    let nested = |pool: Pool| async move {
        let _outer = pool.acquire().await.unwrap();
        let _another = pool.acquire().await.unwrap();
        refused(pool.acquire_within(secs(1)).await)
    };
    let error = tokio::spawn(nested(world.pool.clone())).await.unwrap();
    assert!(error.to_string().contains(hint), "{error}");
    let PoolError::TimedOut(timed_out) = error else { panic!("not a timeout") };
    assert!(timed_out.self_deadlock);
}

#[tokio::test(start_paused = true)]
async fn ten_nested_tasks_all_end_at_their_deadline() {
    let world = World::new(10, 0);
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let pool = world.pool.clone();
            tokio::spawn(async move {
                let _outer = pool.acquire().await.unwrap();
                quiet().await;
                let (result, took) = timed(pool.acquire()).await;
                assert_took(took, secs(30));
                // The first that ends frees a connection, and the others still are in their last
                // tick.
                drop(result);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    settle().await;
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_holder_older_than_leak_after_is_reported_once() {
    let world = World::with(3, 0, |builder| builder.leak_after(secs(60)));
    let (leaked, line) = (world.pool.acquire().await.unwrap(), line!());
    let pool = world.pool.clone();
    let brisk = tokio::spawn(async move {
        loop {
            let lease = pool.acquire().await.unwrap();
            sleep(secs(50)).await;
            drop(lease);
        }
    });
    sleep(secs(59)).await;
    assert_eq!(world.trace.count("leaked"), 0);
    sleep(secs(600)).await;
    brisk.abort();
    let leaks: Vec<_> = world
        .trace
        .events()
        .into_iter()
        .filter_map(|(_, event)| match event {
            Event::Leaked { id, location, held } => Some((id.get(), here_of(location), held)),
            _ => None,
        })
        .collect();
    assert_eq!(leaks.len(), 1, "{leaks:?}");
    assert_eq!((leaks[0].0, &leaks[0].1), (leaked.id(), &here(line)));
    assert!(leaks[0].2 >= secs(60) && leaks[0].2 <= secs(90), "{leaks:?}");
    drop(leaked);

    let again = world.lease().await;
    sleep(secs(120)).await;
    assert_eq!(world.trace.count("leaked"), 2, "the next lease is watched anew");
    drop(again);
}

#[tokio::test(start_paused = true)]
async fn a_holder_beyond_max_lease_is_reported_and_its_connection_closed_when_it_comes_back() {
    let world = World::with(1, 0, |builder| builder.max_lease(secs(60)));
    for held in [59, 61, 59] {
        let lease = world.lease().await;
        sleep(secs(held)).await;
        drop(lease);
        settle().await;
    }
    assert_eq!(world.trace.closed(), [CloseReason::Overdue]);
    assert_eq!(world.trace.count("leaked"), 1);
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_lease_costs_one_place_and_stays_visible() {
    let world = World::with(2, 0, |builder| builder.leak_after(secs(10)));
    std::mem::forget(world.lease().await);
    sleep(secs(60)).await;
    assert_eq!((world.pool.holders().len(), world.trace.count("leaked")), (1, 1));
    let _other = world.lease().await;
    assert!(world.pool.acquire_within(ms(10)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_other_errors_read_as_sentences() {
    let world = World::new(1, 0);
    let _ = world.pool.close().await;
    let error = refused(world.pool.acquire().await);
    assert!(error.is_closed() && !error.is_timeout());
    assert_eq!(error.to_string(), "the pool is closed");
    assert!(std::error::Error::source(&error).is_none());
}

#[tokio::test(start_paused = true)]
async fn no_text_of_the_pool_shows_more_of_an_error_than_the_error_does() {
    let world = World::with(1, 0, |builder| builder.name("orders"));
    let _lease = world.lease().await;
    let error = refused(world.pool.acquire_within(Duration::from_millis(1)).await);
    let shown = format!("{:?} {:?} {error:?}", world.pool, world.pool.status());
    assert!(shown.contains("orders") || world.pool.name() == "orders");
    assert!(!shown.contains("ScriptedManager"), "a manager may know a password: {shown}");
}
