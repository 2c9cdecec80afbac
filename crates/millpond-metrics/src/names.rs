//! The names of the metrics and their labels, and their descriptions.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Bucket bounds in seconds that suit all histograms, from 10 us to 60 s. Pass them to the
/// exporter, for example with `PrometheusBuilder::set_buckets(&BUCKETS)`.
pub const BUCKETS: [f64; 21] = [
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

pub(crate) const POOL: &str = "db.client.connection.pool.name";
pub(crate) const STATE: &str = "db.client.connection.state";

pub(crate) const COUNT: &str = "db.client.connection.count";
pub(crate) const IDLE_MIN: &str = "db.client.connection.idle.min";
pub(crate) const IDLE_MAX: &str = "db.client.connection.idle.max";
pub(crate) const MAX: &str = "db.client.connection.max";
pub(crate) const PENDING: &str = "db.client.connection.pending_requests";
pub(crate) const POOL_SIZE: &str = "pool_size";
pub(crate) const POOL_IN_USE: &str = "pool_in_use";
pub(crate) const POOL_AVAILABLE: &str = "pool_available";

pub(crate) const OLDEST_WAITER: &str = "millpond.oldest_waiter";
pub(crate) const FAILING: &str = "millpond.connect_failing";
pub(crate) const SUSPENDED: &str = "millpond.suspended";
pub(crate) const PEAK: &str = "millpond.connections.peak";
pub(crate) const OPEN: &str = "millpond.connections.open";

pub(crate) const CREATE_TIME: &str = "db.client.connection.create_time";
pub(crate) const WAIT_TIME: &str = "db.client.connection.wait_time";
pub(crate) const USE_TIME: &str = "db.client.connection.use_time";

pub(crate) const UNSERVED_TIME: &str = "millpond.unserved_wait_time";

pub(crate) const TIMEOUTS: &str = "db.client.connection.timeouts";
pub(crate) const ACQUIRES: &str = "millpond.acquires";
pub(crate) const CREATED: &str = "millpond.connections.created";
pub(crate) const CLOSED: &str = "millpond.connections.closed";
pub(crate) const DETACHED: &str = "millpond.connections.detached";
pub(crate) const CONNECT_FAILED: &str = "millpond.connections.failed";
pub(crate) const FAILURES: &str = "millpond.failures";
pub(crate) const FAST_FAILURES: &str = "millpond.fast_failures";
pub(crate) const HOOK_FAILURES: &str = "millpond.hook_failures";
pub(crate) const LEAKS: &str = "millpond.leaks";
pub(crate) const PANICS: &str = "millpond.panics";

pub(crate) const CACHE_NAMESPACE: &str = "millpond.cache.namespace";
pub(crate) const CACHE_REQUESTS: &str = "millpond.cache.requests";
pub(crate) const CACHE_LOADS: &str = "millpond.cache.loads";
pub(crate) const CACHE_LOAD_TIME: &str = "millpond.cache.load_time";
pub(crate) const CACHE_ERRORS: &str = "millpond.cache.errors";

/// Describes the metrics of caches to the recorder.
pub(crate) fn describe_cache() {
    describe_counter!(CACHE_REQUESTS, Unit::Count, "Requests to the cache, by outcome.");
    describe_counter!(CACHE_LOADS, Unit::Count, "Loads that have ended, by outcome.");
    describe_histogram!(CACHE_LOAD_TIME, Unit::Seconds, "The time a load took.");
    describe_counter!(CACHE_ERRORS, Unit::Count, "Failures of the cache that callers did not see.");
}

/// Describes each metric of a pool to the recorder. Describing a metric again has no effect.
pub(crate) fn describe() {
    describe_gauge!(COUNT, Unit::Count, "Connections in the state given by the attribute.");
    describe_gauge!(IDLE_MIN, Unit::Count, "The minimum number of idle connections allowed.");
    describe_gauge!(IDLE_MAX, Unit::Count, "The maximum number of idle connections allowed.");
    describe_gauge!(MAX, Unit::Count, "The maximum number of open connections allowed.");
    describe_gauge!(PENDING, Unit::Count, "Requests for a connection that are waiting for one.");
    describe_gauge!(POOL_SIZE, Unit::Count, "Connections that the pool maintains.");
    describe_gauge!(POOL_IN_USE, Unit::Count, "Connections that are lent.");
    describe_gauge!(POOL_AVAILABLE, Unit::Count, "How many of pool_size are not lent.");
    describe_gauge!(OLDEST_WAITER, Unit::Seconds, "How long the first waiting caller has waited.");
    describe_gauge!(FAILING, Unit::Seconds, "How long no connection could be opened; 0 if it can.");
    describe_gauge!(SUSPENDED, Unit::Count, "Pools that lend nothing until they are resumed.");
    describe_gauge!(PEAK, Unit::Count, "The most slots that were taken at once.");
    describe_gauge!(OPEN, Unit::Count, "Connections that exist, in any state.");
    describe_histogram!(CREATE_TIME, Unit::Seconds, "The time it took to open a connection.");
    describe_histogram!(
        WAIT_TIME,
        Unit::Seconds,
        "The time it took to obtain a connection from the pool."
    );
    describe_histogram!(
        USE_TIME,
        Unit::Seconds,
        "The time between borrowing a connection and returning it."
    );
    describe_histogram!(
        UNSERVED_TIME,
        Unit::Seconds,
        "The time a caller waited that got no connection, by outcome."
    );
    describe_counter!(TIMEOUTS, Unit::Count, "Acquires that ended because their deadline passed.");
    describe_counter!(ACQUIRES, Unit::Count, "Acquires that have ended, by outcome.");
    describe_counter!(CREATED, Unit::Count, "Connections opened.");
    describe_counter!(CLOSED, Unit::Count, "Connections closed, by reason.");
    describe_counter!(
        DETACHED,
        Unit::Count,
        "Connections taken out of the pool by their borrower."
    );
    describe_counter!(CONNECT_FAILED, Unit::Count, "Attempts to connect that failed.");
    describe_counter!(FAILURES, Unit::Count, "Pings, resets and hooks that failed.");
    describe_counter!(
        FAST_FAILURES,
        Unit::Count,
        "Times at which the pool began to refuse callers because connects only failed."
    );
    describe_counter!(HOOK_FAILURES, Unit::Count, "Hooks that failed, by hook.");
    describe_counter!(LEAKS, Unit::Count, "Leases kept for longer than leak_after.");
    describe_counter!(PANICS, Unit::Count, "Panics in managers and hooks.");
}
