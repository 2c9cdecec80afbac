//! Reports pools' metrics to the [`metrics`] facade under OpenTelemetry's names, for any exporter.
//!
//! ```
//! # use millpond_core::{ConnectInfo, Manager, QueuePool};
//! # struct Echo;
//! # impl Manager for Echo {
//! #     type Connection = String;
//! #     type Error = std::io::Error;
//! #     async fn connect(&self, _: &ConnectInfo) -> std::io::Result<String> { Ok("hello".into()) }
//! #     async fn ping(&self, _: &mut String) -> std::io::Result<()> { Ok(()) }
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use millpond_metrics::PoolMetrics;
//!
//! let metrics = PoolMetrics::new();
//! let pool = QueuePool::builder(Echo).name("orders").observer(metrics.clone()).build()?;
//! metrics.follow_pool(&pool);
//! drop(pool.acquire().await?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! One [`PoolMetrics`] serves any number of pools. The label `db.client.connection.pool.name`
//! distinguishes them, so give them names; pools of the same name are summed up. A dropped pool is
//! reported once more and then forgotten; [`PoolMetrics::forget`] does so immediately. Exporters
//! with an idle timeout then drop its metrics.
//!
//! # Metrics
//!
//! | metric | kind | what |
//! |---|---|---|
//! | `db.client.connection.count` | gauge | connections, with `db.client.connection.state` = `idle` or `used` |
//! | `db.client.connection.idle.min` | gauge | `min_idle`, 0 if it is unset |
//! | `db.client.connection.idle.max` | gauge | `pool_size` |
//! | `db.client.connection.max` | gauge | `pool_size + max_overflow` |
//! | `db.client.connection.pending_requests` | gauge | waiting callers |
//! | `db.client.connection.timeouts` | counter | acquires whose deadline passed |
//! | `db.client.connection.create_time` | histogram, s | how long connecting took, hooks included |
//! | `db.client.connection.wait_time` | histogram, s | how long a caller took to get a connection |
//! | `db.client.connection.use_time` | histogram, s | how long it was held |
//! | `pool_size`, `pool_in_use`, `pool_available` | gauge | the three numbers of the guide |
//! | `millpond.unserved_wait_time` | histogram, s | how long callers waited that got no connection, with `outcome` = `timed_out`, `cancelled` or `failed` |
//! | `millpond.oldest_waiter` | gauge, s | how long the first waiting caller has waited; of several pools the longest |
//! | `millpond.connect_failing` | gauge, s | how long connects have only failed; 0 if they succeed |
//! | `millpond.suspended` | gauge | pools that are suspended |
//! | `millpond.connections.open`, `.peak` | gauge | connections in any state, and the most slots that were taken at once |
//! | `millpond.acquires` | counter | ended acquires, with `outcome` = `ok`, `timed_out`, `cancelled` or `failed` |
//! | `millpond.connections.created`, `.detached` | counter | connections opened, and taken out by their borrower |
//! | `millpond.connections.closed` | counter | connections closed, with `reason` |
//! | `millpond.connections.failed` | counter | attempts to connect that failed |
//! | `millpond.failures` | counter | pings, resets and hooks that failed, with `what` |
//! | `millpond.hook_failures` | counter | hooks that failed, with `hook` = `on_connect`, `on_checkout` and so on |
//! | `millpond.fast_failures` | counter | times at which the pool began to fail fast |
//! | `millpond.leaks`, `millpond.panics` | counter | leases kept for too long, and panics in user code |
//!
//! Metrics of caches, each with the label `millpond.cache.namespace`, recorded immediately by
//! [`CacheMetrics`]:
//!
//! | metric | kind | what |
//! |---|---|---|
//! | `millpond.cache.requests` | counter | with `outcome` = `hit`, `stale`, `negative` (known to be nothing), `miss` or `shared` (another's load) |
//! | `millpond.cache.loads` | counter | loads that ended, with `outcome` = `found`, `nothing` or `failed` |
//! | `millpond.cache.load_time` | histogram, s | how long a load took that did not fail |
//! | `millpond.cache.errors` | counter | with `what` = `bypassed` (Redis is down), `unreadable` or `too_large` |
//!
//! The names that begin with `db.client` are those of OpenTelemetry's [semantic conventions],
//! status Development. Times are in seconds. The counters add up: `created = closed + detached +
//! open`, and while no acquire is in progress the sum of all outcomes is the number of acquires.
//!
//! # When metrics are reported
//!
//! The pool itself measures leases, waits and connects, under the lock that it takes anyway;
//! everything else is rarer and arrives as an event. An event takes constant time. One thread for
//! the whole process reports once per [`REPORT_INTERVAL`]; [`PoolMetrics::report`] reports
//! immediately. Durations are counted in classes whose width is a sixteenth of their value, and
//! reported as the middle of the class: at most 3.2 % off. A recorder may therefore be slow, and
//! may be installed after the pool is built; reports from before that are lost, as with every
//! metric of the facade.
//!
//! Histograms are in seconds, from microseconds up. The default buckets of exporters are meant for
//! web requests and are too coarse here: pass [`BUCKETS`] to the exporter.
//!
//! [semantic conventions]: https://opentelemetry.io/docs/specs/semconv/db/database-metrics/

mod cache;
mod names;
mod observer;
mod registry;
mod reporter;
mod tally;

pub use cache::{CacheMetrics, CacheOutcome};
pub use names::BUCKETS;
pub use observer::PoolMetrics;
pub use reporter::REPORT_INTERVAL;
