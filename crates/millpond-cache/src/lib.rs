//! A typed cache over Redis: one load for any number of concurrent callers, namespaces, and a
//! fallback while Redis is down.
//!
//! ```no_run
//! use millpond_cache::RedisCache;
//! use std::time::Duration;
//!
//! # async fn load_user(_: u64) -> Result<Option<String>, std::io::Error> { Ok(None) }
//! # async fn example() -> Result<(), millpond_cache::CacheError> {
//! let cache = RedisCache::builder()
//!     .startup_nodes([("node1", 7000), ("node2", 7001), ("node3", 7002)])
//!     .max_connections(150)
//!     .ttl(Duration::from_secs(600))
//!     .stale_while_revalidate(Duration::from_secs(60))
//!     .connect()
//!     .await?;
//! let users = cache.namespace("users")?;
//! let user: Option<String> = users.get_or_load("17", || load_user(17)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Keys are `prefix:namespace:vN:key`. Raise the [`version`](CacheBuilder::version) when the shape
//! of the stored values changes: entries of older programs are no longer found, and expire. An
//! entry that cannot be read counts as missing.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod ask;
mod builder;
mod cache;
mod codec;
mod entry;
mod error;
mod event;
mod load;
mod lock;
mod lookup;
mod multi_key;
mod outage;
mod settings;
mod single_flight;

pub use builder::CacheBuilder;
pub use cache::RedisCache;
pub use codec::{Codec, Json};
pub use error::CacheError;
pub use event::{CacheEvent, CacheObserver, CacheTotals};
pub use millpond_redis::RedisConnectOptions;
pub use outage::OnOutage;
