//! PostgreSQL: `SELECT 1`, prepared.

use crate::service::{Service, Turn};
use deadpool::managed::{Manager, Metrics, Pool, RecycleResult};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Error, PgConnection, PgPool};
use std::str::FromStr;
use std::sync::Arc;
use tokio::sync::Mutex;

const QUESTION: &str = "SELECT 1";

/// Sends the query as a function does that was written for a single connection.
async fn helper(conn: &mut PgConnection) {
    let one: i32 = sqlx::query_scalar(QUESTION).fetch_one(conn).await.expect("an answer");
    assert_eq!(one, 1);
}

fn options(url: &str) -> PgConnectOptions {
    PgConnectOptions::from_str(url).expect("a URL of the servers for tests")
}

/// millpond: default settings; only the overflow is off, since other pools have none.
#[derive(Clone, Debug)]
pub struct Millpond(millpond_postgres::PgPool);

impl Service for Millpond {
    const NAME: &'static str = "millpond";

    async fn open(url: &str, connections: u32) -> Self {
        let options =
            millpond_postgres::PgPoolOptions::new().pool_size(connections).max_overflow(0);
        Self(options.connect(url).await.expect("the server is there"))
    }

    async fn ask(&self, _: usize, turn: Turn) {
        match turn {
            Turn::Query => {
                let one: i32 =
                    sqlx::query_scalar(QUESTION).fetch_one(&self.0).await.expect("an answer");
                assert_eq!(one, 1);
            }
            Turn::Raw => helper(&mut self.0.acquire().await.expect("millpond lends")).await,
        }
    }

    async fn close(self) {
        self.0.close().await;
    }
}

/// `sqlx::Pool`: default settings: ten connections, and a ping before each loan.
#[derive(Clone, Debug)]
pub struct Sqlx(PgPool);

impl Service for Sqlx {
    const NAME: &'static str = "sqlx";

    async fn open(url: &str, connections: u32) -> Self {
        let builder = sqlx::postgres::PgPoolOptions::new().max_connections(connections);
        Self(builder.connect_with(options(url)).await.expect("the server is there"))
    }

    async fn ask(&self, _: usize, turn: Turn) {
        match turn {
            Turn::Query => {
                let one: i32 =
                    sqlx::query_scalar(QUESTION).fetch_one(&self.0).await.expect("an answer");
                assert_eq!(one, 1);
            }
            Turn::Raw => helper(&mut self.0.acquire().await.expect("sqlx lends")).await,
        }
    }

    async fn close(self) {
        self.0.close().await;
    }
}

/// deadpool over the same connections; it checks none of them, neither before nor after a loan.
#[derive(Clone, Debug)]
pub struct Deadpool(Pool<Opener>);

/// Opens connections for deadpool.
#[derive(Debug)]
pub struct Opener(PgConnectOptions);

impl Manager for Opener {
    type Type = PgConnection;
    type Error = Error;

    async fn create(&self) -> Result<PgConnection, Error> {
        self.0.connect().await
    }

    async fn recycle(&self, _: &mut PgConnection, _: &Metrics) -> RecycleResult<Error> {
        Ok(())
    }
}

impl Service for Deadpool {
    const NAME: &'static str = "deadpool";

    async fn open(url: &str, connections: u32) -> Self {
        let builder = Pool::builder(Opener(options(url))).max_size(connections as usize);
        Self(builder.build().expect("no deadlines, so no runtime is asked for"))
    }

    async fn ask(&self, _: usize, _: Turn) {
        helper(&mut self.0.get().await.expect("deadpool lends")).await;
    }

    async fn close(self) {
        self.0.close();
    }
}

/// Not a pool: each task owns a connection.
#[derive(Clone, Debug)]
pub struct Bare(Arc<Vec<Mutex<PgConnection>>>);

impl Service for Bare {
    const NAME: &'static str = "floor";

    async fn open(url: &str, connections: u32) -> Self {
        let mut all = Vec::new();
        for _ in 0..connections {
            all.push(Mutex::new(options(url).connect().await.expect("the server is there")));
        }
        Self(Arc::new(all))
    }

    async fn ask(&self, task: usize, _: Turn) {
        // The lock is uncontended.
        helper(&mut *self.0[task].lock().await).await;
    }

    async fn close(self) {
        for conn in Arc::into_inner(self.0).into_iter().flatten() {
            let _ = conn.into_inner().close().await;
        }
    }
}
