//! A pool of multiplexed connections, each lent to many borrowers at once.
//!
//! [`SharedPool`] is for connections that are `Clone`, where a clone is a handle to the same
//! connection, and on which commands of several callers can be under way at the same time. It is
//! built on a [`Multiplexer`], and so can be a custom pool that shares connections in another way.
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

mod borrower;
mod lending;
mod member;
mod member_connect;
mod members;
mod multiplexer;
mod pool;

pub use borrower::{Borrower, Share};
pub use member::Member;
pub use multiplexer::Multiplexer;
pub use pool::{SharedPool, WeakSharedPool};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
