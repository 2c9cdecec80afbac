//! A custom pool, like the guide's `_do_get`.

use crate::support::Dir;
use millpond_core::{CloseReport, Lease, NullPool, Pool, PoolError, Request, Status, async_trait};
use millpond_sqlite::{SqlPool, Sqlite, SqliteManager, Tracked};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Counts checkouts and returns.
struct Counting {
    inner: NullPool<SqliteManager>,
    came: AtomicU32,
    went: Arc<AtomicU32>,
}

#[async_trait]
impl Pool for Counting {
    type Connection = Tracked<Sqlite>;

    async fn acquire_with(&self, request: Request) -> Result<Lease<Tracked<Sqlite>>, PoolError> {
        self.came.fetch_add(1, Ordering::Relaxed);
        let went = Arc::clone(&self.went);
        let lease = self.inner.acquire_with(request).await?;
        Ok(Lease::on_return(lease, move |_conn| {
            went.fetch_add(1, Ordering::Relaxed);
        }))
    }

    fn try_acquire_with(&self, _request: Request) -> Option<Lease<Tracked<Sqlite>>> {
        None
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    async fn close_within(&self, limit: Duration) -> CloseReport {
        self.inner.close_within(limit).await
    }
}

#[tokio::test]
async fn a_custom_pool_lends_like_millponds_own() {
    let dir = Dir::new();
    let inner = NullPool::builder(SqliteManager::new(dir.options("x.db"))).build().unwrap();
    let counting = Arc::new(Counting { inner, came: AtomicU32::new(0), went: Arc::default() });
    let pool =
        SqlPool::from_custom(Arc::clone(&counting) as Arc<dyn Pool<Connection = Tracked<Sqlite>>>);
    sqlx::query("CREATE TABLE t (i)").execute(&pool).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 1);
    assert_eq!(
        (counting.came.load(Ordering::Relaxed), counting.went.load(Ordering::Relaxed)),
        (3, 3)
    );
    assert!(pool.holders().is_empty());
    assert!(pool.resize(1, 1).unwrap_err().to_string().contains("your own"));
    pool.close().await;
    assert!(pool.is_closed());
}

#[tokio::test]
async fn a_function_over_any_pool_accepts_a_sqlite_pool() {
    use millpond_core::PoolExt;
    let dir = Dir::new();
    let pool = dir.one().await;
    let any: Arc<dyn Pool<Connection = Tracked<Sqlite>>> = pool.pool();
    let lease = any.acquire().await.unwrap();
    assert_eq!(pool.status().in_use, 1);
    drop(lease);
}
