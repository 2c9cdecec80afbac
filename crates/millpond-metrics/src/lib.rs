//! What pools do, told to the [`metrics`] facade under OpenTelemetry's names, for whatever exporter a program has.
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
//! One [`PoolMetrics`] serves any number of pools; each is told apart by the label `db.client.connection.pool.name`, so give
//! them names. What pools of the same name do is added up. Of a pool that was dropped nothing is told any more, once its last
//! deeds are, and [`PoolMetrics::forget`] does so at once: exporters with an idle timeout then let go of it.
//!
//! # What is told
//!
//! | metric | kind | what |
//! |---|---|---|
//! | `db.client.connection.count` | gauge | connections, with `db.client.connection.state` = `idle` or `used` |
//! | `db.client.connection.idle.max` | gauge | `pool_size` |
//! | `db.client.connection.max` | gauge | `pool_size + max_overflow` |
//! | `db.client.connection.pending_requests` | gauge | callers who wait |
//! | `db.client.connection.timeouts` | counter | acquires whose deadline passed |
//! | `db.client.connection.create_time` | histogram, s | how long connecting took, hooks included |
//! | `db.client.connection.wait_time` | histogram, s | how long a caller took to get a connection |
//! | `db.client.connection.use_time` | histogram, s | how long it was held |
//! | `pool_size`, `pool_in_use`, `pool_available` | gauge | the three numbers of the guide |
//! | `millpond.acquires` | counter | ended acquires, with `outcome` = `ok`, `timed_out`, `cancelled` or `failed` |
//! | `millpond.connections.created`, `.detached` | counter | connections opened, and taken out by their borrower |
//! | `millpond.connections.closed` | counter | connections closed, with `reason` |
//! | `millpond.connections.failed` | counter | attempts to connect that failed |
//! | `millpond.failures` | counter | pings, resets and hooks that failed, with `what` |
//! | `millpond.leaks`, `millpond.panics` | counter | leases kept for too long, and panics in user code |
//!
//! Of caches, each with the label `millpond.cache.namespace`, told at once by [`CacheMetrics`]:
//!
//! | metric | kind | what |
//! |---|---|---|
//! | `millpond.cache.requests` | counter | with `outcome` = `hit`, `stale`, `negative` (known to be nothing), `miss` or `shared` (another's load) |
//! | `millpond.cache.loads` | counter | loads that ended, with `outcome` = `found`, `nothing` or `failed` |
//! | `millpond.cache.load_time` | histogram, s | how long a load took that did not fail |
//! | `millpond.cache.errors` | counter | with `what` = `bypassed` (Redis is down), `unreadable` or `too_large` |
//!
//! The names beginning with `db.client` are those of OpenTelemetry's [semantic conventions], status Development; spans of
//! time are in seconds. The books balance here as in the pool: `created = closed + detached + open`, and when no acquire is
//! under way, the acquires of all outcomes are those that were begun.
//!
//! # When it is told
//!
//! How long loans, waits and connecting took is counted by the pool itself, under the lock that it takes anyway; everything
//! else is rarer, and comes as an event. Nothing is allocated. Once in [`TELL_EVERY`] one
//! thread for the whole process tells the recorder what has come together, and [`PoolMetrics::tell`] does so at once. Spans
//! of time are counted in classes whose width is a sixteenth of their value, and each is told as the middle of its class: at
//! most 3.2 % off. So a recorder may be slow, and may be installed later than the pool is made; what was told before that is
//! lost, as with every metric of this facade.
//!
//! Histograms are told in seconds from microseconds up. Exporters have buckets for web requests by default, which are of no use
//! here: give yours [`BUCKETS`].
//!
//! [semantic conventions]: https://opentelemetry.io/docs/specs/semconv/db/database-metrics/

mod cache;
mod names;
mod observer;
mod tally;
mod teller;

pub use cache::{CacheMetrics, CacheOutcome};
pub use names::BUCKETS;
pub use observer::PoolMetrics;
pub use teller::TELL_EVERY;
