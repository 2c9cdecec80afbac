//! Pragmas on every connection of a pool.

use crate::support::Dir;
use millpond_sqlite::{PoolKind, PragmaHook, SqliteJournalMode, SqlitePoolOptions};

#[tokio::test]
async fn they_are_set_on_every_connection() {
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
            for (name, value) in
                [("foreign_keys", 1), ("cache_size", -1234), ("mmap_size", 65_536), ("recursive_triggers", 1)]
            {
                let sql = sqlx::AssertSqlSafe(format!("PRAGMA {name}"));
                let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut *lease).await.unwrap();
                assert_eq!(found, value, "{kind:?} {name}");
            }
        }
    }
}

#[tokio::test]
async fn one_that_does_not_take_fails_the_acquire_at_once_and_says_why() {
    let pragmas = PragmaHook::new().journal_mode(SqliteJournalMode::Wal);
    let error = SqlitePoolOptions::new().pragma(pragmas).connect("sqlite::memory:").await.unwrap_err();
    assert!(matches!(error, sqlx::Error::Configuration(_)));
    assert!(error.to_string().contains("pragma journal_mode was set to wal but is still memory"), "{error}");
}

#[test]
fn one_that_would_spoil_the_split_is_refused() {
    let pragmas = PragmaHook::new().journal_mode(SqliteJournalMode::Delete);
    let options = SqlitePoolOptions::new().pool(PoolKind::ReadWrite).pragma(pragmas);
    assert!(options.connect_lazy("sqlite:x.db").unwrap_err().to_string().contains("journal_mode"));
}
