//! Rate limits kept in Redis: GCRA in one script, several limits in one decision, and a fallback
//! while Redis is down.
//!
//! [`CentralizedStateStorage`] keeps the limits that all processes share; [`RateLimiter`] and
//! [`ConcurrencyLimiter`] use it.
//!
//! ```no_run
//! use millpond_ratelimit::{CentralizedStateStorage, Limit, RateLimiter};
//!
//! # async fn example() -> Result<(), millpond_ratelimit::RateLimitError> {
//! let storage = CentralizedStateStorage::from_env()?;
//! let limiter = RateLimiter::new(&storage, "second", Limit::per_second(10)?)?
//!     .and("day", Limit::per_hour(500)?)?;
//! let decision = limiter.check("user:17").await?;
//! if let Some(seconds) = decision.retry_after_seconds() {
//!     println!("429, Retry-After: {seconds}, RateLimit: {}", decision.header());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - No window of length `t` admits more than `burst + count * t / period` requests of a subject,
//!   whatever the clients do: one script decides, by the server's clock, in integers. Of several
//!   limits all are charged or none.
//! - If the server's clock is set back, no client is locked out for longer than a full burst takes
//!   to refill, or a lease to expire; if it jumps ahead, a client gets at most a full burst. Limits
//!   may change at any time; what was used up stays used up.
//! - Keys expire when they no longer matter. A check of cost 0 leaves none behind.
//! - Keys are `prefix:rate:{:subject}:name` and `prefix:concurrency:{:subject}:name`.
//! - Redis 5 or later. After a failover, or on another node of a cluster, the script is sent again.
//!   The limits of one subject are in one slot.
//! - While Redis is down [`OnOutage`] decides. One caller in 200 ms tries whether Redis is back;
//!   the others do not wait. In a cluster this holds for each node, so that a node that is down
//!   concerns only its own subjects.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod concurrency;
mod decision;
mod error;
mod from_env;
mod gcra;
mod limit;
mod limiter;
mod local;
mod outage;
mod removal;
mod script;
mod span;
mod storage;

pub use concurrency::{Admission, ConcurrencyLease, ConcurrencyLimiter};
pub use decision::{Decision, DecisionSource, LimitOutcome};
pub use error::RateLimitError;
pub use limit::Limit;
pub use limiter::RateLimiter;
pub use millpond_redis::RedisConnectOptions;
pub use outage::OnOutage;
pub use storage::{CentralizedStateStorage, StorageOptions};
