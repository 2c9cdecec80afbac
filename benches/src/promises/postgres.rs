//! The PostgreSQL scenarios: what one borrower leaves behind for the next. All pools have one
//! connection, which is sqlx's.

use super::{begin, print_result};
use bb8::ManageConnection;
use millpond_postgres::{PgPoolOptions, ResetLevel};
use millpond_testkit::{ChaosProxy, Direction, Flow};
use sqlx::postgres::PgPoolOptions as SqlxPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, raw_sql};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::str::FromStr;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The most polls after which `begin` is dropped.
const POLLS: u32 = 40;

/// The number of dropped operations.
const CUTS: u32 = 500;

/// State that a borrower can leave in a session: a statement that sets it, a query that shows it,
/// and the query's result in a fresh session.
const TRACES: [(&str, &str, &str); 6] = [
    ("SET ROLE pg_monitor", "SELECT (current_user = session_user)::text", "true"),
    ("SET search_path = pg_catalog", "SELECT current_setting('search_path')", "\"$user\", public"),
    ("SET statement_timeout = 12345", "SELECT current_setting('statement_timeout')", "0"),
    (
        "CREATE TEMP TABLE left_behind (a int)",
        "SELECT count(*)::text FROM pg_class WHERE relname = 'left_behind'",
        "0",
    ),
    (
        "SELECT pg_advisory_lock(77)",
        "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'",
        "0",
    ),
    (
        "PREPARE left_behind AS SELECT 1",
        "SELECT count(*)::text FROM pg_prepared_statements WHERE name = 'left_behind'",
        "0",
    ),
];

/// A pool of connections to PostgreSQL.
pub(crate) trait Contender: Sized {
    const NAME: &'static str;
    async fn open(url: &str, connections: u32) -> Self;
    /// Begins a transaction and drops the future after `polls` polls. Returns true if the
    /// transaction had not begun.
    async fn cut_begin(&self, polls: u32) -> bool;
    /// Acquires a connection and queries one value.
    async fn ask(&self, sql: &str) -> Option<String>;
}

pub(crate) async fn run(url: &str) {
    begin(
        "Transactions left open by a cancelled begin",
        "On one connection, which receives four bytes at a time, `begin` is dropped after 1, 2, 3 \
         .. polls until it completes. How many of the next borrowers find an open transaction?",
        "0",
    );
    let proxy = ChaosProxy::start(address(url)).await.expect("there is a free port");
    Direction::BOTH
        .into_iter()
        .for_each(|direction| proxy.set(direction, Flow::free().in_pieces_of(4)));
    all(&proxy.reroute(url), Scenario::Begin).await;
    begin(
        "Wrong answers after operations that were cut off",
        "500 queries are dropped while they run; after each, the next borrower selects a number. \
         How often does it get a wrong number, or none within 2 s?",
        "0 wrong, 0 without an answer",
    );
    all(url, Scenario::Cut).await;
    begin(
        "Session state left to the next borrower",
        "A borrower changes role, search path and statement timeout, and leaves a temporary table, \
         an advisory lock and a prepared statement: how many of the six does the next borrower \
         see? (millpond with `reset = \"session\"`; the other pools have no such setting.)",
        "0 of 6",
    );
    all(url, Scenario::Session).await;
}

/// Returns the host and port of a URL.
fn address(url: &str) -> &str {
    let target = url.rsplit_once('@').map_or(url, |(_, target)| target);
    target.split_once('/').map_or(target, |(address, _)| address)
}

#[derive(Clone, Copy)]
enum Scenario {
    Begin,
    Cut,
    Session,
}

async fn all(url: &str, scenario: Scenario) {
    one::<millpond_postgres::PgPool>(url, scenario).await;
    one::<Deadpool>(url, scenario).await;
    one::<Bb8>(url, scenario).await;
    one::<Mobc>(url, scenario).await;
    one::<sqlx::PgPool>(url, scenario).await;
}

async fn one<C: Contender>(url: &str, scenario: Scenario) {
    let pool = C::open(url, 1).await;
    let result = match scenario {
        Scenario::Begin => stale_transactions(&pool).await,
        Scenario::Cut => wrong_answers(&pool).await,
        Scenario::Session => traces(&pool).await,
    };
    print_result(C::NAME, &result);
}

async fn stale_transactions<C: Contender>(pool: &C) -> String {
    let (mut cut, mut stale) = (0, 0);
    for polls in 1..=POLLS {
        if !pool.cut_begin(polls).await {
            break;
        }
        cut += 1;
        // `now()` is the start of the transaction, and differs from that of the statement if a
        // transaction was already open.
        sleep(Duration::from_millis(20)).await;
        let outside = pool.ask("SELECT (now() = statement_timestamp())::text").await;
        stale += u32::from(outside.as_deref() != Some("true"));
        // Ends any open transaction, so that the next round begins anew.
        let _ = pool.ask("ROLLBACK").await;
    }
    format!("{stale} of {cut}")
}

async fn wrong_answers<C: Contender>(pool: &C) -> String {
    let (mut wrong, mut none) = (0, 0);
    for number in 0..CUTS {
        let pause = Duration::from_micros(u64::from(number % 50) * 60);
        let _ = timeout(
            pause,
            pool.ask(&format!("SELECT '{}' FROM pg_sleep(0.002)", number + 1_000_000)),
        )
        .await;
        match timeout(Duration::from_secs(2), pool.ask(&format!("SELECT '{number}'"))).await {
            Ok(Some(answer)) => wrong += u32::from(answer != number.to_string()),
            Ok(None) | Err(_) => none += 1,
        }
    }
    format!("{wrong} wrong, {none} without an answer")
}

