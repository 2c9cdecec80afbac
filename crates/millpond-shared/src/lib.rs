//! A pool of multiplexed connections, each lent to many borrowers at once.
//!
//! [`SharedPool`] is for connections that are `Clone`, where a clone is a handle to the same
//! connection, and on which commands of several callers can be under way at the same time. It uses
//! only the public interface of `millpond-core` (a [`Multiplexer`](millpond_core::Multiplexer)), so
//! a custom pool can do the same.
//!
//! ```
//! use millpond_core::{ConnectInfo, Manager};
//! use millpond_shared::SharedPool;
//! use std::sync::Arc;
//!
//! struct Echo;
//! impl Manager for Echo {
//!     type Connection = Arc<str>;
//!     type Error = std::io::Error;
//!     async fn connect(&self, _: &ConnectInfo) -> std::io::Result<Arc<str>> {
//!         Ok("hello".into())
//!     }
//!     async fn ping(&self, _: &mut Arc<str>) -> std::io::Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let pool = SharedPool::builder(Echo).pool_size(1).build()?;
//! let (one, other) = (pool.acquire().await?, pool.acquire().await?);
//! assert!(Arc::ptr_eq(&one, &other));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod lending;
mod member_connect;
mod members;
mod pool;

pub use pool::{SharedPool, WeakSharedPool};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
