//! Metrics of caches.

use crate::world::Ear;
use millpond_metrics::{CacheMetrics, CacheOutcome};
use millpond_testkit::until;
use std::time::Duration;

/// Each outcome once.
pub const OUTCOMES: [CacheOutcome; 11] = [
    CacheOutcome::Hit,
    CacheOutcome::StaleHit,
    CacheOutcome::NegativeHit,
    CacheOutcome::Miss,
    CacheOutcome::Shared,
    CacheOutcome::Loaded { took: Duration::from_millis(3), found: true },
    CacheOutcome::Loaded { took: Duration::from_millis(5), found: false },
    CacheOutcome::LoadFailed,
    CacheOutcome::Bypassed,
    CacheOutcome::Unreadable,
    CacheOutcome::TooLarge,
];

#[test]
fn every_outcome_is_counted_once_and_under_its_own_label() {
    let mut ear = Ear::new();
    ear.hear(|| OUTCOMES.into_iter().for_each(|outcome| CacheMetrics::record("ponds", outcome)));
    let sums = ["requests", "loads", "errors"]
        .map(|name| ear.count_of_all(&format!("millpond.cache.{name}")));
    assert_eq!(sums, [5, 3, 3]);
    assert!(ear.names().contains(&"millpond.cache.load_time"));
}

#[tokio::test]
async fn a_recorder_installed_after_the_first_event_gets_the_descriptions() {
    let mut early = Ear::new();
    early.hear(|| CacheMetrics::record("ponds", CacheOutcome::Hit));
    let mut late = Ear::new();
    until("it is described", async || {
        late.hear(|| CacheMetrics::record("ponds", CacheOutcome::Hit));
        late.described()
            .iter()
            .any(|(name, text)| name == "millpond.cache.requests" && text.contains("by outcome"))
    })
    .await;
}
