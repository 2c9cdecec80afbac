//! A table is altered while connections have its columns cached: the rows are right or an error,
//! never with missing or swapped columns.

use crate::support::{Dir, one};
use futures_util::TryStreamExt;
use millpond_sqlite::{HookFuture, PoolKind, ResetLevel, SqlLease, SqlitePool, SqlitePoolOptions};
use sqlx::{
    Acquire, ConnectOptions, Executor, Row, SqlSafeStr, SqliteConnection, Statement, raw_sql,
};
use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::Poll;

#[tokio::test]
async fn an_answer_that_stops_when_the_drivers_thread_panics_is_an_error_and_costs_the_connection()
{
    let dir = Dir::new();
    let pool = dir.one().await;
    // A column name that is not UTF-8 is one of several things on which the driver's thread panics.
    raw_sql(
        "CREATE TABLE t (a); INSERT INTO t VALUES (1); PRAGMA writable_schema = ON; \
             UPDATE sqlite_schema SET sql = CAST(x'435245415445205441424C45207420282261FF2229' AS \
             TEXT) WHERE name = 't'",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let pool = one().connect(&dir.url("one.db")).await.unwrap();
    for round in 0..3 {
        let mut lease = pool.acquire().await.unwrap();
        let id = SqlLease::info(&lease).id.get();
        let outcome = match round {
            0 => sqlx::query("SELECT * FROM t").fetch_all(&mut *lease).await.map(|rows| rows.len()),
            1 => sqlx::query("SELECT * FROM t")
                .fetch_optional(&mut *lease)
                .await
                .map(|row| row.iter().count()),
            _ => sqlx::query("SELECT * FROM t").execute(&mut *lease).await.map(|_| 0),
        };
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains("stopped before the end"), "{error}");
        drop(lease);
        let lease = pool.acquire().await.unwrap();
        assert_ne!(SqlLease::info(&lease).id.get(), id, "it is not lent on");
    }
    // A command sent to a thread while it ends would wait forever.
    for round in 0..20 {
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("SELECT * FROM t").fetch_all(&mut *tx).await.unwrap_err();
        match round % 3 {
            0 => drop(tx.commit().await.unwrap_err()),
            1 => drop(tx.rollback().await.unwrap_err()),
            _ => drop(sqlx::query("SELECT 1").execute(&mut *tx).await.unwrap_err()),
        }
    }
}

#[tokio::test]
async fn a_text_without_a_statement_succeeds() {
    let dir = Dir::new();
    let pool = dir.one().await;
    for sql in [
        "",
        " \n",
        ";",
        " ; ; ",
        "-- nothing",
        "/* nothing */",
        "/* nothing",
        "-- one\n/* two */;\n-- three",
    ] {
        assert!(sqlx::query(sql).fetch_all(&pool).await.unwrap().is_empty(), "{sql:?}");
        assert!(raw_sql(sql).fetch_optional(&pool).await.unwrap().is_none(), "{sql:?}");
    }
}

/// Rebuilds the table with its columns in another order.
const SWAPPED: &str = "BEGIN; CREATE TABLE new (email, name); INSERT INTO new SELECT email, name \
    FROM users; DROP TABLE users; ALTER TABLE new RENAME TO users; COMMIT";
const ORDERED: &str = "BEGIN; CREATE TABLE new (name, email); INSERT INTO new SELECT name, email \
    FROM users; DROP TABLE users; ALTER TABLE new RENAME TO users; COMMIT";
const ADDED: &str = "ALTER TABLE users ADD COLUMN age DEFAULT 7";
const DROPPED: &str = "ALTER TABLE users DROP COLUMN age";
const USERS: &str = "CREATE TABLE users (name, email); INSERT INTO users VALUES ('ann', 'a@b')";

fn is_ann(row: &sqlx::sqlite::SqliteRow) {
    let (name, email): (String, String) = (row.get("name"), row.get("email"));
    assert_eq!((name.as_str(), email.as_str()), ("ann", "a@b"));
}