async fn traces<C: Contender>(pool: &C) -> String {
    let mut seen = 0;
    for (leave, look, fresh) in TRACES {
        let _ = pool.ask(leave).await;
        seen += u32::from(pool.ask(look).await.as_deref() != Some(fresh));
        let _ = pool.ask("DISCARD ALL").await;
    }
    format!("{seen} of {}", TRACES.len())
}

/// Drops a future after this many polls; each but the first follows a wake-up.
async fn cut_after<F: Future>(polls: u32, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut done = 0;
    poll_fn(|cx| {
        done += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if done == polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn text(conn: &mut PgConnection, sql: &str) -> Option<String> {
    raw_sql(AssertSqlSafe(sql.to_owned())).fetch_optional(conn).await.ok()??.try_get(0).ok()
}

impl Contender for millpond_postgres::PgPool {
    const NAME: &'static str = "millpond";

    async fn open(url: &str, connections: u32) -> Self {
        let options =
            PgPoolOptions::new().pool_size(connections).max_overflow(0).reset(ResetLevel::Session);
        options.connect(url).await.expect("the server is there")
    }

    async fn cut_begin(&self, polls: u32) -> bool {
        cut_after(polls, self.begin()).await.is_none()
    }

    async fn ask(&self, sql: &str) -> Option<String> {
        raw_sql(AssertSqlSafe(sql.to_owned())).fetch_optional(self).await.ok()??.try_get(0).ok()
    }
}

impl Contender for sqlx::PgPool {
    const NAME: &'static str = "sqlx::Pool";

    async fn open(url: &str, connections: u32) -> Self {
        SqlxPoolOptions::new()
            .max_connections(connections)
            .connect(url)
            .await
            .expect("the server is there")
    }

    async fn cut_begin(&self, polls: u32) -> bool {
        // The connection is already open: only the begin is dropped.
        let Ok(mut conn) = self.acquire().await else { return false };
        cut_after(polls, conn.begin()).await.is_none()
    }

    async fn ask(&self, sql: &str) -> Option<String> {
        raw_sql(AssertSqlSafe(sql.to_owned())).fetch_optional(self).await.ok()??.try_get(0).ok()
    }
}

/// Opens sqlx connections for the pools that know no database.
#[derive(Debug, Clone)]
pub(crate) struct Server(sqlx::postgres::PgConnectOptions);

impl Server {
    fn at(url: &str) -> Self {
        Self(FromStr::from_str(url).expect("the URL is one of PostgreSQL"))
    }
}

impl deadpool::managed::Manager for Server {
    type Type = PgConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect_with(&self.0).await
    }

    async fn recycle(
        &self,
        conn: &mut PgConnection,
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<sqlx::Error> {
        conn.ping().await.map_err(deadpool::managed::RecycleError::Backend)
    }
}

pub(crate) struct Deadpool(deadpool::managed::Pool<Server>);

impl Contender for Deadpool {
    const NAME: &'static str = "deadpool";

    async fn open(url: &str, connections: u32) -> Self {
        let builder =
            deadpool::managed::Pool::builder(Server::at(url)).max_size(connections as usize);
        Self(builder.build().expect("no timeouts, so no runtime is asked for"))
    }

    async fn cut_begin(&self, polls: u32) -> bool {
        let Ok(mut conn) = self.0.get().await else { return false };
        cut_after(polls, conn.begin()).await.is_none()
    }

    async fn ask(&self, sql: &str) -> Option<String> {
        text(&mut *self.0.get().await.ok()?, sql).await
    }
}

impl ManageConnection for Server {
    type Connection = PgConnection;
    type Error = sqlx::Error;

    async fn connect(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect_with(&self.0).await
    }

    async fn is_valid(&self, conn: &mut PgConnection) -> sqlx::Result<()> {
        conn.ping().await
    }

    fn has_broken(&self, _: &mut PgConnection) -> bool {
        false
    }
}

pub(crate) struct Bb8(bb8::Pool<Server>);

impl Contender for Bb8 {
    const NAME: &'static str = "bb8";

    async fn open(url: &str, connections: u32) -> Self {
        Self(bb8::Pool::builder().max_size(connections).build_unchecked(Server::at(url)))
    }

    async fn cut_begin(&self, polls: u32) -> bool {
        let Ok(mut conn) = self.0.get().await else { return false };
        cut_after(polls, conn.begin()).await.is_none()
    }

    async fn ask(&self, sql: &str) -> Option<String> {
        text(&mut *self.0.get().await.ok()?, sql).await
    }
}

#[mobc::async_trait]
impl mobc::Manager for Server {
    type Connection = PgConnection;
    type Error = sqlx::Error;

    async fn connect(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect_with(&self.0).await
    }

    async fn check(&self, mut conn: PgConnection) -> sqlx::Result<PgConnection> {
        conn.ping().await.map(|()| conn)
    }
}

pub(crate) struct Mobc(mobc::Pool<Server>);

impl Contender for Mobc {
    const NAME: &'static str = "mobc";

    async fn open(url: &str, connections: u32) -> Self {
        Self(
            mobc::Pool::builder()
                .max_open(connections.into())
                .max_idle(connections.into())
                .build(Server::at(url)),
        )
    }

    async fn cut_begin(&self, polls: u32) -> bool {
        let Ok(mut conn) = self.0.get().await else { return false };
        cut_after(polls, conn.begin()).await.is_none()
    }

    async fn ask(&self, sql: &str) -> Option<String> {
        text(&mut *self.0.get().await.ok()?, sql).await
    }
}
