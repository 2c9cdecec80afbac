//! Pragmas on every connection of a pool.

use crate::support::Dir;
use millpond_sqlite::{
    PoolKind, PragmaHook, SqlLease, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions,
};
use sqlx::{AssertSqlSafe, Executor, Row, raw_sql};

#[tokio::test]
async fn pragmas_are_set_on_every_connection() {
    let dir = Dir::new();
    let pragmas = PragmaHook::new()
        .foreign_keys(true)
        .cache_size(-1234)
        .mmap_size(65_536)
        .set("recursive_triggers", "on")
        .unwrap();
    for kind in [PoolKind::Null, PoolKind::Queue, PoolKind::ReadWrite] {
        let options = SqlitePoolOptions::new().pool(kind).pragma(pragmas.clone());
        let pool = options.connect_with(dir.options("x.db").foreign_keys(false)).await.unwrap();
        for pool in [pool.clone(), pool.reader()] {
            let mut lease = pool.acquire().await.unwrap();
            for (name, value) in [
                ("foreign_keys", 1),
                ("cache_size", -1234),
                ("mmap_size", 65_536),
                ("recursive_triggers", 1),
            ] {
                let sql = AssertSqlSafe(format!("PRAGMA {name}"));
                let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut *lease).await.unwrap();
                assert_eq!(found, value, "{kind:?} {name}");
            }
        }
    }
}

#[tokio::test]
async fn a_pragma_that_cannot_be_applied_fails_the_acquire_at_once_and_says_why() {
    let pragmas = PragmaHook::new().journal_mode(SqliteJournalMode::Wal);
    let error =
        SqlitePoolOptions::new().pragma(pragmas).connect("sqlite::memory:").await.unwrap_err();
    assert!(matches!(error, sqlx::Error::Configuration(_)));
    assert!(
        error.to_string().contains("pragma journal_mode was set to wal but is still memory"),
        "{error}"
    );
}

#[test]
fn a_pragma_that_conflicts_with_one_writer_is_refused() {
    let pragmas = PragmaHook::new().journal_mode(SqliteJournalMode::Delete);
    let options = SqlitePoolOptions::new().pool(PoolKind::ReadWrite).pragma(pragmas);
    assert!(options.connect_lazy("sqlite:x.db").unwrap_err().to_string().contains("journal_mode"));
}

/// Changes that a borrower may make to the settings of a connection.
const CHANGES: [&str; 12] = [
    "PRAGMA foreign_keys = OFF",
    "PRAGMA busy_timeout = 1",
    "PRAGMA query_only = ON",
    "PRAGMA query_only = OFF",
    "PRAGMA recursive_triggers = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA ignore_check_constraints = ON",
    "PRAGMA case_sensitive_like = ON",
    "PRAGMA cache_size = 7",
    "PRAGMA cache_spill = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA defer_foreign_keys = ON",
];

async fn settings(pool: &SqlitePool) -> Vec<String> {
    let mut lease = pool.acquire().await.unwrap();
    let mut found = Vec::new();
    for change in CHANGES {
        let sql = match change.split(' ').nth(1).unwrap() {
            "case_sensitive_like" => "SELECT 'a' LIKE 'A'".to_owned(),
            name => format!("PRAGMA {name}"),
        };
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *lease).await.unwrap();
        found.push(format!("{change}: {}", row.try_get_unchecked::<i64, _>(0).unwrap()));
    }
    found
}

fn strict() -> SqlitePoolOptions {
    let pragmas = PragmaHook::new().set("recursive_triggers", true).unwrap().cache_size(-1234);
    SqlitePoolOptions::new().pool_size(1).max_overflow(0).pragma(pragmas)
}