/// Reads all columns in every possible way, and asserts that they are the right ones.
async fn all_ways_are_right(pool: &SqlitePool, columns: usize) {
    const READ: &str = "SELECT * FROM users";
    const WRITE: &str = "UPDATE users SET name = 'ann' RETURNING *";
    for sql in [READ, WRITE] {
        let rows = sqlx::query(sql).fetch_all(pool).await.unwrap();
        assert_eq!((rows.len(), rows[0].columns().len()), (1, columns), "{sql}");
        is_ann(&rows[0]);
        is_ann(&sqlx::query(sql).fetch_one(pool).await.unwrap());
        let mut lease = pool.acquire().await.unwrap();
        is_ann(&sqlx::query(sql).fetch_optional(&mut *lease).await.unwrap().unwrap());
        is_ann(&sqlx::query(sql).fetch(&mut *lease).try_next().await.unwrap().unwrap());
        let statement = lease.prepare(sql.into_sql_str()).await.unwrap();
        assert_eq!(statement.columns().len(), columns);
        is_ann(&statement.query().fetch_one(&mut *lease).await.unwrap());
        is_ann(&lease.fetch_one(raw_sql(sql)).await.unwrap());
        drop(lease);
        let mut tx = pool.begin().await.unwrap();
        is_ann(&sqlx::query(sql).fetch_one(&mut *tx).await.unwrap());
        let mut inner = tx.begin().await.unwrap();
        is_ann(&sqlx::query(sql).fetch_all(&mut *inner).await.unwrap()[0]);
        inner.commit().await.unwrap();
        tx.commit().await.unwrap();
        let mut conn = Acquire::acquire(pool).await.unwrap();
        is_ann(&sqlx::query(sql).fetch_one(&mut *conn).await.unwrap());
    }
}

#[tokio::test]
async fn after_any_change_of_a_table_the_next_statement_has_its_columns() {
    for kind in [PoolKind::Null, PoolKind::Queue, PoolKind::ReadWrite] {
        let dir = Dir::new();
        let pool = SqlitePoolOptions::new()
            .pool(kind)
            .pool_size(2)
            .connect(&dir.url("x.db"))
            .await
            .unwrap();
        raw_sql(USERS).execute(&pool).await.unwrap();
        let mut outsider = dir.options("x.db").connect().await.unwrap();
        all_ways_are_right(&pool, 2).await;
        for (change, columns) in [(ADDED, 3), (SWAPPED, 2), (ORDERED, 2), (ADDED, 3), (DROPPED, 2)]
        {
            outsider.execute(raw_sql(change)).await.unwrap();
            all_ways_are_right(&pool, columns).await;
        }
        for (change, columns) in [(SWAPPED, 2), (ADDED, 3), (ORDERED, 2)] {
            // By another connection of the same pool, and by the same one.
            let held =
                if kind == PoolKind::Queue { Some(pool.acquire().await.unwrap()) } else { None };
            pool.execute(raw_sql(change)).await.unwrap();
            drop(held);
            all_ways_are_right(&pool, columns).await;
            all_ways_are_right(&pool, columns).await;
        }
    }
}

