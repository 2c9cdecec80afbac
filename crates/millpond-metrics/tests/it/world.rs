//! A pool with metrics, and a recorder that collects them.

use metrics::with_local_recorder;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use millpond_core::{Builder, QueuePool};
use millpond_metrics::PoolMetrics;
use millpond_testkit::ScriptedManager;
use std::collections::BTreeMap;
use std::time::Duration;

pub type Pool = QueuePool<ScriptedManager>;

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A local recorder, and everything that was reported to it.
pub struct Ear {
    recorder: DebuggingRecorder,
    snapshotter: Snapshotter,
    counters: BTreeMap<String, u64>,
    gauges: BTreeMap<String, f64>,
    spans: BTreeMap<String, Vec<f64>>,
    described: BTreeMap<String, String>,
}

impl Ear {
    pub fn new() -> Self {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let (counters, gauges, spans, described) = Default::default();
        Self { recorder, snapshotter, counters, gauges, spans, described }
    }

    /// Reports all metrics to this recorder.
    pub fn listen(&mut self, metrics: &PoolMetrics) {
        self.hear(|| metrics.report());
    }

    /// Records everything that is reported during the call.
    pub fn hear(&mut self, report: impl FnOnce()) {
        with_local_recorder(&self.recorder, report);
        // A snapshot resets the values that it returns.
        for (key, _, text, value) in self.snapshotter.snapshot().into_vec() {
            if let Some(text) = text {
                self.described.insert(key.key().name().to_owned(), text.to_string());
            }
            let labels: Vec<_> = key
                .key()
                .labels()
                .map(|label| format!("{}={}", label.key(), label.value()))
                .collect();
            let name = format!("{} {}", key.key().name(), labels.join(" "));
            match value {
                DebugValue::Counter(count) => *self.counters.entry(name).or_default() += count,
                DebugValue::Gauge(level) => drop(self.gauges.insert(name, level.into_inner())),
                DebugValue::Histogram(spans) => {
                    self.spans
                        .entry(name)
                        .or_default()
                        .extend(spans.iter().map(|span| span.into_inner()));
                }
            }
        }
    }

    /// Returns a counter of the pool `p`; `label` may be empty.
    pub fn count(&self, name: &str, label: &str) -> u64 {
        self.counters.get(&named(name, "p", label)).copied().unwrap_or(0)
    }

    /// Returns the sum of a counter over all its labels.
    pub fn count_of_all(&self, name: &str) -> u64 {
        self.counters
            .iter()
            .filter(|(key, _)| key.starts_with(&format!("{name} ")))
            .map(|(_, count)| count)
            .sum()
    }

    pub fn level_of(&self, name: &str, pool: &str, label: &str) -> Option<f64> {
        self.gauges.get(&named(name, pool, label)).copied()
    }

    /// Returns a gauge of the pool `p`; `label` may be empty.
    #[track_caller]
    pub fn level(&self, name: &str, label: &str) -> f64 {
        self.level_of(name, "p", label)
            .unwrap_or_else(|| panic!("no {name} {label} among {:?}", self.gauges.keys()))
    }

    /// Returns a histogram of the pool `p`, in milliseconds.
    pub fn millis(&self, name: &str) -> Vec<f64> {
        self.millis_of(name, "")
    }

    /// Returns a histogram of the pool `p` with a label, in milliseconds.
    pub fn millis_of(&self, name: &str, label: &str) -> Vec<f64> {
        let spans = self.spans.get(&named(name, "p", label));
        spans.map(|spans| spans.iter().map(|span| span * 1e3).collect()).unwrap_or_default()
    }

    /// Returns the descriptions of the reported metrics, by name.
    pub fn described(&self) -> &BTreeMap<String, String> {
        &self.described
    }

    pub fn names(&self) -> Vec<&str> {
        let keys = self.counters.keys().chain(self.gauges.keys()).chain(self.spans.keys());
        let mut names: Vec<_> = keys.filter_map(|key| key.split(' ').next()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn named(name: &str, pool: &str, label: &str) -> String {
    format!("{name} db.client.connection.pool.name={pool} {label}").trim_end().to_owned()
}

/// Builds a pool `p` with metrics and gauges.
pub fn pool(
    manager: &ScriptedManager,
    tune: impl FnOnce(Builder<Pool>) -> Builder<Pool>,
) -> (Pool, PoolMetrics) {
    let metrics = PoolMetrics::manual();
    let builder = QueuePool::builder(manager.clone()).name("p").observer(metrics.clone());
    let pool = tune(builder).build().unwrap();
    metrics.follow_pool(&pool);
    (pool, metrics)
}
