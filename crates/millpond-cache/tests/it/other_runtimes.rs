//! Loads on a runtime that no longer runs: other callers do not wait for them for ever.

use millpond_cache::RedisCache;
use millpond_testkit::variable;
use std::future::{Future, poll_fn};
use std::io::Error;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

/// The limit of a load.
const LIMIT: Duration = Duration::from_millis(500);

/// The limit of Redis: long enough that a busy machine does not count as an outage.
const REDIS_LIMIT: Duration = Duration::from_secs(3);

/// Far longer than all the limits of a load.
const LONG: Duration = Duration::from_secs(60);

/// A cache whose connections have a separate runtime, and a runtime that runs only when the test
/// runs it.
struct Caches {
    served: Runtime,
    stops: Runtime,
    cache: RedisCache,
}

impl Caches {
    fn new() -> Option<Self> {
        let url = variable("MILLPOND_TEST_REDIS_URL")?;
        let served = Runtime::new().unwrap();
        let builder = RedisCache::builder().url(&url).load_timeout(LIMIT).timeout(REDIS_LIMIT);
        let builder = builder.namespace(format!("test-{:x}", fastrand::u64(..)));
        let cache = served.block_on(builder.connect()).unwrap();
        let stops = Builder::new_current_thread().enable_all().build().unwrap();
        Some(Self { served, stops, cache })
    }

    /// Runs a future on the runtime of the connections.
    fn serve<T>(&self, call: impl Future<Output = T>) -> T {
        let limited = async { tokio::time::timeout(LONG, call).await };
        self.served.block_on(limited).expect("it waits for a runtime that nobody drives")
    }

    async fn load(&self, value: u32) -> Option<u32> {
        let load = || async { Ok::<_, Error>(Some(value)) };
        self.cache.get_or_load("k", load).await.unwrap()
    }

    /// Begins a load on the other runtime, which has its value but does not store it.
    fn load_without_storing(&self, value: u32) {
        let is_loaded = AtomicBool::new(false);
        let load = || async {
            is_loaded.store(true, Ordering::SeqCst);
            Ok::<_, Error>(Some(value))
        };
        self.stops.block_on(async {
            let mut loading = pin!(self.cache.get_or_load("k", load));
            poll_fn(|cx| {
                assert!(loading.as_mut().poll(cx).is_pending());
                if is_loaded.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        });
    }

    /// Runs the other runtime until none of its tasks is left.
    fn resume(&self) {
        let tasks = self.stops.metrics();
        self.stops.block_on(millpond_testkit::until("it has ended", async || {
            tasks.num_alive_tasks() == 0
        }));
    }
}

#[test]
fn another_caller_loads_if_a_load_is_no_longer_polled() {
    let Some(caches) = Caches::new() else { return };
    let began = Notify::new();
    let cache = caches.cache.clone();
    caches.stops.block_on(async {
        let notify = std::sync::Arc::new(began);
        let begins = std::sync::Arc::clone(&notify);
        tokio::spawn(async move {
            let load = || async {
                begins.notify_one();
                tokio::task::yield_now().await;
                Ok::<_, Error>(Some(1))
            };
            cache.get_or_load("k", load).await
        });
        notify.notified().await;
    });
    assert_eq!(caches.serve(caches.load(2)), Some(2));
    caches.resume();
    assert_eq!(caches.serve(caches.load(3)), Some(2), "the first load was out of date");
}

#[test]
fn a_store_that_is_no_longer_polled_does_not_delay_or_overwrite_a_later_write() {
    let Some(caches) = Caches::new() else { return };
    caches.load_without_storing(1);
    caches.serve(caches.cache.set("k", &2)).unwrap();
    assert_eq!(caches.cache.totals().bypassed, 0);
    caches.resume();
    assert_eq!(caches.cache.totals().bypassed, 1, "that it was not stored goes unnoticed");
    assert_eq!(caches.serve(caches.cache.get::<u32>("k")).unwrap(), Some(2));
}

#[test]
fn a_store_that_is_no_longer_polled_does_not_delay_delete_or_clear() {
    let Some(caches) = Caches::new() else { return };
    for clears in [false, true] {
        caches.load_without_storing(1);
        match clears {
            true => caches.serve(caches.cache.clear()).unwrap(),
            false => caches.serve(caches.cache.delete(&["k"])).unwrap(),
        };
        caches.resume();
        assert_eq!(caches.serve(caches.cache.get::<u32>("k")).unwrap(), None);
    }
}

#[test]
fn another_caller_loads_if_a_store_is_no_longer_polled() {
    let Some(caches) = Caches::new() else { return };
    caches.load_without_storing(1);
    assert_eq!(caches.serve(caches.load(2)), Some(2));
    caches.resume();
    assert_eq!(caches.serve(caches.load(3)), Some(2));
}