#[tokio::test]
async fn in_memory_temporary_and_attached_tables_may_change_too() {
    let dir = Dir::new();
    let mut outsider = dir.options("y.db").connect().await.unwrap();
    raw_sql("CREATE TABLE far (a); INSERT INTO far VALUES (1)")
        .execute(&mut outsider)
        .await
        .unwrap();
    let pool = SqlitePoolOptions::new().connect("sqlite::memory:").await.unwrap();
    raw_sql(USERS).execute(&pool).await.unwrap();
    for (change, columns) in [("SELECT 1", 2), (SWAPPED, 2), (ADDED, 3), (ORDERED, 2)] {
        pool.execute(raw_sql(change)).await.unwrap();
        all_ways_are_right(&pool, columns).await;
    }
    let mut lease = pool.acquire().await.unwrap();
    lease
        .execute(raw_sql("CREATE TEMP TABLE near (a); INSERT INTO near VALUES (1)"))
        .await
        .unwrap();
    let attach = format!("ATTACH '{}' AS y", dir.path().join("y.db").display());
    sqlx::query(sqlx::AssertSqlSafe(attach)).execute(&mut *lease).await.unwrap();
    for (columns, column) in [(1, "b"), (2, "c"), (3, "d")] {
        for table in ["SELECT * FROM near", "SELECT * FROM far"] {
            assert_eq!(
                sqlx::query(table).fetch_one(&mut *lease).await.unwrap().columns().len(),
                columns,
                "{table}"
            );
        }
        for (conn, table) in
            [(&mut *lease as &mut SqliteConnection, "near"), (&mut outsider, "far")]
        {
            let sql = format!("ALTER TABLE {table} ADD COLUMN {column}");
            conn.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn while_a_table_is_rebuilt_again_and_again_columns_keep_their_names() {
    for kind in [PoolKind::Queue, PoolKind::ReadWrite] {
        let dir = Dir::new();
        let pool = SqlitePoolOptions::new()
            .pool(kind)
            .pool_size(3)
            .connect(&dir.url("x.db"))
            .await
            .unwrap();
        raw_sql("PRAGMA journal_mode = WAL").execute(&pool).await.unwrap();
        raw_sql(USERS).execute(&pool).await.unwrap();
        let mut outsider = dir.options("x.db").connect().await.unwrap();
        let rebuilt = async {
            for sql in [SWAPPED, ORDERED].into_iter().cycle().take(100) {
                outsider.execute(raw_sql(sql)).await.unwrap();
            }
        };
        let read = async {
            let mut right = 0;
            loop {
                match sqlx::query("SELECT * FROM users").fetch_one(&pool).await {
                    Ok(row) => is_ann(&row),
                    Err(error) => {
                        assert!(error.to_string().contains("schema was changed"), "{error}")
                    }
                }
                let mut tx = pool.begin().await.unwrap();
                is_ann(&sqlx::query("SELECT * FROM users").fetch_all(&mut *tx).await.unwrap()[0]);
                tx.commit().await.unwrap();
                right += 1;
                if right % 50 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        };
        tokio::select! {
            () = rebuilt => {}
            () = read => {}
        }
    }
}

#[tokio::test]
async fn a_transaction_that_begins_with_a_write_of_all_columns_waits_for_the_lock_of_another_one() {
    let dir = Dir::new();
    let pool = SqlitePoolOptions::new()
        .pool(PoolKind::Queue)
        .pool_size(2)
        .connect(&dir.url("x.db"))
        .await
        .unwrap();
    raw_sql("PRAGMA journal_mode = WAL").execute(&pool).await.unwrap();
    raw_sql(USERS).execute(&pool).await.unwrap();
    let mut first = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("INSERT INTO users VALUES ('bob', 'b')").execute(&mut *first).await.unwrap();
    let mut second = pool.begin().await.unwrap();
    let sql = "UPDATE users SET email = 'c' WHERE name = 'bob' RETURNING *";
    let mut write = Box::pin(sqlx::query(sql).fetch_one(&mut *second));
    for _ in 0..1000 {
        let pending = poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx).is_pending())).await;
        assert!(pending, "the first one has the lock");
        std::thread::yield_now();
    }
    first.commit().await.unwrap();
    let row = write.as_mut().await.unwrap();
    drop(write);
    assert_eq!(row.get::<String, _>("email"), "c");
    second.commit().await.unwrap();
}

#[tokio::test]
async fn a_function_with_the_drivers_own_connection_gets_current_columns_after_the_loan() {
    let dir = Dir::new();
    let pool = dir.one().await;
    raw_sql(USERS).execute(&pool).await.unwrap();
    let mut outsider = dir.options("one.db").connect().await.unwrap();
    for (change, columns) in [("SELECT 1", 2), (SWAPPED, 2), (ADDED, 3), (ORDERED, 2)] {
        outsider.execute(raw_sql(change)).await.unwrap();
        assert_eq!(columns_of(&mut pool.acquire().await.unwrap()).await, columns);
    }
}

/// Reads all columns as a function does that only knows sqlx, asserts that they are the right ones,
/// and returns their number.
async fn columns_of(conn: &mut SqliteConnection) -> usize {
    let rows = sqlx::query("SELECT * FROM users").fetch_all(conn).await.unwrap();
    is_ann(&rows[0]);
    rows[0].columns().len()
}

#[tokio::test]
async fn a_plain_sqlx_function_gets_current_columns_on_a_lease_or_in_a_transaction() {
    const KNOWN: &str = "SELECT name FROM users";
    for kind in [PoolKind::Queue, PoolKind::ReadWrite] {
        let dir = Dir::new();
        let options = SqlitePoolOptions::new().pool(kind).pool_size(1).max_overflow(0);
        let pool = options.connect(&dir.url("x.db")).await.unwrap();
        raw_sql(USERS).execute(&pool).await.unwrap();
        let mut outsider = dir.options("x.db").connect().await.unwrap();
        for (change, columns) in
            [("SELECT 1", 2), (SWAPPED, 2), (ADDED, 3), (ORDERED, 2), (ADDED, 3), (DROPPED, 2)]
        {
            // The connection has the old schema cached.
            let mut lease = pool.acquire().await.unwrap();
            lease.execute(KNOWN).await.unwrap();
            columns_of(&mut lease).await;
            outsider.execute(raw_sql(change)).await.unwrap();
            assert_eq!(columns_of(&mut lease).await, columns, "{kind:?}, {change}");
            drop(lease);

            let mut tx = pool.begin().await.unwrap();
            assert_eq!(columns_of(&mut tx).await, columns, "{kind:?}, {change}");
            tx.execute(KNOWN).await.unwrap();
            let mut inner = tx.begin().await.unwrap();
            assert_eq!(columns_of(&mut inner).await, columns, "{kind:?}, {change}");
            inner.commit().await.unwrap();
            tx.commit().await.unwrap();
        }
        for (change, columns) in [(SWAPPED, 2), (ADDED, 3), (ORDERED, 2)] {
            sqlx::query(KNOWN).execute(&pool).await.unwrap();
            outsider.execute(raw_sql(change)).await.unwrap();
            let mut tx = pool.begin().await.unwrap();
            assert_eq!(columns_of(&mut tx).await, columns, "{kind:?}, {change}");
            tx.rollback().await.unwrap();
        }
    }
}

#[tokio::test]
async fn hooks_get_current_columns() {
    fn noted<'a>(found: &Arc<Mutex<Vec<usize>>>, conn: &'a mut SqliteConnection) -> HookFuture<'a> {
        let found = Arc::clone(found);
        Box::pin(async move {
            let columns = columns_of(conn).await;
            found.lock().unwrap().push(columns);
            Ok(())
        })
    }
    let dir = Dir::new();
    let mut outsider = dir.options("one.db").connect().await.unwrap();
    outsider.execute(raw_sql(USERS)).await.unwrap();
    let found = Arc::<Mutex<Vec<usize>>>::default();
    let (before, after) = (Arc::clone(&found), Arc::clone(&found));
    let pool = one()
        .on_checkout(move |conn, _| noted(&before, conn))
        .on_checkin(move |conn, _| noted(&after, conn))
        .connect_lazy(&dir.url("one.db"))
        .unwrap();
    for (change, columns) in [("SELECT 1", 2), (SWAPPED, 2), (ADDED, 3), (ORDERED, 2)] {
        let mut lease = pool.acquire().await.unwrap();
        lease.execute("SELECT name FROM users").await.unwrap();
        outsider.execute(raw_sql(change)).await.unwrap();
        drop(lease);
        let lease = pool.acquire().await.unwrap();
        let found = found.lock().unwrap().clone();
        assert!(found.ends_with(&[columns, columns]), "at the return and the loan: {found:?}");
        drop(lease);
    }
}

