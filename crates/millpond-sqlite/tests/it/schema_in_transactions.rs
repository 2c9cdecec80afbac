//! Checking the schema has no effect on an open transaction.

use crate::support::{Dir, one};
use millpond_sqlite::{PoolKind, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, Executor, Row, SqliteConnection, raw_sql};

/// A table of posts, and a full-text search index that a trigger fills.
const POSTS: &str = "CREATE TABLE posts (id INTEGER PRIMARY KEY, body TEXT); \
    CREATE VIRTUAL TABLE search USING fts5(body, content='posts', content_rowid='id'); \
    CREATE TRIGGER indexed AFTER INSERT ON posts BEGIN \
    INSERT INTO search(rowid, body) VALUES (new.id, new.body); END; \
    CREATE TRIGGER removed AFTER DELETE ON posts BEGIN \
    INSERT INTO search(search, rowid, body) VALUES ('delete', old.id, old.body); END";
const POST: &str = "INSERT INTO posts (body) VALUES ('a mill pond')";
const POST_ALL: &str = "INSERT INTO posts (body) VALUES ('a mill pond') RETURNING *";
const FIND: &str = "SELECT count(*) FROM search WHERE search MATCH 'pond'";

/// Inserts a post as a function does that only knows sqlx.
async fn post(conn: &mut SqliteConnection) {
    sqlx::query(POST).execute(conn).await.unwrap();
}

/// Returns the driver's own connection, which is not tracked.
fn driver(conn: &mut SqliteConnection) -> &mut SqliteConnection {
    conn
}

async fn found(conn: &mut SqliteConnection) -> i64 {
    sqlx::query_scalar(FIND).fetch_one(conn).await.unwrap()
}

async fn post_in_a_transaction(pool: &SqlitePool, way: &str) {
    let mut tx = pool.begin().await.unwrap();
    for posts in 1..=4 {
        match way {
            "all columns" => drop(sqlx::query(POST_ALL).fetch_one(&mut *tx).await.unwrap()),
            "a function" => post(&mut tx).await,
            _ => {
                let mut inner = tx.begin().await.unwrap();
                post(&mut inner).await;
                drop(sqlx::query(POST_ALL).fetch_all(&mut *inner).await.unwrap());
                raw_sql("DELETE FROM posts WHERE id = last_insert_rowid()")
                    .execute(&mut *inner)
                    .await
                    .unwrap();
                inner.commit().await.unwrap();
            }
        }
        let seen: i64 = sqlx::query_scalar(FIND).fetch_one(&mut *tx).await.unwrap();
        assert_eq!((seen, found(&mut tx).await), (posts, posts), "{way}");
    }
    tx.commit().await.unwrap();
}

