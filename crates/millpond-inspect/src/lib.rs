//! Shows millpond's pools over HTTP: an [`axum`] router with a page, JSON, health and metrics.
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
//! use millpond_inspect::{Inspect, Recorder};
//! use std::sync::Arc;
//!
//! let recorder = Recorder::new();
//! let pool = QueuePool::builder(Echo).name("orders").observer(recorder.clone()).build()?;
//! let inspect = Inspect::new(recorder).pool(Arc::new(pool.clone())).router();
//! let app: axum::Router = axum::Router::new().nest("/inspect", inspect);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! | path | answer |
//! |---|---|
//! | `/` | a page that shows the pools and refreshes itself |
//! | `/pools` | the same as JSON: counts, holders, histograms, recent events |
//! | `/health` | the verdict on each pool as JSON; status 503 if one of them does not serve |
//! | `/metrics` | the text of [`Inspect::metrics`]; 404 without it |
//!
//! Everything is read from the pools' own counts: no request opens, borrows or waits for a
//! connection. The router only reads; it has no action and no setting. It shows the lines and
//! labels of holders and the texts of errors, so mount it where only operators reach it.

mod inspect;
mod json;
mod pools;
mod recorder;
mod routes;

pub use inspect::Inspect;
pub use pools::Snapshot;
pub use recorder::Recorder;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