#[tokio::test]
async fn pragmas_that_a_borrower_changes_are_restored_for_the_next_one() {
    let dir = Dir::new();
    let mut pools = vec![strict().connect("sqlite::memory:").await.unwrap()];
    for kind in [PoolKind::Queue, PoolKind::ReadWrite] {
        pools.push(strict().pool(kind).connect(&dir.url("x.db")).await.unwrap());
    }
    pools.push(pools[2].reader());
    for pool in &pools {
        let before = settings(pool).await;
        for change in CHANGES {
            raw_sql(change).execute(&mut *pool.acquire().await.unwrap()).await.unwrap();
            assert_eq!(settings(pool).await, before, "{change}");
            let mut lease = pool.acquire().await.unwrap();
            let conn: &mut SqliteConnection = &mut lease;
            conn.execute(change).await.unwrap();
            drop(lease);
            assert_eq!(settings(pool).await, before, "{change}, unseen");
            let mut lease = pool.acquire().await.unwrap();
            lease.execute(change).await.unwrap();
            SqlLease::discard(lease);
            assert_eq!(settings(pool).await, before, "{change}, discarded");
        }
    }
}

#[tokio::test]
async fn no_orphan_is_written_after_a_migration_that_failed_midway() {
    let dir = Dir::new();
    let pool = strict().pool(PoolKind::ReadWrite).connect(&dir.url("x.db")).await.unwrap();
    raw_sql("CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p)")
        .execute(&pool)
        .await
        .unwrap();
    raw_sql("PRAGMA foreign_keys = OFF; DROP TABLE nothing; PRAGMA foreign_keys = ON")
        .execute(&pool)
        .await
        .unwrap_err();
    let error = sqlx::query("INSERT INTO c VALUES (7)").execute(&pool).await.unwrap_err();
    assert!(error.to_string().contains("FOREIGN KEY"), "{error}");
}

#[tokio::test]
async fn a_journal_mode_that_the_pool_has_not_set_stays_that_of_the_file() {
    let dir = Dir::new();
    let pool = strict().pool(PoolKind::Queue).connect(&dir.url("x.db")).await.unwrap();
    pool.execute("PRAGMA journal_mode = WAL").await.unwrap();
    assert_eq!(mode(&pool).await, "wal");
}

#[tokio::test]
async fn a_rollback_journal_turned_off_by_a_borrower_is_on_for_the_next_one() {
    let dir = Dir::new();
    for pool in [dir.one().await, strict().connect("sqlite::memory:").await.unwrap()] {
        let before = mode(&pool).await;
        for change in ["OFF", "MEMORY", "PERSIST"] {
            let sql = format!("PRAGMA journal_mode = {change}");
            pool.execute(AssertSqlSafe(sql)).await.unwrap();
            assert_eq!(mode(&pool).await, before, "{change}");
        }
    }
}

async fn mode(pool: &SqlitePool) -> String {
    sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn an_exclusive_lock_that_a_borrower_keeps_ends_with_the_lease() {
    let dir = Dir::new();
    let pool = strict().pool(PoolKind::Queue).pool_size(2).connect(&dir.url("x.db")).await.unwrap();
    let mut other = pool.acquire().await.unwrap();
    raw_sql("PRAGMA locking_mode = EXCLUSIVE; CREATE TABLE t (i)").execute(&pool).await.unwrap();
    // The connection is restored when it is lent again.
    drop(pool.acquire().await.unwrap());
    raw_sql("PRAGMA busy_timeout = 0; INSERT INTO t VALUES (1)")
        .execute(&mut *other)
        .await
        .unwrap();
}

#[tokio::test]
async fn pragmas_of_connections_to_a_read_only_file_are_restored() {
    let dir = Dir::new();
    strict().connect(&dir.url("x.db")).await.unwrap().execute("CREATE TABLE t (i)").await.unwrap();
    for parameters in ["mode=ro", "immutable=true"] {
        let pool = strict()
            .pool(PoolKind::Queue)
            .connect(&dir.url(&format!("x.db?{parameters}")))
            .await
            .unwrap();
        let before = settings(&pool).await;
        for change in CHANGES {
            pool.execute(change).await.unwrap();
        }
        assert_eq!(settings(&pool).await, before);
        assert!(sqlx::query("SELECT * FROM t").fetch_all(&pool).await.unwrap().is_empty());
        assert_eq!(SqlLease::info(&pool.acquire().await.unwrap()).id.get(), 1, "{parameters}");
    }
}
