//! Histograms of connect, wait and use times.

use crate::world::{Ear, ms, pool};
use millpond_core::{Event, EventContext, Interest, Observer, PoolHistograms};
use millpond_metrics::PoolMetrics;
use millpond_testkit::{Act, ByHand, Call, ScriptedManager};
use std::sync::{Arc, OnceLock, Weak};
use tokio::time::advance;

#[track_caller]
fn about(spans: &[f64], wanted: &[f64]) {
    let close = |(span, wanted): (&f64, &f64)| (span - wanted).abs() <= wanted * 0.032 + 2.0;
    assert!(
        spans.len() == wanted.len() && spans.iter().zip(wanted).all(close),
        "{spans:?} ms instead of {wanted:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn creating_waiting_and_using_are_reported_in_seconds() {
    let manager = ScriptedManager::new();
    manager.always(Call::Connect, Act::slow(ms(150)).then(Act::Ok));
    let (pool, metrics) = pool(&manager, |builder| builder.pool_size(1).max_overflow(0));
    let lease = pool.acquire().await.unwrap();
    advance(ms(1000)).await;
    drop(lease);
    let mut ear = Ear::new();
    ear.listen(&metrics);
    about(&ear.millis("db.client.connection.create_time"), &[150.0]);
    about(&ear.millis("db.client.connection.wait_time"), &[150.0]);
    about(&ear.millis("db.client.connection.use_time"), &[1000.0]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_reported_twice_and_nothing_is_lost_between_two_reports() {
    let (pool, metrics) = pool(&ScriptedManager::new(), |builder| builder);
    let mut ear = Ear::new();
    for _ in 0..3 {
        for _ in 0..4 {
            drop(pool.acquire().await.unwrap());
        }
        ear.listen(&metrics);
        ear.listen(&metrics);
    }
    assert_eq!(ear.count("millpond.acquires", "outcome=ok"), 12);
    assert_eq!(ear.millis("db.client.connection.wait_time").len(), 12);
    assert_eq!(ear.millis("db.client.connection.use_time").len(), 12);
}

/// Holds a weak reference to a pool's histograms, to check that they are dropped.
#[derive(Default)]
struct Witness(OnceLock<Weak<PoolHistograms>>);

impl Observer for Witness {
    fn observe(&self, _: &Event, _: &EventContext<'_>) {}

    fn interest(&self) -> Interest {
        Interest::Measurements
    }

    fn attach_histograms(&self, _: &str, times: Arc<PoolHistograms>) {
        let _ = self.0.set(Arc::downgrade(&times));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_with_two_observers_is_reported_to_its_end_by_both_and_then_forgotten() {
    let (other, witness) = (PoolMetrics::manual(), Arc::new(Witness::default()));
    let watched = |builder: millpond_core::Builder<_>| {
        builder.observer(other.clone()).observer(Arc::clone(&witness))
    };
    let (pool, metrics) = pool(&ScriptedManager::new(), watched);
    let lease = pool.acquire().await.unwrap();
    drop(pool);
    let mut ears = [Ear::new(), Ear::new()];
    let mut listen =
        || ears.iter_mut().zip([&metrics, &other]).for_each(|(ear, metrics)| ear.listen(metrics));
    listen();
    advance(ms(5)).await;
    drop(lease);
    while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
        advance(ms(1)).await;
        tokio::task::yield_now().await;
    }
    listen();
    for ear in &ears {
        about(&ear.millis("db.client.connection.use_time"), &[5.0]);
    }
    assert!(
        witness.0.get().unwrap().upgrade().is_none(),
        "the histograms of a dropped pool are still held"
    );
}

#[tokio::test(start_paused = true)]
async fn the_waits_of_callers_who_got_nothing_are_reported_by_outcome() {
    let (pool, metrics) = pool(&ScriptedManager::new(), |b| b.pool_size(1).max_overflow(0));
    let lease = pool.acquire().await.unwrap();
    drop(pool.acquire_within(ms(300)).await.unwrap_err());
    let mut dropped = ByHand::new(Box::pin(pool.acquire()));
    assert!(dropped.poll().is_pending());
    advance(ms(40)).await;
    drop(dropped);
    let mut ear = Ear::new();
    ear.listen(&metrics);
    ear.listen(&metrics);
    about(&ear.millis_of("millpond.unserved_wait_time", "outcome=timed_out"), &[300.0]);
    about(&ear.millis_of("millpond.unserved_wait_time", "outcome=cancelled"), &[40.0]);
    assert_eq!(ear.millis("db.client.connection.wait_time").len(), 1);
    drop(lease);
}
