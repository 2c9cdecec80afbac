//! sqlx's pool, which only connects with sqlx's drivers: in-memory SQLite, where the server need
//! not misbehave.

use super::contender::Contender;
use super::server::Server;
use sqlx::Sqlite;
use sqlx::pool::{PoolConnection, PoolOptions};
use std::time::Duration;

/// sqlx::Pool over SQLite.
#[derive(Clone)]
pub(crate) struct Sqlx(sqlx::Pool<Sqlite>);

impl Contender for Sqlx {
    const NAME: &'static str = "sqlx::Pool";
    type Lease = PoolConnection<Sqlite>;

    async fn open(_: &Server, cap: u32, limit: Duration) -> Self {
        let options = PoolOptions::new().max_connections(cap).acquire_timeout(limit);
        Self(options.connect_lazy("sqlite::memory:").expect("a URL of sqlx's own"))
    }

    async fn acquire(&self) -> Option<PoolConnection<Sqlite>> {
        self.0.acquire().await.ok()
    }

    async fn resize(&self, _: u32) -> bool {
        false
    }
}
