//! A dropped pool is no longer reported.

use crate::world::{Ear, ms};
use metrics::{
    Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use millpond_core::QueuePool;
use millpond_metrics::PoolMetrics;
use millpond_testkit::ScriptedManager;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

/// A recorder that collects the names of the reported pools.
#[derive(Default)]
struct Pools(Mutex<BTreeSet<String>>);

impl Pools {
    fn note(&self, key: &Key) {
        let labels = key.labels().filter(|label| label.key() == "db.client.connection.pool.name");
        self.0.lock().unwrap().extend(labels.map(|label| label.value().to_owned()));
    }

    /// Returns the pools that are reported now.
    fn reported_by(metrics: &PoolMetrics) -> Vec<String> {
        let pools = Self::default();
        with_local_recorder(&pools, || metrics.report());
        pools.0.into_inner().unwrap().into_iter().collect()
    }
}

impl Recorder for Pools {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.note(key);
        Counter::noop()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.note(key);
        Gauge::noop()
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.note(key);
        Histogram::noop()
    }
}

fn pool(metrics: &PoolMetrics, name: &str) -> QueuePool<ScriptedManager> {
    let builder = QueuePool::builder(ScriptedManager::new()).name(name).observer(metrics.clone());
    let pool = builder.build().unwrap();
    metrics.follow_pool(&pool);
    pool
}

#[tokio::test(start_paused = true)]
async fn a_dropped_pool_is_not_reported_any_more_after_its_last_events() {
    let metrics = PoolMetrics::manual();
    let kept = pool(&metrics, "kept");
    for n in 0..20 {
        let pool = pool(&metrics, &format!("tenant {n}"));
        drop(pool.acquire().await.unwrap());
    }
    assert_eq!(Pools::reported_by(&metrics).len(), 21);
    tokio::time::sleep(ms(100)).await;
    // The last closes, and the gauges as zero.
    Pools::reported_by(&metrics);
    Pools::reported_by(&metrics);
    assert_eq!(Pools::reported_by(&metrics), ["kept"]);
    drop(kept.acquire().await.unwrap());
    let mut ear = Ear::new();
    ear.listen(&metrics);
    assert_eq!(ear.count_of_all("millpond.acquires"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_used_again_is_reported_again() {
    let metrics = PoolMetrics::manual();
    let mut ear = Ear::new();
    for round in 1..=3 {
        let pool = pool(&metrics, "p");
        drop(pool.acquire().await.unwrap());
        drop(pool);
        tokio::time::sleep(ms(100)).await;
        (0..3).for_each(|_| ear.listen(&metrics));
        assert_eq!(ear.count("millpond.connections.created", ""), round);
        assert_eq!(ear.count_of_all("millpond.connections.closed"), round);
    }
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_pool_is_reported_for_the_last_time() {
    let metrics = PoolMetrics::manual();
    let (gone, kept) = (pool(&metrics, "p"), pool(&metrics, "kept"));
    drop(gone.acquire().await.unwrap());
    let mut ear = Ear::new();
    ear.hear(|| metrics.forget("p"));
    metrics.forget("never heard of");
    assert_eq!(ear.count("millpond.connections.created", ""), 1);
    assert_eq!(ear.level("pool_size", ""), 0.0);
    drop(gone);
    tokio::time::sleep(ms(100)).await;
    Pools::reported_by(&metrics);
    Pools::reported_by(&metrics);
    assert_eq!(Pools::reported_by(&metrics), ["kept"]);
    drop(kept);
}

/// A recorder that stores the last reported size, and blocks in its first report until another call
/// has ended.
struct Slow {
    size: Arc<AtomicU64>,
    begun: SyncSender<()>,
    ended: Mutex<Option<Receiver<()>>>,
}

struct Size(Arc<AtomicU64>);

impl GaugeFn for Size {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::SeqCst);
    }
}

impl Recorder for Slow {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        if key.name() != "pool_size" {
            return Gauge::noop();
        }
        let ended = self.ended.lock().unwrap().take();
        if let Some(ended) = ended {
            self.begun.send(()).unwrap();
            // It cannot end while only one may report at a time.
            let _ = ended.recv_timeout(ms(300));
        }
        Gauge::from_arc(Arc::new(Size(Arc::clone(&self.size))))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn a_slow_report_reports_nothing_of_a_pool_after_it_was_forgotten() {
    let metrics = PoolMetrics::manual();
    let pool = pool(&metrics, "p");
    drop(pool.acquire().await.unwrap());
    let (begun, has_begun) = sync_channel(1);
    let (ended, has_ended) = sync_channel(1);
    let size = Arc::<AtomicU64>::default();
    let recorder =
        Arc::new(Slow { size: Arc::clone(&size), begun, ended: Mutex::new(Some(has_ended)) });
    let (slow, reported) = (Arc::clone(&recorder), metrics.clone());
    let reporter = thread::spawn(move || with_local_recorder(&*slow, || reported.report()));
    has_begun.recv().unwrap();
    with_local_recorder(&*recorder, || metrics.forget("p"));
    let _ = ended.send(());
    reporter.join().unwrap();
    assert_eq!(f64::from_bits(size.load(Ordering::SeqCst)), 0.0, "a pool that is not followed");
    drop(pool);
}