#[tokio::test]
async fn the_schema_of_a_rolled_back_transaction_is_not_cached() {
    const OURS: &str = "ALTER TABLE users ADD COLUMN ours";
    let dir = Dir::new();
    for reset in [ResetLevel::Transaction, ResetLevel::None] {
        let pool = one().reset(reset).connect(&dir.url(&format!("{reset:?}.db"))).await.unwrap();
        pool.execute(raw_sql(USERS)).await.unwrap();
        let mut outsider = dir.options(&format!("{reset:?}.db")).connect().await.unwrap();
        for way in ["rolled back", "dropped", "by hand", "by the server", "behind a savepoint"] {
            let mut lease = pool.acquire().await.unwrap();
            match way {
                "by hand" => {
                    for sql in ["BEGIN", OURS, "SELECT * FROM users", "ROLLBACK"] {
                        lease.execute(sql).await.unwrap();
                    }
                }
                "by the server" => {
                    for sql in ["BEGIN", OURS, "SELECT * FROM users"] {
                        lease.execute(sql).await.unwrap();
                    }
                    lease.execute("INSERT OR ROLLBACK INTO sole VALUES (1)").await.unwrap_err();
                    lease.execute("ROLLBACK").await.unwrap();
                }
                _ => {
                    drop(lease);
                    let mut tx = pool.begin().await.unwrap();
                    tx.execute(OURS).await.unwrap();
                    if way == "behind a savepoint" {
                        tx.begin().await.unwrap().rollback().await.unwrap();
                    }
                    tx.execute("SELECT * FROM users").await.unwrap();
                    if way == "dropped" {
                        drop(tx);
                    } else {
                        tx.rollback().await.unwrap();
                    }
                    lease = pool.acquire().await.unwrap();
                }
            }
            // Its version is the one that the rolled back change had.
            outsider.execute("ALTER TABLE users ADD COLUMN theirs").await.unwrap();
            let row = lease.fetch_one("SELECT * FROM users").await.unwrap();
            assert!(row.try_column("theirs").is_ok(), "{reset:?}, {way}: {:?}", row.columns());
            drop(lease);
            outsider.execute("ALTER TABLE users DROP COLUMN theirs").await.unwrap();
            outsider
                .execute(
                    "CREATE TABLE IF NOT EXISTS sole (i UNIQUE); \
                     INSERT OR IGNORE INTO sole VALUES (1)",
                )
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn reading_all_columns_does_not_turn_writable_schema_off() {
    let dir = Dir::new();
    let pool = dir.one().await;
    pool.execute("CREATE TABLE t (a)").await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    lease.execute("PRAGMA writable_schema = ON").await.unwrap();
    assert_eq!(lease.fetch_all("SELECT * FROM sqlite_schema").await.unwrap().len(), 1);
    let change = "UPDATE sqlite_schema SET sql = 'CREATE TABLE t (a, b)' WHERE name = 't'";
    lease.execute(change).await.unwrap();
    drop(lease);
    pool.execute(change).await.unwrap_err();
}
