//! `sqlx::Pool`: over in-memory SQLite, because it only pools sqlx's own connections. No ping on
//! checkout, no ages, no logging. Its ping on return cannot be turned off.

use crate::books::Books;
use crate::competitor::{Competitor, Spec};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Sqlite, SqlitePool};
use std::sync::Arc;

/// `sqlx::Pool`.
#[derive(Clone)]
pub(crate) struct Sqlx(SqlitePool);

impl Competitor for Sqlx {
    const NAME: &'static str = "sqlx";
    // Each SQLite connection is a thread.
    const MAX_CONNECTIONS: u32 = 60;
    const BOXED_WIRES: bool = false;
    type Lease<'a> = PoolConnection<Sqlite>;

    async fn open(books: &Arc<Books>, spec: Spec) -> Self {
        let books = Arc::clone(books);
        let options = SqlitePoolOptions::new().max_connections(spec.cap).test_before_acquire(false);
        let options = options.max_lifetime(None).idle_timeout(None);
        let options = options.after_connect(move |_, _| {
            let span = books.connect_span();
            books.enter();
            Box::pin(async move {
                if !span.is_zero() {
                    tokio::time::sleep(span).await;
                }
                Ok(())
            })
        });
        Self(options.connect_lazy_with(SqliteConnectOptions::new().in_memory(true)))
    }

    async fn acquire(&self) -> Self::Lease<'_> {
        self.0.acquire().await.expect("sqlx lends")
    }
}
