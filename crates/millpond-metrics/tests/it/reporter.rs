//! The thread that reports metrics.

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use millpond_core::QueuePool;
use millpond_metrics::PoolMetrics;
use millpond_testkit::ScriptedManager;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A recorder that sends every count of acquires to a channel.
struct Wire(Mutex<Sender<u64>>);

struct Count(Sender<u64>);

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        let _ = self.0.send(value);
    }

    fn absolute(&self, _: u64) {}
}

impl Recorder for Wire {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == "millpond.acquires" && key.labels().any(|label| label.value() == "ok") {
            return Counter::from_arc(Arc::new(Count(self.0.lock().unwrap().clone())));
        }
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn the_reporter_reports_without_being_called() {
    let metrics = PoolMetrics::new();
    let pool =
        QueuePool::builder(ScriptedManager::new()).observer(metrics.clone()).build().unwrap();
    // The recorder is installed after the pool was built, as in many a `main`.
    let (sender, counts) = channel();
    metrics::set_global_recorder(Wire(Mutex::new(sender)))
        .map_err(|_| "there is one already")
        .unwrap();
    for _ in 0..7 {
        drop(pool.acquire().await.unwrap());
    }
    let mut heard = 0;
    while heard < 7 {
        heard += counts.recv_timeout(Duration::from_secs(60)).unwrap();
    }
    assert_eq!(heard, 7);
    drop(metrics);
    drop(pool.acquire().await.unwrap());
    assert!(pool.close().await.is_clean());
    drop(pool);
    while heard < 8 {
        // The pool's maintenance task, which holds the observers, ends when the runtime polls it.
        tokio::task::yield_now().await;
        heard += counts.recv_timeout(Duration::from_secs(60)).unwrap();
    }
    assert_eq!(heard, 8);
}
