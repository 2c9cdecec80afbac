//! A statement is executed in the database that is in use, even if another one was in use when it
//! was prepared.

use crate::support::{one, server};
use millpond_mysql::{MySqlConnection, MySqlPool, MySqlPoolOptions, ResetLevel};
use sqlx::{AssertSqlSafe, Executor, MySql, raw_sql};
use std::sync::atomic::{AtomicUsize, Ordering};

const NAMES: [&str; 2] = ["millpond_used_a", "millpond_used_b"];
const USE_A: &str = "USE millpond_used_a";
const USE_B: &str = "USE millpond_used_b";

/// Returns the name stored in the table of the database in use. With an argument, so that the
/// statement is prepared.
async fn name<'e>(executor: impl Executor<'e, Database = MySql>) -> String {
    let sql = "SELECT name FROM t WHERE 1 = ?";
    sqlx::query_scalar(sql).bind(1).fetch_one(executor).await.unwrap()
}

/// Builds a pool on the first of two databases, each with a table `t` that contains the database's
/// name.
async fn pool(options: MySqlPoolOptions, suffix: &str) -> Option<MySqlPool> {
    let server = server()?;
    let mut urls = Vec::new();
    for name in NAMES {
        let name = format!("{name}{suffix}");
        urls.push(server.database(&name).await);
        let sql = format!(
            "CREATE TABLE {name}.t (name VARCHAR(99)); INSERT INTO {name}.t VALUES ('{name}')"
        );
        server.execute(sql).await;
    }
    Some(options.connect(&urls[0]).await.unwrap())
}

/// Appends the suffix to the names of the databases in a text.
fn with(sql: &str, suffix: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(
        sql.replace("used_a", &format!("used_a{suffix}"))
            .replace("used_b", &format!("used_b{suffix}")),
    )
}

#[tokio::test]
async fn a_borrower_reads_the_database_that_it_uses() {
    let suffix = "_1";
    let Some(pool) = pool(one(), suffix).await else { return };
    let mut lease = pool.acquire().await.unwrap();
    assert_eq!(name(&mut *lease).await, format!("{}{suffix}", NAMES[0]));
    for (text, i) in [
        (USE_B, 1),
        ("use millpond_used_a;", 0),
        ("/* x */ Use`millpond_used_b`", 1),
        ("SELECT 1; USE millpond_used_a", 0),
        ("/*!50000USE millpond_used_b*/", 1),
    ] {
        raw_sql(with(text, suffix)).execute(&mut *lease).await.unwrap();
        assert_eq!(name(&mut *lease).await, format!("{}{suffix}", NAMES[i]), "{text}");
    }
    let mut tx = pool_tx(lease).await;
    for (text, i) in [(USE_A, 0), (USE_B, 1)] {
        raw_sql(with(text, suffix)).execute(&mut *tx).await.unwrap();
        assert_eq!(name(&mut *tx).await, format!("{}{suffix}", NAMES[i]), "{text}");
    }
}

async fn pool_tx(
    lease: millpond_mysql::SqlLease<MySql>,
) -> millpond_sqlx::Transaction<'static, MySql> {
    millpond_sqlx::Transaction::begin_on(lease, None).await.unwrap()
}

#[tokio::test]
async fn the_next_borrower_reads_the_database_of_its_pool() {
    for (n, level) in [ResetLevel::None, ResetLevel::Transaction].into_iter().enumerate() {
        for is_seen in [true, false] {
            let suffix = format!("_2{n}{is_seen}");
            let Some(pool) = pool(one().reset(level), &suffix).await else { return };
            let mut lease = pool.acquire().await.unwrap();
            if is_seen {
                raw_sql(with(USE_B, &suffix)).execute(&mut *lease).await.unwrap();
                name(&mut *lease).await;
                raw_sql(with(USE_A, &suffix)).execute(&mut *lease).await.unwrap();
            } else {
                let unseen: &mut MySqlConnection = &mut lease;
                raw_sql(with(USE_B, &suffix)).execute(&mut *unseen).await.unwrap();
                name(&mut *unseen).await;
                raw_sql(with(USE_A, &suffix)).execute(&mut *unseen).await.unwrap();
            }
            drop(lease);
            assert_eq!(name(&pool).await, format!("{}{suffix}", NAMES[0]), "{level:?} {is_seen}");
        }
    }
}

#[tokio::test]
async fn a_borrower_reads_the_database_set_by_a_hook() {
    for (n, level) in [ResetLevel::None, ResetLevel::Transaction].into_iter().enumerate() {
        let suffix = format!("_3{n}");
        static TURN: AtomicUsize = AtomicUsize::new(0);
        let options = one().reset(level).on_checkout(move |conn, _| {
            Box::pin(async move {
                let texts = [USE_A, USE_B];
                let text = texts[TURN.fetch_add(1, Ordering::Relaxed) / 2 % 2];
                raw_sql(with(text, &format!("_3{n}"))).execute(conn).await?;
                Ok(())
            })
        });
        let Some(pool) = pool(options, &suffix).await else { return };
        for _ in 0..8 {
            let mut lease = pool.acquire().await.unwrap();
            let here: String = raw_sql("SELECT DATABASE()")
                .fetch_one(&mut *lease)
                .await
                .map(|row| sqlx::Row::get(&row, 0))
                .unwrap();
            assert_eq!(name(&mut *lease).await, here, "{level:?}");
        }
    }
}

#[tokio::test]
async fn a_borrower_reads_the_database_set_by_a_hook_after_the_same_query() {
    for (n, level) in [ResetLevel::None, ResetLevel::Transaction].into_iter().enumerate() {
        let suffix = format!("_4{n}");
        let options = one().reset(level).on_checkout(move |conn, _| {
            Box::pin(async move {
                raw_sql(with(USE_A, &format!("_4{n}"))).execute(&mut *conn).await?;
                name(&mut *conn).await;
                raw_sql(with(USE_B, &format!("_4{n}"))).execute(conn).await?;
                Ok(())
            })
        });
        let Some(pool) = pool(options, &suffix).await else { return };
        for _ in 0..4 {
            assert_eq!(name(&pool).await, format!("{}{suffix}", NAMES[1]), "{level:?}");
        }
    }
}

/// Returns whether NOT binds more tightly than BETWEEN, which depends on the SQL mode.
async fn binds_tightly<'e>(executor: impl Executor<'e, Database = MySql>) -> i64 {
    let sql = "SELECT NOT 1 BETWEEN -5 AND ?";
    sqlx::query_scalar(sql).bind(5).fetch_one(executor).await.unwrap()
}

#[tokio::test]
async fn a_statement_is_parsed_in_the_current_sql_mode() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    assert_eq!(binds_tightly(&pool).await, 0);
    let mut lease = pool.acquire().await.unwrap();
    for (mode, tightly) in [("HIGH_NOT_PRECEDENCE", 1), ("", 0), ("HIGH_NOT_PRECEDENCE", 1)] {
        let sql = AssertSqlSafe(format!("SET SESSION sql_mode = '{mode}'"));
        raw_sql(sql).execute(&mut *lease).await.unwrap();
        assert_eq!(binds_tightly(&mut *lease).await, tightly, "{mode:?}");
    }
}