async fn post_by_hand(pool: &SqlitePool, way: &str) {
    let mut lease = pool.acquire().await.unwrap();
    match way {
        "a function after BEGIN" => drop(lease.execute("BEGIN").await.unwrap()),
        "a script" => {
            lease.execute(raw_sql("BEGIN; SELECT 1")).await.unwrap();
        }
        _ => drop(driver(&mut lease).execute("BEGIN").await.unwrap()),
    }
    for posts in 1..=4 {
        if way == "a script" {
            drop(lease.fetch_one(POST_ALL).await.unwrap());
        } else {
            post(&mut lease).await;
        }
        assert_eq!(found(&mut lease).await, posts, "{way}");
    }
    lease.execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn full_text_search_finds_what_this_and_later_transactions_write() {
    for kind in [PoolKind::Queue, PoolKind::ReadWrite] {
        for way in [
            "all columns",
            "a function",
            "a savepoint",
            "a function after BEGIN",
            "a script",
            "the driver alone",
        ] {
            let dir = Dir::new();
            let options = SqlitePoolOptions::new().pool(kind).pool_size(1).max_overflow(0);
            let pool = options.connect(&dir.url("x.db")).await.unwrap();
            raw_sql(POSTS).execute(&pool).await.unwrap();
            match way {
                "all columns" | "a function" | "a savepoint" => {
                    post_in_a_transaction(&pool, way).await
                }
                _ => post_by_hand(&pool, way).await,
            }
            let found: i64 = sqlx::query_scalar(FIND).fetch_one(&pool).await.unwrap();
            assert_eq!(found, 4, "{kind:?}, {way}");
            raw_sql("INSERT INTO search(search, rank) VALUES ('integrity-check', 1)")
                .execute(&pool)
                .await
                .unwrap();
            let deleted = raw_sql("DELETE FROM posts").execute(&pool).await.unwrap();
            assert_eq!(deleted.rows_affected(), 4, "{kind:?}, {way}");
        }
    }
}

#[tokio::test]
async fn a_rolled_back_table_is_not_mistaken_for_a_later_one() {
    const MINE: &str = "CREATE TABLE mine (value)";
    for way in ["all columns", "a function", "all columns by hand", "a function by hand"] {
        let dir = Dir::new();
        let pool = one().connect(&dir.url("x.db")).await.unwrap();
        pool.execute("CREATE TABLE posts (body)").await.unwrap();
        let mut outsider = dir.options("x.db").connect().await.unwrap();
        let mut lease;
        if way.ends_with("by hand") {
            lease = pool.acquire().await.unwrap();
            lease.execute("BEGIN").await.unwrap();
            lease.execute(MINE).await.unwrap();
            match way {
                "a function by hand" => post(&mut lease).await,
                _ => drop(lease.fetch_one(POST_ALL).await.unwrap()),
            }
            lease.execute("ROLLBACK").await.unwrap();
        } else {
            let mut tx = pool.begin().await.unwrap();
            tx.execute(MINE).await.unwrap();
            match way {
                "a function" => post(&mut tx).await,
                _ => drop(tx.fetch_one(POST_ALL).await.unwrap()),
            }
            tx.rollback().await.unwrap();
            lease = pool.acquire().await.unwrap();
        }
        // The table takes the other one's place in the file, and the schema gets the same version.
        let sql = "CREATE TABLE theirs (value); INSERT INTO theirs VALUES ('secret')";
        outsider.execute(raw_sql(sql)).await.unwrap();
        for sql in ["SELECT value FROM mine", "INSERT INTO mine VALUES (1)"] {
            let outcome = lease.execute(sql).await;
            let error = outcome.expect_err(way).to_string();
            assert!(error.contains("no such table"), "{way}: {error}");
        }
        let theirs: Vec<String> =
            sqlx::query_scalar("SELECT value FROM theirs").fetch_all(&mut *lease).await.unwrap();
        assert_eq!(theirs, ["secret"]);
    }
}

#[tokio::test]
async fn a_function_keeps_the_writable_schema_of_its_borrower() {
    let dir = Dir::new();
    let pool = dir.one().await;
    pool.execute("CREATE TABLE t (a)").await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    lease.execute("PRAGMA writable_schema = ON").await.unwrap();
    let change = "UPDATE sqlite_schema SET sql = 'CREATE TABLE t (a, b)' WHERE name = 't'";
    let conn: &mut SqliteConnection = &mut lease;
    conn.execute(change).await.unwrap();
}

#[tokio::test]
async fn a_table_of_an_attached_database_has_its_present_columns_in_a_transaction_that_has_written()
{
    const INSERT: &str = "INSERT INTO far (name, email) VALUES ('miller', 'm@pond') RETURNING *";
    let dir = Dir::new();
    let mut outsider = dir.options("y.db").connect().await.unwrap();
    outsider.execute("CREATE TABLE far (name, email)").await.unwrap();
    let pool = one().connect(&dir.url("x.db")).await.unwrap();
    pool.execute("CREATE TABLE near (a)").await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let attach = format!("ATTACH '{}' AS elsewhere", dir.path().join("y.db").display());
    lease.execute(sqlx::AssertSqlSafe(attach)).await.unwrap();
    lease.fetch_one(INSERT).await.unwrap();
    let mut tx = lease.begin().await.unwrap();
    tx.execute("INSERT INTO near VALUES (1)").await.unwrap();
    let rebuilt = "DROP TABLE far; CREATE TABLE far (email, name)";
    outsider.execute(raw_sql(rebuilt)).await.unwrap();
    let row = tx.fetch_one(INSERT).await.unwrap();
    let (name, email): (String, String) = (row.get("name"), row.get("email"));
    assert_eq!((&name[..], &email[..]), ("miller", "m@pond"));
    tx.rollback().await.unwrap();
}
